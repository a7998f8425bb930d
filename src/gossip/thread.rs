//! The gossip thread: the loop that feeds the engine and drains it.
//!
//! It runs on an OS thread of its own with a runtime of its own, so that nothing an agent does can
//! make a healthy node look dead. The socket is always emptied before timers are handled.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use astromesh_swim::{Change, Command, Engine, Event, OwnedRecord};
use astromesh_wire::{Agents, ClusterTag, LoadRecord, Metadata, NodeId};
use bytes::{Bytes, BytesMut};
use tokio::io::Interest;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, trace, warn};

use super::address::Observation;
use super::beacons::Beacons;
use super::hints::Hints;
use super::http::Want;
use super::inspect::{self, Sightings};
use super::journal::Journal;
use super::load::Meter;
use super::socket::Intake;
use super::view::{Clock, View};
use super::{Changes, Request, Setup, socket};
use crate::directory::{self, Publisher, Reader};

/// What the thread starts with.
pub(super) struct Start {
    pub(super) setup: Setup,
    pub(super) socket: UdpSocket,
    pub(super) tag: ClusterTag,
    pub(super) inbox: mpsc::Receiver<Request>,
    pub(super) wants: mpsc::Sender<Want>,
    /// Tells of a raised generation whoever keeps it.
    pub(super) generation: watch::Sender<u32>,
}

/// Larger than any datagram of ours, so that an oversize one is seen to be one.
const RECEIVE_BYTES: usize = 2_048;

/// Datagrams taken in before the loop looks after everything else.
const RECEIVES_PER_TURN_MAX: usize = 4_096;

/// A wait in the socket that the engine is told of is at least this, and this much longer than the
/// one told before in the same turn. What it means is for the engine to say.
const DELAY_STEP: Duration = Duration::from_millis(10);

/// Least time between two snapshots: changes that come together are published together.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(20);

/// How long a goodbye may spread before the thread ends.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Least time between two warnings about the same nuisance.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Starts the thread; the reader holds the first snapshot already, and the receiver is closed when
/// the thread ends, by a panic too.
pub(super) fn spawn(start: Start) -> io::Result<(Reader, oneshot::Receiver<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clock = Clock::start();
    let Start { setup, socket, tag, inbox, wants, generation } = start;
    let record = OwnedRecord {
        id: setup.identity.id(),
        generation: setup.identity.generation(),
        incarnation: 0,
        revision: 1,
        address: setup.address.socket,
        name: setup.name.clone(),
        metadata: metadata(&setup),
    };
    setup.load.set_boot(setup.identity.generation());
    let seed = fastrand::u64(..);
    let engine = Engine::new(clock.now(), setup.config.clone(), tag, record, seed);
    let mut view = View::new(clock);
    let journal = Journal::new(clock, setup.identity.generation());
    let (publisher, reader) = directory::channel(view.snapshot(&engine, &setup.agents));
    let socket = {
        let _inside = runtime.enter();
        tokio::net::UdpSocket::from_std(socket)?
    };
    let is_ipv6 = socket.local_addr()?.is_ipv6();
    let gossip = Gossip {
        meter: Meter::new(std::time::Instant::now()),
        load_changes: setup.load.watch(),
        beacons: Beacons::default(),
        hints: Hints::default(),
        setup,
        engine,
        socket,
        intake: Intake::new(),
        sightings: Sightings::default(),
        is_ipv6,
        clock,
        view,
        journal,
        publisher,
        published_at: std::time::Instant::now(),
        is_dirty: false,
        inbox,
        wants,
        generation,
        unsent_wants: Vec::new(),
        buffer: BytesMut::new(),
        send_errors: 0,
        own_id_warned_at: None,
        address_warned: false,
        farewell: None,
    };
    let (alive, ended) = oneshot::channel();
    std::thread::Builder::new().name("gossip".to_owned()).spawn(move || {
        runtime.block_on(gossip.run());
        drop(alive);
    })?;
    Ok((reader, ended))
}

/// What the record says of this node beyond name and address.
fn metadata(setup: &Setup) -> Bytes {
    let metadata = Metadata {
        http_port: setup.http_port,
        services: setup.services.clone(),
        agents: Agents::Listed(setup.agents.clone()),
    };
    metadata.encode().into()
}

