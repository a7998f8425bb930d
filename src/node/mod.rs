//! The daemon, put together.
//!
//! The composition root: the only module that knows all others. Owns the order of start and stop,
//! signals and exit codes. Start: configuration, what must be this process's alone (data directory,
//! PID file, sockets), identity, agents, gossip, HTTP server, join, PID file, READY. Stop: leave the
//! mesh, stop accepting, finish or cut what is in flight, remove the PID file, exit.
//!
//! * [`check`]: the files, checked without a daemon
//! * [`data_dir`]: the locked data directory
//! * `logs`: the settings of the log
//! * `pid_file`: the locked PID file
//! * `listen`: the sockets, and why one cannot be had; `inward`: the one for the node itself
//! * [`who`]: the process that is in the way
//! * `parts`: everything that runs, and how it ends
//! * `notifier`: what a service manager is told; `watchdog`: how the node is, for that
//! * `exit`: the exit codes
//! * `live`: what requests begin with; `reload`: how that is replaced
//! * `traces`: the export of traces

pub mod check;
pub mod data_dir;
mod exit;
mod inward;
mod listen;
mod live;
mod logs;
mod notifier;
mod parts;
mod pid_file;
mod reload;
mod traces;
mod watchdog;
pub mod who;

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, error, info, warn};

use crate::config::{self, Environment, LogLevel, Overrides, Runtime, Workers};
use crate::telemetry::logging::{self, Log};
use crate::telemetry::panics;
use data_dir::DataDir;
use exit::Exit;
pub use exit::HELP as EXIT_CODES;
use listen::{Passed, Sockets};
use notifier::{News, Notifier};
use parts::{Parts, Ready};
use pid_file::Plan;

/// The flags of the daemon.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Configuration directory; it must hold a runtime.yaml. Without it the first of
    /// `ASTROMESH_CONFIG_DIR`, /etc/astromesh and ./config that holds one.
    #[arg(long, value_name = "DIR")]
    pub config: Option<PathBuf>,
    /// Address on which the HTTP server listens (spec.api.host).
    #[arg(long, value_name = "IP")]
    pub host: Option<IpAddr>,
    /// Port of HTTP (TCP) and gossip (UDP) (spec.api.port).
    #[arg(long)]
    pub port: Option<u16>,
    /// debug, info, warning or error.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Threads that serve requests: auto, or 1 to 256 (spec.api.workers).
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<Workers>,
    /// File that holds the process id while the daemon runs (`spec.pid_file`); by default
    /// /var/run/astromesh/astromeshd.pid, or one in `XDG_RUNTIME_DIR`.
    #[arg(long, value_name = "PATH")]
    pub pid_file: Option<PathBuf>,
    /// Stay in the foreground. It always does; accepted for scripts that say so.
    #[arg(long)]
    pub foreground: bool,
    /// Check all files of the configuration, say what is wrong, and exit: 0 or 64.
    #[arg(long)]
    pub check: bool,
    /// With --check: print every key with its value and where that came from.
    #[arg(long, requires = "check")]
    pub print_config: bool,
}

/// Runs a node until it is told to stop. Its exit codes are in `docs/operations.md` and in the help
/// of `astromeshd`.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    // For every HTTPS client of this process. Fails only when one is installed, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let Args { config, host, port, log_level, workers, pid_file, foreground: _, .. } = args;
    let overrides = Overrides { config, host, port, log_level, workers, pid_file };
    let environment = Environment::of_this_process();
    if args.check {
        return check::main(&overrides, &environment, args.print_config);
    }
    let config = match config::load(&overrides, &environment) {
        Ok(config) => config,
        Err(problems) => {
            print_report(&problems);
            return Exit::BadConfig.into();
        }
    };
    // Changes the environment, so that there must be no other thread yet.
    let passed = Passed::from_environment();
    // Dropped last: what is logged at the end is written too.
    let logging = match logging::start(logs::settings(&config)) {
        Ok(logging) => logging,
        Err(error) => {
            print_report(&logs::report(&error));
            return Exit::of(&error.into()).into();
        }
    };
    panics::exit_on_panic(i32::from(Exit::Internal as u8), logging.log());
    raise_file_limit();
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let ran = passed
        .map_err(anyhow::Error::new)
        .and_then(|passed| start_and_run(config, overrides, passed, &logging.log()));
    match ran {
        Ok(code) => code,
        Err(error) => {
            error!("{error:#}");
            Exit::of(&error).into()
        }
    }
}

#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn print_report(report: &dyn Display) {
    eprintln!("{report}");
}

/// Each connection is an open file, and the soft limit is mostly 1,024, for programs that know of no
/// more.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok((soft, hard))
    });
    match raised {
        Ok((from, to)) => debug!(from, to, "open files: soft limit raised to the hard one"),
        Err(error) => warn!(%error, "the limit of open files cannot be raised"),
    }
}

fn start_and_run(
    config: Runtime,
    overrides: Overrides,
    passed: Passed,
    log: &Log,
) -> anyhow::Result<ExitCode> {
    // One thread needs no locks that others contend for; more of them share the connections.
    let mut builder = match config.api.workers.threads() {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    let runtime = builder.enable_all().build().context("failed to start the runtime")?;
    let result = runtime.block_on(run(config, overrides, passed, log));
    // A name that is being resolved must not hold up the exit.
    runtime.shutdown_background();
    result
}

async fn run(
    config: Runtime,
    overrides: Overrides,
    passed: Passed,
    log: &Log,
) -> anyhow::Result<ExitCode> {
    // Before anything is served, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch SIGINT")?;
    let hangup = signal(SignalKind::hangup()).context("failed to watch SIGHUP")?;
    let notifier = Notifier::from_environment().context("cannot start a thread")?;
    // What may be another's comes first, so that a start that fails has changed nothing.
    let data_dir = DataDir::open(&config.data_dir)?;
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let plan = Plan::choose(config.pid_file.as_deref(), runtime_dir.as_deref())?;
    let sockets = Sockets::open(&config, passed)?;
    let ready = Ready { config, overrides, data_dir, sockets, hangup, notifier: notifier.clone() };
    let mut parts = Parts::start(ready, log).await?;
    let pid_file = match plan.map(Plan::write).transpose() {
        Ok(pid_file) => pid_file.flatten(),
        Err(error) => {
            parts.stop().await;
            return Err(error.into());
        }
    };
    let vitals = parts.vitals();
    let status = watchdog::status(&vitals);
    notifier.tell(vec![News::Ready, News::Status(status.clone())]);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        error = parts.failed() => return Err(error),
        () = watchdog::keep(&notifier, &vitals, status) => {}
    }
    info!("stopping: leaving the mesh, finishing requests in flight");
    notifier.tell(vec![News::Stopping]);
    let stop_max = parts.stop_max();
    let code = tokio::select! {
        () = parts.stop() => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        () = watchdog::keep_stopping(&notifier, &vitals.proxy, stop_max) => ExitCode::SUCCESS,
        _ = terminate.recv() => at_once(Exit::Terminated),
        _ = interrupt.recv() => at_once(Exit::Interrupted),
    };
    drop(pid_file);
    Ok(code)
}

fn at_once(exit: Exit) -> ExitCode {
    warn!("stopped at once by a second signal");
    exit.into()
}
