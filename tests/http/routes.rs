//! The routes of one node, and what it says to requests that are not as they should be.

use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::routing::{get as on_get, post};
use serde_json::json;

use crate::backend::Refusing;
use crate::client::{call, get, run};
use crate::node::{BODY_BYTES_MAX, Node, member};

#[tokio::test]
async fn health_and_status_say_how_the_node_is() {
    let node = Node::start_with(1, &["a"], &["b"], axum::Router::new()).await;
    let health = get(node.address, "/v1/health").await;
    assert_eq!(health.status, StatusCode::OK);
    assert_eq!(health.json(), json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}));
    let status = get(node.address, "/v1/system/status").await.json();
    assert_eq!(status["mode"], "dev");
    assert_eq!(status["agents_loaded"], 2);
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["services"].as_object().unwrap().len(), 8);
    assert_eq!(
        (&status["services"]["agents"], &status["services"]["rag"]),
        (&json!(true), &json!(false))
    );
    assert_eq!((&status["peers"], &status["mesh"]), (&json!([]), &json!(null)));
}

#[tokio::test]
async fn agents_of_the_mesh_are_listed_after_those_of_the_node() {
    let node = Node::start_with(1, &["zeta"], &["broken"], axum::Router::new()).await;
    let nowhere = Refusing::start().address;
    let mut dead = member(3, nowhere, &["alpha", "lost"]);
    dead.state = astromesh_wire::State::Dead;
    node.knows(&[member(2, nowhere, &["alpha", "zeta"]), dead]);
    let expected = json!({"agents": [
        {"name": "broken", "version": "1.0.0", "namespace": "default", "status": "draft",
         "error": "no model", "nodes": []},
        {"name": "zeta", "version": "1.0.0", "namespace": "default", "status": "deployed",
         "nodes": ["node-1", "node-2"]},
        {"name": "alpha", "version": "", "namespace": "", "status": "deployed",
         "nodes": ["node-2"]},
    ]});
    assert_eq!(get(node.address, "/v1/agents").await.json(), expected);
    assert_eq!(get(node.address, "/v1/agents/").await.json(), expected);
}

#[tokio::test]
async fn a_local_agent_runs_and_the_answer_names_the_node() {
    let node = Node::start(1, &["support"]).await;
    let answer = run(node.address, "support", "hello").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["answer"], "support: hello");
    assert_eq!(answer.header("x-astromesh-node"), "node-1");
    assert_eq!(node.load.active(), 0);
}

#[tokio::test]
async fn unknown_routes_methods_and_agents_have_the_shape_of_errors() {
    let node = Node::start_with(1, &["support"], &["draft"], axum::Router::new()).await;
    let at = node.address;
    assert_eq!(get(at, "/v1/nothing").await.is_error(404, "not_found"), "Not Found");
    let wrong_method = call(at, "DELETE", "/v1/health", &[], "").await;
    assert_eq!(wrong_method.is_error(405, "method_not_allowed"), "Method Not Allowed");
    assert_eq!(wrong_method.header("allow"), "GET,HEAD");
    assert_eq!(run(at, "x", "hello").await.is_error(404, "agent_not_found"), "Agent 'x' not found");
    assert_eq!(
        run(at, "draft", "hello").await.is_error(404, "agent_not_found"),
        "Agent 'draft' not found"
    );
    get(at, "/v1/agents/x").await.is_error(404, "agent_not_found");
    get(at, "/v1/agents/%ff").await.is_error(404, "agent_not_found");
    assert_eq!(get(at, "/v1/agents/draft").await.json()["metadata"]["name"], "draft");
}

