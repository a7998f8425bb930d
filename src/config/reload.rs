//! Which settings a running node takes over, and which wait for its next start.
//!
//! Owns one table: for each key that has an effect, how to tell whether it changed and when the
//! change takes effect. The reference in `docs/configuration.md` shows it. Refuses to apply any of
//! it: the node does.

use std::net::SocketAddr;

use astromesh_wire::Service;

use super::runtime::{Detection, Runtime};

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// With a reload.
    Reload,
    /// With the next start.
    Restart,
}

/// One key with an effect.
struct Setting {
    path: &'static str,
    when: When,
    is_same: fn(&Runtime, &Runtime) -> bool,
    /// Gives the first one the value of the second one.
    keep: fn(&mut Runtime, &Runtime),
}

/// A key and the field that holds its value.
macro_rules! setting {
    ($path:literal, $when:ident, $($field:ident).+) => {
        setting!($path, $when, $($field).+, |a, b| a.$($field).+ == b.$($field).+)
    };
    ($path:literal, $when:ident, $($field:ident).+, $is_same:expr) => {
        Setting {
            path: $path,
            when: When::$when,
            is_same: $is_same,
            keep: |to, from| to.$($field).+ = from.$($field).+.clone(),
        }
    };
}

/// A key below `spec.services`.
macro_rules! service {
    ($path:literal, $service:ident) => {
        setting!($path, Reload, services, |a, b| {
            a.services.contains(Service::$service) == b.services.contains(Service::$service)
        })
    };
}

/// A key below `spec.log.levels`.
macro_rules! level {
    ($path:literal) => {
        setting!($path, Reload, log.levels, |a, b| {
            let module = $path.rsplit('.').next().unwrap_or_default();
            a.log.levels.get(module) == b.log.levels.get(module)
        })
    };
}

