//! How failures of model servers reach the caller.

use std::time::Duration;

use astromesh::agent::Records;
use astromesh::model::openai::OpenAi;
use astromesh::model::{ChatModel, ChatRequest, ErrorCode, Key, Settings, http_client};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::support::{Server, agent, block, model_error, request, run, words};

/// An endpoint where nothing listens.
async fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    format!("{{endpoint: \"http://{address}/v1\"}}")
}

#[tokio::test]
async fn nothing_listening_is_connection_refused() {
    let registry = agent(&format!("  model: {{primary: {}}}", refused().await));
    let error = model_error(&registry).await;
    assert_eq!(error.code, ErrorCode::ConnectionRefused, "{error}");
    assert!(!error.hint.is_empty());
}

#[tokio::test]
async fn an_unknown_host_is_a_dns_failure() {
    // RFC 6761 keeps .invalid from ever resolving.
    let registry = agent("  model: {primary: {endpoint: 'http://model.invalid/v1'}}");
    let error = model_error(&registry).await;
    assert_eq!(error.code, ErrorCode::DnsResolutionFailed, "{error}");
}

#[tokio::test]
async fn bad_answers_say_what_is_wrong() {
    let large = "x".repeat(8 * 1024 * 1024 + 1);
    let rows = [
        ("status", 500, "{\"error\": {\"message\": \"boom\"}}", "HTTP 500: boom"),
        ("status without text", 503, "<html>", "HTTP 503"),
        ("no JSON", 200, "<html>", "no chat completion"),
        ("no choices", 200, "{\"choices\": []}", "no choices"),
        ("redirect", 302, "", "HTTP 302"),
        ("oversize", 200, large.as_str(), "larger than"),
        ("oversize failure", 502, large.as_str(), "HTTP 502"),
        ("failure as success", 200, "{\"error\": {\"message\": \"boom\"}}", "HTTP 200: boom"),
        ("a list", 400, "[{\"error\": {\"message\": \"boom\"}}]", "HTTP 400: boom"),
        ("detail", 422, "{\"detail\": \"boom\"}", "HTTP 422: boom"),
        ("details", 422, "{\"detail\": [{\"msg\": \"boom\", \"loc\": []}]}", "HTTP 422: boom"),
    ];
    for (name, status, body, expected) in rows {
        let server = Server::raw(vec![(status, body.to_owned())]).await;
        let registry = agent(&format!("  model: {{primary: {}}}", block(&server)));
        let error = model_error(&registry).await;
        assert_eq!(error.code, ErrorCode::AllProvidersFailed, "{name}: {error}");
        assert!(error.message.contains(expected), "{name}: {error}");
    }
}

