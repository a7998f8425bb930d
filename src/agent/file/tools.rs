//! The section `spec.tools`: which tools an agent may call, and how often.
//!
//! A tool that cannot be run makes the agent a draft: an agent that silently lacks a tool would
//! answer from imagination.

use std::time::Duration;

use serde_json::{Value, json};

use super::section::{Problems, Section};
use crate::agent::tools::{BUILTIN_NAMES, Builtin, HttpRequestSettings, RateLimit};

/// The most tools one agent may have; models choose badly among more.
const TOOLS_MAX: usize = 64;

const TYPES_NOT_BUILT: &[&str] = &[
    "internal",
    "agent",
    "client",
    "integration",
    "mcp_stdio",
    "mcp_sse",
    "mcp_http",
    "webhook",
    "rag",
];

/// One tool of an agent.
#[derive(Debug)]
pub(in crate::agent) struct ToolBlock {
    pub(in crate::agent) builtin: Builtin,
    /// For the model; the built-in one when the file has none.
    pub(in crate::agent) description: Option<String>,
    /// JSON Schema; the built-in one when the file has none.
    pub(in crate::agent) parameters: Option<Value>,
    pub(in crate::agent) rate_limit: Option<RateLimit>,
}

pub(super) fn read(spec: &Section<'_>, problems: &mut Problems<'_>) -> Vec<ToolBlock> {
    let sections = spec.sections("tools", problems);
    if sections.len() > TOOLS_MAX {
        problems.add(&spec.path.key("tools"), None, &format!("at most {TOOLS_MAX} tools"));
    }
    let mut names = Vec::new();
    let mut tools = Vec::new();
    for section in sections {
        tools.extend(tool(&section, problems));
        if let Some(name) = section.value("name").and_then(Value::as_str) {
            if names.contains(&name) {
                section.wrong("name", "is the name of an earlier tool; remove one", problems);
            }
            names.push(name);
        }
    }
    tools
}

fn tool(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<ToolBlock> {
    section.only_keys(
        &[
            "name",
            "type",
            "description",
            "parameters",
            "config",
            "agent",
            "connection",
            "actions",
            "context_transform",
            "rate_limit",
            "permissions",
            "requires_approval",
        ],
        problems,
    );
    let description = section.string("description", problems).map(str::to_owned);
    let parameters =
        section.section("parameters", problems).map(|parameters| schema(parameters.map));
    let rate_limit = rate_limit(section, problems);
    match section.string("type", problems) {
        Some("builtin") => {}
        Some(kind) if TYPES_NOT_BUILT.contains(&kind) => {
            section.wrong("type", "not built in this version; use builtin", problems);
            return None;
        }
        Some(_) => {
            section.wrong("type", "unknown type; use builtin", problems);
            return None;
        }
        None => {
            if section.value("type").is_none() {
                section.wrong("type", "missing; write type: builtin", problems);
            }
            return None;
        }
    }
    let built = BUILTIN_NAMES.join(", ");
    let builtin = match section.string("name", problems) {
        Some("datetime_now") => no_config(section, Builtin::DatetimeNow, problems),
        Some("json_transform") => no_config(section, Builtin::JsonTransform, problems),
        Some("http_request") => Builtin::HttpRequest(http_request(section, problems)),
        Some(_) => {
            let remedy = format!("no built-in tool of this version; it has {built}");
            section.wrong("name", &remedy, problems);
            return None;
        }
        None => {
            if section.value("name").is_none() {
                section.wrong("name", &format!("missing; built in are {built}"), problems);
            }
            return None;
        }
    };
    Some(ToolBlock { builtin, description, parameters, rate_limit })
}

fn no_config(section: &Section<'_>, builtin: Builtin, problems: &mut Problems<'_>) -> Builtin {
    if let Some(config) = section.section("config", problems) {
        for key in config.map.keys() {
            config.wrong(key, "unknown key; this tool has no configuration", problems);
        }
    }
    builtin
}

fn http_request(section: &Section<'_>, problems: &mut Problems<'_>) -> HttpRequestSettings {
    let mut settings = HttpRequestSettings::default();
    let Some(config) = section.section("config", problems) else {
        return settings;
    };
    config.only_keys(&["allow_localhost", "timeout_seconds", "max_response_bytes"], problems);
    if let Some(allow) = config.boolean("allow_localhost", problems) {
        settings.allow_localhost = allow;
    }
    if let Some(seconds) = config.seconds("timeout_seconds", 600.0, problems) {
        settings.timeout = Duration::from_secs_f64(seconds);
    }
    if let Some(bytes) = config.integer("max_response_bytes", (1, 64 * 1024 * 1024), problems) {
        settings.response_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    settings
}

fn rate_limit(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<RateLimit> {
    let limit = section.section("rate_limit", problems)?;
    limit.only_keys(&["window_seconds", "max_calls"], problems);
    let window = limit.seconds("window_seconds", 86_400.0, problems).unwrap_or(60.0);
    let calls = limit.integer("max_calls", (1, 10_000), problems).unwrap_or(10);
    Some(RateLimit {
        window: Duration::from_secs_f64(window),
        calls_max: usize::try_from(calls).unwrap_or(usize::MAX),
    })
}

/// `{city: {type: string}}` is short for a schema with that property.
fn schema(parameters: &serde_json::Map<String, Value>) -> Value {
    if parameters.get("type").is_some_and(|kind| kind == "object") {
        return Value::Object(parameters.clone());
    }
    json!({"type": "object", "properties": parameters})
}
