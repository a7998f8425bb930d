//! Where the tool `http_request` goes, and where it refuses to go.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};

use crate::support::{Server, agent, block, calls, run, serve, words};

/// Lets a model make this call and returns what it would see.
async fn observe(config: &str, arguments: Value) -> Value {
    let model = Server::start(vec![calls(&[("http_request", arguments)]), words("ok")]).await;
    let registry = agent(&format!(
        "  model: {{primary: {}}}\n  tools: [{{name: http_request, type: builtin, config: {config}}}]",
        block(&model)
    ));
    let response = run(&registry, "q").await;
    serde_json::from_str(response.steps[0].observation.as_ref().unwrap()).unwrap()
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused() {
    let target = Server::start(vec![json!("never seen")]).await;
    let port = target.address.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        let url = format!("http://{host}:{port}/");
        let observation = observe("{}", json!({"url": url})).await;
        assert_eq!(observation["success"], false, "{host}");
        let error = observation["error"].as_str().unwrap();
        assert!(error.contains("is not public"), "{host}: {error}");
    }
    assert_eq!(target.seen().len(), 0);
}

#[tokio::test]
async fn cloud_metadata_is_refused_even_where_private_addresses_are_allowed() {
    for config in ["{}", "{allow_localhost: true}"] {
        let url = "http://169.254.169.254/latest/meta-data/";
        let observation = observe(config, json!({"url": url})).await;
        assert!(observation["error"].as_str().unwrap().contains("not public"), "{observation}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_forbidden_address_is_refused() {
    let router = Router::new().fallback(|| async {
        (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/")]).into_response()
    });
    let (address, _tasks) = serve(router).await;
    let arguments = json!({"url": format!("http://{address}/")});
    let observation = observe("{allow_localhost: true}", arguments).await;
    let error = observation["error"].as_str().unwrap();
    assert!(error.contains("169.254.169.254 is not public"), "{error}");
}

#[tokio::test]
async fn with_allow_localhost_the_response_is_returned() {
    let router = Router::new()
        .route(
            "/json",
            get(|| async { axum::Json(json!({"a": 1})) }).post(|body: String| async move { body }),
        )
        .route("/moved", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/json")]) }))
        .route("/large", get(|| async { "x".repeat(101) }));
    let (address, _tasks) = serve(router).await;
    let config = "{allow_localhost: true, max_response_bytes: 100}";
    let url = |path: &str| format!("http://{address}{path}");

    let observation = observe(config, json!({"url": url("/moved")})).await;
    assert_eq!(observation["success"], true, "{observation}");
    assert_eq!(observation["data"]["status_code"], 200);
    assert_eq!(observation["data"]["body"], json!({"a": 1}));
    assert_eq!(observation["metadata"]["url"], url("/json"));

    let arguments = json!({
        "method": "post", "url": url("/json"), "headers": {"x-a": "b"}, "body": {"n": 2},
    });
    let observation = observe(config, arguments).await;
    assert_eq!(observation["data"]["body"], "{\"n\":2}");

    let observation = observe(config, json!({"url": url("/nowhere")})).await;
    assert_eq!(observation["success"], false);
    assert_eq!(observation["error"], "HTTP 404");
    assert_eq!(observation["data"]["status_code"], 404);

    let observation = observe(config, json!({"url": url("/large")})).await;
    assert_eq!(observation["error"], "the response is larger than 100 bytes");
}

#[tokio::test]
async fn wrong_arguments_are_observations() {
    let rows = [
        (json!({}), "url is missing"),
        (json!({"url": "nowhere"}), "no URL"),
        (json!({"url": "file:///etc/passwd"}), "only http and https"),
        (json!({"url": "http://h/", "method": "BREW"}), "HTTP method"),
        (json!({"url": "http://h/", "headers": {"a": 1}}), "valid header"),
        (json!({"url": 5}), "must be text"),
    ];
    for (arguments, expected) in rows {
        let observation = observe("{}", arguments).await;
        let error = observation["error"].as_str().unwrap();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
