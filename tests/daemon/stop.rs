//! How the daemon stops: in which order, what it waits for, what it cuts, and how it is hurried.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::daemon::{Daemon, Home, PATIENCE, answer, ask, get, until};

const RUN: &str = "/v1/agents/support/run";
const BODY: &str = "{\"query\":\"hello\"}";

fn echo(delay_ms: u64) -> String {
    format!("{{model: {{primary: {{provider: echo, parameters: {{delay_ms: {delay_ms}}}}}}}}}")
}

/// An agent that is a process: this test.
struct Process(TcpListener);

impl Process {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn agent(&self) -> String {
        format!("{{upstream: {{url: 'http://{}/run'}}}}", self.0.local_addr().unwrap())
    }

    /// The next request, read to the end of its body.
    fn accept(&self) -> TcpStream {
        let (mut stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = Vec::new();
        let mut buffer = [0; 1_024];
        while !text.ends_with(BODY.as_bytes()) {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the request broke off");
            text.extend_from_slice(&buffer[..length]);
        }
        stream
    }
}

fn is_refused(at: SocketAddr) -> Option<()> {
    TcpStream::connect(at).is_err().then_some(())
}

/// Returns when this many requests are there.
fn in_flight(daemon: &Daemon, count: u32) {
    let line = format!("astromesh_requests_in_flight{{at=\"here\"}} {count}");
    until(&line, || get(daemon.http(), "/metrics").contains(&line).then_some(()));
}

#[test]
fn it_leaves_the_mesh_then_stops_accepting_then_finishes_what_is_there() {
    let process = Process::new();
    let home = Home::new("mesh: {enabled: true}").agent("support", &process.agent());
    let mut daemon = home.start();
    let at = daemon.http();
    let client = ask(at, "POST", RUN, BODY);
    let mut running = process.accept();

    daemon.signal("TERM");
    until("no new connections", || is_refused(at));

    let steps = ["stopping: leaving the mesh", "member left", "nothing new is accepted"];
    daemon.says(steps[2]);
    let log = daemon.log();
    let order = steps.map(|said| log.find(said).unwrap_or(usize::MAX));
    assert!(order.is_sorted() && order[2] < usize::MAX, "{log}");
    assert!(home.pid_file().exists(), "it still runs");
    running.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    let answer = answer(client);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{}"), "{answer}");
    assert_eq!(daemon.end(), Some(0));
    assert!(!home.pid_file().exists());
    assert!(!daemon.log().contains("cut"), "{}", daemon.log());
}

#[test]
fn what_takes_too_long_is_cut_counted_and_told() {
    let process = Process::new();
    let home = Home::new("drain_timeout: 0.2")
        .agent("support", &process.agent())
        .agent("slow", &echo(600_000));
    let mut daemon = home.start();
    let at = daemon.http();
    let stream = ask(at, "POST", RUN, BODY);
    let mut running = process.accept();
    running
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
              transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        )
        .unwrap();
    let plain = ask(at, "POST", RUN, BODY);
    let mut broken = process.accept();
    broken.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
    let waiting = ask(at, "POST", "/v1/agents/slow/run", BODY);
    in_flight(&daemon, 3);

    daemon.signal("TERM");

    let events = answer(stream);
    assert!(events.contains("data: 1"), "{events}");
    assert!(events.contains("event: error\ndata: ") && events.contains("node_stopped"), "{events}");
    assert!(events.ends_with("0\r\n\r\n"), "an orderly end: {events}");
    let refused = answer(waiting);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("node_stopped") && refused.contains("may have run"), "{refused}");
    let half = answer(plain);
    assert!(half.ends_with("half"), "shorter than it said it would be: {half}");
    assert_eq!(daemon.end(), Some(0));
    daemon.says("requests were still in flight after 0.2 s and are cut requests=3");
}

#[test]
fn what_waits_for_a_place_when_all_is_cut_has_not_run() {
    let home = Home::new("drain_timeout: 0.2").agent("slow", &echo(600_000));
    let mut command = home.command();
    command.env("ASTROMESH_API_MAX_CONCURRENT", "1").env("ASTROMESH_API_QUEUE_TIMEOUT", "600");
    let mut daemon = home.spawn(&mut command);
    let running = ask(daemon.http(), "POST", "/v1/agents/slow/run", BODY);
    in_flight(&daemon, 1);
    let waiting = [(); 3].map(|()| ask(daemon.http(), "POST", "/v1/agents/slow/run", BODY));
    let queued = "astromesh_requests_in_flight{at=\"queued\"} 3";
    until(queued, || get(daemon.http(), "/metrics").contains(queued).then_some(()));

    daemon.signal("TERM");

    let refused = answer(running);
    assert!(refused.contains("node_stopped") && refused.contains("may have run"), "{refused}");
    for refused in waiting.map(answer) {
        assert!(refused.contains("nothing has run"), "{refused}");
    }
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, expected) in [("TERM", 143), ("INT", 130)] {
        let home = Home::new("drain_timeout: 3600").agent("support", &echo(600_000));
        let mut daemon = home.start();
        let _client = ask(daemon.http(), "POST", RUN, BODY);
        in_flight(&daemon, 1);
        daemon.signal("TERM");
        daemon.says("stopping");
        daemon.signal(signal);
        assert_eq!(daemon.end(), Some(expected));
        assert!(!home.pid_file().exists(), "also then");
    }
}

#[test]
fn whoever_watches_the_mesh_does_not_hold_up_the_end() {
    let home = Home::new("drain_timeout: 3600, mesh: {enabled: true}");
    let mut daemon = home.start();
    let watcher = ask(daemon.http(), "GET", "/v1/mesh/events", "");
    let line = "event: ";
    let mut text = String::new();
    let mut reading = watcher.try_clone().unwrap();
    while !text.contains("text/event-stream") {
        let mut buffer = [0; 1_024];
        let length = reading.read(&mut buffer).unwrap();
        assert!(length > 0, "{line}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    daemon.signal("TERM");
    assert_eq!(daemon.end(), Some(0));
    drop(watcher);
}
