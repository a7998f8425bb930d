//! `models list`: the models of the mesh and the nodes that serve them.

use std::time::Duration;

use clap::Subcommand;

use crate::api::types::{ModelEntry, ModelList};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream};

const EXAMPLES: &str = "\
Examples:
  astromeshctl models list
  astromeshctl models list --json | jq -r '.data[].id'";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the models of the mesh, and the nodes that serve each
    ///
    /// They are those of the model servers of inference nodes. An agent asks one by
    /// `provider: mesh`, any client of the OpenAI API by the daemon's URL with /v1.
    #[command(after_help = EXAMPLES)]
    List,
}

/// How long to wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(
    global: &Global,
    output: &Output,
    Command::List: &Command,
) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "models"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let ModelList { data, .. } = answer.read()?;
    if data.is_empty() {
        let words = "No models: no alive node has the service inference and a model server that \
                     answers; its log says what it found. Without a mesh a node lists its own models, and asks \
                     spec.peers with the service inference for others.";
        return output.line(Stream::Stdout, words);
    }
    output.line(Stream::Stdout, &table(&data, output))
}

fn table(models: &[ModelEntry], output: &Output) -> String {
    let columns = [("Model", Fit::Wrap { cells_min: 16 }), ("Nodes", Fit::Wrap { cells_min: 12 })];
    let mut table = output.table(Stream::Stdout, &columns);
    for model in models {
        table.add_row([output.cell(&model.id), output.cell(&model.nodes.join(", "))]);
    }
    output.table_text(&table)
}
