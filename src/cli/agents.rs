//! `agents`: the agents of the mesh and the nodes that run them, and the file of one.

use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use crate::api::types::{AgentEntry, AgentList, AgentStatus};
use crate::config::yaml;

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};

const LIST_EXAMPLES: &str = "\
Examples:
  astromeshctl agents list
  astromeshctl agents list --json | jq -r '.agents[] | select(.status == \"draft\").name'";

const SHOW_EXAMPLES: &str = "\
Examples:
  astromeshctl agents show echo
  astromeshctl agents show echo --json | jq .spec.model";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the agents this daemon knows, its own first
    ///
    /// A draft is an agent whose file is broken: the reason is shown below the table.
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Show an agent: its state, the nodes that run it, and its file
    ///
    /// The file comes from the daemon's node or from one that has it; secrets in it are shown as
    /// `***`. With --json it is the file alone.
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The agent
        name: String,
    },
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
        Command::Show { name } => show(global, output, name).await,
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

async fn show(global: &Global, output: &Output, name: &str) -> Result<(), Failure> {
    let client = Client::new(global, PATIENCE)?;
    let document = client.get(&["v1", "agents", name]).await?;
    if output.format == Format::Json {
        return output.json(&document.text);
    }
    let document: Value = document.read()?;
    let AgentList { agents } = client.get(&["v1", "agents"]).await?.read()?;
    let stream = Stream::Stdout;
    // The list says nothing of these where another node runs the agent; its file does.
    let listed_or_filed = |listed: &str, key: &str| {
        let filed = document["metadata"][key].as_str().unwrap_or_default();
        output.printable(stream, if listed.is_empty() { filed } else { listed })
    };
    if let Some(entry) = agents.iter().find(|entry| entry.summary.name == name) {
        let (status, tone) = status(entry);
        let nodes = if entry.nodes.is_empty() { "none".to_owned() } else { entry.nodes.join(", ") };
        let rows = [
            ("Name", output.printable(stream, &entry.summary.name)),
            ("Version", listed_or_filed(&entry.summary.version, "version")),
            ("Namespace", listed_or_filed(&entry.summary.namespace, "namespace")),
            ("Status", output.paint(stream, tone, status)),
            ("Nodes", output.printable(stream, &nodes)),
        ];
        output.line(stream, &output.rows(stream, &rows))?;
        if let Some(error) = &entry.summary.error {
            let error = output.printable(stream, error);
            output.line(stream, &format!("\n{}", output.paint(stream, Tone::Bad, &error)))?;
        }
    }
    let text = yaml::write(&document)
        .map_err(|error| Failure::Local { doing: "show the file", cause: error.to_string() })?;
    output.line(stream, &format!("\n{}", output.printable(stream, text.trim_end())))
}

/// The state of an agent in words, and how it looks.
const fn status(entry: &AgentEntry) -> (&'static str, Tone) {
    match entry.summary.status {
        AgentStatus::Deployed => ("deployed", Tone::Good),
        AgentStatus::Draft => ("draft", Tone::Bad),
        AgentStatus::Paused => ("paused", Tone::Doubtful),
    }
}

fn table(agents: &[AgentEntry], output: &Output) -> String {
    let stream = Stream::Stdout;
    let columns = [
        ("Name", Fit::Wrap { cells_min: 12 }),
        ("Version", Fit::Whole),
        ("Namespace", Fit::Wrap { cells_min: 9 }),
        ("Status", Fit::Whole),
        ("Nodes", Fit::Wrap { cells_min: 12 }),
        ("Problems", Fit::Wide),
    ];
    let mut table = output.table(stream, &columns);
    for entry in agents {
        let (status, tone) = status(entry);
        let AgentEntry { summary, nodes } = entry;
        table.add_row([
            output.cell(&summary.name),
            output.cell(&summary.version),
            output.cell(&summary.namespace),
            output.toned_cell(stream, status, tone),
            output.cell(&nodes.join(", ")),
            output.cell(&summary.error.as_ref().map_or(0, |text| text.lines().count()).to_string()),
        ]);
    }
    output.table_text(&table)
}
