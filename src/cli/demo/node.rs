//! One node of the demo: a real process with its own configuration, data and log.
//!
//! Owns the process. Dropping a node kills it; one that is not to be kept also watches its stdin,
//! which we hold open, so that it stops even when this process is killed.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use crate::cli::client::{Client, loopback};
use crate::cli::failure::Failure;
use crate::config::SERVICE_VARIABLES;

use super::model::Model;
use super::profile::{self, AGENT, Particulars, Role};

/// How long a node may take to answer a look at its view: it is on this host, and busy at worst.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many of the log's last lines explain a failure.
const LOG_LINES_SHOWN: usize = 15;

/// What a node is and where it lives; the same for each of its lives.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Its label.
    pub(super) name: &'static str,
    /// What it is there for.
    pub(super) role: Role,
    /// HTTP and gossip.
    pub(super) port: u16,
    /// Its directory: `config/`, `data/` and `node.log`.
    pub(super) home: PathBuf,
    /// Whether it outlives us when all goes well.
    pub(super) lifetime: Lifetime,
}

/// Whether the nodes outlive the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// They stop when the demo does, however that happens.
    Demo,
    /// They go on when the demo has gone well.
    Kept,
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    /// What it is.
    pub(super) plan: Plan,
    /// Asks for its view.
    pub(super) client: Arc<Client>,
    /// Its process id, for people; stays after its death.
    pub(super) pid: u32,
    child: Child,
    /// Held open for as long as the node is to live.
    _lifeline: Option<ChildStdin>,
}

impl Plan {
    /// Its base URL.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes its configuration.
    pub(super) fn prepare(&self, seeds: &[String], model: &Model) -> Result<(), Failure> {
        let agents = self.config_dir().join("agents");
        let data_dir = self.home.join("data");
        for dir in [&agents, &data_dir] {
            fs::create_dir_all(dir).map_err(|error| local("make a directory", &error))?;
        }
        let node = Particulars { name: self.name, port: self.port, seeds, data_dir: &data_dir };
        write(&self.config_dir().join("runtime.yaml"), &profile::runtime(self.role, &node)?)?;
        if self.role == Role::Worker {
            write(&agents.join(format!("{AGENT}.agent.yaml")), &profile::agent(model)?)?;
        }
        Ok(())
    }

    /// Starts it.
    pub(super) fn start(&self) -> Result<Node, Failure> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(|error| local("open a log file", &error))?;
        let log_too = log.try_clone().map_err(|error| local("open a log file", &error))?;
        let mut command = self.command()?;
        command.stdout(log).stderr(log_too);
        let mut child = command.spawn().map_err(|error| local("start a node", &error))?;
        let pid = child.id().expect("it was not waited for yet");
        let client = Arc::new(Client::to(loopback(self.port), LOOK_TIMEOUT)?);
        let lifeline = child.stdin.take();
        Ok(Node { plan: self.clone(), client, pid, child, _lifeline: lifeline })
    }

    fn command(&self) -> Result<Command, Failure> {
        let binary = std::env::current_exe().map_err(|error| local("find this program", &error))?;
        let mut command = Command::new(binary);
        command.arg("daemon").arg("--config").arg(self.config_dir());
        command.args(["--log-level", "info"]);
        // What the user set for a daemon of theirs must not reach these.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ASTROMESH_") {
                command.env_remove(variable);
            }
        }
        for variable in SERVICE_VARIABLES {
            command.env_remove(variable);
        }
        match self.lifetime {
            Lifetime::Demo => command.arg("--until-stdin-ends").stdin(Stdio::piped()),
            Lifetime::Kept => command.stdin(Stdio::null()),
        };
        // Ctrl-C is for us; we stop the nodes in good order.
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }

    fn config_dir(&self) -> PathBuf {
        self.home.join("config")
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("node.log")
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&bytes), LOG_LINES_SHOWN)
    }
}

impl Node {
    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(describe(status))
    }

    /// SIGKILL: it gets no chance to say goodbye. Returns when it is gone.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|error| local("kill a node", &error))
    }

    /// SIGTERM: it leaves the mesh, finishes what it does and ends.
    pub(super) fn terminate(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only if it has just ended, which is what we want.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for its end, and makes one when `patience` is over. Says how it ended.
    pub(super) async fn wait(&mut self, patience: Duration) -> String {
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => error.to_string(),
            Err(_) => match self.kill().await {
                Ok(()) => format!("killed after {} s", patience.as_secs()),
                Err(failure) => failure.to_string(),
            },
        }
    }

    /// Lets it live on without us.
    pub(super) fn release(self) {
        // Dropping the child would kill it.
        std::mem::forget(self.child);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| local("write a configuration file", &error))
}

fn local(doing: &'static str, error: &std::io::Error) -> Failure {
    Failure::Local { doing, cause: error.to_string() }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn configuration_is_written_where_the_node_looks() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (role, has_agent) in [(Role::Gateway, false), (Role::Worker, true)] {
            let home = dir.path().join(format!("{role:?}"));
            let lifetime = Lifetime::Demo;
            let plan = Plan { name: "n", role, port: 4000, home, lifetime };
            plan.prepare(&[], &Model::echo()).expect("written");
            assert!(plan.config_dir().join("runtime.yaml").is_file());
            assert!(plan.home.join("data").is_dir());
            let agent = plan.config_dir().join("agents/echo.agent.yaml");
            assert_eq!(agent.is_file(), has_agent, "{role:?}");
        }
    }
}
