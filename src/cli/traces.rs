//! `traces list` and `trace`: where the time of runs went.

use std::time::{Duration, SystemTime};

use clap::Subcommand;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::api::types::{Span, TraceList, TraceRecord, TraceStatus};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};

const LIST_EXAMPLES: &str = "\
Examples:
  astromeshctl traces list
  astromeshctl traces list assistant --last 50
  astromeshctl traces list --json | jq -r '.traces[] | select(.status != \"ok\").error'";

const SHOW_EXAMPLES: &str = "\
Examples:
  astromeshctl trace 5b1c0d9e2f7a41c6a8e0d3b4f5a69788
  astromeshctl trace 5b1c0d9e2f7a41c6a8e0d3b4f5a69788 --json | jq .spans";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the last runs on the daemon's node, the newest first
    ///
    /// A node keeps the traces of its own runs, the last 1000 at most, in memory. Ask the node that
    /// runs the agent for its list; one trace by its id is found from any node.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only runs of this agent
    agent: Option<String>,

    /// How many, 1 to 100
    #[arg(
        long, value_name = "N", default_value_t = 10,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    last: u8,
}

#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(super) struct ShowArgs {
    /// The id of the trace, which `run` prints
    id: String,
}

/// How long to wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// How wide the time of a whole run is drawn.
const BAR_CELLS: usize = 16;

pub(super) async fn run(
    global: &Global,
    output: &Output,
    Command::List(args): &Command,
) -> Result<(), Failure> {
    let last = args.last.to_string();
    let mut query = vec![("limit", last.as_str())];
    query.extend(args.agent.as_deref().map(|agent| ("agent", agent)));
    let answer = Client::new(global, PATIENCE)?.query(&["v1", "traces", ""], &query).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let TraceList::<TraceRecord> { traces } = answer.read()?;
    let stream = Stream::Stdout;
    if traces.is_empty() {
        let of = args.agent.as_ref().map(|agent| format!(" of {agent}")).unwrap_or_default();
        let node = answer.node.as_deref().unwrap_or("this node");
        let text = format!("No runs{of} on {node} since it started.");
        return output.line(stream, &output.printable(stream, &text));
    }
    let columns = [
        ("ID", Fit::Whole),
        ("Agent", Fit::Wrap { cells_min: 8 }),
        ("Started At", Fit::Wrap { cells_min: 10 }),
        ("Duration", Fit::Whole),
        ("Status", Fit::Whole),
        ("Session", Fit::Wide),
        ("In", Fit::Wide),
        ("Out", Fit::Wide),
        ("Spans", Fit::Wide),
        ("Error", Fit::Wide),
    ];
    let mut table = output.table(stream, &columns);
    for record in &traces {
        let (status, tone) = status(record.status);
        table.add_row([
            output.cell(&record.trace.trace_id),
            output.cell(&record.trace.agent),
            output.cell(&moment(record.started_at)),
            output.cell(&duration(record.duration_ms)),
            output.toned_cell(stream, status, tone),
            output.cell(&record.trace.session_id),
            output.cell(&record.tokens_in.to_string()),
            output.cell(&record.tokens_out.to_string()),
            output.cell(&record.trace.spans.len().to_string()),
            output.cell(record.error.as_deref().unwrap_or_default()),
        ]);
    }
    output.line(stream, &output.table_text(&table))
}

pub(super) async fn show(global: &Global, output: &Output, args: &ShowArgs) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "traces", &args.id]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let record: TraceRecord = answer.read()?;
    let stream = Stream::Stdout;
    let (status, tone) = status(record.status);
    let mut rows = vec![
        ("Trace", output.printable(stream, &record.trace.trace_id)),
        ("Agent", output.printable(stream, &record.trace.agent)),
        ("Session", output.printable(stream, &record.trace.session_id)),
        ("Status", output.paint(stream, tone, status)),
        ("Started", moment(record.started_at)),
        ("Duration", duration(record.duration_ms)),
        ("Tokens", format!("{} in, {} out", record.tokens_in, record.tokens_out)),
    ];
    if let Some(id) = &record.trace.w3c_trace_id {
        rows.push(("W3C trace", output.printable(stream, id)));
    }
    if let Some(node) = &answer.node {
        rows.push(("Node", output.printable(stream, node)));
    }
    if let Some(error) = &record.error {
        rows.push(("Error", output.printable(stream, error)));
    }
    output.line(stream, &output.rows(stream, &rows))?;
    output.line(stream, &format!("\n{}", tree(&record, output)))
}

