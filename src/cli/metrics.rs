//! `metrics` and `cost`: what the daemon's node counted, and what its agents used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Number;

use crate::api::types::{AgentUsage, MetricsReport, RunTimes, UsageReport};

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Fit, Format, Output, Stream, Tone};

const EXAMPLES: &str = "\
Examples:
  astromeshctl metrics
  astromeshctl metrics --agent assistant
  astromeshctl metrics --json | jq '.counters | with_entries(select(.key | contains(\"retries\")))'";

pub(super) const COST_EXAMPLES: &str = "\
Examples:
  astromeshctl cost
  astromeshctl cost --json | jq '[.agents[].models[].tokens_out] | add'";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only what this agent did and used
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
}

/// How long to wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> Result<(), Failure> {
    let query: Vec<_> = args.agent.as_deref().map(|agent| ("agent", agent)).into_iter().collect();
    let answer = Client::new(global, PATIENCE)?.query(&["v1", "metrics", ""], &query).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let MetricsReport { counters, histograms, gauges } = answer.read()?;
    let parts: Vec<String> = [
        numbers("Counters", &counters, output),
        numbers("Levels", &gauges, output),
        times(&histograms, output),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        return output.line(Stream::Stdout, "Nothing was counted yet.");
    }
    output.line(Stream::Stdout, &parts.join("\n\n"))
}

fn numbers(title: &str, numbers: &BTreeMap<String, Number>, output: &Output) -> Option<String> {
    if numbers.is_empty() {
        return None;
    }
    let columns = [(title, Fit::Wrap { cells_min: 40 }), ("Value", Fit::Whole)];
    let mut table = output.table(Stream::Stdout, &columns);
    for (name, value) in numbers {
        table.add_row([output.cell(&short(name)), output.cell(&value.to_string())]);
    }
    Some(output.table_text(&table))
}

fn times(histograms: &BTreeMap<String, RunTimes>, output: &Output) -> Option<String> {
    if histograms.is_empty() {
        return None;
    }
    let columns = [
        ("Seconds", Fit::Wrap { cells_min: 24 }),
        ("Count", Fit::Whole),
        ("Avg", Fit::Whole),
        ("Min", Fit::Whole),
        ("Max", Fit::Whole),
        ("Sum", Fit::Whole),
    ];
    let mut table = output.table(Stream::Stdout, &columns);
    for (name, times) in histograms {
        let number = |seconds: f64| output.cell(&format!("{seconds:.4}"));
        table.add_row([
            output.cell(&short(name)),
            output.cell(&times.count.to_string()),
            number(times.avg),
            number(times.min),
            number(times.max),
            number(times.sum),
        ]);
    }
    Some(output.table_text(&table))
}

/// A series for reading: what begins every name is left out, and labels stand behind it.
fn short(series: &str) -> String {
    let name = series.strip_prefix("astromesh_").unwrap_or(series);
    let Some((name, labels)) = name.split_once('{') else { return name.to_owned() };
    let labels = labels.trim_end_matches('}').replace("\",", "\" ");
    format!("{name} {}", labels.replace('"', ""))
}

pub(super) async fn cost(global: &Global, output: &Output) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["v1", "usage"]).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let UsageReport { agents, .. } = answer.read()?;
    let stream = Stream::Stdout;
    let node = answer.node.as_deref().unwrap_or("this node");
    if agents.is_empty() {
        let text = format!("No agent ran on {node} since it started.");
        return output.line(stream, &output.printable(stream, &text));
    }
    output.line(stream, &costs(&agents, output))?;
    let remark = format!(
        "Runs on {node} since it started. Cost is 0 where no price is known, as for all models now."
    );
    let remark = output.printable(Stream::Stderr, &remark);
    output.line(Stream::Stderr, &output.paint(Stream::Stderr, Tone::Faint, &remark))
}

fn costs(agents: &[AgentUsage], output: &Output) -> String {
    let columns = [
        ("Agent", Fit::Wrap { cells_min: 10 }),
        ("Runs", Fit::Whole),
        ("Provider", Fit::Whole),
        ("Model", Fit::Wrap { cells_min: 12 }),
        ("Calls", Fit::Whole),
        ("In", Fit::Whole),
        ("Out", Fit::Whole),
        ("Cost", Fit::Whole),
        ("Failed runs", Fit::Wide),
        ("Cancelled runs", Fit::Wide),
        ("Failed calls", Fit::Wide),
        ("Average s", Fit::Wide),
    ];
    let mut table = output.table(Stream::Stdout, &columns);
    for usage in agents {
        let runs = usage.runs_ok + usage.runs_failed + usage.runs_canceled;
        let (mut agent, mut runs) = (usage.agent.clone(), runs.to_string());
        // Of the agent, on the first of its rows.
        let mut rest = [
            usage.runs_failed.to_string(),
            usage.runs_canceled.to_string(),
            usage.model_failures.to_string(),
            format!("{:.4}", usage.seconds.avg),
        ];
        if usage.models.is_empty() {
            let mut row = vec![output.cell(&agent), output.cell(&runs)];
            row.resize(8, output.cell(""));
            row.extend(rest.iter().map(|text| output.cell(text)));
            table.add_row(row);
        }
        for model in &usage.models {
            let mut row = vec![
                output.cell(&std::mem::take(&mut agent)),
                output.cell(&std::mem::take(&mut runs)),
                output.cell(&model.provider),
                output.cell(&model.model),
                output.cell(&model.calls.to_string()),
                output.cell(&model.tokens_in.to_string()),
                output.cell(&model.tokens_out.to_string()),
                output.cell(&format!("${:.4}", model.cost)),
            ];
            row.extend(rest.iter_mut().map(|text| output.cell(&std::mem::take(text))));
            table.add_row(row);
        }
    }
    output.table_text(&table)
}
