//! The hosts of the nodes: what a daemon does around its engine.
//!
//! Owns how datagrams, timers and HTTP exchanges reach an engine and what becomes of its output.
//! Refuses to decide what happens to a node: that is done from outside, through the world.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Change, Claim, Command, Engine, Event, Instant, Member, Origin};
use astromesh_wire::{NodeId, State};

use super::{Happening, OBSERVATIONS_MAX, Observation, World};
use crate::join::Phase;
use crate::ledger::{Truth, VictimClass};
use crate::network::uniform;
use crate::node::{self, BUFFERED_DATAGRAMS_MAX, Pace, Status, Waiting};
use crate::payload::Payload;

/// An HTTP request or answer: the claims of one node, on the way to another.
#[derive(Debug)]
pub(super) struct Letter {
    from: usize,
    to: usize,
    /// The run of the node that asked.
    run: u32,
    claims: Vec<Claim>,
    term: u64,
    /// How the node that asked takes the answer.
    origin: Origin,
    purpose: Purpose,
}

/// Why a node writes to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Join,
    Compare,
}

impl World {
    pub(super) fn happen(&mut self, what: Happening) {
        match what {
            Happening::Start(node) => self.start(node),
            Happening::Wake(node) => self.wake(node),
            Happening::Turn(node) => self.turn(node),
            Happening::HandOver(node) => self.hand_over(node, self.now),
            Happening::Datagram { to, from, payload } => {
                self.deliver(to as usize, node::address(from as usize), payload);
            }
            Happening::Join { node, run, phase } => self.join(node, run, phase),
            Happening::Exit { node, run } => {
                if self.nodes.get(node).is_some_and(|node| node.run == run) {
                    self.crash(node);
                }
            }
            Happening::Request(letter) => self.requested(*letter),
            Happening::Answer(letter) => self.answered(*letter),
        }
    }

    fn wake(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.wake_at.is_some_and(|at| at <= self.now) {
            subject.wake_at = None;
        }
        if subject.status != Status::Running {
            return;
        }
        if matches!(subject.pace, Pace::Slow(_)) {
            self.faults.slow_wakes += 1;
            self.await_turn(node);
        } else {
            self.fire_timers(node);
        }
    }

