//! What the engine does about those that are dead or gone, and when they turn out not to be.
//!
//! The dead are pinged rarely and for ever. When one answers, a cut is ending: views are compared at
//! once, and more of the dead are pinged. A death that only a comparison tells of is checked with
//! the member first, which so learns of it and refutes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_wire::{Bucket, Datagram, Encoder, Message, ShortId, State, StateUpdate, Update};
use bytes::{Bytes, BytesMut};

use super::compare::{End, Piece};
use super::{Cargo, Engine};
use crate::dissemination::Kind;
use crate::io::Change;
use crate::member::Member;
use crate::precedence::Standing;
use crate::sync::{Budget, Check, Checks, Gate};
use crate::time::Instant;
use crate::timers::Timer;
use crate::tombstones::{Lost, Tombstones};

/// What is kept for making views equal.
#[derive(Debug, Default)]
pub(super) struct Healing {
    pub(super) gate: Gate,
    pub(super) tombstones: Tombstones,
    pub(super) lost: Lost,
    pub(super) checks: Checks,
    /// What answers to comparisons may still cost.
    pub(super) answers: Budget,
    /// Answers that are written already; each call of the engine writes a bounded number.
    pub(super) written: VecDeque<(SocketAddr, Bytes)>,
    /// No comparison is started out of turn before.
    at_once_at: Instant,
    /// When further dead members may be pinged out of turn again, and how many until then.
    burst: (Instant, u32),
    /// From then on nobody has come back from the dead for a while.
    pub(super) calm_at: Instant,
    /// No full exchange is asked for before.
    pub(super) sync_at: Instant,
}

impl Engine {
    /// A ping to one of the dead or lost, chosen at random, each interval.
    pub(super) fn probe_dead(&mut self, now: Instant) {
        self.timers.arm(now + self.config.dead_probe_interval, Timer::DeadProbe);
        self.ping_gone(1, None);
    }

    /// Some of the dead may be back: the ping tells each what is held against it. Whoever was
    /// forgotten gets our record, for it may have forgotten us.
    fn ping_gone(&mut self, count: u32, except: Option<ShortId>) {
        let dead = self.table.dead().len();
        let all = dead + self.healing.lost.len();
        if all == 0 || self.has_left() {
            return;
        }
        let first = self.rng.usize(..all);
        for index in (first..all).chain(0..first).take(usize::try_from(count).unwrap_or(0)) {
            let place = if let Some(&id) = self.table.dead().get(index) {
                self.table.get(id).map(|member| (id, member.record.address()))
            } else {
                self.healing.lost.at(index - dead)
            };
            if let Some((id, address)) = place
                && Some(id) != except
            {
                let sequence = self.take_sequence();
                self.stats.probes_dead += 1;
                let ping = self.ping(id, sequence);
                let first = self.notice_for(id).unwrap_or_else(|| self.own(Kind::Record));
                self.send(address, ping, Some(first), Cargo::Empty);
            }
        }
    }

    /// A datagram came from a member that was dead or gone here; `heard_before` is when the last one
    /// came. What it carries has been taken in.
    pub(super) fn hear_gone(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &Datagram<'_>,
        heard_before: Instant,
    ) {
        self.healing.calm_at = now + CALM_AFTER;
        match datagram.message {
            // Its answer to us: both directions work.
            Message::Ack { .. } => {
                self.compare_at_once(now, from);
                self.ping_more_gone(now, datagram.sender);
            }
            // Our answer to it says what is held against it.
            Message::Ping { .. } => self.ping_more_gone(now, datagram.sender),
            Message::PingReq { .. }
            | Message::Nack { .. }
            | Message::Gossip
            | Message::Query { .. }
            | Message::Solicit { .. }
            | Message::Vote { .. }
            | Message::Beacon { .. } => {
                let notice = self.notice_for(datagram.sender);
                if notice.is_some() && now.since(heard_before) >= NOTICE_INTERVAL {
                    self.send(from, Message::Gossip, notice, Cargo::Empty);
                }
            }
        }
    }

    /// A stranger answered. If it is one that was forgotten, it has our record: now we want its own.
    pub(super) fn hear_lost(&mut self, from: SocketAddr, sender: ShortId) {
        if self.healing.lost.address(sender) == Some(from) {
            self.send(from, Message::Query { subject: sender }, None, Cargo::Empty);
        }
    }

    /// Compares views out of turn: there is a reason to believe that much differs. Our record goes
    /// first, for whoever has forgotten us.
    pub(super) fn compare_at_once(&mut self, now: Instant, with: SocketAddr) {
        if now < self.healing.at_once_at || self.has_left() {
            return;
        }
        self.healing.at_once_at = now + AT_ONCE_INTERVAL;
        self.reconcile(now, with, &[Piece::Record(self.local.id())]);
    }

    fn ping_more_gone(&mut self, now: Instant, except: ShortId) {
        let (until, left) = self.healing.burst;
        let (until, left) =
            if now >= until { (now + BURST_PERIOD, BURST_MAX) } else { (until, left) };
        let count = left.min(BURST_STEP);
        self.healing.burst = (until, left - count);
        self.ping_gone(count, Some(except));
    }

