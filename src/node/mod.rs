//! The daemon, put together.
//!
//! The composition root: the only module that knows all others. Owns the order of start and stop,
//! signals and exit codes. Start: configuration, data directory and identity, listener, agents,
//! gossip, HTTP server, join. Stop: leave the mesh, stop accepting, finish what is in flight, exit.
//!
//! * [`data_dir`]: the locked data directory
//! * `logs`: the settings of the log
//! * `parts`: everything that runs, and how it ends

pub mod data_dir;
mod logs;
mod parts;

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::config::{self, Environment, LogLevel, Overrides, Runtime, Workers};
use crate::telemetry::logging::{self, Log};
use parts::Parts;

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
}

/// Bad configuration, as in sysexits.h `EX_USAGE`.
const EXIT_CONFIG: u8 = 64;

/// Runs a node until it is told to stop. Exit codes: 0 stopped as told, 1 failed to start or serve,
/// 64 bad configuration.
#[must_use]
pub fn main(args: Args) -> ExitCode {
    // For every HTTPS client of this process. Fails only when one is installed, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let Args { config, host, port, log_level, workers } = args;
    let overrides = Overrides { config, host, port, log_level, workers };
    let config = match config::load(&overrides, &Environment::of_this_process()) {
        Ok(config) => config,
        Err(problems) => {
            print_report(&problems);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    // Dropped last: what is logged at the end is written too.
    let logging = match logging::start(logs::settings(&config)) {
        Ok(logging) => logging,
        Err(error) => {
            print_report(&error);
            return ExitCode::FAILURE;
        }
    };
    for warning in &config.warnings {
        warn!("{warning}");
    }
    match start_and_run(config, &logging.log()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "there is no log yet")]
fn print_report(report: &dyn Display) {
    eprintln!("{report}");
}

fn start_and_run(config: Runtime, log: &Log) -> anyhow::Result<()> {
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
    let result = runtime.block_on(run(config, log));
    // A name that is being resolved must not hold up the exit.
    runtime.shutdown_background();
    result
}

async fn run(config: Runtime, log: &Log) -> anyhow::Result<()> {
    // Before anything is served, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch SIGINT")?;
    let mut parts = Parts::start(config, log).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        error = parts.failed() => return Err(error),
    }
    info!("stopping: leaving the mesh, finishing requests in flight");
    tokio::select! {
        () = parts.stop() => info!("stopped"),
        _ = terminate.recv() => warn!("stopped at once by a second signal"),
        _ = interrupt.recv() => warn!("stopped at once by a second signal"),
    }
    Ok(())
}
