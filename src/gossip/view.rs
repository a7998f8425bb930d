//! From the engine's members to a snapshot of the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use astromesh_swim::{Engine, Instant, Member};
use astromesh_wire::{Agent, Agents, Metadata, NodeId, ShortId, State};

use super::history::ids_of;
use super::json::HeardAt;
use crate::directory::{self, Snapshot, models};

/// The engine's clock, and how its points are shown to people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: std::time::Instant,
    /// Seconds since 1970 at `started`. For display only: nothing is decided by it.
    started_unix: f64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: std::time::Instant::now(), started_unix: unix.as_secs_f64() }
    }

    pub(super) fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    pub(super) fn std(&self, at: Instant) -> std::time::Instant {
        self.started + Duration::from_micros(at.as_micros())
    }

    pub(super) fn unix(&self, at: Instant) -> f64 {
        self.started_unix + Duration::from_micros(at.as_micros()).as_secs_f64()
    }
}

/// Makes snapshots, each with a higher version than the one before. What a member announces is
/// decoded once, however many snapshots show it: with thousands of members there is a change of one
/// or another all the time.
#[derive(Debug)]
pub(super) struct View {
    clock: Clock,
    version: u64,
    /// Every member but the local one, as shown last.
    members: BTreeMap<NodeId, Arc<directory::Member>>,
    /// The local one.
    local: Option<Arc<directory::Member>>,
    /// What `members` were made from, in the order in which the engine lists them.
    versions: Vec<Version>,
    /// Agents of members that have too many for their record, with the edition they belong to.
    agents: BTreeMap<NodeId, ((u32, u32), Vec<Agent>)>,
}

impl View {
    pub(super) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            version: 0,
            members: BTreeMap::new(),
            local: None,
            versions: Vec::new(),
            agents: BTreeMap::new(),
        }
    }

    /// The mesh as the engine sees it now.
    pub(super) fn snapshot(&mut self, engine: &Engine, own_agents: &[Agent]) -> Snapshot {
        self.version += 1;
        self.catch_up(engine);
        let mut local = self.member(engine.local());
        show_agents(&mut local, own_agents.to_vec());
        let mut members: Vec<_> = self.members.values().map(Arc::clone).collect();
        let place = members.partition_point(|member| member.id < local.id);
        let local = Arc::new(local);
        self.local = Some(Arc::clone(&local));
        members.insert(place, local);
        Snapshot {
            version: self.version,
            local: engine.local().record.id,
            leader: engine.leader(),
            term: engine.term(),
            members,
        }
    }

    /// Whether this member's agents have to be asked for.
    pub(super) fn lacks_agents(&self, member: &Member) -> bool {
        let elsewhere = Metadata::decode(member.record.metadata())
            .is_some_and(|metadata| metadata.agents == Agents::Elsewhere);
        let known = self.agents.get(&member.record.id).map(|(edition, _)| *edition);
        elsewhere && member.is_live() && known != Some(edition(member))
    }

    /// Keeps what a member with many agents answered about an edition of itself.
    pub(super) fn keep_agents(&mut self, id: NodeId, edition: (u32, u32), agents: Vec<Agent>) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| member.agents_elsewhere) {
            show_agents(Arc::make_mut(member), agents.clone());
        }
        self.agents.insert(id, (edition, agents));
    }

    /// A member of the last snapshot.
    pub(super) fn shown(&self, id: NodeId) -> Option<&directory::Member> {
        let local = self.local.as_ref().filter(|local| local.id == id);
        self.members.get(&id).or(local).map(AsRef::as_ref)
    }

    /// The member of the last snapshot that a short id stands for.
    pub(super) fn full(&self, short: ShortId) -> Option<NodeId> {
        let (first, last) = ids_of(short);
        let other = self.members.range(first..=last).next().map(|(id, _)| *id);
        other.or_else(|| self.local.iter().map(|local| local.id).find(|id| id.short() == short))
    }

    /// When this node last heard from each member.
    pub(super) fn heard_at(&self, engine: &Engine) -> HeardAt {
        let local = (engine.local().record.id, self.clock.unix(self.clock.now()));
        let heard = |member: &Member| (member.record.id, self.clock.unix(member.heard_at()));
        engine.members().map(heard).chain([local]).collect()
    }

    /// Makes anew those of `members` that changed, and drops those that are forgotten.
    fn catch_up(&mut self, engine: &Engine) {
        let mut count = 0;
        for (index, member) in engine.members().enumerate() {
            count = index + 1;
            let version = Version::of(member);
            match self.versions.get_mut(index) {
                Some(shown) if *shown == version => continue,
                Some(shown) => *shown = version,
                None => self.versions.push(version),
            }
            let member = Arc::new(self.member(member));
            self.members.insert(version.id, member);
        }
        self.versions.truncate(count);
        if self.members.len() > count {
            let known: BTreeSet<NodeId> = self.versions.iter().map(|version| version.id).collect();
            self.members.retain(|id, _| known.contains(id));
            self.agents.retain(|id, _| known.contains(id));
        }
    }

    fn member(&self, member: &Member) -> directory::Member {
        let record = &member.record;
        let metadata = Metadata::decode(record.metadata()).unwrap_or_else(|| Metadata {
            http_port: record.address().port(),
            services: Vec::new(),
            agents: Agents::Listed(Vec::new()),
        });
        let agents_elsewhere = metadata.agents == Agents::Elsewhere;
        let agents = match metadata.agents {
            Agents::Listed(agents) => agents,
            Agents::Elsewhere => {
                let agents = self.agents.get(&record.id).map(|(_, agents)| agents.clone());
                agents.unwrap_or_default()
            }
        };
        let mut shown = directory::Member {
            id: record.id,
            name: record.name().to_owned(),
            url: format!("http://{}", SocketAddr::new(record.address().ip(), metadata.http_port)),
            gossip_address: record.address(),
            services: metadata.services,
            agents: Vec::new(),
            idempotent_agents: Vec::new(),
            models: Vec::new(),
            agents_elsewhere,
            load: member.load(),
            load_sequence: member.load_sequence,
            state: member.shown_state(),
            generation: record.generation,
            incarnation: record.incarnation,
            revision: record.revision,
            joined_at: self.clock.unix(member.joined_at()),
        };
        show_agents(&mut shown, agents);
        shown
    }
}

