//! What can go wrong in a command, how it is said, and the exit code it means.
//!
//! Owns the mapping from failure to exit code and the hint on what to do next. It prints nothing
//! itself; [`super::output`] does.

use serde_json::{Value, json};

use crate::config::Problems;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection could be made.
    #[error("no daemon can be reached at {url}: {cause}")]
    Unreachable { url: String, cause: String },
    /// Connected, but the answer did not come in time. The daemon may still be at work.
    #[error("the daemon at {url} did not answer within {seconds} s")]
    Timeout { url: String, seconds: f64 },
    /// Something answered, but not as a daemon would.
    #[error("the answer of {url} cannot be understood: {cause}")]
    Unintelligible { url: String, cause: String },
    /// The daemon answered with an error.
    #[error("{}", detail_text(.body))]
    Refused { url: String, status: u16, body: Value },
    /// The daemon, or something on the way to it, ended an answer that has no end.
    #[error("the daemon at {url} tells no more: {cause}")]
    StreamEnded { url: String, cause: String },
    /// The daemon accepted a leave, but still does not say that it has left.
    #[error("the daemon accepted the leave, but says that its node is `{status}`, not `left`")]
    LeaveNotConfirmed { status: String },
    /// The command line asks for something impossible.
    #[error("{message}")]
    Usage { message: String },
    /// The configuration is wrong; every problem comes with its remedy.
    #[error("the configuration is wrong\n{problems}")]
    Configuration { problems: Problems },
    /// This process could not do its own part.
    #[error("failed to {doing}: {cause}")]
    Local { doing: &'static str, cause: String },
    /// The demo did not show what it promises.
    #[error("{message}")]
    Demo { message: String },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// What failed is in the answer that was printed.
    #[error("failed")]
    Told { exit_code: u8 },
    /// Whoever read our output has read enough; nothing went wrong.
    #[error("output closed")]
    OutputClosed,
}

impl Failure {
    /// 0 fine, 1 failed, 2 usage, 3 not reachable, 64 bad configuration, as a daemon ends with it;
    /// 130 as shells say "interrupted".
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Timeout { .. }
            | Self::Unintelligible { .. }
            | Self::Refused { .. }
            | Self::StreamEnded { .. }
            | Self::LeaveNotConfirmed { .. }
            | Self::Local { .. }
            | Self::Demo { .. } => 1,
            Self::Told { exit_code } => *exit_code,
            Self::Usage { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::Configuration { .. } => 64,
            Self::Interrupted => 130,
        }
    }

    /// What to try next; empty when there is nothing to add.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "start a daemon with `astromeshd` or `astromeshctl daemon`, \
                 or name another with --url URL or ASTROMESH_DAEMON_URL"
                    .to_owned()
            }
            Self::Timeout { .. } => "wait longer with --timeout SECONDS".to_owned(),
            Self::Unintelligible { .. } => "check that an astromesh daemon listens there; name \
                 another with --url URL or ASTROMESH_DAEMON_URL"
                .to_owned(),
            Self::Refused { url, status, body } => refusal_hint(url, *status, body),
            Self::StreamEnded { .. } => {
                "ask another daemon with --url URL, or let --retry wait until it is back".to_owned()
            }
            Self::LeaveNotConfirmed { .. } => {
                "look again with `astromeshctl mesh nodes`; stopping the daemon leaves too"
                    .to_owned()
            }
            Self::Usage { .. } => "see --help".to_owned(),
            Self::Configuration { .. }
            | Self::Local { .. }
            | Self::Demo { .. }
            | Self::Told { .. }
            | Self::Interrupted
            | Self::OutputClosed => String::new(),
        }
    }

    /// For `--json`: the daemon's own error unchanged, ours in the same shape.
    pub(super) fn json(&self) -> Value {
        let code = match self {
            Self::Refused { body: body @ Value::Object(_), .. } => return body.clone(),
            Self::Refused { .. } | Self::Unintelligible { .. } => "unintelligible_answer",
            Self::Unreachable { .. } => "daemon_unreachable",
            Self::Timeout { .. } => "timeout",
            Self::StreamEnded { .. } => "stream_ended",
            Self::LeaveNotConfirmed { .. } => "leave_not_confirmed",
            Self::Usage { .. } => "usage",
            Self::Configuration { .. } => "configuration",
            Self::Local { .. } => "local",
            Self::Demo { .. } => "demo",
            Self::Told { .. } => "failed",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
        };
        json!({"detail": self.to_string(), "code": code, "request_id": null})
    }
}

