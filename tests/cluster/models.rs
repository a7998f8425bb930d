//! Models of inference nodes: announced, listed, withdrawn and back.

mod agents;
mod chats;

use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{Node, Spec, client, free_port, until, until_whole};
use crate::model_server::ModelServer;

/// An inference node with this file of providers.
fn inference(name: &str, providers: &str) -> Spec {
    let mut spec = Spec::new(name).file("providers.yaml", providers);
    spec.services = json!({"agents": false, "tools": false, "memory": false});
    spec
}

/// A file of providers: each block in flow style under its name.
fn providers(blocks: &[(&str, &str)]) -> String {
    let mut text = "kind: ProviderConfig\nspec:\n  providers:\n".to_owned();
    for (name, block) in blocks {
        writeln!(text, "    {name}: {{{block}}}").unwrap();
    }
    text
}

/// The models in the view of a node, each with the nodes that serve it.
async fn models(node: &Node) -> Vec<(String, Vec<String>)> {
    let listed = node.get("/v1/models").await;
    assert_eq!(listed["object"], "list");
    let row = |row: &Value| {
        assert_eq!((&row["object"], &row["owned_by"]), (&json!("model"), &json!("astromesh")));
        (
            serde_json::from_value(row["id"].clone()).unwrap(),
            serde_json::from_value(row["nodes"].clone()).unwrap(),
        )
    };
    listed["data"].as_array().unwrap().iter().map(row).collect()
}

async fn until_models(node: &Node, expected: &[(&str, &[&str])]) {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected: Vec<_> =
        expected.iter().map(|(model, nodes)| ((*model).to_owned(), owned(nodes))).collect();
    until(&format!("{} sees {expected:?}", node.name()), async || {
        let is_up = client().get(node.url("/v1/models")).send().await.is_ok();
        is_up && models(node).await == expected
    })
    .await;
}

#[tokio::test]
async fn models_of_inference_nodes_are_listed_by_every_node_and_are_no_agents() {
    let ollama = ModelServer::start(&["llama3.1:8b", "phi4:latest", "not-wanted"]);
    let vllm = ModelServer::start(&["meta-llama/Llama-3", "phi4"]);
    let other = ModelServer::start(&["other"]);
    let ollama_block = format!(
        "type: ollama, endpoint: \"http://{}\", models: [\"llama3.1:8b\", phi4]",
        ollama.address
    );
    let vllm_block = format!("type: vllm, endpoint: \"http://{}/v1\"", vllm.address);
    let own = format!("type: openai_compat, endpoint: \"http://{}/v1\"", other.address);
    let off = format!("{vllm_block}, serve: false");
    let gateway = Spec::new("gateway").start();
    let seeds = [gateway.spec.url()];
    let one = inference("one", &providers(&[("local", &ollama_block), ("cloud", &own)]));
    let two = inference("two", &providers(&[("gpu", &vllm_block), ("off", &off)]));
    let served = format!("{own}, serve: true");
    // It has the servers, and serves none of them.
    let mut worker = Spec::new("worker").file("providers.yaml", &providers(&[("a", &served)]));
    worker.services = json!({"inference": false});
    let nodes = [
        gateway,
        one.seeds(&seeds).start(),
        two.seeds(&seeds).start(),
        worker.seeds(&seeds).start(),
    ];

    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        let expected: &[(&str, &[&str])] = &[
            ("llama3.1:8b", &["one"]),
            ("meta-llama/Llama-3", &["two"]),
            ("phi4", &["one", "two"]),
        ];
        until_models(node, expected).await;
        assert_eq!(node.get("/v1/agents").await["agents"], json!([]), "{}", node.name());
        let state = node.state().await.unwrap();
        for member in state["nodes"].as_array().unwrap() {
            let expected = match member["name"].as_str().unwrap() {
                "one" => json!(["llama3.1:8b", "phi4"]),
                "two" => json!(["meta-llama/Llama-3", "phi4"]),
                _ => Value::Null,
            };
            assert_eq!((&member["models"], &member["agents"]), (&expected, &json!([])));
        }
    }

    // What a provider comes to have is heard of; a reload asks at once.
    other.records().models.push("another".to_owned());
    std::fs::write(nodes[1].config_dir().join("providers.yaml"), providers(&[("cloud", &served)]))
        .unwrap();
    let (status, answer) = nodes[1].post("/v1/system/reload", &json!({})).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(["providers"])), "{answer}");
    let expected: &[(&str, &[&str])] = &[
        ("another", &["one"]),
        ("meta-llama/Llama-3", &["two"]),
        ("other", &["one"]),
        ("phi4", &["two"]),
    ];
    until_models(&nodes[0], expected).await;
}

