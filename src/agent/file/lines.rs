//! The line of a key in YAML text, for messages about it.
//!
//! Looked up only when something is wrong, one streaming pass for each problem, so that a good file
//! costs nothing. Expects text that the YAML reader has accepted, which bounds its nesting.

use saphyr_parser::{Event, Parser, Span, StrInput};

/// One step of the way from the top of a document to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// A key of a mapping.
    Key(String),
    /// A place in a list, counted from 0.
    Index(usize),
}

/// The line, counted from 1, of the value at this path, or of the deepest part of the path that is
/// there.
pub(super) fn line_of(text: &str, path: &[Segment]) -> Option<usize> {
    let mut events = Events { parser: Parser::new_from_str(text) };
    let mut line = None;
    for segment in path {
        let (event, _) = events.next()?;
        let found = match (event, segment) {
            (Event::MappingStart(..), Segment::Key(name)) => events.find_key(name),
            (Event::SequenceStart(..), Segment::Index(index)) => events.find_item(*index),
            _ => None,
        };
        match found {
            Some(found) => line = Some(found),
            None => return line,
        }
    }
    line
}

struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Events<'a> {
    /// The next event that is part of a value.
    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        loop {
            match self.parser.next_event()?.ok()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                event => return Some(event),
            }
        }
    }

    /// Stops before the value of this key.
    fn find_key(&mut self, name: &str) -> Option<usize> {
        loop {
            match self.next()? {
                (Event::Scalar(key, ..), span) if key == name => return Some(span.start.line()),
                (Event::MappingEnd, _) => return None,
                (event, _) => self.skip_rest(&event)?,
            }
            let (event, _) = self.next()?;
            self.skip_rest(&event)?;
        }
    }

    /// Stops before the item at this place.
    fn find_item(&mut self, index: usize) -> Option<usize> {
        for _ in 0..index {
            match self.next()? {
                (Event::SequenceEnd, _) => return None,
                (event, _) => self.skip_rest(&event)?,
            }
        }
        let (event, span) = self.parser.peek()?.ok()?;
        if *event == Event::SequenceEnd { None } else { Some(span.start.line()) }
    }

    /// Reads to the end of the value that this event begins.
    fn skip_rest(&mut self, first: &Event<'a>) -> Option<()> {
        let mut depth = usize::from(opens(first));
        while depth > 0 {
            let (event, _) = self.next()?;
            if opens(&event) {
                depth += 1;
            } else if matches!(event, Event::MappingEnd | Event::SequenceEnd) {
                depth -= 1;
            }
        }
        Some(())
    }
}

fn opens(event: &Event<'_>) -> bool {
    matches!(event, Event::MappingStart(..) | Event::SequenceStart(..))
}

#[cfg(test)]
mod tests {
    use super::{Segment, line_of};

    fn key(name: &str) -> Segment {
        Segment::Key(name.to_owned())
    }

    #[test]
    fn a_key_below_lists_and_mappings_is_found_at_its_line() {
        let text = "a: [1, {x: 2}]\nspec:\n  other:\n    name: no\n  tools:\n    - name: one\n    - name: two\n      type: builtin\n";
        let path = [key("spec"), key("tools"), Segment::Index(1), key("type")];
        assert_eq!(line_of(text, &path), Some(8));
    }

    #[test]
    fn a_missing_key_gives_the_line_of_what_should_hold_it() {
        let text = "metadata:\n  name: a\nspec:\n  model: {}\n";
        assert_eq!(line_of(text, &[key("spec"), key("model"), key("primary")]), Some(4));
        assert_eq!(line_of(text, &[key("nowhere")]), None);
        assert_eq!(line_of("", &[key("spec")]), None);
    }
}
