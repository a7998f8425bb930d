//! The kinds of model providers: which protocol each speaks, and what a block need not say.
//!
//! Owns the documented names. Refuses the ones that this version does not have by saying what to
//! write instead.

use reqwest::Url;

use crate::model::{anthropic, ollama};

/// A protocol that is spoken to a model server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    OpenAi,
    Ollama,
    Anthropic,
    /// That of this node's own server.
    Mesh,
}

/// A kind of provider.
#[derive(Debug)]
pub(super) struct Kind {
    names: &'static [&'static str],
    pub(super) protocol: Protocol,
    endpoint: Endpoint,
    /// The model of a block that names none; without it, each block must.
    pub(super) model: Option<&'static str>,
    /// Whether its servers are run beside a node, for it and for others of its mesh.
    pub(super) is_local: bool,
    /// The host that gets the key in this variable without being told so, over https. Others get
    /// none: a key must not go to whoever a file names as endpoint.
    pub(super) key: Option<(&'static str, &'static str)>,
}

/// The endpoint of a block that has none.
#[derive(Debug)]
enum Endpoint {
    Fixed(&'static str),
    /// Where `OLLAMA_HOST` says.
    Ollama,
    /// Each block must have one, as this says.
    Needed(&'static str),
    /// Each block must have that of a server run beside a node; `/v1` is added where it is left out.
    Local,
    /// No block may have one: the own node is asked, whose address is known when it runs.
    Own,
}

/// What a block without a word about it means.
pub(super) const DEFAULT: &str = "openai_compat";

const BUILT: &[Kind] = &[
    Kind {
        names: &["openai_compat", "openai"],
        protocol: Protocol::OpenAi,
        endpoint: Endpoint::Fixed("https://api.openai.com/v1"),
        model: Some("gpt-4o-mini"),
        is_local: false,
        key: Some(("api.openai.com", "OPENAI_API_KEY")),
    },
    Kind {
        names: &["azure_openai"],
        protocol: Protocol::OpenAi,
        endpoint: Endpoint::Needed(
            "https://RESOURCE.openai.azure.com/openai/v1, that of your resource",
        ),
        model: Some("gpt-4o-mini"),
        is_local: false,
        key: None,
    },
    Kind {
        names: &["ollama"],
        protocol: Protocol::Ollama,
        endpoint: Endpoint::Ollama,
        model: Some("llama3"),
        is_local: true,
        key: None,
    },
    Kind {
        names: &["anthropic"],
        protocol: Protocol::Anthropic,
        endpoint: Endpoint::Fixed("https://api.anthropic.com"),
        model: Some("claude-haiku-5-5"),
        is_local: false,
        key: Some(("api.anthropic.com", "ANTHROPIC_API_KEY")),
    },
    // Servers with the models of whoever runs them, at addresses that clash with each other's and
    // ours: there is nothing to guess.
    Kind {
        names: &["vllm", "llamacpp", "hf_tgi"],
        protocol: Protocol::OpenAi,
        endpoint: Endpoint::Local,
        model: None,
        is_local: true,
        key: None,
    },
    Kind {
        names: &["mesh"],
        protocol: Protocol::Mesh,
        endpoint: Endpoint::Own,
        model: None,
        is_local: false,
        key: None,
    },
];

/// Every documented name, those included that this version does not have.
pub(super) const NAMES: &[&str] = &[
    "openai_compat",
    "openai",
    "azure_openai",
    "echo",
    "ollama",
    "anthropic",
    "vllm",
    "llamacpp",
    "hf_tgi",
    "mesh",
    "onnx",
    "litellm",
    "centinela",
];

impl Kind {
    /// The kind of this name, if it is built.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        BUILT.iter().find(|kind| kind.names.contains(&name))
    }

    /// Parameters of other protocols, and what this one has in their place.
    pub(super) const fn foreign_parameters(&self) -> &'static [(&'static str, &'static str)] {
        match self.protocol {
            Protocol::OpenAi | Protocol::Mesh => &[],
            Protocol::Ollama => ollama::FOREIGN_PARAMETERS,
            Protocol::Anthropic => anthropic::FOREIGN_PARAMETERS,
        }
    }

    /// Fields of a request that are not the file's to set.
    pub(super) const fn reserved_parameters(&self) -> &'static [&'static str] {
        match self.protocol {
            Protocol::OpenAi | Protocol::Ollama | Protocol::Mesh => {
                &["model", "messages", "tools", "stream"]
            }
            Protocol::Anthropic => &["model", "messages", "tools", "stream", "system"],
        }
    }

    /// The variable whose key is sent to this endpoint without being named in the file.
    pub(super) fn key_variable(&self, endpoint: &Url) -> Option<&'static str> {
        let (host, variable) = self.key?;
        (endpoint.scheme() == "https" && endpoint.host_str() == Some(host)).then_some(variable)
    }

    /// The endpoint of a block that has none, or what to do about it.
    pub(super) fn endpoint_default(&self) -> Result<Url, String> {
        match self.endpoint {
            Endpoint::Fixed(url) => Url::parse(url).map_err(|error| error.to_string()),
            Endpoint::Ollama => ollama::base_url()
                .map_err(|what| format!("{what}; mend it, or write endpoint here")),
            Endpoint::Own => Url::parse("http://localhost").map_err(|error| error.to_string()),
            Endpoint::Needed(what) => Err(format!("missing; write {what}")),
            Endpoint::Local => {
                Err("missing; write http://HOST:PORT, where the model server listens".to_owned())
            }
        }
    }

    /// The base URL of the protocol for an endpoint that a file gives.
    pub(super) fn base_url(&self, endpoint: Url) -> Url {
        match self.endpoint {
            Endpoint::Fixed(_) | Endpoint::Needed(_) | Endpoint::Own => endpoint,
            Endpoint::Ollama => ollama::server_url(endpoint),
            Endpoint::Local => with_v1(endpoint),
        }
    }

    /// Whether its servers speak the `OpenAI` protocol, beside another or alone.
    pub(super) fn speaks_openai(&self) -> bool {
        match self.protocol {
            Protocol::OpenAi | Protocol::Ollama => true,
            Protocol::Anthropic | Protocol::Mesh => false,
        }
    }

    /// The base URL of the `OpenAI` protocol beside this one.
    pub(super) fn openai_url(&self, base_url: Url) -> Option<Url> {
        match self.protocol {
            Protocol::OpenAi => Some(base_url),
            Protocol::Ollama => Some(with_v1(base_url)),
            Protocol::Anthropic | Protocol::Mesh => None,
        }
    }
}

/// The base URL of the `OpenAI` protocol of Ollama at this URL.
pub(in crate::agent) fn openai_url_of_ollama(server: Url) -> Url {
    with_v1(server)
}

/// The URL with `/v1` at the end of its path.
fn with_v1(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/');
    if !path.ends_with("/v1") {
        let path = format!("{path}/v1");
        url.set_path(&path);
    }
    url
}

/// What to write instead of a provider that this version does not have, as the value of `key`.
pub(super) fn not_built(name: &str, key: &str) -> String {
    let write = format!("write {key}: {DEFAULT}");
    let instead = match name {
        "litellm" => format!(
            "{write} (a model name with a slash and no provider means litellm), and as endpoint the provider's base URL or that of a LiteLLM proxy"
        ),
        "centinela" | "onnx" => "use a model server that speaks the OpenAI protocol".to_owned(),
        _ => {
            return "unknown provider; this version has openai_compat, openai, azure_openai, anthropic, ollama, vllm, llamacpp, hf_tgi, mesh and echo".to_owned();
        }
    };
    format!("not built in this version; {instead}")
}
