//! The section `spec.model`: which models an agent asks, in which order.
//!
//! Both forms are read: `primary`/`fallback`/`extra`, and `default.candidates`. A block may refer to
//! a provider and inherit from it. Roles are accepted and not used: the one pattern that is built
//! has one role.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};

use super::kind::{self, Kind, Protocol, not_built};
use super::provider::Provider;
use super::section::{Problems, Section};
use crate::agent::providers::Providers;
use crate::config::secret;
use crate::directory::models;
use crate::model::{Key, Settings, echo};

/// How many models one agent may try.
const CANDIDATES_MAX: usize = 16;

/// The longest timeout of a model call, in seconds.
const TIMEOUT_SECONDS_MAX: f64 = 3_600.0;

const TIMEOUT_SECONDS_DEFAULT: f64 = 120.0;

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

/// One model to try.
#[derive(Debug, Clone)]
pub(in crate::agent) enum Candidate {
    OpenAi(Settings),
    Ollama(Settings),
    Anthropic(Settings),
    Mesh(Settings),
    Echo { model: String, delay: Duration },
}

/// The models of an agent.
#[derive(Debug, Default)]
pub(super) struct Models {
    /// In the order in which they are tried.
    pub(super) candidates: Vec<Candidate>,
    /// Names of the providers they refer to.
    pub(super) providers: Vec<String>,
}

/// All models of `spec.model`.
pub(super) fn read(
    spec: &Section<'_>,
    providers: &Providers,
    problems: &mut Problems<'_>,
) -> Models {
    let remedy = "no model; write primary: {provider: echo}, or ollama, openai_compat and others";
    let Some(model) = spec.section("model", problems) else {
        if spec.value("model").is_none() {
            problems.add(&spec.path.key("model"), None, remedy);
        }
        return Models::default();
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
    let mut models = Models::default();
    for block in &blocks {
        only_block_keys(block, problems);
        if block.value("providerRef").is_none() {
            models.candidates.extend(candidate(block, None, problems));
        } else if let Some(provider) = referred(block, providers, problems) {
            let whole = provider.complete(block.map);
            let whole = Section { path: block.path.clone(), map: &whole };
            models.candidates.extend(candidate(&whole, Some(provider), problems));
            models.providers.push(provider.name.clone());
        }
    }
    models
}

/// Notes each key that a block does not have; fields of the request are taken for such by many.
fn only_block_keys(block: &Section<'_>, problems: &mut Problems<'_>) {
    for key in block.map.keys().filter(|key| !BLOCK_KEYS.contains(&key.as_str())) {
        let remedy = format!(
            "unknown key; if it is a field of the request, such as num_ctx or top_p, write it in \
             parameters; known here: {}",
            BLOCK_KEYS.join(", ")
        );
        problems.add(&block.path.key(key), None, &remedy);
    }
}

/// The provider that a block refers to.
fn referred<'a>(
    block: &Section<'_>,
    providers: &'a Providers,
    problems: &mut Problems<'_>,
) -> Option<&'a Provider> {
    let name = block.string("providerRef", problems)?;
    let provider = providers.get(name);
    if provider.is_none() {
        block.wrong("providerRef", &providers.why_not(), problems);
    }
    provider
}

/// The model of one block, completed by the provider it refers to.
fn candidate(
    block: &Section<'_>,
    provider: Option<&Provider>,
    problems: &mut Problems<'_>,
) -> Option<Candidate> {
    let timeout = block.seconds("timeout", TIMEOUT_SECONDS_MAX, problems);
    let timeout = Duration::from_secs_f64(timeout.unwrap_or(TIMEOUT_SECONDS_DEFAULT));
    let key = if block.map.contains_key("provider") { "provider" } else { "source" };
    let name = match (block.string(key, problems), block.value("model").and_then(Value::as_str)) {
        (Some(name), _) => name,
        (None, _) if block.value(key).is_some() => return None,
        (None, Some(model)) if model.contains('/') && provider.is_none() => "litellm",
        (None, _) => kind::DEFAULT,
    };
    if name == "echo" {
        return echo(block, problems);
    }
    if let Some(kind) = Kind::of(name) {
        let settings = settings(kind, timeout, block, problems)?;
        return Some(match kind.protocol {
            Protocol::OpenAi => Candidate::OpenAi(settings),
            Protocol::Ollama => Candidate::Ollama(settings),
            Protocol::Anthropic => Candidate::Anthropic(settings),
            Protocol::Mesh => Candidate::Mesh(settings),
        });
    }
    match provider {
        Some(provider) => {
            let what = not_built(name, "type");
            let remedy = format!("its type {name:?} in {}: {what}", provider.file);
            block.wrong("providerRef", &remedy, problems);
        }
        None => {
            let what = not_built(name, "provider");
            problems.add(&block.path.key(key), Some(&Value::from(name)), &what);
        }
    }
    None
}

