//! How the engine watches members under the evidence rule: slots, probes, sweeps.
//!
//! What follows from a probe without an answer is in `cases.rs`.

use std::time::Duration;

use astromesh_wire::{Message, ShortId};
use smallvec::SmallVec;

use super::{Cargo, Engine};
use crate::detector::Rule;
use crate::detector::evidence::watch::{Attempt, HELPERS, Reason, Step, Watch};
use crate::detector::evidence::{OBSERVERS, SWEEP_INTERVAL, SWEEP_SPREAD, observer_count};
use crate::member::Doubt;
use crate::paths::Outcome;
use crate::probe::Chosen;
use crate::time::Instant;
use crate::timers::Timer;

impl Engine {
    /// The configured floor, if deaths are decided by evidence.
    pub(super) const fn evidence_floor(&self) -> Option<Duration> {
        match self.config.detector.rule {
            Rule::Evidence { floor } => Some(floor),
            Rule::Lifeguard => None,
        }
    }

    /// Chooses anew whom this node watches, if the ring has changed.
    pub(super) fn regroup(&mut self, now: Instant) {
        if !std::mem::take(&mut self.evidence.is_stale) || self.evidence_floor().is_none() {
            return;
        }
        let mut subjects: SmallVec<[ShortId; OBSERVERS]> = SmallVec::new();
        if !self.has_left() {
            let ring = self.table.ring();
            let count = observer_count(ring.len());
            // Who is given up makes room: a node that is cut off looks for others.
            let table = &self.table;
            let is_given_up =
                |id: &ShortId| table.get(*id).is_some_and(|member| member.doubt == Doubt::GivenUp);
            let behind = ring.behind(self.local.id()).filter(|id| !is_given_up(id));
            subjects.extend(behind.take(count));
        }
        let table = &self.table;
        self.evidence.watches.retain(|id, watch| match watch.reason {
            Reason::Observer => subjects.contains(id),
            Reason::Hint => table.get(*id).is_some_and(crate::member::Member::is_live),
        });
        for id in subjects {
            if let Some(watch) = self.evidence.watches.get_mut(&id) {
                watch.reason = Reason::Observer;
                continue;
            }
            // Soon, but members that many came to watch at once are not all probed in one moment.
            let at = now + self.config.probe_interval.mul_f64(self.rng.f64());
            self.evidence.watches.insert(id, Watch::new(Reason::Observer, at));
            self.timers.arm(at, Timer::Watch(id));
        }
    }

    /// The host has reason to doubt a member: it is probed at once, whoever watches it.
    pub(super) fn probe_on_hint(&mut self, now: Instant, id: ShortId) {
        let is_live = self.table.get(id).is_some_and(crate::member::Member::is_live);
        let may_watch = self.evidence.watches.len() < OBSERVERS + HINTS_MAX;
        if !is_live || self.has_left() {
            return;
        }
        if let Some(watch) = self.evidence.watches.get_mut(&id) {
            if watch.attempt.is_some() {
                // It is being probed. A probe due in the past would look like a standstill later.
                return;
            }
            watch.next_at = now;
        } else if may_watch {
            self.evidence.watches.insert(id, Watch::new(Reason::Hint, now));
        }
        self.timers.arm(now, Timer::Watch(id));
    }

    /// Does what is due for a watched member.
    pub(super) fn watch(&mut self, now: Instant, id: ShortId) {
        let Some(address) = self.table.get(id).map(|member| member.record.address()) else {
            return;
        };
        let Some(watch) = self.evidence.watches.get_mut(&id) else { return };
        if watch.due() > now {
            self.timers.arm(watch.due(), Timer::Watch(id));
            return;
        }
        if watch.attempt.is_none() {
            let pings = self.take_pings();
            let period = self.watch_period();
            let Some(watch) = self.evidence.watches.get_mut(&id) else { return };
            let rtt = if watch.rtt.is_unknown() { &self.evidence.rtt } else { &watch.rtt };
            watch.attempt = Some(Attempt::new(now, pings, rtt.stretch()));
            // Until the answer says which slot is ours.
            watch.next_at = now + period;
            self.stats.probes += 1;
        }
        while let Some((step, sequence, wants_slot)) = self.next_step(now, id) {
            match step {
                Step::Ping => {
                    let digest = self.digest();
                    let ping = Message::Ping { target: id, sequence, digest, wants_slot };
                    self.send(address, ping, self.notice_for(id), self.cargo_for(id));
                }
                Step::AskHelpers => self.ask_helpers(id, sequence),
                Step::Judge => {
                    self.judge(now, id);
                    break;
                }
            }
        }
        if let Some(watch) = self.evidence.watches.get(&id) {
            self.timers.arm(watch.due(), Timer::Watch(id));
        }
    }

