//! Where words go and how they look.
//!
//! Owns the decision on colours (only on a terminal, never with `NO_COLOR`), the width of tables,
//! and what happens when the reader of our output goes away. Answers go to stdout; errors and
//! remarks to stderr, so that a pipe gets the answer alone. Text from the mesh is stripped of
//! control characters before a terminal sees it.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Effects, Style};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};

use super::failure::Failure;
use super::json;

/// What the user wants on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How much of a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breadth {
    /// What fits the screen.
    Screen,
    /// Every column, each as wide as it needs.
    Wide,
}

/// What a piece of text means; colours follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Not yet clear.
    Doubtful,
    /// Not as it should be.
    Bad,
    /// Less important.
    Faint,
    /// A title.
    Strong,
    /// A quantity drawn as a bar.
    Accent,
}

/// One of the two ways out of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// The answer.
    Stdout,
    /// Remarks.
    Stderr,
}

/// How a column takes part in the distribution of a table's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// As wide as its longest cell.
    Whole,
    /// Broken over lines where needed, but never narrower than this.
    Wrap {
        /// The longest word that should stay in one piece.
        cells_min: u16,
    },
    /// Only in wide tables.
    Wide,
}

/// Both streams and the look of each.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// What the user wants on stdout.
    pub(super) format: Format,
    breadth: Breadth,
    stdout: Look,
    stderr: Look,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    terminal: bool,
    colour: bool,
}

/// The width of tables where there is no terminal to ask.
const WIDTH_DEFAULT: u16 = 80;

/// From this width on, columns are two blanks apart instead of one.
const ROOMY_WIDTH: u16 = 100;

/// Narrower tables would be nothing but line breaks.
const WIDTH_MIN: u16 = 40;

impl Output {
    /// The streams of this process.
    pub(super) fn new(format: Format, breadth: Breadth) -> Self {
        let colour_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let look = |terminal: bool| Look { terminal, colour: terminal && colour_wanted };
        Self {
            format,
            breadth,
            stdout: look(io::stdout().is_terminal()),
            stderr: look(io::stderr().is_terminal()),
        }
    }

    /// Whether the stream is a terminal.
    pub(super) fn is_terminal(&self, stream: Stream) -> bool {
        self.look(stream).terminal
    }

    /// `text` in the colour of its tone, where there are colours.
    pub(super) fn paint(&self, stream: Stream, tone: Tone, text: &str) -> String {
        if !self.look(stream).colour {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Doubtful => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Faint => Style::new().effects(Effects::DIMMED),
            Tone::Strong => Style::new().effects(Effects::BOLD),
            Tone::Accent => AnsiColor::Cyan.on_default(),
        };
        format!("{style}{text}{style:#}")
    }

