//! The tool `json_transform`: data through a template, and the result read as JSON if it is JSON.
//!
//! The template comes from a model, so it runs within the bounds of [`template::check_untrusted`].

use minijinja::value::Serde;
use serde_json::{Map, Value, json};

use super::{Finding, text};
use crate::agent::template;

pub(super) const DESCRIPTION: &str = "Reshapes JSON data with a Jinja template over the variable \
    `data`; a result that is JSON is returned as JSON. Statements: for, if. No operators + * ~: \
    use the filters add and mul.";

/// The largest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 16 * 1024;

/// The largest data, in bytes as JSON: one pass of a filter over it stays below a millisecond or so.
const DATA_BYTES_MAX: usize = 256 * 1024;

pub(super) fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": {
            "data": {"description": "Any JSON value, or text that holds one."},
            "template": {
                "type": "string",
                "description": "For example [{% for x in data.items %}{{ x.name | tojson }}{% if not loop.last %},{% endif %}{% endfor %}]",
            },
        },
        "required": ["data", "template"],
    })
}

pub(super) fn call(arguments: &Map<String, Value>) -> Result<Finding, String> {
    let source = text(arguments, "template")?.ok_or("the argument template is missing")?;
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(format!("the template is larger than {TEMPLATE_BYTES_MAX} bytes"));
    }
    let data = match arguments.get("data") {
        None => return Err("the argument data is missing".to_owned()),
        // Models often quote what they were told to pass as it is.
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Some(data) => data.clone(),
    };
    if data.to_string().len() > DATA_BYTES_MAX {
        return Err(format!("the data is larger than {DATA_BYTES_MAX} bytes"));
    }
    template::check_untrusted(source)?;
    let environment = template::untrusted_environment();
    let template = environment.template_from_str(source).map_err(|error| error.to_string())?;
    let variables = Serde(json!({"data": data}));
    let output = template::render(&template, variables.into())?;
    let data = serde_json::from_str(&output).unwrap_or(Value::String(output));
    Ok(Finding::of(data))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::call;

    fn transform(data: &Value, template: &str) -> Result<Value, String> {
        let arguments = json!({"data": data, "template": template});
        call(arguments.as_object().unwrap()).map(|finding| finding.data)
    }

    #[test]
    fn data_is_reshaped_into_json() {
        let data = json!({"rows": [{"n": "a", "v": 2}, {"n": "b", "v": 3}]});
        let template = "[{% for row in data.rows %}{{ {\"name\": row.n, \"twice\": row.v|mul(2)} | tojson }}\
            {% if not loop.last %},{% endif %}{% endfor %}]";
        assert_eq!(
            transform(&data, template),
            Ok(json!([{"name": "a", "twice": 4}, {"name": "b", "twice": 6}]))
        );
        assert_eq!(
            transform(&json!("{\"a\": 1}"), "sum + total: {{ data.a }}"),
            Ok(json!("sum + total: 1"))
        );
        assert_eq!(transform(&data, "{% if (data.rows) %}1{% endif %}"), Ok(json!(1)));
    }

    #[test]
    fn templates_that_could_grow_without_end_are_refused() {
        let rows = [
            (
                "doubling",
                "{% for a in [data~data] %}{% for b in [a~a] %}{{ b }}{% endfor %}{% endfor %}",
            ),
            ("repetition", "{{ 'x' * 100000000 }}"),
            ("binding", "{% set a = data %}{{ a }}"),
            ("macro", "{% macro f(a) %}{{ f(a) }}{% endmacro %}{{ f(1) }}"),
            (
                "list of lists",
                "{% for a in [data, data] %}{% for b in [a, a] %}x{% endfor %}{% endfor %}",
            ),
            ("group", "{% for a in (data, data) %}x{% endfor %}"),
            ("recursion", "{% for a in data recursive %}{{ loop(data) }}{% endfor %}"),
            ("include", "{% include 'x' %}"),
            ("smuggled behind braces", "{{ {\"a\": {}}~data~data }}"),
            ("syntax", "{% for"),
        ];
        for (name, template) in rows {
            assert!(transform(&json!([1, 2]), template).is_err(), "{name}");
        }
    }

    #[test]
    fn steps_and_output_are_bounded() {
        let long: Vec<u32> = (0..2_000).collect();
        let nested = "{% for a in data %}{% for b in data %}x{% endfor %}{% endfor %}";
        assert!(transform(&json!(long), nested).is_err());
        let quoted = format!("{{{{ data {} }}}}", "| tojson ".repeat(60));
        assert!(transform(&json!({"a": "\"\\"}), &quoted).is_err());
        let text = "x".repeat(200_000);
        assert!(transform(&json!(text), &"{{ data }}".repeat(6)).is_err());
    }
}
