//! Agents: drafts with their errors, the models and processes behind the others, and their tools.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::ask::{ANSWER_MAX, all};
use super::report::{Check, Status};
use crate::agent::types::AgentStatus;
use crate::agent::{Registry, UpstreamUrl};
use crate::model::{Availability, ChatModel, ErrorCode, ModelError};

/// Models and processes that are asked.
const ASKED_MAX: usize = 256;

/// Drafts that are named in the message; all are in the values.
const NAMED_MAX: usize = 3;

/// The role of a model, for there is no other yet.
const ROLE: &str = "default";

/// How many agents there are, and which are broken.
pub(super) fn agents(registry: &Registry) -> Check {
    let all = registry.list();
    let is_draft = |status| status == AgentStatus::Draft;
    let drafts: Vec<_> = all.iter().filter(|agent| is_draft(agent.status)).collect();
    let served = all.len() - drafts.len();
    if drafts.is_empty() {
        return Check::ok(format!("{served} agents serve requests")).with("served", served);
    }
    let named: Vec<String> = drafts
        .iter()
        .take(NAMED_MAX)
        .map(|agent| {
            let error = agent.error.as_deref().unwrap_or_default().replace('\n', "; ");
            format!("{}: {error}", agent.name)
        })
        .collect();
    let more = drafts.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let drafts: Vec<_> =
        drafts.iter().map(|agent| json!({"name": agent.name, "error": agent.error})).collect();
    Check::bad(
        Status::Degraded,
        format!("{served} serve requests; drafts ({}): {}{more}", drafts.len(), named.join("; ")),
        "mend the files that the errors name, then reload or restart",
    )
    .with("served", served)
    .with("drafts", drafts)
}

/// Which tools the agents have. All are built in, and need nothing from outside.
pub(super) fn tools(registry: &Registry) -> Check {
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for tool in registry.needs().flat_map(|needs| needs.tools) {
        *users.entry(tool).or_default() += 1;
    }
    let told: Vec<String> = users.iter().map(|(tool, count)| format!("{tool} ({count})")).collect();
    let told = if told.is_empty() { "no agent has one".to_owned() } else { told.join(", ") };
    Check::ok(format!("built in, by number of agents: {told}")).with("tools", json!(users))
}

/// A row for each model of an agent, and for each process that is one.
pub(super) async fn providers(registry: &Registry, until: Instant) -> Vec<(String, Check)> {
    let mut names = Vec::new();
    let mut tasks = Vec::new();
    for needs in registry.needs() {
        for (number, model) in needs.models.into_iter().enumerate() {
            names.push(format!("provider:{ROLE}:{}/cand{number}", needs.agent));
            tasks.push(Subject::Model(model));
        }
        if let Some(url) = needs.upstream {
            names.push(format!("upstream:{}", needs.agent));
            tasks.push(Subject::Upstream(url));
        }
    }
    let more = tasks.len().saturating_sub(ASKED_MAX);
    tasks.truncate(ASKED_MAX);
    let asked = all(tasks.into_iter().map(Subject::check).collect(), until).await;
    let late = || {
        Check::bad(
            Status::Unreachable,
            "was not asked, for there was no time",
            "ask again: others took too long",
        )
    };
    let asked = asked.into_iter().map(|check| check.unwrap_or_else(late));
    let mut rows: Vec<_> = names.into_iter().zip(asked).collect();
    if more > 0 {
        rows.push(("providers".to_owned(), unasked(more)));
    }
    rows
}

/// The row for what is beyond [`ASKED_MAX`].
fn unasked(count: usize) -> Check {
    Check::bad(
        Status::Degraded,
        format!("{count} more were not asked: a report asks {ASKED_MAX} models and processes"),
        "nothing is known to be wrong with them; traces show how their runs end",
    )
    .with("unasked", count)
}

/// What an agent needs from outside.
enum Subject<'a> {
    Model(&'a dyn ChatModel),
    Upstream(&'a UpstreamUrl),
}

impl Subject<'_> {
    async fn check(self) -> Check {
        match self {
            Self::Model(model) => self::model(model).await,
            Self::Upstream(url) => upstream(url, ANSWER_MAX).await,
        }
    }
}

async fn model(model: &dyn ChatModel) -> Check {
    let (kind, name) = (model.kind(), model.name());
    let check = match model.check(ANSWER_MAX).await {
        Ok(Availability::AskedOfPeers) => Check::ok(format!(
            "{kind}, model {name}: spec.peers with the service inference are asked; what they serve is \
             not known before"
        )),
        Ok(Availability::Answers) => Check::ok(format!("{kind}, model {name}: answers")),
        Ok(Availability::NotListed) => Check::bad(
            Status::Degraded,
            format!("{kind}: answers, but does not list the model {name}"),
            "check model in the agent file; some servers have models that they do not list",
        ),
        Ok(Availability::NoList(status)) => Check::bad(
            Status::Degraded,
            format!("{kind}, model {name}: answers, but with HTTP {status} to GET …/models"),
            "check endpoint (usually ending in /v1); some servers have no list of models",
        ),
        Err(ModelError { code, message, hint }) => {
            let status = match code {
                ErrorCode::MissingApiKey | ErrorCode::NoEligibleProvider => Status::Unavailable,
                ErrorCode::DnsResolutionFailed
                | ErrorCode::ConnectionRefused
                | ErrorCode::Timeout => Status::Unreachable,
                ErrorCode::OllamaNotFound | ErrorCode::AllProvidersFailed => Status::Error,
            };
            Check::bad(status, message, hint).with("code", code.as_str())
        }
    };
    check.with("provider", kind).with("model", name)
}

async fn upstream(url: &UpstreamUrl, limit: Duration) -> Check {
    // A query may hold a key.
    let path = url.path.split('?').next().unwrap_or_default();
    let place = format!("http://{}{path}", url.authority);
    let reason = match timeout(limit, TcpStream::connect(&url.authority)).await {
        Ok(Ok(_)) => return Check::ok(format!("{place} takes connections")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no connection within {} s", limit.as_secs()),
    };
    Check::bad(
        Status::Unreachable,
        format!("{place}: {reason}"),
        "start the agent's process, or mend spec.upstream.url in its file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_query_of_an_upstream_is_not_told() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = UpstreamUrl { authority: closed.to_string(), path: "/run?key=hush".to_owned() };
        let check = upstream(&url, ANSWER_MAX).await;
        assert_eq!(check.status, Status::Unreachable);
        assert!(check.message.starts_with(&format!("http://{closed}/run: ")), "{check:?}");
        assert!(!format!("{check:?}").contains("hush"), "{check:?}");
    }
}
