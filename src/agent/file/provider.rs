//! Provider files, `providers*.yaml`: model servers under a name, which agents refer to.
//!
//! Owns the documented keys of these files, and what a reference inherits. A type that this version
//! does not have is no mistake here: only an agent that refers to it cannot be run.

use reqwest::Url;
use serde_json::{Map, Value};

use super::section::{Path, Problems, Section};
use super::{document, is_name, model};
use crate::agent::servers::{ListProtocol, ModelServer};
use crate::agent::source::content_of;
use crate::agent::types::ProviderSummary;
use crate::config::Problem;
use crate::model::openai;

/// The most providers of one file.
const PROVIDERS_MAX: usize = 256;
/// The most models of one provider.
const MODELS_MAX: usize = 256;

const KEYS: &[&str] = &[
    "type",
    "endpoint",
    "models",
    "api_key",
    "api_key_env",
    "endpoint_name",
    "contract",
    "health_check_interval",
    "serve",
];

/// One model server.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Provider {
    pub(in crate::agent) name: String,
    /// The file that has it.
    pub(in crate::agent) file: String,
    /// Tells whether the block says something else than before.
    pub(in crate::agent) content: u64,
    kind: Option<String>,
    endpoint: Option<String>,
    models: Vec<String>,
    key: Key,
    /// Whether an inference node serves its models, if the file says so.
    serve: Option<bool>,
}

#[derive(Clone)]
enum Key {
    None,
    Literal(String),
    Environment(String),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::None => "None",
            Self::Literal(_) => "Literal(***)",
            Self::Environment(name) => name,
        })
    }
}

impl Provider {
    /// The block of an agent with what it does not say itself.
    pub(super) fn complete(&self, block: &Map<String, Value>) -> Map<String, Value> {
        let mut whole = block.clone();
        let has = |key: &str| block.get(key).is_some_and(|value| !value.is_null());
        let mut inherit = |key: &str, value: Option<&String>| {
            if let Some(value) = value {
                whole.insert(key.to_owned(), value.clone().into());
            }
        };
        if !has("provider") && !has("source") {
            inherit("source", self.kind.as_ref());
        }
        if !has("model") {
            inherit("model", self.models.first());
        }
        if !has("endpoint") {
            inherit("endpoint", self.endpoint.as_ref());
        }
        if !has("api_key") && !has("api_key_env") {
            match &self.key {
                Key::None => {}
                Key::Literal(key) => inherit("api_key", Some(key)),
                Key::Environment(name) => inherit("api_key_env", Some(name)),
            }
        }
        whole
    }

    /// As it is listed, without keys; `used_by` names the agents that refer to it.
    pub(in crate::agent) fn summary(&self, used_by: Vec<String>) -> ProviderSummary {
        let (variable, is_key_set) = match &self.key {
            Key::None if self.is_openai() => with_state(model::KEY_VARIABLE_DEFAULT),
            Key::None => (None, None),
            Key::Literal(_) => (None, Some(true)),
            Key::Environment(name) => with_state(name),
        };
        ProviderSummary {
            name: self.name.clone(),
            kind: self.kind.clone().unwrap_or_else(|| model::KIND_DEFAULT.to_owned()),
            // A query may hold a secret.
            endpoint: self
                .endpoint
                .as_ref()
                .map(|url| url.split('?').next().unwrap_or_default().to_owned()),
            models: self.models.clone(),
            api_key_env: variable,
            api_key_set: is_key_set,
            file: self.file.clone(),
            used_by,
        }
    }

    /// The server whose models an inference node serves: a local one unless the file says otherwise,
    /// any other that speaks the `OpenAI` protocol if the file says so.
    pub(in crate::agent) fn server(&self) -> Option<ModelServer> {
        let kind = self.kind.as_deref().unwrap_or(model::KIND_DEFAULT);
        if !self.serve.unwrap_or_else(|| is_local(kind)) {
            return None;
        }
        Some(ModelServer {
            name: self.name.clone(),
            list: if kind == "ollama" { ListProtocol::Ollama } else { ListProtocol::OpenAi },
            api: self.api(kind)?,
            key: match &self.key {
                Key::None if self.is_openai() => {
                    openai::Key::Environment(model::KEY_VARIABLE_DEFAULT.to_owned())
                }
                Key::None => openai::Key::None,
                Key::Literal(key) => openai::Key::Literal(key.clone()),
                Key::Environment(name) => openai::Key::Environment(name.clone()),
            },
            models: self.models.clone(),
        })
    }

    /// The base URL of its `OpenAI`-compatible API.
    fn api(&self, kind: &str) -> Option<Url> {
        let endpoint = self.endpoint.as_deref().or(match kind {
            "ollama" => Some("http://localhost:11434"),
            "openai_compat" | "openai" => Some(model::ENDPOINT_DEFAULT),
            _ => None,
        })?;
        Url::parse(endpoint).ok()
    }

