//! Agents that ask models of the mesh, and nodes that have both.

use serde_json::{Value, json};

use super::{chat, inference, node_waits, providers, says, until_models, vllm};
use crate::commands::ctl;
use crate::harness::{Node, Spec, client, text, until, until_whole};
use crate::model_server::ModelServer;

#[tokio::test]
async fn static_peers_with_the_service_inference_are_asked_in_turn() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["m"])];
    let alone = |mut spec: Spec| {
        spec.mesh = false;
        spec
    };
    let [one, two] = [("one", &servers[0]), ("two", &servers[1])].map(|(name, server)| {
        alone(inference(name, &providers(&[("gpu", &vllm(server))]))).start()
    });
    let mut worker = alone(Spec::new("worker").agent_file("asks", &asks("m", "")));
    worker.services = json!({"inference": false});
    worker.peers = json!([
        {"name": "agents", "url": "http://127.0.0.1:9", "services": ["agents"]},
        {"name": "one", "url": one.spec.url(), "services": ["inference"]},
        {"name": "two", "url": two.spec.url(), "services": ["inference"]},
    ]);
    let worker = worker.start();
    for node in [&one, &two] {
        until_models(node, &[("m", &[node.name()])]).await;
    }
    until("the worker serves", async || {
        client().get(worker.url("/v1/health")).send().await.is_ok()
    })
    .await;
    let mut by = Vec::new();
    for _ in 0..4 {
        let (status, node, body) =
            chat(&worker, "/v1/inference/m/chat/completions", &says("x")).await;
        assert_eq!(status, 200, "{body}");
        by.push(node);
    }
    assert_eq!(by, ["one", "two", "one", "two"]);
    let (status, body) = run(&worker, "hello").await;
    assert_eq!((status, &body["answer"]), (200, &json!("one: hello")), "{body}");
    let doctor = worker.get("/v1/system/doctor").await;
    let check = &doctor["checks"]["provider:default:asks/cand0"];
    assert_eq!(check["status"], "ok", "{doctor}");
    assert!(text(&check["message"]).contains("spec.peers"), "{doctor}");
    let listed = ctl(&worker, &["models", "list"]).stdout;
    assert!(listed.contains("spec.peers"), "{listed}");
    let (status, _, error) =
        chat(&worker, "/v1/inference/other/chat/completions", &says("x")).await;
    assert_eq!((status, &error["code"]), (503, &json!("hop_limit")), "{error}");
}

/// An agent that asks this model of the mesh, and an inference node for each server beside a worker
/// without models and a gateway without both.
async fn with_agents(model: &str, more: &str, servers: &[(&str, &ModelServer)]) -> Vec<Node> {
    let mut gateway = Spec::new("gateway");
    gateway.services = json!({"agents": false, "inference": false});
    let gateway = gateway.start();
    let seeds = [gateway.spec.url()];
    let mut worker = Spec::new("worker").agent_file("asks", &asks(model, more)).seeds(&seeds);
    worker.services = json!({"inference": false});
    let mut nodes = vec![gateway, worker.start()];
    for (name, server) in servers {
        let providers = providers(&[("gpu", &vllm(server))]);
        nodes.push(inference(name, &providers).seeds(&seeds).start());
    }
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    let names: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
    for node in &nodes {
        until_models(node, &[("m", &names)]).await;
    }
    nodes
}

fn asks(model: &str, more: &str) -> String {
    format!(
        "metadata: {{name: asks}}\nspec:\n  model:\n    primary: {{provider: mesh, model: {model}}}\n{more}"
    )
}

async fn run(node: &Node, query: &str) -> (u16, Value) {
    node.post("/v1/agents/asks/run", &json!({"query": query})).await
}

