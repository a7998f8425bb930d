//! What the doctor says of a mesh that is well, and of each thing that goes wrong.

use std::net::TcpListener;
use std::process::Command;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::harness::{
    Node, Spec, client, free_port, mesh, text, until, until_one_runs, until_seen,
};

/// The checks of a node.
async fn checks(node: &Node) -> Value {
    node.get("/v1/system/doctor").await["checks"].clone()
}

/// Waits until a check has this status and its message these words, and returns it.
async fn until_check(node: &Node, name: &str, status: &str, words: &str) -> Value {
    let mut check = Value::Null;
    until(&format!("{name} is {status}: {words}"), async || {
        check = checks(node).await[name].clone();
        check["status"] == status && text(&check["message"]).contains(words)
    })
    .await;
    let has_remedy = !text(&check["remedy"]).is_empty();
    assert_eq!(has_remedy, status != "ok", "{check}");
    check
}

fn ctl(node: &Node, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(["--url", &node.spec.url()])
        .args(arguments)
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// Answers as soon as the node serves.
async fn served(spec: Spec) -> Node {
    let node = spec.start();
    until("it serves", async || client().get(node.url("/livez")).send().await.is_ok()).await;
    node
}

fn url_of_nobody() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

#[tokio::test]
async fn a_mesh_that_is_well_is_healthy_in_every_check() {
    let nodes = mesh(vec![Spec::new("a").echo_agent("echo", 0), Spec::new("b")]).await;
    for node in &nodes {
        let mut report = Value::Null;
        until("every check is ok", async || {
            report = node.get("/v1/system/doctor").await;
            report["healthy"] == true
        })
        .await;
        let checks = report["checks"].as_object().unwrap();
        for name in [
            "runtime",
            "ports",
            "reload",
            "file_limits",
            "disk",
            "mesh",
            "address",
            "clock",
            "socket_buffers",
            "agents",
            "tools",
        ] {
            assert!(checks.contains_key(name), "{name} in {report}");
        }
        let members: Vec<_> =
            checks.iter().filter(|(name, _)| name.starts_with("member:")).collect();
        assert_eq!(members.len(), 2);
        for (name, member) in members {
            assert_eq!(member["sees_this_node_as"], "alive", "{name} {member}");
            assert!(member["round_trip_seconds"].is_f64(), "{name} {member}");
        }
    }
    let seed = format!("seed:{}", nodes[0].spec.url());
    assert_eq!(checks(&nodes[1]).await[&seed]["node_name"], "gateway");
    assert_eq!(checks(&nodes[1]).await["provider:default:echo/cand0"]["status"], "ok");

    let (code, words) = ctl(&nodes[1], &["doctor"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.starts_with("System Healthy\n"), "{words}");
    let (code, words) = ctl(&nodes[1], &["doctor", "--json"]);
    assert_eq!(code, Some(0), "{words}");
    assert_eq!(serde_json::from_str::<Value>(&words).unwrap()["healthy"], true);
}

#[tokio::test]
async fn seeds_that_do_not_answer_are_told_one_by_one() {
    let gone = url_of_nobody();
    let seeds = [gone.clone(), "http://nowhere.invalid:8000".to_owned()];
    let node = served(Spec::new("lonely").seeds(&seeds)).await;

    let alone = until_check(&node, "mesh", "error", "alone, though seeds are set").await;
    until_check(&node, "mesh", "error", "Connection refused").await;
    let refused = until_check(&node, &format!("seed:{gone}"), "unreachable", "refused").await;
    assert!(text(&refused["remedy"]).contains("start the node there"), "{refused}");
    assert!(text(&refused["last_error"]["text"]).contains("refused"), "{refused}");
    until_check(&node, "seed:http://nowhere.invalid:8000", "unreachable", "").await;
    assert_eq!(alone["live_members"], 1);

    let (code, words) = ctl(&node, &["doctor"]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.starts_with("System Unhealthy: "), "{words}");
    assert!(words.contains("try:"), "{words}");
}

#[tokio::test]
async fn a_seed_that_is_no_node_or_has_no_mesh_is_told() {
    let no_mesh = served(Spec { mesh: false, ..Spec::new("no-mesh") }).await;
    let page = serve(Router::new().fallback(async || "welcome")).await;
    let seeds = [no_mesh.spec.url(), page.clone()];
    let node = served(Spec::new("lonely").seeds(&seeds)).await;

    let name = format!("seed:{}", no_mesh.spec.url());
    let off = until_check(&node, &name, "error", "mesh is off").await;
    assert!(text(&off["remedy"]).contains("spec.mesh.enabled"), "{off}");
    until_check(&node, &format!("seed:{page}"), "error", "no astromesh node").await;

    let spec = Spec { mesh: false, ..Spec::new("off") }.seeds(&[url_of_nobody()]);
    let off = until_check(&served(spec).await, "mesh", "degraded", "off").await;
    assert!(text(&off["remedy"]).contains("spec.mesh.enabled: true"), "{off}");
}

#[tokio::test]
async fn a_seed_of_another_cluster_is_named_with_both_clusters() {
    let gateway = served(Spec::new("gateway").mesh_key("cluster", json!("blue"))).await;
    let worker = Spec::new("worker").mesh_key("cluster", json!("green"));
    let worker = served(worker.seeds(&[gateway.spec.url()])).await;

    let name = format!("seed:{}", gateway.spec.url());
    let seed = until_check(&worker, &name, "error", "`blue`, not to `green`").await;
    assert!(text(&seed["remedy"]).contains("spec.mesh.cluster"), "{seed}");
    let mesh = until_check(&worker, "mesh", "error", "alone").await;
    assert!(text(&mesh["remedy"]).contains("spec.mesh.cluster"), "{mesh}");
}

#[tokio::test]
async fn an_address_at_which_nobody_reaches_the_node_is_told() {
    let gateway = served(Spec::new("gateway")).await;
    let wrong = Spec::new("wrong").mesh_key("advertise", json!("127.0.0.9"));
    let wrong = served(wrong.seeds(&[gateway.spec.url()])).await;

    let check = until_check(&wrong, "address", "error", "advertises 127.0.0.9:").await;

    assert!(text(&check["remedy"]).contains("spec.mesh.advertise"), "{check}");
    assert_eq!(check["observed"][0]["ip"], "127.0.0.1", "{check}");
}

#[tokio::test]
async fn suspect_and_dead_members_are_named_with_the_way_to_the_evidence() {
    let slow = |spec: Spec| spec.mesh_key("detection", json!("patient"));
    let gateway = slow(Spec::new("gateway"));
    let seeds = [gateway.url()];
    let gateway = served(gateway).await;
    let a = served(slow(Spec::new("a")).seeds(&seeds)).await;
    let mut b = served(slow(Spec::new("b")).seeds(&seeds)).await;
    until_seen(&[&gateway, &a, &b], "b", "alive").await;
    until_seen(&[&gateway, &b], "a", "alive").await;

    b.kill();

    let suspect = until_check(&gateway, "member:b", "degraded", "suspect").await;
    assert_eq!(suspect["member_status"], "suspect", "{suspect}");
    let dead = until_check(&gateway, "member:b", "unreachable", "dead for ").await;
    assert!(text(&dead["remedy"]).contains("mesh why b"), "{dead}");
    assert_eq!(gateway.get("/v1/system/doctor").await["healthy"], false);
}

/// A server on a free port of this host; its URL.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

async fn models(headers: HeaderMap) -> impl IntoResponse {
    let key = headers.get("authorization").map_or("", |key| key.to_str().unwrap());
    if key == "Bearer sk-right" {
        (StatusCode::OK, Json(json!({"data": [{"id": "big"}, {"id": "small:latest"}]})))
    } else {
        let said = format!("no such key: {key}");
        (StatusCode::UNAUTHORIZED, Json(json!({"error": {"message": said}})))
    }
}

#[tokio::test]
async fn models_processes_and_drafts_are_told_and_no_key_is() {
    let provider = serve(Router::new().route("/v1/models", get(models))).await;
    let model = |model: &str, endpoint: &str, key: &str| json!({"provider": "openai_compat", "model": model, "endpoint": endpoint, "api_key": key});
    let endpoint = format!("{provider}/v1");
    let candidates = [
        model("big", &endpoint, "sk-right"),
        model("small", &endpoint, "sk-right"),
        model("missing", &endpoint, "sk-right"),
        model("big", &endpoint, "sk-wrong"),
        model("big", &format!("{provider}/elsewhere"), "sk-right"),
        model("big", &format!("{}/v1", url_of_nobody()), "sk-right"),
        json!({"provider": "openai_compat", "api_key_env": "NO_SUCH_KEY_HERE"}),
    ];
    let agent = |name: &str, spec: Value| {
        json!({"apiVersion": "astromesh/v1", "kind": "Agent", "metadata": {"name": name}, "spec": spec})
            .to_string()
    };
    let support = agent("support", json!({"model": {"default": {"candidates": candidates}}}));
    let process =
        agent("process", json!({"upstream": {"url": format!("{}/run", url_of_nobody())}}));
    let spec = Spec::new("alone").agent_file("support", &support).agent_file("process", &process);
    let node = served(spec.agent_file("broken", "kind: Agent\nmetadata: {name: broken}\n")).await;

    let report = node.get("/v1/system/doctor").await;
    let checks = &report["checks"];

    let expected = [
        ("provider:default:support/cand0", "ok", "answers"),
        ("provider:default:support/cand1", "ok", "answers"),
        ("provider:default:support/cand2", "degraded", "does not list the model missing"),
        ("provider:default:support/cand3", "error", "HTTP 401"),
        ("provider:default:support/cand4", "degraded", "HTTP 404"),
        ("provider:default:support/cand5", "unreachable", "refused"),
        ("provider:default:support/cand6", "unavailable", "NO_SUCH_KEY_HERE"),
        ("upstream:process", "unreachable", "refused"),
        ("agents", "degraded", "broken: agents/broken.agent.yaml"),
    ];
    for (name, status, words) in expected {
        let check = &checks[name];
        assert_eq!(check["status"], status, "{name}: {check}");
        assert!(text(&check["message"]).contains(words), "{name}: {check}");
    }
    assert_eq!(report["healthy"], false);
    assert!(!report.to_string().contains("sk-"), "{report}");
}

async fn ollama(uri: Uri) -> Json<Value> {
    Json(match uri.path() {
        "/api/tags" => json!({"models": [{"name": "llama3:latest"}]}),
        path => json!({"message": {"content": format!("hello from {path}")}, "done": true}),
    })
}

#[tokio::test]
async fn ollama_is_where_the_environment_says() {
    let url = serve(Router::new().fallback(ollama)).await;
    let agent = |name: &str, model: &str| {
        format!("metadata: {{name: {name}}}\nspec: {{model: {{primary: {{{model}}}}}}}\n")
    };
    let mut spec = Spec::new("alone")
        .file("providers.yaml", "spec: {providers: {local: {type: ollama}}}")
        .agent_file("has", &agent("has", "providerRef: local"))
        .agent_file("lacks", &agent("lacks", "provider: ollama, model: 'qwen3:4b'"));
    spec.prefix =
        vec!["env".to_owned(), format!("OLLAMA_HOST={}/v1", url.trim_start_matches("http://"))];
    let node = served(spec).await;

    let (status, answer) = node.post("/v1/agents/has/run", &json!({"query": "hi"})).await;
    assert_eq!((status, &answer["answer"]), (200, &json!("hello from /api/chat")));
    let checks = checks(&node).await;
    assert_eq!(checks["provider:default:has/cand0"]["status"], "ok", "{checks}");
    let lacks = &checks["provider:default:lacks/cand0"];
    assert_eq!(
        (&lacks["status"], &lacks["code"]),
        (&json!("error"), &json!("model_ollama_chat_404"))
    );
    assert!(text(&lacks["remedy"]).contains("ollama pull qwen3:4b"), "{lacks}");
}

#[tokio::test]
async fn static_peers_are_asked_where_there_is_no_mesh() {
    let other = served(Spec { mesh: false, ..Spec::new("other") }).await;
    let page = serve(Router::new().fallback(async || "welcome")).await;
    let peer = |name: &str, url: &str| json!({"name": name, "url": url, "services": ["agents"]});
    let peers =
        [peer("node", &other.spec.url()), peer("page", &page), peer("gone", &url_of_nobody())];
    let spec = Spec { mesh: false, ..Spec::new("front") }.spec_key("peers", json!(peers));

    let checks = checks(&served(spec).await).await;

    let expected = [
        ("peer:node", "ok", "a node of version"),
        ("peer:page", "degraded", "not as a node"),
        ("peer:gone", "unreachable", "nothing listens there"),
        ("mesh", "ok", "off"),
    ];
    for (name, status, words) in expected {
        let check = &checks[name];
        assert_eq!(check["status"], status, "{name}: {check}");
        assert!(text(&check["message"]).contains(words), "{name}: {check}");
    }
}

async fn readiness(node: &Node, query: &str) -> Option<(u16, Value)> {
    let response = client().get(node.url(&format!("/readyz{query}"))).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.ok()?))
}

