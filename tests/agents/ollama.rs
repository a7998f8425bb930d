//! What is said to Ollama, and what of its answers reaches the caller.

use astromesh::model::{Availability, ErrorCode};
use serde_json::{Value, json};

use crate::support::{Server, agent, model_error, run};

/// A model block for a fake Ollama, with more keys.
fn block(server: &Server, more: &str) -> String {
    format!("{{provider: ollama, model: m1, endpoint: \"http://{}\"{more}}}", server.address)
}

fn words(text: &str) -> Value {
    json!({
        "model": "m1", "done": true, "done_reason": "stop",
        "message": {"role": "assistant", "content": text},
        "prompt_eval_count": 11, "eval_count": 4, "total_duration": 1,
    })
}

/// An answer with one call of a tool, and what the model thought before.
fn call(name: &str, arguments: &Value) -> Value {
    json!({
        "model": "m1", "done": true, "done_reason": "stop",
        "message": {
            "role": "assistant", "content": "", "thinking": "hm",
            "tool_calls": [{"function": {"index": 0, "name": name, "arguments": arguments}}],
        },
        "prompt_eval_count": 20, "eval_count": 5,
    })
}

#[tokio::test]
async fn a_tool_call_makes_the_round_trip() {
    let arguments = json!({"data": {"a": 21}, "template": "{{ data.a | mul(2) }}"});
    let server = Server::start(vec![call("json_transform", &arguments), words("42")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  prompts: {{system: Be brief.}}\n  tools: [{{name: json_transform, \
         type: builtin, description: mine, parameters: {{data: {{type: object}}}}}}]",
        block(&server, "")
    ));

    let response = run(&registry, "double it").await;

    assert_eq!(response.answer, "42");
    assert_eq!(response.steps[0].action_input, Some(arguments.clone()));
    let observation = response.steps[0].observation.clone().unwrap();
    assert!(observation.contains("\"data\":42"), "{observation}");
    assert_eq!(
        serde_json::to_value(&response.usage).unwrap()["by_model"],
        json!([{
            "provider": "ollama", "model": "m1", "role": "default", "calls": 2,
            "tokens_in": 31, "tokens_out": 9, "cost": 0.0,
        }])
    );
    let seen = server.seen();
    assert_eq!(seen[0].path, "/api/chat");
    assert_eq!(seen[0].headers.get("authorization"), None);
    let tools = json!([{"type": "function", "function": {
        "name": "json_transform", "description": "mine",
        "parameters": {"type": "object", "properties": {"data": {"type": "object"}}},
    }}]);
    let mut messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "double it"},
    ]);
    assert_eq!(
        seen[0].body,
        json!({"model": "m1", "stream": false, "messages": messages, "tools": tools})
    );
    // The model's message goes back as it came, with what it thought.
    let messages = messages.as_array_mut().unwrap();
    messages.push(call("json_transform", &arguments)["message"].clone());
    let mut result = seen[1].body["messages"][3].clone();
    let id = result.as_object_mut().unwrap().remove("tool_call_id").unwrap();
    assert!(id.as_str().unwrap().starts_with("call_"));
    assert_eq!(
        result,
        json!({"role": "tool", "tool_name": "json_transform", "content": observation})
    );
    assert_eq!(seen[1].body["messages"].as_array().unwrap()[..3], messages[..]);
}

#[tokio::test]
async fn parameters_stand_where_ollama_looks_for_them() {
    let rows = [
        (
            ", temperature: 0.5, max_tokens: 7",
            json!({"temperature": 0.5, "num_predict": 7}),
            json!({}),
        ),
        (
            ", max_tokens: 7, parameters: {num_predict: 8, num_ctx: 8192, top_k: 3, stop: END}",
            json!({"num_predict": 8, "num_ctx": 8192, "top_k": 3, "stop": ["END"]}),
            json!({}),
        ),
        (
            ", parameters: {keep_alive: 10m, think: false, format: json, seed: 1, options: {seed: 2}}",
            json!({"seed": 2}),
            json!({"keep_alive": "10m", "think": false, "format": "json"}),
        ),
    ];
    for (more, options, fields) in rows {
        let server = Server::start(vec![words("ok")]).await;
        run(&agent(&format!("  model: {{primary: {}}}", block(&server, more))), "q").await;
        let mut expected = json!({
            "model": "m1", "stream": false, "options": options,
            "messages": [{"role": "user", "content": "q"}],
        });
        expected.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        assert_eq!(server.seen()[0].body, expected, "{more}");
    }
}

