//! The trace of a run is asked of the node that keeps it, which the id of the trace names.
//!
//! So it does not matter which node is asked, as with agents. There is no choice and no second try:
//! nobody else has it.

use std::sync::Arc;

use astromesh_wire::ShortId;

use super::dispatch::{After, Attempted, Dispatch, Outstanding};
use super::refusal::Refusal;
use crate::agent::KEEPER_DIGITS;
use crate::api::Code;
use crate::routing::Target;

impl Dispatch<'_> {
    /// Answers with a trace, from here or from its keeper.
    pub(super) async fn trace(&mut self) -> After {
        let Some(keeper) = self.keeper() else {
            return self.own().await;
        };
        let guard = Outstanding::begin(self.proxy, keeper.id);
        match self.there(&keeper, false, guard).await {
            Attempted::Done(after) => return after,
            Attempted::Refuse(refusal)
                if matches!(refusal.code, Code::DeadlineExceeded | Code::BadAnswer) =>
            {
                return self.refuse(&refusal);
            }
            Attempted::Refuse(_) | Attempted::Again => {}
        }
        let id = &self.request.agent;
        let detail =
            format!("Trace '{id}': node {}, which keeps it, could not be reached", keeper.name);
        self.refuse(&Refusal::new(Code::NodesUnreachable, detail))
    }

    /// The live member that keeps the trace, unless it is this node.
    fn keeper(&self) -> Option<Arc<Target>> {
        let snapshot = self.proxy.directory.snapshot();
        if self.request.hops > 0 || snapshot.local_has_left() {
            return None;
        }
        let digits = self.request.agent.get(..KEEPER_DIGITS)?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        let [_, _, _, bytes @ ..] = number.to_be_bytes();
        let member = snapshot.member_by_short(ShortId::from_bytes(bytes))?;
        (member.is_live() && member.id != self.proxy.local)
            .then(|| Arc::new(Target::of_member(member)))
    }
}
