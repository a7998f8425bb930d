//! From the engine's members to a snapshot of the directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use astromesh_swim::{Engine, Instant, Member};
use astromesh_wire::{Agents, Metadata, NodeId};

use crate::directory::{self, Snapshot};

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

    fn unix(&self, at: Instant) -> f64 {
        self.started_unix + Duration::from_micros(at.as_micros()).as_secs_f64()
    }
}

/// Makes snapshots, each with a higher version than the one before.
#[derive(Debug)]
pub(super) struct View {
    clock: Clock,
    version: u64,
    /// Agents of members that have too many for their record, with the edition they belong to.
    agents: BTreeMap<NodeId, ((u32, u32), Vec<String>)>,
}

impl View {
    pub(super) const fn new(clock: Clock) -> Self {
        Self { clock, version: 0, agents: BTreeMap::new() }
    }

    /// The mesh as the engine sees it now.
    pub(super) fn snapshot(&mut self, engine: &Engine, own_agents: &[String]) -> Snapshot {
        self.version += 1;
        let now = self.clock.now();
        let mut local = self.member(engine.local());
        own_agents.clone_into(&mut local.agents);
        local.last_heard_at = self.clock.unix(now);
        let mut members: Vec<_> =
            engine.members().map(|member| self.member(member)).chain([local]).collect();
        members.sort_unstable_by_key(|member| member.id);
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
    pub(super) fn keep_agents(&mut self, id: NodeId, edition: (u32, u32), agents: Vec<String>) {
        self.agents.insert(id, (edition, agents));
    }

    /// Drops what is kept of a forgotten member.
    pub(super) fn forget(&mut self, id: NodeId) {
        self.agents.remove(&id);
    }

    fn member(&self, member: &Member) -> directory::Member {
        let record = &member.record;
        let metadata = Metadata::decode(record.metadata()).unwrap_or_else(|| Metadata {
            http_port: record.address().port(),
            services: Vec::new(),
            agents: Agents::Listed(Vec::new()),
        });
        let agents_elsewhere = metadata.agents == Agents::Elsewhere;
        let mut agents = match metadata.agents {
            Agents::Listed(agents) => agents,
            Agents::Elsewhere => {
                let agents = self.agents.get(&record.id).map(|(_, agents)| agents.clone());
                agents.unwrap_or_default()
            }
        };
        agents.sort_unstable();
        directory::Member {
            id: record.id,
            name: record.name().to_owned(),
            url: format!("http://{}", SocketAddr::new(record.address().ip(), metadata.http_port)),
            gossip_address: record.address(),
            services: metadata.services,
            agents,
            agents_elsewhere,
            load: member.load(),
            load_sequence: member.load_sequence,
            state: member.shown_state(),
            generation: record.generation,
            incarnation: record.incarnation,
            revision: record.revision,
            joined_at: self.clock.unix(member.joined_at()),
            last_heard_at: self.clock.unix(member.heard_at()),
        }
    }
}

const fn edition(member: &Member) -> (u32, u32) {
    (member.record.generation, member.record.revision)
}
