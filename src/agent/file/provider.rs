//! Provider files, `providers*.yaml`: model servers under a name, which agents refer to.
//!
//! Owns the documented keys of these files, and what a reference inherits. A type that this version
//! does not have is no mistake here: only an agent that refers to it cannot be run.

use reqwest::Url;
use serde_json::{Map, Value};

use super::kind::{self, Kind, Protocol};
use super::section::{Path, Problems, Section};
use super::{document, is_name, model};
use crate::agent::servers::{ListProtocol, ModelServer};
use crate::agent::source::content_of;
use crate::agent::types::ProviderSummary;
use crate::config::Problem;
use crate::model::Key;

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
            Key::None => self.key_variable().map_or((None, None), with_state),
            Key::Literal(_) => (None, Some(true)),
            Key::Environment(name) => with_state(name),
        };
        ProviderSummary {
            name: self.name.clone(),
            kind: self.kind.clone().unwrap_or_else(|| kind::DEFAULT.to_owned()),
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
        let kind = self.kind()?;
        if !self.serve.unwrap_or(kind.is_local) {
            return None;
        }
        let list = match kind.protocol {
            Protocol::OpenAi => ListProtocol::OpenAi,
            Protocol::Ollama => ListProtocol::Ollama,
            Protocol::Anthropic | Protocol::Mesh => return None,
        };
        let endpoint = self.endpoint()?;
        Some(ModelServer {
            name: self.name.clone(),
            list,
            key: match &self.key {
                Key::None => kind
                    .key_variable(&endpoint)
                    .map_or(Key::None, |variable| Key::Environment(variable.to_owned())),
                key => key.clone(),
            },
            api: kind.openai_url(endpoint)?,
            models: self.models.clone(),
        })
    }

    /// What is wrong where neither the file nor the environment says where the server is. The rest of
    /// the file is none the worse for it.
    pub(in crate::agent) fn oddity(&self) -> Option<String> {
        let what = match self.endpoint {
            Some(_) => return None,
            None => self.kind()?.endpoint_default().err()?,
        };
        Some(format!("{}: {}.endpoint: {what}", self.file, self.name))
    }

    /// Whether it says of this server whether its models are served, by its type or by `serve`.
    pub(in crate::agent) fn decides_on(&self, api: &Url) -> bool {
        let Some((kind, endpoint)) = self.kind().zip(self.endpoint()) else { return false };
        (kind.is_local || self.serve.is_some()) && kind.openai_url(endpoint).as_ref() == Some(api)
    }

    /// `None` when this version does not have it.
    fn kind(&self) -> Option<&'static Kind> {
        Kind::of(self.kind.as_deref().unwrap_or(kind::DEFAULT))
    }

    /// Where its protocol is spoken; `None` when nobody says.
    fn endpoint(&self) -> Option<Url> {
        let kind = self.kind()?;
        match &self.endpoint {
            Some(url) => Url::parse(url).ok().map(|url| kind.base_url(url)),
            None => kind.endpoint_default().ok(),
        }
    }

    /// The variable whose key it sends without saying so.
    fn key_variable(&self) -> Option<&'static str> {
        self.kind()?.key_variable(&self.endpoint()?)
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
    let literal = model::literal_key(block, problems);
    let variable = model::key_variable(block, problems);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Provider {
        name: name.to_owned(),
        file: file.to_owned(),
        content: content_of(&Value::Object(block.map.clone()).to_string()),
        kind: owned(block.choice("type", kind::NAMES, problems)),
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

/// Whether an inference node serves its models, if the file says so.
fn serve(block: &Section<'_>, problems: &mut Problems<'_>) -> Option<bool> {
    let serve = block.boolean("serve", problems)?;
    let kind = block.value("type").and_then(Value::as_str).unwrap_or(kind::DEFAULT);
    let speaks_openai = Kind::of(kind).is_some_and(Kind::speaks_openai);
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
