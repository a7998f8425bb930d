//! What the mesh checks look at: gathered once, from the gossip and from other nodes, all at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::{NodeId, State};
use reqwest::Client;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::ask::{self, Fault, Said};
use crate::directory::{Member, Snapshot};
use crate::gossip::inspect::{Inspection, MemberPath};
use crate::gossip::seeds::Joining;
use crate::gossip::{Handle, Stopped};

/// Members that are listed, the unhealthy first.
pub(super) const MEMBERS_MAX: usize = 256;

/// Live members that are asked over HTTP.
const ASKED_MAX: usize = 64;

/// Members that are probed at once: as many as the engine takes on beside those it watches.
const PROBED_MAX: usize = 64;

/// A member that answered so recently needs no probe.
const FRESH: Duration = Duration::from_secs(10);

/// Longest wait for probes; those of members far away take longer and are not waited for.
const PROBE_MAX: Duration = Duration::from_millis(1_500);

/// How often it is looked whether probes have ended.
const GLANCE: Duration = Duration::from_millis(50);

/// What came of asking a node; `None` when it was not asked or there was no time.
pub(super) type Asked = Option<Result<Said, Fault>>;

/// Why the gossip told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mute {
    /// It has ended.
    Stopped,
    /// Its thread does not answer in time.
    Silent,
}

/// What the gossip answers, if it does in time.
pub(super) async fn within<T>(
    until: Instant,
    answer: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Mute> {
    let answer = timeout_at(until, answer).await.map_err(|_| Mute::Silent)?;
    answer.map_err(|Stopped| Mute::Stopped)
}

/// What the mesh checks look at.
pub(super) struct Network {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) cluster: String,
    pub(super) joining: Joining,
    pub(super) inspection: Inspection,
    pub(super) paths: HashMap<NodeId, MemberPath>,
    pub(super) counters: BTreeMap<String, u64>,
    /// In the order of the seeds in `joining`.
    pub(super) seeds: Vec<Asked>,
    pub(super) members: BTreeMap<NodeId, Result<Said, Fault>>,
    /// This node, at the address it advertises.
    pub(super) itself: Asked,
}

impl Network {
    /// Asks everybody.
    pub(super) async fn gather(
        mesh: &Handle,
        client: &Client,
        until: Instant,
    ) -> Result<Self, Mute> {
        let snapshot = mesh.directory().snapshot();
        let joining = mesh.joining();
        let own_id = snapshot.local.to_string();
        let ask = |url: Url| {
            let own_id = own_id.clone();
            async move { ask::ask(client, &url, &own_id).await }
        };
        let asked: Vec<(NodeId, Url)> = listed(&snapshot)
            .filter(|member| member.is_live())
            .take(ASKED_MAX)
            .filter_map(|member| Some((member.id, Url::parse(&member.url).ok()?)))
            .collect();
        let seeds = joining.seeds.iter().map(|seed| ask(seed.url.clone())).collect();
        let members = asked.iter().map(|(_, url)| ask(url.clone())).collect();
        let itself = snapshot.member(snapshot.local).and_then(|local| Url::parse(&local.url).ok());
        let (inspection, counters, seeds, members, itself) = tokio::join!(
            probed(mesh, &snapshot, until),
            within(until, mesh.counters()),
            ask::all(seeds, until),
            ask::all(members, until),
            ask::all(itself.into_iter().map(ask).collect(), until),
        );
        let inspection = inspection?;
        let members = asked.into_iter().zip(members);
        Ok(Self {
            // Probing may have changed it.
            snapshot: mesh.directory().snapshot(),
            cluster: mesh.cluster().to_owned(),
            joining,
            paths: inspection.members.iter().map(|path| (path.id, *path)).collect(),
            inspection,
            counters: counters?,
            seeds,
            members: members.filter_map(|((id, _), said)| Some((id, said?))).collect(),
            itself: itself.into_iter().next().flatten(),
        })
    }

    /// What other nodes said, whoever they are.
    pub(super) fn said(&self) -> impl Iterator<Item = &Said> {
        let seeds = self.seeds.iter().flatten().filter_map(|said| said.as_ref().ok());
        let members = self.members.values().filter_map(|said| said.as_ref().ok());
        seeds.chain(members).filter(|said| !self.is_itself(said))
    }

    /// Whether this node answered itself.
    pub(super) fn is_itself(&self, said: &Said) -> bool {
        let local = self.snapshot.local.to_string();
        said.mesh.as_ref().is_some_and(|mesh| mesh.node_id == local)
    }
}

