//! Configuration and agent files read again, by signal and over HTTP.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::commands::{alone, ctl};
use crate::harness::{Node, Spec, client, mesh, text, until, until_seen, until_whole};

fn agent(name: &str, more: &str) -> String {
    format!("metadata: {{name: {name}}}\nspec:\n  model: {{primary: {{provider: echo}}}}\n{more}")
}

fn agent_path(node: &Node, stem: &str) -> PathBuf {
    node.config_dir().join(format!("agents/{stem}.agent.yaml"))
}

/// As an editor saves: never half a file.
pub(crate) fn write(path: &std::path::Path, contents: &str) {
    let new = path.with_extension("new");
    fs::write(&new, contents).unwrap();
    fs::rename(new, path).unwrap();
}

/// Changes `runtime.yaml`, which is JSON here.
fn edit(node: &Node, change: impl FnOnce(&mut Value)) {
    let path = node.config_dir().join("runtime.yaml");
    let mut runtime: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut runtime["spec"]);
    write(&path, &runtime.to_string());
}

async fn reload(node: &Node) -> Value {
    let (status, answer) = node.post("/v1/system/reload", &Value::Null).await;
    assert_eq!((status, &answer["status"]), (200, &json!("reloaded")), "{answer}");
    answer
}

/// A reload by signal, waited for.
async fn hang_up(node: &Node) -> Value {
    let count = async || node.get("/v1/system/status").await["reload"]["count"].clone();
    let before = count().await;
    node.signal("HUP");
    until("the reload is done", async || count().await != before).await;
    node.get("/v1/system/status").await["reload"].clone()
}

async fn run(node: &Node, agent: &str) -> u16 {
    node.post(&format!("/v1/agents/{agent}/run"), &json!({"query": "q"})).await.0
}

/// What a node believes of another one.
async fn believed(by: &Node, of: &str) -> Value {
    let state = by.state().await.unwrap_or_default();
    let nodes = state["nodes"].as_array().cloned().unwrap_or_default();
    nodes.into_iter().find(|node| node["name"] == of).unwrap_or_default()
}

async fn until_believed(by: &Node, of: &str, field: &str, value: &Value) {
    until(&format!("{} hears {field} {value} of {of}", by.name()), async || {
        believed(by, of).await[field] == *value
    })
    .await;
}

#[tokio::test]
async fn agents_come_change_and_go_and_the_mesh_hears_of_it() {
    let nodes = mesh(vec![Spec::new("a").agent_file("first", &agent("first", ""))]).await;
    let [gateway, worker] = &nodes[..] else { panic!("a gateway and a worker") };
    assert_eq!((run(gateway, "first").await, run(gateway, "second").await), (200, 404));

    write(&agent_path(worker, "second"), &agent("second", ""));
    let answer = reload(worker).await;
    let expected = json!({"added": ["second"], "removed": [], "changed": []});
    assert_eq!((&answer["agents"], &answer["changed"]), (&expected, &json!([])), "{answer}");
    assert_eq!(run(worker, "second").await, 200, "at once");
    until_believed(gateway, "a", "agents", &json!(["first", "second"])).await;
    assert_eq!(run(gateway, "second").await, 200);

    write(&agent_path(worker, "second"), &agent("second", "  idempotent: true\n"));
    let status = hang_up(worker).await;
    assert_eq!((&status["outcome"], &status["failed"]), (&json!("reloaded"), &json!(0)));
    assert!(status["last_at"].as_u64().unwrap() > 1_600_000_000, "{status}");
    until_believed(gateway, "a", "idempotent_agents", &json!(["second"])).await;

    fs::remove_file(agent_path(worker, "first")).unwrap();
    let told = ctl(worker, &["reload"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, "Reloaded.\nAgents removed:  first\n"));
    assert_eq!(run(worker, "first").await, 404, "at once");
    until_believed(gateway, "a", "agents", &json!(["second"])).await;
    assert_eq!((run(gateway, "first").await, run(gateway, "second").await), (404, 200));
    assert_eq!(ctl(worker, &["reload"]).stdout, "Reloaded; nothing has changed.\n");
}