#[tokio::test]
async fn a_node_is_ready_once_each_seed_was_asked_and_lives_before_that() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let seed = format!("http://{}", silent.local_addr().unwrap());
    let node = served(Spec::new("new").seeds(&[seed])).await;

    let (status, body) = readiness(&node, "").await.unwrap();
    assert_eq!((status, &body["code"]), (503, &json!("not_ready")), "{body}");
    assert!(text(&body["detail"]).contains("1 of 1 seeds"), "{body}");
    assert_eq!(node.get("/livez").await, json!({"status": "ok"}));

    drop(silent);

    until("it is ready", async || readiness(&node, "").await.unwrap().0 == 200).await;
    let (_, body) = readiness(&node, "?verbose").await.unwrap();
    let checks = json!({"http": "ok", "mesh": "ok", "draining": "ok"});
    assert_eq!(body, json!({"status": "ok", "checks": checks}));
}

#[tokio::test]
async fn a_node_that_has_left_is_not_ready_and_lives() {
    let nodes = mesh(vec![Spec::new("a")]).await;
    assert_eq!(readiness(&nodes[1], "").await.unwrap().0, 200);
    nodes[1].post("/v1/mesh/leave", &json!({"node_id": "self"})).await;

    let (status, body) = readiness(&nodes[1], "").await.unwrap();

    assert_eq!(status, 503);
    assert!(text(&body["detail"]).contains("has left the mesh"), "{body}");
    assert_eq!(node_lives(&nodes[1]).await, 200);
    until_check(&nodes[1], "mesh", "degraded", "has left").await;
}

