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
    /// One of a provider that finds its key or its address in the environment.
    Real {
        /// Who serves it, as agent files say it.
        provider: &'static str,
        /// Its name.
        name: String,
    },
}

/// The providers in the order in which they are looked for: the variable that stands for each, its
/// name in agent files, and the model that is taken when none is named.
const PROVIDERS: [(&str, &str, &str); 3] = [
    ("OPENAI_API_KEY", "openai", "gpt-4o-mini"),
    ("ANTHROPIC_API_KEY", "anthropic", "claude-haiku-5-5"),
    ("OLLAMA_HOST", "ollama", "llama3"),
];

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
        let is_set = |variable| environment(variable).is_some_and(|value| !value.trim().is_empty());
        let found = PROVIDERS.iter().find(|(variable, ..)| is_set(variable));
        let Some((_, provider, default)) = found else {
            let message = "--real-model needs OPENAI_API_KEY, ANTHROPIC_API_KEY or OLLAMA_HOST";
            return Err(Failure::Usage { message: message.to_owned() });
        };
        Ok(Self::Real { provider, name: name.unwrap_or(default).to_owned() })
    }

    /// How it is written in an agent file.
    pub(super) fn block(&self) -> Value {
        match self {
            Self::Echo { delay_ms } => {
                json!({"provider": "echo", "model": "echo", "parameters": {"delay_ms": delay_ms}})
            }
            Self::Real { provider, name } => json!({"provider": provider, "model": name}),
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
            (&[("OPENAI_API_KEY", "k"), ("OLLAMA_HOST", "h")][..], "openai"),
            (&[("OPENAI_API_KEY", " "), ("ANTHROPIC_API_KEY", "k")], "anthropic"),
            (&[("OLLAMA_HOST", "127.0.0.1:11434")], "ollama"),
        ];
        for (environment, expected) in rows {
            let model = chosen(Some("mine"), environment).expect("something is set");
            assert_eq!(model.block(), json!({"provider": expected, "model": "mine"}));
        }
    }

    #[test]
    fn without_any_key_the_flag_is_refused() {
        assert!(matches!(chosen(None, &[]), Err(Failure::Usage { .. })));
    }
}