/// How a model of this kind is asked.
fn settings(
    kind: &Kind,
    timeout: Duration,
    block: &Section<'_>,
    problems: &mut Problems<'_>,
) -> Option<Settings> {
    let model = name_of_model(block, problems).or(kind.model);
    if model.is_none() && block.value("model").is_none() {
        block.wrong("model", "missing; write the name under which the server has it", problems);
    }
    if kind.protocol == Protocol::Mesh {
        if model.is_some_and(|model| !models::is_name(models::name(model))) {
            let what =
                "no node can serve a model of this name; `astromeshctl models list` has the names";
            block.wrong("model", what, problems);
        }
        for key in ["endpoint", "api_key", "api_key_env"] {
            if block.value(key).is_some() {
                let what = "has no meaning for models of the mesh: remove it, and say it in a provider of the node that serves the model";
                problems.add(&block.path.key(key), None, what);
            }
        }
    }
    let parameters = parameters(kind, block, problems);
    let (endpoint, key) = endpoint_and_key(kind, block, problems)?;
    Some(Settings { model: model?.to_owned(), endpoint, key, parameters, timeout })
}

fn name_of_model<'a>(block: &Section<'a>, problems: &mut Problems<'_>) -> Option<&'a str> {
    let name = block.string("model", problems)?;
    if name.trim().is_empty() {
        block.wrong("model", "is empty; write the name under which the server has it", problems);
        return None;
    }
    Some(name)
}

fn echo(block: &Section<'_>, problems: &mut Problems<'_>) -> Option<Candidate> {
    let model = name_of_model(block, problems).unwrap_or("echo").to_owned();
    // It needs none of these; what is written is to be right all the same, for it is shown.
    endpoint(block, problems);
    literal_key(block, problems);
    key_variable(block, problems);
    let delay_ms = match block.section("parameters", problems) {
        None => 0,
        Some(parameters) if parameters.value("delay_ms").is_none() => 0,
        Some(parameters) => parameters.integer("delay_ms", (0, echo::DELAY_MS_MAX), problems)?,
    };
    Some(Candidate::Echo { model, delay: Duration::from_millis(delay_ms) })
}

/// `parameters`, with the shorthands for those that it does not have itself.
fn parameters(kind: &Kind, block: &Section<'_>, problems: &mut Problems<'_>) -> Map<String, Value> {
    let mut parameters = Map::new();
    if let Some(section) = block.section("parameters", problems) {
        for key in kind.reserved_parameters().iter().filter(|key| section.map.contains_key(**key)) {
            section.wrong(key, "is set by astromesh; remove it", problems);
        }
        for (key, own) in kind.foreign_parameters() {
            if section.value(key).is_some() {
                let what = format!("is no parameter of this provider; write {own}");
                section.wrong(key, &what, problems);
            }
        }
        if kind.protocol == Protocol::Ollama {
            section.section("options", problems);
        }
        let given = section.map.iter().filter(|(_, value)| !value.is_null());
        parameters = given.map(|(key, value)| (key.clone(), value.clone())).collect();
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

/// The URL in `endpoint`; `None` when there is none, or a wrong one, which is a problem.
pub(super) fn endpoint(block: &Section<'_>, problems: &mut Problems<'_>) -> Option<Url> {
    let text = block.string("endpoint", problems)?;
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
    Some(url)
}

/// The name in `api_key_env`.
pub(super) fn key_variable<'a>(
    block: &Section<'a>,
    problems: &mut Problems<'_>,
) -> Option<&'a str> {
    let variable = block.string("api_key_env", problems)?;
    if !secret::is_variable_name(variable) {
        let remedy =
            "must be the NAME of a variable, not the key: at most 64 letters, digits and _";
        block.wrong("api_key_env", remedy, problems);
        return None;
    }
    Some(variable)
}

/// The key in `api_key`, which no message repeats.
pub(super) fn literal_key<'a>(block: &Section<'a>, problems: &mut Problems<'_>) -> Option<&'a str> {
    let key = block.string("api_key", problems)?.trim();
    let what = if key.is_empty() {
        "is empty; remove it, or write the key"
    } else if key.contains("${") {
        "variables are not put in here; write api_key_env: NAME"
    } else if key.contains(char::is_control) {
        "must be a key on one line, as no header can hold this"
    } else {
        return Some(key);
    };
    block.wrong("api_key", what, problems);
    None
}

/// The endpoint, and the key that it is safe to send there: a kind's own key goes to its own host
/// only, unless the file names it.
fn endpoint_and_key(
    kind: &Kind,
    block: &Section<'_>,
    problems: &mut Problems<'_>,
) -> Option<(Url, Key)> {
    let literal = literal_key(block, problems);
    let variable = key_variable(block, problems);
    let url = if block.value("endpoint").is_some() {
        kind.base_url(endpoint(block, problems)?)
    } else {
        match kind.endpoint_default() {
            Ok(url) => url,
            Err(what) => {
                block.wrong("endpoint", &what, problems);
                return None;
            }
        }
    };
    let key = match (literal, variable.or_else(|| kind.key_variable(&url))) {
        (Some(key), _) => Key::Literal(key.to_owned()),
        (None, Some(name)) => Key::Environment(name.to_owned()),
        (None, None) => Key::None,
    };
    Some((url, key))
}