    /// A comparison says that a member that is live here is dead. It is asked itself, with the claim
    /// on the ping, so that it can refute.
    pub(super) fn check_death(&mut self, now: Instant, id: ShortId, end: End) {
        if self.table.get(id).is_none_or(|member| end.claim <= member.standing()) {
            return;
        }
        let is_new = !self.healing.checks.contains(id);
        let sequence = self.take_sequence();
        let End { claim, forget_at } = end;
        let check = Check { claim, forget_at, sequence, started_at: now, tries: 0, next_at: now };
        if !self.healing.checks.start(id, check) {
            self.stats.refused_checks_full += 1;
        } else if is_new {
            self.stats.deaths_checked += 1;
            self.go_on_checking(now, id);
        }
    }

    /// The next ping of a check, or its end.
    pub(super) fn go_on_checking(&mut self, now: Instant, id: ShortId) {
        let Some(check) = self.healing.checks.get(id) else { return };
        if now < check.next_at {
            self.timers.arm(check.next_at, Timer::Check(id));
            return;
        }
        let open =
            self.table.get(id).filter(|member| member.is_live() && check.claim > member.standing());
        let address = open.map(|member| member.record.address());
        let Some(address) = address.filter(|_| !self.has_left()) else {
            self.healing.checks.end(id);
            return;
        };
        if let Some(pause) = self.check_pause(now, &check) {
            let next_at = now + pause;
            self.healing.checks.pinged(id, next_at);
            self.timers.arm(next_at, Timer::Check(id));
            let ping = self.ping(id, check.sequence);
            self.send_claim(address, ping, id, check.claim);
        } else {
            self.healing.checks.end(id);
            self.believe_death(now, id, &check);
        }
    }

    /// How long to wait for an answer to the next ping of a check; `None` when enough were sent.
    /// Under the evidence rule a death takes as long as the floor here too: three pings may be lost.
    fn check_pause(&self, now: Instant, check: &Check) -> Option<Duration> {
        let pause = CHECK_PAUSES.get(check.tries).copied();
        let Some(floor) = self.evidence_floor() else {
            return pause.map(|pause| pause * self.detector.patience());
        };
        if let Some(pause) = pause {
            return Some(pause.mul_f64(self.evidence.rtt.stretch()));
        }
        let left = floor.max(CHECK_FLOOR).saturating_sub(now.since(check.started_at));
        (!left.is_zero()).then(|| left.min(CHECK_INTERVAL))
    }

    /// The member did not answer: what a comparison told of it is true, as far as can be seen here.
    fn believe_death(&mut self, now: Instant, id: ShortId, check: &Check) {
        self.stats.deaths_believed += 1;
        self.keep_hearsay(now, id, check);
        self.set_standing(now, id, check.claim, Bucket::of(self.local.id()));
        self.age(now, id, End { claim: check.claim, forget_at: check.forget_at });
    }

    /// A message with what others claim of its receiver, which is not what is believed here.
    fn send_claim(&mut self, to: SocketAddr, message: Message, id: ShortId, claim: Standing) {
        let Standing { generation, incarnation, state } = claim;
        let accuser = Bucket::default();
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, self.local.id(), &message);
        let update = StateUpdate { id, state, accuser, generation, incarnation };
        let fits = encoder.push(&Update::State(update));
        debug_assert!(fits.is_ok(), "a single update fits any datagram");
        encoder.finish(self.cluster);
        self.healing.written.push_back((to, buffer.freeze()));
    }

    /// A member is dead or gone, and to be forgotten then.
    pub(super) fn bury(&mut self, now: Instant, id: ShortId, forget_at: Instant) {
        self.healing.tombstones.insert(id, forget_at);
        if let Some(next) = self.healing.tombstones.next_at() {
            self.timers.arm(next.max(now), Timer::Reap);
        }
    }

    /// Forgets those whose time has come. The dead among them are still pinged now and then.
    pub(super) fn reap(&mut self, now: Instant) {
        while let Some(id) = self.healing.tombstones.pop_due(now) {
            let Some(Member { record, state, .. }) = self.table.remove(id) else { continue };
            self.news.forget(id);
            self.provenance.forget(id);
            if state == State::Dead && !self.healing.lost.insert(id, record.address()) {
                self.stats.lost_dropped += 1;
            }
            self.changed(record.id, Change::Reaped);
        }
        if let Some(next) = self.healing.tombstones.next_at() {
            self.timers.arm(next, Timer::Reap);
        }
    }
}

/// Pauses after the first pings of a check. After the last the death is believed, or under the
/// evidence rule a ping follows at each interval until the floor has passed.
const CHECK_PAUSES: [Duration; 3] =
    [Duration::from_millis(80), Duration::from_millis(120), Duration::from_millis(150)];

const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The least floor of a check, whatever is configured: with 20 % loss each way one of nine pings is
/// answered but once in 10,000 times.
const CHECK_FLOOR: Duration = Duration::from_secs(2);

/// Least time between two comparisons out of turn.
const AT_ONCE_INTERVAL: Duration = Duration::from_millis(250);

/// Least silence of a member held dead after which it is told so again.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// Dead members that are pinged when one has answered, and how many so in a period at most.
const BURST_STEP: u32 = 2;
const BURST_MAX: u32 = 12;
const BURST_PERIOD: Duration = Duration::from_secs(1);

/// How long after the last return from the dead whole views are exchanged again.
const CALM_AFTER: Duration = Duration::from_secs(30);