    /// The next step of a probe that is due, with its sequence and whether a slot is wanted.
    fn next_step(&mut self, now: Instant, id: ShortId) -> Option<(Step, u16, bool)> {
        let watch = self.evidence.watches.get_mut(&id)?;
        let wants_slot = watch.reason == Reason::Observer;
        let attempt = watch.attempt.as_mut()?;
        let step = attempt.step(now)?;
        if step != Step::Ping {
            return Some((step, attempt.pings.base(), wants_slot));
        }
        attempt.tries.pings = attempt.tries.pings.saturating_add(1);
        Some((step, attempt.pings.next(now), wants_slot))
    }

    /// Asks helpers to ping a watched member: chosen the first time, the same again.
    fn ask_helpers(&mut self, id: ShortId, sequence: u16) {
        let attempt = self.evidence.watches.get(&id).and_then(|watch| watch.attempt.as_ref());
        let Some(attempt) = attempt else { return };
        let mut helpers: Chosen = attempt.helpers().collect();
        if helpers.is_empty() {
            helpers = self.choose(HELPERS, Some(id));
            if let Some(watch) = self.evidence.watches.get_mut(&id)
                && let Some(attempt) = &mut watch.attempt
            {
                helpers.iter().for_each(|&helper| attempt.add_helper(helper));
            }
        }
        for helper in helpers {
            self.ask_helper(helper, id, sequence);
        }
    }

    pub(super) fn ask_helper(&mut self, helper: ShortId, target: ShortId, sequence: u16) {
        if let Some(address) = self.table.get(helper).map(|member| member.record.address()) {
            self.stats.probes_indirect += 1;
            self.send(address, Message::PingReq { target, sequence }, None, Cargo::News);
        }
    }

    /// Whether an ack answers a ping of ours, and then what follows from it.
    pub(super) fn take_proof(
        &mut self,
        now: Instant,
        sender: ShortId,
        sequence: u16,
        slot_ms: Option<u16>,
    ) {
        let Some(id) = self.asked_about(sender, sequence) else { return };
        let mut outcome = if id == sender { Outcome::Direct(None) } else { Outcome::Relayed };
        if let Some(watch) = self.evidence.watches.get_mut(&id) {
            let slot = slot_ms.map(|slot_ms| Duration::from_millis(u64::from(slot_ms)));
            let slot = slot.filter(|slot| is_slot(*slot, self.config.probe_interval));
            if id == sender
                && let Some(slot) = slot
            {
                watch.next_at = now + slot;
            }
            let attempt = watch.attempt.take();
            let case = self.evidence.cases.get(&id);
            let pings = attempt.as_ref().map(|attempt| attempt.pings);
            let pings = pings.or_else(|| case.map(|case| case.pings));
            // That of a relayed answer is the helper's time too.
            if id == sender
                && let Some(took) = pings.and_then(|pings| pings.time_to(now, sequence))
            {
                watch.rtt.note(took);
                self.evidence.rtt.note(took);
                outcome = Outcome::Direct(Some(took));
            }
            if attempt.is_some() {
                self.evidence.health.note(id, true);
            }
            // A time in the past would look like a standstill.
            watch.next_at = watch.next_at.max(now);
            self.timers.arm(watch.due(), Timer::Watch(id));
            if watch.reason == Reason::Hint {
                self.evidence.watches.swap_remove(&id);
            }
        }
        self.paths.note(now, id, outcome);
        self.answered(now, id);
    }

