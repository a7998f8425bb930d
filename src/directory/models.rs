//! How a model is told apart from an agent where nodes say what they serve.
//!
//! Nodes announce models in the list of their agents, under a prefix that no name of an agent can
//! have: so a model is spread, chosen by load, passed over and tried elsewhere by the same rules.
//! Owns the prefix, and the one name that a model has in the mesh.

use astromesh_wire::limits::AGENT_NAME_BYTES_MAX;

/// Stands before the name of a model. The name of an agent holds no colon.
pub const PREFIX: &str = "model:";

/// The longest name of a model, so that it fits with its prefix.
pub const NAME_BYTES_MAX: usize = AGENT_NAME_BYTES_MAX - PREFIX.len();

/// What Ollama puts behind the name of a model that was pulled without a tag.
const TAG_DEFAULT: &str = ":latest";

/// The name of a model in the mesh: `llama3` also for what may be called `llama3:latest`.
#[must_use]
pub fn name(model: &str) -> &str {
    model.strip_suffix(TAG_DEFAULT).unwrap_or(model)
}

/// Whether a model can be announced under this name: not empty, not too long, without characters that
/// would spoil a log or a table, and none that a URL takes for a step within its path.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_step = matches!(name, "." | "..");
    let has_control = name.chars().any(char::is_control);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !has_control && !is_step
}

/// What stands for a model among the agents of a node.
#[must_use]
pub fn entry(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// The model that an entry stands for; `None` when it is that of an agent.
#[must_use]
pub fn of_entry(entry: &str) -> Option<&str> {
    entry.strip_prefix(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_one_name_whether_its_default_tag_is_told_or_not() {
        let rows = [
            ("llama3:latest", "llama3"),
            ("llama3", "llama3"),
            ("llama3.1:8b", "llama3.1:8b"),
            ("a/b:latest", "a/b"),
        ];
        for (told, expected) in rows {
            assert_eq!(name(told), expected);
            assert_eq!(of_entry(&entry(name(told))), Some(expected));
        }
        assert_eq!(of_entry("support"), None);
    }

    #[test]
    fn a_name_fits_with_its_prefix_and_spoils_no_table_and_no_url() {
        let longest = "m".repeat(NAME_BYTES_MAX);
        assert!(is_name(&longest) && entry(&longest).len() == AGENT_NAME_BYTES_MAX);
        assert!(is_name("meta-llama/Llama-3.1 8B"));
        for bad in ["", ".", "..", "a\nb", "a\u{85}", &"m".repeat(NAME_BYTES_MAX + 1)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
