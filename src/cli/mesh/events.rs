//! `mesh events`: everything that happens in the mesh, one line an event.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::api::types::{MeshEvent, MeshNews};
use crate::cli::Global;
use crate::cli::client::{Client, Lines};
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output, Stream, Tone, state_tone};

use super::PATIENCE;
use super::why::{called, happened, reasons};

/// Wait before the daemon is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A daemon sends at least a comment every 15 s; after three of them are missing it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);

const EXAMPLES: &str = "\
Examples:
  astromeshctl mesh events
  astromeshctl mesh events --retry --json >> events.jsonl";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// When the daemon is not there or ends the stream, ask until it is, and go on where it ended
    #[arg(long)]
    retry: bool,
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> Result<(), Failure> {
    let client = Client::streaming(global, PATIENCE, SILENCE_MAX)?;
    let mut last_seen: Option<String> = None;
    let mut failure = match listen(&client, None).await {
        Ok(mut lines) => follow(&mut lines, output, &mut last_seen).await,
        Err(failure @ (Failure::Unreachable { .. } | Failure::Timeout { .. })) => failure,
        // Something is there, and will not say anything else the next time.
        Err(failure) => return Err(failure),
    };
    loop {
        let is_ours = matches!(failure, Failure::OutputClosed | Failure::Local { .. });
        if is_ours || !args.retry {
            return Err(failure);
        }
        output.line(Stream::Stderr, &format!("{failure}; trying again"))?;
        let mut lines = loop {
            tokio::time::sleep(RETRY_INTERVAL).await;
            if let Ok(lines) = listen(&client, last_seen.as_deref()).await {
                break lines;
            }
        };
        failure = follow(&mut lines, output, &mut last_seen).await;
    }
}

async fn listen(client: &Client, last_seen: Option<&str>) -> Result<Lines, Failure> {
    let header = last_seen.map(|id| ("last-event-id", id));
    client.lines(&["v1", "mesh", "events"], header).await
}

/// Prints events until something goes wrong, which it does in the end: the stream has none.
async fn follow(lines: &mut Lines, output: &Output, last_seen: &mut Option<String>) -> Failure {
    loop {
        let line = match lines.next().await {
            Ok(line) => line,
            Err(failure) => return failure,
        };
        // Everything is in the data; the other fields repeat parts of it.
        let Some(text) = line.strip_prefix("data:").map(str::trim) else { continue };
        let event: Option<MeshEvent> = serde_json::from_str(text).ok();
        if let Some(event) = &event {
            *last_seen = Some(event.id.to_string());
        }
        let printed = match (output.format, event) {
            (Format::Text, Some(event)) => output.line(Stream::Stdout, &line_of(&event, output)),
            // An event of a newer daemon is shown as it came.
            (Format::Text, None) => {
                output.line(Stream::Stdout, &output.printable(Stream::Stdout, text))
            }
            (Format::Json, _) => output.line(Stream::Stdout, text),
        };
        if let Err(failure) = printed {
            return failure;
        }
    }
}

fn line_of(event: &MeshEvent, output: &Output) -> String {
    let (tone, text) = match &event.news {
        MeshNews::Member { node, change } => {
            (state_tone(&change.change), format!("{} {}", called(node), happened(change)))
        }
        MeshNews::Verdict { node, verdict } => {
            let by = called(&verdict.accuser);
            let why = reasons(verdict);
            (Tone::Bad, format!("{} was declared dead by {by}: {why}", called(node)))
        }
        MeshNews::Leader { node: Some(node), term } => {
            (Tone::Strong, format!("{} leads, term {term}", called(node)))
        }
        MeshNews::Leader { node: None, term } => {
            (Tone::Strong, format!("nobody leads: the node has left, term {term}"))
        }
        MeshNews::Missed { count: Some(count) } => {
            (Tone::Doubtful, format!("{count} events are not kept any more"))
        }
        MeshNews::Missed { count: None } => {
            (Tone::Doubtful, "the daemon was restarted; what came before is not known".to_owned())
        }
    };
    let text = output.printable(Stream::Stdout, &text);
    let at = output.paint(Stream::Stdout, Tone::Faint, &clock(event.at));
    format!("{at} {}", output.paint(Stream::Stdout, tone, &text))
}

/// The time of day here.
fn clock(unix: f64) -> String {
    let at = Duration::try_from_secs_f64(unix).ok();
    let at = at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    let at = at.and_then(|at| Timestamp::try_from(at).ok());
    let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}
