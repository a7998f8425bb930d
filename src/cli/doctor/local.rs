//! What can be seen of a daemon that does not answer: whether one runs here, whether its
//! configuration is sound, and whether somebody else has its port.
//!
//! Looks into processes, configuration and sockets of this host, which no other command does: there
//! is no daemon to ask. Changes nothing.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};

use url::Url;

use crate::api::types::{Check, CheckStatus, DoctorReport};
use crate::cli::client::is_this_host;
use crate::cli::failure::Failure;
use crate::config::{self, Environment, Overrides};
use crate::node::who::Who;

/// What this host shows of the daemon that should answer at `url`.
pub(super) fn report(url: &Url, failure: &Failure) -> DoctorReport {
    let daemon = Check::bad(CheckStatus::Unreachable, failure.to_string(), failure.hint());
    let mut checks = vec![("daemon".to_owned(), daemon)];
    if is_this_host(url) {
        checks.push(("process".to_owned(), process()));
        checks.push(("port".to_owned(), port(url, failure)));
        checks.push(("configuration".to_owned(), configuration(url)));
    }
    DoctorReport::of(checks)
}

/// Whether a daemon runs on this host.
fn process() -> Check {
    let running = Who::daemons();
    if running.is_empty() {
        return Check::bad(
            CheckStatus::Unavailable,
            "no astromeshd runs on this host, as far as this user can see",
            "start it: `systemctl start astromesh`, or `astromeshd --config DIR`; `journalctl -u \
             astromesh` shows why it ended",
        );
    }
    let named: Vec<String> = running.iter().map(ToString::to_string).collect();
    Check::ok(format!("runs on this host: {}", named.join(", ")))
        .with("pids", running.iter().map(Who::pid).collect::<Vec<_>>())
}

/// Whether the port is free for a daemon.
fn port(url: &Url, failure: &Failure) -> Check {
    let port = url.port_or_known_default().unwrap_or(80);
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let at = (host, port).to_socket_addrs().into_iter().flatten().next();
    let at = at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)));
    let tcp = TcpListener::bind(at).is_err_and(|error| is_taken(&error));
    let udp = UdpSocket::bind(at).is_err_and(|error| is_taken(&error));
    let mut taken = Vec::new();
    if tcp || matches!(failure, Failure::Unintelligible { .. }) {
        taken.push(format!("TCP {port} is taken{}", by(Who::listening(at).as_ref())));
    }
    if udp {
        taken.push(format!("UDP {port} is taken{}", by(Who::receiving(at).as_ref())));
    }
    if taken.is_empty() {
        return Check::ok(format!("TCP and UDP {port} are free"));
    }
    Check::bad(
        CheckStatus::Error,
        taken.join("; "),
        format!(
            "stop whoever has it, if that is no daemon of yours, or give the daemon another port: \
             --port or spec.api.port, and --url here; it needs {port} for both TCP and UDP"
        ),
    )
}

fn by(who: Option<&Who>) -> String {
    who.map_or_else(
        || ", by a process that this user cannot see".to_owned(),
        |who| format!(", by {who}"),
    )
}

fn is_taken(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

/// Whether the configuration that a daemon would take here is sound, and says this port.
fn configuration(url: &Url) -> Check {
    let environment = Environment::of_this_process();
    if config::find(&environment).is_none() {
        return Check::bad(
            CheckStatus::Unavailable,
            "no runtime.yaml in ASTROMESH_CONFIG_DIR, /etc/astromesh or ./config",
            "make one with `astromeshctl init`, or name its directory with --config when starting the \
             daemon",
        );
    }
    match config::load(&Overrides::default(), &environment) {
        Err(problems) => {
            let told: Vec<String> = problems.list().iter().map(ToString::to_string).collect();
            let count = told.len();
            let first = told.into_iter().next().unwrap_or_default();
            Check::bad(
                CheckStatus::Error,
                format!("{count} problems; the first: {first}"),
                "mend it; `astromeshctl config validate` names all problems with their remedies",
            )
        }
        Ok(runtime) => {
            let file = std::path::absolute(&runtime.file).unwrap_or(runtime.file);
            let (file, host, says) = (file.display(), runtime.api.host, runtime.api.port);
            let asked = url.port_or_known_default().unwrap_or(80);
            if says == asked {
                return Check::ok(format!("{file} is sound: HTTP on {host}, port {says}"));
            }
            Check::bad(
                CheckStatus::Degraded,
                format!("{file} says port {says}, and {asked} was asked"),
                format!("ask the daemon at --url http://localhost:{says}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_another_host_only_the_failure_is_told() {
        let url = Url::parse("http://192.0.2.1:8000").unwrap();
        let failure = Failure::Unreachable { url: url.to_string(), cause: "no route".to_owned() };

        let report = report(&url, &failure);

        let names: Vec<&String> = report.checks.keys().collect();
        assert_eq!(names, ["daemon"]);
        assert!(!report.healthy);
    }
}