/// Shows a member with these agents and models and no others.
fn show_agents(member: &mut directory::Member, mut agents: Vec<Agent>) {
    agents.sort_unstable();
    let model = |agent: &Agent| models::of_entry(&agent.name).map(str::to_owned);
    member.models = agents.iter().filter_map(model).collect();
    agents.retain(|agent| models::of_entry(&agent.name).is_none());
    let idempotent = agents.iter().filter(|agent| agent.is_idempotent);
    member.idempotent_agents = idempotent.map(|agent| agent.name.clone()).collect();
    member.agents = agents.into_iter().map(|agent| agent.name).collect();
}

/// What a member has to change to be shown differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    id: NodeId,
    state: State,
    generation: u32,
    incarnation: u32,
    revision: u32,
    load_sequence: u32,
}

impl Version {
    const fn of(member: &Member) -> Self {
        let record = &member.record;
        Self {
            id: record.id,
            state: member.shown_state(),
            generation: record.generation,
            incarnation: record.incarnation,
            revision: record.revision,
            load_sequence: member.load_sequence,
        }
    }
}

const fn edition(member: &Member) -> (u32, u32) {
    (member.record.generation, member.record.revision)
}

#[cfg(test)]
mod tests {

    use astromesh_swim::{Claim, Command, Config, Origin, OwnedRecord};
    use astromesh_wire::{ClusterTag, Load};

    use super::*;

    fn record(number: u16) -> OwnedRecord {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let agents = Agents::Listed(vec![Agent::named("support")]);
        let metadata = Metadata { http_port: 8000, services: Vec::new(), agents };
        OwnedRecord {
            id: NodeId::from_bytes(id),
            generation: 1,
            incarnation: 0,
            revision: 1,
            address: ([10, 0, id[0], id[1]], 8000).into(),
            name: format!("node-{number}"),
            metadata: metadata.encode().into(),
        }
    }

    fn merge(engine: &mut Engine, record: OwnedRecord) {
        let claim = Claim { record, state: State::Alive, load: Load::default(), load_sequence: 0 };
        let command = Command::Merge { claims: vec![claim], term: 0, origin: Origin::Join };
        engine.handle_command(Instant::from_micros(0), command);
    }

    /// Node 0 and `others` more.
    fn mesh(others: u16) -> Engine {
        let tag = ClusterTag::of("test");
        let start = Instant::from_micros(0);
        let mut engine = Engine::new(start, Config::default(), tag, record(0), 1);
        for number in 1..=others {
            merge(&mut engine, record(number));
        }
        engine
    }

    #[test]
    fn only_the_member_that_changed_is_made_anew() {
        let mut engine = mesh(3);
        let mut view = View::new(Clock::start());
        let before = view.snapshot(&engine, &[]);

        // A restart that nobody saw coming: not even the state is another one.
        merge(&mut engine, OwnedRecord { generation: 2, incarnation: 7, ..record(2) });
        let after = view.snapshot(&engine, &[]);

        let same: Vec<bool> = (1..4)
            .map(|index| Arc::ptr_eq(&before.members[index], &after.members[index]))
            .collect();
        assert_eq!(same, [true, false, true]);
        assert_eq!((after.members[2].generation, after.members[2].incarnation), (2, 7));
        assert!(after.version > before.version);
    }

    #[test]
    fn members_are_ordered_by_id_and_forgotten_with_the_engine() {
        let mut view = View::new(Clock::start());
        let many = view.snapshot(&mesh(9), &[]);
        assert!(many.members.is_sorted_by_key(|member| member.id));
        assert_eq!(many.members.len(), 10);

        let few = view.snapshot(&mesh(4), &[Agent::named("own")]);

        assert_eq!(few.members.len(), 5);
        assert!(few.members.is_sorted_by_key(|member| member.id));
        assert_eq!(few.members[0].agents, ["own"]);
    }

    #[test]
    fn late_agents_reach_a_member_that_did_not_change() {
        let mut engine = mesh(1);
        let elsewhere =
            Metadata { http_port: 8000, services: Vec::new(), agents: Agents::Elsewhere };
        let metadata = elsewhere.encode().into();
        merge(&mut engine, OwnedRecord { metadata, revision: 2, ..record(1) });
        let mut view = View::new(Clock::start());
        let before = view.snapshot(&engine, &[]);
        assert!(before.members[1].agents.is_empty());

        let id = record(1).id;
        view.keep_agents(
            id,
            (1, 2),
            vec![Agent { is_idempotent: true, ..Agent::named("b") }, Agent::named("a")],
        );

        let after = view.snapshot(&engine, &[]);
        assert_eq!(after.members[1].agents, ["a", "b"]);
        assert_eq!(after.members[1].idempotent_agents, ["b"]);
        assert!(after.is_idempotent("b") && !after.is_idempotent("a"));
        assert!(before.members[1].agents.is_empty(), "a snapshot never changes");
        let heard_at = view.heard_at(&engine);
        assert!(heard_at[&engine.local().record.id] >= heard_at[&id]);
    }
}