struct Gossip {
    setup: Setup,
    engine: Engine,
    socket: tokio::net::UdpSocket,
    intake: Intake,
    sightings: Sightings,
    is_ipv6: bool,
    clock: Clock,
    view: View,
    journal: Journal,
    publisher: Publisher,
    published_at: std::time::Instant,
    /// Something changed since the last snapshot.
    is_dirty: bool,
    meter: Meter,
    load_changes: watch::Receiver<u32>,
    beacons: Beacons,
    hints: Hints,
    inbox: mpsc::Receiver<Request>,
    wants: mpsc::Sender<Want>,
    generation: watch::Sender<u32>,
    /// Wants that wait for the snapshot they belong to.
    unsent_wants: Vec<Want>,
    buffer: BytesMut,
    send_errors: u64,
    own_id_warned_at: Option<std::time::Instant>,
    address_warned: bool,
    farewell: Option<Farewell>,
}

/// The node is stopping.
struct Farewell {
    done: oneshot::Sender<()>,
    until: std::time::Instant,
}

impl Gossip {
    async fn run(mut self) {
        let mut datagram = [0; RECEIVE_BYTES];
        loop {
            self.receive(&mut datagram);
            let now = self.clock.now();
            if self.engine.poll_timeout().is_some_and(|due| due <= now) {
                self.engine.handle_timeout(now);
            }
            self.announce_load();
            self.tell_load();
            self.drain();
            self.publish_if_due();
            if self.has_said_goodbye() {
                break;
            }
            let wake = tokio::time::Instant::from_std(self.next_wake());
            tokio::select! {
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        error!(%error, "the gossip socket failed");
                        break;
                    }
                }
                request = self.inbox.recv() => match request {
                    Some(request) => self.take(request),
                    None => break,
                },
                // Its sender lives in the setup. While beacons rest, no request wakes this thread.
                Ok(()) = self.load_changes.changed(), if self.beacons.listens() => {
                    self.beacons.changed();
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        if let Some(farewell) = self.farewell.take() {
            // Nobody waits any more if this fails.
            farewell.done.send(()).unwrap_or(());
        }
    }

    fn next_wake(&self) -> std::time::Instant {
        let mut wake = self.meter.next_poll(&self.own_load());
        if let Some(due) = self.beacons.next_poll() {
            wake = wake.min(due);
        }
        if let Some(due) = self.engine.poll_timeout() {
            wake = wake.min(self.clock.std(due));
        }
        if self.is_dirty {
            wake = wake.min(self.published_at + PUBLISH_INTERVAL);
        }
        wake
    }

    fn receive(&mut self, datagram: &mut [u8]) {
        let mut told = Duration::ZERO;
        for _ in 0..RECEIVES_PER_TURN_MAX {
            let (socket, intake) = (&self.socket, &mut self.intake);
            let arrival = socket.try_io(Interest::READABLE, || intake.receive(socket, datagram));
            match arrival {
                Ok(arrival) => {
                    // Before the datagram itself: it may ask for a judgement. Mostly the first one
                    // has waited longest.
                    if let Some(waited) =
                        arrival.waited.filter(|waited| *waited >= told + DELAY_STEP)
                    {
                        told = waited;
                        self.command(Command::QueueDelay(waited));
                    }
                    let bytes = datagram.get(..arrival.length).unwrap_or_default();
                    let from = socket::source(arrival.from);
                    self.engine.handle_datagram(self.clock.now(), from, bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    trace!(%error, "receiving a datagram failed");
                    break;
                }
            }
        }
    }

    fn drain(&mut self) {
        while let Some(to) = self.engine.poll_transmit(&mut self.buffer) {
            let to = socket::destination(to, self.is_ipv6);
            // A full send buffer or an unreachable network is loss; the protocol bears loss.
            if let Err(error) = self.socket.try_send_to(&self.buffer, to) {
                self.send_errors += 1;
                trace!(%error, %to, "sending a datagram failed");
            }
        }
        while let Some(event) = self.engine.poll_event() {
            self.is_dirty |= matches!(event, Event::Member { .. } | Event::Leader { .. });
            self.heed(&event);
        }
    }

    fn publish_if_due(&mut self) {
        if self.is_dirty && self.published_at.elapsed() >= PUBLISH_INTERVAL {
            self.publisher.publish(self.view.snapshot(&self.engine, &self.setup.agents));
            self.published_at = std::time::Instant::now();
            self.is_dirty = false;
            // Only now, for whoever does these looks the member up in the directory.
            for want in self.unsent_wants.drain(..) {
                // When the queue is full a comparison is dropped, which will be wanted again, or the
                // agents of a member wait for its next change.
                self.wants.try_send(want).unwrap_or_default();
            }
        }
    }

    fn announce_load(&mut self) {
        let record = self.own_load();
        if let Some(load) = self.meter.poll(std::time::Instant::now(), &record) {
            self.command(Command::SetLoad { load, sequence: record.sequence });
        }
    }

    /// The load of this node as everybody hears it.
    fn own_load(&self) -> LoadRecord {
        self.setup.load.record(self.setup.started.elapsed(), None)
    }

    /// Tells those who send work here what is new to them.
    fn tell_load(&mut self) {
        let now = std::time::Instant::now();
        let changes = &self.load_changes;
        if self.beacons.is_due(now, || changes.has_changed().unwrap_or(false)) {
            self.load_changes.mark_unchanged();
            let (at, source) = (self.setup.started.elapsed(), self.setup.load.as_ref());
            for (to, record) in self.beacons.round(now, at, source) {
                self.command(Command::Beacon { to, record });
            }
        }
    }

    /// Tells everybody that this node takes nothing new, and returns when it is sent.
    fn tell_drain(&mut self) {
        self.setup.load.drain();
        let (at, source) = (self.setup.started.elapsed(), self.setup.load.as_ref());
        for (to, record) in self.beacons.tell_all(at, source) {
            self.command(Command::Beacon { to, record });
        }
        self.announce_load();
        self.drain();
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_command(self.clock.now(), command);
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Command(command) => self.command(command),
            Request::Observed(ip) => self.observed(ip),
            Request::AgentsOf(id, edition, agents) => {
                if self.engine.member(id).is_some() {
                    self.view.keep_agents(id, edition, agents);
                    self.is_dirty = true;
                }
            }
            Request::Change(changes) => self.change(*changes),
            // Nobody waits any more if this fails.
            Request::HeardAt(reply) => reply.send(self.view.heard_at(&self.engine)).unwrap_or(()),
            Request::History(sought, reply) => {
                let now = self.clock.now();
                // Nobody waits any more if these fail.
                drop(reply.send(self.journal.history_of(now, &self.view, &sought)));
            }
            Request::Listen(last_seen, reply) => {
                drop(reply.send(self.journal.listen(self.clock.now(), last_seen)));
            }
            Request::Inspect(reply) => {
                let parts = inspect::Parts {
                    now: self.clock.now(),
                    engine: &self.engine,
                    address: &self.setup.address,
                    sightings: &self.sightings,
                    socket: &self.socket,
                    intake: &self.intake,
                    send_errors: self.send_errors,
                };
                // Nobody waits any more if this fails.
                drop(reply.send(parts.inspect()));
            }
            Request::Counters(reply) => {
                let mut counters: BTreeMap<String, u64> = self
                    .engine
                    .stats()
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect();
                let journal = self.journal.counters();
                let hints = self.hints.counters();
                counters.extend(
                    journal.into_iter().chain(hints).map(|(name, value)| (name.to_owned(), value)),
                );
                counters.insert("beacons_withheld".to_owned(), self.beacons.withheld());
                counters.insert("send_errors".to_owned(), self.send_errors);
                counters.insert("socket_drops".to_owned(), self.intake.drops());
                counters.insert("local_health".to_owned(), u64::from(self.engine.health()));
                // Nobody waits any more if this fails.
                reply.send(counters).unwrap_or_default();
            }
            Request::Hint(id) => {
                if self.hints.take(std::time::Instant::now(), id) {
                    self.command(Command::Probe(id));
                }
            }
            // Nobody waits any more if this fails.
            Request::Ping(done) => done.send(()).unwrap_or(()),
            Request::Drain(sent) => {
                self.tell_drain();
                // Nobody waits any more if this fails.
                sent.send(()).unwrap_or(());
            }
            Request::Stop(done) => {
                self.command(Command::Leave);
                let until = std::time::Instant::now() + FAREWELL_MAX;
                self.farewell = Some(Farewell { done, until });
            }
        }
    }

    /// Describes this node anew where that is news, and sets the engine.
    fn change(&mut self, changes: Changes) {
        let Changes { name, services, agents, seeds, config } = changes;
        let before = metadata(&self.setup);
        let is_other = self.setup.agents != agents;
        let setup = &mut self.setup;
        (setup.name, setup.services, setup.agents) = (name, services, agents);
        (setup.seeds, setup.config) = (seeds, config);
        self.command(Command::Configure(Box::new(self.setup.config.clone())));
        self.command(Command::SetName(self.setup.name.clone()));
        let metadata = metadata(&self.setup);
        let is_told = metadata != before;
        self.command(Command::SetMetadata(metadata));
        if is_other && !is_told {
            // The list is too long for the record: others have to hear that it is another one.
            self.command(Command::Revise);
        }
        self.is_dirty = true;
    }

    fn observed(&mut self, ip: std::net::IpAddr) {
        self.sightings.note(ip);
        match self.setup.address.observe(ip) {
            Observation::Agrees => {}
            Observation::Adopted => {
                let address = self.setup.address.socket;
                info!(%address, "others reach this node here; advertising it");
                self.command(Command::SetAddress(address));
            }
            Observation::Contradicts if self.address_warned => {}
            Observation::Contradicts => {
                self.address_warned = true;
                warn!(
                    advertised = %self.setup.address.socket,
                    observed = %ip,
                    "another node sees this one at a different address; if others cannot reach it, \
                     set spec.mesh.advertise to the address that they can reach"
                );
            }
        }
    }

    /// Whether the goodbye has been sent as often as it is worth, or nobody is there to hear it.
    fn has_said_goodbye(&self) -> bool {
        self.farewell.as_ref().is_some_and(|farewell| {
            !self.engine.has_news()
                || self.engine.live_count() == 0
                || std::time::Instant::now() >= farewell.until
        })
    }

    fn heed(&mut self, event: &Event) {
        match *event {
            Event::Member { id, change } => self.heed_change(id, change),
            Event::Leader { id, term } => {
                match id {
                    Some(id) => info!(leader.id = %id, term, "the mesh has a leader"),
                    None => info!(term, "no leader: this node has left"),
                }
                self.journal.led(self.clock.now(), &self.view, id, term);
            }
            Event::Generation(generation) => {
                self.generation.send_replace(generation);
                self.setup.load.set_boot(generation);
            }
            Event::SyncWanted(id) => {
                self.is_dirty = true;
                self.unsent_wants.push(Want::Comparison(id));
            }
            Event::OwnIdSeen(from) => self.warn_own_id(from),
            Event::Verdict(ref verdict) => {
                debug!(?verdict, "a verdict on a member");
                self.journal.declared(self.clock.now(), &self.view, verdict);
            }
            Event::Beacon { id, record } => self.setup.heard.tell(id, record),
        }
    }

    fn heed_change(&mut self, id: NodeId, change: Change) {
        let now = self.clock.now();
        let Some(member) = self.engine.member(id) else {
            if change == Change::Reaped {
                self.journal.reaped(now, &self.view, id);
            }
            return;
        };
        if change != Change::Load {
            self.journal.changed(now, member, change);
        }
        let name = member.record.name();
        match change {
            Change::Load => return,
            Change::Joined => {
                let address: SocketAddr = member.record.address();
                info!(member.id = %id, member.name = %name, %address, "member joined");
            }
            Change::Alive => info!(member.id = %id, member.name = %name, "member is alive"),
            Change::Suspect => info!(member.id = %id, member.name = %name, "member is suspect"),
            Change::Dead => warn!(member.id = %id, member.name = %name, "member is dead"),
            Change::Left => info!(member.id = %id, member.name = %name, "member left"),
            Change::Replaced => info!(
                member.id = %id, member.name = %name,
                "a new node with the same name and address took this member's place"
            ),
            Change::Updated => debug!(member.id = %id, member.name = %name, "member updated"),
            Change::Reaped => debug!(member.id = %id, "member forgotten"),
        }
        if self.view.lacks_agents(member) {
            self.unsent_wants.push(Want::Agents(id));
        }
    }

    fn warn_own_id(&mut self, from: SocketAddr) {
        let now = std::time::Instant::now();
        let is_due = self.own_id_warned_at.is_none_or(|at| now - at >= WARN_INTERVAL);
        if is_due && from != self.setup.address.socket {
            self.own_id_warned_at = Some(now);
            warn!(
                %from,
                "another process uses this node's id; if its data directory was copied, delete \
                 identity.json there and restart it"
            );
        }
    }
}