    /// Writes text and a line break.
    pub(super) fn line(&self, stream: Stream, text: &str) -> Result<(), Failure> {
        let written = match stream {
            Stream::Stdout => write_line(&mut io::stdout().lock(), text),
            Stream::Stderr => write_line(&mut io::stderr().lock(), text),
        };
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Local { doing: "write the output", cause: error.to_string() },
        })
    }

    /// Writes the daemon's JSON to stdout, laid out for reading, otherwise as it is.
    pub(super) fn json(&self, text: &str) -> Result<(), Failure> {
        self.line(Stream::Stdout, &json::pretty(text))
    }

    /// Says on stderr what went wrong and what to try next.
    pub(super) fn failure(&self, failure: &Failure) {
        if matches!(failure, Failure::OutputClosed | Failure::Told { .. }) {
            return;
        }
        let text = match self.format {
            Format::Json => json::pretty(&failure.json().to_string()),
            Format::Text => self.failure_text(failure),
        };
        // Without stderr there is nobody left to tell; the exit code remains.
        drop(self.line(Stream::Stderr, &text));
    }

    fn failure_text(&self, failure: &Failure) -> String {
        let stream = Stream::Stderr;
        let mut text = self.paint(stream, Tone::Bad, "error:");
        let _infallible = write!(text, " {}", self.printable(stream, &failure.to_string()));
        let hint = failure.hint();
        if !hint.is_empty() {
            let label = self.paint(stream, Tone::Strong, "try:");
            let _infallible = write!(text, "\n  {label} {}", self.printable(stream, &hint));
        }
        text
    }

    /// Text from elsewhere, safe for the stream: a terminal obeys no control characters in it.
    pub(super) fn printable(&self, stream: Stream, text: &str) -> String {
        if self.is_terminal(stream) { harmless(text) } else { text.to_owned() }
    }

    /// Lines of a label and what it says, with the labels in a column.
    pub(super) fn rows(&self, stream: Stream, rows: &[(&str, String)]) -> String {
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + 1;
        let lines = rows.iter().map(|(label, value)| {
            let label = self.paint(stream, Tone::Strong, &format!("{label:<width$}"));
            format!("{label} {value}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// An empty table with these columns, as wide as the terminal or as it needs. A row has a cell
    /// for each of them, shown or not.
    pub(super) fn table(&self, stream: Stream, columns: &[(&str, Fit)]) -> Table {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(
                columns.iter().map(|(title, _)| self.toned_cell(stream, title, Tone::Strong)),
            );
        if stream == Stream::Stderr {
            table.use_stderr();
        }
        let width = self.width(stream, &table);
        table.force_no_tty().set_width(width);
        if self.look(stream).colour {
            table.enforce_styling();
        }
        let is_wide = self.breadth == Breadth::Wide;
        if is_wide {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        let gap = if width < ROOMY_WIDTH && !is_wide { 1 } else { 2 };
        for (column, (_, fit)) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, gap));
            column.set_constraint(match fit {
                Fit::Wide if !is_wide => ColumnConstraint::Hidden,
                Fit::Whole | Fit::Wide => ColumnConstraint::ContentWidth,
                Fit::Wrap { .. } if is_wide => ColumnConstraint::ContentWidth,
                Fit::Wrap { cells_min } => {
                    ColumnConstraint::LowerBoundary(Width::Fixed(cells_min + gap))
                }
            });
        }
        table
    }

    /// A cell with text from elsewhere.
    pub(super) fn cell(&self, text: &str) -> Cell {
        Cell::new(harmless(text))
    }

    /// A cell in the colour of its tone.
    pub(super) fn toned_cell(&self, stream: Stream, text: &str, tone: Tone) -> Cell {
        let cell = self.cell(text);
        if !self.look(stream).colour {
            return cell;
        }
        match tone {
            Tone::Good => cell.fg(Color::Green),
            Tone::Doubtful => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Faint => cell.add_attribute(comfy_table::Attribute::Dim),
            Tone::Strong => cell.add_attribute(comfy_table::Attribute::Bold),
            Tone::Accent => cell.fg(Color::Cyan),
        }
    }

    /// The table as lines, without the blanks at their ends.
    pub(super) fn table_text(&self, table: &Table) -> String {
        table.trim_fmt()
    }

    fn width(&self, stream: Stream, table: &Table) -> u16 {
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        let terminal = if self.is_terminal(stream) { table.width() } else { None };
        terminal.or_else(columns).unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN)
    }

    fn look(&self, stream: Stream) -> &Look {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

/// The tone of a member's state.
pub(super) fn state_tone(state: &str) -> Tone {
    match state {
        "alive" => Tone::Good,
        "suspect" => Tone::Doubtful,
        "dead" => Tone::Bad,
        // `left`, or a word of a newer daemon.
        _ => Tone::Faint,
    }
}

fn write_line(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stream.write_all(b"\n")?;
    }
    stream.flush()
}

/// Replaces what a terminal would obey; line breaks and tabs stay.
fn harmless(text: &str) -> String {
    let replace = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(
            harmless("a\x1b[31mb\r\x07\u{9b}c\n\td"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}\u{fffd}c\n\td"
        );
    }
}