#[tokio::test]
async fn a_node_with_more_models_than_fit_a_datagram_tells_as_many_as_it_serves() {
    let many: Vec<String> = (0..300).map(|n| format!("models/number-{n:03}")).collect();
    let server = ModelServer::start(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let nodes = gateway_and(&[], "").await;
    let block = providers(&[("gpu", &vllm(&server))]);
    let node = inference("gpu", &block).seeds(&[nodes[0].spec.url()]).start();
    until_whole(&[&nodes[0], &node]).await;
    let expected: Vec<_> = many[..256].iter().map(|model| (model.as_str(), &["gpu"][..])).collect();
    for asked in [&node, &nodes[0]] {
        until_models(asked, &expected).await;
    }
    let path = "/v1/inference/models/number-255/chat/completions";
    let (status, by, body) = chat(&nodes[0], path, &says("x")).await;
    assert_eq!((status, by.as_str()), (200, "gpu"), "{body}");
    until("the rest is told of", async || node.log().contains("44 models are not served")).await;
}

#[tokio::test]
async fn a_model_server_that_starts_late_is_served_and_one_missing_is_told_once() {
    let late: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let block = format!("type: llamacpp, endpoint: \"http://{late}/v1\"");
    let node = inference("node", &providers(&[("late", &block)])).start();
    until("it says that nothing answers", async || node.log().contains("does not say what it has"))
        .await;
    assert_eq!(models(&node).await, []);
    let row = "model_server:late";
    let doctor = node.get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"][row]["status"], "unreachable", "{doctor}");
    let _server = ModelServer::start_at("late", late, &["late"]);
    until_models(&node, &[("late", &["node"])]).await;
    let doctor = node.get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"][row]["models"], json!(["late"]), "{doctor}");
    assert_eq!(node.log().matches("does not say what it has").count(), 1, "{}", node.log());
    until("it says that one answers", async || node.log().contains("model server answers")).await;
}

/// A chat that says this; status, the node that answered, body.
async fn chat(node: &Node, path: &str, body: &Value) -> (u16, String, Value) {
    let response = client().post(node.url(path)).json(body).send().await.unwrap();
    let by = response.headers().get("x-astromesh-node").map(|name| name.to_str().unwrap());
    let (status, by) = (response.status().as_u16(), by.unwrap_or_default().to_owned());
    (status, by, response.json().await.unwrap_or(Value::Null))
}

fn says(words: &str) -> Value {
    json!({"messages": [{"role": "user", "content": words}]})
}

/// A block of a provider for this server.
fn vllm(server: &ModelServer) -> String {
    format!("type: vllm, endpoint: \"http://{}/v1\"", server.address)
}

/// A gateway, and an inference node for each server, named like it; all know all models.
async fn gateway_and(servers: &[(&str, &ModelServer)], model: &str) -> Vec<Node> {
    let gateway = inference("gateway", "").start();
    let seeds = [gateway.spec.url()];
    let mut nodes = vec![gateway];
    for (name, server) in servers {
        let providers = providers(&[("gpu", &vllm(server))]);
        nodes.push(inference(name, &providers).seeds(&seeds).start());
    }
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    let names: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
    for node in nodes.iter().filter(|_| !names.is_empty()) {
        until_models(node, &[(model, &names)]).await;
    }
    nodes
}

async fn reload(node: &Node) {
    let (status, answer) = node.post("/v1/system/reload", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn models_stay_while_a_reload_changes_their_provider() {
    let server = ModelServer::start(&["a", "b", "c"]);
    let file = |more: &str| providers(&[("gpu", &format!("{}{more}", vllm(&server)))]);
    let node = inference("node", &file("")).start();
    until_models(&node, &[("a", &["node"]), ("b", &["node"]), ("c", &["node"])]).await;
    let change = async |more: &str| {
        std::fs::write(node.config_dir().join("providers.yaml"), file(more)).unwrap();
        reload(&node).await;
    };
    // It says nothing more: what is served is what it said before.
    server.records().is_mute = true;
    change(", api_key: sk-new, models: [b, a, new]").await;
    until_models(&node, &[("a", &["node"]), ("b", &["node"])]).await;
    for _ in 0..10 {
        let (status, _, body) =
            chat(&node, "/v1/inference/a/chat/completions", &says("hello")).await;
        assert_eq!(status, 200, "{body}");
    }
    let (headers, _) = server.records().chats.pop().unwrap();
    assert_eq!(headers["authorization"], "Bearer sk-new");
    let doctor = node.get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"]["model_server:gpu"]["models"], json!(["a", "b"]), "{doctor}");
    // At another place there may be something else.
    let other = ModelServer::start(&["d"]);
    std::fs::write(node.config_dir().join("providers.yaml"), providers(&[("gpu", &vllm(&other))]))
        .unwrap();
    reload(&node).await;
    until_models(&node, &[("d", &["node"])]).await;
}

/// Requests that wait for a place on a node.
async fn node_waits(node: &Node) -> u64 {
    let page = client().get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line =
        page.lines().find(|line| line.starts_with("astromesh_requests_in_flight{at=\"queued\"}"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

/// What a node with this profile does that has agents and model servers in its files.
#[tokio::test]
async fn each_profile_does_what_its_role_says_and_no_more() {
    let server = ModelServer::start(&["m"]);
    let rows = [
        ("full", true, true),
        ("gateway", false, false),
        ("worker", true, false),
        ("inference", false, true),
        ("mesh-gateway", false, false),
        ("mesh-worker", true, false),
        ("mesh-inference", false, true),
    ];
    for (profile, runs_agents, serves_models) in rows {
        let path = format!("{}/config/profiles/{profile}.yaml", env!("CARGO_MANIFEST_DIR"));
        let profile_text = std::fs::read_to_string(path).unwrap();
        let profile_spec: Value = astromesh::config::yaml::read(&profile_text).unwrap();
        let mut spec = Spec::new(profile)
            .echo_agent("echo", 0)
            .file("providers.yaml", &providers(&[("gpu", &vllm(&server))]));
        spec.services = profile_spec["spec"]["services"].clone();
        spec.mesh = profile_spec["spec"]["mesh"]["enabled"] == true;
        // Peers are asked, and this is about the node itself.
        let node = spec.start();
        until("it serves", async || client().get(node.url("/v1/health")).send().await.is_ok())
            .await;
        let (status, body) = node.post("/v1/agents/echo/run", &json!({"query": "q"})).await;
        assert_eq!(status == 200, runs_agents, "{profile}: {body}");
        if serves_models {
            until_models(&node, &[("m", &[profile])]).await;
        } else {
            assert_eq!(models(&node).await, [], "{profile}");
        }
        let (status, _, body) = chat(&node, "/v1/inference/m/chat/completions", &says("q")).await;
        assert_eq!(status, if serves_models { 200 } else { 404 }, "{profile}: {body}");
        let lists = std::mem::take(&mut server.records().lists);
        assert_eq!(lists > 0, serves_models, "{profile} has asked the server {lists} times");
    }
}

#[tokio::test]
async fn ollama_of_the_environment_is_served_unless_a_provider_speaks_of_it() {
    let server = ModelServer::start(&["llama3:latest", "phi4"]);
    let address = server.address;
    let start = |name: &str, block: Option<&str>| {
        let blocks: Vec<_> = block.iter().map(|block| ("local", *block)).collect();
        let text = if blocks.is_empty() { String::new() } else { providers(&blocks) };
        let mut spec = inference(name, &text);
        spec.prefix = vec!["env".to_owned(), format!("OLLAMA_HOST={address}")];
        spec.mesh = false;
        spec.start()
    };
    until_models(&start("none", None), &[("llama3", &["none"]), ("phi4", &["none"])]).await;
    // It has the same endpoint without saying so.
    let limited = start("limited", Some("type: ollama, models: [phi4]"));
    until_models(&limited, &[("phi4", &["limited"])]).await;
    let elsewhere = start("elsewhere", Some("type: ollama, endpoint: \"http://127.0.0.1:9\""));
    until_models(&elsewhere, &[("llama3", &["elsewhere"]), ("phi4", &["elsewhere"])]).await;
    drop((limited, elsewhere));
    server.records().lists = 0;
    let off = start("off", Some("type: ollama, serve: false"));
    until("it serves", async || client().get(off.url("/v1/health")).send().await.is_ok()).await;
    assert_eq!((models(&off).await, server.records().lists), (Vec::new(), 0));
}
