//! The other recipes: valid, and what each is for.

use serde_json::{Value, json};

use crate::engine::{Recipe, client, json as get, root, run, until};

#[test]
#[ignore = "needs docker-compose"]
fn every_recipe_is_valid() {
    let mut recipes: Vec<_> = std::fs::read_dir(root().join("recipes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yml"))
        .collect();
    recipes.sort();
    assert_eq!(recipes.len(), 4);
    for recipe in recipes {
        run("docker-compose", &["-f", &recipe.display().to_string(), "config", "-q"]);
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn a_single_node_serves_its_agents() {
    let _recipe = Recipe::up("single-node.yml", &[]);
    until("the node runs an agent", async || {
        let answer = client()
            .post("http://127.0.0.1:8000/v1/agents/echo/run")
            .json(&json!({"query": "hello"}))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_nodes_of_the_gpu_recipe_are_a_mesh() {
    // Without the service that asks for GPUs, which this machine need not have.
    let services = ["--no-deps", "gateway", "worker", "inference"];
    let _recipe = Recipe::up("mesh-gpu.yml", &services);
    until("three nodes are alive", async || {
        let Some(state) = get("http://127.0.0.1:8000/v1/mesh/state").await else { return false };
        let nodes = state["nodes"].as_array().cloned().unwrap_or_default();
        nodes.len() == 3 && nodes.iter().all(|node| node["status"] == "alive")
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_developer_sees_metrics_dashboards_and_traces() {
    let _recipe = Recipe::up("dev-full.yml", &[]);
    until("Prometheus has scraped the node", async || {
        let Some(targets) = get("http://127.0.0.1:9090/api/v1/targets").await else { return false };
        let active = targets["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        active.len() == 2 && active.iter().all(|target| target["health"] == "up")
    })
    .await;

    let provisioned = get("http://127.0.0.1:3000/provisioned").await.unwrap();
    let sources = provisioned["datasources"].to_string();
    assert!(sources.contains("http://prometheus:9090"), "{sources}");
    let dashboards = provisioned["dashboards"].as_object().unwrap();
    assert!(!dashboards.is_empty());
    for (file, dashboard) in dashboards {
        assert!(!dashboard["panels"].as_array().unwrap().is_empty(), "{file} has panels");
    }

    let answer = client()
        .post("http://127.0.0.1:8000/v1/agents/echo/run")
        .json(&json!({"query": "trace me"}))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    until("the collector has the trace", async || {
        let received = get("http://127.0.0.1:4318/received").await.unwrap_or(Value::Null);
        received.to_string().contains("agent.run")
    })
    .await;
}
