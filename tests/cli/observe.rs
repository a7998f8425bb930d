//! `mesh why` and `mesh events`: what the daemon tells, in words.

use serde_json::{Value, json};

use crate::daemon::{Daemon, Route};

const WHY: &str = "GET /v1/mesh/nodes/worker-1/history";
const EVENTS: &str = "GET /v1/mesh/events";

fn node(name: &str) -> Value {
    json!({"node_id": "00000000-0000-4000-8000-000000000001", "name": name})
}

fn vote(name: &str, vote: &str, after: Option<f64>) -> Value {
    json!({"voter": node(name), "vote": vote, "after_seconds": after})
}

fn verdict(decided_at: f64, rule: &str, accuser: &str, votes: &[Value]) -> Value {
    json!({
        "decided_at": decided_at, "generation": 1, "incarnation": 0, "accuser": node(accuser),
        "rule": rule, "open_seconds": 2.04, "tries": 3, "helpers": 4, "nacks": 2, "health": 0,
        "votes": votes
    })
}

fn change(at: f64, change: &str) -> Value {
    json!({"at": at, "change": change, "generation": 1, "incarnation": 0})
}

fn history(status: Option<&str>, changes: &[Value], verdicts: &[Value]) -> String {
    json!({
        "node": node("worker-1"), "status": status, "now": 5_000.0, "since": 1_400.0,
        "changes": changes, "verdicts": verdicts, "dropped": 0
    })
    .to_string()
}

fn quorum(decided_at: f64) -> Value {
    let votes = [
        vote("worker-2", "no", Some(0.36)),
        vote("worker-3", "no", Some(0.41)),
        vote("worker-4", "abstain", Some(0.01)),
        vote("worker-5", "silent", None),
    ];
    verdict(decided_at, "quorum", "gateway", &votes)
}

