//! What a node says of its own load, and which of two sayings holds.
//!
//! Owns the record, its order and its two texts: our own header and the text form of the Open
//! Request Cost Aggregation standard (ORCA), which other balancers read. Refuses to say how old a
//! record is: that depends on when it came in, which the table keeps.

use std::fmt;

use crate::directory::Member;

/// Longest header value that is read; one that a node writes has at most 62 bytes.
pub const RECORD_BYTES_MAX: usize = 128;

/// The load of one node at one moment, as the node itself counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadRecord {
    /// Which run of its process: the generation of the member.
    pub boot: u32,
    /// Time since the process began, in ticks of 10 ms: comparable whatever way the record took.
    pub sequence: u32,
    /// Requests at the node, those that wait in its queue included.
    pub active: u32,
    /// Requests that the node works on at once; 0 for no limit.
    pub limit: u32,
    /// The node finishes what it has and takes nothing new.
    pub is_draining: bool,
    /// How many of `active` came through the node that the record was written for; `None` in a
    /// record written for everybody.
    pub yours: Option<u32>,
}

impl LoadRecord {
    /// What the directory says of a member.
    #[must_use]
    pub fn of_member(member: &Member) -> Self {
        Self {
            boot: member.generation,
            sequence: member.load_sequence,
            active: member.load.active_requests,
            limit: member.load.limit,
            is_draining: member.load.is_draining,
            yours: None,
        }
    }

    /// Whether this record, which came in after the other, takes its place. Of two from the same
    /// tick the later arrival does, unless it leaves out the share that the other one gives.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let ours = (self.boot, self.sequence);
        let theirs = (other.boot, other.sequence);
        ours > theirs || (ours == theirs && (self.yours.is_some() || other.yours.is_none()))
    }

    /// Reads the value of the header: fields `key=number` between semicolons, in any order. Boot,
    /// sequence and count are needed, unknown keys are passed over, and anything that is no record
    /// is `None`.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        if header.len() > RECORD_BYTES_MAX {
            return None;
        }
        let (mut boot, mut sequence, mut active) = (None, None, None);
        let mut record = Self::default();
        for field in std::str::from_utf8(header).ok()?.split(';') {
            let (key, value) = field.split_once('=')?;
            let number = number(value.trim())?;
            match key.trim() {
                "b" => boot = Some(number),
                "s" => sequence = Some(number),
                "a" => active = Some(number),
                "l" => record.limit = number,
                "d" => record.is_draining = number != 0,
                "o" => record.yours = Some(number),
                _ => {}
            }
        }
        Some(Self { boot: boot?, sequence: sequence?, active: active?, ..record })
    }

    /// Writes the value of the header.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Self { boot, sequence, active, limit, is_draining, yours } = *self;
        let draining = u8::from(is_draining);
        write!(out, "b={boot};s={sequence};a={active};l={limit};d={draining}")?;
        yours.map_or(Ok(()), |yours| write!(out, ";o={yours}"))
    }

    /// Writes the value of the header `endpoint-load-metrics`. A node without a limit has no
    /// utilization to tell.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_orca(&self, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_str("TEXT ")?;
        if self.limit > 0 {
            let hundredths = u64::from(self.active) * 100 / u64::from(self.limit);
            let (whole, rest) = (hundredths / 100, hundredths % 100);
            write!(out, "application_utilization={whole}.{rest:02}, ")?;
        }
        write!(out, "named_metrics.active={}", self.active)
    }
}

impl From<astromesh_wire::LoadRecord> for LoadRecord {
    fn from(record: astromesh_wire::LoadRecord) -> Self {
        let astromesh_wire::LoadRecord { boot, sequence, active, limit, is_draining, yours } =
            record;
        Self { boot, sequence, active, limit, is_draining, yours }
    }
}

impl From<LoadRecord> for astromesh_wire::LoadRecord {
    fn from(record: LoadRecord) -> Self {
        let LoadRecord { boot, sequence, active, limit, is_draining, yours } = record;
        Self { boot, sequence, active, limit, is_draining, yours }
    }
}