#[tokio::test]
async fn the_endpoint_of_an_api_stands_for_its_server() {
    let server = Server::start(vec![words("ok")]).await;
    for (path, asked) in [
        ("", "/api/chat"),
        ("/", "/api/chat"),
        ("/v1", "/api/chat"),
        ("/api/", "/api/chat"),
        ("/gpu/v1?x=1", "/gpu/api/chat?x=1"),
    ] {
        let registry = agent(&format!(
            "  model: {{primary: {{source: ollama, endpoint: \"http://{}{path}\", api_key: k}}}}",
            server.address
        ));
        assert_eq!(run(&registry, "q").await.answer, "ok");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.path, asked, "{path}");
        assert_eq!(seen.body["model"], "llama3", "the default");
        assert_eq!(seen.headers["authorization"], "Bearer k", "a gateway may want one");
    }
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let error = |text: &str| json!({"error": text}).to_string();
    let failed = ErrorCode::AllProvidersFailed;
    let rows = [
        (
            404,
            error("model \"m1\" not found, try pulling it first"),
            ErrorCode::OllamaNotFound,
            "try pulling it",
            "ollama pull m1",
        ),
        (404, "404 page not found".to_owned(), ErrorCode::OllamaNotFound, "HTTP 404", "no Ollama"),
        (
            400,
            error("registry.ollama.ai/library/m1:latest does not support tools"),
            failed,
            "does not support tools",
            "choose a model that calls tools",
        ),
        (500, error("key k-hush is bad"), failed, "key *** is bad", "trouble"),
        (200, "<html>".to_owned(), failed, "no chat answer", "openai_compat"),
        (200, "{\"message\": \"k-hush\"}".to_owned(), failed, "***", "openai_compat"),
        (
            200,
            json!({"message": {"content": " ", "thinking": "hm"}, "done_reason": "length"})
                .to_string(),
            failed,
            "used up",
            "num_ctx",
        ),
        (
            200,
            json!({
                "message": {"content": "I call", "tool_calls": [{"function": {"name": "n"}}]},
                "done_reason": "length",
            })
            .to_string(),
            failed,
            "used up",
            "num_ctx",
        ),
        (200, "x".repeat(8 * 1024 * 1024 + 1), failed, "larger than", "max_tokens"),
    ];
    for (status, body, code, message, hint) in rows {
        let server = Server::raw(vec![(status, body)]).await;
        let block = block(&server, ", api_key: k-hush");
        let error = model_error(&agent(&format!("  model: {{primary: {block}}}"))).await;
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(message), "{message}: {error}");
        assert!(error.hint.contains(hint), "{message}: {}", error.hint);
        assert!(!error.message.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_to_be_started() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let spec = format!("  model: {{primary: {{provider: ollama, endpoint: 'http://{address}'}}}}");
    let error = model_error(&agent(&spec)).await;
    assert_eq!(error.code, ErrorCode::ConnectionRefused);
    assert!(
        error.hint.contains("ollama serve") && error.hint.contains("OLLAMA_HOST"),
        "{}",
        error.hint
    );
}

#[tokio::test]
async fn the_check_knows_which_models_are_pulled() {
    let tags = json!({"models": [{"name": "m1:latest"}, {"name": "m2:8b"}]}).to_string();
    let rows = [
        ("m1", 200, tags.clone(), Ok(Availability::Answers)),
        ("m1:latest", 200, tags.clone(), Ok(Availability::Answers)),
        ("m2", 200, tags.clone(), Err("ollama pull m2")),
        ("m2:8b", 200, tags, Ok(Availability::Answers)),
        ("m1", 200, json!({"models": []}).to_string(), Err("ollama pull m1")),
        ("m1", 404, "404 page not found".to_owned(), Err("no Ollama answers there")),
        ("m1", 502, String::new(), Err("trouble")),
    ];
    for (model, status, body, expected) in rows {
        let server = Server::raw(vec![(status, body)]).await;
        let registry = agent(&format!(
            "  model: {{primary: {{provider: ollama, model: '{model}', endpoint: \"http://{}/v1\"}}}}",
            server.address
        ));
        let needs = registry.needs().next().unwrap();
        let found = needs.models[0].check(std::time::Duration::from_secs(5)).await;
        assert_eq!(server.seen()[0].path, "/api/tags");
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{model}"),
            (Err(error), Err(hint)) => {
                assert!(error.hint.contains(hint), "{model}: {}", error.hint);
            }
            (found, expected) => panic!("{model}: {found:?} and not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_conversation_begun_by_another_provider_is_taken_over() {
    let calls = crate::support::calls(&[("datetime_now", json!({"timezone": "UTC"}))]);
    let other = Server::raw(vec![(200, calls.to_string()), (500, String::new())]).await;
    let ollama = Server::start(vec![words("noon")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}, fallback: {}}}\n  tools: [{{name: datetime_now, type: builtin}}]",
        crate::support::block(&other),
        block(&ollama, "")
    ));

    assert_eq!(run(&registry, "q").await.answer, "noon");

    let body = ollama.seen().remove(0).body;
    assert_eq!(
        body["messages"][1],
        json!({"role": "assistant", "content": "thinking", "tool_calls": [
            {"id": "c0", "function": {"name": "datetime_now", "arguments": {"timezone": "UTC"}}},
        ]})
    );
    assert_eq!(body["messages"][2]["tool_name"], "datetime_now");
    assert_eq!(body["messages"][2]["tool_call_id"], "c0");
}
