//! What an operator can find out: why a member was declared dead, and everything as it happens.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Node, Spec, client, mesh, text, until, until_seen};

/// The history of a member as a node tells it.
async fn history(node: &Node, key: &str) -> Value {
    node.get(&format!("/v1/mesh/nodes/{key}/history")).await
}

fn changes(history: &Value) -> Vec<String> {
    let changes = history["changes"].as_array().unwrap();
    changes.iter().map(|change| text(&change["change"])).collect()
}

/// The events of a node from a certain one on.
struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    async fn listen(node: &Node, last_seen: Option<u64>) -> Self {
        let mut request = client().get(node.url("/v1/mesh/events"));
        if let Some(last) = last_seen {
            request = request.header("Last-Event-ID", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let Some(data) = field("data: ") else { continue };
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(field("id: "), data["id"].as_str());
                assert_eq!(field("event: "), data["event"].as_str());
                return Some(data);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Events up to and with the first for which this holds.
    async fn up_to(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            let is_last = last(&event);
            seen.push(event);
            if is_last {
                return seen;
            }
        }
    }
}

fn number(event: &Value) -> u64 {
    text(&event["id"]).parse().unwrap()
}

fn is_change(event: &Value, name: &str, change: &str) -> bool {
    event["event"] == "member" && event["node"]["name"] == name && event["change"] == change
}

async fn five() -> Vec<Node> {
    mesh((1..5).map(|n| Spec::new(&format!("worker-{n}"))).collect()).await
}

#[tokio::test]
async fn every_survivor_tells_why_a_killed_member_was_declared_dead() {
    let mut nodes = five().await;
    let mut victim = nodes.pop().unwrap();
    let id = victim.id().await;
    victim.kill();
    until_seen(&nodes.iter().collect::<Vec<_>>(), "worker-4", "dead").await;

    for node in &nodes {
        until("the evidence is here", async || {
            let verdict = &history(node, "worker-4").await["verdicts"][0];
            verdict["votes"].as_array().is_some_and(|votes| !votes.is_empty())
        })
        .await;
        let told = history(node, "worker-4").await;
        assert_eq!(told["node"], json!({"node_id": id, "name": "worker-4"}), "{told}");
        assert_eq!(told["status"], "dead", "{told}");
        let changes = changes(&told);
        assert_eq!(changes.last().map(String::as_str), Some("dead"), "{told}");
        let verdict = &told["verdicts"][0];
        assert_eq!(verdict["rule"], "quorum", "{told}");
        assert!(verdict["tries"].as_u64().unwrap() >= 1, "{told}");
        assert!(verdict["open_seconds"].as_f64().unwrap() > 1.0, "{told}");
        let votes = verdict["votes"].as_array().unwrap();
        // Everybody is known by name, and nobody had an answer.
        let names = nodes.iter().map(Node::name).collect::<Vec<_>>();
        assert!(names.contains(&text(&verdict["accuser"]["name"]).as_str()), "{told}");
        assert!(votes.iter().all(|vote| vote["voter"]["name"].is_string()), "{told}");
        assert!(votes.iter().any(|vote| vote["vote"] == "no"), "{told}");
        assert!(votes.iter().all(|vote| vote["vote"] != "alive"), "{told}");
        // By id, and by the beginning of it, it is the same member.
        for key in [&id, &id[..8]] {
            assert_eq!(history(node, key).await["verdicts"], told["verdicts"]);
        }
    }

    let output = Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(["--url", &nodes[1].spec.url(), "mesh", "why", "worker-4"])
        .output()
        .unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    println!("{words}");
    assert_eq!(output.status.code(), Some(0), "{words}");
    assert!(words.starts_with("worker-4 was declared dead "), "{words}");
    let accuser = text(&history(&nodes[1], &id).await["verdicts"][0]["accuser"]["name"]);
    assert!(words.contains(&format!(" ago by {accuser}")), "{words}");
}

#[tokio::test]
async fn a_name_of_nobody_or_of_several_is_an_error_that_says_what_to_do() {
    let nodes = mesh(vec![Spec::new("a"), Spec::new("twin"), Spec::new("twin")]).await;
    let response = client().get(nodes[0].url("/v1/mesh/nodes/nobody/history")).send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 404);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["code"], "node_not_found");
    assert!(text(&body["detail"]).contains("GET /v1/mesh/state"), "{body}");

    let twins = history(&nodes[0], "twin").await;
    assert_eq!(twins["code"], "node_ambiguous", "{twins}");
    let id = nodes[2].id().await;
    assert!(text(&twins["detail"]).contains(&id), "{twins}");
    assert_eq!(history(&nodes[0], &id).await["node"]["name"], "twin");

    let told = history(&nodes[0], "a").await;
    assert_eq!((&told["verdicts"], &told["dropped"]), (&json!([]), &json!(0)));
    assert_eq!(changes(&told)[0], "joined");
    // A node tells of itself as well.
    assert_eq!(history(&nodes[0], "gateway").await["status"], "alive");
}

