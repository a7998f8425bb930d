//! How the demo looks: headlines, ticks, spinners, bars.
//!
//! Owns the look only; it knows nothing of meshes. On a terminal waits are spinners; elsewhere they
//! are plain lines.

use std::cell::Cell;
use std::time::Duration;

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::bar::bar;
use crate::cli::failure::Failure;
use crate::cli::output::{Fit, Format, Output, Stream, Tone};

/// Where the story is told.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    output: &'a Output,
    stream: Stream,
    acts: Cell<u32>,
}

/// The width of the longest bar, in cells.
const BAR_CELLS: usize = 40;

/// How far everything below a headline is moved to the right.
const INDENT: &str = "   ";

impl<'a> Stage<'a> {
    /// On stdout, unless that is kept for JSON.
    pub(super) fn new(output: &'a Output) -> Self {
        let stream = match output.format {
            Format::Text => Stream::Stdout,
            Format::Json => Stream::Stderr,
        };
        Self { output, stream, acts: Cell::new(0) }
    }

    /// The first line.
    pub(super) fn title(&self, text: &str) -> Result<(), Failure> {
        self.output.line(self.stream, &self.paint(Tone::Strong, text))
    }

    /// Opens the next act.
    pub(super) fn headline(&self, text: &str) -> Result<(), Failure> {
        let act = self.acts.get() + 1;
        self.acts.set(act);
        let text = self.paint(Tone::Strong, &format!("{act}  {text}"));
        self.output.line(self.stream, &format!("\n{text}"))
    }

    /// Something went as it should.
    pub(super) fn good(&self, text: &str) -> Result<(), Failure> {
        self.marked(Tone::Good, "✓", text)
    }

    /// Something did not.
    pub(super) fn bad(&self, text: &str) -> Result<(), Failure> {
        self.marked(Tone::Bad, "✗", text)
    }

    /// An explanation.
    pub(super) fn note(&self, text: &str) -> Result<(), Failure> {
        for line in text.lines() {
            let line = self.paint(Tone::Faint, line);
            self.output.line(self.stream, &format!("{INDENT}{line}"))?;
        }
        Ok(())
    }

    /// Something to copy.
    pub(super) fn plain(&self, text: &str) -> Result<(), Failure> {
        self.output.line(self.stream, &format!("{INDENT}{text}"))
    }

    /// A table, below the headline.
    pub(super) fn table(&self, mut table: Table) -> Result<(), Failure> {
        if let Some(width) = table.width() {
            table.set_width(width.saturating_sub(3));
        }
        for line in self.output.table_text(&table).lines() {
            self.plain(line)?;
        }
        Ok(())
    }

    /// An empty table for [`Self::table`].
    pub(super) fn new_table(&self, header: &[&str]) -> Table {
        let columns: Vec<(&str, Fit)> = header.iter().map(|title| (*title, Fit::Whole)).collect();
        self.output.table(self.stream, &columns)
    }

    /// The table of members, as `mesh nodes` shows it.
    pub(super) fn members(&self, view: &crate::api::types::MeshState) -> Result<(), Failure> {
        self.table(crate::cli::mesh::table(view, self.output, self.stream))
    }

    /// One bar a row, the longest as wide as the picture.
    pub(super) fn bars<'b>(
        &self,
        rows: impl Iterator<Item = (&'b str, usize)> + Clone,
    ) -> Result<(), Failure> {
        let largest = rows.clone().map(|(_, count)| count).max().unwrap_or(0);
        let label_width = rows.clone().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        for (label, count) in rows {
            let bar = self.paint(Tone::Accent, &bar(count, largest, BAR_CELLS));
            self.plain(&format!("{label:<label_width$}  {bar} {count}"))?;
        }
        Ok(())
    }

    /// Shows that something is awaited, until the returned value is dropped.
    pub(super) fn wait(&self, text: &str) -> Result<Wait, Failure> {
        let terminals =
            self.output.is_terminal(self.stream) && self.output.is_terminal(Stream::Stderr);
        if !terminals {
            self.plain(&format!("… {text}"))?;
            return Ok(Wait { spinner: ProgressBar::hidden() });
        }
        let spinner = ProgressBar::new_spinner();
        let template = format!("{INDENT}{{spinner}} {{msg}}");
        // The template is ours and valid; if it were not, the stock look would do.
        let style = ProgressStyle::with_template(&template);
        spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        spinner.set_message(text.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(80));
        Ok(Wait { spinner })
    }

    /// `text` in the colour of its tone.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        self.output.paint(self.stream, tone, text)
    }

    fn marked(&self, tone: Tone, mark: &str, text: &str) -> Result<(), Failure> {
        self.plain(&format!("{} {text}", self.paint(tone, mark)))
    }
}

/// A wait that is shown. Gone without a trace when dropped.
#[derive(Debug)]
pub(super) struct Wait {
    spinner: ProgressBar,
}

impl Wait {
    /// Says how far it is.
    pub(super) fn update(&self, text: String) {
        self.spinner.set_message(text);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// A time as people read it: `870 ms`, `2.4 s`.
pub(super) fn time(elapsed: Duration) -> String {
    let milliseconds = elapsed.as_millis();
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{:.1} s", elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!(time(Duration::from_millis(999)), "999 ms");
        assert_eq!(time(Duration::from_millis(2449)), "2.4 s");
    }
}
