//! The report of `mesh simulate` for people: a head, a table, a plot on a terminal.
//!
//! Owns the words and the picture. Refuses to count anything.

use std::time::Duration;

use astromesh_sim::plan::{CONVERGENCE_MAX, DETECTION_MAX};
use astromesh_sim::{Plan, Report, Spread};

use super::{Told, floor};
use crate::cli::bar::bar;
use crate::cli::failure::Failure;
use crate::cli::output::{Fit, Output, Stream, Tone};

/// Rows of the plot, at most.
const BINS_MAX: u32 = 12;

/// The longest bar of the plot.
const BAR_CELLS: usize = 40;

pub(super) fn print(output: &Output, told: &Told, report: &Report) -> Result<(), Failure> {
    output.line(Stream::Stdout, &head(output, told, report))?;
    output.line(Stream::Stdout, "")?;
    output.line(Stream::Stdout, &times(output, report))?;
    output.line(Stream::Stdout, "")?;
    output.line(Stream::Stdout, &counts(output, &told.plan, report))?;
    let rows = plot(&report.detection_views);
    if !output.is_terminal(Stream::Stdout) || rows.is_empty() {
        return Ok(());
    }
    let title = "When the members knew of a crash, s after it";
    output.line(Stream::Stdout, "")?;
    output.line(Stream::Stdout, &output.paint(Stream::Stdout, Tone::Strong, title))?;
    for (label, bar, count) in rows {
        let bar = output.paint(Stream::Stdout, Tone::Accent, &bar);
        output.line(Stream::Stdout, &format!("{label}  {bar} {count}"))?;
    }
    Ok(())
}

fn head(output: &Output, told: &Told, report: &Report) -> String {
    let Told { plan, configured_by } = told;
    let mut story = vec![format!("{} nodes", plan.nodes)];
    if plan.loss > 0.0 {
        story.push(format!("{}% loss", (plan.loss * 1e4).round() / 1e2));
    }
    if plan.kill > 0 {
        story.push(format!("{} killed", plan.kill));
    }
    if let Some(pause) = plan.pause {
        story.push(format!("{} paused for {} s", pause.count, pause.length.as_secs_f64()));
    }
    if let Some(length) = plan.partition {
        story.push(format!("halves cut for {} s", length.as_secs_f64()));
    }
    let configuration = configured_by.as_ref().map_or_else(
        || "none found, so the defaults".to_owned(),
        |file| output.printable(Stream::Stdout, &file.display().to_string()),
    );
    let rule = floor(plan.engine.detector.rule).map_or_else(
        || "by timeout (Lifeguard)".to_owned(),
        |floor| format!("by evidence, after {} s or more", floor.as_secs_f64()),
    );
    let runs = if plan.runs == 1 { "run" } else { "runs" };
    let simulated = report.simulated.as_secs_f64();
    let played = format!("{} {runs}, {simulated:.0} s simulated", plan.runs);
    lines(
        output,
        [
            ("Mesh", story.join(", ")),
            ("Configuration", configuration),
            ("Deaths", rule),
            ("Played", played),
            ("Seed", plan.seed.to_string()),
        ],
    )
}

fn times(output: &Output, report: &Report) -> String {
    let columns = ["Time until", "p50", "p99", "max"].map(|title| (title, Fit::Whole));
    let mut table = output.table(Stream::Stdout, &columns);
    let rows = [
        ("a crash is known to all", &report.detection, DETECTION_MAX),
        ("a crash is known to one", &report.detection_views, DETECTION_MAX),
        ("a new node is known to all", &report.join, CONVERGENCE_MAX),
        ("all agree after the cut", &report.heal, CONVERGENCE_MAX),
    ];
    for (title, spread, limit) in rows {
        if spread.is_empty() {
            continue;
        }
        let quantile = |share| match spread.quantile(share) {
            Some(value) => format!("{:.2} s", value.as_secs_f64()),
            None => format!("over {} s", limit.as_secs()),
        };
        table.add_row([title.to_owned(), quantile(0.5), quantile(0.99), quantile(1.0)]);
    }
    output.table_text(&table)
}

