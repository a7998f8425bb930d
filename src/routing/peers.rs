//! The round of the static peers of a node without a mesh.
//!
//! Peers tell neither which agents they have nor how busy they are, so each gets its turn. Owns
//! whose turn it is; their health and their refusals are kept like those of nodes.

use super::choose::{Best, Choice, Field};
use super::table::{Mark, Slot, Tier};

#[derive(Debug, Default)]
pub(super) struct Peers {
    /// In the order given by the operator.
    pub(super) slots: Vec<Slot>,
    pub(super) next: usize,
}

/// The next peer that is well; when none is, the next of the least bad. This node itself comes
/// first when it serves: of all of them it alone is known to have the agent.
pub(super) fn take_turn(field: &Field<'_>, next: &mut usize) -> Option<Best> {
    if field.local.load().is_some() && field.local.mark == Mark::Unmet {
        return Some(Best { choice: Choice::Local, tier: Tier::Alive, compared: 1 });
    }
    let count = field.candidates.len();
    let mut best: Option<(Tier, usize)> = None;
    let mut compared = 0;
    for position in (0..count).map(|offset| (*next + offset) % count) {
        let node = field.table.node(field.candidates[position]);
        if field.table.marked(node) != Mark::Unmet {
            continue;
        }
        compared += 1;
        let tier = node.tier(field.now, field.mood);
        if best.is_none_or(|(least, _)| tier < least) {
            best = Some((tier, position));
        }
        if tier == Tier::Alive {
            break;
        }
    }
    let (tier, position) = best?;
    *next = position + 1;
    Some(Best { choice: Choice::Remote(field.candidates[position]), tier, compared })
}
