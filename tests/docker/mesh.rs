//! The mesh of three nodes: it comes up, grows, and is whole again after whatever happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::engine::{Recipe, client, docker, json as get, until};

const GATEWAY: &str = "http://127.0.0.1:8000";
const NETWORK: &str = "astromesh-net";

/// Names and states of the members, as a container sees them.
fn view_of(container: &str) -> Option<BTreeMap<String, String>> {
    let output = crate::engine::attempt(
        "docker",
        &["exec", container, "astromeshctl", "--json", "mesh", "nodes"],
    );
    let state: Value = serde_json::from_slice(&output.stdout).ok()?;
    let text = |node: &Value, key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let nodes = state["nodes"].as_array()?;
    Some(nodes.iter().map(|node| (text(node, "name"), text(node, "status"))).collect())
}

/// The name that a worker has by itself.
fn name_of(container: &str) -> String {
    docker(&["inspect", "-f", "{{.Config.Hostname}}", container])
}

/// Waits until gateway, inference and all workers see exactly each other alive.
async fn until_whole(recipe: &Recipe, workers: usize, what: &str) {
    until(what, async || {
        let containers = recipe.containers("worker");
        let mut expected: Vec<String> = containers.iter().map(|id| name_of(id)).collect();
        expected.extend(["gateway".to_owned(), "inference".to_owned()]);
        expected.sort();
        let others = ["astromesh-gateway".to_owned(), "astromesh-inference".to_owned()];
        containers.len() == workers
            && containers.iter().chain(&others).all(|container| {
                let Some(view) = view_of(container) else { return false };
                let is_alive = |(_, state): &(&String, &String)| *state == "alive";
                view.iter().filter(is_alive).map(|(name, _)| name).eq(&expected)
            })
    })
    .await;
}

async fn until_seen(name: &str, state: &str) {
    until(&format!("the gateway sees {name} {state}"), async || {
        view_of("astromesh-gateway")
            .is_some_and(|view| view.get(name).is_some_and(|is| is == state))
    })
    .await;
}

/// Runs that a client sends one after the other, until stopped.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    client: tokio::task::JoinHandle<Vec<String>>,
}

impl Load {
    fn start() -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let client = tokio::spawn(async move {
            let client = client();
            let mut lost = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let answer = client
                    .post(format!("{GATEWAY}/v1/agents/echo/run"))
                    .header("idempotency-key", format!("load-{number}"))
                    .json(&json!({"query": "still there?"}))
                    .send()
                    .await;
                match answer {
                    Ok(answer) if answer.status().is_success() => {}
                    Ok(answer) => {
                        let status = answer.status();
                        let said = answer.text().await.unwrap_or_default();
                        lost.push(format!("{number}: {status} {said}"));
                    }
                    Err(error) => lost.push(format!("{number}: {error:?}")),
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            lost
        });
        Self { stop, sent, client }
    }

    /// Ends it; none may have been lost.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let lost = self.client.await.unwrap();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let sent = self.sent.load(Ordering::Relaxed);
        assert!(sent > 10, "only {sent} requests were sent");
        println!("{sent} requests, none lost");
    }
}

/// Sends runs until each of the workers has answered one.
async fn until_all_serve(recipe: &Recipe) {
    let mut left: Vec<String> = recipe.containers("worker").iter().map(|id| name_of(id)).collect();
    until("each worker has served a run", async || {
        let answer = client()
            .post(format!("{GATEWAY}/v1/agents/echo/run"))
            .json(&json!({"query": "who are you?"}))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        let node = answer.headers()["x-astromesh-node"].to_str().unwrap();
        left.retain(|name| name != node);
        left.is_empty()
    })
    .await;
}

