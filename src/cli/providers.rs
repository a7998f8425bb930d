//! `providers list`: the model servers that agents refer to by name.

use std::time::Duration;

use clap::Subcommand;

use crate::api::types::{ProviderList, ProviderSummary};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};

const EXAMPLES: &str = "\
Examples:
  astromeshctl providers list
  astromeshctl providers list --json | jq -r '.providers[] | select(.api_key_set == false).api_key_env'";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the providers of the daemon's node, and whether each has its key
    ///
    /// They come from the files providers*.yaml beside runtime.yaml; an agent refers to one by
    /// `providerRef`. Keys are never shown.
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
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "providers"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let ProviderList { providers, problems } = answer.read()?;
    if providers.is_empty() {
        output.line(
            Stream::Stdout,
            "No providers: the node has no providers*.yaml, or none in it.",
        )?;
    } else {
        output.line(Stream::Stdout, &table(&providers, output))?;
    }
    for problem in &problems {
        let label = output.paint(Stream::Stdout, Tone::Bad, "broken file:");
        let problem = output.printable(Stream::Stdout, problem);
        output.line(Stream::Stdout, &format!("\n{label} {problem}"))?;
    }
    Ok(())
}

fn table(providers: &[ProviderSummary], output: &Output) -> String {
    let stream = Stream::Stdout;
    let columns = [
        ("Name", Fit::Wrap { cells_min: 8 }),
        ("Type", Fit::Whole),
        ("Models", Fit::Wrap { cells_min: 16 }),
        ("Key", Fit::Wrap { cells_min: 18 }),
        ("Used by", Fit::Wrap { cells_min: 10 }),
        ("Endpoint", Fit::Wide),
        ("File", Fit::Wide),
    ];
    let mut table = output.table(stream, &columns);
    for provider in providers {
        let (key, tone) = key(provider);
        table.add_row([
            output.cell(&provider.name),
            output.cell(&provider.kind),
            output.cell(&provider.models.join(", ")),
            output.toned_cell(stream, &key, tone),
            output.cell(&provider.used_by.join(", ")),
            output.cell(provider.endpoint.as_deref().unwrap_or("default")),
            output.cell(&provider.file),
        ]);
    }
    output.table_text(&table)
}

/// Where the key comes from, and whether it is there.
fn key(provider: &ProviderSummary) -> (String, Tone) {
    match (provider.api_key_env.as_deref(), provider.api_key_set) {
        (Some(name), Some(true)) => (format!("{name}: set"), Tone::Good),
        (Some(name), _) => (format!("{name}: not set"), Tone::Bad),
        (None, Some(true)) => ("in the file".to_owned(), Tone::Good),
        (None, _) => ("none".to_owned(), Tone::Faint),
    }
}
