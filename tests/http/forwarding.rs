//! Requests that another node serves, and nodes that do not answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use astromesh::directory::Member;
use astromesh_wire::State;
use axum::http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use crate::backend::{Backend, Refusing};
use crate::client::{call, get, run};
use crate::node::{Node, id, member};

const RUN: &str = "/v1/agents/support/run";
const BODY: &str = "{\"query\":\"hello\"}";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_run_is_forwarded_and_the_answer_comes_back_unchanged() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    gateway.knows(&[worker.as_member()]);
    let answer = run(gateway.address, "support", "hello").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["answer"], "support: hello");
    assert_eq!(answer.header("x-astromesh-node"), "node-2");
    assert_eq!(answer.headers.get_all("access-control-allow-origin").iter().count(), 1);

    let malformed = call(gateway.address, "POST", RUN, &[("x-request-id", "abc")], "{}").await;
    let detail = malformed.is_error(422, "invalid_request");
    assert_eq!(detail[0]["msg"], "Field required");
    assert_eq!(malformed.json()["request_id"], "abc");
    let failed = run(gateway.address, "support", "fail").await;
    assert_eq!(failed.is_error(502, "model_connection_refused")["hint"], "start the model server");
    assert_eq!(failed.header("x-astromesh-node"), "node-2");

    let document = get(gateway.address, "/v1/agents/support").await;
    assert_eq!(document.json(), json!({"metadata": {"name": "support"}}));
    assert_eq!((gateway.proxy.outstanding(id(2)), worker.load.active()), (0, 0));
}

#[tokio::test]
async fn the_other_node_sees_the_request_of_the_client_one_hop_further() {
    const HEADERS: &[(&str, &str)] = &[
        ("x-request-id", "abc"),
        ("x-custom", "kept"),
        ("connection", "x-private"),
        ("x-private", "dropped"),
    ];
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let path = "/v1/agents/support/run?verbose=1";
    let client = tokio::spawn(call(gateway.address, "POST", path, HEADERS, BODY));
    let mut connection = backend.accept().await;
    let request = connection.read_request().await;
    connection
        .write("HTTP/1.1 418 I'm a teapot\r\nx-mine: 1\r\nkeep-alive: timeout=9\r\ncontent-length: 3\r\n\r\ntea")
        .await;
    let answer = client.await.unwrap();

    assert!(request.starts_with("POST /v1/agents/support/run?verbose=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(BODY), "{request}");
    for line in ["x-request-id: abc", "x-custom: kept", "x-astromesh-hop: 1"] {
        assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
    }
    assert!(request.contains(&format!("host: {}\r\n", backend.address)), "{request}");
    assert!(!request.contains("x-private") && !request.contains("connection:"), "{request}");
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (418, "tea"));
    assert_eq!((answer.header("x-mine"), answer.header("keep-alive")), ("1", ""));
}

#[tokio::test]
async fn a_node_that_refuses_connections_costs_the_caller_nothing() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(3, &["support"]).await);
    let mut busy = worker.as_member();
    busy.load.active_requests = 5;
    let refusing = Refusing::start();
    gateway.knows(&[member(2, refusing.address, &["support"]), busy]);
    for _ in 0..5 {
        let answer = run(gateway.address, "support", "hello").await;
        assert_eq!(answer.header("x-astromesh-node"), "node-3");
    }
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn loads_heard_by_gossip_are_counted_when_they_are_news() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    let mut member = worker.as_member();
    for (sequence, state) in [(0, State::Alive), (7, State::Alive), (7, State::Suspect)] {
        (member.load_sequence, member.state) = (sequence, state);
        gateway.knows(std::slice::from_ref(&member));
        assert_eq!(run(gateway.address, "support", "hello").await.status, StatusCode::OK);
    }
    gateway.counted("astromesh_load_records_total{source=\"gossip\"} 1");
    gateway.counted("astromesh_load_records_total{source=\"header\"} 3");
}

#[tokio::test]
async fn a_node_that_refused_is_passed_over_afterwards() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(3, &["support"]).await);
    let refusing = Refusing::start();
    let mut busy = worker.as_member();
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, refusing.address, &["support"]), busy]);
    let asked = Instant::now();
    assert_eq!(run(gateway.address, "support", "hello").await.header("x-astromesh-node"), "node-3");
    // It is back and less busy, but not asked for a second.
    let back = refusing.listen();
    let answer = tokio::select! {
        answer = run(gateway.address, "support", "hello") => answer,
        _ = back.accept() => {
            assert!(asked.elapsed() >= Duration::from_secs(1), "asked too early");
            return;
        }
    };
    assert_eq!(answer.header("x-astromesh-node"), "node-3");
}

