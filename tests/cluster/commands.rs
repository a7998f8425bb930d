//! The commands of `astromeshctl` against real daemons.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{Node, Spec, until};

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Its stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs a command against a node.
pub(crate) fn ctl(node: &Node, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_astromeshctl"));
    command.env_clear().args(["--url", &node.spec.url()]).args(arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    Outcome {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Starts a node without a mesh and waits until it answers.
pub(crate) async fn alone(mut spec: Spec) -> Node {
    spec.mesh = false;
    let node = spec.start();
    until("the node answers", async || {
        crate::harness::client().get(node.url("/v1/health")).send().await.is_ok()
    })
    .await;
    node
}

#[tokio::test]
async fn agents_run_on_providers_by_name_and_broken_files_are_told() {
    let providers = "spec: {providers: {local: {type: echo, models: [m1]}}}";
    let refers = "metadata: {name: refers}\nspec: {model: {primary: {providerRef: local}}}\n";
    let lost = "metadata: {name: lost}\nspec: {model: {primary: {providerRef: gone}}}\n";
    let spec = Spec::new("a").file("providers.yaml", providers).file("providers2.yaml", "spec: [");
    let node = alone(spec.agent_file("refers", refers).agent_file("lost", lost)).await;

    let run = ctl(&node, &["run", "refers", "hello"]);
    assert!(run.stdout.starts_with("echo: hello") && run.stderr.contains("node: a"), "{run:?}");
    let listed = ctl(&node, &["agents", "list"]).stdout;
    assert!(listed.contains("spec.model.primary.providerRef: \"gone\": no provider"), "{listed}");
    let table = ctl(&node, &["providers", "list"]).stdout;
    assert!(table.contains("local") && table.contains("refers"), "{table}");
    assert!(table.contains("broken file: providers2.yaml:"), "{table}");
    let list = ctl(&node, &["providers", "list", "--json"]).json();
    assert_eq!(list["providers"][0]["used_by"], json!(["refers"]), "{list}");
    let problems = &node.get("/v1/system/status").await["provider_problems"];
    assert_eq!(problems, &list["problems"]);
    assert!(ctl(&node, &["status"]).stdout.contains("providers2.yaml:"));
}

#[tokio::test]
async fn tools_are_listed_and_tried_within_their_limits() {
    let node = alone(Spec::new("a")).await;

    let list = ctl(&node, &["tools", "list"]).stdout;
    assert!(list.contains("http_request") && list.contains("[timezone]"), "{list}");
    let schemas = ctl(&node, &["tools", "list", "--json"]).json();
    assert_eq!(schemas["count"], 3);
    assert_eq!(schemas["tools"][1]["parameters"]["type"], "object");
    assert_eq!(node.get("/v1/tools/").await["tools"][0]["type"], "builtin");

    let now = ctl(&node, &["tools", "test", "datetime_now", r#"{"timezone": "Asia/Tokyo"}"#]);
    assert_eq!((now.code, now.stderr.as_str()), (0, "ok\n"), "{now:?}");
    assert!(now.stdout.contains("\"timezone\": \"Asia/Tokyo\""), "{now:?}");

    // The node itself is no public address.
    let arguments = json!({"url": node.url("/v1/health")}).to_string();
    let refused = ctl(&node, &["tools", "test", "http_request", &arguments, "--json"]);
    assert_eq!((refused.code, refused.stderr.as_str()), (1, ""), "{refused:?}");
    let answer: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(answer["status"], "failed");
    assert!(answer["result"]["error"].as_str().unwrap().contains("is not public"), "{answer}");

    let unknown = ctl(&node, &["tools", "test", "sql_query"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("tools list"), "{unknown:?}");
    let file = node.config_dir().join("arguments.json");
    std::fs::write(&file, r#"{"data": {"a": 1}, "template": "{{ data.a }}"}"#).unwrap();
    let file = file.display().to_string();
    let read = ctl(&node, &["tools", "test", "json_transform", &file, "--json"]).json();
    assert_eq!(read["result"]["data"], 1);
    for wrong in ["[1]", "{", "/nowhere.json"] {
        let outcome = ctl(&node, &["tools", "test", "datetime_now", wrong]);
        assert_eq!(outcome.code, 2, "{outcome:?}");
    }
}

#[tokio::test]
async fn tools_are_tried_by_no_page_and_not_where_they_are_off() {
    let mut spec = Spec::new("a");
    spec.services = json!({"tools": false});
    let node = alone(spec).await;
    let body = json!({"tool_name": "datetime_now", "arguments": {}});
    let (status, answer) = node.post("/v1/tools/execute", &body).await;
    assert_eq!((status, &answer["code"]), (503, &json!("tools_off")), "{answer}");
    let url = node.url("/v1/tools/execute");
    let page = crate::harness::client().post(url).header("origin", "http://elsewhere").json(&body);
    let answer: Value = page.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["code"], "cross_origin");
}

#[tokio::test]
async fn the_node_is_described_a_part_at_a_time() {
    let mut spec = Spec::new("a").echo_agent("echo", 0);
    spec.services = json!({"rag": false});
    let node = alone(spec).await;

    let services = ctl(&node, &["services"]).stdout;
    let state = |name: &str| {
        let line = services.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!((state("rag"), state("agents")), ("off".to_owned(), "on".to_owned()));
    assert_eq!(ctl(&node, &["services", "--json"]).json()["services"]["rag"], false);
    assert_eq!(ctl(&node, &["peers", "list"]).stdout, "No static peers.\n");
    let version = env!("CARGO_PKG_VERSION");
    let said = ctl(&node, &["version"]).stdout;
    assert_eq!(said, format!("astromeshctl {version}\nastromeshd   {version}\n"));
    let json = ctl(&node, &["version", "--json"]).json();
    assert_eq!(json, json!({"cli": version, "daemon": version}));

    let shown = ctl(&node, &["agents", "show", "echo"]).stdout;
    assert!(shown.starts_with("Name       echo\n"), "{shown}");
    assert!(shown.contains("Nodes      a\n\napiVersion: astromesh/v1\n"), "{shown}");
    assert!(shown.contains("    primary:\n      provider: echo\n"), "{shown}");
    let document = ctl(&node, &["agents", "show", "echo", "--json"]).json();
    assert_eq!(document["metadata"]["name"], "echo");
    assert_eq!(ctl(&node, &["agents", "show", "nobody"]).code, 1);
}

#[tokio::test]
async fn static_peers_are_listed_and_a_mesh_has_none() {
    let mut spec = Spec::new("a");
    spec.peers = json!([{"name": "b", "url": "http://127.0.0.1:1", "services": ["agents"]}]);
    let node = alone(spec).await;
    let peers = ctl(&node, &["peers", "list"]).stdout;
    assert!(peers.contains("http://127.0.0.1:1"), "{peers}");

    let nodes = crate::harness::mesh(vec![]).await;
    let none = ctl(&nodes[0], &["peers", "list"]);
    assert!(none.code == 0 && none.stdout.contains("mesh nodes"), "{none:?}");
}

/// Commands whose `--json` is tried where they are, or that have none.
const ELSEWHERE: [&str; 11] = [
    "completions",
    "config patch",
    "config show",
    "config validate",
    "daemon",
    "demo",
    "init",
    "mesh events",
    "mesh simulate",
    "new agent",
    "validate",
];

/// The commands below these words, as the help lists them.
fn commands(words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| line.starts_with("  ")).filter_map(|line| {
        let is_name = !line.starts_with("   ");
        is_name.then(|| line.split_whitespace().next().unwrap().to_owned())
    });
    let mut found = Vec::new();
    for name in names.filter(|name| name != "help") {
        let words: Vec<&str> = words.iter().copied().chain([name.as_str()]).collect();
        let below = commands(&words);
        if below.is_empty() {
            found.push(words.join(" "));
        }
        found.extend(below);
    }
    found
}

#[tokio::test]
async fn every_command_speaks_json() {
    let nodes = crate::harness::mesh(vec![Spec::new("a").echo_agent("echo", 0)]).await;
    let node = &nodes[1];
    let id = ctl(node, &["run", "echo", "hi", "--json"]).json();
    let id = crate::harness::text(&id["trace"]["trace_id"]);
    let pages = node.config_dir().join("man").display().to_string();
    let rows: &[&[&str]] = &[
        &["status"],
        &["doctor"],
        &["health"],
        &["services"],
        &["version"],
        &["log-level"],
        &["reload"],
        &["peers", "list"],
        &["providers", "list"],
        &["models", "list"],
        &["agents", "list"],
        &["agents", "show", "echo"],
        &["tools", "list"],
        &["tools", "test", "datetime_now"],
        &["run", "echo", "hi"],
        &["traces", "list", "echo"],
        &["trace", &id],
        &["metrics", "--agent", "echo"],
        &["cost"],
        &["man", "--output-dir", &pages],
        &["mesh", "status"],
        &["mesh", "nodes"],
        &["mesh", "why", "a"],
        // The last one: the node is a member no more.
        &["mesh", "leave"],
    ];
    let all = commands(&[]);
    let is_there = |row: &&[&str]| all.iter().any(|name| row.join(" ").starts_with(name.as_str()));
    for row in rows.iter().filter(|row| is_there(row)) {
        let outcome = ctl(node, &[row, &["--json"][..]].concat());
        // An unhealthy node, such as one on a crowded host, is no failure to say so.
        let is_fine = outcome.code == 0 || (row[0] == "doctor" && outcome.code == 1);
        assert!(is_fine && outcome.stderr.is_empty(), "{row:?}: {outcome:?}");
        let answer: Result<Value, _> = serde_json::from_str(&outcome.stdout);
        assert!(answer.is_ok_and(|answer| answer.is_object()), "{row:?}: {outcome:?}");
    }
    let is_tried = |name: &String| rows.iter().any(|row| row.join(" ").starts_with(name.as_str()));
    let forgotten: Vec<_> =
        all.iter().filter(|name| !is_tried(name) && !ELSEWHERE.contains(&name.as_str())).collect();
    assert!(forgotten.is_empty(), "try --json of {forgotten:?} here, or name them in ELSEWHERE");
}

#[tokio::test]
async fn wide_tables_have_more_columns_and_break_no_lines() {
    let agents = (0..12).map(|number| format!("an-agent-with-a-long-name-{number}"));
    let spec = agents.fold(Spec::new("a"), |spec, name| spec.echo_agent(&name, 0));
    let nodes = crate::harness::mesh(vec![spec]).await;
    until("the agents are known", async || {
        ctl(&nodes[0], &["mesh", "nodes"]).stdout.contains("long-name-11")
    })
    .await;
    let narrow = ctl(&nodes[0], &["mesh", "nodes"]).stdout;
    assert!(narrow.lines().count() > 3, "{narrow}");
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    let id = nodes[1].id().await;
    assert!(!narrow.contains(&id), "{narrow}");
    for arguments in [["mesh", "nodes", "-o", "wide"], ["mesh", "nodes", "--output", "wide"]] {
        let wide = ctl(&nodes[0], &arguments).stdout;
        assert_eq!(wide.lines().count(), 3, "{wide}");
        assert!(wide.contains(&id) && wide.contains("an-agent-with-a-long-name-11"), "{wide}");
    }
    let json = ctl(&nodes[0], &["-o", "json", "mesh", "nodes"]).json();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(ctl(&nodes[0], &["mesh", "nodes", "-o", "yaml"]).code, 2);
}

#[test]
fn completions_and_man_pages_are_written_without_a_daemon() {
    let ctl = |arguments: &[&str]| {
        let command =
            Command::new(env!("CARGO_BIN_EXE_astromeshctl")).args(arguments).output().unwrap();
        assert!(command.status.success(), "{command:?}");
        String::from_utf8(command.stdout).unwrap()
    };
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")] {
        let script = ctl(&["completions", shell]);
        assert!(script.contains(word) && script.contains("simulate"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().display().to_string();
    ctl(&["man", "--output-dir", &output]);
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("man1/astromeshctl-traces-list.1").contains("\\-\\-last"));
    assert!(page("man8/astromeshd.8").contains("\\-\\-config"));
    let count = std::fs::read_dir(directory.path().join("man1")).unwrap().count();
    assert!(count > commands(&[]).len(), "{count} pages");
}
