//! Runs from query to answer.

use astromesh::agent::Records;
use astromesh::agent::RunError;
use astromesh::agent::types::Trace;
use serde_json::{Value, json};

use crate::support::{Server, agent, block, calls, request, run, words};

#[tokio::test]
async fn echo_repeats_the_query_and_says_so() {
    let registry = agent("  model: {primary: {provider: echo}}");
    let response = run(&registry, "hello").await;
    assert_eq!(response.answer, "echo: hello  (this is the echo provider; no model was asked)");
    assert_eq!(response.usage, None);
    assert_eq!(response.steps.len(), 1);
}

#[tokio::test]
async fn an_unknown_agent_is_told_apart() {
    let registry = agent("  model: {primary: {provider: echo}}");
    let error = registry.run("nobody", request("q"), &Records::default()).await.unwrap_err();
    assert!(matches!(error, RunError::UnknownAgent));
}

#[tokio::test]
async fn a_plain_answer_needs_one_call_and_offers_no_tools() {
    let server = Server::start(vec![words("four")]).await;
    let spec = format!(
        "  model: {{primary: {}}}\n  prompts: {{system: 'Hi {{{{ user }}}}{{{{ gone.x }}}}.'}}",
        block(&server).replace('}', ", temperature: 0.5, parameters: {top_p: 0.9, stop: null}}")
    );
    let registry = agent(&spec);
    let mut request = request("2+2?");
    request.context = json!({"user": "Ada"}).as_object().cloned();
    let response = registry.run("a", request, &Records::default()).await.unwrap();
    assert_eq!(response.answer, "four");
    assert_eq!(
        serde_json::to_value(&response.usage).unwrap(),
        json!({"tokens_in": 10, "tokens_out": 3, "model": "m1", "by_model": [{
            "provider": "openai_compat", "model": "m1", "role": "default", "calls": 1,
            "tokens_in": 10, "tokens_out": 3, "cost": 0.0,
        }]})
    );
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, "/v1/chat/completions");
    assert_eq!(seen[0].headers.get("authorization"), None);
    assert_eq!(
        seen[0].body,
        json!({
            "model": "m1", "temperature": 0.5, "top_p": 0.9,
            "messages": [
                {"role": "system", "content": "Hi Ada."},
                {"role": "user", "content": "2+2?"},
            ],
        })
    );
}

#[tokio::test]
async fn a_tool_call_makes_the_round_trip() {
    let template = "{{ data.a | mul(2) }}";
    let server = Server::start(vec![
        calls(&[
            ("json_transform", json!({"data": {"a": 21}, "template": template})),
            ("nothing", json!({})),
        ]),
        words("42"),
    ])
    .await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  tools: [{{name: json_transform, type: builtin, description: mine, parameters: {{data: {{type: object}}}}}}]",
        block(&server)
    ));
    let response = run(&registry, "double it").await;
    assert_eq!(response.answer, "42");
    assert_eq!(response.usage.unwrap().tokens_in, 30);
    assert_eq!(response.steps.len(), 3);
    let step = &response.steps[0];
    assert_eq!(step.thought.as_deref(), Some("thinking"));
    assert_eq!(step.action.as_deref(), Some("json_transform"));
    assert_eq!(step.action_input, Some(json!({"data": {"a": 21}, "template": template})));
    let observation: Value = serde_json::from_str(step.observation.as_ref().unwrap()).unwrap();
    assert_eq!(observation, json!({"success": true, "data": 42, "metadata": {}, "error": null}));
    assert_eq!(
        response.steps[1].observation.as_deref(),
        Some("{\"error\":\"Unknown tool 'nothing'\"}")
    );
    assert_eq!(response.steps[2].result.as_deref(), Some("42"));

    let seen = server.seen();
    assert_eq!(
        seen[0].body["tools"],
        json!([{"type": "function", "function": {
            "name": "json_transform", "description": "mine",
            "parameters": {"type": "object", "properties": {"data": {"type": "object"}}},
        }}])
    );
    let messages = seen[1].body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[1]["tool_calls"][0]["id"], "c0");
    assert_eq!(messages[2]["tool_call_id"], "c0");
    assert_eq!(messages[2]["content"], json!(step.observation));
    assert_eq!(messages[3]["tool_call_id"], "c1");
}