#[tokio::test]
async fn an_agent_that_fails_on_a_node_takes_no_other_agent_away() {
    const AGENTS: &[&str] = &["billing", "support"];
    let (gateway, first) = (Node::start(1, &[]).await, Node::start(2, AGENTS).await);
    gateway.knows(&[first.as_member()]);
    for _ in 0..5 {
        assert_eq!(run(gateway.address, "support", "fail").await.status, StatusCode::BAD_GATEWAY);
    }
    gateway.counted("astromesh_ejections_total{cause=\"status\"} 1");
    assert_eq!(gateway.proxy.ejected(), 1);

    let second = Node::start(3, AGENTS).await;
    let mut busy = second.as_member();
    busy.load.active_requests = 5;
    gateway.knows(&[first.as_member(), busy]);
    let (asked, mut nodes) = (Instant::now(), Vec::new());
    for agent in ["support", "billing", "support"] {
        let answer = run(gateway.address, agent, "hello").await;
        nodes.push(answer.header("x-astromesh-node").to_owned());
    }
    // Not asked for a second; a machine that took longer has shown nothing.
    if asked.elapsed() < Duration::from_secs(1) {
        assert_eq!(nodes, ["node-3", "node-2", "node-3"]);
    }
}

#[tokio::test]
async fn no_more_than_three_nodes_are_tried_and_the_answer_says_how_many() {
    let gateway = Node::start(1, &[]).await;
    let refusing: Vec<Refusing> = (2..8).map(|_| Refusing::start()).collect();
    let members: Vec<Member> = (2..8)
        .zip(&refusing)
        .map(|(number, refusing)| member(number, refusing.address, &["support"]))
        .collect();
    for (known, tried) in [(1, "(1 tried)"), (6, "(3 tried)")] {
        gateway.knows(&members[..known]);
        let answer = run(gateway.address, "support", "hello").await;
        let detail = answer.is_error(503, "nodes_unreachable");
        assert!(detail.as_str().unwrap().contains(tried), "{detail}");
    }
}

#[tokio::test]
async fn a_run_that_was_sent_is_not_sent_again() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    let other = Backend::start().await;
    let mut busy = member(3, other.address, &["support"]);
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, backend.address, &["support"]), busy]);
    let client = tokio::spawn(call(gateway.address, "POST", RUN, &[], BODY));
    let mut connection = backend.accept().await;
    connection.read_request().await;
    drop(connection);
    let answer = tokio::select! {
        answer = client => answer.unwrap(),
        _ = other.accept() => panic!("the run was sent twice"),
    };
    let detail = answer.is_error(502, "node_connection_lost");
    assert!(detail.as_str().unwrap().contains("(1 tried)"), "{detail}");
    assert!(!other.was_called() && !backend.was_called());
}

#[tokio::test]
async fn a_run_that_was_sent_is_sent_again_if_the_client_says_it_may() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    let other = Backend::start().await;
    let mut busy = member(3, other.address, &["support"]);
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, backend.address, &["support"]), busy]);
    let client =
        tokio::spawn(call(gateway.address, "POST", RUN, &[("idempotency-key", "k1")], BODY));
    let mut connection = backend.accept().await;
    connection.read_request().await;
    drop(connection);
    let mut connection = other.accept().await;
    let request = connection.read_request().await;
    assert!(request.contains("idempotency-key: k1\r\n") && request.ends_with(BODY), "{request}");
    connection.write(OK).await;
    assert_eq!(client.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_run_that_was_sent_is_sent_again_if_all_that_have_the_agent_say_it_may() {
    // Whether the first node and the second one say so.
    for (is_first, is_second) in [(true, true), (false, true), (true, false)] {
        let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
        let other = Backend::start().await;
        let announced = |number, address, is_idempotent: bool| Member {
            idempotent_agents: is_idempotent.then(|| "support".to_owned()).into_iter().collect(),
            ..member(number, address, &["support"])
        };
        let mut busy = announced(3, other.address, is_second);
        busy.load.active_requests = 5;
        gateway.knows(&[announced(2, backend.address, is_first), busy]);
        let client = tokio::spawn(call(gateway.address, "POST", RUN, &[], BODY));
        let mut connection = backend.accept().await;
        connection.read_request().await;
        drop(connection);
        if is_first && is_second {
            let mut connection = other.accept().await;
            assert!(connection.read_request().await.ends_with(BODY));
            connection.write(OK).await;
            assert_eq!(client.await.unwrap().status, StatusCode::OK);
        } else {
            let answer = tokio::select! {
                answer = client => answer.unwrap(),
                _ = other.accept() => panic!("the run was sent twice"),
            };
            answer.is_error(502, "node_connection_lost");
            assert!(!other.was_called());
        }
        assert!(!backend.was_called());
    }
}

#[tokio::test]
async fn a_question_that_was_sent_is_sent_again() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    let worker = Node::start(3, &["support"]).await;
    let mut busy = worker.as_member();
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, backend.address, &["support"]), busy]);
    let client = tokio::spawn(get(gateway.address, "/v1/agents/support"));
    let mut connection = backend.accept().await;
    connection.read_request().await;
    drop(connection);
    assert_eq!(client.await.unwrap().header("x-astromesh-node"), "node-3");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    let other = Backend::start().await;
    let mut busy = member(3, other.address, &["support"]);
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, backend.address, &["support"]), busy]);
    let mut client = crate::client::Client::connect(gateway.address).await;
    let request = crate::client::request("POST", RUN, &[("idempotency-key", "k1")], BODY);
    let serve = async {
        let mut connection = backend.accept().await;
        connection.read_request().await;
        connection.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this").await;
    };
    let (response, ()) = tokio::join!(client.send(request), serve);
    assert_eq!(response.status(), StatusCode::OK);
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(body.is_err(), "a body that broke off must not look whole");
    assert!(!other.was_called());
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn a_pooled_connection_that_closed_meanwhile_is_replaced() {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    for _ in 0..2 {
        let client = tokio::spawn(call(gateway.address, "POST", RUN, &[], BODY));
        let mut connection = backend.accept().await;
        connection.read_request().await;
        connection.write(OK).await;
        assert_eq!(client.await.unwrap().status, StatusCode::OK);
        // Closed while idle: the next request finds a pooled connection that is no good.
    }
}

