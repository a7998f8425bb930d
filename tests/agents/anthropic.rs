//! What is said to Anthropic, and what of its answers reaches the caller.

use astromesh::model::{Availability, ErrorCode};
use serde_json::{Value, json};

use crate::support::{Server, agent, model_error, run};

/// A model block for a fake Anthropic, with more keys.
fn block(server: &Server, more: &str) -> String {
    format!(
        "{{provider: anthropic, endpoint: \"http://{}\", api_key: k-hush{more}}}",
        server.address
    )
}

fn message(content: &Value, stop_reason: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": content, "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {
            "input_tokens": 10, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 6,
            "output_tokens": 3,
        },
    })
}

fn words(text: &str) -> Value {
    message(&json!([{"type": "text", "text": text}]), "end_turn")
}

#[tokio::test]
async fn two_tool_calls_make_the_round_trip() {
    let double = json!({"data": {"a": 21}, "template": "{{ data.a | mul(2) }}"});
    let blocks = json!([
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "json_transform", "input": double},
        {"type": "tool_use", "id": "toolu_2:x.é", "name": "nothing", "input": {}},
    ]);
    let mut sent = blocks.clone();
    // Blank text is not taken back.
    sent.as_array_mut().unwrap().insert(1, json!({"type": "text", "text": "\n\n"}));
    let server = Server::start(vec![message(&sent, "tool_use"), words("42")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  prompts: {{system: Be brief.}}\n  tools: [{{name: json_transform, \
         type: builtin, description: mine, parameters: {{data: {{type: object}}}}}}]",
        block(&server, ", max_tokens: 99, parameters: {thinking: {type: adaptive}}")
    ));

    let response = run(&registry, "double it").await;

    assert_eq!(response.answer, "42");
    assert_eq!(response.steps[0].thought.as_deref(), Some("Let me see."));
    assert_eq!(response.steps[0].action_input, Some(double));
    assert_eq!(
        serde_json::to_value(&response.usage).unwrap()["by_model"],
        json!([{
            "provider": "anthropic", "model": "claude-haiku-5-5", "role": "default", "calls": 2,
            "tokens_in": 40, "tokens_out": 6, "cost": 0.0,
        }])
    );
    let seen = server.seen();
    assert_eq!(seen[0].path, "/v1/messages");
    assert_eq!(seen[0].headers["x-api-key"], "k-hush");
    assert_eq!(seen[0].headers["anthropic-version"], "2023-06-01");
    assert_eq!(seen[0].headers.get("authorization"), None);
    let mut expected = json!({
        "model": "claude-haiku-5-5", "max_tokens": 99, "thinking": {"type": "adaptive"},
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "double it"}],
        "tools": [{
            "name": "json_transform", "description": "mine",
            "input_schema": {"type": "object", "properties": {"data": {"type": "object"}}},
        }],
    });
    assert_eq!(seen[0].body, expected);
    // The model's message goes back as it came, and both results in one message.
    let messages = expected["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": blocks}));
    messages.push(json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": response.steps[0].observation},
        {"type": "tool_result", "tool_use_id": "toolu_2:x.é", "content": response.steps[1].observation},
    ]}));
    assert_eq!(seen[1].body, expected);
}