    /// Whose life an ack proves: the sender's, or that of the member it was asked to ping.
    fn asked_about(&self, sender: ShortId, sequence: u16) -> Option<ShortId> {
        let evidence = &self.evidence;
        let is_ours = |watch: &Watch| {
            let pings = watch.attempt.as_ref().map(|attempt| attempt.pings);
            pings.is_some_and(|pings| pings.are_answered_by(sequence))
        };
        if evidence.watches.get(&sender).is_some_and(is_ours)
            || evidence.cases.get(&sender).is_some_and(|case| case.pings.are_answered_by(sequence))
        {
            return Some(sender);
        }
        let watched = evidence.watches.iter().find(|(_, watch)| {
            let attempt = watch.attempt.as_ref().filter(|attempt| attempt.pings.base() == sequence);
            attempt.is_some_and(|attempt| attempt.helpers().any(|helper| helper == sender))
        });
        // Helpers of a doubted member change, but each is a member.
        let is_member = self.table.get(sender).is_some();
        let doubted = || {
            let mut cases = evidence.cases.iter();
            cases.find(|(_, case)| is_member && case.pings.base() == sequence)
        };
        watched.map(|(id, _)| *id).or_else(|| doubted().map(|(id, _)| *id))
    }

    /// A helper has no answer.
    pub(super) fn take_nack(&mut self, now: Instant, sender: ShortId, sequence: u16) {
        for watch in self.evidence.watches.values_mut() {
            if let Some(attempt) = &mut watch.attempt
                && attempt.pings.base() == sequence
            {
                attempt.take_nack(sender);
                return;
            }
        }
        let doubted =
            self.evidence.cases.iter_mut().find(|(_, case)| case.pings.base() == sequence);
        if let Some((&id, case)) = doubted {
            case.tries.nacks = case.tries.nacks.saturating_add(1).min(case.tries.helpers);
            self.timers.arm(now, Timer::Case(id));
        }
    }

    /// In how many milliseconds this node wants the next ping of one of its observers, so that their
    /// pings are spread evenly; `None` if it is none.
    pub(super) fn slot_for(&self, now: Instant, observer: ShortId) -> Option<u16> {
        let ring = self.table.ring();
        let count = observer_count(ring.len());
        let rank = ring.before(self.local.id()).take(count).position(|id| id == observer)?;
        let interval = u64::try_from(self.config.probe_interval.as_micros()).ok()?;
        let period = interval.checked_mul(u64::try_from(count).ok()?)?;
        let slot = self.slot_base.as_micros().checked_add(interval * u64::try_from(rank).ok()?)?;
        // The first turn of this slot that is at least half a period ahead.
        let earliest = now.as_micros().checked_add(period / 2)?;
        let turns = earliest.saturating_sub(slot).div_ceil(period);
        let ahead = (slot + turns * period).saturating_sub(now.as_micros());
        u16::try_from(ahead / 1_000).ok()
    }

    /// Something is wrong somewhere: probe all that this node watches now.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.evidence.swept_at.is_some_and(|at| now.since(at) < SWEEP_INTERVAL) {
            return;
        }
        self.evidence.swept_at = Some(now);
        for (id, watch) in &mut self.evidence.watches {
            let at = now + SWEEP_SPREAD.mul_f64(self.rng.f64());
            if watch.attempt.is_none() && at < watch.next_at {
                watch.next_at = at;
                self.timers.arm(at, Timer::Watch(*id));
            }
        }
    }

    /// Time between two probes of one member by one observer.
    fn watch_period(&self) -> Duration {
        let count = observer_count(self.table.ring().len()).max(1);
        self.config.probe_interval * u32::try_from(count).unwrap_or(1)
    }
}

/// Whether a slot can be one: at least half a period ahead, and at most one and a half. The subject
/// may count fewer observers than this node does, but neither fewer than one nor more than all.
fn is_slot(slot: Duration, interval: Duration) -> bool {
    let periods = u32::try_from(OBSERVERS).unwrap_or(u32::MAX);
    slot >= interval / 2 && slot <= interval * periods * 3 / 2
}

/// Members probed on a hint at once, beside those that are watched.
const HINTS_MAX: usize = 64;