/// In the order of the table of keys.
const SETTINGS: &[Setting] = &[
    setting!("spec.data_dir", Restart, data_dir),
    setting!("spec.pid_file", Restart, pid_file),
    setting!("spec.drain_timeout", Reload, drain_timeout),
    setting!("spec.log_level", Reload, log_level),
    setting!("spec.log.format", Restart, log.format),
    level!("spec.log.levels.agent"),
    level!("spec.log.levels.api"),
    level!("spec.log.levels.config"),
    level!("spec.log.levels.directory"),
    level!("spec.log.levels.doctor"),
    level!("spec.log.levels.gossip"),
    level!("spec.log.levels.inference"),
    level!("spec.log.levels.model"),
    level!("spec.log.levels.node"),
    level!("spec.log.levels.proxy"),
    level!("spec.log.levels.routing"),
    level!("spec.log.levels.telemetry"),
    level!("spec.log.levels.libraries"),
    setting!("spec.log.file.enabled", Restart, log.file.enabled),
    setting!("spec.log.file.directory", Restart, log.file.directory, |a, b| {
        let is_default =
            |runtime: &Runtime| runtime.log.file.directory.starts_with(&runtime.data_dir);
        a.log.file.directory == b.log.file.directory || (is_default(a) && is_default(b))
    }),
    setting!("spec.log.file.format", Restart, log.file.format, |a, b| {
        let is_default =
            |runtime: &Runtime| runtime.log.file.format == runtime.log.format.of_file();
        a.log.file.format == b.log.file.format || (is_default(a) && is_default(b))
    }),
    setting!("spec.log.file.bytes_max", Restart, log.file.bytes_max),
    setting!("spec.log.file.files_max", Restart, log.file.files_max),
    setting!("spec.api.host", Restart, api.host),
    setting!("spec.api.port", Restart, api.port),
    setting!("spec.api.body_bytes_max", Reload, api.body_bytes_max),
    setting!("spec.api.max_concurrent", Reload, api.max_concurrent),
    setting!("spec.api.model_max_concurrent", Reload, api.model_max_concurrent),
    setting!("spec.api.queue_max", Reload, api.queue_max),
    setting!("spec.api.queue_timeout", Reload, api.queue_timeout),
    setting!("spec.api.connect_timeout", Reload, api.connect_timeout),
    setting!("spec.api.first_byte_timeout", Reload, api.first_byte_timeout),
    setting!("spec.api.idle_timeout", Reload, api.idle_timeout),
    setting!("spec.api.total_timeout", Reload, api.total_timeout),
    setting!("spec.api.workers", Restart, api.workers),
    setting!("spec.api.access_log", Reload, api.access_log),
    service!("spec.services.api", Api),
    service!("spec.services.agents", Agents),
    service!("spec.services.inference", Inference),
    service!("spec.services.memory", Memory),
    service!("spec.services.tools", Tools),
    service!("spec.services.channels", Channels),
    service!("spec.services.rag", Rag),
    service!("spec.services.observability", Observability),
    setting!("spec.peers", Reload, peers),
    setting!("spec.mesh.enabled", Restart, mesh.enabled),
    setting!("spec.mesh.node_name", Reload, mesh.node_name),
    setting!("spec.mesh.cluster", Restart, mesh.cluster),
    setting!("spec.mesh.bind", Restart, mesh.bind, |a, b| {
        let is_default = |runtime: &Runtime| {
            runtime.mesh.bind == SocketAddr::new(runtime.api.host, runtime.api.port)
        };
        a.mesh.bind == b.mesh.bind || (is_default(a) && is_default(b))
    }),
    setting!("spec.mesh.advertise", Restart, mesh.advertise),
    setting!("spec.mesh.seeds", Reload, mesh.seeds),
    setting!("spec.mesh.heartbeat_interval", Reload, mesh.heartbeat_interval),
    setting!("spec.mesh.gossip_interval", Reload, mesh.gossip_interval),
    setting!("spec.mesh.gossip_fanout", Reload, mesh.gossip_fanout),
    setting!("spec.mesh.detection", Reload, mesh.detection),
    setting!("spec.mesh.failure_timeout", Reload, mesh.failure_timeout),
    setting!("spec.mesh.dead_timeout", Reload, mesh.dead_timeout),
    setting!("spec.observability.otlp.enabled", Reload, otlp.enabled),
    setting!("spec.observability.otlp.endpoint", Reload, otlp.endpoint, |a, b| {
        let is_default = |runtime: &Runtime| runtime.otlp.is_default_endpoint();
        a.otlp.endpoint == b.otlp.endpoint || (is_default(a) && is_default(b))
    }),
    setting!("spec.observability.otlp.protocol", Reload, otlp.protocol),
    setting!("spec.observability.otlp.sample", Reload, otlp.sample),
];

/// When a change of this key, or of a key in its list, takes effect; `None` for keys without one.
pub(super) fn when(path: &str) -> Option<When> {
    let path = path.split("[]").next().unwrap_or(path);
    SETTINGS.iter().find(|setting| setting.path == path).map(|setting| setting.when)
}

/// What a reload makes of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What holds from now on: the new settings, and the old ones where a change needs a restart.
    pub runtime: Runtime,
    /// Keys that changed and take effect.
    pub changed: Vec<&'static str>,
    /// Keys that changed and wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Puts a new configuration over the one that a node runs with.
#[must_use]
pub fn reload(running: &Runtime, new: &Runtime) -> Reloaded {
    let mut reloaded =
        Reloaded { runtime: new.clone(), changed: Vec::new(), needs_restart: Vec::new() };
    for setting in SETTINGS {
        let waits = setting.when == When::Restart || is_another_rule(setting, running, new);
        if waits {
            (setting.keep)(&mut reloaded.runtime, running);
        }
        match ((setting.is_same)(running, new), waits) {
            (true, _) => {}
            (false, true) => reloaded.needs_restart.push(setting.path),
            (false, false) => reloaded.changed.push(setting.path),
        }
    }
    reloaded
}

/// Doubts that are open cannot be carried over from votes to waiting, nor back.
fn is_another_rule(setting: &Setting, running: &Runtime, new: &Runtime) -> bool {
    let is_lifeguard = |runtime: &Runtime| runtime.mesh.detection == Detection::Lifeguard;
    setting.path == "spec.mesh.detection" && is_lifeguard(running) != is_lifeguard(new)
}
