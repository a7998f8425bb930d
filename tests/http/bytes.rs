//! Bytes pass exactly as they are: chunks, events, uploads, tunnels, old and hasty clients.

use crate::backend::Backend;
use crate::client::call;
use crate::node::{Node, Plan, id, member};
use crate::raw::Raw;

const RUN: &str = "POST /v1/agents/support/run HTTP/1.1\r\nhost: node\r\n";

async fn pair() -> (Node, Backend) {
    let (gateway, backend) = (Node::start(1, &[]).await, Backend::start().await);
    gateway.knows(&[member(2, backend.address, &["support"])]);
    (gateway, backend)
}

#[tokio::test]
async fn chunks_arrive_one_by_one_and_as_they_were_cut() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}content-length: 2\r\n\r\n{{}}")).await;
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    // The next one is written only when the one before has come through.
    for chunk in
        ["5\r\nfirst\r\n", "006;a=b\r\nsecond\r\n", "2\r\nab\r\n3\r\ncde\r\n", "1\r", "\nx\r\n"]
    {
        connection.write(chunk).await;
        assert_eq!(client.read_until(chunk).await, chunk);
    }
    connection.write("0\r\nx-sum: t\r\n\r\n").await;
    assert_eq!(client.head().await, "0\r\nx-sum: t\r\n\r\n");
    // The connection takes another request.
    client.write("GET /v1/health HTTP/1.1\r\nhost: node\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_stream_of_events_that_breaks_off_ends_with_an_event_that_says_so() {
    // What the backend writes last, what it writes with it that is no chunk, and what the client gets
    // instead of the rest.
    let rows = [
        ("8\r\ndata: 1\n\r\n", "", ""),
        ("a\r\ndata: 1", "", "\n\n\n\r\n"),
        ("8\r\ndata: 1\n", "", "\r\n"),
        ("8\r\ndata: 1\n\r", "", "\n"),
        ("8\r\ndata: 1\n\r\n", "no size\r\n", ""),
        ("8\r\ndata: 1\n\r\n", "5;a=b\ndata\r\n", ""),
        ("8\r\ndata: 1\n\r\n", "0\r\nno trailer\r\n", ""),
        ("8\r\ndata: 1\n", "more than it said", "\r\n"),
        ("8\r\ndata: 1\n\r", "more than it said", "\n"),
    ];
    for (last, malformed, mended) in rows {
        let (gateway, backend) = pair().await;
        let mut client = Raw::connect(gateway.address).await;
        client.write(&format!("{RUN}x-request-id: abc\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        let mut connection = backend.accept().await;
        connection.read_request().await;
        connection
            .write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        client.head().await;
        connection.write(&format!("{last}{malformed}")).await;
        client.read_until(last).await;
        drop(connection);
        let end = client.read_to_end().await;
        let event = end.strip_prefix(mended).unwrap_or_else(|| panic!("{last:?}: {end:?}"));
        let (size, rest) = event.split_once("\r\n").unwrap();
        let text = rest.strip_suffix("\r\n0\r\n\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16).unwrap(), text.len(), "{end:?}");
        let json = text.strip_prefix("\n\nevent: error\ndata: ").unwrap().trim_end();
        let error: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            (&error["code"], &error["request_id"]),
            (&"node_connection_lost".into(), &"abc".into())
        );
        assert_eq!(gateway.proxy.outstanding(id(2)), 0);
    }
}

#[tokio::test]
async fn any_other_answer_that_breaks_off_does_not_look_whole() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}content-length: 2\r\n\r\n{{}}")).await;
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    client.head().await;
    drop(connection);
    assert_eq!(client.read_to_end().await, "5\r\nfirst\r\n");
}

