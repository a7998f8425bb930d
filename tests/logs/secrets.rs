//! Nothing secret is logged, on no stream and at no level.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use crate::node::{Journal, Node, Plan, mount_journal, start_in};

const SECRET: &str = "swordfish";

/// Each speaks a protocol of its own, and has an agent of its name.
const PROVIDERS: [&str; 3] = ["openai_compat", "anthropic", "ollama"];

/// How what the provider repeats begins.
const REPEATED: &str = "HTTP 401: no: POST";

/// A provider that says in its error what it was sent.
fn provider_that_repeats() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 1 << 14];
            let length = stream.read(&mut bytes).unwrap();
            let sent = String::from_utf8_lossy(&bytes[..length]);
            let body = serde_json::json!({"error": {"message": format!("no: {sent}")}}).to_string();
            let head = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n", body.len());
            let answer = format!("{head}connection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn plan() -> Plan {
    let levels = "{libraries: debug}";
    let log =
        format!("{{levels: {levels}, file: {{enabled: true, directory: log, format: json}}}}");
    let plan = Plan::new(&log);
    // Nobody listens there, so that the failure is logged.
    plan.agent(
        "remote",
        "{provider: openai_compat, model: m, endpoint: 'http://127.0.0.1:9/v1', api_key_env: KEY}",
    );
    let endpoint = format!("http://{}/v1?key={SECRET}", provider_that_repeats());
    for provider in PROVIDERS {
        plan.agent(
            provider,
            &format!(
                "{{provider: {provider}, model: m, endpoint: '{endpoint}', api_key_env: KEY}}"
            ),
        );
    }
    plan.variable("KEY", SECRET).variable("ASTROMESH_LOG_LEVEL", "debug")
}

/// Sends the secret in every place where clients have secrets.
fn tell_secrets(node: &mut Node) {
    // First, as what the caller calls its session is in the traces.
    for provider in PROVIDERS {
        let run = format!("/v1/agents/{provider}/run");
        let answer = node.ask("POST", &run, "", r#"{"query": "q"}"#);
        assert!(answer.contains(REPEATED) && answer.contains("***"), "{answer}");
        assert!(!answer.contains(SECRET), "{answer}");
        let shown = node.ask("GET", &format!("/v1/agents/{provider}"), "", "");
        assert!(shown.contains("/v1?***") && !shown.contains(SECRET), "{shown}");
    }
    let traces = node.ask("GET", "/v1/traces/", "", "");
    assert!(traces.contains("model_all_providers_failed"), "{traces}");
    assert!(!traces.contains(SECRET), "{traces}");
    let headers = format!(
        "authorization: Bearer {SECRET}\r\nx-api-key: {SECRET}\r\ncookie: a={SECRET}\r\n\
         proxy-authorization: Basic {SECRET}\r\nidempotency-key: {SECRET}\r\n\
         x-astromesh-session: {SECRET}\r\n"
    );
    let body = format!(r#"{{"query": "{SECRET}", "session_id": "{SECRET}"}}"#);
    for (method, path) in [
        ("POST", "/v1/agents/echo/run"),
        ("POST", "/v1/agents/remote/run"),
        ("POST", "/v1/agents/ollama/run"),
        ("GET", "/v1/agents/remote"),
        ("POST", "/v1/agents/absent/run"),
        ("PUT", "/v1/system/log-level"),
        ("GET", "/nothing"),
    ] {
        let target = format!("{path}?api_key={SECRET}");
        let answer = node.ask(method, &target, &headers, &body);
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
    node.ask("GET", &format!("http://a/nothing?{SECRET}"), "", "");
    // No request at all.
    node.ask(SECRET, "/", &format!("bad header {SECRET}\r\n"), &body);
}

#[test]
fn keys_queries_headers_and_bodies_are_neither_on_the_console_nor_in_the_file() {
    let mut node = plan().start();
    tell_secrets(&mut node);
    assert!(node.stop().success());
    let file = node.log_file("astromeshd.log").unwrap();
    for text in [&node.console(), &file] {
        assert!(text.contains("model call failed"), "{text}");
        assert!(text.contains("model_connection_refused"), "{text}");
        // One for each run that failed, and none for an agent that is not there.
        assert_eq!(text.matches("run failed").count(), PROVIDERS.len() + 2, "{text}");
        assert!(text.contains("/v1/agents/absent/run"), "{text}");
        let is_told = |line: &&str| [SECRET, REPEATED].iter().any(|told| line.contains(told));
        let told: Vec<_> = text.lines().filter(is_told).collect();
        assert!(told.is_empty(), "{told:?}");
    }
}

#[test]
fn nor_are_they_in_the_journal() {
    let mut plan = plan();
    let directory = plan.path("journal");
    let mut journal = Journal::at(&directory);
    if !plan.with_mounts(&mount_journal(&directory)) {
        return;
    }
    let (mut node, _) = start_in(&mut journal, plan);
    let reader = std::thread::spawn(move || {
        journal.entry_with("node: stopped");
        journal
    });
    tell_secrets(&mut node);
    assert!(node.stop().success());
    let journal = reader.join().unwrap();
    assert!(journal.text().contains("model call failed"), "{}", journal.text());
    for told in [SECRET, REPEATED] {
        assert!(!journal.text().contains(told), "{}", journal.text());
    }
}