#[tokio::test]
async fn fields_of_odd_types_are_read_as_far_as_they_go() {
    let parts = json!([{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": " two"}]);
    let call = json!([{"id": 7, "function": {"name": "nothing", "arguments": {}}}]);
    let first = json!({
        "choices": [{"message": {"content": null, "tool_calls": call}, "finish_reason": 3}],
        "usage": {"prompt_tokens": "many", "completion_tokens": 3},
    });
    let last = json!({"choices": [{"message": {"content": parts}}], "usage": "none"});
    let server = Server::start(vec![first, last]).await;

    let response = run(&agent(&format!("  model: {{primary: {}}}", block(&server))), "q").await;

    assert_eq!(response.answer, "one two");
    let usage = response.usage.unwrap();
    assert_eq!((usage.tokens_in, usage.tokens_out), (0, 3));
    assert_eq!(server.seen()[1].body["messages"][2]["tool_call_id"], "7");
}

#[tokio::test]
async fn what_is_no_whole_answer_is_a_failure_and_the_next_model_is_asked() {
    let call = json!([{"id": "c", "function": {"name": "n", "arguments": "{\"a\": 1"}}]);
    let rows = [
        ("length", json!({"content": ""}), Some("used up")),
        ("length", json!({"content": null, "reasoning_content": "hm"}), Some("used up")),
        ("length", json!({"content": "I call", "tool_calls": call}), Some("used up")),
        ("length", json!({"content": "the beginning"}), None),
        ("content_filter", json!({"content": "the beg"}), Some("refuses to answer")),
        ("stop", json!({"content": null, "refusal": "I won't"}), Some("refuses to answer")),
        ("stop", json!({"content": "whole", "refusal": null}), None),
    ];
    for (reason, message, expected) in rows {
        let answer = json!({"choices": [{"message": message, "finish_reason": reason}]});
        let server = Server::start(vec![answer]).await;
        let other = Server::start(vec![words("other")]).await;
        let alone = agent(&format!("  model: {{primary: {}}}", block(&server)));
        let with_fallback = format!("{}, fallback: {}", block(&server), block(&other));
        let answer =
            run(&agent(&format!("  model: {{primary: {with_fallback}}}")), "q").await.answer;
        if let Some(expected) = expected {
            let error = model_error(&alone).await;
            assert!(error.message.contains(expected), "{message}: {error}");
            assert!(error.hint.contains("max_tokens") || error.hint.contains("fallback"));
            assert_eq!(answer, "other", "{message}");
        } else {
            assert_eq!(answer, message["content"], "{message}");
        }
    }
}

#[tokio::test]
async fn what_a_provider_says_of_a_failure_is_not_kept_in_the_record() {
    let said = json!({"error": {"message": "cannot answer: my secret plan"}}).to_string();
    let server = Server::raw(vec![(500, said)]).await;
    let registry = agent(&format!("  model: {{primary: {}}}", block(&server)));
    let records = Records::default();

    let error = registry.run("a", request("my secret plan"), &records).await.unwrap_err();

    assert!(error.to_string().contains("my secret plan"), "the caller is told: {error}");
    let kept = &records.traces(None, 1)[0];
    assert_eq!(kept.error.as_deref(), Some("model_all_providers_failed"));
    assert!(!format!("{kept:?}").contains("secret"), "{kept:?}");
}

#[tokio::test]
async fn a_caller_that_leaves_is_no_failure_of_the_model() {
    let registry = agent("  model: {primary: {provider: echo, parameters: {delay_ms: 600000}}}");
    let records = Records::default();

    let run = registry.run("a", request("q"), &records);
    tokio::time::timeout(Duration::ZERO, run).await.unwrap_err();

    let usage = &records.usage()[0];
    assert_eq!((usage.runs_canceled, usage.runs_failed, usage.model_failures), (1, 0, 0));
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = agent(&format!(
        "  model: {{primary: {{endpoint: \"http://{address}/v1\", timeout: 0.2}}}}"
    ));
    let error = model_error(&registry).await;
    assert_eq!(error.code, ErrorCode::Timeout, "{error}");
}

#[tokio::test]
async fn a_key_that_the_file_names_must_be_set_and_is_sent() {
    let server = Server::raw(vec![
        (401, "{\"error\": {\"message\": \"bad key astromesh\"}}".to_owned()),
        (200, words("ok").to_string()),
    ])
    .await;
    let endpoint = format!("endpoint: \"http://{}/v1\"", server.address);
    let missing = "  model: {primary: {api_key_env: ASTROMESH_TEST_UNSET_KEY}}";
    let error = model_error(&agent(missing)).await;
    assert_eq!(error.code, ErrorCode::MissingApiKey, "{error}");
    assert!(error.message.contains("ASTROMESH_TEST_UNSET_KEY"));

    // Cargo sets this variable to "astromesh" for every test.
    let set = agent(&format!("  model: {{primary: {{{endpoint}, api_key_env: CARGO_PKG_NAME}}}}"));
    let error = model_error(&set).await;
    assert!(error.message.ends_with("HTTP 401: bad key ***"), "{error}");
    assert_eq!(run(&set, "q").await.answer, "ok");
    assert_eq!(server.seen()[0].headers["authorization"], "Bearer astromesh");
}

#[tokio::test]
async fn a_query_that_the_server_repeats_is_blanked() {
    let said = "no: POST /v1/chat/completions?v=1&key=query-hush, key query-hush, v 1";
    let server = Server::raw(vec![(400, json!({"detail": said}).to_string())]).await;
    let url = format!("http://{}/v1?v=1&key=query-hush", server.address);
    let error =
        model_error(&agent(&format!("  model: {{primary: {{endpoint: \"{url}\"}}}}"))).await;
    assert!(error.message.ends_with("no: POST /v1/chat/completions?***, key ***, v 1"), "{error}");
    assert_eq!(server.seen()[0].path, "/v1/chat/completions?v=1&key=query-hush");
}

#[tokio::test]
async fn the_fallback_answers_when_the_primary_fails_and_is_kept_for_the_run() {
    let down = Server::raw(vec![(500, String::new())]).await;
    let up = Server::start(vec![
        crate::support::calls(&[("datetime_now", serde_json::json!({}))]),
        words("ok"),
    ])
    .await;
    for spec in [
        format!("  model: {{primary: {}, fallback: {}}}", block(&down), block(&up)),
        format!("  model: {{default: {{candidates: [{}, {}]}}}}", block(&down), block(&up)),
    ] {
        let registry = agent(&format!("{spec}\n  tools: [{{name: datetime_now, type: builtin}}]"));
        assert_eq!(run(&registry, "q").await.answer, "ok");
    }
    assert_eq!(down.seen().len(), 2, "asked once in each run");
}

#[tokio::test]
async fn when_all_models_fail_all_reasons_are_told() {
    let down = Server::raw(vec![(500, String::new())]).await;
    let spec = format!("  model: {{primary: {}, fallback: {}}}", refused().await, block(&down));
    let error = model_error(&agent(&spec)).await;
    assert_eq!(error.code, ErrorCode::AllProvidersFailed);
    assert!(error.message.contains("model_connection_refused"), "{error}");
    assert!(error.message.contains("HTTP 500"), "{error}");
    let hints = "gpt-4o-mini: nothing listens there: start the model server, or mend endpoint; \
                 m1: the provider has trouble; try again, or add a fallback model";
    assert_eq!(error.hint, hints);
    let again = format!("{}, extra: {{x: {}}}", block(&down), block(&down).replace("m1", "m2"));
    let spec = format!("  model: {{primary: {}, fallback: {again}}}", block(&down));
    let error = model_error(&agent(&spec)).await;
    assert_eq!(error.hint, "m1, m2: the provider has trouble; try again, or add a fallback model");
}

#[tokio::test]
async fn a_key_that_no_header_can_hold_is_said_so_and_not_repeated() {
    let settings = Settings {
        model: "m".to_owned(),
        endpoint: "http://127.0.0.1:1/v1".parse().unwrap(),
        key: Key::Literal("hu\nsh".to_owned()),
        parameters: serde_json::Map::new(),
        timeout: Duration::from_secs(5),
    };
    let model = OpenAi::new(http_client(), settings);
    let request = ChatRequest { messages: &[], tools: &[], traceparent: None };
    let error = model.complete(request).await.unwrap_err();
    assert!(error.message.contains("no header can hold"), "{error}");
    assert!(!format!("{error:?}").contains("sh\""), "{error:?}");
}

#[tokio::test]
async fn dropping_the_run_closes_the_connection_to_the_model() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registry = agent(&format!("  model: {{primary: {{endpoint: \"http://{address}/v1\"}}}}"));
    let mut stream = {
        let records = Records::default();
        let run = registry.run("a", request("q"), &records);
        tokio::pin!(run);
        tokio::select! {
            result = &mut run => panic!("the silent server cannot have answered: {result:?}"),
            accepted = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut first = [0; 4];
                stream.read_exact(&mut first).await.unwrap();
                assert_eq!(&first, b"POST");
                stream
            } => accepted,
        }
    };
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest));
    // A reset is a close too.
    drop(closed.await.expect("the connection is closed"));
}