fn refusal_hint(url: &str, status: u16, body: &Value) -> String {
    if let Some(hint) = body.pointer("/detail/hint").and_then(Value::as_str) {
        return hint.to_owned();
    }
    let code = body.get("code").and_then(Value::as_str).unwrap_or_default();
    if code == "node_not_found" {
        return "`astromeshctl mesh nodes` shows the members".to_owned();
    }
    if code == "reload_refused" {
        return "the daemon goes on as it was; mend what is named, and reload again".to_owned();
    }
    let is_off = !matches!(code, "too_many_listeners" | "mesh_left");
    if code == "trace_not_found" {
        return "`astromeshctl traces list` shows those that the node keeps".to_owned();
    }
    if url.contains("/v1/metrics/") && status == 404 {
        return "metrics are switched on by `spec.services.observability: true`".to_owned();
    }
    if code == "tool_not_found" {
        return "`astromeshctl tools list` shows the tools".to_owned();
    }
    if url.contains("/v1/mesh/") && status == 503 && is_off {
        return "the mesh is switched on by `spec.mesh.enabled: true` in runtime.yaml".to_owned();
    }
    if url.contains("/v1/agents/") && status == 404 {
        return "`astromeshctl agents list` shows the agents of the mesh".to_owned();
    }
    match body.get("request_id").and_then(Value::as_str) {
        // What is refused for the caller's mistake leaves no more than its line in the log.
        Some(id) if status >= 500 && !id.is_empty() => {
            format!("the daemon's log has more about request {id}")
        }
        _ => String::new(),
    }
}

/// The `detail` of an error body as text: a string, a list of problems, or an object with a
/// `message`.
fn detail_text(body: &Value) -> String {
    let detail = body.get("detail").unwrap_or(body);
    match detail {
        Value::String(text) => text.clone(),
        Value::Array(problems) => {
            let lines: Vec<String> = problems.iter().map(problem_text).collect();
            lines.join("\n")
        }
        Value::Object(_) => problem_text(detail),
        Value::Null | Value::Bool(_) | Value::Number(_) => detail.to_string(),
    }
}

fn problem_text(problem: &Value) -> String {
    let text = problem.get("message").or_else(|| problem.get("msg")).unwrap_or(problem);
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    let Some(location) = problem.get("loc").and_then(Value::as_array) else { return text };
    let words =
        location.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned));
    let location = words.collect::<Vec<_>>().join(".");
    match problem.get("input") {
        // Of something large, such as a body in which a field is missing, the place says enough.
        Some(input @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
            format!("{location} = {}: {text}", shortened(&input.to_string()))
        }
        Some(_) | None => format!("{location}: {text}"),
    }
}

/// The longest piece of an input that is repeated, in characters.
const INPUT_CHARS_MAX: usize = 60;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(INPUT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_every_shape_are_text() {
        let rows = [
            ("string", json!({"detail": "no such agent"}), "no such agent"),
            ("list", json!({"detail": ["a", {"msg": "b"}]}), "a\nb"),
            (
                "object",
                json!({"detail": {"error": "x", "message": "model is down"}}),
                "model is down",
            ),
            (
                "list with places",
                json!({"detail": [
                    {"loc": ["query", "limit"], "input": "many", "msg": "no number"},
                    {"loc": ["body", "steps", 3], "input": {}, "msg": "Field required"},
                ]}),
                "query.limit = \"many\": no number\nbody.steps.3: Field required",
            ),
            ("number", json!({"detail": 7}), "7"),
            ("no detail", json!({"oops": 1}), "{\"oops\":1}"),
        ];
        for (name, body, expected) in rows {
            assert_eq!(detail_text(&body), expected, "{name}");
        }
    }

    #[test]
    fn only_faults_of_the_daemon_lead_to_its_log() {
        for (status, expected) in [(422, ""), (500, "the daemon's log has more about request r1")] {
            let body = json!({"detail": "d", "code": "c", "request_id": "r1"});
            let url = "http://a/v1/traces/".to_owned();
            assert_eq!(Failure::Refused { url, status, body }.hint(), expected);
        }
    }

    #[test]
    fn hint_of_the_daemon_wins() {
        let url = "http://a/v1/agents/x/run".to_owned();
        let body = json!({"detail": {"message": "m", "hint": "set OPENAI_API_KEY"}});
        let failure = Failure::Refused { url, status: 502, body };
        assert_eq!(failure.hint(), "set OPENAI_API_KEY");
        assert_eq!(failure.exit_code(), 1);
    }
}
