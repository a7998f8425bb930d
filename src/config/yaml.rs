//! The one place that touches the YAML libraries.
//!
//! Owns reading: text to typed values, and text to a [`Document`] that knows the line of each of
//! its values. `serde_yaml` makes the values; it tells no positions, so those come from a second
//! pass over the events of `saphyr-parser`, which also enforces the limits below before any value
//! is built. Refuses to know what the values mean.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest text in bytes. A thousand times the largest file we ship.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The deepest nesting of lists and mappings. Half of what the YAML library itself allows.
pub const DEPTH_MAX: usize = 64;

/// The most values after aliases are followed, so that a few lines of aliases to aliases cannot
/// grow to gigabytes.
pub const VALUES_MAX: usize = 1 << 17;

/// The text is no YAML, or not of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Line, counted from 1, where known.
    pub line: Option<usize>,
    /// What is wrong, as the YAML library puts it.
    pub message: String,
}

/// Reads a value from YAML text within the limits of this module. A key given twice in one mapping
/// and numbers that are not finite are refused.
///
/// # Errors
/// The first thing that is wrong with the text.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    outline(text)?;
    deserialize(text)
}

/// YAML text as values of which each knows its line.
#[derive(Debug, Clone)]
pub struct Document {
    value: serde_json::Value,
    outline: Outline,
}

impl Document {
    /// Reads YAML text, with the refusals of [`read`]. Empty text is a document that holds `null`.
    ///
    /// # Errors
    /// The first thing that is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        let outline = outline(text)?;
        Ok(Self { value: deserialize(text)?, outline })
    }

    /// The value of the whole document, aliases resolved.
    #[must_use]
    pub const fn value(&self) -> &serde_json::Value {
        &self.value
    }

    /// The value at a path such as `spec.mesh.enabled`; `None` where there is none or `null`. For
    /// keys without dots; what is in a list is reached through the list.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&serde_json::Value> {
        let value = path.split('.').try_fold(&self.value, |value, key| value.get(key))?;
        if value.is_null() { None } else { Some(value) }
    }

    /// The line, counted from 1, of the key or list item at a path such as `spec.mesh.seeds[1]`. A
    /// path that is not in the text, because it is missing or came by an alias, has the line of
    /// the closest thing around it.
    #[must_use]
    pub fn line(&self, path: &str) -> usize {
        let mut place = &self.outline;
        for step in path.split(['.', '[']) {
            match place.children.get(step.trim_end_matches(']')) {
                Some(child) => place = child,
                None => break,
            }
        }
        place.line
    }
}

/// Writes a value as YAML text.
///
/// # Errors
/// The value has a shape that YAML cannot hold, such as a map with maps for keys.
pub fn write<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value)
        .map_err(|error| YamlError { line: None, message: error.to_string() })
}

fn deserialize<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_yaml::from_str(text).map_err(|error| YamlError {
        line: error.location().map(|location| location.line()),
        message: error.to_string(),
    })
}

/// The lines of a value and of everything in it; list items are children named by their index.
#[derive(Debug, Clone)]
struct Outline {
    line: usize,
    children: BTreeMap<String, Self>,
}

/// A list or mapping that has not ended yet.
struct Open {
    outline: Outline,
    /// Values in it so far, itself included, aliases followed.
    values: usize,
    anchor: usize,
    awaited: Awaited,
}

/// What the next node inside an open list or mapping is.
enum Awaited {
    Item(usize),
    Key,
    Value { key: String, line: usize },
}

fn outline(text: &str) -> Result<Outline, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(fault(None, format!("the text is longer than {TEXT_BYTES_MAX} bytes")));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) =
            event.map_err(|error| fault(Some(error.marker().line()), error.info().to_owned()))?;
        builder.handle(event, span.start.line())?;
    }
    Ok(builder.root.unwrap_or(Outline { line: 1, children: BTreeMap::new() }))
}

const fn fault(line: Option<usize>, message: String) -> YamlError {
    YamlError { line, message }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// How many values each anchor stands for.
    anchors: BTreeMap<usize, usize>,
    values: usize,
    root: Option<Outline>,
}

