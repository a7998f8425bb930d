//! Start, refusal to start, leave and stop.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Node, Spec, client, mesh, until, until_one_runs, until_seen, until_whole};

fn daemon(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_astromeshd")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ctl(node: &Node, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(["--url", &node.spec.url()])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_problem_of_a_configuration_is_named_at_once_and_the_exit_code_is_64() {
    let directory = tempfile::tempdir().unwrap();
    let text = "spec:\n  api:\n    port: 70000\n  mesh:\n    enabld: true\n    seeds:\n      - nowhere\n    \
                gossip_fanout: many\n";
    fs::write(directory.path().join("runtime.yaml"), text).unwrap();

    let (code, errors) = daemon(&["--config", &directory.path().display().to_string()]);

    assert_eq!(code, Some(64), "{errors}");
    for (line, key) in [
        (3, "spec.api.port"),
        (5, "spec.mesh.enabld"),
        (7, "spec.mesh.seeds[0]"),
        (8, "gossip_fanout"),
    ] {
        let place = format!("runtime.yaml:{line}");
        assert!(errors.contains(&place) && errors.contains(key), "{place} {key} in:\n{errors}");
    }
    assert!(errors.contains("70000") && errors.contains("enabled"), "{errors}");
}

#[test]
fn a_missing_configuration_is_an_error_that_names_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let (code, errors) = daemon(&["--config", &directory.path().display().to_string()]);
    assert_eq!(code, Some(64));
    assert!(errors.contains(&directory.path().display().to_string()), "{errors}");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_data_directory_is_refused_and_harms_nothing() {
    let nodes = mesh(vec![]).await;
    let config = nodes[0].config_dir().display().to_string();

    let (code, errors) = daemon(&["--config", &config, "--port", "0"]);

    assert_eq!(code, Some(75), "{errors}");
    assert!(errors.contains(&format!("in use by process {} (", nodes[0].pid())), "{errors}");
    assert_eq!(nodes[0].view().await.len(), 1);
}

#[tokio::test]
async fn without_a_mesh_its_routes_answer_503_and_agents_run() {
    let mut spec = Spec::new("alone").echo_agent("echo", 0);
    spec.mesh = false;
    let node = spec.start();
    until("it serves", async || client().get(node.url("/v1/health")).send().await.is_ok()).await;

    let (status, body) = node.post("/v1/mesh/join", &json!({})).await;
    assert_eq!((status, &body["code"]), (503, &json!("mesh_disabled")));
    for path in ["/v1/mesh/state", "/v1/mesh/events", "/v1/mesh/nodes/alone/history"] {
        assert_eq!(node.get(path).await["code"], "mesh_disabled", "{path}");
    }
    assert_eq!(node.get("/v1/system/status").await["mesh"], json!(null));
    let (status, body) = node.post("/v1/agents/echo/run", &json!({"query": "hello"})).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["answer"].as_str().unwrap().contains("hello"));
}

#[tokio::test]
async fn mesh_leave_truly_leaves() {
    let mut nodes = mesh(vec![Spec::new("a").echo_agent("echo", 0), Spec::new("b")]).await;

    let (code, output, errors) = ctl(&nodes[1], &["mesh", "leave"]);

    assert_eq!(code, Some(0), "{output}{errors}");
    let took = until_seen(&[&nodes[0], &nodes[2]], "a", "left").await;
    assert!(took < Duration::from_secs(2), "took {took:?}");
    // Nothing brings it back while it stays up.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for node in &nodes {
        assert_eq!(node.status_of("a").await.as_deref(), Some("left"), "in {}", node.name());
    }
    let (status, body) = nodes[0].post("/v1/agents/echo/run", &json!({"query": "hello"})).await;
    assert_eq!((status, &body["code"]), (503, &json!("agent_unavailable")), "{body}");
    // It serves its own agents to whoever asks it, and a restart takes it back.
    assert_eq!(nodes[1].post("/v1/agents/echo/run", &json!({"query": "hi"})).await.0, 200);
    nodes[1].kill();
    nodes[1].restart();
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_says_goodbye_and_exits_with_0() {
    let mut nodes = mesh(vec![Spec::new("a").echo_agent("slow", 2_000), Spec::new("b")]).await;
    let url = nodes[1].url("/v1/agents/slow/run");
    let run = tokio::spawn(async move {
        let body = json!({"query": "finish me"});
        let response = client().post(url).json(&body).send().await.unwrap();
        response.status().as_u16()
    });
    until_one_runs(&nodes[1]).await;

    nodes[1].signal("TERM");

    until_seen(&[&nodes[0], &nodes[2]], "a", "left").await;
    assert_eq!(run.await.unwrap(), 200);
    assert_eq!(nodes[1].wait().code(), Some(0));
}

#[tokio::test]
async fn a_node_answers_soon_after_its_start() {
    // No assertion on the time: machines differ. It is printed for whoever looks.
    let started = Instant::now();
    let node = Spec::new("quick").start();
    until("it serves", async || client().get(node.url("/v1/health")).send().await.is_ok()).await;
    println!("first 200 after {:?}", started.elapsed());
    assert_eq!(node.get("/v1/health").await["status"], "ok");
}

#[test]
fn the_demo_tells_its_story_and_loses_no_request() {
    let output = Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(["demo", "--requests", "12"])
        .output()
        .unwrap();
    let story = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{story}{errors}");
    assert!(story.contains("12 sent, 12 answered, 0 lost"), "{story}");
    assert!(story.contains("all survivors know"), "{story}");
    assert!(story.contains("no ghost"), "{story}");
    assert!(!story.contains('\u{1b}'), "colours without a terminal: {story}");
}

#[tokio::test]
async fn the_command_line_shows_the_mesh() {
    let nodes = mesh(vec![Spec::new("a").echo_agent("echo", 0)]).await;

    let (code, output, _) = ctl(&nodes[0], &["mesh", "status"]);
    assert_eq!(code, Some(0));
    assert!(output.contains("Alive") && output.contains('2'), "{output}");
    let (code, output, _) = ctl(&nodes[0], &["mesh", "nodes"]);
    assert_eq!(code, Some(0));
    assert!(output.contains("gateway") && output.contains("echo"), "{output}");
    let (code, output, errors) = ctl(&nodes[0], &["run", "echo", "hello from afar"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(output.contains("hello from afar"), "{output}");
    let (code, _, errors) = ctl(&nodes[0], &["run", "nobody", "hello"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("nobody"), "{errors}");
}
