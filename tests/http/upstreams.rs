//! Agents that are processes of their own, and peers that are any HTTP server.

use std::sync::Arc;

use astromesh::agent::{Offer, UpstreamUrl};
use astromesh::routing::StaticPeer;
use astromesh_wire::Service;
use axum::http::StatusCode;

use crate::backend::{Backend, Refusing};
use crate::client::{call, get, run};
use crate::node::{Node, Plan, Scripted, id, member};

const RUN: &str = "/v1/agents/support/run";
const BODY: &str = "{\"query\":\"hello\"}";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

pub(crate) async fn with_process(authority: String) -> Node {
    let mut agents = Scripted::new(&["support"], &[]);
    let upstream = UpstreamUrl { authority, path: "/run?v=1".to_owned() };
    agents.offer = Offer { upstream: Some(Arc::new(upstream)), ..Offer::default() };
    Node::build(2, Plan { agents, ..Plan::default() }).await
}

fn peer(name: &str, backend: &Backend) -> StaticPeer {
    let url = format!("http://{}/base", backend.address);
    StaticPeer { name: name.to_owned(), url, services: vec![Service::Agents] }
}

#[tokio::test]
async fn an_agent_may_be_a_process_that_is_guarded_and_counted_like_any_other() {
    let backend = Backend::start().await;
    let worker = with_process(backend.address.to_string()).await;
    let gateway = Node::start(1, &[]).await;
    gateway.knows(&[worker.as_member()]);
    let client = tokio::spawn(call(gateway.address, "POST", RUN, &[("x-request-id", "abc")], BODY));
    let mut connection = backend.accept().await;
    let request = connection.read_request().await;
    assert!(request.starts_with("POST /run?v=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("x-request-id: abc\r\n") && request.ends_with(BODY), "{request}");
    assert!(!request.contains("x-astromesh-"), "{request}");
    assert_eq!(worker.load.active(), 1);
    connection.write(OK).await;
    let answer = client.await.unwrap();
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "{}"));
    assert_eq!(answer.header("x-astromesh-node"), "node-2");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    // The connection is used again.
    let client = tokio::spawn(call(worker.address, "POST", RUN, &[], BODY));
    connection.read_request().await;
    connection.write(OK).await;
    let answer = client.await.unwrap();
    assert!(answer.header("endpoint-load-metrics").contains("named_metrics.active=1"));
    assert_eq!(worker.load.active(), 0);
}

#[tokio::test]
async fn a_process_that_is_gone_sends_the_request_to_another_node() {
    let refusing = Refusing::start();
    let broken = with_process(refusing.address.to_string()).await;
    run(broken.address, "support", "hello").await.is_error(502, "upstream_unreachable");
    let (gateway, other) = (Node::start(1, &[]).await, Node::start(3, &["support"]).await);
    let mut busy = other.as_member();
    busy.load.active_requests = 5;
    gateway.knows(&[broken.as_member(), busy]);
    let answer = run(gateway.address, "support", "hello").await;
    assert_eq!(answer.header("x-astromesh-node"), "node-3");

    // The node with the process is asked itself: idle as it is, it does not keep the request.
    broken.knows(&[other.as_member()]);
    let answer = run(broken.address, "support", "hello").await;
    assert_eq!((answer.status, answer.header("x-astromesh-node")), (StatusCode::OK, "node-3"));
    assert_eq!(answer.header("x-astromesh-refused"), "");
}

#[tokio::test]
async fn only_a_node_of_the_mesh_is_an_origin() {
    let worker = Node::start(2, &["support"]).await;
    let known = member(5, worker.address, &[]);
    worker.knows(&[known]);
    let (known, stranger) = (id(5).to_string(), id(6).to_string());
    for (hop, origin, told) in [("1", &known, true), ("1", &stranger, false), ("0", &known, false)]
    {
        let headers: [(&str, &str); 2] =
            [("x-astromesh-hop", hop), ("x-astromesh-origin", origin.as_str())];
        let answer = call(worker.address, "POST", RUN, &headers, BODY).await;
        assert_eq!(answer.status, StatusCode::OK, "{hop} {origin}");
        assert_eq!(answer.header("x-astromesh-load").contains(";o=1"), told, "{hop} {origin}");
    }
}

#[tokio::test]
async fn static_peers_take_turns_and_one_that_is_gone_costs_nothing() {
    let (first, second) = (Backend::start().await, Backend::start().await);
    let peers = vec![peer("first", &first), peer("second", &second)];
    let gateway = Node::build(1, Plan { peers, ..Plan::default() }).await;
    let mut served = Vec::new();
    for _ in 0..2 {
        let client = tokio::spawn(call(gateway.address, "POST", RUN, &[], BODY));
        let (name, mut connection) = tokio::select! {
            connection = first.accept() => ("first", connection),
            connection = second.accept() => ("second", connection),
        };
        let request = connection.read_request().await;
        assert!(request.starts_with("POST /base/v1/agents/support/run HTTP/1.1\r\n"), "{request}");
        connection.write(OK).await;
        let answer = client.await.unwrap();
        assert_eq!(answer.header("x-astromesh-node"), name);
        served.push(name);
    }
    served.sort_unstable();
    assert_eq!(served, ["first", "second"]);
    drop(first);
    for _ in 0..2 {
        let client = tokio::spawn(get(gateway.address, "/v1/agents/support"));
        let mut connection = second.accept().await;
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
            .await;
        assert_eq!(client.await.unwrap().header("x-astromesh-node"), "second");
    }
}
