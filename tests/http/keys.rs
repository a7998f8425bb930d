//! Requests with an idempotency key: they run once, and repeats get the same answer.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;

use crate::backend::Backend;
use crate::client::call;
use crate::node::{Node, Plan, Scripted, member};
use crate::raw::Raw;
use crate::upstreams::with_process;

const RUN: &str = "/v1/agents/support/run";
const KEY: [(&str, &str); 1] = [("idempotency-key", "k1")];

#[tokio::test]
async fn a_repeat_gets_the_answer_of_the_first_without_a_second_run() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    gateway.knows(&[worker.as_member()]);
    let body = "{\"query\":\"hello\"}";
    let first = call(gateway.address, "POST", RUN, &KEY, body).await;
    let second = call(gateway.address, "POST", RUN, &KEY, body).await;
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(first.text, second.text);
    let replayed = "x-astromesh-replayed";
    assert_eq!((first.header(replayed), second.header(replayed)), ("", "1"));
    for header in ["content-type", "x-astromesh-node", "access-control-allow-origin"] {
        assert_eq!(first.header(header), second.header(header), "{header}");
        assert_eq!(second.headers.get_all(header).iter().count(), 1, "{header}");
    }
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(worker.agents.begun.load(Ordering::Relaxed), 1);
    let other = call(gateway.address, "POST", RUN, &KEY, "{\"query\":\"bye\"}").await;
    other.is_error(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_repeat_waits_for_a_first_that_runs() {
    let node = Node::start(1, &["support"]).await;
    let body = "{\"query\":\"wait\"}";
    let first = tokio::spawn(call(node.address, "POST", RUN, &KEY, body));
    node.runs(1).await;
    let second = tokio::spawn(call(node.address, "POST", RUN, &KEY, body));
    node.repeats(1).await;
    // It is no load: nothing of it runs.
    node.runs(1).await;
    node.agents.go_on.send_replace(true);
    assert_eq!(first.await.unwrap().text, second.await.unwrap().text);
    assert_eq!(node.agents.begun.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_repeat_is_answered_by_a_node_that_is_full_or_stopping() {
    let agents = Scripted::new(&["support"], &[]);
    let api = "max_concurrent: 1, queue_max: 0,";
    let node = Node::build(1, Plan { agents, api, ..Plan::default() }).await;
    // A less busy node that must not be asked.
    let other = Backend::start().await;
    node.knows(&[member(2, other.address, &["support"])]);
    let body = "{\"query\":\"hello\"}";
    let hop = [("idempotency-key", "k1"), ("x-astromesh-hop", "1")];
    let first = call(node.address, "POST", RUN, &hop, body).await;
    assert_eq!(first.header("x-astromesh-replayed"), "");
    const WAITS: &[(&str, &str)] = &[("idempotency-key", "k2"), ("x-astromesh-hop", "1")];
    let wait = "{\"query\":\"wait\"}";
    let running = tokio::spawn(call(node.address, "POST", RUN, WAITS, wait));
    node.runs(1).await;
    let refused = call(node.address, "POST", RUN, &[("x-astromesh-hop", "1")], body).await;
    refused.is_error(503, "node_full");
    for is_stopping in [false, true] {
        if is_stopping {
            node.proxy.drain();
        }
        for headers in [&hop[..], &KEY] {
            let again = call(node.address, "POST", RUN, headers, body).await;
            assert_eq!((again.status, &again.text), (StatusCode::OK, &first.text));
            assert_eq!(again.header("x-astromesh-replayed"), "1");
        }
    }
    // A repeat of what runs waits for it here.
    let waiting = tokio::spawn(call(node.address, "POST", RUN, WAITS, wait));
    node.repeats(1).await;
    node.agents.go_on.send_replace(true);
    assert_eq!(running.await.unwrap().text, waiting.await.unwrap().text);
    assert_eq!(node.agents.begun.load(Ordering::Relaxed), 2);
    assert!(!other.was_called());
}

#[tokio::test]
async fn a_repeat_runs_when_the_first_has_failed() {
    let node = Node::start(1, &["support"]).await;
    for begun in [1, 2] {
        let answer = call(node.address, "POST", RUN, &KEY, "{\"query\":\"break\"}").await;
        answer.is_error(500, "internal");
        assert_eq!(node.agents.begun.load(Ordering::Relaxed), begun);
    }
}

#[tokio::test]
async fn a_repeat_may_be_cut_into_chunks_as_it_likes() {
    let node = Node::start(1, &["support"]).await;
    call(node.address, "POST", RUN, &KEY, "{\"query\":\"hello\"}").await;
    let bodies =
        ["11\r\n{\"query\":\"hello\"}\r\n", "1\r\n{\r\n10;x=y\r\n\"query\":\"hello\"}\r\n"];
    for body in bodies {
        let mut client = Raw::connect(node.address).await;
        client
            .write(&format!(
                "POST {RUN} HTTP/1.1\r\nhost: node\r\nidempotency-key: k1\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert!(head.contains("x-astromesh-replayed: 1\r\n"), "{head}");
    }
    assert_eq!(node.agents.begun.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_deadline_ends_the_wait_for_a_body_and_for_a_first_that_runs() {
    let node = Node::start(1, &["support"]).await;
    let body = "{\"query\":\"wait\"}";
    let first = tokio::spawn(call(node.address, "POST", RUN, &KEY, body));
    node.runs(1).await;
    for (key, sent) in [("k1", body), ("k2", "")] {
        let mut client = Raw::connect(node.address).await;
        client
            .write(&format!(
                "POST {RUN} HTTP/1.1\r\nhost: node\r\nidempotency-key: {key}\r\nx-astromesh-deadline-ms: 50\r\ncontent-length: {}\r\n\r\n{sent}",
                body.len()
            ))
            .await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 504 "), "{key}: {head}");
    }
    node.agents.go_on.send_replace(true);
    assert_eq!(first.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_repeat_of_an_answer_without_content_has_no_length() {
    let backend = Backend::start().await;
    let node = with_process(backend.address.to_string()).await;
    let first = tokio::spawn(call(node.address, "POST", RUN, &KEY, "{}"));
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(first.await.unwrap().status, StatusCode::NO_CONTENT);
    let again = call(node.address, "POST", RUN, &KEY, "{}").await;
    assert_eq!((again.status, again.header("x-astromesh-replayed")), (StatusCode::NO_CONTENT, "1"));
    assert_eq!(again.header("content-length"), "");
}
