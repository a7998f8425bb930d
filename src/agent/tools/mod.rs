//! The built-in tools of an agent and the limits on calling them.
//!
//! Each returns `{"success", "data", "metadata", "error"}`. Wrong arguments, refusals and failures
//! are observations for the model, never the end of a run.

mod address;
mod datetime_now;
mod http_request;
mod json_transform;
mod rate_limit;
mod trial;

use std::fmt;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::file::ToolBlock;
use crate::model::ToolSpec;

pub(super) use http_request::HttpRequestSettings;
pub(super) use rate_limit::RateLimit;
pub use trial::BuiltinTools;

/// The names of all built-in tools.
pub(super) const BUILTIN_NAMES: &[&str] = &["datetime_now", "json_transform", "http_request"];

/// What records call every tool that an agent does not have.
const UNKNOWN: &str = "unknown";

/// A built-in tool with its configuration.
#[derive(Debug, Clone)]
pub(super) enum Builtin {
    DatetimeNow,
    JsonTransform,
    HttpRequest(HttpRequestSettings),
}

impl Builtin {
    fn name(&self) -> &'static str {
        match self {
            Self::DatetimeNow => "datetime_now",
            Self::JsonTransform => "json_transform",
            Self::HttpRequest(_) => "http_request",
        }
    }

    fn description(&self) -> &'static str {
        match self {
            Self::DatetimeNow => datetime_now::DESCRIPTION,
            Self::JsonTransform => json_transform::DESCRIPTION,
            Self::HttpRequest(_) => http_request::DESCRIPTION,
        }
    }

    fn parameters(&self) -> Value {
        match self {
            Self::DatetimeNow => datetime_now::parameters(),
            Self::JsonTransform => json_transform::parameters(),
            Self::HttpRequest(_) => http_request::parameters(),
        }
    }
}

/// The tools of one agent, ready to be called.
pub(super) struct Toolbox {
    specs: Vec<ToolSpec>,
    tools: Vec<Tool>,
}

struct Tool {
    name: &'static str,
    action: Action,
    limiter: Option<rate_limit::Limiter>,
}

enum Action {
    DatetimeNow,
    JsonTransform,
    HttpRequest(http_request::HttpRequest),
}

impl Toolbox {
    pub(super) fn new(blocks: Vec<ToolBlock>) -> Self {
        let mut specs = Vec::with_capacity(blocks.len());
        let mut tools = Vec::with_capacity(blocks.len());
        for block in blocks {
            let name = block.builtin.name();
            specs.push(ToolSpec {
                name: name.to_owned(),
                description: block
                    .description
                    .unwrap_or_else(|| block.builtin.description().to_owned()),
                parameters: block.parameters.unwrap_or_else(|| block.builtin.parameters()),
            });
            let action = match block.builtin {
                Builtin::DatetimeNow => Action::DatetimeNow,
                Builtin::JsonTransform => Action::JsonTransform,
                Builtin::HttpRequest(settings) => {
                    Action::HttpRequest(http_request::HttpRequest::new(settings))
                }
            };
            let limiter = block.rate_limit.map(rate_limit::Limiter::new);
            tools.push(Tool { name, action, limiter });
        }
        Self { specs, tools }
    }

    /// The tools as they are offered to a model; empty when the agent has none.
    pub(super) fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// The name as records tell it: models invent names without end, and those are all one.
    pub(super) fn known_name(&self, name: &str) -> &'static str {
        let known = self.tools.iter().find(|tool| tool.name == name);
        known.map_or(UNKNOWN, |tool| tool.name)
    }

    /// Calls a tool and returns what the model is to see.
    pub(super) async fn call(&self, name: &str, arguments: &Value) -> Observation {
        let Some(tool) = self.tools.iter().find(|tool| tool.name == name) else {
            return Observation::refusal(&format!("Unknown tool '{name}'"));
        };
        if tool.limiter.as_ref().is_some_and(|limiter| !limiter.admit(Instant::now())) {
            return Observation::refusal(&format!("Rate limit exceeded for '{name}'"));
        }
        let empty = Map::new();
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            Value::Null => &empty,
            _ => return Observation::of(Err("the arguments must be a JSON object".to_owned())),
        };
        let result = match &tool.action {
            Action::DatetimeNow => datetime_now::call(arguments),
            Action::JsonTransform => json_transform::call(arguments),
            Action::HttpRequest(request) => request.call(arguments).await,
        };
        Observation::of(result)
    }
}

impl fmt::Debug for Toolbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.tools.iter().map(|tool| tool.name)).finish()
    }
}

/// What a tool found.
#[derive(Debug, Default)]
pub(super) struct Finding {
    pub(super) data: Value,
    pub(super) metadata: Map<String, Value>,
    /// The tool worked, and what it found is a failure, such as an HTTP 404.
    pub(super) failure: Option<String>,
}

impl Finding {
    pub(super) fn of(data: Value) -> Self {
        Self { data, ..Self::default() }
    }
}

/// What the model sees of a tool call.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) succeeded: bool,
    pub(super) body: Value,
}

impl Observation {
    /// The tool was not called.
    fn refusal(error: &str) -> Self {
        Self { succeeded: false, body: json!({"error": error}) }
    }

    fn of(result: Result<Finding, String>) -> Self {
        let (data, metadata, error) = match result {
            Ok(finding) => (finding.data, finding.metadata, finding.failure),
            Err(error) => (Value::Null, Map::new(), Some(error)),
        };
        Self {
            succeeded: error.is_none(),
            body: json!({
                "success": error.is_none(), "data": data, "metadata": metadata, "error": error,
            }),
        }
    }
}

/// A text argument; the error tells the model what is expected.
fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("the argument {name} must be text")),
    }
}