#[tokio::test]
async fn the_trace_holds_every_part_of_the_run_in_order() {
    let server =
        Server::start(vec![calls(&[("datetime_now", json!({"timezone": "x"}))]), words("ok")])
            .await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  tools: [{{name: datetime_now, type: builtin}}]",
        block(&server)
    ));
    let trace = run(&registry, "q").await.trace;
    let spans: Vec<(&str, &str)> =
        trace.spans.iter().map(|span| (span.name.as_str(), span.status.as_str())).collect();
    assert_eq!(
        spans,
        [
            ("agent.run", "ok"),
            ("prompt_render", "ok"),
            ("orchestration", "ok"),
            ("llm.complete", "ok"),
            ("tool.call", "error"),
            ("llm.complete", "ok"),
        ]
    );
    assert_eq!(trace.trace_id.len(), 32);
    assert_eq!((trace.agent.as_str(), trace.session_id.as_str()), ("a", "default"));
    let root = &trace.spans[0];
    for span in &trace.spans[1..] {
        assert_eq!(span.span_id.len(), 16);
        assert!(span.parent_span_id.is_some());
        assert!(span.start_time >= root.start_time && span.end_time <= root.end_time);
        assert!(span.duration_ms >= 0.0);
    }
    assert_eq!(trace.spans[3].parent_span_id.as_ref(), Some(&trace.spans[2].span_id));
    assert_eq!(trace.spans[4].attributes["tool"], "datetime_now");
}

#[tokio::test]
async fn tools_that_a_model_invents_are_one_in_the_records_and_short_in_the_answer() {
    let long = "n".repeat(1024 * 1024);
    let invented =
        calls(&[(&long, json!({})), ("nothing", json!({})), ("datetime_now", json!({}))]);
    let tools = "tools: [{name: datetime_now, type: builtin}]";
    for provider in ["openai_compat", "ollama", "anthropic"] {
        let said = &invented["choices"][0]["message"];
        let list = said["tool_calls"].as_array().unwrap();
        let blocks: Vec<Value> = list
            .iter()
            .map(|call| json!({"type": "tool_use", "id": call["id"], "name": call["function"]["name"]}))
            .collect();
        let (first, last) = match provider {
            "openai_compat" => (invented.clone(), words("ok")),
            "ollama" => (json!({"message": said}), json!({"message": {"content": "ok"}})),
            _ => (json!({"content": blocks}), json!({"content": [{"type": "text", "text": "ok"}]})),
        };
        let server = Server::start(vec![first, last]).await;
        let registry = agent(&format!(
            "  model: {{primary: {{provider: {provider}, model: m, endpoint: \"http://{}/v1\"}}}}\n  {tools}",
            server.address
        ));
        let records = Records::default();

        let response = registry.run("a", request("q"), &records).await.unwrap();

        let bytes = serde_json::to_string(&response).unwrap().len();
        assert!(bytes < 8 * 1024, "{provider}: {bytes}");
        assert_eq!(response.steps[0].action.as_ref().unwrap().len(), 128, "{provider}");
        let told = response.steps[0].observation.as_ref().unwrap();
        assert!(told.starts_with("{\"error\":\"Unknown tool 'nnn") && told.len() < 200, "{told}");
        let names = |trace: &Trace| {
            let tools = trace.spans.iter().filter_map(|span| span.attributes.get("tool"));
            tools.map(|tool| tool.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&response.trace), ["unknown", "unknown", "datetime_now"], "{provider}");
        assert_eq!(names(&records.traces(None, 1)[0].trace), names(&response.trace));
        let usage = records.usage().remove(0).tools;
        let sums = usage.iter().map(|tool| (tool.tool.as_str(), tool.calls, tool.failed));
        assert_eq!(sums.collect::<Vec<_>>(), [("unknown", 2, 2), ("datetime_now", 1, 0)]);
    }
}

#[tokio::test]
async fn a_model_that_never_stops_calling_ends_at_max_iterations() {
    let server = Server::start(vec![calls(&[("datetime_now", json!({}))])]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  orchestration: {{max_iterations: 3}}\n  tools: [{{name: datetime_now, type: builtin}}]",
        block(&server)
    ));
    let response = run(&registry, "q").await;
    assert_eq!(response.answer, "Max iterations reached");
    assert_eq!(server.seen().len(), 3);
    assert_eq!(response.steps.len(), 3);
}

#[tokio::test]
async fn a_rate_limit_is_an_observation() {
    let twice = [("datetime_now", json!({})), ("datetime_now", json!({}))];
    let server = Server::start(vec![calls(&twice), words("ok")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  tools: [{{name: datetime_now, type: builtin, rate_limit: {{max_calls: 1}}}}]",
        block(&server)
    ));
    let steps = run(&registry, "q").await.steps;
    assert!(steps[0].observation.as_ref().unwrap().contains("\"success\":true"));
    assert_eq!(
        steps[1].observation.as_deref(),
        Some("{\"error\":\"Rate limit exceeded for 'datetime_now'\"}")
    );
}

#[tokio::test]
async fn arguments_that_are_no_json_are_an_observation() {
    let mut bad = calls(&[("datetime_now", json!({}))]);
    bad["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = "{oops".into();
    let server = Server::start(vec![bad, words("ok")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  tools: [{{name: datetime_now, type: builtin}}]",
        block(&server)
    ));
    let steps = run(&registry, "q").await.steps;
    assert_eq!(steps[0].action_input, Some(json!("{oops")));
    assert!(steps[0].observation.as_ref().unwrap().contains("must be a JSON object"));
    assert_eq!(steps[1].result.as_deref(), Some("ok"));
}
