//! The texts of new files.
//!
//! Owns their layout. What a role offers comes from the profiles that are shipped, which are in this
//! program, so that it needs none of them installed.

use std::fmt::Write as _;

use super::{Answers, Role};
use crate::cli::failure::Failure;
use crate::cli::new::scalar;
use crate::config::yaml::Document;

/// An agent that needs no model server.
pub(super) const ECHO_AGENT: &str = include_str!("../../../config/agents/echo.agent.yaml");

impl Role {
    /// The profile of this role, without a mesh.
    const fn profile(self) -> &'static str {
        match self {
            Self::Full => include_str!("../../../config/profiles/full.yaml"),
            Self::Gateway => include_str!("../../../config/profiles/gateway.yaml"),
            Self::Worker => include_str!("../../../config/profiles/worker.yaml"),
            Self::Inference => include_str!("../../../config/profiles/inference.yaml"),
        }
    }

    /// What the role offers, a service a line.
    fn services(self) -> Result<String, Failure> {
        let profile = Document::parse(self.profile()).map_err(|error| Failure::Local {
            doing: "read a profile",
            cause: error.to_string(),
        })?;
        let services = profile.at("spec.services").and_then(|services| services.as_object());
        let lines =
            services.into_iter().flatten().fold(String::new(), |mut lines, (name, is_on)| {
                let _infallible = writeln!(lines, "    {name}: {is_on}");
                lines
            });
        Ok(lines)
    }
}

/// The text of `runtime.yaml`.
pub(super) fn runtime(answers: &Answers) -> Result<String, Failure> {
    let role = answers.role.name();
    let place = if answers.mesh.is_some() { "in a mesh" } else { "without a mesh" };
    let host = if answers.is_alone() { "127.0.0.1" } else { "0.0.0.0" };
    let mut text = format!(
        "# A node of role {role}, {place}.
# Keys that are not here have their defaults; `astromeshctl config show` prints them all.
apiVersion: astromesh/v1
kind: RuntimeConfig
metadata:
  name: {role}

spec:
  api:
    host: {host}
    port: {}
    workers: auto

  services:
{}",
        answers.port,
        answers.role.services()?
    );
    let Some(mesh) = &answers.mesh else {
        text.push_str(
            "
  # Other nodes, as there is no mesh to find them. An item looks like this:
  #   - name: worker-1
  #     url: http://worker:8000
  #     services: [agents, tools, memory, rag]
  peers: []
",
        );
        return Ok(text);
    };
    text.push_str(
        "
  # Gossip shares the port in spec.api: HTTP on TCP, gossip on UDP.
  mesh:
    enabled: true
",
    );
    match &mesh.name {
        Some(name) => {
            let _infallible = writeln!(text, "    node_name: {}", scalar(name));
        }
        None => text.push_str("    # node_name: node-1         # default: the name of the host\n"),
    }
    if mesh.seeds.is_empty() {
        text.push_str("    seeds: []                   # the others join through this node\n");
    } else {
        text.push_str("    seeds:\n");
    }
    for seed in &mesh.seeds {
        let _infallible = writeln!(text, "      - {}", scalar(seed));
    }
    Ok(text)
}

/// The text of `.env`: a line for the key of the provider, to be filled in.
pub(super) fn env_file(answers: &Answers) -> String {
    let variable = answers.provider.key_variable().unwrap_or("OPENAI_API_KEY");
    format!(
        "# Keys for the daemon: NAME=VALUE, a line each. A systemd unit reads this file with
# EnvironmentFile=; a shell with: set -a; . FILE; set +a
# To use this line, write the key behind it and remove the # before it:
# {variable}=
"
    )
}
