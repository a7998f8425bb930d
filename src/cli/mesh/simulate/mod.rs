//! `mesh simulate`: what this configuration does in a mesh of a given size.
//!
//! Owns the way from flags and configuration to a plan, the bar while it is played, and the JSON.
//! What is simulated and measured is `astromesh_sim`'s business.

mod cost;
mod flags;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use astromesh_sim::plan::{self, Phase, Progress};
use astromesh_sim::{Plan, Report, Spread};
use astromesh_swim::detector::Rule;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output, Stream, Tone};
use crate::config::{self, Environment, Overrides, Runtime};
use crate::gossip::settings;

pub(in crate::cli) use flags::Args;

/// Drawn seeds are below this: programs that read JSON numbers as floats keep them exact.
const DRAWN_SEED_MAX: u64 = 1 << 32;

/// A plan, and what else is told of it.
#[derive(Debug)]
struct Told {
    plan: Plan,
    /// The file it was configured by; `None` for the defaults.
    configured_by: Option<PathBuf>,
}

pub(super) fn run(output: &Output, args: &Args) -> Result<(), Failure> {
    args.check()?;
    let told = told(args)?;
    if let Some(remark) = cost::check(&told.plan)? {
        let remark = output.paint(Stream::Stderr, Tone::Faint, &format!("note: {remark}"));
        output.line(Stream::Stderr, &remark)?;
    }
    let bar = progress_bar(output, &told.plan);
    let outcome = plan::run(&told.plan, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let report = outcome.map_err(|error| Failure::Local {
        doing: "simulate this mesh",
        cause: error.to_string(),
    })?;
    match output.format {
        Format::Json => output.json(&json(&told, &report).to_string()),
        Format::Text => text::print(output, &told, &report),
    }
}

fn told(args: &Args) -> Result<Told, Failure> {
    let Runtime { mut mesh, file, .. } = runtime(args.config.clone())?;
    if let Some(name) = args.rule {
        mesh.detection = name.detection(mesh.detection);
    }
    let plan = Plan {
        nodes: args.nodes,
        loss: args.loss,
        kill: args.kill,
        pause: args.pause,
        partition: args.partition,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..DRAWN_SEED_MAX)),
        runs: args.runs,
        idle: args.duration,
        engine: settings::engine(&mesh),
    };
    Ok(Told { plan, configured_by: Some(file).filter(|file| !file.as_os_str().is_empty()) })
}

/// What a daemon started here would read; the defaults where it would find nothing.
fn runtime(named: Option<PathBuf>) -> Result<Runtime, Failure> {
    let environment = Environment::of_this_process();
    let Some(directory) = named.or_else(|| config::find(&environment)) else {
        return Ok(config::defaults());
    };
    let overrides = Overrides { config: Some(directory), ..Overrides::default() };
    config::load(&overrides, &environment).map_err(|problems| Failure::Configuration { problems })
}

/// One step for each phase of each run; unseen where stderr is no terminal.
fn progress_bar(output: &Output, plan: &Plan) -> ProgressBar {
    if !output.is_terminal(Stream::Stderr) {
        return ProgressBar::hidden();
    }
    let steps = u64::try_from(plan.phases().count()).unwrap_or(u64::MAX) * u64::from(plan.runs);
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
    // The template is ours and valid; if it were not, the stock look would do.
    let style = ProgressStyle::with_template("{bar:30} {elapsed} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    if bar.is_hidden() {
        return;
    }
    let doing = match progress.phase {
        Phase::Start => "start",
        Phase::Join => "join",
        Phase::Idle => "idle",
        Phase::Kill => "crash",
        Phase::Pause => "pause",
        Phase::Partition => "partition",
        Phase::Heal => "heal",
    };
    bar.set_position(u64::from(progress.phases_done));
    bar.set_message(format!(
        "run {}: {doing}, {:.0} s simulated",
        progress.run,
        progress.at.as_secs_f64()
    ));
}

fn json(told: &Told, report: &Report) -> Value {
    let Told { plan, configured_by } = told;
    let pause = plan.pause;
    json!({
        "nodes": plan.nodes,
        "loss": plan.loss,
        "killed": plan.kill,
        "paused": pause.map(|pause| json!({"nodes": pause.count, "s": seconds(pause.length)})),
        "partition_s": plan.partition.map(seconds),
        "idle_s": seconds(plan.idle),
        "runs": plan.runs,
        "seed": plan.seed,
        "configuration": configured_by,
        "rule": match plan.engine.detector.rule {
            Rule::Evidence { .. } => "evidence",
            Rule::Lifeguard => "lifeguard",
        },
        "floor_s": floor(plan.engine.detector.rule).map(seconds),
        "detection_s": spread(&report.detection),
        "detection_by_view_s": spread(&report.detection_views),
        "undetected": report.detection.endless,
        "false_deaths": report.false_deaths,
        "false_death_views": report.false_death_views,
        "bytes_per_s_per_node": (report.bytes_per_s_per_node * 10.0).round() / 10.0,
        "join_convergence_s": report.join.max().map(seconds),
        "heal_convergence_s": report.heal.max().map(seconds),
        "unconverged": report.join.endless + report.heal.endless,
        "simulated_s": seconds(report.simulated),
    })
}

/// How long any silence is forgiven, by the rule that has such a bound.
const fn floor(rule: Rule) -> Option<Duration> {
    match rule {
        Rule::Evidence { floor } => Some(floor),
        Rule::Lifeguard => None,
    }
}

fn spread(spread: &Spread) -> Option<Value> {
    let quantile = |share| spread.quantile(share).map(seconds);
    let known = !spread.is_empty();
    known.then(|| json!({"p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0)}))
}

/// To the millisecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
