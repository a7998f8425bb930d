//! What is said of models of the mesh, by an own node that a fake server stands for.

use std::time::Duration;

use astromesh::agent::Registry;
use astromesh::model::{Access, Availability, ErrorCode, http_client};
use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{model_error, serve};

/// A registry whose agent `a` asks `m` of the mesh, through a node that answers so.
async fn asking(status: u16, node: &'static str, body: &Value) -> (Registry, JoinSet<()>) {
    let text = body.to_string();
    let answer = move || {
        let text = text.clone();
        async move { (StatusCode::from_u16(status).unwrap(), [("x-astromesh-node", node)], text) }
    };
    let (address, tasks) = serve(Router::new().fallback(answer)).await;
    let directory = TempDir::new().unwrap();
    let agents = directory.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    let text =
        "metadata: {name: a}\nspec: {model: {primary: {provider: mesh, model: m, timeout: 5}}}";
    std::fs::write(agents.join("a.agent.yaml"), text).unwrap();
    let registry = Registry::load(directory.path(), &Access::new(http_client(), address)).0;
    (registry, tasks)
}

#[tokio::test]
async fn errors_name_the_node_that_answered_and_nothing_of_the_own_one() {
    let said = json!({"error": {"message": "bad"}});
    let cut = json!({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]});
    let large = Value::from("x".repeat(8 * 1024 * 1024));
    let rows = [
        (200, "gpu", large, "model m of the mesh: the answer is larger", "lower max_tokens"),
        (401, "gpu", said.clone(), "model m on node gpu: HTTP 401: bad", "providers*.yaml"),
        (404, "gpu", said.clone(), "model m on node gpu: HTTP 404: bad", "lacks the model"),
        (500, "gpu", said.clone(), "model m on node gpu: HTTP 500: bad", "astromeshctl doctor"),
        (400, "", said, "model m of the mesh: HTTP 400: bad", "check model and parameters"),
        (
            200,
            "gpu",
            json!({"choices": []}),
            "model m on node gpu: the answer is no",
            "that answered",
        ),
        (200, "gpu", cut, "model m on node gpu: the tokens", "raise max_tokens"),
    ];
    for (status, node, body, message, hint) in rows {
        let (registry, own) = asking(status, node, &body).await;
        let error = model_error(&registry).await;
        drop(own);
        assert!(error.message.starts_with(message), "{error}");
        assert!(error.hint.contains(hint), "{message}: {}", error.hint);
        let told = format!("{error} {}", error.hint);
        let foreign =
            ["127.0.0.1", "api_key_env", "endpoint"].iter().find(|word| told.contains(**word));
        assert_eq!(foreign, None, "{told}");
    }
}

#[tokio::test]
async fn an_own_node_that_does_not_answer_is_told_without_its_address() {
    let (registry, mut own) = asking(200, "", &json!({})).await;
    own.shutdown().await;
    let error = model_error(&registry).await;
    assert_eq!(error.code, ErrorCode::ConnectionRefused, "{error}");
    assert_eq!(error.message, "model m of the mesh: this node's own HTTP server does not answer");
}

#[tokio::test]
async fn the_check_says_of_a_model_that_nobody_serves_what_a_run_says() {
    let (registry, _own) = asking(200, "", &json!({"data": [{"id": "m"}]})).await;
    let model = registry.needs().next().unwrap().models.remove(0);
    assert_eq!(model.check(Duration::from_secs(5)).await, Ok(Availability::Answers));
    let (registry, _own) = asking(200, "", &json!({"data": [{"id": "other"}]})).await;
    let model = registry.needs().next().unwrap().models.remove(0);
    let error = model.check(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoEligibleProvider, "{error}");
    assert!(error.hint.contains("ollama pull m"), "{}", error.hint);
}
