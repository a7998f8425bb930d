//! `services`, `peers list` and `version`: what the daemon says of itself, a part at a time.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use crate::api::types::{Health, SystemStatus};

use super::Global;
use super::client::{Answer, Client};
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};

pub(super) const SERVICES_EXAMPLES: &str = "\
Examples:
  astromeshctl services
  astromeshctl services --json | jq -e .services.agents";

const PEERS_EXAMPLES: &str = "\
Examples:
  astromeshctl peers list
  astromeshctl peers list --json | jq -r '.peers[].url'";

pub(super) const VERSION_EXAMPLES: &str = "\
Examples:
  astromeshctl version
  astromeshctl --url http://10.0.0.5:8000 version --json
  astromeshctl --version                  without asking a daemon";

#[derive(Debug, Subcommand)]
pub(super) enum Peers {
    /// List the static peers of the daemon's node (spec.peers)
    ///
    /// A node whose mesh is on has none: `mesh nodes` lists its members.
    #[command(after_help = PEERS_EXAMPLES)]
    List,
}

/// How long to wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

async fn ask(global: &Global) -> Result<Answer, Failure> {
    Client::new(global, PATIENCE)?.get(&["v1", "system", "status"]).await
}

pub(super) async fn services(global: &Global, output: &Output) -> Result<(), Failure> {
    let answer = ask(global).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let status: SystemStatus = answer.read()?;
    let stream = Stream::Stdout;
    let mut table = output.table(stream, &[("Service", Fit::Whole), ("State", Fit::Whole)]);
    for (name, is_on) in &status.services {
        let (state, tone) = if *is_on { ("on", Tone::Good) } else { ("off", Tone::Faint) };
        table.add_row([output.cell(name), output.toned_cell(stream, state, tone)]);
    }
    output.line(stream, &output.table_text(&table))
}

pub(super) async fn peers(
    global: &Global,
    output: &Output,
    Peers::List: &Peers,
) -> Result<(), Failure> {
    let answer = ask(global).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let status: SystemStatus = answer.read()?;
    let stream = Stream::Stdout;
    if status.peers.is_empty() {
        let text = match &status.mesh {
            Some(_) => {
                "No static peers: the mesh is on; `astromeshctl mesh nodes` lists its members."
            }
            None => "No static peers.",
        };
        return output.line(stream, text);
    }
    let columns = [
        ("Name", Fit::Wrap { cells_min: 10 }),
        ("URL", Fit::Whole),
        ("Services", Fit::Wrap { cells_min: 13 }),
    ];
    let mut table = output.table(stream, &columns);
    for peer in &status.peers {
        table.add_row([
            output.cell(&peer.name),
            output.cell(&peer.url),
            output.cell(&peer.services.join(", ")),
        ]);
    }
    output.line(stream, &output.table_text(&table))
}

pub(super) async fn version(global: &Global, output: &Output) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let stream = Stream::Stdout;
    if output.format == Format::Text {
        // Said even when no daemon answers.
        output.line(stream, &format!("astromeshctl {own}"))?;
    }
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "health"]).await?;
    let Health { version, .. } = answer.read()?;
    if output.format == Format::Json {
        return output.json(&json!({"cli": own, "daemon": version}).to_string());
    }
    output.line(stream, &format!("astromeshd   {}", output.printable(stream, &version)))
}