    /// Whether it needs the key of `OpenAI` without saying so.
    fn is_openai(&self) -> bool {
        let kind = self.kind.as_deref().unwrap_or(model::KIND_DEFAULT);
        let is_official = |url: &String| {
            Url::parse(url).is_ok_and(|url| url.host_str() == Some("api.openai.com"))
        };
        matches!(kind, model::KIND_DEFAULT | "openai" | "azure_openai")
            && self.endpoint.as_ref().is_none_or(is_official)
    }
}

/// The name of an environment variable, and whether it is set.
fn with_state(variable: &str) -> (Option<String>, Option<bool>) {
    let value = std::env::var(variable).unwrap_or_default();
    (Some(variable.to_owned()), Some(!value.trim().is_empty()))
}

/// Reads the text of a provider file; `file` is how messages name it. The error is all that is
/// wrong.
pub(in crate::agent) fn read(file: &str, text: &str) -> Result<Vec<Provider>, Vec<Problem>> {
    let document = document(file, text)?;
    let mut problems = Problems::new(file, &document);
    let mut providers = Vec::new();
    // A file of nothing but comments has no providers, and no problems.
    if !document.value().is_null()
        && let Some(top) = Section::new(document.value(), Path::default(), &mut problems)
    {
        top.only_keys(&["apiVersion", "kind", "metadata", "spec"], &mut problems);
        top.choice("apiVersion", &["astromesh/v1"], &mut problems);
        top.choice("kind", &["ProviderConfig"], &mut problems);
        top.section("metadata", &mut problems);
        if let Some(spec) = top.section("spec", &mut problems) {
            providers = read_spec(file, &spec, &mut problems);
        }
    }
    let problems = problems.into_list();
    if problems.is_empty() { Ok(providers) } else { Err(problems) }
}

fn read_spec(file: &str, spec: &Section<'_>, problems: &mut Problems<'_>) -> Vec<Provider> {
    spec.only_keys(&["providers", "routing"], problems);
    if let Some(routing) = spec.section("routing", problems) {
        // Documented, and used by nobody.
        routing.only_keys(&["default_strategy", "fallback_enabled", "circuit_breaker"], problems);
    }
    let Some(section) = spec.section("providers", problems) else { return Vec::new() };
    if section.map.len() > PROVIDERS_MAX {
        problems.add(&section.path, None, &format!("at most {PROVIDERS_MAX} providers a file"));
        return Vec::new();
    }
    let mut providers = Vec::new();
    for name in section.map.keys() {
        if !is_name(name) {
            let remedy = "a name has 1 to 128 letters, digits, dots, dashes, underscores";
            problems.add(&section.path.key(name), None, remedy);
        }
        match section.section(name, problems) {
            Some(block) => providers.push(provider(file, name, &block, problems)),
            None if section.value(name).is_none() => {
                section.wrong(name, "is empty; write at least its type", problems);
            }
            None => {}
        }
    }
    providers
}

fn provider(file: &str, name: &str, block: &Section<'_>, problems: &mut Problems<'_>) -> Provider {
    block.only_keys(KEYS, problems);
    // Checked here, so that an agent that refers to it has nothing to find.
    model::endpoint(block, problems);
    let literal = block.string("api_key", problems);
    let variable = model::key_variable(block, problems);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Provider {
        name: name.to_owned(),
        file: file.to_owned(),
        content: content_of(&Value::Object(block.map.clone()).to_string()),
        kind: owned(block.choice("type", model::KINDS, problems)),
        endpoint: owned(block.value("endpoint").and_then(Value::as_str)),
        models: models(block, problems),
        serve: serve(block, problems),
        key: match (literal, variable) {
            (Some(key), _) => Key::Literal(key.to_owned()),
            (None, Some(name)) => Key::Environment(name.to_owned()),
            (None, None) => Key::None,
        },
    }
}

/// Servers that are run beside a node, for it and for others of its mesh.
fn is_local(kind: &str) -> bool {
    matches!(kind, "ollama" | "vllm" | "llamacpp" | "hf_tgi")
}

fn serve(block: &Section<'_>, problems: &mut Problems<'_>) -> Option<bool> {
    let serve = block.boolean("serve", problems)?;
    let kind = block.value("type").and_then(Value::as_str).unwrap_or(model::KIND_DEFAULT);
    let speaks_openai = is_local(kind) || matches!(kind, "openai_compat" | "openai");
    if serve && !speaks_openai {
        let remedy = "only servers that speak the OpenAI protocol are served: remove serve, or write \
                      type: openai_compat and such an endpoint";
        block.wrong("serve", remedy, problems);
    }
    Some(serve)
}

fn models(block: &Section<'_>, problems: &mut Problems<'_>) -> Vec<String> {
    let Some(value) = block.value("models") else { return Vec::new() };
    let names = value.as_array().filter(|names| names.len() <= MODELS_MAX).and_then(|names| {
        let text = |name: &Value| name.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        names.iter().map(text).collect()
    });
    names.unwrap_or_else(|| {
        let remedy = format!("must be a list of at most {MODELS_MAX} names, such as [gpt-4o-mini]");
        block.wrong("models", &remedy, problems);
        Vec::new()
    })
}
