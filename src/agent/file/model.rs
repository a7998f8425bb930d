//! The section `spec.model`: which models an agent asks, in which order.
//!
//! Both forms are read: `primary`/`fallback`/`extra`, and `default.candidates`. Roles are accepted
//! and not used: the one pattern that is built has one role.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};

use super::section::{Problems, Section};
use crate::model::{echo, openai};

/// How many models one agent may try.
const CANDIDATES_MAX: usize = 16;

/// The longest timeout of a model call, in seconds.
const TIMEOUT_SECONDS_MAX: f64 = 3_600.0;

const TIMEOUT_SECONDS_DEFAULT: f64 = 120.0;
const ENDPOINT_DEFAULT: &str = "https://api.openai.com/v1";
const MODEL_DEFAULT: &str = "gpt-4o-mini";
const KEY_VARIABLE_DEFAULT: &str = "OPENAI_API_KEY";

const BLOCK_KEYS: &[&str] = &[
    "provider",
    "source",
    "model",
    "endpoint",
    "api_key",
    "api_key_env",
    "parameters",
    "temperature",
    "max_tokens",
    "timeout",
    "providerRef",
    "endpoint_name",
    "contract",
];
const STRATEGIES: &[&str] =
    &["cost_optimized", "latency_optimized", "quality_first", "round_robin", "capability_match"];
/// Fields of a request that are not the file's to set.
const RESERVED_PARAMETERS: &[&str] = &["model", "messages", "tools", "stream"];

/// One model to try.
#[derive(Debug, Clone)]
pub(in crate::agent) enum Candidate {
    OpenAi(openai::Settings),
    Echo { model: String, delay: Duration },
}

/// All models of `spec.model`, in the order in which they are tried.
pub(super) fn read(spec: &Section<'_>, problems: &mut Problems<'_>) -> Vec<Candidate> {
    let remedy = "no model; write primary: {provider: echo}, or an openai_compat block";
    let Some(model) = spec.section("model", problems) else {
        if spec.value("model").is_none() {
            problems.add(&spec.path.key("model"), None, remedy);
        }
        return Vec::new();
    };
    model.only_keys(&["primary", "fallback", "extra", "default", "roles", "routing"], problems);
    if let Some(routing) = model.section("routing", problems) {
        routing.only_keys(&["strategy", "health_check_interval"], problems);
        routing.choice("strategy", STRATEGIES, problems);
    }
    let mut blocks = Vec::new();
    if let Some(default) = model.section("default", problems) {
        default.only_keys(&["candidates", "strategy"], problems);
        default.choice("strategy", STRATEGIES, problems);
        blocks.extend(default.sections("candidates", problems));
    }
    blocks.extend(model.section("primary", problems));
    blocks.extend(model.section("fallback", problems));
    if let Some(extra) = model.section("extra", problems) {
        for name in extra.map.keys() {
            blocks.extend(extra.section(name, problems));
        }
    }
    if blocks.is_empty() {
        problems.add(&model.path, None, remedy);
    } else if blocks.len() > CANDIDATES_MAX {
        problems.add(&model.path, None, &format!("at most {CANDIDATES_MAX} models"));
    }
    blocks.iter().filter_map(|block| candidate(block, problems)).collect()
}

fn candidate(block: &Section<'_>, problems: &mut Problems<'_>) -> Option<Candidate> {
    block.only_keys(BLOCK_KEYS, problems);
    if block.value("providerRef").is_some() {
        block.wrong(
            "providerRef",
            "providers.yaml is not read by this version; write provider, endpoint and model here",
            problems,
        );
        return None;
    }
    let model = block.string("model", problems);
    let timeout = block.seconds("timeout", TIMEOUT_SECONDS_MAX, problems);
    let parameters = parameters(block, problems);
    let key = if block.map.contains_key("provider") { "provider" } else { "source" };
    let kind = match block.string(key, problems) {
        Some(kind) => kind,
        None if block.value(key).is_some() => return None,
        None if model.is_some_and(|model| model.contains('/')) => "litellm",
        None => "openai_compat",
    };
    match kind {
        "echo" => echo(block, model, problems),
        "openai_compat" | "openai" | "azure_openai" => {
            let (endpoint, key) = endpoint_and_key(block, problems)?;
            Some(Candidate::OpenAi(openai::Settings {
                model: model.unwrap_or(MODEL_DEFAULT).to_owned(),
                endpoint,
                key,
                parameters,
                timeout: Duration::from_secs_f64(timeout.unwrap_or(TIMEOUT_SECONDS_DEFAULT)),
            }))
        }
        other => {
            let path = block.path.key(key);
            problems.add(&path, Some(&Value::from(other)), &not_built(other));
            None
        }
    }
}