/// The spans as a tree, each with its time, drawn within that of the whole.
fn tree(record: &TraceRecord, output: &Output) -> String {
    let spans = &record.trace.spans;
    let mut lines: Vec<(String, &Span)> = Vec::new();
    // A parent comes before its children; a span without one, or with a wrong one, is a root.
    let is_root = |span: &Span| {
        let mut parents = spans.iter().map(|other| &other.span_id);
        span.parent_span_id.as_ref().is_none_or(|parent| !parents.any(|id| id == parent))
    };
    for root in spans.iter().filter(|span| is_root(span)) {
        branch(spans, root, "", "", &mut lines);
    }
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let drawn = lines.iter().map(|(name, span)| {
        let pad = " ".repeat(width - name.chars().count());
        let bar = output.paint(Stream::Stdout, Tone::Accent, &bar(record, span));
        let time = format!("{:>9}", duration(span.duration_ms));
        let tone = if span.status == "error" { Tone::Bad } else { Tone::Faint };
        let details = output.paint(Stream::Stdout, tone, &details(span));
        let name = output.printable(Stream::Stdout, name);
        let details = output.printable(Stream::Stdout, &details);
        format!("{name}{pad} {time} {bar} {details}").trim_end().to_owned()
    });
    drawn.collect::<Vec<_>>().join("\n")
}

fn branch<'a>(
    spans: &'a [Span],
    span: &'a Span,
    stem: &str,
    fork: &str,
    lines: &mut Vec<(String, &'a Span)>,
) {
    // Ids that repeat could make a circle; no more lines than spans.
    if lines.len() >= spans.len() {
        return;
    }
    lines.push((format!("{stem}{fork}{}", span.name), span));
    let children: Vec<&Span> =
        spans.iter().filter(|child| child.parent_span_id.as_ref() == Some(&span.span_id)).collect();
    let stem = match fork {
        "" => stem.to_owned(),
        "└ " => format!("{stem}  "),
        _ => format!("{stem}│ "),
    };
    for (index, child) in children.iter().enumerate() {
        let fork = if index + 1 == children.len() { "└ " } else { "├ " };
        branch(spans, child, &stem, fork, lines);
    }
}

/// The time of a span within that of the run.
fn bar(record: &TraceRecord, span: &Span) -> String {
    let whole = record.duration_ms.max(f64::MIN_POSITIVE);
    let cells = |ms: f64| (ms / whole * BAR_CELLS as f64).clamp(0.0, BAR_CELLS as f64);
    let begin = cells((span.start_time - record.started_at) * 1_000.0).floor() as usize;
    let begin = begin.min(BAR_CELLS - 1);
    let length = (cells(span.duration_ms).round() as usize).clamp(1, BAR_CELLS - begin);
    format!("{}{}{}", "·".repeat(begin), "█".repeat(length), "·".repeat(BAR_CELLS - begin - length))
}

/// What a span says of itself.
fn details(span: &Span) -> String {
    let texts = ["provider", "model", "tool", "error_code"]
        .iter()
        .filter_map(|name| span.attributes.get(*name)?.as_str().map(str::to_owned));
    let status = (span.status != "ok").then(|| span.status.clone());
    status.into_iter().chain(texts).collect::<Vec<_>>().join(" ")
}

const fn status(status: TraceStatus) -> (&'static str, Tone) {
    match status {
        TraceStatus::Ok => ("ok", Tone::Good),
        TraceStatus::Error => ("error", Tone::Bad),
        TraceStatus::Canceled => ("canceled", Tone::Doubtful),
    }
}

/// A time here, to the second.
fn moment(unix: f64) -> String {
    let at = Duration::try_from_secs_f64(unix).ok();
    let at = at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    let at = at.and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Milliseconds as people say them.
fn duration(ms: f64) -> String {
    match ms {
        ..1.0 => format!("{:.0} µs", ms * 1_000.0),
        ..100.0 => format!("{ms:.1} ms"),
        ..1_000.0 => format!("{ms:.0} ms"),
        ..120_000.0 => format!("{:.1} s", ms / 1_000.0),
        _ => format!("{:.0} min", ms / 60_000.0),
    }
}
