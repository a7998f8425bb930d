//! What the engine does when time has passed.

use std::time::Duration;

use astromesh_wire::{Bucket, Message, ShortId, State};

use super::{Cargo, Engine};
use crate::detector::Verdict;
use crate::member::Doubt;
use crate::paths::Outcome;
use crate::precedence::Standing;
use crate::probe::{Chosen, Probe};
use crate::time::Instant;
use crate::timers::Timer;

impl Engine {
    /// Does what is due. Datagrams that were already waiting belong before this call.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.is_behind(now) {
            self.recover_from_stall(now);
        }
        while let Some((_, ack)) = self.waking.shift_remove_index(0) {
            self.outbox.push_back(ack);
        }
        // Timers that a handler arms for now or earlier wait for the next call: no endless loop.
        let mut budget = TIMERS_PER_CALL_MAX;
        while budget > 0
            && let Some((at, timer)) = self.timers.pop_due(now)
        {
            budget -= 1;
            self.fire(now, at, timer);
        }
        self.regroup(now);
    }

    /// Whether a timer is so late that the host must have stood still.
    pub(super) fn is_behind(&self, now: Instant) -> bool {
        let threshold = match self.evidence_floor() {
            Some(_) => self.config.stall_threshold.min(STALL_OF_EVIDENCE),
            None => self.config.stall_threshold,
        };
        self.timers.next_at().is_some_and(|due| now.since(due) >= threshold)
    }

    fn fire(&mut self, now: Instant, at: Instant, timer: Timer) {
        match timer {
            Timer::Probe => self.end_probe_interval(now, at),
            Timer::ProbeTimeout(sequence) => self.probe_indirectly(sequence),
            Timer::Relay(sequence) => self.end_relay(now, sequence),
            Timer::Suspicion(id) => self.decide(now, id),
            Timer::Watch(id) => self.watch(now, id),
            Timer::Case(id) => self.tend(now, id),
            Timer::RelayAgain(sequence) => self.relay_again(sequence),
            Timer::Gossip => self.gossip(now, at),
            Timer::DeadProbe => self.probe_dead(now),
            Timer::Reap => self.reap(now),
            Timer::Check(id) => self.go_on_checking(now, id),
        }
    }

    /// The process was stopped, or the machine slept: silence in that time proves nothing.
    fn recover_from_stall(&mut self, now: Instant) {
        self.stats.stalls += 1;
        self.probe = None;
        self.relays.clear();
        self.healing.checks.clear();
        self.detector.stalled(now);
        if self.evidence_floor().is_some() {
            self.drop_cases(now);
        }
    }

    /// The first ping on behalf of another member may have been lost.
    fn relay_again(&mut self, sequence: u16) {
        let Some(relay) = self.relays.unanswered(sequence) else { return };
        let target = relay.target;
        if let Some(address) = self.table.get(target).map(|member| member.record.address()) {
            let ping = self.ping(target, sequence);
            self.send(address, ping, self.notice_for(target), Cargo::News);
        }
    }

    fn end_probe_interval(&mut self, now: Instant, at: Instant) {
        if let Some(probe) = self.probe.take() {
            self.probe_failed(now, &probe);
        }
        let interval = self.config.probe_interval * self.detector.patience();
        // From when it was due, so that the rhythm does not drift; unless the host is far behind.
        let next = at + interval;
        self.timers.arm(if next > now { next } else { now + interval }, Timer::Probe);
        if !self.has_left() {
            self.start_probe(now);
        }
    }

    fn start_probe(&mut self, now: Instant) {
        let Some(target) = self.table.next_probed(&mut self.rng) else { return };
        let Some(address) = self.table.get(target).map(|member| member.record.address()) else {
            return;
        };
        let sequence = self.take_sequence();
        self.stats.probes += 1;
        let ping = self.ping(target, sequence);
        self.send(address, ping, self.notice_for(target), Cargo::News);
        self.probe = Some(Probe {
            target,
            sequence,
            sent_at: now,
            relays: Chosen::new(),
            nacks: Chosen::new(),
        });
        let patience = self.detector.patience();
        self.timers.arm(now + self.config.probe_timeout * patience, Timer::ProbeTimeout(sequence));
    }

    /// No answer to the direct ping so far: others try too, and it is sent once more.
    fn probe_indirectly(&mut self, sequence: u16) {
        let Some(target) = self
            .probe
            .as_ref()
            .filter(|probe| probe.sequence == sequence)
            .map(|probe| probe.target)
        else {
            return;
        };
        let relays = self.choose(self.config.indirect_probe_count, Some(target));
        for &relay in &relays {
            let Some(address) = self.table.get(relay).map(|member| member.record.address()) else {
                continue;
            };
            self.stats.probes_indirect += 1;
            self.send(address, Message::PingReq { target, sequence }, None, Cargo::News);
        }
        if let Some(address) = self.table.get(target).map(|member| member.record.address()) {
            let ping = self.ping(target, sequence);
            self.send(address, ping, self.notice_for(target), Cargo::News);
        }
        if let Some(probe) = &mut self.probe {
            probe.relays = relays;
        }
    }

    fn probe_failed(&mut self, now: Instant, probe: &Probe) {
        self.stats.probes_failed += 1;
        self.paths.note(now, probe.target, Outcome::Failed);
        self.detector.probe_failed(probe.relays.len(), probe.nacks.len());
        let Some(member) = self.table.get(probe.target) else { return };
        let accuser = Bucket::of(self.local.id());
        match member.state {
            State::Alive => {
                let claim = Standing { state: State::Suspect, ..member.standing() };
                self.stats.suspicions += 1;
                self.set_standing(now, probe.target, claim, accuser);
            }
            State::Suspect => {
                let update = astromesh_wire::StateUpdate {
                    id: probe.target,
                    state: State::Suspect,
                    accuser,
                    generation: member.record.generation,
                    incarnation: member.record.incarnation,
                };
                self.take_state(now, &update);
            }
            State::Dead | State::Left => {}
        }
    }

    fn end_relay(&mut self, now: Instant, sequence: u16) {
        if let Some(relay) = self.relays.expired(sequence) {
            let nack = Message::Nack { sequence: relay.sequence };
            self.send(relay.requester, nack, None, Cargo::News);
            // A late answer is still passed on for a while.
            self.timers.arm(now + self.config.probe_interval, Timer::Relay(sequence));
        }
    }

    /// The timer of a suspicion fired.
    fn decide(&mut self, now: Instant, id: ShortId) {
        match self.detector.verdict(now, id) {
            Verdict::None => {}
            Verdict::Wait(until) => self.timers.arm(until, Timer::Suspicion(id)),
            Verdict::Dead => {
                let Some(member) = self.table.get(id) else { return };
                if member.state != State::Suspect || self.has_left() {
                    return;
                }
                let claim = Standing { state: State::Dead, ..member.standing() };
                self.keep_timeout(now, id);
                self.stats.deaths += 1;
                self.set_standing(now, id, claim, Bucket::of(self.local.id()));
            }
        }
    }

    /// Pushes news to a few members, and goes on while there is any.
    fn gossip(&mut self, now: Instant, at: Instant) {
        if self.gossip_at != Some(at) {
            return;
        }
        self.gossip_at = None;
        if self.news.is_empty() {
            return;
        }
        let least = if self.evidence_floor().is_some() { FANOUT_OF_EVIDENCE } else { 0 };
        for id in self.choose(self.config.gossip_fanout.max(least), None) {
            if let Some(address) = self.table.get(id).map(|member| member.record.address()) {
                self.send(address, Message::Gossip, self.notice_for(id), Cargo::News);
            }
        }
        // Alone there is nobody to tell; news waits for the first member.
        if !self.table.live().is_empty() {
            self.arm_gossip(now + self.config.gossip_interval);
        }
    }

    /// Up to `count` different live members, chosen at random, without `except`. Doubted ones are
    /// passed over while there are others.
    pub(super) fn choose(&mut self, count: usize, except: Option<ShortId>) -> Chosen {
        let live = self.table.live();
        let mut chosen = Chosen::new();
        if live.len() <= count.saturating_mul(2) {
            let others = || live.iter().copied().filter(|&id| Some(id) != except);
            chosen.extend(others().filter(|&id| !self.is_doubted(id)));
            if chosen.is_empty() {
                chosen.extend(others());
            }
            self.rng.shuffle(&mut chosen);
            chosen.truncate(count);
            return chosen;
        }
        // Far more members than wanted: drawing again is cheap and does not depend on their number.
        for draw in 0..count.saturating_mul(DRAWS_PER_CHOICE) {
            if chosen.len() >= count {
                break;
            }
            let Some(&id) = live.get(self.rng.usize(..live.len())) else { break };
            let is_last_resort = draw >= count.saturating_mul(DRAWS_PER_CHOICE / 2);
            if Some(id) != except
                && !chosen.contains(&id)
                && (is_last_resort || !self.is_doubted(id))
            {
                chosen.push(id);
            }
        }
        chosen
    }

    /// Whether this node has a case against a member, or holds it unreachable.
    pub(super) fn is_doubted(&self, id: ShortId) -> bool {
        self.table.get(id).is_some_and(|member| member.doubt != Doubt::None)
    }

    /// What rides on a datagram to a member. News sent to one that may be dead counts as sent, and
    /// is lost to those that live.
    pub(super) fn cargo_for(&self, id: ShortId) -> Cargo {
        if self.is_doubted(id) { Cargo::Empty } else { Cargo::News }
    }
}

/// Members that a round of gossip goes to at least under the evidence rule: with fewer a death takes
/// longer to spread than to be decided.
const FANOUT_OF_EVIDENCE: usize = 4;

/// Under the evidence rule a death takes seconds, so that even a short standstill matters.
const STALL_OF_EVIDENCE: Duration = Duration::from_millis(100);

/// Draws for each member that is to be chosen: enough to pass over the doubted half of a mesh.
const DRAWS_PER_CHOICE: usize = 16;

/// Timers handled in one call at most. Those left over are due at once again.
const TIMERS_PER_CALL_MAX: usize = 100_000;
