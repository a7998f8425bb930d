//! `agents list`: the agents of the mesh and the nodes that run them.

use std::time::Duration;

use clap::Subcommand;

use crate::api::types::{AgentEntry, AgentList, AgentStatus};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the agents this daemon knows, its own first
    ///
    /// A draft is an agent whose file is broken: the reason is shown below the table.
    List,
}

/// How long to wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(
    global: &Global,
    output: &Output,
    command: &Command,
) -> Result<(), Failure> {
    match command {
        Command::List => list(global, output).await,
    }
}

async fn list(global: &Global, output: &Output) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "agents"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let AgentList { agents } = answer.read()?;
    if agents.is_empty() {
        return output.line(Stream::Stdout, "No agents loaded.");
    }
    output.line(Stream::Stdout, &table(&agents, output))?;
    for entry in &agents {
        if let Some(error) = &entry.summary.error {
            let name = output.printable(Stream::Stdout, &entry.summary.name);
            let label = output.paint(Stream::Stdout, Tone::Bad, &format!("{name}:"));
            let error = output.printable(Stream::Stdout, error);
            output.line(Stream::Stdout, &format!("\n{label} {error}"))?;
        }
    }
    Ok(())
}

fn table(agents: &[AgentEntry], output: &Output) -> String {
    let stream = Stream::Stdout;
    let columns = [
        ("Name", Fit::Wrap { cells_min: 12 }),
        ("Version", Fit::Whole),
        ("Namespace", Fit::Wrap { cells_min: 9 }),
        ("Status", Fit::Whole),
        ("Nodes", Fit::Wrap { cells_min: 12 }),
    ];
    let mut table = output.table(stream, &columns);
    for AgentEntry { summary, nodes } in agents {
        let (status, tone) = match summary.status {
            AgentStatus::Deployed => ("deployed", Tone::Good),
            AgentStatus::Draft => ("draft", Tone::Bad),
            AgentStatus::Paused => ("paused", Tone::Doubtful),
        };
        table.add_row([
            output.cell(&summary.name),
            output.cell(&summary.version),
            output.cell(&summary.namespace),
            output.toned_cell(stream, status, tone),
            output.cell(&nodes.join(", ")),
        ]);
    }
    output.table_text(&table)
}
