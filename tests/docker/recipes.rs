//! The other recipes: valid, and what each is for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::engine::{Recipe, attempt, client, json as get, root, run, until};

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
    // Each version that there is: they differ in what they take.
    let plugin = attempt("docker", &["compose", "version"]).status.success();
    let program = attempt("docker-compose", &["version"]).status.success();
    assert!(plugin || program, "there is no Compose");
    for recipe in recipes {
        let check = ["-f", &recipe.display().to_string(), "config", "-q"];
        if plugin {
            run("docker", &[&["compose"], &check[..]].concat());
        }
        if program {
            run("docker-compose", &check);
        }
    }
}

async fn until_an_agent_runs() {
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
async fn a_single_node_serves_its_agents() {
    let _recipe = Recipe::up("single-node.yml", &[]);
    until_an_agent_runs().await;
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
async fn the_developer_sees_metrics_and_a_dashboard() {
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
}

#[tokio::test]
#[ignore = "needs a Docker engine"]
async fn the_developer_finds_runs_at_the_collector() {
    let _recipe = Recipe::up("dev-full.yml", &[]);
    until_an_agent_runs().await;
    // What the stand-in of the collector was sent by gRPC, where strings are as they are.
    until("the collector has the run", async || {
        let Some(received) = get("http://127.0.0.1:4318/received").await else { return false };
        let calls = received.as_array().cloned().unwrap_or_default();
        calls.iter().filter(|call| call["path"] == "grpc").any(|call| {
            let text = call["text"].as_str().unwrap_or_default();
            text.contains("invoke_agent echo") && text.contains("/v1/agents/{name}/run")
        })
    })
    .await;
}

/// The names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("astromesh_") || word.starts_with("process_")).collect()
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let documented = read("docs/metrics.md");
    let documented = metrics(&documented);
    let dashboard: Value =
        serde_json::from_str(&read("recipes/dev-full/grafana/dashboards/astromesh.json")).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            for metric in metrics(expression) {
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|ending| metric.strip_suffix(ending))
                    .unwrap_or(metric);
                assert!(documented.contains(family), "{metric} in {expression}");
                asked += 1;
            }
        }
    }
    assert!(asked > 10, "the dashboard asks for metrics");
}
