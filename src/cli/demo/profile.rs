//! The files of the demo's nodes: the shipped profiles with this host's values put in.
//!
//! Owns which values are changed. It edits values, never text: whatever else a profile says, stays.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::config::yaml;

use super::model::Model;

/// What a node of the demo is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Takes requests and passes them on.
    Gateway,
    /// Runs agents.
    Worker,
    /// Serves models.
    Inference,
}

impl Role {
    fn profile(self) -> &'static str {
        match self {
            Self::Gateway => include_str!("../../../config/profiles/mesh-gateway.yaml"),
            Self::Worker => include_str!("../../../config/profiles/mesh-worker.yaml"),
            Self::Inference => include_str!("../../../config/profiles/mesh-inference.yaml"),
        }
    }
}

const ECHO_AGENT: &str = include_str!("../../../config/agents/echo.agent.yaml");

/// The agent that the demo runs, as its file names it.
pub(super) const AGENT: &str = "echo";

/// What is particular to one node.
#[derive(Debug)]
pub(super) struct Particulars<'a> {
    /// Its label.
    pub(super) name: &'a str,
    /// HTTP on TCP and gossip on UDP, both on loopback.
    pub(super) port: u16,
    /// URLs of the nodes it joins.
    pub(super) seeds: &'a [String],
    /// Where it keeps its identity.
    pub(super) data_dir: &'a Path,
}

/// The `runtime.yaml` of a node.
pub(super) fn runtime(role: Role, node: &Particulars<'_>) -> Result<String, Failure> {
    let mut document = read(role.profile())?;
    let address = "127.0.0.1";
    set(&mut document, &["spec", "api", "host"], json!(address));
    set(&mut document, &["spec", "api", "port"], json!(node.port));
    set(&mut document, &["spec", "data_dir"], json!(node.data_dir));
    // Not that of a daemon of the system.
    set(&mut document, &["spec", "pid_file"], json!(node.data_dir.join("astromeshd.pid")));
    set(&mut document, &["spec", "mesh", "node_name"], json!(node.name));
    set(&mut document, &["spec", "mesh", "bind"], json!(format!("{address}:{}", node.port)));
    set(&mut document, &["spec", "mesh", "seeds"], json!(node.seeds));
    write(&document)
}

/// The file of the agent, with its model replaced.
pub(super) fn agent(model: &Model) -> Result<String, Failure> {
    let mut document = read(ECHO_AGENT)?;
    set(&mut document, &["spec", "model"], json!({"primary": model.block()}));
    write(&document)
}

/// Puts a value in its place; mappings that are missing on the way are made.
fn set(document: &mut Value, path: &[&str], value: Value) {
    let mut place = document;
    for key in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*key];
    }
    *place = value;
}

fn read(text: &str) -> Result<Value, Failure> {
    yaml::read(text).map_err(|error| local(&error))
}

fn write(document: &Value) -> Result<String, Failure> {
    yaml::write(document).map_err(|error| local(&error))
}

fn local(error: &yaml::YamlError) -> Failure {
    Failure::Local { doing: "adapt a shipped profile", cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_keep_all_but_the_values_of_this_host() {
        for role in [Role::Gateway, Role::Worker, Role::Inference] {
            let seeds = ["http://127.0.0.1:4000".to_owned()];
            let node = Particulars {
                name: "worker-2",
                port: 4002,
                seeds: &seeds,
                data_dir: Path::new("/tmp/with space: #"),
            };
            let text = runtime(role, &node).expect("shipped profiles are valid");
            let mut edited: Value = read(&text).expect("YAML");
            let spec = &edited["spec"];
            assert_eq!(spec["api"], json!({"host": "127.0.0.1", "port": 4002, "workers": "auto"}));
            assert_eq!(spec["data_dir"], json!("/tmp/with space: #"));
            assert_eq!(spec["pid_file"], json!("/tmp/with space: #/astromeshd.pid"));
            assert_eq!(spec["mesh"]["enabled"], json!(true), "{role:?}");
            assert_eq!(spec["mesh"]["node_name"], json!("worker-2"));
            assert_eq!(spec["mesh"]["bind"], json!("127.0.0.1:4002"));
            assert_eq!(spec["mesh"]["seeds"], json!(seeds));

            let mut shipped = read(role.profile()).expect("YAML");
            assert_eq!(edited["spec"]["services"], shipped["spec"]["services"]);
            for document in [&mut edited, &mut shipped] {
                for key in ["api", "data_dir", "pid_file"] {
                    document["spec"].as_object_mut().expect("mapping").remove(key);
                }
                let mesh = document["spec"]["mesh"].as_object_mut().expect("mapping");
                for key in ["node_name", "bind", "seeds"] {
                    mesh.remove(key);
                }
            }
            assert_eq!(edited, shipped, "{role:?}");
        }
    }

    #[test]
    fn the_agent_has_its_model_replaced_and_its_name_kept() {
        let text = agent(&Model::Echo { delay_ms: 150 }).expect("the shipped agent is valid");
        let document: Value = read(&text).expect("YAML");
        assert_eq!(document["metadata"]["name"], json!(AGENT));
        let primary = &document["spec"]["model"]["primary"];
        assert_eq!(primary["provider"], json!("echo"));
        assert_eq!(primary["parameters"]["delay_ms"], json!(150));
    }

    #[test]
    fn missing_mappings_are_made() {
        let mut document = json!({"a": null});
        set(&mut document, &["a", "b", "c"], json!(1));
        assert_eq!(document, json!({"a": {"b": {"c": 1}}}));
    }
}
