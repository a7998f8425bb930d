//! `run`: ask an agent.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use crate::api::types::{RunRequest, RunResponse};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::input;
use super::output::{Fit, Format, Output, Stream, Tone};

const EXAMPLES: &str = "\
Examples:
  astromeshctl run echo \"hello\"
  git diff | astromeshctl run reviewer
  astromeshctl run echo --session ops --timeout 300 \"a long question\"
  astromeshctl run assistant --context '{\"user\": \"Ada\"}' \"who am I?\"

The answer goes to stdout; the trace, the tokens and the models used go to stderr.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent
    name: String,

    /// What it is asked; `-` or nothing: read it from stdin
    query: Option<String>,

    /// The conversation that the run belongs to
    #[arg(long, value_name = "ID", default_value = "default")]
    session: String,

    /// Variables for the agent's system prompt: a JSON object, or the name of a file that holds one
    #[arg(long, value_name = "JSON|FILE")]
    context: Option<String>,
}

/// How long a run may take unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest query read from stdin.
const QUERY_BYTES_MAX: u64 = 1 << 20;

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> Result<(), Failure> {
    if args.name.is_empty() {
        return Err(Failure::Usage { message: "the name of the agent is empty".to_owned() });
    }
    let context = args.context.as_deref().map(|given| input::object(given, "context"));
    let context = context.transpose()?;
    let query = match args.query.as_deref() {
        None | Some("-") => query_from_stdin(output)?,
        Some(text) => text.to_owned(),
    };
    let client = Client::new(global, PATIENCE)?;
    let request = RunRequest { query, session_id: args.session.clone(), context, caller: None };
    let answer = client.post(&["v1", "agents", &args.name, "run"], &request).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let response: RunResponse = answer.read()?;
    output.line(Stream::Stdout, &output.printable(Stream::Stdout, &response.answer))?;
    output.line(Stream::Stderr, &footer(&response, answer.node.as_deref(), output))
}

fn query_from_stdin(output: &Output) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        output.line(Stream::Stderr, "Type the query, then Ctrl-D on a line of its own.")?;
    }
    let mut query = String::new();
    stdin
        .lock()
        .take(QUERY_BYTES_MAX + 1)
        .read_to_string(&mut query)
        .map_err(|error| Failure::Local { doing: "read stdin", cause: error.to_string() })?;
    if query.len() as u64 > QUERY_BYTES_MAX {
        let message = format!("the query on stdin is larger than {QUERY_BYTES_MAX} bytes");
        return Err(Failure::Usage { message });
    }
    if query.trim().is_empty() {
        let message = "there is no query: name it after the agent, or pipe it in".to_owned();
        return Err(Failure::Usage { message });
    }
    Ok(query)
}

/// `trace: ID | tokens: N | node: NAME`, and a row for each model that reported tokens.
fn footer(response: &RunResponse, node: Option<&str>, output: &Output) -> String {
    let stream = Stream::Stderr;
    let mut parts = Vec::new();
    // An agent that is a process of its own may tell neither.
    if !response.trace.trace_id.is_empty() {
        parts.push(format!("trace: {}", response.trace.trace_id));
    }
    if let Some(usage) = &response.usage {
        parts.push(format!("tokens: {}", usage.tokens_in + usage.tokens_out));
    }
    if let Some(node) = node {
        parts.push(format!("node: {node}"));
    }
    let line = output.printable(stream, &parts.join(" | "));
    let mut text = output.paint(stream, Tone::Faint, &line);
    let models = response.usage.as_ref().map_or(&[][..], |usage| &usage.by_model);
    if models.is_empty() {
        return text;
    }
    let columns = [
        ("Provider", Fit::Wrap { cells_min: 13 }),
        ("Model", Fit::Wrap { cells_min: 12 }),
        ("Role", Fit::Wrap { cells_min: 7 }),
        ("Calls", Fit::Whole),
        ("In", Fit::Whole),
        ("Out", Fit::Whole),
        ("Cost", Fit::Whole),
    ];
    let mut table = output.table(stream, &columns);
    for model in models {
        table.add_row([
            output.cell(&model.provider),
            output.cell(&model.model),
            output.cell(&model.role),
            output.cell(&model.calls.to_string()),
            output.cell(&model.tokens_in.to_string()),
            output.cell(&model.tokens_out.to_string()),
            output.cell(&format!("${:.4}", model.cost)),
        ]);
    }
    text.push('\n');
    text.push_str(&output.table_text(&table));
    text
}
