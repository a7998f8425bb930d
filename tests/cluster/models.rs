//! Models of inference nodes: announced, listed, withdrawn and back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Node, Spec, free_port, until, until_whole};

/// A model server that has these models.
pub(crate) struct ModelServer {
    pub(crate) address: SocketAddr,
    models: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl ModelServer {
    pub(crate) async fn start(models: &[&str]) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), models).await
    }

    async fn start_at(address: SocketAddr, models: &[&str]) -> Self {
        let models: Vec<String> = models.iter().map(ToString::to_string).collect();
        let models = Arc::new(Mutex::new(models));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/api/tags", get(tags))
            .route("/v1/models", get(list))
            .with_state(Arc::clone(&models));
        let serving = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, models, serving }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Models = State<Arc<Mutex<Vec<String>>>>;

async fn tags(State(models): Models) -> axum::Json<Value> {
    let row = |name: &String| json!({"name": name, "size": 1});
    axum::Json(json!({"models": models.lock().unwrap().iter().map(row).collect::<Vec<_>>()}))
}

async fn list(State(models): Models) -> axum::Json<Value> {
    let row = |name: &String| json!({"id": name, "object": "model"});
    axum::Json(
        json!({"object": "list", "data": models.lock().unwrap().iter().map(row).collect::<Vec<_>>()}),
    )
}

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
        text.push_str(&format!("    {name}: {{{block}}}\n"));
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
    until(&format!("{} sees {expected:?}", node.name()), async || models(node).await == expected)
        .await;
}

#[tokio::test]
async fn models_of_inference_nodes_are_listed_by_every_node_and_are_no_agents() {
    let ollama = ModelServer::start(&["llama3.1:8b", "phi4:latest", "not-wanted"]).await;
    let vllm = ModelServer::start(&["meta-llama/Llama-3", "phi4"]).await;
    let other = ModelServer::start(&["other"]).await;
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
    other.models.lock().unwrap().push("another".to_owned());
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
async fn a_model_server_that_starts_late_is_served_and_one_missing_is_told_once() {
    let late: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let block = format!("type: llamacpp, endpoint: \"http://{late}/v1\"");
    let node = inference("node", &providers(&[("late", &block)])).start();
    until("it says that nothing answers", async || node.log().contains("does not say what it has"))
        .await;
    assert_eq!(models(&node).await, []);
    let _server = ModelServer::start_at(late, &["late"]).await;
    until_models(&node, &[("late", &["node"])]).await;
    assert_eq!(node.log().matches("does not say what it has").count(), 1, "{}", node.log());
    until("it says that one answers", async || node.log().contains("model server answers")).await;
}
