//! Traces by OTLP: what a collector gets of requests and runs, and what others get of the trace.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{any, post};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::collector::{Collector, Seen};
use crate::commands::alone;
use crate::harness::{Node, Spec, client, free_port, mesh, text, until, until_whole};
use crate::model_server::ModelServer;

/// Of a client that traces.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const STATE: &str = "vendor=opaque";

fn otlp(url: &str, protocol: &str) -> Value {
    json!({"otlp": {"enabled": true, "endpoint": url, "protocol": protocol}})
}

/// Runs an agent within the trace of a client; the answer.
async fn run(node: &Node, agent: &str, traceparent: &str) -> Value {
    let request = client()
        .post(node.url(&format!("/v1/agents/{agent}/run?token=in-the-query")))
        .json(&json!({"query": "a-secret-question", "session_id": "s1"}))
        .header("traceparent", traceparent)
        .header("tracestate", STATE)
        .header("x-request-id", "request-7");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// A model that calls a tool, then answers; its base URL.
async fn model() -> String {
    let asked = Arc::new(Mutex::new(0));
    let answer = async move || {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let usage = json!({"prompt_tokens": 11, "completion_tokens": 7});
        let call = json!({"id": "c1", "type": "function", "function": {
            "name": "datetime_now", "arguments": "{\"timezone\": \"Europe/Berlin\"}"}});
        let message = if *asked == 1 {
            json!({"role": "assistant", "content": null, "tool_calls": [call]})
        } else {
            json!({"role": "assistant", "content": "a-secret-answer"})
        };
        axum::Json(json!({"choices": [{"message": message}], "usage": usage}))
    };
    serve(Router::new().route("/v1/chat/completions", post(answer))).await
}

async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// An agent that is a process of its own; it keeps the headers that it gets.
async fn upstream() -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&got);
    let answer = async move |headers: HeaderMap| {
        keep.lock().unwrap().push(headers);
        axum::Json(json!({"answer": "done"}))
    };
    let url = serve(Router::new().fallback(any(answer))).await;
    (format!("metadata: {{name: up}}\nspec: {{upstream: {{url: '{url}'}}}}\n"), got)
}

fn header(got: &Mutex<Vec<HeaderMap>>, name: &str) -> String {
    let got = got.lock().unwrap();
    let value = got.last().unwrap().get(name).map(|value| value.to_str().unwrap().to_owned());
    value.unwrap_or_default()
}

