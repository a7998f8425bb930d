//! Nodes that are full, stopping or slow, and what becomes of the requests for them.

use std::time::Duration;

use astromesh::agent::Offer;
use axum::http::StatusCode;

use crate::backend::{Backend, Connection};
use crate::client::{call, run};
use crate::node::{Node, Plan, Scripted, id, member};
use crate::raw::Raw;

const RUN: &str = "/v1/agents/support/run";
const BODY: &str = "{\"query\":\"hello\"}";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const FULL: &str = "HTTP/1.1 503 \r\nx-astromesh-refused: full\r\nx-astromesh-load: b=1;s=9;a=1;l=1;d=0;o=0\r\ncontent-length: 2\r\n\r\n{}";

async fn limited(number: u8, api: &'static str) -> Node {
    let agents = Scripted::new(&["support"], &[]);
    Node::build(number, Plan { agents, api, ..Plan::default() }).await
}

async fn refuse(backend: &Backend) -> Connection {
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection.write(FULL).await;
    connection
}

#[tokio::test]
async fn a_node_that_is_full_says_so_and_another_one_is_asked() {
    let (gateway, full) = (Node::start(1, &[]).await, Backend::start().await);
    let worker = Node::start(3, &["support"]).await;
    let mut busy = worker.as_member();
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, full.address, &["support"]), busy]);
    let client = tokio::spawn(run(gateway.address, "support", "hello"));
    let _connection = refuse(&full).await;
    let answer = client.await.unwrap();
    assert_eq!((answer.status, answer.header("x-astromesh-node")), (StatusCode::OK, "node-3"));
    for header in ["x-astromesh-load", "x-astromesh-refused"] {
        assert_eq!(answer.header(header), "", "{header}");
    }
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn when_all_are_full_one_is_told_to_queue() {
    let (gateway, first, second) =
        (Node::start(1, &[]).await, Backend::start().await, Backend::start().await);
    gateway
        .knows(&[member(2, first.address, &["support"]), member(3, second.address, &["support"])]);
    let client = tokio::spawn(call(gateway.address, "POST", RUN, &[], BODY));
    // In whichever order they are asked.
    let (mut left, mut right) = tokio::join!(refuse(&first), refuse(&second));
    let request = tokio::select! {
        request = left.read_request() => { left.write(OK).await; request }
        request = right.read_request() => { right.write(OK).await; request }
    };
    assert!(request.contains("x-astromesh-must-queue: 1\r\n"), "{request}");
    assert_eq!(client.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn beyond_the_queue_a_client_is_told_when_to_come_again() {
    let worker = limited(2, "max_concurrent: 1, queue_max: 0,").await;
    let gateway = Node::start(1, &[]).await;
    gateway.knows(&[worker.as_member()]);
    let running = tokio::spawn(run(worker.address, "support", "wait"));
    worker.runs(1).await;
    for address in [gateway.address, worker.address] {
        let answer = run(address, "support", "hello").await;
        answer.is_error(429, "queue_full");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let origin = id(1).to_string();
    let hop = [("x-astromesh-hop", "1"), ("x-astromesh-origin", &*origin)];
    // A client that asks one certain node is told what it can understand, a node the rest as well.
    for (headers, why) in [(&hop[..1], ""), (&hop, "full")] {
        let refused = call(worker.address, "POST", RUN, headers, BODY).await;
        refused.is_error(503, "node_full");
        assert_eq!(refused.header("x-astromesh-refused"), why);
    }
    let refused = call(worker.address, "POST", RUN, &hop, BODY).await;
    assert!(refused.header("x-astromesh-load").contains(";l=1;"), "{:?}", refused.headers);
    worker.agents.go_on.send_replace(true);
    assert_eq!(running.await.unwrap().status, StatusCode::OK);
    assert_eq!(run(gateway.address, "support", "hello").await.status, StatusCode::OK);
    // The only one refused it and was asked again, to queue it.
    gateway.counted("astromesh_retries_total{cause=\"refused\"} 1");
}

#[tokio::test]
async fn a_full_node_refuses_before_the_body_has_come() {
    let worker = limited(2, "max_concurrent: 1, queue_max: 0,").await;
    let running = tokio::spawn(run(worker.address, "support", "wait"));
    worker.runs(1).await;
    let mut client = Raw::connect(worker.address).await;
    client
        .write("POST /v1/agents/support/run HTTP/1.1\r\nhost: node\r\nx-astromesh-hop: 1\r\ncontent-length: 1000\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 503 "));
    worker.agents.go_on.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_request_waits_in_the_queue_and_leaves_it_with_its_client() {
    let worker = limited(2, "max_concurrent: 1, queue_max: 2,").await;
    let running = tokio::spawn(run(worker.address, "support", "wait"));
    worker.runs(1).await;
    let waiting = tokio::spawn(run(worker.address, "support", "hello"));
    worker.runs(2).await;
    let leaving = tokio::spawn(run(worker.address, "support", "hello"));
    worker.runs(3).await;
    leaving.abort();
    worker.runs(2).await;
    worker.agents.go_on.send_replace(true);
    for answer in [running, waiting] {
        assert_eq!(answer.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_told_so_and_counted() {
    let worker = limited(2, "max_concurrent: 1, queue_timeout: 0.05,").await;
    let running = tokio::spawn(run(worker.address, "support", "wait"));
    worker.runs(1).await;
    run(worker.address, "support", "hello").await.is_error(503, "queue_timeout");
    worker.counted("astromesh_deadlines_total{kind=\"queue\"} 1");
    worker.agents.go_on.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn an_agent_has_a_limit_of_its_own() {
    let mut agents = Scripted::new(&["support", "sales"], &[]);
    agents.offer = Offer { max_concurrent: 1, ..Offer::default() };
    let worker = Node::build(2, Plan { agents, api: "queue_max: 0,", ..Plan::default() }).await;
    let running = tokio::spawn(run(worker.address, "support", "wait"));
    worker.runs(1).await;
    run(worker.address, "support", "hello").await.is_error(429, "queue_full");
    assert_eq!(run(worker.address, "sales", "hello").await.status, StatusCode::OK);
    worker.agents.go_on.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_node_that_drains_sends_nodes_elsewhere_and_finishes_what_it_has() {
    let (gateway, leaving) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    let other = Node::start(3, &["support"]).await;
    let mut busy = other.as_member();
    busy.load.active_requests = 50;
    gateway.knows(&[leaving.as_member(), busy]);
    let running = tokio::spawn(run(gateway.address, "support", "wait"));
    leaving.runs(1).await;
    leaving.proxy.drain();
    let answer = run(gateway.address, "support", "hello").await;
    assert_eq!((answer.status, answer.header("x-astromesh-node")), (StatusCode::OK, "node-3"));
    leaving.agents.go_on.send_replace(true);
    assert_eq!(running.await.unwrap().header("x-astromesh-node"), "node-2");
    // A client that knows no other node is served all the same, and told to connect anew.
    let direct = run(leaving.address, "support", "hello").await;
    assert_eq!((direct.status, direct.header("connection")), (StatusCode::OK, "close"));
}

#[tokio::test]
async fn a_gateway_that_drains_goes_on_sending_and_serves_what_nobody_takes() {
    let (gateway, leaving) =
        (Node::start(1, &["support"]).await, Node::start(2, &["support"]).await);
    let other = Node::start(3, &["support"]).await;
    let mut busy = other.as_member();
    busy.load.active_requests = 50;
    gateway.knows(&[leaving.as_member(), busy]);
    gateway.proxy.drain();
    leaving.proxy.drain();
    let answer = run(gateway.address, "support", "hello").await;
    assert_eq!((answer.status, answer.header("x-astromesh-node")), (StatusCode::OK, "node-3"));
    assert_eq!((answer.header("x-astromesh-refused"), answer.header("connection")), ("", "close"));
    other.proxy.drain();
    let answer = run(gateway.address, "support", "hello").await;
    assert_eq!((answer.status, answer.header("x-astromesh-node")), (StatusCode::OK, "node-1"));
}

#[tokio::test]
async fn a_deadline_is_passed_on_and_ends_the_wait() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    const DEADLINE: &[(&str, &str)] = &[("x-astromesh-deadline-ms", "300")];
    let client = tokio::spawn(call(gateway.address, "POST", RUN, DEADLINE, BODY));
    let mut connection = backend.accept().await;
    let request = connection.read_request().await;
    let left = request
        .split("\r\n")
        .find_map(|line| line.strip_prefix("x-astromesh-deadline-ms: "))
        .map(|left| left.parse::<u32>().unwrap());
    assert!(left.is_some_and(|left| left <= 300), "{request}");
    client.await.unwrap().is_error(504, "deadline_exceeded");
    connection.closed().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_ends_the_request_wherever_it_goes() {
    let plan = |agents| Plan {
        agents: Scripted::new(agents, &[]),
        body_idle_timeout: Some(Duration::from_millis(50)),
        ..Plan::default()
    };
    let (gateway, backend) = (Node::build(1, plan(&[])).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let worker = Node::build(3, plan(&["support"])).await;
    let rows = [(&gateway, ""), (&worker, ""), (&worker, "idempotency-key: k1\r\n")];
    for (node, key) in rows {
        let mut client = Raw::connect(node.address).await;
        client
            .write(&format!(
                "POST {RUN} HTTP/1.1\r\nhost: node\r\n{key}content-length: 100\r\n\r\nhalf"
            ))
            .await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 408 "), "{key:?}: {head}");
        assert!(head.contains("connection: close\r\n"), "{key:?}: {head}");
        client.read_until("\"body_timeout\"").await;
    }
    backend.accept().await.closed().await;
    assert_eq!((gateway.proxy.outstanding(id(2)), worker.load.active()), (0, 0));
}

#[tokio::test]
async fn a_client_that_asks_learns_why_its_node_was_chosen() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    gateway.knows(&[worker.as_member()]);
    let asked = call(gateway.address, "POST", RUN, &[("x-astromesh-explain", "1")], BODY).await;
    let why = asked.header("x-astromesh-why");
    assert!(why.starts_with("node=node-2;reason=") && why.ends_with(";tried=1"), "{why}");
    // One that served it itself says so, whether there was a choice or not.
    worker.knows(&[gateway.as_member()]);
    let direct = call(worker.address, "POST", RUN, &[("x-astromesh-explain", "1")], BODY).await;
    let why = direct.header("x-astromesh-why");
    assert!(why.starts_with("node=node-2;reason=only_one;candidates=1;"), "{why}");
    const HOP: [(&str, &str); 2] = [("x-astromesh-explain", "1"), ("x-astromesh-hop", "1")];
    let direct = call(worker.address, "POST", RUN, &HOP, BODY).await;
    assert_eq!(direct.header("x-astromesh-why"), "node=node-2;reason=local;tried=1");
    let not_asked = run(gateway.address, "support", "hello").await;
    assert_eq!(not_asked.header("x-astromesh-why"), "");
}