#[tokio::test]
async fn a_run_that_began_before_its_agent_was_removed_is_finished() {
    let spec = Spec::new("a").echo_agent("slow", 1_500);
    let node = alone(spec).await;
    let url = node.url("/v1/agents/slow/run");
    let running = tokio::spawn(async move {
        client().post(url).json(&json!({"query": "q"})).send().await.unwrap().status()
    });
    until("the run has begun", async || {
        let page = client().get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
        page.contains("astromesh_requests_in_flight{at=\"here\"} 1\n")
    })
    .await;
    fs::remove_file(agent_path(&node, "slow")).unwrap();
    reload(&node).await;
    assert_eq!(run(&node, "slow").await, 404);
    assert!(!running.is_finished(), "the reload came while it ran");
    assert_eq!(running.await.unwrap(), 200);
}

#[tokio::test]
async fn with_anything_wrong_nothing_changes_and_everything_wrong_is_told() {
    let mut node = alone(Spec::new("a").agent_file("good", &agent("good", ""))).await;
    node.expect_errors();
    write(&agent_path(&node, "good"), &agent("good", "  max_concurrent: -1\n"));
    write(&agent_path(&node, "new"), &agent("new", ""));
    write(&node.config_dir().join("providers.yaml"), "spec: [");
    edit(&node, |spec| spec["api"]["queue_max"] = json!("many"));

    let (status, body) = node.post("/v1/system/reload", &Value::Null).await;
    assert_eq!((status, &body["code"]), (422, &json!("reload_refused")), "{body}");
    let told: Vec<(String, Value, String, Value)> = body["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            assert!(!text(&problem["remedy"]).is_empty(), "{problem}");
            let file = text(&problem["file"]);
            let file = file.strip_prefix(&*node.config_dir().to_string_lossy()).unwrap();
            let (line, value) = (problem["line"].clone(), problem["value"].clone());
            (file.to_owned(), line, text(&problem["key"]), value)
        })
        .collect();
    let row = |file: &str, line, key: &str, value: Value| {
        (file.to_owned(), json!(line), key.to_owned(), value)
    };
    assert_eq!(told[0], row("/runtime.yaml", 1, "spec.api.queue_max", json!("\"many\"")));
    assert_eq!((told[1].0.as_str(), told.len()), ("/providers.yaml", 3), "{told:?}");
    let file = "/agents/good.agent.yaml";
    assert_eq!(told[2], row(file, 4, "spec.max_concurrent", json!("-1")));

    assert_eq!((run(&node, "good").await, run(&node, "new").await), (200, 404));
    let refused = ctl(&node, &["reload"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("good.agent.yaml:4: spec.max_concurrent"), "{refused:?}");
    assert!(refused.stderr.contains("goes on as it was"), "{refused:?}");

    let status = hang_up(&node).await;
    assert_eq!((&status["outcome"], &status["failed"]), (&json!("refused"), &json!(3)));
    assert_eq!(status["problems"].as_array().unwrap().len(), 3, "{status}");
    until("the problems are logged, once for each of three reloads", async || {
        node.log().matches("good.agent.yaml:4:").count() == 3
    })
    .await;
    let report = node.get("/v1/system/doctor").await;
    assert_eq!(report["checks"]["reload"]["status"], "degraded", "{report}");

    write(&agent_path(&node, "good"), &agent("good", ""));
    fs::remove_file(node.config_dir().join("providers.yaml")).unwrap();
    edit(&node, |spec| spec["api"]["queue_max"] = json!(7));
    let answer = reload(&node).await;
    assert_eq!(answer["changed"], json!(["spec.api.queue_max"]));
    assert_eq!(answer["agents"]["added"], json!(["new"]));
    let status = node.get("/v1/system/status").await["reload"].clone();
    assert_eq!((&status["count"], &status["problems"]), (&json!(4), &json!([])));
    let counters = node.get("/v1/metrics/").await["counters"].clone();
    assert_eq!(counters["astromesh_reloads_total{outcome=\"refused\"}"], 3);
    assert_eq!(counters["astromesh_reloads_total{outcome=\"reloaded\"}"], 1);
}

