//! Whom people mean: a member by its id, its name, or the beginning of its id.
//!
//! Owns the reading of such a key and the search among the members that are shown. It runs where
//! the question came in, never on the gossip thread, however many members there are. Those who are
//! forgotten are for the history to find.

use std::ops::RangeInclusive;

use astromesh_wire::{NodeId, State};

use crate::directory::Member;

/// Why a key stands for nobody in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotOne {
    /// Nobody known here.
    Unknown,
    /// Several: their names and ids.
    Ambiguous(Vec<(String, NodeId)>),
}

/// What is asked of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sought {
    /// This member.
    Member(NodeId),
    /// Nobody who is shown: one who is forgotten has this name, or an id that begins so.
    Forgotten(String),
}

/// Whom a key stands for among these members: a full id for itself, whoever has it; or else a name,
/// of which one that left is meant last; or else the beginning of an id.
pub(super) fn find<'a>(
    key: String,
    members: impl Iterator<Item = &'a Member>,
) -> Result<Sought, NotOne> {
    if let Ok(id) = key.parse() {
        return Ok(Sought::Member(id));
    }
    let ids = ids_that_begin(&key);
    let (mut named, mut begins) = (Vec::new(), Vec::new());
    for member in members {
        if !key.is_empty() && member.name == key {
            named.push(member);
        }
        if ids.as_ref().is_some_and(|ids| ids.contains(&member.id)) {
            begins.push(member);
        }
    }
    let present: Vec<_> =
        named.iter().copied().filter(|member| member.state != State::Left).collect();
    match (present.as_slice(), named.as_slice(), begins.as_slice()) {
        ([one], _, _) | (_, [one], _) | (_, [], [one]) => Ok(Sought::Member(one.id)),
        (_, [], []) => Ok(Sought::Forgotten(key)),
        (_, [], several) | (_, several, _) => Err(NotOne::Ambiguous(
            several.iter().map(|member| (member.name.clone(), member.id)).collect(),
        )),
    }
}

/// The ids that begin with these digits, between which hyphens do not count; `None` if no id does.
pub(super) fn ids_that_begin(key: &str) -> Option<RangeInclusive<NodeId>> {
    let (mut first, mut last) = ([0_u8; 16], [u8::MAX; 16]);
    let mut count = 0;
    for letter in key.chars().filter(|letter| *letter != '-') {
        let digit = u8::try_from(letter.to_digit(16)?).ok()?;
        let (low, high) = (first.get_mut(count / 2)?, last.get_mut(count / 2)?);
        if count % 2 == 0 {
            (*low, *high) = (digit << 4, digit << 4 | 0xf);
        } else {
            (*low, *high) = (*low | digit, *high & 0xf0 | digit);
        }
        count += 1;
    }
    (count > 0).then(|| NodeId::from_bytes(first)..=NodeId::from_bytes(last))
}

#[cfg(test)]
mod tests {

    use super::*;

    fn id(first: u8, last: u8) -> NodeId {
        let mut bytes = [0; 16];
        (bytes[0], bytes[15]) = (first, last);
        NodeId::from_bytes(bytes)
    }

    fn member(id: NodeId, name: &str, state: State) -> Member {
        let address = ([10, 0, 0, 1], 8_000).into();
        Member { state, ..Member::new(id, name, address) }
    }

    #[test]
    fn a_member_is_found_by_id_name_or_the_beginning_of_its_id() {
        let members = [
            member(id(0x12, 1), "worker", State::Dead),
            member(id(0x12, 2), "worker", State::Left),
            member(id(0x13, 1), "gone", State::Left),
            member(id(0x34, 1), "twin", State::Alive),
            member(id(0x35, 1), "twin", State::Alive),
            member(id(0x36, 1), "ab", State::Alive),
            member(id(0xab, 1), "other", State::Alive),
        ];
        let full = id(0x34, 1).to_string();
        let found = |first, last| Ok(Sought::Member(id(first, last)));
        let forgotten = |key: &str| Ok(Sought::Forgotten(key.to_owned()));
        let rows = [
            ("a full id", full.as_str(), found(0x34, 1)),
            ("a full id of nobody", "00000000-0000-0000-0000-000000000009", found(0, 9)),
            ("the name of one that has not left", "worker", found(0x12, 1)),
            ("the name of one that has", "gone", found(0x13, 1)),
            ("a name before an id", "ab", found(0x36, 1)),
            ("the beginning of an id", "34", found(0x34, 1)),
            ("with a hyphen, in capitals", "AB000000-0", found(0xab, 1)),
            ("nobody shown", "nobody", forgotten("nobody")),
            ("nothing", "", forgotten("")),
            ("two names", "twin", Err(2)),
            ("three ids", "3", Err(3)),
        ];
        for (name, key, expected) in rows {
            let found = find(key.to_owned(), members.iter()).map_err(|error| match error {
                NotOne::Unknown => 0,
                NotOne::Ambiguous(meant) => meant.len(),
            });
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_full_id_is_not_looked_for_among_the_members() {
        let members = std::iter::from_fn(|| panic!("the members were looked through"));
        let key = id(0x34, 1).to_string();
        assert_eq!(find(key, members), Ok(Sought::Member(id(0x34, 1))));
    }

    #[test]
    fn the_beginning_of_an_id_is_a_range_of_ids() {
        let rows = [
            ("1", Some((0x10, 0x1f))),
            ("12", Some((0x12, 0x12))),
            ("1-2", Some((0x12, 0x12))),
            ("1g", None),
            ("", None),
            ("-", None),
            ("123456781234567812345678123456789", None),
        ];
        for (key, expected) in rows {
            let range = ids_that_begin(key);
            let firsts =
                range.map(|range| (range.start().as_bytes()[0], range.end().as_bytes()[0]));
            assert_eq!(firsts, expected, "{key}");
        }
    }
}
