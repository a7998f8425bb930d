//! `reload`: the daemon reads its configuration and agent files again.
//!
//! Owns what is said of it. The daemon checks, and changes nothing when anything is wrong.

use std::time::Duration;

use serde_json::json;

use crate::api::types::ReloadAnswer;

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Output, Stream};

pub(super) const EXAMPLES: &str = "\
Examples:
  astromeshctl reload                        take over what runtime.yaml and agents/ say now
  astromeshctl reload --json | jq .needs_restart
  kill -HUP \"$(pidof astromeshd)\"            the same; the outcome is in the log

With anything wrong in any file nothing changes, all problems are shown, and the exit code is 1.";

/// Reading a thousand files may take its time on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(global: &Global, output: &Output) -> Result<(), Failure> {
    let client = Client::new(global, PATIENCE)?;
    let answer = client.post(&["v1", "system", "reload"], &json!({})).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    output.line(Stream::Stdout, &text(&answer.read()?))
}

fn text(answer: &ReloadAnswer) -> String {
    let agents = &answer.agents;
    let lists = [
        ("Changed", &answer.changed),
        ("Agents added", &agents.added),
        ("Agents changed", &agents.changed),
        ("Agents removed", &agents.removed),
        ("Needs a restart", &answer.needs_restart),
    ];
    let mut lines = vec!["Reloaded.".to_owned()];
    for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        lines.push(format!("{:<17}{}", format!("{what}:"), names.join(", ")));
    }
    if lines.len() == 1 {
        lines = vec!["Reloaded; nothing has changed.".to_owned()];
    }
    lines.extend(answer.warnings.iter().map(|warning| format!("Warning: {warning}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::AgentChanges;

    #[test]
    fn what_changed_is_listed_and_nothing_is_said_of_the_rest() {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let nothing = ReloadAnswer {
            status: "reloaded".to_owned(),
            changed: Vec::new(),
            needs_restart: Vec::new(),
            agents: AgentChanges::default(),
            warnings: Vec::new(),
        };
        assert_eq!(text(&nothing), "Reloaded; nothing has changed.");
        let much = ReloadAnswer {
            changed: owned(&["spec.log_level", "providers"]),
            needs_restart: owned(&["spec.api.port"]),
            agents: AgentChanges { added: owned(&["a", "b"]), ..AgentChanges::default() },
            warnings: owned(&["spec.peers ignored when mesh is enabled"]),
            ..nothing
        };
        assert_eq!(
            text(&much),
            "Reloaded.\nChanged:         spec.log_level, providers\nAgents added:    a, b\n\
             Needs a restart: spec.api.port\nWarning: spec.peers ignored when mesh is enabled"
        );
    }
}