fn why(body: &str) -> String {
    let outcome = Daemon::start(vec![Route::ok(WHY, body)]).run(&["mesh", "why", "worker-1"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(!outcome.stdout.contains('\x1b'), "{outcome:?}");
    outcome.stdout
}

#[test]
fn a_death_is_told_with_its_evidence() {
    let changes = [change(4_000.0, "joined"), change(4_983.9, "suspect"), change(4_986.0, "dead")];
    let words = why(&history(Some("dead"), &changes, &[quorum(4_986.0)]));
    assert_eq!(
        words,
        "worker-1 was declared dead 14 s ago by gateway: no answer to 3 pings, nor through 4 \
         helpers; 2 of 4 other observers had no answer either, 1 abstained, 1 did not vote; open \
         for 2.0 s.\n\n\
         Observer Vote    After\n\
         worker-2 no      360 ms\n\
         worker-3 no      410 ms\n\
         worker-4 abstain 10 ms\n\
         worker-5 silent\n\n\
         Ago    Change     Start\n\
         14 s   is dead    1\n\
         16 s   is suspect 1\n\
         17 min joined     1\n"
    );
}

#[test]
fn deaths_before_and_a_return_are_told_too() {
    let verdicts = [verdict(2_000.0, "fallback", "worker-3", &[]), quorum(4_990.0)];
    let words = why(&history(Some("alive"), &[change(4_995.0, "alive")], &verdicts));
    let lines: Vec<&str> = words.lines().collect();
    assert!(lines[0].starts_with("worker-1 was declared dead 10 s ago by gateway: "), "{words}");
    assert_eq!(lines[1], "It is alive now.");
    assert_eq!(
        lines[2],
        "Before that, it was declared dead 50 min ago by worker-3: no answer to 3 pings, nor \
         through 4 helpers; too few observers answered, and nobody had a sign of life; open for \
         2.0 s."
    );
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let never = why(&history(Some("alive"), &[change(4_000.0, "joined")], &[]));
    assert!(
        never.starts_with(
            "worker-1 was not declared dead in the last 1 h, as far as this node saw.\nIt is alive \
             now.\n\n"
        ),
        "{never}"
    );
    assert!(never.contains("17 min joined"), "{never}");
    assert!(why(&history(None, &[], &[])).ends_with("It has been forgotten since.\n"));
}

#[test]
fn a_death_without_a_verdict_is_told_as_what_it_is_now() {
    let (died, back) = (change(2_600.0, "dead"), change(2_700.0, "alive"));
    let mut again = change(4_940.0, "dead");
    again["incarnation"] = json!(1);
    let rows = [
        (
            Some("dead"),
            vec![change(4_940.0, "dead")],
            vec![],
            "worker-1 is dead since 60 s; why has not come to this node.\n\n",
        ),
        (
            Some("alive"),
            vec![died.clone(), back.clone()],
            vec![],
            "worker-1 was dead 40 min ago; why has not come to this node.\nIt is alive now.\n\n",
        ),
        (
            None,
            vec![died.clone(), change(3_000.0, "reaped")],
            vec![],
            "worker-1 was dead 40 min ago; why has not come to this node.\nIt has been forgotten \
             since.\n\n",
        ),
        (
            Some("dead"),
            vec![died, back, again],
            vec![verdict(2_600.0, "quorum", "gateway", &[])],
            "worker-1 is dead since 60 s; why has not come to this node.\nBefore that, it was \
             declared dead 40 min ago by gateway: ",
        ),
    ];
    for (status, changes, verdicts, expected) in rows {
        let words = why(&history(status, &changes, &verdicts));
        assert!(words.starts_with(expected), "{words}");
    }
}

#[test]
fn why_as_json_is_what_the_daemon_said() {
    let body = history(Some("dead"), &[], &[quorum(4_986.0)]);
    let daemon = Daemon::start(vec![Route::ok(WHY, &body)]);
    let outcome = daemon.run(&["mesh", "why", "worker-1", "--json"]);
    let printed: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(printed, serde_json::from_str::<Value>(&body).unwrap());
}

#[test]
fn a_node_that_nobody_knows_is_an_error_with_a_remedy() {
    let error =
        json!({"detail": "No member is called 'x'", "code": "node_not_found", "request_id": "r"});
    let route = Route::error("GET /v1/mesh/nodes/x/history", 404, &error.to_string());
    let outcome = Daemon::start(vec![route]).run(&["mesh", "why", "x"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("No member is called 'x'"), "{outcome:?}");
    assert!(outcome.stderr.contains("astromeshctl mesh nodes"), "{outcome:?}");
}

fn stream() -> String {
    let mut death = quorum(4_986.0);
    death["id"] = json!("2");
    death["at"] = json!(4_986.5);
    death["event"] = json!("verdict");
    death["node"] = node("worker-1");
    let mut moved = change(4_987.0, "updated");
    moved["id"] = json!("3");
    moved["event"] = json!("member");
    moved["node"] = node("worker-2");
    moved["previous_address"] = json!("10.0.0.1:1");
    moved["address"] = json!("10.0.0.2:1");
    let events = [
        json!({"id": "1", "at": 4_980.0, "event": "missed", "count": 12}),
        death,
        moved,
        json!({"id": "4", "at": 4_988.0, "event": "leader", "node": node("gateway"), "term": 3}),
        json!({"id": "5", "at": 4_988.0, "event": "something new", "x": 1}),
    ];
    let mut text = ": keep-alive\n\n".to_owned();
    for event in events {
        let [id, name] = ["id", "event"].map(|field| event[field].as_str().unwrap());
        text.push_str(&format!("id: {id}\nevent: {name}\ndata: {event}\n\n"));
    }
    text
}

#[test]
fn events_are_one_line_each_and_their_end_is_a_failure() {
    let outcome = Daemon::start(vec![Route::ok(EVENTS, &stream())]).run(&["mesh", "events"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let texts: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(texts[0], "12 events are not kept any more");
    assert!(
        texts[1].starts_with("worker-1 was declared dead by gateway: no answer to 3 pings"),
        "{texts:?}"
    );
    assert_eq!(texts[2], "worker-2 updated, moved from 10.0.0.1:1 to 10.0.0.2:1");
    assert_eq!(texts[3], "gateway leads, term 3");
    assert!(lines[4].contains("something new"), "{lines:?}");
    assert_eq!(lines.len(), 5);
    assert!(outcome.stderr.contains("tells no more") && outcome.stderr.contains("--retry"));
}

#[test]
fn events_as_json_are_lines_as_they_came() {
    let daemon = Daemon::start(vec![Route::ok(EVENTS, &stream())]);
    let outcome = daemon.run(&["mesh", "events", "--json"]);
    let expected: Vec<String> = stream()
        .lines()
        .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .collect();
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(serde_json::from_str::<Value>(&outcome.stderr).unwrap()["code"], "stream_ended");
}

#[test]
fn a_daemon_that_refuses_listeners_is_not_asked_again() {
    let error = json!({"detail": "64 others listen already", "code": "too_many_listeners", "request_id": "r"});
    let daemon = Daemon::start(vec![Route::error(EVENTS, 503, &error.to_string())]);
    let outcome = daemon.run(&["mesh", "events", "--retry"]);
    assert_eq!((outcome.code, daemon.seen().len()), (1, 1), "{outcome:?}");
    assert!(outcome.stderr.contains("64 others listen already"), "{outcome:?}");
    assert!(!outcome.stderr.contains("switched on"), "{outcome:?}");
}

#[test]
fn with_retry_a_daemon_that_is_not_there_yet_is_asked_again() {
    // Nothing listens there before, and again after, the daemon is started on this port.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(["--url", &format!("http://{address}"), "mesh", "events", "--retry"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut first).unwrap();
    assert!(first.contains("trying again"), "{first}");
    let daemon = Daemon::start_at(address, vec![Route::ok(EVENTS, &stream())]);
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut event = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut event).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(event.contains("12 events are not kept any more"), "{event}");
    assert!(!daemon.seen().is_empty());
}