#[tokio::test]
async fn what_is_left_out_has_a_default_and_v1_may_end_the_endpoint() {
    let server = Server::start(vec![words("ok")]).await;
    for path in ["", "/", "/v1", "/v1/"] {
        let registry = agent(&format!(
            "  model: {{primary: {{source: anthropic, model: m, endpoint: \"http://{}{path}\"}}}}",
            server.address
        ));
        assert_eq!(run(&registry, "q").await.answer, "ok");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.path, "/v1/messages", "{path}");
        // The key of Anthropic is for Anthropic.
        assert_eq!(seen.headers.get("x-api-key"), None);
        let messages = json!([{"role": "user", "content": "q"}]);
        assert_eq!(seen.body, json!({"model": "m", "max_tokens": 8192, "messages": messages}));
    }
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let error = |kind: &str, text: &str| {
        json!({"type": "error", "error": {"type": kind, "message": text}}).to_string()
    };
    let text = json!([{"type": "text", "text": "part"}]);
    let call = json!([{"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}]);
    let thought = json!([{"type": "thinking", "thinking": "hm", "signature": ""}]);
    let rows = [
        (
            400,
            error("invalid_request_error", "temperature: no"),
            "HTTP 400: temperature: no",
            "no temperature",
        ),
        (401, error("authentication_error", "invalid k-hush"), "HTTP 401: invalid ***", "API key"),
        (404, error("not_found_error", "model: m"), "HTTP 404: model: m", "check model"),
        (413, "<html>".to_owned(), "HTTP 413", "too large"),
        (429, error("rate_limit_error", "slow down"), "HTTP 429: slow down", "rate"),
        (529, error("overloaded_error", "Overloaded"), "HTTP 529: Overloaded", "overloaded"),
        (500, error("api_error", "boom"), "HTTP 500: boom", "try again"),
        (200, message(&text, "refusal").to_string(), "refuses to answer", "fallback"),
        (200, message(&json!([]), "max_tokens").to_string(), "used up", "max_tokens"),
        (200, message(&thought, "max_tokens").to_string(), "used up", "max_tokens"),
        (200, message(&call, "max_tokens").to_string(), "used up", "max_tokens"),
        (
            200,
            message(&json!([]), "model_context_window_exceeded").to_string(),
            "used up",
            "shorten",
        ),
        (200, json!({"choices": []}).to_string(), "no message of Anthropic", "openai_compat"),
        (200, message(&json!(["k-hush"]), "end_turn").to_string(), "***", "openai_compat"),
        (
            200,
            message(&json!(vec![&call[0]; 33]), "tool_use").to_string(),
            "33 tool calls",
            "endpoint",
        ),
        (200, "x".repeat(8 * 1024 * 1024 + 1), "larger than", "max_tokens"),
    ];
    for (status, body, said, hint) in rows {
        let server = Server::raw(vec![(status, body)]).await;
        let error =
            model_error(&agent(&format!("  model: {{primary: {}}}", block(&server, "")))).await;
        assert_eq!(error.code, ErrorCode::AllProvidersFailed, "{error}");
        assert!(error.message.contains(said), "{said}: {error}");
        assert!(error.hint.contains(hint), "{said}: {}", error.hint);
        assert!(!error.message.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_text_that_ends_where_its_tokens_did_is_an_answer() {
    let text = json!([{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]);
    for reason in ["max_tokens", "model_context_window_exceeded", "stop_sequence", "what comes"] {
        let server = Server::start(vec![message(&text, reason)]).await;
        let registry = agent(&format!("  model: {{primary: {}}}", block(&server, "")));
        assert_eq!(run(&registry, "q").await.answer, "one two", "{reason}");
    }
}

#[tokio::test]
async fn the_check_asks_for_the_model_itself() {
    let unknown = json!({"type": "error", "error": {"type": "not_found_error", "message": "m"}});
    let rows = [
        (200, json!({"id": "m"}).to_string(), Ok(Availability::Answers)),
        (404, unknown.to_string(), Ok(Availability::NotListed)),
        (404, "<html>".to_owned(), Ok(Availability::NoList(404))),
        (401, json!({"error": {"message": "bad k-hush"}}).to_string(), Err("HTTP 401: bad ***")),
    ];
    for (status, body, expected) in rows {
        let server = Server::raw(vec![(status, body)]).await;
        let block = block(&server, ", model: 'a/b'");
        let registry = agent(&format!("  model: {{primary: {block}}}"));
        let needs = registry.needs().next().unwrap();
        let found = needs.models[0].check(std::time::Duration::from_secs(5)).await;
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.path, "/v1/models/a%2Fb");
        assert_eq!(seen.headers["x-api-key"], "k-hush");
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(said)) => assert!(error.message.ends_with(said), "{error}"),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_conversation_begun_by_another_provider_is_taken_over() {
    let mut calls = crate::support::calls(&[("datetime_now", json!({"timezone": "UTC"}))]);
    calls["choices"][0]["message"]["tool_calls"][0]["id"] = "functions.now:0".into();
    let other = Server::raw(vec![(200, calls.to_string()), (500, String::new())]).await;
    let anthropic = Server::start(vec![words("noon")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}, fallback: {}}}\n  tools: [{{name: datetime_now, type: builtin}}]",
        crate::support::block(&other),
        block(&anthropic, "")
    ));

    assert_eq!(run(&registry, "q").await.answer, "noon");

    let messages = anthropic.seen().remove(0).body["messages"].clone();
    let input = json!({"timezone": "UTC"});
    assert_eq!(
        messages[1],
        json!({"role": "assistant", "content": [
            {"type": "text", "text": "thinking"},
            {"type": "tool_use", "id": "functions_now_0", "name": "datetime_now", "input": input},
        ]})
    );
    assert_eq!(messages[2]["content"][0]["tool_use_id"], "functions_now_0");
}