impl Builder {
    fn handle(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, _tag) => {
                if matches!(style, ScalarStyle::Plain) && is_not_finite(&text) {
                    return Err(fault(Some(line), format!("`{text}` is not a finite number")));
                }
                if self.is_key_awaited() {
                    return self.key(text.into_owned(), line);
                }
                self.count(1, line)?;
                self.close(Outline { line, children: BTreeMap::new() }, 1, anchor);
            }
            Event::Alias(anchor) => {
                if self.is_key_awaited() {
                    return Err(fault(Some(line), "an alias cannot be a key".to_owned()));
                }
                let Some(&values) = self.anchors.get(&anchor) else {
                    return Err(fault(Some(line), "an alias to what it is part of".to_owned()));
                };
                self.count(values, line)?;
                self.close(Outline { line, children: BTreeMap::new() }, values, 0);
            }
            Event::SequenceStart(anchor, _tag) => self.start(anchor, Awaited::Item(0), line)?,
            Event::MappingStart(anchor, _tag) => self.start(anchor, Awaited::Key, line)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let ended = self.open.pop().expect("the parser pairs starts and ends");
                self.close(ended.outline, ended.values, ended.anchor);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn is_key_awaited(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.awaited, Awaited::Key))
    }

    fn count(&mut self, values: usize, line: usize) -> Result<(), YamlError> {
        self.values = self.values.saturating_add(values);
        if self.values > VALUES_MAX {
            let message = format!("more than {VALUES_MAX} values, aliases followed");
            return Err(fault(Some(line), message));
        }
        Ok(())
    }

    fn key(&mut self, key: String, line: usize) -> Result<(), YamlError> {
        let open = self.open.last_mut().expect("a key is only awaited inside a mapping");
        if let Some(first) = open.outline.children.get(&key) {
            let message = format!("key `{key}` is given twice, first in line {}", first.line);
            return Err(fault(Some(line), message));
        }
        open.awaited = Awaited::Value { key, line };
        Ok(())
    }

    fn start(&mut self, anchor: usize, awaited: Awaited, line: usize) -> Result<(), YamlError> {
        if self.is_key_awaited() {
            let message = "a list or mapping cannot be a key".to_owned();
            return Err(fault(Some(line), message));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(fault(Some(line), format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.count(1, line)?;
        let outline = Outline { line, children: BTreeMap::new() };
        self.open.push(Open { outline, values: 1, anchor, awaited });
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn close(&mut self, mut outline: Outline, values: usize, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, values);
        }
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(outline);
            return;
        };
        parent.values = parent.values.saturating_add(values);
        let name = match std::mem::replace(&mut parent.awaited, Awaited::Key) {
            Awaited::Item(index) => {
                parent.awaited = Awaited::Item(index + 1);
                index.to_string()
            }
            Awaited::Value { key, line } => {
                outline.line = line;
                key
            }
            Awaited::Key => unreachable!("a key ends in `Builder::key`"),
        };
        parent.outline.children.insert(name, outline);
    }
}

/// `.inf` and `.nan` in all their forms: JSON values cannot hold them, and they would read as if
/// the key were missing.
fn is_not_finite(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.eq_ignore_ascii_case(".inf") || digits.eq_ignore_ascii_case(".nan")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (Option<usize>, String) {
        let error = Document::parse(text).unwrap_err();
        assert_eq!(read::<serde_json::Value>(text).unwrap_err(), error);
        (error.line, error.message)
    }

    #[test]
    fn every_key_and_item_has_its_line() {
        let text = "# a comment\nspec:\n  mesh:\n    seeds:\n      - http://a\n\n      - http://b\n  \
                    list: [1,\n    2]\n  text: |\n    spec:\n    more\nend: {a: {b: 1}}\n";
        let document = Document::parse(text).unwrap();
        for (path, line) in [
            ("spec", 2),
            ("spec.mesh.seeds", 4),
            ("spec.mesh.seeds[0]", 5),
            ("spec.mesh.seeds[1]", 7),
            ("spec.list[0]", 8),
            ("spec.list[1]", 9),
            ("spec.text", 10),
            ("end.a.b", 13),
        ] {
            assert_eq!(document.line(path), line, "{path}");
        }
    }

    #[test]
    fn a_path_that_is_not_in_the_text_has_the_line_around_it() {
        let document = Document::parse("a: &x\n  b: 1\nc: *x\n").unwrap();
        assert_eq!(document.at("c.b"), Some(&serde_json::json!(1)));
        assert_eq!(document.line("c.b"), 3);
        assert_eq!(document.line("a.missing[3]"), 1);
    }

    #[test]
    fn text_without_values_is_null() {
        for text in ["", "# nothing\n", "---\n"] {
            assert!(Document::parse(text).unwrap().value().is_null(), "{text:?}");
        }
    }

    #[test]
    fn what_would_be_lost_in_silence_is_refused_with_its_line() {
        let twice = refusal("a: 1\nb: 2\na: 3\n");
        assert_eq!(twice, (Some(3), "key `a` is given twice, first in line 1".to_owned()));
        assert_eq!(refusal("x: 1\na: -.INF\n").0, Some(2));
        assert_eq!(refusal("x: 1\n? [k]\n: 2\n").0, Some(2));
        assert!(Document::parse("a: '.inf'\n").is_ok(), "quoted text is text");
    }

    #[test]
    fn limits_hold_before_values_are_built() {
        let long = refusal(&" ".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(long, (None, "the text is longer than 1048576 bytes".to_owned()));

        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Document::parse(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(refusal(&deep(DEPTH_MAX + 1)).1, "nested more than 64 levels deep");

        let bomb = (1..20).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
            let below = level - 1;
            format!("{text}a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n")
        });
        assert!(refusal(&bomb).1.starts_with("more than 131072 values"));
    }

    #[test]
    fn broken_text_is_refused_with_its_line() {
        assert_eq!(refusal("a: 1\nb: }\n").0, Some(2));
        assert!(refusal("a: 1\n---\nb: 2\n").1.contains("more than one document"));
    }

    #[test]
    fn a_typed_value_of_the_wrong_shape_is_refused_with_its_line() {
        let error = read::<BTreeMap<String, u8>>("a: 1\nb: x\n").unwrap_err();
        assert_eq!(error.line, Some(2));
    }
}