fn counts(output: &Output, plan: &Plan, report: &Report) -> String {
    let node_hours = report.simulated.as_secs_f64() * plan.nodes as f64 / 3600.0;
    let mut false_deaths = format!("{} in {node_hours:.1} node-hours", report.false_deaths);
    if report.false_deaths > 0 {
        false_deaths += &format!(", believed by {} members in all", report.false_death_views);
    }
    let traffic = format!("{:.0} bytes/s a node", report.bytes_per_s_per_node);
    lines(output, [("False deaths", false_deaths), ("Idle traffic", traffic)])
}

fn lines<const N: usize>(output: &Output, rows: [(&str, String); N]) -> String {
    let lines = rows.map(|(label, value)| {
        let label = output.paint(Stream::Stdout, Tone::Strong, &format!("{label:<13}"));
        format!("{label} {value}")
    });
    lines.join("\n")
}

/// How many of the durations lie between two marks: label, bar and count of each row.
fn plot(spread: &Spread) -> Vec<(String, String, usize)> {
    let counts: Vec<(Duration, u64)> = spread.counts().collect();
    let (Some(&(first, _)), Some(&(last, _))) = (counts.first(), counts.last()) else {
        return Vec::new();
    };
    let step = step(last - first);
    let number = |at: Duration| at.as_millis() / step.as_millis();
    let bins = number(first)..=number(last);
    let count_in = |bin: u128| {
        let inside = counts.iter().filter(|(at, _)| number(*at) == bin);
        usize::try_from(inside.map(|(_, count)| count).sum::<u64>()).unwrap_or(usize::MAX)
    };
    let binned: Vec<(u128, usize)> = bins.map(|bin| (bin, count_in(bin))).collect();
    let largest = binned.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let edge = |bin: u128| (bin * step.as_millis()) as f64 / 1e3;
    let width = format!("{:.1}", edge(number(last) + 1)).len();
    let row = |(bin, count): (u128, usize)| {
        let label = format!("{:>width$.1} to {:>width$.1}", edge(bin), edge(bin + 1));
        (label, bar(count, largest, BAR_CELLS), count)
    };
    binned.into_iter().map(row).collect()
}

/// The smallest round step that divides a range into few enough parts.
fn step(range: Duration) -> Duration {
    let mut decade = 100;
    loop {
        for factor in [1, 2, 5] {
            let step = Duration::from_millis(decade * factor);
            // A range that starts within a part touches one more.
            if step * (BINS_MAX - 1) >= range {
                return step;
            }
        }
        decade *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_counts_all_in_few_rows_and_in_proportion() {
        for last in [0, 40, 1_300, 9_000, 179_999] {
            let mut spread = Spread::default();
            for millis in [2_950, 2_950, 2_950 + last / 2, 2_950 + last] {
                spread.add(Duration::from_millis(millis));
            }
            let rows = plot(&spread);
            assert!(rows.len() <= BINS_MAX as usize, "{last}: {} rows", rows.len());
            assert_eq!(rows.iter().map(|(_, _, count)| count).sum::<usize>(), 4, "{last}");
            assert_eq!(rows[0].1.chars().count(), BAR_CELLS, "{last}");
        }
        assert!(plot(&Spread::default()).is_empty());
    }

    #[test]
    fn a_row_says_its_edges() {
        let mut spread = Spread::default();
        for millis in [9_920, 10_050, 10_060, 10_300] {
            spread.add(Duration::from_millis(millis));
        }
        let labels: Vec<(String, usize)> =
            plot(&spread).into_iter().map(|(label, _, count)| (label, count)).collect();
        let expected = [
            (" 9.9 to 10.0", 1),
            ("10.0 to 10.1", 2),
            ("10.1 to 10.2", 0),
            ("10.2 to 10.3", 0),
            ("10.3 to 10.4", 1),
        ];
        assert_eq!(labels, expected.map(|(label, count)| (label.to_owned(), count)));
    }
}
