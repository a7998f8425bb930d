//! Which model the demo's agent talks to.
//!
//! Owns the rule that no one's money is spent unasked: a key in the environment changes nothing
//! until the user says `--real-model`.

use serde_json::{Value, json};

use crate::cli::failure::Failure;

/// The model behind the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Model {
    /// The built-in one, which repeats the query after a while.
    Echo {
        /// Long enough for requests to overlap, so that there is something to balance.
        delay_ms: u64,
    },
    /// One behind an OpenAI-compatible endpoint.
    Real {
        /// Who serves it, for people.
        provider: &'static str,
        /// Its name.
        name: String,
        /// Base URL, up to and with `/v1`.
        endpoint: String,
        /// How the endpoint knows us.
        key: Key,
    },
}

/// How an endpoint knows us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// By the key in this variable.
    Variable(&'static str),
    /// It asks for none, but clients insist on sending one.
    Any,
}

/// Long enough for six requests at a time to overlap, short enough for a demo.
const ECHO_DELAY_MS: u64 = 150;

impl Model {
    /// The built-in model.
    pub(super) fn echo() -> Self {
        Self::Echo { delay_ms: ECHO_DELAY_MS }
    }

    /// The first that the environment has a key or an address for.
    pub(super) fn real(
        name: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let set = |variable: &str| environment(variable).filter(|value| !value.trim().is_empty());
        let with = |provider, default: &str, endpoint: String, key| {
            let name = name.unwrap_or(default).to_owned();
            Ok(Self::Real { provider, name, endpoint, key })
        };
        if set("OPENAI_API_KEY").is_some() {
            let endpoint = "https://api.openai.com/v1".to_owned();
            return with("OpenAI", "gpt-4o-mini", endpoint, Key::Variable("OPENAI_API_KEY"));
        }
        if set("ANTHROPIC_API_KEY").is_some() {
            let endpoint = "https://api.anthropic.com/v1".to_owned();
            let key = Key::Variable("ANTHROPIC_API_KEY");
            return with("Anthropic", "claude-haiku-4-5", endpoint, key);
        }
        if let Some(host) = set("OLLAMA_HOST") {
            let host = host.trim().trim_end_matches('/');
            let scheme = if host.contains("://") { "" } else { "http://" };
            return with("Ollama", "llama3", format!("{scheme}{host}/v1"), Key::Any);
        }
        let message = "--real-model needs OPENAI_API_KEY, ANTHROPIC_API_KEY or OLLAMA_HOST";
        Err(Failure::Usage { message: message.to_owned() })
    }

    /// How it is written in an agent file.
    pub(super) fn block(&self) -> Value {
        match self {
            Self::Echo { delay_ms } => {
                json!({"provider": "echo", "model": "echo", "parameters": {"delay_ms": delay_ms}})
            }
            Self::Real { name, endpoint, key, .. } => {
                let mut block =
                    json!({"provider": "openai_compat", "model": name, "endpoint": endpoint});
                match key {
                    Key::Variable(variable) => block["api_key_env"] = json!(variable),
                    Key::Any => block["api_key"] = json!("none"),
                }
                block
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: Option<&str>, environment: &[(&str, &str)]) -> Result<Model, Failure> {
        Model::real(name, |wanted| {
            let found = environment.iter().find(|(variable, _)| *variable == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_first_key_decides() {
        let rows = [
            (&[("OPENAI_API_KEY", "k"), ("OLLAMA_HOST", "h")][..], "https://api.openai.com/v1"),
            (
                &[("OPENAI_API_KEY", " "), ("ANTHROPIC_API_KEY", "k")],
                "https://api.anthropic.com/v1",
            ),
            (&[("OLLAMA_HOST", "127.0.0.1:11434")], "http://127.0.0.1:11434/v1"),
            (&[("OLLAMA_HOST", "http://gpu:11434/")], "http://gpu:11434/v1"),
        ];
        for (environment, expected) in rows {
            let model = chosen(Some("mine"), environment).expect("something is set");
            assert_eq!(model.block()["endpoint"], json!(expected));
            assert_eq!(model.block()["model"], json!("mine"));
            assert!(!model.block().to_string().contains("\"k\""), "a key in a file");
        }
    }

    #[test]
    fn without_any_key_the_flag_is_refused() {
        assert!(matches!(chosen(None, &[]), Err(Failure::Usage { .. })));
    }
}