#[tokio::test]
async fn the_configuration_file_may_be_missing_for_a_while() {
    let mut node = alone(Spec::new("a").echo_agent("echo", 0)).await;
    node.expect_errors();
    let file = node.config_dir().join("runtime.yaml");
    let kept = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let (status, body) = node.post("/v1/system/reload", &Value::Null).await;
    assert_eq!((status, run(&node, "echo").await), (422, 200), "{body}");
    assert!(body["detail"].to_string().contains("runtime.yaml"), "{body}");
    write(&file, &kept);
    reload(&node).await;
}

#[tokio::test]
async fn a_draft_of_the_start_is_mended_by_a_reload() {
    let node = alone(Spec::new("a").agent_file("late", "metadata: {name: late}\nspec: [")).await;
    assert_eq!(run(&node, "late").await, 404);
    write(&agent_path(&node, "late"), &agent("late", ""));
    // A broken file has no name but that of its file, which is the same.
    assert_eq!(reload(&node).await["agents"]["changed"], json!(["late"]));
    assert_eq!(run(&node, "late").await, 200);
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named_until_there_is_one() {
    let node = alone(Spec::new("a")).await;
    edit(&node, |spec| {
        spec["api"]["port"] = json!(node.spec.port + 1);
        spec["api"]["workers"] = json!(2);
        spec["mesh"]["cluster"] = json!("other");
        spec["mesh"]["enabled"] = json!(true);
        spec["api"]["idle_timeout"] = json!(77);
    });
    let waiting =
        json!(["spec.api.port", "spec.api.workers", "spec.mesh.enabled", "spec.mesh.cluster"]);
    let answer = reload(&node).await;
    assert_eq!(
        (&answer["changed"], &answer["needs_restart"]),
        (&json!(["spec.api.idle_timeout"]), &waiting)
    );
    let answer = reload(&node).await;
    assert_eq!((&answer["changed"], &answer["needs_restart"]), (&json!([]), &waiting));
    let status = node.get("/v1/system/status").await;
    assert_eq!((&status["mesh"], &status["reload"]["needs_restart"]), (&Value::Null, &waiting));
    let told = ctl(&node, &["reload"]).stdout;
    assert!(told.contains("Needs a restart: spec.api.port, spec.api.workers"), "{told}");
}

#[tokio::test]
async fn pages_in_a_browser_may_not_reload() {
    let node = alone(Spec::new("a")).await;
    let request = client().post(node.url("/v1/system/reload")).header("origin", "http://evil.test");
    let response = request.send().await.unwrap();
    assert_eq!(response.status().as_u16(), 403);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], "cross_origin");
    assert_eq!(node.get("/v1/system/status").await["reload"]["count"], 0);
}

#[tokio::test]
async fn reloads_that_are_asked_for_together_come_one_after_the_other() {
    let node = alone(Spec::new("a")).await;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..20 {
        let stem = format!("agent-{number}");
        write(&agent_path(&node, &stem), &agent(&stem, ""));
        let request = client().post(node.url("/v1/system/reload"));
        asked.spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() });
    }
    // Each new agent is told by exactly one of them.
    let answers = asked.join_all().await;
    let mut added: Vec<String> = answers
        .iter()
        .flat_map(|answer| answer["agents"]["added"].as_array().unwrap())
        .map(text)
        .collect();
    added.sort();
    let mut expected: Vec<String> = (0..20).map(|number| format!("agent-{number}")).collect();
    expected.sort();
    assert_eq!(added, expected);
    assert_eq!(node.get("/v1/system/status").await["reload"]["count"], 20);
}

