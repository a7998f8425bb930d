//! The system prompt of an agent: a template over the context of a request.
//!
//! Variables are the context's keys, `memory` (empty) and `knowledge` (empty text). What is missing
//! renders as nothing, as does any part of it.

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, json};

use super::template;

const NAME: &str = "system";

/// Steps one prompt may take; a prompt over a context of a thousand entries takes some ten thousand.
const FUEL: u64 = 1_000_000;

/// A compiled system prompt.
#[derive(Debug)]
pub(super) struct Prompt {
    environment: Option<Environment<'static>>,
}

impl Prompt {
    /// No system prompt.
    pub(super) fn none() -> Self {
        Self { environment: None }
    }

    /// A prompt from this template; the error says where the template is wrong.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| error.to_string())?;
        Ok(Self { environment: Some(environment) })
    }

    /// The system message for a request with this context; `None` without a prompt.
    pub(super) fn render(
        &self,
        context: Option<&Map<String, serde_json::Value>>,
    ) -> Result<Option<String>, String> {
        let Some(environment) = &self.environment else { return Ok(None) };
        let mut variables = Map::new();
        variables.insert("memory".to_owned(), json!({}));
        variables.insert("knowledge".to_owned(), json!(""));
        if let Some(context) = context {
            variables.extend(context.clone());
        }
        let template = environment.get_template(NAME).map_err(|error| error.to_string())?;
        template::render(&template, Value::from(Serde(variables))).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::Prompt;

    #[test]
    fn what_the_context_lacks_renders_as_nothing() {
        let prompt =
            Prompt::new("<{{ user.name }}|{{ knowledge }}|{{ memory.x }}|{{ a }}>").unwrap();
        let context = serde_json::json!({"a": "<1>"});
        let text = prompt.render(context.as_object()).unwrap();
        assert_eq!(text.as_deref(), Some("<|||<1>>"));
    }

    #[test]
    fn an_endless_template_ends_with_an_error() {
        let prompt = Prompt::new(
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        )
        .unwrap();
        assert!(prompt.render(None).is_err());
    }
}