/// What to write instead of a provider that this version does not have.
fn not_built(kind: &str) -> String {
    let instead = match kind {
        "ollama" => {
            "Ollama speaks the OpenAI protocol: write provider: openai_compat, endpoint: http://localhost:11434/v1"
        }
        "anthropic" => {
            "Anthropic speaks the OpenAI protocol: write provider: openai_compat, endpoint: https://api.anthropic.com/v1, api_key_env: ANTHROPIC_API_KEY"
        }
        "vllm" | "llamacpp" | "hf_tgi" => {
            "its server speaks the OpenAI protocol: write provider: openai_compat and its base URL with /v1 as endpoint"
        }
        "litellm" => {
            "write provider: openai_compat (a model name with a slash and no provider means litellm), and as endpoint the provider's base URL or that of a LiteLLM proxy"
        }
        "centinela" | "onnx" => "use openai_compat or echo",
        _ => return "unknown provider; this version has openai_compat and echo".to_owned(),
    };
    format!("not built in this version; {instead}")
}

fn echo(
    block: &Section<'_>,
    model: Option<&str>,
    problems: &mut Problems<'_>,
) -> Option<Candidate> {
    let delay_ms = match block.section("parameters", problems) {
        None => 0,
        Some(parameters) if parameters.value("delay_ms").is_none() => 0,
        Some(parameters) => parameters.integer("delay_ms", (0, echo::DELAY_MS_MAX), problems)?,
    };
    let model = model.unwrap_or("echo").to_owned();
    Some(Candidate::Echo { model, delay: Duration::from_millis(delay_ms) })
}

/// `parameters`, with the shorthands for those that it does not have itself.
fn parameters(block: &Section<'_>, problems: &mut Problems<'_>) -> Map<String, Value> {
    let mut parameters = Map::new();
    if let Some(section) = block.section("parameters", problems) {
        for key in RESERVED_PARAMETERS.iter().filter(|key| section.map.contains_key(**key)) {
            section.wrong(key, "is set by astromesh; remove it", problems);
        }
        parameters = section.map.clone();
    }
    for key in ["temperature", "max_tokens"] {
        let Some(value) = block.value(key) else { continue };
        if !value.is_number() {
            block.wrong(key, "must be a number", problems);
        } else if !parameters.contains_key(key) {
            parameters.insert(key.to_owned(), value.clone());
        }
    }
    parameters
}

/// The endpoint, and the key that it is safe to send there: OpenAI's own key goes to OpenAI only,
/// unless the file names it.
fn endpoint_and_key(
    block: &Section<'_>,
    problems: &mut Problems<'_>,
) -> Option<(Url, openai::Key)> {
    let text = match block.string("endpoint", problems) {
        Some(text) => text,
        None if block.value("endpoint").is_some() => return None,
        None => ENDPOINT_DEFAULT,
    };
    let literal = block.string("api_key", problems);
    let variable = block.string("api_key_env", problems);
    if variable.is_some_and(|name| name.is_empty() || name.contains(['=', '\0'])) {
        block.wrong("api_key_env", "must be the name of an environment variable", problems);
    }
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        block.wrong("endpoint", "must be a URL such as http://localhost:11434/v1", problems);
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let remedy = "must not hold a user or password; use api_key_env";
        problems.add(&block.path.key("endpoint"), None, remedy);
        return None;
    }
    let key = match (literal, variable) {
        (Some(key), _) => openai::Key::Literal(key.to_owned()),
        (None, Some(name)) => openai::Key::Environment(name.to_owned()),
        (None, None) if url.host_str() == Some("api.openai.com") => {
            openai::Key::Environment(KEY_VARIABLE_DEFAULT.to_owned())
        }
        (None, None) => openai::Key::None,
    };
    Some((url, key))
}