// Two threads: the client goes on while this test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Docker engine"]
async fn the_mesh_is_whole_again_after_whatever_happens_to_it() {
    let recipe = Recipe::up("mesh-3node.yml", &[]);
    until_whole(&recipe, 1, "three nodes are alive").await;

    // What the guide types.
    let status = docker(&["exec", "astromesh-gateway", "astromeshctl", "mesh", "status"]);
    assert!(status.contains("Alive: 3"), "{status}");
    docker(&["exec", "astromesh-gateway", "astromeshctl", "mesh", "nodes"]);
    let worker = recipe.containers("worker").remove(0);
    recipe.compose(&["exec", "-T", "worker", "astromeshctl", "mesh", "leave"]);
    until_seen(&name_of(&worker), "left").await;
    recipe.compose(&["restart", "worker"]);
    until_whole(&recipe, 1, "the worker that left is back").await;

    recipe.compose(&["up", "-d", "--scale", "worker=3"]);
    until_whole(&recipe, 3, "three workers are members").await;
    until_all_serve(&recipe).await;

    let load = Load::start();
    harm_workers(&recipe).await;
    load.end().await;

    recipe.compose(&["restart", "gateway"]);
    until_whole(&recipe, 3, "the only seed is back, and knows all").await;

    let load = Load::start();
    // One at a time: Compose by itself stops all of them before it makes the first. Without
    // `--no-recreate` some versions of it make the others anew, too.
    for worker in recipe.containers("worker") {
        docker(&["stop", "-t", "40", &worker]);
        docker(&["rm", "-v", &worker]);
        recipe.compose(&["up", "-d", "--no-recreate", "--scale", "worker=3", "worker"]);
        until_whole(&recipe, 3, "a worker was made anew").await;
    }
    load.end().await;
    until_all_serve(&recipe).await;
}

/// Kills, freezes and cuts off one worker after the other; the others go on.
async fn harm_workers(recipe: &Recipe) {
    let workers = recipe.containers("worker");
    let names: Vec<String> = workers.iter().map(|id| name_of(id)).collect();

    docker(&["kill", &workers[0]]);
    until_seen(&names[0], "dead").await;
    docker(&["start", &workers[0]]);
    until_whole(recipe, 3, "a killed worker is back").await;

    docker(&["pause", &workers[1]]);
    until_seen(&names[1], "dead").await;
    docker(&["unpause", &workers[1]]);
    until_whole(recipe, 3, "a frozen worker is back").await;

    docker(&["network", "disconnect", NETWORK, &workers[2]]);
    until_seen(&names[2], "dead").await;
    docker(&["network", "connect", NETWORK, &workers[2]]);
    until_whole(recipe, 3, "a worker that was cut off is back").await;
}

/// What the gateway answers to this request.
async fn asked(path: &str, body: &Value) -> Option<Value> {
    let answer = client().post(format!("{GATEWAY}{path}")).json(body).send().await.ok()?;
    let status = answer.status();
    let said: Value = answer.json().await.ok()?;
    println!("{path}: {status} {said}");
    status.is_success().then_some(said)
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_inference_node_serves_its_models_to_the_mesh() {
    let recipe = Recipe::up("mesh-3node.yml", &[]);
    until("the gateway knows the model of the inference node", async || {
        let Some(list) = get(&format!("{GATEWAY}/v1/models")).await else { return false };
        list["data"][0]["id"] == "llama3.1:8b" && list["data"][0]["nodes"] == json!(["inference"])
    })
    .await;
    let list = docker(&["exec", "astromesh-gateway", "astromeshctl", "models", "list"]);
    assert!(list.contains("llama3.1:8b") && list.contains("inference"), "{list}");

    // Any client of the OpenAI protocol, on the gateway.
    let chat = json!({"model": "llama3.1:8b", "messages": [{"role": "user", "content": "hello"}]});
    let answer = asked("/v1/chat/completions", &chat).await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "stand-in: hello");

    // A worker, which has no model server of its own, runs an agent on it.
    let run = asked("/v1/agents/local/run", &json!({"query": "who are you?"})).await.unwrap();
    assert_eq!(run["answer"], "stand-in: who are you?");
    let served = recipe.compose(&["exec", "-T", "ollama", "python3", "-c", RECEIVED_PATHS]);
    assert!(served.contains("/v1/chat/completions"), "{served}");
}

/// Prints the paths that the stand-in for Ollama was asked for.
const RECEIVED_PATHS: &str = "import json, urllib.request; \
    print([one['path'] for one in json.load(urllib.request.urlopen('http://localhost:11434/received'))])";