#[tokio::test]
async fn an_upload_and_its_answer_pass_at_the_same_time() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}transfer-encoding: chunked\r\n\r\n3\r\none\r\n")).await;
    let mut connection = backend.accept().await;
    let begin = connection.read_until("one\r\n").await;
    assert!(begin.contains("transfer-encoding: chunked\r\n"), "{begin}");
    connection.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab").await;
    client.read_until("ab").await;
    client.write("3\r\ntwo\r\n").await;
    assert_eq!(connection.read_until("two\r\n").await, "3\r\ntwo\r\n");
    client.write("0\r\n\r\n").await;
    assert_eq!(connection.read_until("0\r\n\r\n").await, "0\r\n\r\n");
    connection.write("cd").await;
    client.read_until("cd").await;
}

#[tokio::test]
async fn a_websocket_passes_both_ways_and_counts_until_one_side_ends() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client
        .write("GET /v1/ws/agent/support HTTP/1.1\r\nhost: node\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\nearly")
        .await;
    let mut connection = backend.accept().await;
    let request = connection.read_until("\r\n\r\n").await.to_ascii_lowercase();
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: k\r\n"] {
        assert!(request.contains(line), "{line} in {request}");
    }
    connection
        .write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello")
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    client.read_until("hello").await;
    // What was sent ahead waits for the change.
    assert_eq!(connection.read_until("early").await, "early");
    for word in ["ping", "pong"] {
        client.write(word).await;
        assert_eq!(connection.read_until(word).await, word);
        connection.write(word).await;
        assert_eq!(client.read_until(word).await, word);
    }
    assert_eq!(gateway.proxy.outstanding(id(2)), 1);
    drop(client);
    connection.closed().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn a_websocket_on_which_nothing_passes_is_closed() {
    let api = "first_byte_timeout: 0, idle_timeout: 0.05,";
    let gateway = Node::build(1, Plan { api, ..Plan::default() }).await;
    let backend = Backend::start().await;
    gateway.knows(&[member(2, backend.address, &["support"])]);
    let mut client = Raw::connect(gateway.address).await;
    client
        .write("GET /v1/ws/agent/support HTTP/1.1\r\nhost: node\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let mut connection = backend.accept().await;
    connection.read_until("\r\n\r\n").await;
    connection
        .write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello")
        .await;
    let answer = client.read_to_end().await;
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    connection.closed().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn a_change_of_protocol_that_nobody_asked_for_is_no_answer() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}content-length: 2\r\n\r\n{{}}")).await;
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection
        .write(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    client.read_until("\"bad_answer\"").await;
    connection.closed().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}

#[tokio::test]
async fn a_client_that_waits_sends_its_body_when_the_node_says_so() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}expect: 100-continue\r\ncontent-length: 2\r\n\r\n")).await;
    let mut connection = backend.accept().await;
    let head = connection.read_until("\r\n\r\n").await;
    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
    connection.write("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("{}").await;
    assert_eq!(connection.read_until("{}").await, "{}");
    connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(client.read_until("ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn of_an_interim_answer_a_client_gets_what_is_for_clients() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}content-length: 2\r\n\r\n{{}}")).await;
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection
        .write("HTTP/1.1 103 Early Hints\r\nx-astromesh-refused: full\r\nlink: <a>\r\nx-astromesh-load: b=1;s=1;a=1\r\nkeep-alive: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n");
    connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(client.read_until("ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on_by_a_node_that_serves_it_itself() {
    let node = Node::start(1, &["support"]).await;
    let body = "{\"query\":\"hello\"}";
    for key in ["", "idempotency-key: k1\r\n"] {
        let mut client = Raw::connect(node.address).await;
        let length = body.len();
        client
            .write(&format!("{RUN}{key}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"))
            .await;
        assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write(body).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200 "), "{key}");
        client.read_until("support: hello").await;
    }
}

#[tokio::test]
async fn a_long_body_is_sent_when_a_node_has_taken_the_request() {
    const BYTES: usize = 2 * 1024 * 1024;
    let plan = Plan { body_bytes_max: Some(BYTES), ..Plan::default() };
    let gateway = Node::build(1, plan).await;
    let (full, taking) = (Backend::start().await, Backend::start().await);
    let mut busy = member(3, taking.address, &["support"]);
    busy.load.active_requests = 5;
    gateway.knows(&[member(2, full.address, &["support"]), busy]);
    let path = "/v1/agents/support/run";
    let body = vec![b'x'; BYTES];
    let client = tokio::spawn(call(gateway.address, "POST", path, &[], body));
    let mut connection = full.accept().await;
    let head = connection.read_until("\r\n\r\n").await;
    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
    connection
        .write("HTTP/1.1 503 \r\nx-astromesh-refused: full\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    assert!(connection.closed().await.is_empty(), "the body went to a node that refused");
    let mut connection = taking.accept().await;
    connection.read_until("\r\n\r\n").await;
    connection.write("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(connection.read_bytes(BYTES).await.iter().all(|byte| *byte == b'x'));
    connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let answer = client.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "ok"));
}

/// What a client of HTTP/1.0 gets when this is what came from the node.
async fn passed_to_an_old_client(answer: &str) -> (String, String) {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write("POST /v1/agents/support/run HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}").await;
    let mut connection = backend.accept().await;
    connection.read_request().await;
    connection.write(answer).await;
    let answer = client.read_to_end().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn an_old_client_gets_the_body_without_chunks_and_a_close() {
    let (head, body) = passed_to_an_old_client(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    )
    .await;
    assert!(head.contains("connection: close") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, "abcdefg");
}

#[tokio::test]
async fn an_old_client_gets_what_came_before_a_malformed_chunk() {
    let (_, body) = passed_to_an_old_client(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefgh",
    )
    .await;
    assert!(body.starts_with("abcdefg\n\nevent: error\n"), "{body}");
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order() {
    let node = Node::start(1, &["support"]).await;
    let mut client = Raw::connect(node.address).await;
    let body = "{\"query\":\"hello\"}";
    client
        .write(&format!(
            "GET /v1/health HTTP/1.1\r\nhost: node\r\n\r\n{RUN}content-length: {}\r\n\r\n{body}GET /v1/none HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n",
            body.len()
        ))
        .await;
    let all = client.read_to_end().await;
    let places =
        ["\"status\":\"ok\"", "support: hello", "\"not_found\""].map(|text| all.find(text));
    assert!(places[0].is_some() && places[0] < places[1] && places[1] < places[2], "{all}");
}

#[tokio::test]
async fn what_two_readers_could_understand_differently_never_reaches_a_node() {
    const HEADS: [(&str, &str); 9] = [
        ("content-length: 2\r\ntransfer-encoding: chunked\r\n", "400"),
        ("content-length: 2\r\ncontent-length: 3\r\n", "400"),
        ("content-length: +2\r\n", "400"),
        ("transfer-encoding: chunked, identity\r\n", "501"),
        ("transfer-encoding : chunked\r\n", "400"),
        ("transfer-encoding:\x0bchunked\r\n", "400"),
        ("content_length: 2\r\n", "400"),
        ("host: other\r\n", "400"),
        ("x: a\r\n b\r\n", "400"),
    ];
    let (gateway, backend) = pair().await;
    for (lines, status) in HEADS {
        let mut client = Raw::connect(gateway.address).await;
        client.write(&format!("{RUN}{lines}\r\n{{}}")).await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{lines:?}: {answer}");
    }
    assert!(!backend.was_called());
}

#[tokio::test]
async fn a_client_that_leaves_while_it_sends_ends_the_forwarded_request() {
    let (gateway, backend) = pair().await;
    let mut client = Raw::connect(gateway.address).await;
    client.write(&format!("{RUN}content-length: 100\r\n\r\nhalf")).await;
    let mut connection = backend.accept().await;
    connection.read_until("half").await;
    drop(client);
    connection.closed().await;
    assert_eq!(gateway.proxy.outstanding(id(2)), 0);
}
