//! Nothing secret is logged, on no stream and at no level.

use std::fs::File;

use crate::node::{Journal, Node, Plan, journal_stream, mount_journal};

const SECRET: &str = "swordfish";

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
    plan.variable("KEY", SECRET).variable("ASTROMESH_LOG_LEVEL", "debug")
}

/// Sends the secret in every place where clients have secrets.
fn tell_secrets(node: &mut Node) {
    let headers = format!(
        "authorization: Bearer {SECRET}\r\nx-api-key: {SECRET}\r\ncookie: a={SECRET}\r\n\
         proxy-authorization: Basic {SECRET}\r\nidempotency-key: {SECRET}\r\n\
         x-astromesh-session: {SECRET}\r\n"
    );
    let body = format!(r#"{{"query": "{SECRET}", "session_id": "{SECRET}"}}"#);
    for (method, path) in [
        ("POST", "/v1/agents/echo/run"),
        ("POST", "/v1/agents/remote/run"),
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
        assert!(text.contains("/v1/agents/absent/run"), "{text}");
        let told: Vec<_> = text.lines().filter(|line| line.contains(SECRET)).collect();
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
    File::create(plan.console()).unwrap();
    let stream = journal_stream(&plan.console());
    let mut node = plan.variable("JOURNAL_STREAM", &stream).start();
    let serving = journal.entry_with("node: serving");
    let address = serving.iter().find_map(|line| line.strip_prefix("ASTROMESH_HTTP="));
    node.listens_at(address.unwrap().parse().unwrap());
    let reader = std::thread::spawn(move || {
        journal.entry_with("node: stopped");
        journal
    });
    tell_secrets(&mut node);
    assert!(node.stop().success());
    let journal = reader.join().unwrap();
    assert!(journal.text().contains("model call failed"), "{}", journal.text());
    assert!(!journal.text().contains(SECRET), "{}", journal.text());
}
