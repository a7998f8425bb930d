//! Bytes pass as they come, and a client that leaves ends everything behind it.

use std::time::Duration;

use http_body_util::BodyExt;

use crate::backend::Backend;
use crate::client::{Client, request, run};
use crate::node::{Node, Plan, id, member};
use crate::raw::Raw;

const RUN: &str = "/v1/agents/support/run";

fn a_run(query: &str) -> axum::http::Request<http_body_util::Full<bytes::Bytes>> {
    request("POST", RUN, &[], format!("{{\"query\":\"{query}\"}}"))
}

#[tokio::test]
async fn the_first_part_arrives_before_the_second_is_sent() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let mut client = Client::connect(gateway.address).await;
    let begin = async {
        let mut connection = backend.accept().await;
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await;
        connection
    };
    let (response, mut connection) = tokio::join!(client.send(a_run("x")), begin);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "first");
    assert_eq!(gateway.proxy.outstanding(id(2)), 1);
    connection.write("6\r\nsecond\r\n0\r\n\r\n").await;
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "second");
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_forwarded_request() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let address = gateway.address;
    let client = tokio::spawn(async move { Client::connect(address).await.send(a_run("x")).await });
    let mut connection = backend.accept().await;
    connection.read_request().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 1);
    client.abort();
    connection.closed().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_ends_the_forwarded_request() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let mut client = Client::connect(gateway.address).await;
    let begin = async {
        let mut connection = backend.accept().await;
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await;
        connection
    };
    let (response, mut connection) = tokio::join!(client.send(a_run("x")), begin);
    assert_eq!(gateway.proxy.outstanding(id(2)), 1);
    drop(response);
    drop(client);
    connection.closed().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

/// More than a node reads ahead, and less than the system takes besides.
const AHEAD: usize = 96 * 1024;

#[tokio::test]
async fn a_client_that_leaves_after_it_sent_much_ahead_ends_the_forwarded_request() {
    // Before the answer, and in the middle of it.
    for answer in ["", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"] {
        let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
        gateway.knows(&[member(2, backend.address, &["support"])]);
        let mut client = Raw::connect(gateway.address).await;
        client
            .write(&format!("POST {RUN} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}"))
            .await;
        let mut connection = backend.accept().await;
        connection.read_request().await;
        connection.write(answer).await;
        client.write(&"x".repeat(AHEAD)).await;
        assert_eq!(gateway.proxy.outstanding(id(2)), 1);
        drop(client);
        connection.closed().await;
        assert_eq!(gateway.proxy.outstanding(id(2)), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_body_waits_ends_the_forwarded_request() {
    const BODY: usize = 64 * 1024 * 1024;
    let plan = Plan { body_bytes_max: Some(BODY), ..Plan::default() };
    let (gateway, backend) = (Node::build(1, plan).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let mut client = Raw::connect(gateway.address).await;
    client
        .write(&format!("POST {RUN} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"))
        .await;
    let mut connection = backend.accept().await;
    connection.read_until("\r\n\r\n").await;
    // Nobody reads it, until neither the node nor the systems between have room.
    client.fill(&format!("10000\r\n{}\r\n", "x".repeat(0x10000))).await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 1);
    client.reset();
    let noticed = async {
        while gateway.proxy.outstanding(id(2)) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed).await.expect("it is noticed");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_run_on_this_node_and_on_another() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    gateway.knows(&[worker.as_member()]);
    for address in [worker.address, gateway.address] {
        let client = tokio::spawn(async move { run(address, "support", "wait").await });
        worker.runs(1).await;
        client.abort();
        worker.runs(0).await;
    }
}
