//! What the engine does about members out of its reach: it doubts them, and in its own view alone gives
//! them up; and what becomes of doubts when the host stood still.

use std::time::Duration;

use astromesh_wire::{ShortId, State};

use super::Engine;
use crate::detector::evidence::case::{Role, SOLICIT_INTERVAL, Tries};
use crate::detector::evidence::health::SICK_AFTER_STALL;
use crate::detector::evidence::watch::HELPERS;
use crate::io::{Change, VerdictRule};
use crate::member::Doubt;
use crate::time::Instant;
use crate::timers::Timer;

impl Engine {
    /// Keeps trying and asking helpers; accuses once one of them answers, gives up at the end.
    pub(super) fn tend_doubt(&mut self, now: Instant, id: ShortId) {
        let is_given_up = self.table.get(id).is_some_and(|member| member.doubt == Doubt::GivenUp);
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        let age = now.since(case.opened_at);
        let (tries, sequence) = (case.tries, case.pings.base());
        let asks = case.ask_at <= now;
        if asks {
            case.ask_at = now
                + match age {
                    _ if is_given_up => GIVEN_UP_INTERVAL,
                    _ if age < UNREACHABLE_AFTER => SOLICIT_INTERVAL,
                    _ => UNREACHABLE_INTERVAL,
                };
        }
        if self.may_accuse(now, tries) {
            self.accuse(now, id);
            return;
        }
        if asks {
            for helper in self.choose(HELPERS, Some(id)) {
                if let Some(case) = self.evidence.cases.get_mut(&id) {
                    case.tries.helpers = case.tries.helpers.saturating_add(1);
                }
                self.ask_helper(helper, id, sequence);
            }
        }
        if age >= self.config.give_up_after.max(UNREACHABLE_AFTER) {
            self.give_up(now, id);
        } else if age >= UNREACHABLE_AFTER && !is_given_up {
            self.doubt(id, Doubt::Unreachable);
        }
    }

    /// Shows a member as suspect; one that was given up already stays so until it answers.
    pub(super) fn suspect(&mut self, id: ShortId) {
        if self.table.get(id).is_some_and(|member| member.doubt != Doubt::GivenUp) {
            self.doubt(id, Doubt::Case);
        }
    }

    /// Notes that this node doubts a member, and says so if users see a difference.
    pub(super) fn doubt(&mut self, id: ShortId, doubt: Doubt) {
        let Some(member) = self.table.get(id) else { return };
        if member.doubt == doubt {
            return;
        }
        let (node, before) = (member.record.id, member.shown_state());
        let Some(after) = self.table.change(id, |member| {
            member.doubt = doubt;
            member.shown_state()
        }) else {
            return;
        };
        if before == after {
            return;
        }
        self.changed(
            node,
            match after {
                State::Alive => Change::Alive,
                State::Suspect => Change::Suspect,
                State::Dead => Change::Dead,
                State::Left => Change::Left,
            },
        );
        if before == State::Dead || after == State::Dead {
            self.evidence.is_stale = true;
            self.elect();
        }
    }

    /// Out of reach for so long that it counts as dead in this view; nobody else is told.
    pub(super) fn give_up(&mut self, now: Instant, id: ShortId) {
        let is_news = self.table.get(id).is_some_and(|member| member.doubt != Doubt::GivenUp);
        if is_news {
            self.keep_own_evidence(now, id, VerdictRule::Unreachable);
            self.doubt(id, Doubt::GivenUp);
            // Its silence says nothing of this node any more, and others are watched instead of it.
            self.evidence.health.forget(id);
        }
    }

    /// This node stood still: what it did not hear in that time proves nothing.
    pub(super) fn drop_cases(&mut self, now: Instant) {
        for (id, watch) in &mut self.evidence.watches {
            if watch.attempt.take().is_some() {
                watch.next_at = now + PROBE_AFTER_STALL;
            }
            self.timers.arm(watch.due(), Timer::Watch(*id));
        }
        let mut kept = 0;
        while let Some((&id, _)) = self.evidence.cases.get_index(kept) {
            let doubt = self.table.get(id).map(|member| member.doubt);
            let Some(Doubt::Unreachable | Doubt::GivenUp) = doubt else {
                self.close(id);
                continue;
            };
            // Out of reach for long before: that is as true as it was.
            if let Some(case) = self.evidence.cases.get_mut(&id) {
                case.role = Role::Doubter;
                case.tries = Tries::default();
                (case.ping_at, case.ask_at, case.own_due) = (now, now, None);
                self.timers.arm(now, Timer::Case(id));
            }
            kept += 1;
        }
        self.evidence.health.fell_behind(now, SICK_AFTER_STALL);
    }

    /// A member that is out of reach says something: it is pinged at once, at most each second.
    pub(super) fn hear_unreachable(&mut self, now: Instant, id: ShortId) {
        // Hardly ever is there a case, and this is asked for every datagram.
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        let interval = match self.table.get(id).map(|member| member.doubt) {
            Some(Doubt::Unreachable) => UNREACHABLE_INTERVAL,
            Some(Doubt::GivenUp) => GIVEN_UP_INTERVAL,
            Some(Doubt::None | Doubt::Case) | None => return,
        };
        if case.ping_at.since(now) + HEARD_INTERVAL <= interval {
            case.ping_at = now;
            self.timers.arm(now, Timer::Case(id));
        }
    }
}

/// A doubted member without any sign of life counts as unreachable after this.
pub(super) const UNREACHABLE_AFTER: Duration = Duration::from_secs(10);

/// Time between pings to an unreachable member, and between requests to helpers.
pub(super) const UNREACHABLE_INTERVAL: Duration = Duration::from_secs(5);

/// The same, once it is shown as dead.
pub(super) const GIVEN_UP_INTERVAL: Duration = Duration::from_secs(30);

/// From the end of a standstill to the next probe of a member that was being probed.
const PROBE_AFTER_STALL: Duration = Duration::from_millis(500);

/// Time between pings to such a member while it is heard.
const HEARD_INTERVAL: Duration = Duration::from_secs(1);