/// All members but this node and those that left: the unhealthy first, then by name.
pub(super) fn listed(snapshot: &Snapshot) -> impl Iterator<Item = &Member> {
    let others = snapshot.members.iter().map(AsRef::as_ref);
    let mut others: Vec<&Member> = others
        .filter(|member| member.id != snapshot.local && member.state != State::Left)
        .collect();
    others.sort_by_key(|member| (rank(member.state), member.name.as_str(), member.id));
    others.into_iter()
}

const fn rank(state: State) -> u8 {
    match state {
        State::Dead => 0,
        State::Suspect => 1,
        State::Alive => 2,
        State::Left => 3,
    }
}

/// The paths to all members, after those that are in doubt were probed, twice if need be: one
/// datagram may always be lost.
async fn probed(mesh: &Handle, snapshot: &Snapshot, until: Instant) -> Result<Inspection, Mute> {
    let mut inspection = within(until, mesh.inspect()).await?;
    for _ in 0..2 {
        let live = |path: &&MemberPath| snapshot.member(path.id).is_some_and(Member::is_live);
        let doubtful = inspection.members.iter().filter(|path| !is_fresh(path)).filter(live);
        let ids: Vec<NodeId> = doubtful.map(|path| path.id).take(PROBED_MAX).collect();
        if ids.is_empty() || Instant::now() >= until {
            break;
        }
        let began = Instant::now();
        within(until, mesh.probe(&ids)).await?;
        loop {
            sleep(GLANCE).await;
            inspection = within(until, mesh.inspect()).await?;
            let is_pending = |path: &MemberPath| {
                let latest = [path.direct, path.relayed, path.failed].into_iter().flatten().min();
                ids.contains(&path.id) && latest.is_none_or(|ago| ago > began.elapsed())
            };
            let is_over = began.elapsed() > PROBE_MAX || Instant::now() >= until;
            if is_over || !inspection.members.iter().any(is_pending) {
                break;
            }
        }
    }
    Ok(inspection)
}

/// It answered this node itself lately, and nothing has been worse since.
fn is_fresh(path: &MemberPath) -> bool {
    answers_directly(path) && path.direct.is_some_and(|direct| direct <= FRESH)
}

/// Its last answer came from itself.
pub(super) fn answers_directly(path: &MemberPath) -> bool {
    let Some(direct) = path.direct else { return false };
    let is_later = |other: Option<Duration>| other.is_some_and(|other| other < direct);
    !is_later(path.relayed) && !is_later(path.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(direct: Option<u64>, relayed: Option<u64>, failed: Option<u64>) -> MemberPath {
        let ago = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        MemberPath {
            id: NodeId::from_bytes([1; 16]),
            heard: Duration::ZERO,
            direct: ago(direct),
            relayed: ago(relayed),
            failed: ago(failed),
            round_trip: None,
        }
    }

    #[test]
    fn the_last_outcome_decides_whether_a_member_answers_directly() {
        let rows = [
            ("never probed", path(None, None, None), false, false),
            ("directly", path(Some(1), None, None), true, true),
            ("long ago", path(Some(60), None, None), true, false),
            ("before that a helper", path(Some(1), Some(2), Some(3)), true, true),
            ("a helper since", path(Some(2), Some(1), None), false, false),
            ("nobody since", path(Some(2), Some(3), Some(1)), false, false),
        ];
        for (name, path, directly, fresh) in rows {
            assert_eq!((answers_directly(&path), is_fresh(&path)), (directly, fresh), "{name}");
        }
    }

    #[test]
    fn the_unhealthy_are_listed_first_and_who_left_is_not() {
        let member = |number: u8, name: &str, state: State| {
            let address = ([10, 0, 0, number], 8000).into();
            let member = Member::new(NodeId::from_bytes([number; 16]), name, address);
            Arc::new(Member { state, ..member })
        };
        let snapshot = Snapshot {
            version: 1,
            local: NodeId::from_bytes([1; 16]),
            leader: None,
            term: 1,
            members: vec![
                member(1, "itself", State::Alive),
                member(2, "b", State::Alive),
                member(3, "gone", State::Left),
                member(4, "a", State::Alive),
                member(5, "doubted", State::Suspect),
                member(6, "lost", State::Dead),
            ],
        };
        let names: Vec<&str> = listed(&snapshot).map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["lost", "doubted", "a", "b"]);
    }
}
