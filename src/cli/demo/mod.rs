//! `demo`: a mesh of four nodes on this machine, that loses one and goes on.
//!
//! Owns the frame of the story: what is asked for, the end of all nodes whatever happens, and what
//! is left behind. The nodes are real: this same program with the `daemon` command, configured by
//! the shipped profiles, found and watched through their HTTP API only.

mod fleet;
mod model;
mod node;
mod ports;
mod profile;
mod report;
mod stage;
mod story;
mod traffic;
mod view;

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::output::{Format, Output};

use fleet::Fleet;
use model::Model;
use node::Lifetime;
use report::{Report, Stopped};
use stage::{Stage, time};
use story::{Load, milliseconds};

const NOTES: &str = "\
Examples:
  astromeshctl demo
  astromeshctl demo --keep
  astromeshctl demo --real-model --requests 4

Four processes are started on free loopback ports: a gateway, two workers and an inference node.
They, and the temporary directory with all they write, are gone when the demo ends; Ctrl-C ends it
at any time. When something goes wrong, the directory with the logs stays. The story needs about
half a minute.

With --json the story goes to stderr and a report of what was measured to stdout.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Args {
    /// Leave the nodes running, and say how to use and stop them
    #[arg(long)]
    keep: bool,

    /// How many requests are spread over the workers [default: 48; 8 with a real model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    requests: Option<u16>,

    /// Let the agent use the model behind `OPENAI_API_KEY`, `ANTHROPIC_API_KEY` or `OLLAMA_HOST`,
    /// the first that is set; it may cost money
    #[arg(long)]
    real_model: bool,

    /// Name of the real model
    #[arg(long, value_name = "NAME", requires = "real_model")]
    model: Option<String>,
}

/// Requests spread over the workers with the built-in model.
const REQUESTS: usize = 48;

/// As [`REQUESTS`], where each may cost money.
const REQUESTS_REAL: usize = 8;

pub(super) async fn run(output: &Output, args: &Args) -> Result<(), Failure> {
    let environment = |variable: &str| std::env::var(variable).ok();
    let model = if args.real_model {
        Model::real(args.model.as_deref(), environment)?
    } else {
        Model::echo()
    };
    let lifetime = if args.keep { Lifetime::Kept } else { Lifetime::Demo };
    let begun = Instant::now();
    let stage = Stage::new(output);
    stage.title("astromesh demo: a gateway, two workers and an inference node, on this machine")?;
    introduce(&stage, &model)?;

    let mut fleet = Fleet::new(lifetime)?;
    let mut report = Report::default();
    let told = tokio::select! {
        told = story::tell(&stage, &mut fleet, &mut report, &model, load(args, &model)) => told,
        failure = interruption() => Err(failure),
    };
    if told.is_ok() && args.keep {
        keep(&stage, fleet)?;
    } else {
        report.stopped = stop(&stage, &mut fleet, told.as_ref().err()).await?;
        if matches!(told, Err(Failure::Demo { .. })) {
            let dir = fleet.release();
            stage.bad(&format!("logs and configuration are left in {}", dir.display()))?;
        }
    }
    told?;
    report.total_ms = milliseconds(begun.elapsed());
    if output.format == Format::Json {
        let json = serde_json::to_string(&report).expect("numbers and strings");
        return output.json(&json);
    }
    stage.title(&format!("\nDone in {}.", time(begun.elapsed())))
}

fn load(args: &Args, model: &Model) -> Load {
    let asked = args.requests.map(usize::from);
    match model {
        Model::Echo { .. } => Load {
            requests: asked.unwrap_or(REQUESTS),
            meanwhile_max: 10_000,
            in_flight_max: 6,
            patience: Duration::from_secs(30),
        },
        Model::Real { .. } => Load {
            requests: asked.unwrap_or(REQUESTS_REAL),
            meanwhile_max: asked.unwrap_or(REQUESTS_REAL),
            in_flight_max: 2,
            patience: Duration::from_secs(120),
        },
    }
}

fn introduce(stage: &Stage<'_>, model: &Model) -> Result<(), Failure> {
    match model {
        Model::Echo { delay_ms } => stage.note(&format!(
            "Its agent repeats what it is asked, after {delay_ms} ms. No model is needed;\n\
             --real-model uses one."
        )),
        Model::Real { provider, name } => {
            stage.note(&format!("Its agent uses the model {name} of {provider}"))
        }
    }
}

/// Waits until the user or the system wants us to stop.
async fn interruption() -> Failure {
    match told_to_stop().await {
        Ok(()) => Failure::Interrupted,
        Err(error) => Failure::Local { doing: "listen for signals", cause: error.to_string() },
    }
}

async fn told_to_stop() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

async fn stop(
    stage: &Stage<'_>,
    fleet: &mut Fleet,
    failure: Option<&Failure>,
) -> Result<Vec<Stopped>, Failure> {
    // With nobody to read it, the story goes on in silence; the nodes must end all the same.
    let silent = matches!(failure, Some(Failure::OutputClosed));
    if !silent {
        stage.headline("All stop")?;
    }
    let begun = Instant::now();
    let ends = fleet.stop().await;
    let clean = ends.iter().all(|(_, how)| how == "exit code 0");
    let stopped: Vec<Stopped> =
        ends.into_iter().map(|(name, how)| Stopped { name: name.to_owned(), how }).collect();
    if silent || stopped.is_empty() {
        return Ok(stopped);
    }
    if clean {
        stage.good(&format!("SIGTERM; all ended with exit code 0 in {}", time(begun.elapsed())))?;
    } else {
        for Stopped { name, how } in &stopped {
            stage.note(&format!("{name}: {how}"))?;
        }
    }
    Ok(stopped)
}

fn keep(stage: &Stage<'_>, fleet: Fleet) -> Result<(), Failure> {
    stage.headline("Yours now: the nodes keep running")?;
    let program = std::env::args().next().unwrap_or_else(|| "astromeshctl".to_owned());
    let gateway = fleet.nodes[0].plan.url();
    for node in &fleet.nodes {
        stage.plain(&format!("{:<10} {}  pid {}", node.plan.name, node.plan.url(), node.pid))?;
    }
    let pids: Vec<String> = fleet.nodes.iter().map(|node| node.pid.to_string()).collect();
    let dir = fleet.release();
    stage.note("Try:")?;
    stage.plain(&format!("export ASTROMESH_DAEMON_URL={gateway}"))?;
    for command in ["mesh nodes", "agents list", "run echo \"hello\"", "status"] {
        stage.plain(&format!("{program} {command}"))?;
    }
    stage.note("Stop them:")?;
    stage.plain(&format!("kill {} && sleep 2 && rm -r {}", pids.join(" "), dir.display()))
}
