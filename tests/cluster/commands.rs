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