#[tokio::test]
async fn a_body_that_is_not_as_it_should_be_is_explained() {
    let node = Node::start(1, &["support"]).await;
    let path = "/v1/agents/support/run";
    let malformed = call(node.address, "POST", path, &[], "{\"query\": ").await;
    let detail = malformed.is_error(422, "invalid_request");
    assert_eq!(
        (&detail[0]["type"], &detail[0]["loc"][0]),
        (&json!("json_invalid"), &json!("body"))
    );
    let missing = call(node.address, "POST", path, &[], "{}").await;
    assert_eq!(
        missing.is_error(422, "invalid_request"),
        json!([{"type": "missing", "loc": ["body", "query"], "msg": "Field required", "input": {}}])
    );
    assert_eq!(node.load.active(), 0);
}

#[tokio::test]
async fn a_body_is_taken_up_to_the_limit_and_refused_above() {
    let node = Node::start(1, &["support"]).await;
    let frame = json!({"query": ""}).to_string().len();
    let longest = run(node.address, "support", &"x".repeat(BODY_BYTES_MAX - frame)).await;
    assert_eq!(longest.status, StatusCode::OK);
    let too_long = run(node.address, "support", &"x".repeat(BODY_BYTES_MAX - frame + 1)).await;
    too_long.is_error(413, "body_too_large");
}

#[tokio::test]
async fn failures_of_a_run_are_told_apart() {
    let node = Node::start(1, &["support"]).await;
    let model = run(node.address, "support", "fail").await;
    assert_eq!(
        model.is_error(502, "model_connection_refused"),
        json!({"error": "model_connection_refused", "message": "nobody listens",
               "hint": "start the model server"})
    );
    assert_eq!(model.header("x-astromesh-node"), "node-1");
    let other = run(node.address, "support", "break").await;
    assert_eq!(other.is_error(500, "internal"), "a tool fell over");
    assert_eq!(node.load.active(), 0);
}

#[tokio::test]
async fn a_panic_becomes_an_answer_and_the_node_goes_on() {
    let node = Node::start(1, &["support"]).await;
    let answer = run(node.address, "support", "panic").await;
    assert_eq!(answer.is_error(500, "internal"), "Internal Server Error");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(node.load.active(), 0);
    assert_eq!(run(node.address, "support", "hello").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_id_of_a_request_is_kept_if_it_is_one() {
    let node = Node::start(1, &[]).await;
    let long = "x".repeat(129);
    for (given, kept) in [("abc-123", true), ("two words", false), ("", false), (&*long, false)] {
        let answer = call(node.address, "GET", "/v1/no", &[("x-request-id", given)], "").await;
        answer.is_error(404, "not_found");
        assert_eq!(answer.header("x-request-id") == given, kept, "{given}");
    }
    let made = get(node.address, "/v1/health").await;
    assert_eq!(made.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn pages_of_any_origin_may_call() {
    let node = Node::start(1, &[]).await;
    let preflight = [
        ("origin", "http://page.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = call(node.address, "OPTIONS", "/v1/agents/a/run", &preflight, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-methods"), "*");
    assert_eq!(get(node.address, "/v1/health").await.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn routes_of_other_modules_get_the_same_surroundings() {
    async fn ends(ConnectInfo(ends): ConnectInfo<astromesh::api::Connection>) -> String {
        format!("{} {}", ends.peer.ip(), ends.local)
    }
    async fn typed(
        astromesh::api::Json(body): astromesh::api::Json<astromesh::api::types::LeaveRequest>,
    ) -> String {
        body.node_id
    }
    let extra = axum::Router::new()
        .route("/v1/test/ends", on_get(ends))
        .route("/v1/test/typed", post(typed));
    let node = Node::start_with(1, &[], &[], extra).await;
    let at = node.address;
    assert_eq!(get(at, "/v1/test/ends").await.text, format!("127.0.0.1 {at}"));
    let path = "/v1/test/typed";
    assert_eq!(call(at, "POST", path, &[], "{\"node_id\":\"self\"}").await.text, "self");
    call(at, "POST", path, &[], "{}").await.is_error(422, "invalid_request");
    get(at, path).await.is_error(405, "method_not_allowed");
    call(at, "POST", path, &[], "x".repeat(BODY_BYTES_MAX + 1))
        .await
        .is_error(413, "body_too_large");
}
