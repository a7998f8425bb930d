//! Which node a session prefers, so that what it left there is found again.
//!
//! Rendezvous hashing (Thaler and Ravishankar 1998): each node gets a number from the session and
//! its id, and the highest wins. When a node comes or goes, only its own sessions move. Owns the
//! arithmetic; whether the preferred node is taken depends on its load, which the choice looks at.

use astromesh_wire::NodeId;

/// The part of a node in its numbers.
pub(super) fn hash_of(id: NodeId) -> u64 {
    let (high, low) = id.as_bytes().split_at(8);
    let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    mix(word(high) ^ mix(word(low)))
}

/// How much a session prefers the node of this hash.
#[inline]
pub(super) fn preference(session: u64, node: u64) -> u64 {
    mix(session ^ node)
}

/// Spreads each bit over all (the finalizer of the generator `SplitMix64`).
#[inline]
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(session: u64, nodes: u8) -> Option<u8> {
        (0..nodes)
            .max_by_key(|number| preference(session, hash_of(NodeId::from_bytes([*number; 16]))))
    }

    #[test]
    fn sessions_spread_over_nodes_and_only_those_of_a_new_node_move() {
        let mut counts = [0; 8];
        let mut moved = 0;
        for session in 0..8_000 {
            let before = preferred(session, 8).unwrap();
            counts[usize::from(before)] += 1;
            let after = preferred(session, 9).unwrap();
            assert!(after == before || after == 8, "session {session}");
            moved += u32::from(after != before);
        }
        // Expected 1,000 each, with a standard deviation of 30; of the new node 889 and 28.
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert!((750..1_030).contains(&moved), "{moved}");
    }
}