#[tokio::test]
async fn events_come_live_and_can_be_resumed() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let mut events = Events::listen(&nodes[0], None).await;
    assert_eq!(nodes[0].counter("event_listeners").await, 1);

    nodes[2].signal("TERM");
    nodes[2].wait();

    let seen = events.up_to(|event| is_change(event, "b", "left")).await;
    let last = number(seen.last().unwrap());
    assert!(seen.is_sorted_by_key(number));
    drop(events);
    until("the listener is gone", async || nodes[0].counter("event_listeners").await == 0).await;

    nodes[2].restart();
    until_seen(&[&nodes[0]], "b", "alive").await;

    // Nobody listened meanwhile, and nothing is lost or told twice.
    let mut events = Events::listen(&nodes[0], Some(last)).await;
    let seen = events.up_to(|event| is_change(event, "b", "alive")).await;
    assert_eq!(number(&seen[0]), last + 1);
    // An event of another process: it cannot be said what was missed.
    let mut events = Events::listen(&nodes[0], Some(1)).await;
    let missed = events.next().await.unwrap();
    assert_eq!((&missed["event"], &missed["count"]), (&json!("missed"), &Value::Null));
    assert_eq!(events.next().await.unwrap()["event"], "member");
}

#[tokio::test]
async fn a_node_with_listeners_stops_at_once_and_ends_their_streams() {
    let mut nodes = mesh(vec![Spec::new("a")]).await;
    let mut events = Events::listen(&nodes[1], None).await;
    let started = Instant::now();

    nodes[1].signal("TERM");
    assert_eq!(nodes[1].wait().code(), Some(0));

    // It takes a second at most to say goodbye; a drain that hangs takes thirty.
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    let mut said_goodbye = false;
    while let Some(event) = events.next().await {
        said_goodbye |= is_change(&event, "a", "left");
    }
    assert!(said_goodbye);
}

#[tokio::test]
async fn no_more_listen_than_may() {
    let nodes = mesh(vec![]).await;
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(Events::listen(&nodes[0], None).await);
    }
    let refused = client().get(nodes[0].url("/v1/mesh/events")).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too_many_listeners");
    assert_eq!(nodes[0].counter("event_listeners_refused").await, 1);
    drop(all);
    until("all are gone", async || nodes[0].counter("event_listeners").await == 0).await;
}

/// `astromeshctl mesh events` with its lines.
struct Watcher {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Watcher {
    fn start(node: &Node, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
            .args(["--url", &node.spec.url(), "mesh", "events"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Lines up to and with the first that holds this.
    fn up_to(&mut self, words: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "no {words} in {seen:?}");
            let is_last = line.contains(words);
            seen.push(line);
            if is_last {
                return seen;
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn the_command_line_follows_events_until_the_node_stops() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let mut people = Watcher::start(&nodes[1], &[]);
    let mut programs = Watcher::start(&nodes[1], &["--json", "--retry"]);
    until("both listen", async || nodes[1].counter("event_listeners").await == 2).await;

    nodes[2].signal("TERM");
    nodes[2].wait();

    assert!(people.up_to("left").concat().contains(" b "));
    let lines = programs.up_to("\"left\"");
    let event: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert!(is_change(&event, "b", "left"), "{event}");

    nodes[1].signal("TERM");
    nodes[1].wait();
    let status = people.child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    // The one that tries again tells of what the restarted node sees.
    nodes[1].restart();
    let lines = programs.up_to("\"joined\"").concat();
    assert!(lines.contains("gateway"), "{lines}");
}
