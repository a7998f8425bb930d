//! What follows when a node refused a request or failed at it: another node, or an error.
//!
//! Owns the bookkeeping of the nodes that were asked, and what is told to the core, the metrics and
//! the client of a node that gave no answer. Whether something may be sent twice is the core's to
//! say, within its budget. Driven by `dispatch` and `forward`.

use super::dispatch::{Attempted, Dispatch};
use super::exchange::Fault;
use super::refusal::Refusal;
use super::request::Class;
use super::settings::ATTEMPTS_MAX;
use crate::api::Code;
use crate::routing::{Judgement, Nobody, Outcome, Repeat, Sent, Target};
use crate::telemetry::labels::{
    EjectionCause, Limit, Refusal as Refused, RetryCause, RetryDenial, Side,
};

impl Dispatch<'_> {
    /// A node refused before it read the request.
    pub(super) fn was_refused(&mut self, target: &Target, why: &[u8]) -> Attempted {
        self.refused += 1;
        if why == b"full" {
            self.bounced.push(target.id);
        } else {
            self.tried.push(target.id);
        }
        let (code, kind, what) = match why {
            b"full" => (Code::NodeFull, Refused::Full, "is full"),
            b"draining" => (Code::Draining, Refused::Draining, "is stopping"),
            _ if self.request.class == Class::Model => {
                (Code::HopLimit, Refused::Absent, "does not serve the model")
            }
            _ => (Code::HopLimit, Refused::Absent, "does not run the agent"),
        };
        self.proxy.metrics.refused(Side::Met, kind);
        let whose = self.request.subject();
        let detail = format!("{whose}node {} {what}; nothing has run", target.name);
        let refusal = Refusal::new(code, detail);
        if !self.upload.is_whole() {
            return Attempted::Refuse(refusal);
        }
        self.last_refusal = Some(refusal);
        self.again = Some(RetryCause::Refused);
        Attempted::Again
    }

    /// An attempt failed: whether another may follow.
    pub(super) fn has_failed(&mut self, target: &Target, fault: Fault) -> Attempted {
        self.end_failed_attempt(fault);
        self.failed += 1;
        self.tried.push(target.id);
        let (outcome, sent) = match fault {
            Fault::NotSent => (Outcome::NotConnected, Sent::Never),
            Fault::Broken | Fault::Died | Fault::BadAnswer(_) => (Outcome::Broken, Sent::Maybe),
            Fault::FirstByte => (Outcome::TimedOut, Sent::Maybe),
            Fault::Total => return Attempted::Refuse(self.too_late(fault)),
            Fault::Gone => return Attempted::Done(self.client_left()),
            Fault::Body(fault) => return Attempted::Refuse(self.bad_body(fault)),
        };
        let may_go_on = self.may_go_on(target, outcome, sent);
        if outcome == Outcome::NotConnected || fault == Fault::Broken {
            (self.proxy.doubt)(target.id);
        }
        self.was_sent |= sent == Sent::Maybe;
        if may_go_on {
            return Attempted::Again;
        }
        Attempted::Refuse(match fault {
            Fault::FirstByte => self.too_late(fault),
            Fault::BadAnswer(bad) => {
                Refusal::new(Code::BadAnswer, format!("{}{bad}", self.request.subject()))
            }
            _ => self.nobody(Nobody::AllTried),
        })
    }

    /// Tells the core of a failure, and asks whether the request may be sent once more.
    fn may_go_on(&mut self, target: &Target, outcome: Outcome, sent: Sent) -> bool {
        let metrics = &self.proxy.metrics;
        // Nobody else has it.
        let is_trace = self.request.class == Class::Trace;
        let repeat = if sent == Sent::Maybe { self.repeat_now() } else { self.repeat };
        let (judgement, over_budget, may) = self.proxy.with_core(|core, now| {
            let judgement = core.outcome(now, target, self.request.working_agent(), outcome);
            // Who has waited for so long is not made to wait again.
            let before = core.stats().retries_over_budget;
            let may =
                !is_trace && outcome != Outcome::TimedOut && core.may_retry(now, sent, repeat);
            (judgement, core.stats().retries_over_budget > before, may)
        });
        let (cause, ejection) = match outcome {
            Outcome::NotConnected => (RetryCause::NotConnected, EjectionCause::NotConnected),
            Outcome::TimedOut => (RetryCause::TimedOut, EjectionCause::TimedOut),
            Outcome::Answered(_) | Outcome::Refused | Outcome::Broken => {
                (RetryCause::Broken, EjectionCause::Broken)
            }
        };
        self.judged(judgement, ejection);
        let may = may && self.upload.is_whole() && self.failed < ATTEMPTS_MAX;
        if may {
            self.again = Some(cause);
        } else if !is_trace {
            metrics.retry_denied(if over_budget {
                RetryDenial::Budget
            } else if sent == Sent::Maybe && repeat == Repeat::Unsafe {
                RetryDenial::Unsafe
            } else {
                RetryDenial::Attempts
            });
        }
        may
    }

    /// Counts what an answer or its absence changed in what is thought of a node.
    pub(super) fn judged(&self, judgement: Judgement, cause: EjectionCause) {
        match judgement {
            Judgement::AsBefore => {}
            Judgement::Ejected => self.proxy.metrics.ejected(cause),
            Judgement::Overlooked => self.proxy.metrics.limited(Limit::FailingAgents),
        }
    }

    /// Whether it may run twice, for what is known of the agent by now. Looks at every member, so
    /// it is asked when something failed, and not before.
    fn repeat_now(&self) -> Repeat {
        let is_run = self.request.class == Class::Run;
        if is_run && self.proxy.directory.snapshot().is_idempotent(&self.request.agent) {
            Repeat::Safe
        } else {
            self.repeat
        }
    }

    /// Nobody is left.
    pub(super) fn nobody(&self, nobody: Nobody) -> Refusal {
        match &self.last_refusal {
            Some(refusal) if self.failed == 0 => refusal.clone(),
            Some(_) | None => {
                let mesh = self.proxy.directory.snapshot();
                Refusal::nobody(self.request, nobody, (self.failed, self.was_sent), &mesh)
            }
        }
    }
}
