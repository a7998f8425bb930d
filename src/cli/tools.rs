//! `tools`: what the built-in tools are, and what one does with certain arguments.

use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use crate::api::types::{BuiltinToolList, ToolAnswer, ToolRequest, ToolSchema};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::input;
use super::json::pretty;
use super::output::{Fit, Format, Output, Stream, Tone};

const LIST_EXAMPLES: &str = "\
Examples:
  astromeshctl tools list
  astromeshctl tools list --json | jq '.tools[] | select(.name == \"http_request\").parameters'";

const TEST_EXAMPLES: &str = "\
Examples:
  astromeshctl tools test datetime_now
  astromeshctl tools test datetime_now '{\"timezone\": \"Europe/Berlin\"}'
  astromeshctl tools test http_request request.json";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the built-in tools with their arguments
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Call a built-in tool on the daemon's node and print what a model would see
    ///
    /// The tool has its default configuration and limits: it reaches no private address.
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    /// The tool
    name: String,

    /// Its arguments: a JSON object, or the name of a file that holds one
    #[arg(value_name = "JSON|FILE")]
    arguments: Option<String>,
}

/// How long a list may take unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a tool may take unless told otherwise: longer than
/// the 30 s of an HTTP request.
const CALL_PATIENCE: Duration = Duration::from_secs(40);

pub(super) async fn run(
    global: &Global,
    output: &Output,
    command: &Command,
) -> Result<(), Failure> {
    match command {
        Command::List => list(global, output).await,
        Command::Test(args) => test(global, output, args).await,
    }
}

async fn list(global: &Global, output: &Output) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "tools", "builtin"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let BuiltinToolList { tools, .. } = answer.read()?;
    let columns = [
        ("Name", Fit::Whole),
        ("Arguments", Fit::Wrap { cells_min: 12 }),
        ("Description", Fit::Wrap { cells_min: 20 }),
    ];
    let mut table = output.table(Stream::Stdout, &columns);
    for tool in &tools {
        table.add_row([
            output.cell(&tool.name),
            output.cell(&arguments(tool)),
            output.cell(&tool.description),
        ]);
    }
    output.line(Stream::Stdout, &output.table_text(&table))
}

/// The names of a tool's arguments, those that may be left out in brackets.
fn arguments(tool: &ToolSchema) -> String {
    let required = tool.parameters.get("required").and_then(Value::as_array);
    let is_required =
        |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
    let Some(properties) = tool.parameters.get("properties").and_then(Value::as_object) else {
        return String::new();
    };
    let shown = properties
        .keys()
        .map(|name| if is_required(name) { name.clone() } else { format!("[{name}]") });
    shown.collect::<Vec<_>>().join(", ")
}

async fn test(global: &Global, output: &Output, args: &TestArgs) -> Result<(), Failure> {
    let arguments = args.arguments.as_deref().map(|text| input::object(text, "arguments"));
    let request = ToolRequest {
        tool_name: args.name.clone(),
        arguments: arguments.transpose()?.map(Value::Object),
    };
    let client = Client::new(global, CALL_PATIENCE)?;
    let answer = client.post(&["v1", "tools", "execute"], &request).await?;
    let ToolAnswer { result, status, .. } = answer.read()?;
    if output.format == Format::Json {
        output.json(&answer.text)?;
    } else {
        let tone = if status == "ok" { Tone::Good } else { Tone::Bad };
        let status = output.printable(Stream::Stdout, &status);
        output.line(Stream::Stderr, &output.paint(Stream::Stderr, tone, &status))?;
        let result = output.printable(Stream::Stdout, &pretty(&result.to_string()));
        output.line(Stream::Stdout, &result)?;
    }
    if status == "ok" { Ok(()) } else { Err(Failure::Told { exit_code: 1 }) }
}