async fn node_lives(node: &Node) -> u16 {
    client().get(node.url("/livez")).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_node_that_drains_is_not_ready() {
    let mut nodes = mesh(vec![Spec::new("a").echo_agent("slow", 3_000), Spec::new("b")]).await;
    let url = nodes[1].url("/v1/agents/slow/run");
    let run = tokio::spawn(async move {
        let body = json!({"query": "finish me"});
        client().post(url).json(&body).send().await.unwrap().status().as_u16()
    });
    until_one_runs(&nodes[1]).await;

    nodes[1].signal("TERM");

    until("it says that it is not ready", async || {
        let said = readiness(&nodes[1], "").await;
        said.is_some_and(|(status, body)| {
            status == 503 && text(&body["detail"]).contains("stopping")
        })
    })
    .await;
    assert_eq!(run.await.unwrap(), 200);
    assert_eq!(nodes[1].wait().code(), Some(0));
}

#[tokio::test]
async fn a_directory_that_is_gone_and_a_clock_that_differs_are_told() {
    // It answers as a node would whose clock is a minute ahead, and takes nobody in.
    let id = "0b6f3c1e-8d3a-4f6e-9a51-2f0c7d9e1b42";
    let mesh = json!({"node_id": id, "node_name": "early", "cluster": "default"});
    let status = json!({"version": "0.0.9", "mesh": mesh});
    let history = async || {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() + 60.0;
        Json(json!({
            "node": {"node_id": "ours", "name": "ours"}, "status": "alive", "now": now, "since": 0.0,
            "changes": [], "verdicts": [], "dropped": 0
        }))
    };
    let router = Router::new()
        .route("/v1/system/status", get(async || Json(status)))
        .route("/v1/mesh/nodes/{id}/history", get(history));
    let seed = serve(router).await;
    let logs = tempfile::tempdir().unwrap();
    let file = json!({"enabled": true, "directory": logs.path().join("log")});
    let spec =
        Spec::new("ours").seeds(std::slice::from_ref(&seed)).spec_key("log", json!({"file": file}));
    let mut node = served(spec).await;
    node.expect_errors();

    let clock = until_check(&node, "clock", "degraded", "s behind that of early").await;
    let ahead = clock["ahead_seconds"].as_f64().unwrap();
    assert!((50.0..70.0).contains(&ahead), "{clock}");
    assert_eq!(checks(&node).await[format!("seed:{seed}")]["version"], "0.0.9");
    until_check(&node, "disk", "ok", "can be written").await;
    until_check(&node, "disk:log", "ok", "can be written").await;

    std::fs::remove_dir_all(node.data_dir()).unwrap();

    until_check(&node, "disk", "error", "cannot be written").await;
}
