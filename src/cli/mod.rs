//! The commands of `astromeshctl`: one file a command.
//!
//! Owns the arguments, the words printed and the exit codes. It knows a daemon only through its
//! HTTP API and the types in [`crate::api::types`]; it refuses to look into a daemon's data or to
//! guess what a daemon did: what it claims, a daemon has confirmed. Those commands that need no daemon
//! ask [`crate::node`]: `daemon` hands its arguments there and becomes a daemon itself, `config`,
//! `init` and `new` have files checked as a daemon would read them; `doctor` looks around where no
//! daemon answers.

mod about;
mod agents;
mod bar;
mod client;
mod configuration;
mod daemon;
mod demo;
mod doctor;
mod failure;
mod files;
mod generate;
mod health;
mod init;
mod input;
mod json;
mod log_level;
mod mesh;
mod metrics;
mod models;
mod new;
mod output;
mod providers;
#[cfg(test)]
mod reference;
mod reload;
mod run;
mod status;
mod tools;
mod traces;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use url::Url;

use failure::Failure;
use output::{Breadth, Format, Output};

const EXAMPLES: &str = "\
Examples:
  astromeshctl demo                       see a mesh of four nodes work, on this machine
  astromeshctl init                       write the configuration of a first node
  astromeshctl mesh nodes                 the mesh as the daemon on localhost:8000 sees it
  astromeshctl run echo \"hello\"           run the agent `echo`, wherever in the mesh it lives
  astromeshctl --url http://10.0.0.5:8000 status
  astromeshctl mesh nodes --json | jq -r '.nodes[].name'
  astromeshctl mesh simulate --nodes 100  what this configuration does with 100 nodes

Exit codes:
  0    fine
  1    failed, or not healthy: the daemon said no, or said something that cannot be understood, or not in time
  2    usage: the command line is wrong
  3    no daemon can be reached at the URL
  64   the configuration is wrong: config, validate, mesh simulate and daemon
  130  interrupted: the demo by Ctrl-C, the questions of init by Ctrl-D";

/// Talk to a mesh of astromesh daemons.
///
/// Every node of a mesh answers for the whole mesh: it does not matter which one is asked.
#[derive(Debug, Parser)]
#[command(name = "astromeshctl", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that may stand before or after any command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print the daemon's JSON instead of text; errors are JSON too, on stderr
    #[arg(long, global = true)]
    json: bool,

    /// How answers look: `wide` shows more columns of a table and breaks no lines
    #[arg(long, short, global = true, value_name = "FORMAT")]
    output: Option<Shape>,

    /// The daemon to ask [variable: `ASTROMESH_DAEMON_URL`] [default: the one that this host's
    /// configuration describes, else <http://localhost:8000>]
    // The variable is read when a daemon is asked: a wrong one is nothing to other commands.
    #[arg(long, global = true, value_name = "URL", value_parser = client::base_url)]
    url: Option<Url>,

    /// How long to wait for an answer [default: 60 for run, 40 for tools test, 30 for reload,
    /// 12 for doctor, 3 for health, else 5]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

