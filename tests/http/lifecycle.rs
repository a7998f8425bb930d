//! The graceful end of a server.

use astromesh::proxy::Live;
use axum::http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::{Client, get, request, run};
use crate::node::Node;

#[tokio::test]
async fn a_run_in_flight_is_answered_and_no_new_one_accepted() {
    let mut node = Node::start(1, &["support"]).await;
    let client = tokio::spawn(run(node.address, "support", "wait"));
    node.runs(1).await;
    // One connection that never said anything and one that is idle after an answer.
    let mut silent = TcpStream::connect(node.address).await.unwrap();
    let mut idle = Client::connect(node.address).await;
    let answer = idle.send(request("GET", "/v1/health", &[], "")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);

    node.stop();
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap(), 0, "a silent connection is closed");
    assert!(TcpStream::connect(node.address).await.is_err());
    assert_eq!(node.load.active(), 1);
    node.agents.go_on.send_replace(true);
    let answer = client.await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (StatusCode::OK, "close"));
    node.serving.take().unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_server_ends_what_is_in_flight() {
    let node = Node::start(1, &["support"]).await;
    let address = node.address;
    let client = tokio::spawn(run(address, "support", "wait"));
    node.runs(1).await;
    let mut in_flight = node.load.watch();
    drop(node);
    in_flight.wait_for(|active| *active == 0).await.unwrap();
    assert!(client.await.is_err(), "the client sees its connection break");
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let node = Node::start(1, &["support"]).await;
    let mut client = Client::connect(node.address).await;
    for _ in 0..3 {
        let answer = client.send(request("GET", "/v1/health", &[], "")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
    }
    assert_eq!(get(node.address, "/v1/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_replaced_holds_from_the_next_request_of_a_connection_on() {
    let (node, other) = (Node::start(1, &["support"]).await, Node::start(2, &["sales"]).await);
    let begun = tokio::spawn(run(node.address, "support", "wait"));
    node.runs(1).await;
    let mut client = Client::connect(node.address).await;
    let mut listed = async || {
        let answer = client.send(request("GET", "/v1/agents", &[], "")).await;
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
        let list: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        list["agents"][0]["name"].clone()
    };
    assert_eq!(listed().await, "support");

    let next = other.proxy.live();
    node.proxy.replace(Live {
        node_name: next.node_name.clone(),
        agents: next.agents.clone(),
        models: next.models.clone(),
        router: next.router.clone(),
        settings: next.settings.clone(),
        access_log: None,
        tracer: None,
    });

    assert_eq!(listed().await, "sales", "the pipe to the routes from before is not used again");
    assert_eq!(run(node.address, "sales", "hello").await.header("x-astromesh-node"), "node-2");
    assert_eq!(run(node.address, "support", "hello").await.status, StatusCode::NOT_FOUND);
    node.agents.go_on.send_replace(true);
    let answer = begun.await.unwrap();
    assert_eq!((answer.status, answer.header("x-astromesh-node")), (StatusCode::OK, "node-1"));
}