#[tokio::test]
async fn limits_and_the_access_log_hold_from_the_next_request_on() {
    let node = alone(Spec::new("a").echo_agent("echo", 0)).await;
    let large = json!({"query": "x".repeat(3_000)});
    let post = async |path: &str| node.post(path, &large).await.0;
    assert_eq!(post("/v1/agents/echo/run").await, 200);
    edit(&node, |spec| {
        spec["api"]["body_bytes_max"] = json!(2_048);
        spec["api"]["access_log"] = json!(false);
    });
    let answer = reload(&node).await;
    assert_eq!(answer["changed"], json!(["spec.api.body_bytes_max", "spec.api.access_log"]));
    assert_eq!(post("/v1/agents/echo/run").await, 413);
    assert_eq!(post("/v1/agents/nobody-logged/run").await, 413);
    edit(&node, |spec| spec["api"]["access_log"] = json!(true));
    reload(&node).await;
    assert_eq!(post("/v1/agents/somebody-logged/run").await, 413);
    until("requests are logged again", async || node.log().contains("somebody-logged")).await;
    assert!(!node.log().contains("nobody-logged"));
}

#[tokio::test]
async fn the_log_level_changes_unless_a_flag_says_it() {
    let node = alone(Spec::new("a")).await;
    let level = async || node.get("/v1/system/log-level").await["level"].clone();
    edit(&node, |spec| spec["log_level"] = json!("debug"));
    assert_eq!(reload(&node).await["changed"], json!(["spec.log_level"]));
    assert_eq!(level().await, "debug");
    let changed = ctl(&node, &["log-level", "error"]);
    assert_eq!((changed.code, level().await), (0, json!("error")));
    reload(&node).await;
    assert_eq!(level().await, "debug", "what is configured is what counts after a reload");

    let flags = vec!["--log-level".to_owned(), "warning".to_owned()];
    let node = alone(Spec { flags, ..Spec::new("b") }).await;
    edit(&node, |spec| spec["log_level"] = json!("debug"));
    assert_eq!(reload(&node).await["changed"], json!([]));
    assert_eq!(node.get("/v1/system/log-level").await["level"], "warning", "the flag says it");
}

#[tokio::test]
async fn a_lone_node_joins_through_seeds_that_it_is_given_later() {
    let (gateway, lone) = (Spec::new("gateway").start(), Spec::new("lone").start());
    until_whole(&[&gateway]).await;
    until_whole(&[&lone]).await;
    edit(&lone, |spec| spec["mesh"]["seeds"] = json!([gateway.spec.url()]));
    assert_eq!(reload(&lone).await["changed"], json!(["spec.mesh.seeds"]));
    until_whole(&[&gateway, &lone]).await;
}

#[tokio::test]
async fn name_and_services_are_announced() {
    let nodes = mesh(vec![Spec::new("a").echo_agent("echo", 0)]).await;
    let [gateway, worker] = &nodes[..] else { panic!("a gateway and a worker") };
    edit(worker, |spec| {
        spec["mesh"]["node_name"] = json!("renamed");
        spec["services"] = json!({"rag": false});
    });
    let answer = reload(worker).await;
    assert_eq!(answer["changed"], json!(["spec.services.rag", "spec.mesh.node_name"]));
    until("the gateway knows the new name", async || {
        let services = believed(gateway, "renamed").await["services"].clone();
        services.as_array().is_some_and(|services| !services.contains(&json!("rag")))
    })
    .await;
    let url = gateway.url("/v1/agents/echo/run");
    let response = client().post(url).json(&json!({"query": "q"})).send().await.unwrap();
    assert_eq!(response.headers()["x-astromesh-node"], "renamed");
    edit(worker, |spec| spec["services"] = json!({"agents": false}));
    assert_eq!(reload(worker).await["agents"]["removed"], json!(["echo"]));
    until_believed(gateway, "renamed", "agents", &json!([])).await;
}