#[tokio::test]
async fn an_agent_asks_a_model_of_the_mesh_and_goes_on_when_a_node_of_it_dies() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["m"])];
    let named = [("one", &servers[0]), ("two", &servers[1])];
    let mut nodes = with_agents("m", "", &named).await;
    let (status, body) = run(&nodes[0], "hello").await;
    assert_eq!(status, 200, "{body}");
    assert!(text(&body["answer"]).ends_with(": hello"), "{body}");
    let used = &body["usage"]["by_model"][0];
    assert_eq!((&used["provider"], &used["tokens_out"]), (&json!("mesh"), &json!(5)), "{body}");
    let doctor = nodes[1].get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"]["provider:default:asks/cand0"]["status"], "ok", "{doctor}");

    let url = nodes[0].url("/v1/agents/asks/run");
    let ask = || tokio::spawn(client().post(&url).json(&json!({"query": "wait"})).send());
    let waiting: Vec<_> = (0..6).map(|_| ask()).collect();
    until("all are being answered", async || {
        servers.iter().map(|server| server.records().active).sum::<usize>() == 6
    })
    .await;
    assert_eq!([servers[0].records().active, servers[1].records().active], [3, 3]);
    nodes[2].kill();
    until("the other one answers all", async || servers[1].records().active == 6).await;
    servers[1].go_on();
    for waits in waiting {
        assert_eq!(waits.await.unwrap().unwrap().status().as_u16(), 200);
    }
    let (status, body) = run(&nodes[0], "hello").await;
    assert_eq!((status, &body["answer"]), (200, &json!("two: hello")));

    // And with the last one, it says what to do.
    nodes[3].kill();
    until("it is dead", async || nodes[1].status_of("two").await.as_deref() == Some("dead")).await;
    let (status, error) = run(&nodes[0], "hello").await;
    assert_eq!((status, &error["code"]), (502, &json!("model_no_eligible_provider")), "{error}");
    let hint = text(&error["detail"]["hint"]);
    assert!(hint.contains("astromeshctl models list") && hint.contains("ollama pull m"), "{error}");
}

#[tokio::test]
async fn a_run_on_a_node_that_stops_still_gets_the_models_of_the_mesh() {
    let server = ModelServer::named("one", &["m"]);
    let tool = "  tools: [{name: datetime_now, type: builtin}]\n";
    let mut nodes = with_agents("m", tool, &[("one", &server)]).await;
    let url = nodes[0].url("/v1/agents/asks/run");
    let run = tokio::spawn(client().post(url).json(&json!({"query": "tool"})).send());
    until("the model is asked", async || server.records().active == 1).await;
    nodes[1].signal("TERM");
    until("it stops", async || nodes[1].log().contains("nothing new is accepted")).await;
    server.go_on();
    // It asks the model a second time, when it has left the mesh and closed its port.
    let response = run.await.unwrap().unwrap();
    let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
    assert_eq!(status, 200, "{body}");
    assert_eq!(server.records().chats.len(), 2);
    assert!(nodes[1].wait().success());
}

#[tokio::test]
async fn a_run_on_a_full_node_gets_the_model_of_the_same_node() {
    let server = ModelServer::start(&["m"]);
    let api = |spec: Spec| {
        let (host, port) = (spec.host.clone(), spec.port);
        let keys = json!({
            "host": host, "port": port, "max_concurrent": 1, "queue_max": 1,
            "model_max_concurrent": 1, "queue_timeout": 20
        });
        spec.spec_key("api", keys)
    };
    let node = Spec::new("full")
        .agent_file("asks", &asks("m", ""))
        .file("providers.yaml", &providers(&[("gpu", &vllm(&server))]));
    let node = api(node).start();
    until_models(&node, &[("m", &["full"])]).await;
    let (status, body) = run(&node, "hello").await;
    assert_eq!((status, &body["answer"]), (200, &json!("server: hello")), "{body}");

    // Each has one place: a run and its chat take both, and others wait in their own queue.
    let url = node.url("/v1/agents/asks/run");
    let first = tokio::spawn(client().post(&url).json(&json!({"query": "wait"})).send());
    until("it is being answered", async || server.records().active == 1).await;
    let chats = node.url("/v1/inference/m/chat/completions");
    let second = tokio::spawn(client().post(&chats).json(&says("hello")).send());
    until("the second waits", async || node_waits(&node).await == 1).await;
    let (status, _, error) =
        chat(&node, "/v1/chat/completions", &json!({"model": "m", "messages": []})).await;
    assert_eq!((status, &error["code"]), (429, &json!("queue_full")), "{error}");
    assert_eq!(error["error"]["code"], "queue_full");
    server.go_on();
    for waits in [first, second] {
        assert_eq!(waits.await.unwrap().unwrap().status().as_u16(), 200);
    }
}
