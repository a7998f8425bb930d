//! What a service manager gives and is told: readiness, status, watchdog, sockets.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::daemon::{Home, PATIENCE, get, until};

/// The end of the manager.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(home: &Home) -> Self {
        let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    fn command(home: &Home) -> Command {
        let mut command = home.command();
        command.env("NOTIFY_SOCKET", home.path().join("notify"));
        command
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message with this line, or with one that begins so.
    fn hears(&self, line: &str) -> String {
        until(line, || {
            Some(self.next()).filter(|text| text.lines().any(|one| one.starts_with(line)))
        })
    }
}

#[test]
fn it_is_ready_when_it_serves_and_its_pid_file_is_there() {
    let home = Home::new("mesh: {enabled: true, node_name: one}");
    let manager = Manager::new(&home);
    let mut daemon = home.spawn(&mut Manager::command(&home));

    let first = manager.next();

    let number = std::fs::read_to_string(home.pid_file()).unwrap();
    assert_eq!(number, format!("{}\n", daemon.pid()), "before READY");
    assert!(get(daemon.http(), "/v1/health").starts_with("HTTP/1.1 200"));
    assert!(first.lines().any(|line| line == "READY=1"), "{first}");
    assert!(first.contains("STATUS=1 alive, leader one, 0 in flight"), "{first}");

    daemon.signal("TERM");
    manager.hears("STOPPING=1");
    let draining = manager.hears("EXTEND_TIMEOUT_USEC=");
    assert!(draining.contains("STATUS=stopping, 0 in flight"), "{draining}");
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn its_status_follows_what_is_under_way() {
    let home = Home::new("")
        .agent("slow", "{model: {primary: {provider: echo, parameters: {delay_ms: 60000}}}}");
    let manager = Manager::new(&home);
    let daemon = home.spawn(&mut Manager::command(&home));
    manager.hears("STATUS=no mesh, 0 in flight");
    let run = crate::daemon::ask(daemon.http(), "POST", "/v1/agents/slow/run", "{\"query\":\"a\"}");
    manager.hears("STATUS=no mesh, 1 in flight");
    drop(run);
    manager.hears("STATUS=no mesh, 0 in flight");
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let home = Home::new("");
    let manager = Manager::new(&home);
    let daemon = home.spawn(&mut Manager::command(&home));
    manager.hears("READY=1");
    daemon.signal("HUP");
    let begun = manager.hears("RELOADING=1");
    let since_boot = begun.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since_boot.is_some_and(|text| text.parse::<u64>().is_ok()), "{begun}");
    assert_eq!(manager.hears("READY=1").trim(), "READY=1");
}

#[test]
fn the_watchdog_is_fed_while_gossip_and_http_answer() {
    let home = Home::new("mesh: {enabled: true}");
    let manager = Manager::new(&home);
    let mut command = Manager::command(&home);
    let daemon = home.spawn(command.env("WATCHDOG_USEC", "1000000"));
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    // Unless told otherwise it is not fed: there is nobody who waits for it.
    let other = Home::new("");
    let deaf = Manager::new(&other);
    let second = other.spawn(&mut Manager::command(&other));
    assert!(deaf.next().contains("READY=1"));
    drop((daemon, second));
    deaf.socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4_096];
    while let Ok(length) = deaf.socket.recv(&mut buffer) {
        assert!(!String::from_utf8_lossy(&buffer[..length]).contains("WATCHDOG"));
    }
}

#[test]
fn sockets_that_are_passed_are_used() {
    let home = Home::new("mesh: {enabled: true}");
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let gossip = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = http.local_addr().unwrap();
    let gossip_at = gossip.local_addr().unwrap();
    // Connected before there is a daemon: the manager listens, and nothing is lost.
    let early = crate::daemon::ask(at, "GET", "/v1/system/status", "");
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null
        LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=http:gossip exec \"$0\" \"$@\"";
    let mut daemon = home.bare_command();
    daemon.args(["--pid-file"]).arg(home.pid_file());
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(daemon.get_program()).args(daemon.get_args());
    command.stdin(OwnedFd::from(http)).stdout(OwnedFd::from(gossip));

    let mut daemon = home.spawn(&mut command);

    let status = crate::daemon::answer(early);
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    assert!(status.contains(&format!("\"gossip_address\":\"{gossip_at}\"")), "{status}");
    assert_eq!(daemon.http(), at);
    daemon.signal("TERM");
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn sockets_of_another_kind_are_refused() {
    let home = Home::new("");
    let script = "exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=other exec \"$0\" \"$@\"";
    let daemon = home.command();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(daemon.get_program()).args(daemon.get_args());
    let (code, errors) = crate::daemon::outcome(&mut command);
    assert_eq!(code, Some(69), "{errors}");
    assert!(errors.contains("'other' is neither TCP nor UDP"), "{errors}");
}
