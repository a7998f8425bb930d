//! Agents that are processes of their own, and what files say of limits and repeats.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use astromesh::agent::Records;
use astromesh::agent::types::AgentStatus;
use astromesh::agent::{Offer, Registry, RunError};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{registry, request};

const ECHO: &str = "model: {primary: {provider: echo}}";

fn with_spec(spec: &str) -> Registry {
    registry(&[("a", &format!("metadata: {{name: a}}\nspec: {{{spec}}}\n"))])
}

fn offer(spec: &str) -> Offer {
    let registry = with_spec(spec);
    assert_eq!(registry.list()[0].error, None, "{spec}");
    registry.offer("a").unwrap()
}

fn error(spec: &str) -> String {
    let registry = with_spec(spec);
    assert_eq!(registry.offer("a"), None, "{spec}");
    registry.list()[0].error.clone().unwrap()
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples")
}

#[test]
fn an_agent_without_the_keys_has_no_limit_and_is_not_repeated() {
    let expected = Offer { max_concurrent: 0, is_idempotent: false, upstream: None };
    assert_eq!(offer(ECHO), expected);
    let given = offer(&format!("{ECHO}, max_concurrent: 3, idempotent: true"));
    assert_eq!(given, Offer { max_concurrent: 3, is_idempotent: true, upstream: None });
}

#[test]
fn an_upstream_is_kept_as_the_host_to_connect_to_and_the_path_to_ask() {
    for (url, authority, path) in [
        ("http://127.0.0.1:9000", "127.0.0.1:9000", "/"),
        ("http://127.0.0.1:9000/run/it", "127.0.0.1:9000", "/run/it"),
        ("http://agents.example/", "agents.example:80", "/"),
        ("http://[::1]:7/a?key=b c", "[::1]:7", "/a?key=b%20c"),
        ("HTTP://Host:80/x", "host:80", "/x"),
    ] {
        let upstream = offer(&format!("upstream: {{url: '{url}'}}")).upstream.unwrap();
        assert_eq!((upstream.authority.as_str(), upstream.path.as_str()), (authority, path));
    }
}

#[test]
fn each_mistake_is_named_with_its_remedy() {
    for (spec, expected) in [
        ("upstream: {}", "a.agent.yaml:2: spec.upstream.url: missing; write http://HOST:PORT/PATH"),
        ("upstream: {url: 7}", "spec.upstream.url: 7: must be text"),
        ("upstream: 'http://h'", "spec.upstream: \"http://h\": must be a mapping"),
        ("upstream: {url: 'h:1/x'}", "spec.upstream.url: \"h:1/x\": must be a URL such as"),
        ("upstream: {url: '/x'}", "spec.upstream.url: \"/x\": must be a URL such as"),
        ("upstream: {url: 'https://h/x'}", "spec.upstream.url: \"https://h/x\": https is not"),
        ("upstream: {url: 'http://h:0/'}", "spec.upstream.url: \"http://h:0/\": has port 0"),
        ("upstream: {url: 'http://h/#x'}", "spec.upstream.url: \"http://h/#x\": must not hold a f"),
        (
            "upstream: {url: 'http://h', path: x}",
            "spec.upstream.path: unknown key; known here: url",
        ),
        ("max_concurrent: 1000001", "spec.max_concurrent: 1000001: must be a whole number from 0"),
        ("idempotent: sometimes", "spec.idempotent: \"sometimes\": must be true or false"),
    ] {
        let error = error(spec);
        assert!(error.contains(expected), "{spec}: {error}");
    }
    let secret = error("upstream: {url: 'http://me:hush@h/'}");
    assert!(secret.contains("spec.upstream.url: must not hold a user or password"), "{secret}");
    assert!(!secret.contains("hush"), "{secret}");
}

#[test]
fn what_would_run_the_agent_here_is_refused_beside_an_upstream() {
    for key in ["model", "prompts", "orchestration", "tools"] {
        let error = error(&format!("{key}: {{}}, upstream: {{url: 'http://h'}}"));
        let expected = format!("agents/a.agent.yaml:2: spec.{key}: has no meaning beside upstream");
        assert!(error.starts_with(&expected) && error.lines().count() == 1, "{error}");
    }
}

#[tokio::test]
async fn an_upstream_agent_is_deployed_like_any_other_but_not_run_by_the_registry() {
    let registry = with_spec("upstream: {url: 'http://127.0.0.1:9/x'}");
    assert_eq!(registry.list()[0].status, AgentStatus::Deployed);
    assert_eq!(registry.served_names(), ["a"]);
    assert!(registry.serves("a") && registry.has_document("a") && !registry.has_document("b"));
    assert_eq!(registry.document("a").unwrap()["spec"]["upstream"]["url"], "http://127.0.0.1:9/x");
    let outcome = registry.run("a", request("q"), &Records::default()).await;
    assert!(
        matches!(&outcome, Err(RunError::Internal(text)) if text.contains("http://127.0.0.1:9/x")),
        "{outcome:?}"
    );
}

#[test]
fn the_sample_names_the_port_its_process_listens_on() {
    let text = std::fs::read_to_string(samples().join("words.agent.yaml")).unwrap();
    let registry = registry(&[("words", &text)]);
    assert_eq!(registry.list()[0].error, None);
    let offer = registry.offer("words").unwrap();
    assert_eq!((offer.max_concurrent, offer.is_idempotent), (8, true));
    assert_eq!(offer.upstream.unwrap().authority, "127.0.0.1:9000");
}

/// The sample as a process, ended when dropped.
struct Words(Child);

impl Drop for Words {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_sample_answers_at_once_and_as_a_stream_of_events() {
    let mut command = Command::new("python3");
    command.arg(samples().join("words.py")).arg("0").stdout(Stdio::piped());
    let Ok(child) = command.spawn() else {
        // Without Python there is no such agent to try.
        return;
    };
    let mut words = Words(child);
    let mut said = String::new();
    BufReader::new(words.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let url = said.trim_end().strip_prefix("listening on ").unwrap();

    let http = astromesh::model::http_client();
    let post = |query: Value| http.post(url).body(json!({"query": query}).to_string());
    let answer = post("one two".into()).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), r#"{"answer": "2 words"}"#);

    let stream = post("one two".into()).header(ACCEPT, "text/event-stream").send().await.unwrap();
    assert_eq!(stream.headers()[CONTENT_TYPE], "text/event-stream");
    let expected = "data: {\"count\": 1, \"word\": \"one\"}\n\n\
                    data: {\"count\": 2, \"word\": \"two\"}\n\n\
                    data: {\"answer\": \"2 words\"}\n\n";
    assert_eq!(stream.text().await.unwrap(), expected);

    let refused = post(7.into()).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 422);
}