#[tokio::test]
async fn a_new_floor_decides_the_next_death() {
    let patient = |name| Spec::new(name).mesh_key("detection", json!("patient"));
    let gateway = patient("gateway");
    let seeds = [gateway.url()];
    let names = ["a", "b", "c", "d"];
    let mut nodes = vec![gateway.start()];
    nodes.extend(names.map(|name| patient(name).seeds(&seeds).start()));
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        edit(node, |spec| spec["mesh"]["detection"] = json!("fast"));
        assert_eq!(reload(node).await["changed"], json!(["spec.mesh.detection"]));
    }
    let mut victim = nodes.pop().unwrap();
    let others: Vec<&Node> = nodes.iter().collect();
    victim.kill();
    until_seen(&others, victim.name(), "dead").await;
    let mut open = 0.0;
    until("the evidence is known", async || {
        let history = nodes[0].get("/v1/mesh/nodes/d/history").await;
        open = history["verdicts"][0]["open_seconds"].as_f64().unwrap_or_default();
        open > 0.0
    })
    .await;
    assert!(open < 8.0, "a patient mesh waits 8 s, not {open}");
}

#[tokio::test]
async fn a_list_of_agents_longer_than_a_record_is_heard_of_with_each_change() {
    let nodes = mesh(vec![Spec::new("a").echo_agent("agent-000", 0)]).await;
    let [gateway, worker] = &nodes[..] else { panic!("a gateway and a worker") };
    let name = |number: usize| format!("agent-{number:03}-with-a-name-that-takes-its-room");
    let names = |numbers: std::ops::Range<usize>| -> Value {
        let names = std::iter::once("agent-000".to_owned()).chain(numbers.map(name));
        names.collect::<Vec<_>>().into()
    };
    for number in 1..100 {
        write(&agent_path(worker, &name(number)), &agent(&name(number), ""));
    }
    reload(worker).await;
    until_believed(gateway, "a", "agents", &names(1..100)).await;
    assert_eq!(believed(gateway, "a").await["agents_elsewhere"], true);
    assert_eq!(run(gateway, &name(99)).await, 200);
    // Its record says the same as before: that there are many.
    fs::remove_file(agent_path(worker, &name(99))).unwrap();
    reload(worker).await;
    until_believed(gateway, "a", "agents", &names(1..99)).await;
    assert_eq!(run(gateway, &name(99)).await, 404);
    for number in 3..99 {
        fs::remove_file(agent_path(worker, &name(number))).unwrap();
    }
    reload(worker).await;
    until_believed(gateway, "a", "agents", &names(1..3)).await;
    assert_eq!(believed(gateway, "a").await["agents_elsewhere"], Value::Null);
}

#[tokio::test]
async fn static_peers_are_replaced() {
    let first = alone(Spec::new("first").echo_agent("echo", 0)).await;
    let second = alone(Spec::new("second").echo_agent("echo", 0)).await;
    let peer = |node: &Node| json!([{"name": node.name(), "url": node.spec.url(), "services": ["agents"]}]);
    let mut spec = Spec::new("gateway");
    spec.peers = peer(&first);
    let gateway = alone(spec).await;
    let served = async || {
        let request = client().post(gateway.url("/v1/agents/echo/run"));
        let response = request.json(&json!({"query": "q"})).send().await.unwrap();
        response.headers()["x-astromesh-node"].to_str().unwrap().to_owned()
    };
    assert_eq!(served().await, "first");
    edit(&gateway, |spec| spec["peers"] = peer(&second));
    assert_eq!(reload(&gateway).await["changed"], json!(["spec.peers"]));
    assert_eq!(served().await, "second");
    let listed = gateway.get("/v1/system/status").await["peers"].clone();
    assert_eq!(listed[0]["name"], "second", "{listed}");
}
