//! The JSON of a reload.

use serde::{Deserialize, Serialize};

/// The answer to `POST /v1/system/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadAnswer {
    /// Always `reloaded`.
    pub status: String,
    /// Keys of `runtime.yaml` that changed and take effect; `providers` if those did.
    pub changed: Vec<String>,
    /// Keys that changed, and stay as they were until a restart.
    pub needs_restart: Vec<String>,
    /// Names of agents.
    pub agents: AgentChanges,
    /// What is odd, but no reason to refuse.
    pub warnings: Vec<String>,
}

/// In what the agents differ from before; each list is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentChanges {
    /// New ones.
    pub added: Vec<String>,
    /// Those whose files are gone.
    pub removed: Vec<String>,
    /// Those whose files, or providers, say something else.
    pub changed: Vec<String>,
}

/// How the configuration was read again since the start, in `GET /v1/system/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// How often that was asked for.
    pub count: u64,
    /// How often it was refused.
    pub failed: u64,
    /// When it was asked for last, in seconds since 1970.
    pub last_at: Option<u64>,
    /// `reloaded` or `refused`: what came of that.
    pub outcome: Option<String>,
    /// Why the last one was refused.
    pub problems: Vec<ConfigProblem>,
    /// Keys that changed in the file, and wait for a restart.
    pub needs_restart: Vec<String>,
}

/// Something that is wrong with the configuration or an agent file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// All of it on one line.
    pub msg: String,
    /// `FILE:LINE`, or the variable or the flag that is meant.
    pub origin: String,
    /// The file.
    pub file: Option<String>,
    /// Line in it, counted from 1; `null` when all of it is meant.
    pub line: Option<usize>,
    /// Such as `spec.mesh.seeds[1]`; empty when no key is meant.
    pub key: String,
    /// What stands there; `***` for secrets.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}