/// Digits only: `parse` of the standard library takes a sign, too.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(record: &LoadRecord) -> String {
        let mut text = String::new();
        record.write(&mut text).unwrap();
        text
    }

    prop_compose! {
        fn any_record()(
            boot in 0_u32..3,
            sequence in 0_u32..4,
            active in any::<u32>(),
            limit in any::<u32>(),
            is_draining in any::<bool>(),
            yours in any::<Option<u32>>(),
        ) -> LoadRecord {
            LoadRecord { boot, sequence, active, limit, is_draining, yours }
        }
    }

    fn merge(held: LoadRecord, came: LoadRecord) -> LoadRecord {
        if came.is_newer_than(&held) { came } else { held }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(record in any_record()) {
            prop_assert_eq!(LoadRecord::parse(text(&record).as_bytes()), Some(record));
            prop_assert!(text(&record).len() <= 62);
        }

        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = LoadRecord::parse(&bytes);
        }

        #[test]
        fn the_newest_is_held_in_whatever_order_records_come(
            mut records in prop::collection::vec(any_record(), 1..12),
            seed in any::<u64>(),
        ) {
            // One record a tick: those of one tick differ by their arrival alone.
            records.sort_by_key(|record| (record.boot, record.sequence));
            records.dedup_by_key(|record| (record.boot, record.sequence));
            let newest = records.last().copied();
            // Each comes twice, as by gossip and by a header.
            records.extend_from_within(..);
            fastrand::Rng::with_seed(seed).shuffle(&mut records);
            prop_assert_eq!(records.into_iter().reduce(merge), newest);
        }

        #[test]
        fn grouping_of_merges_makes_no_difference(
            a in any_record(), b in any_record(), c in any_record(),
        ) {
            let moment = |record: LoadRecord| (record.boot, record.sequence);
            prop_assert_eq!(moment(merge(merge(a, b), c)), moment(merge(a, merge(b, c))));
            prop_assert_eq!(moment(merge(a, b)), moment(merge(b, a)));
            prop_assert_eq!(merge(a, a), a);
        }
    }

    #[test]
    fn of_one_tick_the_one_that_knows_our_share_is_kept() {
        let whole = LoadRecord { active: 3, yours: Some(1), ..LoadRecord::default() };
        let part = LoadRecord { active: 4, ..LoadRecord::default() };
        assert_eq!(merge(whole, part), whole);
        assert_eq!(merge(part, whole), whole);
        let later = LoadRecord { active: 5, yours: Some(2), ..LoadRecord::default() };
        assert_eq!(merge(whole, later), later);
    }

    #[test]
    fn header_values_are_read_strictly() {
        let record = LoadRecord { boot: 1, sequence: 2, active: 3, ..LoadRecord::default() };
        let rows: [(&str, Option<LoadRecord>); 10] = [
            ("b=1;s=2;a=3", Some(record)),
            ("a=3; s=2 ;b=1", Some(record)),
            ("b=1;s=2;a=3;z=9", Some(record)),
            ("b=1;s=2;a=3;l=8;d=1;o=2", {
                Some(LoadRecord { limit: 8, is_draining: true, yours: Some(2), ..record })
            }),
            ("b=1;s=2", None),
            ("", None),
            ("b=1;s=2;a=+3", None),
            ("b=1;s=2;a=4294967296", None),
            ("b=1;s=2;a=", None),
            ("b=1;s=2;a=3;", None),
        ];
        for (value, expected) in rows {
            assert_eq!(LoadRecord::parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn orca_text_tells_utilization_only_with_a_limit() {
        let orca = |active, limit| {
            let mut text = String::new();
            LoadRecord { active, limit, ..LoadRecord::default() }.write_orca(&mut text).unwrap();
            text
        };
        assert_eq!(orca(4, 8), "TEXT application_utilization=0.50, named_metrics.active=4");
        assert_eq!(orca(12, 8), "TEXT application_utilization=1.50, named_metrics.active=12");
        assert_eq!(orca(4, 0), "TEXT named_metrics.active=4");
    }
}
