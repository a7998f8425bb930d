//! What must hold after every step, and what must hold once all is calm.
//!
//! Owns what was last seen in each view. Refuses to judge how fast anything happened: that is the
//! business of tests and scenarios.
//!
//! A step costs what it changed: the members that the engine reported. All members of a view are
//! compared now and then, for an engine reports no change of numbers alone.

use std::fmt;
use std::time::Duration;

use astromesh_swim::{Change, Engine, Event, Instant};
use astromesh_wire::NodeId;
use astromesh_wire::limits::DATAGRAM_BYTES_MAX;
use rustc_hash::FxHashMap;

/// Something that must never happen. Nodes are named by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Generation and incarnation of a member fell in a view.
    Fell {
        /// Whose view.
        observer: usize,
        /// Which member.
        member: NodeId,
        /// Generation and incarnation before.
        before: (u32, u32),
        /// Generation and incarnation after.
        after: (u32, u32),
    },
    /// A member that was dead or gone in a view is live again there in the same life.
    Resurrected {
        /// Whose view.
        observer: usize,
        /// Which member.
        member: NodeId,
        /// Generation and incarnation, when it was dead and now.
        life: (u32, u32),
    },
    /// The count of leaders fell.
    TermFell {
        /// Whose view.
        observer: usize,
    },
    /// The leader is not the highest live id of the view.
    WrongLeader {
        /// Whose view.
        observer: usize,
    },
    /// A datagram is too large.
    Oversize {
        /// Who wrote it.
        sender: usize,
        /// Its length.
        bytes: usize,
    },
    /// A timer that was due is still pending.
    TimerInThePast {
        /// Whose timer.
        node: usize,
    },
    /// More timers are armed than the members of a view can explain.
    TooManyTimers {
        /// Whose timers.
        node: usize,
        /// How many.
        timers: usize,
    },
    /// More datagrams came out of one call than the members of a view can explain.
    TooManyDatagrams {
        /// Who wrote them.
        node: usize,
        /// How many.
        datagrams: usize,
    },
    /// After a calm time there is still news to be sent.
    NewsDoesNotEnd {
        /// Whose news.
        node: usize,
    },
    /// After a calm time the views of two nodes differ, or hold others than those that run.
    ViewsDiffer {
        /// Whose view is wrong.
        observer: usize,
    },
    /// After a calm time two nodes follow different leaders.
    LeadersDiffer {
        /// Whose leader is another one than that of the first node.
        observer: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Violations kept; the first ones tell the story.
pub const VIOLATIONS_MAX: usize = 100;

/// Timers that an engine may have armed: each member has a few, and outdated ones stay until they
/// are due.
#[must_use]
pub const fn timers_max(members: usize) -> usize {
    1_024 + 16 * members
}

/// Datagrams that one call of an engine may give rise to.
#[must_use]
pub const fn datagrams_max(members: usize) -> usize {
    256 + 8 * members
}

/// What was last seen in each view, and what was wrong.
#[derive(Debug, Default)]
pub struct Checks {
    views: Vec<View>,
    violations: Vec<Violation>,
}

#[derive(Debug, Default)]
struct View {
    /// Members beyond the first incarnation of their first generation, or not live.
    seen: FxHashMap<NodeId, Seen>,
    term: u64,
    digest: u32,
    /// Whether something changed since all members were compared, and when they may be again.
    audit: Audit,
    audit_from: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    life: (u32, u32),
    is_live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Audit {
    #[default]
    Done,
    Wanted,
}

impl Checks {
    /// Forgets what was seen in a view: its process was started anew.
    pub fn started(&mut self, observer: usize) {
        if self.views.len() <= observer {
            self.views.resize_with(observer + 1, View::default);
        }
        if let Some(view) = self.views.get_mut(observer) {
            *view = View::default();
        }
    }

    /// Looks at a datagram.
    pub fn sent(&mut self, sender: usize, bytes: usize) {
        if bytes > DATAGRAM_BYTES_MAX {
            self.report(Violation::Oversize { sender, bytes });
        }
    }

    /// Looks at an engine after its timers were handled; `now` by its own clock.
    pub fn woken(&mut self, now: Instant, node: usize, engine: &Engine) {
        if engine.poll_timeout().is_some_and(|due| due <= now) {
            self.report(Violation::TimerInThePast { node });
        }
        let timers = engine.timers_pending();
        if timers > timers_max(engine.live_count()) && timers > timers_max(engine.members().count())
        {
            self.report(Violation::TooManyTimers { node, timers });
        }
    }

    /// Looks at what an engine reported.
    pub fn reported(&mut self, observer: usize, engine: &Engine, event: &Event) {
        let Some(view) = self.views.get_mut(observer) else { return };
        view.audit = Audit::Wanted;
        if let Event::Member { id, change } = event {
            if *change == Change::Reaped {
                // Its numbers may start anew.
                view.seen.remove(id);
            } else if let Some(violation) = view.compare(observer, engine, *id) {
                self.report(violation);
            }
        }
    }

    /// Looks at a view after a call of its engine that gave rise to so many datagrams.
    pub fn look(&mut self, now: Instant, observer: usize, engine: &Engine, datagrams: usize) {
        let Some(view) = self.views.get_mut(observer) else { return };
        let has_fallen = engine.term() < view.term;
        view.term = engine.term();
        if view.digest != engine.digest() {
            view.digest = engine.digest();
            view.audit = Audit::Wanted;
        }
        let is_due = view.audit == Audit::Wanted && now >= view.audit_from;
        if has_fallen {
            self.report(Violation::TermFell { observer });
        }
        if datagrams > datagrams_max(0) && datagrams > datagrams_max(engine.members().count()) {
            self.report(Violation::TooManyDatagrams { node: observer, datagrams });
        }
        if is_due {
            self.audit(now, observer, engine);
        }
    }

    /// Compares all members of a view.
    pub fn audit(&mut self, now: Instant, observer: usize, engine: &Engine) {
        let Some(view) = self.views.get_mut(observer) else { return };
        let mut found = Vec::new();
        let mut members = 0;
        let mut highest = engine.local().is_live().then_some(engine.local().record.id);
        let leads = highest.is_some();
        for member in engine.members().chain([engine.local()]) {
            members += 1;
            found.extend(view.compare(observer, engine, member.record.id));
            if leads && member.is_shown_live() {
                highest = highest.max(Some(member.record.id));
            }
        }
        if engine.leader() != highest {
            found.push(Violation::WrongLeader { observer });
        }
        view.audit = Audit::Done;
        view.audit_from = now + (AUDIT_INTERVAL_PER_MEMBER * members).max(AUDIT_INTERVAL_MIN);
        for violation in found {
            self.report(violation);
        }
    }

    /// Notes what was wrong.
    pub fn report(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// What was wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl View {
    /// Compares a member with what was last seen of it.
    fn compare(&mut self, observer: usize, engine: &Engine, id: NodeId) -> Option<Violation> {
        let member = engine.member(id)?;
        let life = (member.record.generation, member.record.incarnation);
        let now = Seen { life, is_live: member.is_live() };
        let before = self.seen.get(&id).copied().unwrap_or(Seen { life: (0, 0), is_live: true });
        // What nearly all members are needs no memory.
        if now.life > (1, 0) || !now.is_live {
            self.seen.insert(id, now);
        }
        if life < before.life {
            Some(Violation::Fell { observer, member: id, before: before.life, after: life })
        } else if now.is_live && !before.is_live && life == before.life {
            Some(Violation::Resurrected { observer, member: id, life })
        } else {
            None
        }
    }
}

/// A view is compared in full at most once in this time for each of its members, which bounds the
/// cost by a hundred comparisons for each node and second.
const AUDIT_INTERVAL_PER_MEMBER: Duration = Duration::from_millis(10);
const AUDIT_INTERVAL_MIN: Duration = Duration::from_secs(1);
