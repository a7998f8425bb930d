//! From the keys under `spec.mesh` to the settings of the engine.
//!
//! Owns this mapping, so that a daemon and a simulation of it run the same engine. Refuses to read
//! or check the configuration.

use std::time::Duration;

use astromesh_swim::Config;
use astromesh_swim::detector::{DetectorConfig, Rule};

use crate::config::{Detection, Mesh};

/// The timing keys of the configuration are upper bounds; the engine is faster by default.
#[must_use]
pub fn engine(mesh: &Mesh) -> Config {
    let default = Config::default();
    let suspicion_max = mesh.dead_timeout.saturating_sub(mesh.failure_timeout);
    let rule = match mesh.detection {
        Detection::Evidence { floor } => Rule::Evidence { floor: floor.min(mesh.dead_timeout / 2) },
        Detection::Lifeguard => Rule::Lifeguard,
    };
    let probe_interval = default.probe_interval.min(mesh.heartbeat_interval);
    Config {
        probe_interval,
        probe_timeout: default.probe_timeout.min(probe_interval / 2),
        gossip_interval: default.gossip_interval.min(mesh.gossip_interval),
        gossip_fanout: mesh.gossip_fanout,
        give_up_after: mesh.dead_timeout,
        detector: DetectorConfig {
            rule,
            floor_max: mesh.dead_timeout.saturating_sub(FIRST_PROBE_MAX),
            suspicion_max: default.detector.suspicion_max.min(suspicion_max),
            ..default.detector
        },
        ..default
    }
}

/// From a member's death to the end of its first probe, at most; with a floor after it the death
/// comes no later than `dead_timeout`.
const FIRST_PROBE_MAX: Duration = Duration::from_secs(2);