fn one<'a>(spans: &'a [Seen], name: &str, kind: SpanKind) -> &'a Seen {
    let mut found = spans.iter().filter(|span| span.name() == name && span.kind() == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {name} {kind:?} in {spans:#?}"));
    assert!(found.next().is_none(), "{name} {kind:?} twice");
    one
}

async fn spans_counted(node: &Node, fate: &str) -> u64 {
    let report = node.get("/v1/metrics/").await;
    let name = format!("astromesh_otlp_spans_total{{fate=\"{fate}\"}}");
    report["counters"][name].as_u64().unwrap_or(0)
}

/// The request at the gateway.
const AT_GATEWAY: [(&str, &str); 10] = [
    ("http.request.method", "POST"),
    ("http.route", "/v1/agents/{name}/run"),
    ("url.path", "/v1/agents/asking/run"),
    ("url.scheme", "http"),
    ("http.response.status_code", "200"),
    ("server.address", "127.0.0.1"),
    ("astromesh.agent", "asking"),
    ("astromesh.request.id", "request-7"),
    ("astromesh.outcome", "2xx"),
    ("astromesh.served_by", "worker"),
];

/// Its attempt at the worker.
const ATTEMPT: [(&str, &str); 4] = [
    ("astromesh.peer.name", "worker"),
    ("astromesh.attempt", "1"),
    ("astromesh.pick.reason", "only_one"),
    ("http.response.status_code", "200"),
];

/// The run.
const INVOKE: [(&str, &str); 3] = [
    ("gen_ai.operation.name", "invoke_agent"),
    ("gen_ai.agent.name", "asking"),
    ("gen_ai.conversation.id", "s1"),
];

/// A call of the model.
const CHAT: [(&str, &str); 5] = [
    ("gen_ai.operation.name", "chat"),
    ("gen_ai.provider.name", "openai"),
    ("gen_ai.request.model", "m1"),
    ("gen_ai.usage.input_tokens", "11"),
    ("gen_ai.usage.output_tokens", "7"),
];

/// Checks attributes of a span.
fn said(span: &Seen, attributes: &[(&str, &str)]) {
    for (key, value) in attributes {
        assert_eq!(span.get(key), *value, "{key} of {}", span.name());
    }
}

/// A gateway, and a worker whose agent `asking` calls a tool; both export.
async fn gateway_and_worker(url: &str) -> [Node; 2] {
    let export = otlp(url, "http/protobuf");
    let agent = format!(
        "metadata: {{name: asking}}\nspec:\n  model: {{primary: {{endpoint: '{}/v1', model: m1, \
         api_key: sk-of-the-model}}}}\n  prompts: {{system: 'a-secret-prompt'}}\n  \
         tools: [{{name: datetime_now, type: builtin}}]\n",
        model().await
    );
    let gateway = Spec::new("gateway").spec_key("observability", export.clone());
    let worker = Spec::new("worker").agent_file("asking", &agent).seeds(&[gateway.url()]);
    let worker = worker.spec_key("observability", export);
    let nodes = [gateway.start(), worker.start()];
    until_whole(&[&nodes[0], &nodes[1]]).await;
    nodes
}

#[tokio::test]
async fn a_run_through_a_gateway_is_one_trace_from_the_client_to_the_tool() {
    let (collector, url) = Collector::http().await;
    let nodes = gateway_and_worker(&url).await;
    let answer = run(&nodes[0], "asking", &format!("00-{TRACE}-{SPAN}-01")).await;
    assert_eq!(answer["answer"], "a-secret-answer", "{answer}");
    // Three of the data plane; the run, its prompt, its loop, two model calls and a tool call.
    let spans = collector.trace(TRACE, 9).await;

    let name = "POST /v1/agents/{name}/run";
    let of = |node: &str, kind: SpanKind| {
        let spans: Vec<Seen> =
            spans.iter().filter(|span| span.node["astromesh.node.name"] == node).cloned().collect();
        one(&spans, name, kind).clone()
    };
    let at_gateway = of("gateway", SpanKind::Server);
    let attempt = of("gateway", SpanKind::Client);
    let at_worker = of("worker", SpanKind::Server);
    let invoke = one(&spans, "invoke_agent asking", SpanKind::Internal);
    assert_eq!(at_gateway.parent(), SPAN);
    assert_eq!(attempt.parent(), at_gateway.id());
    assert_eq!(at_worker.parent(), attempt.id());
    assert_eq!(invoke.parent(), at_worker.id());
    let looped = one(&spans, "orchestration", SpanKind::Internal);
    assert_eq!(looped.parent(), invoke.id());
    let tool = one(&spans, "execute_tool datetime_now", SpanKind::Internal);
    assert_eq!(tool.parent(), looped.id());
    let chats: Vec<&Seen> = spans.iter().filter(|span| span.name() == "chat m1").collect();
    assert_eq!(chats.len(), 2);
    for span in &spans {
        assert!(!span.is_error, "{span:?}");
        assert!(span.ns().0 <= span.ns().1, "{span:?}");
    }

    let run_id = text(&answer["trace"]["trace_id"]);
    let port = nodes[1].spec.port.to_string();
    said(&at_gateway, &AT_GATEWAY);
    said(&attempt, &ATTEMPT);
    let full = nodes[1].url("/v1/agents/asking/run");
    said(&attempt, &[("server.port", &port), ("url.full", &full)]);
    said(&at_worker, &[("astromesh.served_by", "worker")]);
    said(invoke, &INVOKE);
    said(invoke, &[("astromesh.run.id", &run_id)]);
    said(chats[0], &CHAT);
    said(tool, &[("gen_ai.tool.name", "datetime_now"), ("gen_ai.operation.name", "execute_tool")]);
    let node = &at_gateway.node;
    assert_eq!(node["service.name"], "astromesh");
    assert_eq!(node["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(node["service.instance.id"], nodes[0].id().await);
    assert_eq!(node["astromesh.cluster"], "default");

    // The run is found by both ids where it is kept, and by its own everywhere.
    assert_eq!(answer["trace"]["w3c_trace_id"], TRACE);
    let record = nodes[1].get(&format!("/v1/traces/{TRACE}")).await;
    assert_eq!(record["trace_id"], answer["trace"]["trace_id"]);
    let llm =
        record["spans"].as_array().unwrap().iter().find(|span| span["name"] == "llm.complete");
    assert_eq!(llm.unwrap()["attributes"]["tokens_in"], 11);

    let raw = collector.raw();
    for secret in ["a-secret", "Europe/Berlin", "sk-of-the-model", "in-the-query", STATE] {
        assert!(!raw.contains(secret), "{secret} is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_sends_its_last_spans_by_grpc() {
    let (collector, url) = Collector::grpc();
    let spec = Spec::new("a")
        .echo_agent("echo", 0)
        .variable("ASTROMESH_OTLP_ENABLED", "true")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .variable(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a-secret,b c=a-secret,authorization=Bearer of-the-collector",
        )
        .variable("OTEL_EXPORTER_OTLP_TIMEOUT", "2s")
        .variable("OTEL_SERVICE_NAME", "my-mesh");
    let mut node = alone(spec).await;
    // What is malformed counts as no trace, and one begins here.
    let answer = run(&node, "echo", "00-nonsense").await;
    let trace = text(&answer["trace"]["w3c_trace_id"]);
    assert_eq!(trace.len(), 32);
    node.signal("TERM");
    assert!(node.wait().success(), "{}", node.log());

    let spans = collector.trace(&trace, 5).await;
    let server = one(&spans, "POST /v1/agents/{name}/run", SpanKind::Server);
    assert_eq!(server.parent(), "");
    assert_eq!(server.node["service.name"], "my-mesh");
    assert_eq!(one(&spans, "invoke_agent echo", SpanKind::Internal).parent(), server.id());
    assert!(collector.raw().contains("Bearer of-the-collector"));
    let log = node.log();
    assert!(!log.contains("of-the-collector") && !log.contains("a-secret"), "{log}");
    let entries = log.matches("OTEL_EXPORTER_OTLP_HEADERS has an entry that is no NAME=VALUE");
    assert_eq!(entries.count(), 2, "{log}");
    assert!(log.contains("OTEL_EXPORTER_OTLP_TIMEOUT is no number of milliseconds"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_requests_are_served_and_the_loss_is_counted() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let spec = Spec::new("a").echo_agent("echo", 0);
    let mut node = alone(spec.spec_key("observability", otlp(&url, "grpc"))).await;
    for _ in 0..3 {
        run(&node, "echo", "").await;
    }
    until("the spans are counted as failed", async || spans_counted(&node, "failed").await == 15)
        .await;
    assert_eq!(spans_counted(&node, "exported").await, 0);
    assert_eq!(node.log().matches("traces cannot be exported").count(), 1, "{}", node.log());
    run(&node, "echo", "").await;
    let stopping = std::time::Instant::now();
    node.signal("TERM");
    assert!(node.wait().success());
    assert!(stopping.elapsed().as_secs() < 8, "the stop waits for the collector");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_why_a_collector_does_not_get_anything() {
    for protocol in ["grpc", "http/protobuf"] {
        let url = format!("http://127.0.0.1:{}", free_port());
        let spec = Spec::new("a").echo_agent("echo", 0);
        let mut node = alone(spec.spec_key("observability", otlp(&url, protocol))).await;
        run(&node, "echo", "").await;
        node.signal("TERM");
        assert!(node.wait().success());
        let log = node.log();
        let line = log.lines().find(|line| line.contains("traces cannot be exported"));
        assert!(line.unwrap().contains("Connection refused"), "{log}");
        for remedy in ["otlp.endpoint", "otlp.protocol", "4317", "4318", "OTLP_HEADERS"] {
            assert!(line.unwrap().contains(remedy), "{remedy}: {log}");
        }
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_not_exported_and_others_are_told_so() {
    let (collector, url) = Collector::http().await;
    let (agent, got) = upstream().await;
    let mut export = otlp(&url, "http/protobuf");
    export["otlp"]["sample"] = json!(0);
    let spec = Spec::new("a").agent_file("up", &agent).echo_agent("echo", 0);
    let nodes = mesh(vec![spec.spec_key("observability", export)]).await;
    let node = &nodes[1];

    run(node, "up", "").await;
    let begun = header(&got, "traceparent");
    assert!(begun.starts_with("00-") && begun.ends_with("-00") && begun.len() == 55, "{begun}");
    assert_eq!(header(&got, "tracestate"), "", "that of no trace");

    // A caller's decision holds, either way.
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    run(node, "up", &unsampled).await;
    assert_eq!(header(&got, "traceparent"), unsampled);
    assert_eq!(header(&got, "tracestate"), STATE);
    // Only of those traces is told that somebody knows.
    assert_eq!(run(node, "echo", "").await["trace"]["w3c_trace_id"], Value::Null);
    assert_eq!(run(node, "echo", &unsampled).await["trace"]["w3c_trace_id"], TRACE);
    run(node, "up", &format!("00-{TRACE}-{SPAN}-01")).await;
    let server = collector.trace(TRACE, 1).await.remove(0);
    assert_eq!(header(&got, "traceparent"), format!("00-{TRACE}-{}-01", server.id()));
    assert_eq!(header(&got, "tracestate"), STATE);
    assert_eq!(collector.spans().len(), 1);
}

#[tokio::test]
async fn attempts_at_nodes_that_fail_are_spans_of_their_own() {
    let (collector, url) = Collector::http().await;
    let worker = alone(Spec::new("b").echo_agent("echo", 0)).await;
    let mut gateway = Spec::new("gateway").spec_key("observability", otlp(&url, "http/protobuf"));
    gateway.peers = json!([
        {"name": "a", "url": format!("http://127.0.0.1:{}", free_port()), "services": ["agents"]},
        {"name": "b", "url": worker.url(""), "services": ["agents"]},
    ]);
    let gateway = alone(gateway).await;
    // One after the other is asked, so that one of two requests meets the one that is not there.
    for trace in [TRACE, "2"] {
        run(&gateway, "echo", &format!("00-{trace:0>32}-{SPAN}-01")).await;
    }
    until("five spans have come", async || collector.spans().len() >= 5).await;

    let spans = collector.spans();
    let failed = spans.iter().find(|span| span.is_error).unwrap();
    assert_eq!((failed.kind(), failed.get("error.type")), (SpanKind::Client, "not_connected"));
    assert_eq!((failed.get("astromesh.peer.name"), failed.get("astromesh.attempt")), ("a", "1"));
    let second = spans.iter().find(|span| span.get("astromesh.attempt") == "2").unwrap();
    assert_eq!((second.get("astromesh.peer.name"), second.is_error), ("b", false));
    assert_eq!((second.trace(), second.parent()), (failed.trace(), failed.parent()));
    let request = spans.iter().find(|span| span.id() == failed.parent()).unwrap();
    assert_eq!((request.get("astromesh.tried"), request.is_error), ("2", false));
}

#[tokio::test]
async fn a_node_that_did_not_answer_served_nobody() {
    let (collector, url) = Collector::http().await;
    let mut gateway = Spec::new("gateway").spec_key("observability", otlp(&url, "http/protobuf"));
    gateway.peers = json!([
        {"name": "gone", "url": format!("http://127.0.0.1:{}", free_port()), "services": ["agents"]},
    ]);
    let gateway = alone(gateway).await;
    let request = client().post(gateway.url("/v1/agents/echo/run")).json(&json!({"query": "x"}));
    let request = request.header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    assert_eq!(request.send().await.unwrap().status(), 503);
    let spans = collector.trace(TRACE, 2).await;
    let name = "POST /v1/agents/{name}/run";
    said(one(&spans, name, SpanKind::Client), &[("astromesh.peer.name", "gone")]);
    let served = one(&spans, name, SpanKind::Server);
    said(served, &[("astromesh.served_by", ""), ("astromesh.tried", "1")]);
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_counted_as_failed() {
    let rejects = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 2,
            error_message: "two are too old".to_owned(),
        }),
    };
    for (answer, failed, reason) in [
        (rejects.encode_to_vec(), 2, "2 of 5 rejected: two are too old"),
        (b"<html>welcome</html>".to_vec(), 5, "what answered is no collector"),
    ] {
        let url = serve(Router::new().fallback(any(async move || answer))).await;
        let spec = Spec::new("a").echo_agent("echo", 0);
        let node = alone(spec.spec_key("observability", otlp(&url, "http/protobuf"))).await;
        run(&node, "echo", "").await;
        until("spans are counted as failed", async || {
            spans_counted(&node, "failed").await == failed
        })
        .await;
        assert_eq!(spans_counted(&node, "exported").await, 5 - failed);
        until("the log says why", async || node.log().contains(reason)).await;
    }
}

#[tokio::test]
async fn a_chat_with_a_model_of_the_mesh_is_part_of_the_trace_of_its_client() {
    let (collector, url) = Collector::http().await;
    let server = ModelServer::start(&["m1"]);
    let providers = format!(
        "spec: {{providers: {{local: {{type: vllm, endpoint: 'http://{}/v1'}}}}}}",
        server.address
    );
    let agent = "metadata: {name: local}\nspec: {model: {primary: {provider: mesh, model: m1}}}\n";
    let spec = Spec::new("a").file("providers.yaml", &providers).agent_file("local", agent);
    let node = alone(spec.spec_key("observability", otlp(&url, "http/protobuf"))).await;
    until("the model is served", async || node.get("/v1/models").await["data"] != json!([])).await;
    let request = client()
        .post(node.url("/v1/chat/completions"))
        .json(
            &json!({"model": "m1", "messages": [{"role": "user", "content": "a-secret-question"}]}),
        )
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    // A run that asks such a model: the chat is part of the call of the model.
    let other = "1".repeat(32);
    run(&node, "local", &format!("00-{other}-{SPAN}-01")).await;

    let name = "POST /v1/inference/{model}/chat/completions";
    let spans = collector.trace(&other, 6).await;
    let call = one(&spans, "chat m1", SpanKind::Client);
    assert_eq!(one(&spans, name, SpanKind::Server).parent(), call.id());
    said(call, &[("gen_ai.provider.name", "mesh")]);
    let spans = collector.trace(TRACE, 1).await;
    let chat = one(&spans, name, SpanKind::Server);
    assert_eq!(chat.parent(), SPAN);
    said(chat, &[("gen_ai.request.model", "m1"), ("astromesh.served_by", "a")]);
    assert!(!collector.raw().contains("a-secret"));
    // The server of the model is nobody of the mesh.
    let records = server.records();
    assert_eq!(records.chats.len(), 2);
    assert!(records.chats.iter().all(|(headers, _)| !headers.contains_key("traceparent")));
}

#[tokio::test]
async fn a_reload_begins_and_ends_the_export_and_without_it_headers_pass_as_they_came() {
    let (collector, url) = Collector::http().await;
    let (agent, got) = upstream().await;
    let node = alone(Spec::new("a").agent_file("up", &agent)).await;
    let theirs = format!("00-{TRACE}-{SPAN}-01");
    run(&node, "up", &theirs).await;
    assert_eq!(header(&got, "traceparent"), theirs);
    assert_eq!(header(&got, "tracestate"), STATE);

    let file = node.config_dir().join("runtime.yaml");
    let before = std::fs::read_to_string(&file).unwrap();
    let mut after: Value = serde_json::from_str(&before).unwrap();
    after["spec"]["observability"] = otlp(&url, "http/protobuf");
    std::fs::write(&file, after.to_string()).unwrap();
    let (status, answer) = node.post("/v1/system/reload", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["needs_restart"], json!([]), "{answer}");
    run(&node, "up", &theirs).await;
    assert_ne!(header(&got, "traceparent"), theirs);

    after["spec"]["services"] = json!({"observability": false});
    std::fs::write(&file, after.to_string()).unwrap();
    node.post("/v1/system/reload", &json!({})).await;
    run(&node, "up", &theirs).await;
    assert_eq!(header(&got, "traceparent"), theirs, "a node that observes nothing exports nothing");

    std::fs::write(&file, before).unwrap();
    node.post("/v1/system/reload", &json!({})).await;
    run(&node, "up", &theirs).await;
    assert_eq!(header(&got, "traceparent"), theirs);
    let spans = collector.trace(TRACE, 1).await;
    assert_eq!(spans[0].get("astromesh.agent"), "up");
}

#[tokio::test]
async fn a_run_that_outlasts_a_reload_is_exported_as_it_began() {
    let (collector, url) = Collector::http().await;
    let places = Arc::new((Semaphore::new(0), Semaphore::new(0)));
    let (asked, may_answer) = (Arc::clone(&places), Arc::clone(&places));
    let answer = async move || {
        asked.0.add_permits(1);
        may_answer.1.acquire().await.unwrap().forget();
        axum::Json(json!({"choices": [{"message": {"role": "assistant", "content": "done"}}]}))
    };
    let model = serve(Router::new().fallback(any(answer))).await;
    let agent = format!(
        "metadata: {{name: asking}}\nspec:\n  model: {{primary: {{endpoint: '{model}/v1', model: m1}}}}\n"
    );
    let spec = Spec::new("a").agent_file("asking", &agent);
    let mut node = alone(spec.spec_key("observability", otlp(&url, "http/protobuf"))).await;

    let theirs = format!("00-{TRACE}-{SPAN}-01");
    let run = run(&node, "asking", &theirs);
    let (other, other_url) = Collector::http().await;
    let reload = async {
        places.0.acquire().await.unwrap().forget();
        // Somewhere else, then nowhere.
        for (url, is_on) in [(&other_url, true), (&other_url, false)] {
            let file = node.config_dir().join("runtime.yaml");
            let mut spec: Value =
                serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            spec["spec"]["observability"] = otlp(url, "http/protobuf");
            spec["spec"]["observability"]["otlp"]["enabled"] = json!(is_on);
            std::fs::write(&file, spec.to_string()).unwrap();
            let (status, answer) = node.post("/v1/system/reload", &json!({})).await;
            assert_eq!((status, &answer["needs_restart"]), (200, &json!([])), "{answer}");
        }
        places.1.add_permits(1);
    };
    tokio::join!(run, reload);
    // What waits for others to come is sent by a stop.
    assert_eq!(spans_counted(&node, "dropped").await, 0);
    node.signal("TERM");
    assert!(node.wait().success(), "{}", node.log());
    let spans = collector.trace(TRACE, 5).await;
    let server = one(&spans, "POST /v1/agents/{name}/run", SpanKind::Server);
    assert_eq!(server.get("http.response.status_code"), "200");
    assert_eq!(one(&spans, "invoke_agent asking", SpanKind::Internal).parent(), server.id());
    assert_eq!(other.spans().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_only_connects_holds_up_no_more_than_one_batch() {
    // It is never accepted, so that the handshake of TLS does not end.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let spec = Spec::new("a").echo_agent("echo", 0).variable("OTEL_EXPORTER_OTLP_TIMEOUT", "100");
    let node = alone(spec.spec_key("observability", otlp(&url, "grpc"))).await;
    run(&node, "echo", "").await;
    until("the spans are counted as failed", async || spans_counted(&node, "failed").await == 5)
        .await;
}

#[tokio::test]
async fn a_websocket_is_a_span_from_its_request_to_its_end() {
    let (collector, url) = Collector::http().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = format!(
        "metadata: {{name: up}}\nspec: {{upstream: {{url: 'http://{}'}}}}\n",
        listener.local_addr().unwrap()
    );
    let spec = Spec::new("a").agent_file("up", &agent);
    let node = alone(spec.spec_key("observability", otlp(&url, "http/protobuf"))).await;

    let mut socket = TcpStream::connect(("127.0.0.1", node.spec.port)).await.unwrap();
    let head = format!(
        "GET /v1/ws/agent/up HTTP/1.1\r\nhost: a:1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         traceparent: 00-{TRACE}-{SPAN}-01\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut agent, _) = listener.accept().await.unwrap();
    let switched =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    agent.write_all(switched).await.unwrap();
    let mut first = [0; 12];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 101");
    assert_eq!(collector.spans().len(), 0, "it goes on");
    drop((socket, agent));

    let span = collector.trace(TRACE, 1).await.remove(0);
    assert_eq!((span.name(), span.parent()), ("GET /v1/ws/agent/{name}", SPAN.to_owned()));
    said(&span, &[("http.response.status_code", "101"), ("astromesh.outcome", "1xx")]);
    said(&span, &[("server.address", "a"), ("server.port", "1")]);
}