#[tokio::test]
async fn a_forwarded_request_is_served_here_or_not_at_all() {
    let (gateway, worker) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    gateway.knows(&[worker.as_member()]);
    worker.knows(&[member(1, gateway.address, &["support"])]);
    let hop = [("x-astromesh-hop", "1")];
    let refused = call(gateway.address, "POST", RUN, &hop, BODY).await;
    refused.is_error(503, "hop_limit");
    call(gateway.address, "GET", "/v1/agents/support", &hop, "").await.is_error(503, "hop_limit");
    let served = call(worker.address, "POST", RUN, &hop, BODY).await;
    assert_eq!(served.header("x-astromesh-node"), "node-2");
}

#[tokio::test]
async fn two_nodes_that_believe_in_each_other_do_not_loop() {
    let (first, second) = (Node::start(1, &[]).await, Node::start(2, &[]).await);
    first.knows(&[member(2, second.address, &["support"])]);
    second.knows(&[member(1, first.address, &["support"])]);
    run(first.address, "support", "hello").await.is_error(503, "hop_limit");
}

#[tokio::test]
async fn nodes_that_are_dead_or_have_left_are_never_asked() {
    let gateway = Node::start(1, &[]).await;
    for state in [State::Dead, State::Left] {
        let backend = Backend::start().await;
        let mut gone = member(2, backend.address, &["support"]);
        gone.state = state;
        gateway.knows(&[gone]);
        run(gateway.address, "support", "hello").await.is_error(503, "agent_unavailable");
        assert!(!backend.was_called());
    }
}

#[tokio::test]
async fn a_suspect_node_is_the_last_resort() {
    let (gateway, suspect) = (Node::start(1, &[]).await, Node::start(2, &["support"]).await);
    let alive = Node::start(3, &["support"]).await;
    let mut doubted = suspect.as_member();
    doubted.state = State::Suspect;
    let mut busy = alive.as_member();
    busy.load.active_requests = 50;
    gateway.knows(&[doubted.clone(), busy]);
    assert_eq!(run(gateway.address, "support", "a").await.header("x-astromesh-node"), "node-3");
    gateway.knows(&[doubted]);
    assert_eq!(run(gateway.address, "support", "b").await.header("x-astromesh-node"), "node-2");
}

#[tokio::test]
async fn requests_that_arrive_together_are_spread_evenly() {
    let gateway = Node::start(1, &[]).await;
    let workers = [Node::start(2, &["support"]).await, Node::start(3, &["support"]).await];
    gateway.knows(&[workers[0].as_member(), workers[1].as_member()]);
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        clients.spawn(run(gateway.address, "support", "wait"));
    }
    for worker in &workers {
        worker.runs(10).await;
        worker.agents.go_on.send_replace(true);
    }
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    while let Some(answer) = clients.join_next().await {
        *answers.entry(answer.unwrap().header("x-astromesh-node").to_owned()).or_default() += 1;
    }
    assert_eq!(answers, BTreeMap::from([("node-2".to_owned(), 10), ("node-3".to_owned(), 10)]));
    assert_eq!((gateway.proxy.outstanding(id(2)), gateway.proxy.outstanding(id(3))), (0, 0));
}

#[tokio::test]
async fn a_busy_node_sends_its_own_agent_elsewhere() {
    let (own, other) = (Node::start(1, &["support"]).await, Node::start(2, &["support"]).await);
    own.knows(&[other.as_member()]);
    let waiting = tokio::spawn(run(own.address, "support", "wait"));
    own.runs(1).await;
    assert_eq!(run(own.address, "support", "x").await.header("x-astromesh-node"), "node-2");
    own.agents.go_on.send_replace(true);
    assert_eq!(waiting.await.unwrap().header("x-astromesh-node"), "node-1");
    assert_eq!(run(own.address, "support", "x").await.header("x-astromesh-node"), "node-1");
}