    fn fire_timers(&mut self, node: usize) {
        let Some(subject) = self.nodes.get(node) else { return };
        let now = subject.clock.read(self.now);
        if subject.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.with_engine(node, Engine::handle_timeout);
            if let Some(subject) = self.nodes.get(node) {
                self.checks.woken(now, node, &subject.engine);
            }
        } else {
            self.arm(node);
        }
    }

    /// A slow node gets to everything that has happened since its last turn.
    fn turn(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.turn_at != Some(self.now) {
            return;
        }
        subject.turn_at = None;
        if subject.status == Status::Running {
            self.empty_socket(node);
            self.fire_timers(node);
        }
    }

    fn await_turn(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        let Pace::Slow(every) = subject.pace else { return };
        if subject.turn_at.is_none() {
            let every = u64::try_from(every.as_micros()).unwrap_or(u64::MAX).max(1);
            // Loops do not turn in step.
            let phase = (node as u64).wrapping_mul(TURN_PHASE_MICROS) % every;
            let turns = (self.now.as_micros() + every - phase) / every;
            let at = Instant::from_micros(turns * every + phase);
            subject.turn_at = Some(at);
            self.agenda.add(at, Happening::Turn(node));
        }
    }

    /// A datagram arrives at the socket of a node.
    pub(super) fn deliver(&mut self, node: usize, from: SocketAddr, payload: Payload) {
        let now = self.now;
        let Some(subject) = self.nodes.get_mut(node) else { return };
        let due = match (subject.status, subject.pace) {
            (Status::Down, _) => {
                self.faults.unreceived += 1;
                self.payloads.drop_unread(payload);
                return;
            }
            (Status::Running, Pace::Prompt) => {
                self.read(node, from, payload);
                return;
            }
            (Status::Paused, _) => {
                self.faults.queued_paused += 1;
                now
            }
            (Status::Running, Pace::Slow(_)) => {
                self.faults.queued_slow += 1;
                now
            }
            (Status::Running, Pace::Starved { min, max, redraw }) => {
                self.faults.queued_starved += 1;
                if now >= subject.wait.1 {
                    subject.wait = (uniform(&mut self.rng, min, max), now + redraw);
                }
                let due = now + subject.wait.0;
                // A queue does not let the later overtake.
                subject.buffer.back().map_or(due, |last| last.due.max(due))
            }
        };
        if subject.buffer.len() >= BUFFERED_DATAGRAMS_MAX {
            self.faults.overflowed += 1;
            self.payloads.drop_unread(payload);
            return;
        }
        subject.buffer.push_back(Waiting { from, payload, since: now, due });
        match (subject.status, subject.pace) {
            (Status::Running, Pace::Slow(_)) => self.await_turn(node),
            (Status::Running, Pace::Starved { .. }) => {
                self.agenda.add(due, Happening::HandOver(node));
            }
            (Status::Running, Pace::Prompt) | (Status::Paused | Status::Down, _) => {}
        }
    }

    /// Hands over all that waits in the socket of a node.
    pub(super) fn empty_socket(&mut self, node: usize) {
        self.hand_over(node, Instant::from_micros(u64::MAX));
    }

    /// Hands over what waits in the socket of a node and was due by then.
    fn hand_over(&mut self, node: usize, due_by: Instant) {
        let Some(oldest) = self.nodes.get(node).and_then(|subject| subject.buffer.front()) else {
            return;
        };
        if !self.is_running(node) || oldest.due > due_by {
            return;
        }
        self.report_wait(node, self.now.since(oldest.since));
        while let Some(subject) = self.nodes.get_mut(node)
            && subject.buffer.front().is_some_and(|waiting| waiting.due <= due_by)
            && let Some(Waiting { from, payload, .. }) = subject.buffer.pop_front()
        {
            self.read(node, from, payload);
        }
    }

    /// The host sees by the kernel's timestamp how long the oldest datagram has waited.
    fn report_wait(&mut self, node: usize, waited: Duration) {
        self.faults.waits += 1;
        self.command(node, Command::QueueDelay(waited));
    }

    fn read(&mut self, node: usize, from: SocketAddr, payload: Payload) {
        let bytes = self.payloads.take(&payload);
        self.with_engine(node, |engine, now| engine.handle_datagram(now, from, &bytes));
        self.payloads.give_back(payload, bytes);
    }

    /// A round over the seeds: to join, and later to find again who went out of sight.
    fn join(&mut self, node: usize, run: u32, phase: Phase) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.run != run || !subject.takes_part() || self.seeds.is_empty() {
            return;
        }
        if phase == Phase::Judge {
            let wait = subject.seeker.judge(subject.engine.live_count());
            let wait = wait.mul_f64(0.5 + self.rng.f64());
            self.agenda.add(self.now + wait, Happening::Join { node, run, phase: Phase::Ask });
            return;
        }
        self.agenda
            .add(self.now + ANSWERS_WAIT, Happening::Join { node, run, phase: Phase::Judge });
        if subject.status == Status::Paused {
            return;
        }
        let asks_all = subject.seeker.begin_round();
        for seed in self.seeds.clone() {
            self.ask_seed(node, seed, asks_all);
        }
    }

    fn ask_seed(&mut self, node: usize, seed: usize, asks_all: bool) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if seed == node {
            subject.seeker.met_itself();
            return;
        }
        let is_live = |id| subject.engine.member(id).is_some_and(Member::is_shown_live);
        if !asks_all && subject.seeker.last_answer_of(seed).is_some_and(is_live) {
            // The gossip keeps it in touch.
            subject.seeker.answered(None);
            return;
        }
        let origin = if subject.seeker.is_joined() { Origin::Sync } else { Origin::Join };
        let (claims, term, run) = (vec![subject.own_claim()], subject.engine.term(), subject.run);
        let purpose = Purpose::Join;
        let letter = Letter { from: node, to: seed, run, claims, term, origin, purpose };
        self.post(letter, Happening::Request);
    }

    /// The engine asked for a comparison of views.
    fn exchange(&mut self, node: usize, with: NodeId) {
        let Some(&peer) = self.by_id.get(&with) else { return };
        if self.nodes.get(peer).is_none_or(|other| other.id() != with) {
            return;
        }
        let Some(subject) = self.nodes.get(node) else { return };
        let (claims, term, run) = (subject.claims(), subject.engine.term(), subject.run);
        let (origin, purpose) = (Origin::Sync, Purpose::Compare);
        let letter = Letter { from: node, to: peer, run, claims, term, origin, purpose };
        self.post(letter, Happening::Request);
    }

    /// HTTP arrives if both directions are open and both processes run; else nobody hears of it.
    fn post(&mut self, letter: Letter, wrap: impl FnOnce(Box<Letter>) -> Happening) {
        if let Some(way) = self.network.stream(letter.from, letter.to) {
            let delay = HTTP_DELAY_MIN + HTTP_DELAY_SPREAD.mul_f64(self.rng.f64());
            self.agenda.add(self.now + way + delay, wrap(Box::new(letter)));
        }
    }

    fn requested(&mut self, letter: Letter) {
        if !self.is_running(letter.to) {
            self.faults.exchanges_failed += 1;
            return;
        }
        let Letter { from, to, run, claims, term, origin, purpose } = letter;
        let Some(subject) = self.nodes.get(to) else { return };
        let answer = Letter {
            from: to,
            to: from,
            run,
            claims: subject.claims(),
            term: subject.engine.term(),
            origin,
            purpose,
        };
        let command = Command::Merge { claims, term, origin: Origin::Unasked };
        self.with_engine(to, |engine, now| engine.handle_command(now, command));
        self.post(answer, Happening::Answer);
    }

    fn answered(&mut self, letter: Letter) {
        let Letter { from, to, run, claims, term, origin, purpose } = letter;
        let seed = self.nodes.get(from).map(|seed| (from, seed.id()));
        let Some(subject) = self.nodes.get_mut(to) else { return };
        if subject.run != run || subject.status != Status::Running {
            self.faults.exchanges_failed += 1;
            return;
        }
        if purpose == Purpose::Join {
            subject.seeker.answered(seed);
        }
        let command = Command::Merge { claims, term, origin };
        self.with_engine(to, |engine, now| engine.handle_command(now, command));
    }

    /// Calls an engine with what its node takes for the time.
    pub(super) fn with_engine(&mut self, node: usize, action: impl FnOnce(&mut Engine, Instant)) {
        if let Some(subject) = self.nodes.get_mut(node) {
            let now = subject.clock.read(self.now);
            action(&mut subject.engine, now);
            self.drain(node);
        }
    }

    /// What a host does after each call of an engine.
    pub(super) fn drain(&mut self, node: usize) {
        let mut wanted = Vec::new();
        let datagrams = self.transmit(node);
        while let Some(event) = self.nodes.get_mut(node).and_then(|node| node.engine.poll_event()) {
            let mut transcript = Transcript(self.transcript);
            let written = write!(transcript, "{node} {event:?}");
            debug_assert!(written.is_ok(), "hashing does not fail");
            self.transcript = transcript.0;
            if let Some(subject) = self.nodes.get(node) {
                self.checks.reported(node, &subject.engine, &event);
            }
            match event {
                Event::SyncWanted(with) => wanted.push(with),
                Event::Member { id, change } => self.take_down(node, id, change),
                Event::Verdict(_)
                | Event::Leader { .. }
                | Event::Generation(_)
                | Event::OwnIdSeen(_)
                | Event::Beacon { .. } => {}
            }
            if self.observations.len() < OBSERVATIONS_MAX {
                self.observations.push(Observation { at: self.now, observer: node, event });
            }
        }
        if let Some(subject) = self.nodes.get(node) {
            self.checks.look(self.now, node, &subject.engine, datagrams);
        }
        self.arm(node);
        for with in wanted {
            self.exchange(node, with);
        }
    }

    /// Sends what an engine has to send, and counts it.
    fn transmit(&mut self, node: usize) -> usize {
        let Some(subject) = self.nodes.get_mut(node) else { return 0 };
        let mut datagrams = 0;
        while let Some(to) = subject.engine.poll_transmit(&mut self.buffer) {
            datagrams += 1;
            self.checks.sent(node, self.buffer.len());
            let mut transcript = Transcript(self.transcript);
            transcript.note(&self.now.as_micros().to_be_bytes());
            transcript.note(&self.buffer);
            self.transcript = transcript.0;
            let Some(&peer) = self.by_address.get(&to) else { continue };
            for delay in self.network.deliveries(node, peer) {
                let payload = self.payloads.keep(&self.buffer);
                let (to, from) = (peer as u32, node as u32);
                self.agenda.add(self.now + delay, Happening::Datagram { to, from, payload });
            }
        }
        datagrams
    }

    /// Notes a change of a member in the ledger of deaths.
    fn take_down(&mut self, observer: usize, id: NodeId, change: Change) {
        match change {
            Change::Dead => {
                let seen = self.nodes.get(observer).and_then(|node| node.engine.member(id));
                if let Some(member) = seen {
                    let record = &member.record;
                    let life = (id, record.generation, record.incarnation);
                    let truth = self.truth(observer, id, record.generation);
                    if member.state == State::Dead {
                        self.ledger.declared(self.now, observer, life, truth);
                    } else {
                        self.ledger.given_up(truth);
                    }
                }
                self.ledger.learned(self.now, observer, id);
            }
            Change::Left | Change::Replaced | Change::Reaped => {
                self.ledger.learned(self.now, observer, id);
            }
            Change::Joined | Change::Alive | Change::Suspect | Change::Updated | Change::Load => {}
        }
    }

    /// Whether a node is dead that an observer holds dead in this generation.
    fn truth(&self, observer: usize, id: NodeId, generation: u32) -> Truth {
        let Some(&victim) = self.by_id.get(&id) else { return Truth::Right };
        let Some(subject) = self.nodes.get(victim) else { return Truth::Right };
        let is_its_life = subject.id() == id
            && subject.takes_part()
            && subject.engine.local().record.generation == generation;
        if !is_its_life {
            return Truth::Right;
        }
        if !self.network.passes(observer, victim) || !self.network.passes(victim, observer) {
            return Truth::Cut;
        }
        let is_faulty = subject.is_faulty(self.now) || self.network.is_faulty(victim);
        let class = if is_faulty { VictimClass::Faulty } else { VictimClass::Healthy };
        Truth::Wrong(victim, class)
    }

    /// Sees to it that a node is woken for its next timer.
    pub(super) fn arm(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        let Some(due) = subject.engine.poll_timeout() else { return };
        let due = subject.clock.when(due).max(self.now);
        if subject.wake_at.is_none_or(|at| due < at) {
            subject.wake_at = Some(due);
            self.agenda.add(due, Happening::Wake(node));
        }
    }
}

/// A hash of all that is written to it, eight bytes at a time: FNV-1a with words for bytes.
#[derive(Debug)]
struct Transcript(u64);

impl Transcript {
    fn note(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for word in words.iter().chain([&last]) {
            self.0 = (self.0 ^ u64::from_be_bytes(*word)).wrapping_mul(FNV_PRIME).rotate_left(23);
        }
    }
}

impl std::fmt::Write for Transcript {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.note(text.as_bytes());
        Ok(())
    }
}

pub(super) const TRANSCRIPT_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Spreads the turns of slow loops; any odd number will do.
const TURN_PHASE_MICROS: u64 = 7_919;

/// How long a round over the seeds waits for their answers.
const ANSWERS_WAIT: Duration = Duration::from_millis(100);

const HTTP_DELAY_MIN: Duration = Duration::from_millis(2);
const HTTP_DELAY_SPREAD: Duration = Duration::from_millis(8);
