//! What the nodes of the demo say of each other.
//!
//! Owns the reading of views: when they agree, and what a survivor knew when.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::types::{MeshState, Node};
use crate::cli::client::Client;
use crate::cli::mesh::STATE;

/// How often a view is asked for while something is expected to change.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The node's view, if it answers.
pub(super) async fn of(client: &Client) -> Option<MeshState> {
    client.get(&STATE).await.ok()?.read().ok()
}

/// Whether this view holds exactly `count` members, all alive, and one of them leads.
pub(super) fn is_whole(view: &MeshState, count: usize) -> bool {
    view.nodes.len() == count
        && view.nodes.iter().all(|node| node.status == "alive")
        && leader(view).is_some()
}

/// Whether all views are whole and name the same members and the same leader.
pub(super) fn agree(views: &[MeshState], count: usize) -> bool {
    let ids = |view: &MeshState| {
        let mut ids: Vec<String> = view.nodes.iter().map(|node| node.node_id.clone()).collect();
        ids.sort();
        ids
    };
    let Some(first) = views.first() else { return false };
    views.iter().all(|view| {
        is_whole(view, count) && view.leader_id == first.leader_id && ids(view) == ids(first)
    })
}

/// The member that leads in this view.
pub(super) fn leader(view: &MeshState) -> Option<&Node> {
    let id = view.leader_id.as_ref()?;
    view.nodes.iter().find(|node| node.node_id == *id)
}

/// The member with this name.
pub(super) fn named<'a>(view: &'a MeshState, name: &str) -> Option<&'a Node> {
    view.nodes.iter().find(|node| node.name == name)
}

/// When a survivor's view said what about the member that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sighting {
    /// The survivor.
    pub(super) survivor: String,
    /// Milliseconds after the kill at which it was first seen as suspect; `null` if it went
    /// straight to dead between two looks.
    pub(super) suspect_ms: Option<u64>,
    /// Milliseconds after the kill at which it was first seen as dead.
    pub(super) dead_ms: Option<u64>,
}

impl Sighting {
    /// Nothing seen yet.
    pub(super) fn new(survivor: &str) -> Self {
        Self { survivor: survivor.to_owned(), suspect_ms: None, dead_ms: None }
    }

    /// Takes note of a look at the survivor's view.
    fn note(&mut self, status: &str, elapsed: Duration) {
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        match status {
            "suspect" if self.dead_ms.is_none() => {
                self.suspect_ms.get_or_insert(elapsed_ms);
            }
            "dead" => {
                self.dead_ms.get_or_insert(elapsed_ms);
            }
            _ => {}
        }
    }
}

/// Looks at one survivor's view until it says dead, or for `patience` after the kill.
pub(super) async fn watch_death(
    client: &Client,
    survivor: &str,
    victim_id: &str,
    killed_at: Instant,
    patience: Duration,
) -> Sighting {
    let mut sighting = Sighting::new(survivor);
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while sighting.dead_ms.is_none() && killed_at.elapsed() < patience {
        ticks.tick().await;
        let Some(view) = of(client).await else { continue };
        if let Some(victim) = view.nodes.iter().find(|node| node.node_id == victim_id) {
            sighting.note(&victim.status, killed_at.elapsed());
        }
    }
    sighting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(nodes: &[(&str, &str)], leader: Option<&str>) -> MeshState {
        let nodes: Vec<serde_json::Value> = nodes
            .iter()
            .map(|(id, status)| {
                serde_json::json!({"node_id": id, "name": id, "url": "http://a", "joined_at": 0,
                    "last_heartbeat": 0, "status": status})
            })
            .collect();
        let state = serde_json::json!({"nodes": nodes, "leader_id": leader, "version": 1});
        serde_json::from_value(state).expect("the shape of the API")
    }

    #[test]
    fn views_agree_only_when_all_hold_the_same_living_members_and_leader() {
        let whole = view(&[("a", "alive"), ("b", "alive")], Some("b"));
        let rows = [
            ("same", whole.clone(), true),
            ("other order", view(&[("b", "alive"), ("a", "alive")], Some("b")), true),
            ("other leader", view(&[("a", "alive"), ("b", "alive")], Some("a")), false),
            ("no leader", view(&[("a", "alive"), ("b", "alive")], None), false),
            ("ghost", view(&[("a", "alive"), ("b", "alive"), ("c", "dead")], Some("b")), false),
            ("suspect", view(&[("a", "suspect"), ("b", "alive")], Some("b")), false),
            ("missing", view(&[("b", "alive")], Some("b")), false),
            ("other member", view(&[("b", "alive"), ("c", "alive")], Some("b")), false),
        ];
        for (name, other, expected) in rows {
            assert_eq!(agree(&[whole.clone(), other], 2), expected, "{name}");
        }
        assert!(!agree(&[], 2));
    }

    #[test]
    fn the_first_sight_of_each_state_counts() {
        let mut sighting = Sighting::new("gateway");
        let looks =
            [("alive", 10), ("suspect", 60), ("suspect", 110), ("dead", 900), ("dead", 950)];
        for (status, elapsed_ms) in looks {
            sighting.note(status, Duration::from_millis(elapsed_ms));
        }
        assert_eq!((sighting.suspect_ms, sighting.dead_ms), (Some(60), Some(900)));
    }

    #[test]
    fn a_death_between_two_looks_has_no_suspicion() {
        let mut sighting = Sighting::new("gateway");
        sighting.note("dead", Duration::from_millis(50));
        sighting.note("suspect", Duration::from_millis(100));
        assert_eq!((sighting.suspect_ms, sighting.dead_ms), (None, Some(50)));
    }
}
