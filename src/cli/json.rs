//! JSON text laid out for reading, value for value as it came.
//!
//! A parser would round numbers and drop repeated keys; this only moves white space. The text must
//! be JSON already: what is not is passed through as it is.

use serde::de::IgnoredAny;

/// Deeper text is left as it is: its indentation would outgrow it.
const DEPTH_MAX: usize = 128;

/// Two spaces a level, one member a line; empty lists and objects stay on their line.
pub(super) fn pretty(text: &str) -> String {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' => {
                result.push('"');
                copy_string(&mut rest, &mut result);
            }
            '{' | '[' => {
                result.push(character);
                skip_space(&mut rest);
                if let Some(close) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    result.push(close);
                } else {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return text.to_owned();
                    }
                    new_line(&mut result, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut result, depth);
                result.push(character);
            }
            ',' => {
                result.push(',');
                new_line(&mut result, depth);
            }
            ':' => result.push_str(": "),
            ' ' | '\t' | '\r' | '\n' => {}
            other => result.push(other),
        }
    }
    result
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn copy_string(rest: &mut Characters<'_>, result: &mut String) {
    while let Some(character) = rest.next() {
        result.push(character);
        match character {
            '"' => return,
            '\\' => result.extend(rest.next()),
            _ => {}
        }
    }
}

fn skip_space(rest: &mut Characters<'_>) {
    while rest.next_if(|next| next.is_ascii_whitespace()).is_some() {}
}

fn new_line(result: &mut String, depth: usize) {
    result.push('\n');
    result.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn layout_is_that_of_serde_json() {
        let rows = [
            r#"{"a":[1,2,{"b":"x,{}[]:\"\\"}],"c":{},"d":[ ],"e":null}"#,
            r#"[ [ ] , [ [ { } ] ] , "" ]"#,
            "  17 ",
            r#"{"\u00e9":"ä\n"}"#,
        ];
        for text in rows {
            let pretty_text = pretty(text);
            let before: Value = serde_json::from_str(text).expect("JSON");
            let after: Value = serde_json::from_str(&pretty_text).expect("still JSON");
            assert_eq!(before, after);
            if !text.contains("\\u") {
                let expected = serde_json::to_string_pretty(&before).expect("a value");
                assert_eq!(pretty_text, expected);
            }
        }
    }

    #[test]
    fn numbers_and_repeated_keys_stay_as_they_came() {
        let text = r#"{"n":1763762256.12345678901234567890,"n":1e400,"n":-0.0}"#;
        let flat: String = pretty(text).split_whitespace().collect();
        assert_eq!(flat, text);
    }

    #[test]
    fn what_is_no_json_is_passed_through() {
        assert_eq!(pretty("<html>"), "<html>");
        assert_eq!(pretty("[1"), "[1");
        let deep = "[".repeat(1000) + "1" + &"]".repeat(1000);
        assert_eq!(pretty(&deep), deep);
    }
}