/// How answers look.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shape {
    Text,
    Wide,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the daemon: version, process, agents, mesh
    #[command(after_help = status::EXAMPLES)]
    Status,
    /// Say what is wrong with the daemon and its surroundings, and what to do
    ///
    /// The daemon looks at its process and host, its mesh, seeds and members, the paths to them, its
    /// agents and their models, within five seconds. Where no daemon answers, this command looks for
    /// itself whether one runs, whether its configuration is sound and its port free.
    ///
    /// The exit code is 0 when every check is ok, 1 when one is not, 3 when no daemon answers.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor,
    /// Say whether the daemon takes work
    ///
    /// The exit code is 0 when it does, 1 when it does not (yet, or no more), 3 when no daemon answers.
    #[command(after_help = health::EXAMPLES)]
    Health,
    /// Look at the mesh, or leave it
    #[command(subcommand)]
    Mesh(mesh::Command),
    /// Look at the agents
    #[command(subcommand)]
    Agents(agents::Command),
    /// Show which services of the daemon's node are on
    #[command(after_help = about::SERVICES_EXAMPLES)]
    Services,
    /// Look at the static peers
    #[command(subcommand)]
    Peers(about::Peers),
    /// Look at the providers of models
    #[command(subcommand)]
    Providers(providers::Command),
    /// Look at the models that nodes serve
    #[command(subcommand)]
    Models(models::Command),
    /// Look at the tools, or try one
    #[command(subcommand)]
    Tools(tools::Command),
    /// Look at the last runs
    #[command(subcommand)]
    Traces(traces::Command),
    /// Show where the time of a run went
    ///
    /// The trace is found on whichever node of the mesh ran the agent.
    Trace(traces::ShowArgs),
    /// Show what the daemon's node counted
    Metrics(metrics::Args),
    /// Show the tokens and the cost of each agent and model
    ///
    /// Of the runs on the daemon's node since it started.
    #[command(after_help = metrics::COST_EXAMPLES)]
    Cost,
    /// Run an agent and print its answer
    Run(run::Args),
    /// Show the versions of this command and of the daemon
    #[command(after_help = about::VERSION_EXAMPLES)]
    Version,
    /// Show or change what the daemon logs
    LogLevel(log_level::Args),
    /// Let the daemon read its configuration and agent files again
    #[command(after_help = reload::EXAMPLES)]
    Reload,
    /// Check or show the configuration of this host
    #[command(subcommand)]
    Config(configuration::Command),
    /// The same as config validate
    #[command(after_help = configuration::EXAMPLES)]
    Validate(configuration::Args),
    /// Write the configuration of a first node
    Init(init::Args),
    /// Write a file to begin with
    #[command(subcommand)]
    New(new::Command),
    /// Print a script that completes commands and flags in a shell
    Completions(generate::CompletionsArgs),
    /// Write the man pages of astromeshctl, its commands and astromeshd
    Man(generate::ManArgs),
    /// Watch a mesh of four nodes work, lose one and go on
    Demo(demo::Args),
    /// Be a daemon: the same as astromeshd
    Daemon(daemon::Args),
}

/// The longest wait that can be asked for.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|value| Duration::try_from_secs_f64(value).ok());
    match parsed {
        Some(wait) if !wait.is_zero() && wait <= TIMEOUT_MAX => Ok(wait),
        _ => Err(format!("must be a number above 0, at most {}", TIMEOUT_MAX.as_secs())),
    }
}

/// Reads the arguments of this process, does what they ask and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let output = output(&global);
    let outcome = match command {
        Command::Daemon(args) => return daemon::main(args),
        command => start(&global, &output, command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// How the user wants it.
fn output(global: &Global) -> Output {
    let (format, breadth) = match global.output {
        _ if global.json => (Format::Json, Breadth::Screen),
        Some(Shape::Json) => (Format::Json, Breadth::Screen),
        Some(Shape::Wide) => (Format::Text, Breadth::Wide),
        Some(Shape::Text) | None => (Format::Text, Breadth::Screen),
    };
    Output::new(format, breadth)
}

fn start(global: &Global, output: &Output, command: Command) -> Result<(), Failure> {
    // The only error is that a provider is installed already, which serves as well.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Local { doing: "start", cause: error.to_string() })?;
    runtime.block_on(dispatch(global, output, command))
}

async fn dispatch(global: &Global, output: &Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Status => status::run(global, output).await,
        Command::Doctor => doctor::run(global, output).await,
        Command::Health => health::run(global, output).await,
        Command::Mesh(command) => mesh::run(global, output, &command).await,
        Command::Agents(command) => agents::run(global, output, &command).await,
        Command::Services => about::services(global, output).await,
        Command::Peers(command) => about::peers(global, output, &command).await,
        Command::Version => about::version(global, output).await,
        Command::Providers(command) => providers::run(global, output, &command).await,
        Command::Models(command) => models::run(global, output, &command).await,
        Command::Tools(command) => tools::run(global, output, &command).await,
        Command::Traces(command) => traces::run(global, output, &command).await,
        Command::Trace(args) => traces::show(global, output, &args).await,
        Command::Metrics(args) => metrics::run(global, output, &args).await,
        Command::Cost => metrics::cost(global, output).await,
        Command::Run(args) => run::run(global, output, &args).await,
        Command::LogLevel(args) => log_level::run(global, output, &args).await,
        Command::Reload => reload::run(global, output).await,
        Command::Config(command) => configuration::run(output, &command),
        Command::Validate(args) => configuration::validate(output, &args),
        Command::Init(args) => init::run(output, &args),
        Command::New(command) => new::run(output, &command),
        Command::Completions(args) => generate::completions(output, &args),
        Command::Man(args) => generate::man(output, &args),
        Command::Demo(args) => Box::pin(demo::run(output, &args)).await,
        Command::Daemon(_) => unreachable!("main handles it before there is a runtime"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn timeouts_are_positive_and_bounded() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for bad in ["0", "-1", "nan", "inf", "86401", "soon", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
