//! Ranges of ids, by the first bits of their hashes. Pure.
//!
//! Two views that differ are compared range by range: a range is divided into [`PARTS`] equal parts
//! until the one that differs holds few enough members to name them all. Ids are spread evenly by
//! their hash, so the parts of a range hold about as many members each.

use std::ops::RangeInclusive;

use astromesh_wire::Range;
use astromesh_wire::update::PARTS;

/// The ids whose hash starts with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// The bits, left-aligned; the others are zero.
    value: u32,
    /// How many count, at most 32.
    bits: u32,
}

/// Bits by which a part's prefix is longer than that of its range.
const PART_BITS: u32 = PARTS.ilog2();

impl Prefix {
    /// All ids.
    pub const ALL: Self = Self { value: 0, bits: 0 };

    /// The ids that a range on the wire is about.
    #[must_use]
    pub fn of(range: &Range<'_>) -> Self {
        Self { value: range.prefix, bits: u32::from(range.bits) }
    }

    /// The bits, left-aligned.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.value
    }

    /// How many bits count.
    #[must_use]
    pub fn bits(self) -> u8 {
        u8::try_from(self.bits).unwrap_or(u8::MAX)
    }

    /// Whether these are all ids.
    #[must_use]
    pub const fn is_all(self) -> bool {
        self.bits == 0
    }

    /// Whether it is larger than a part of all ids: its digests take as long as there are members.
    #[must_use]
    pub const fn is_large(self) -> bool {
        self.bits < PART_BITS
    }

    /// Whether there are parts of it that a range on the wire can name.
    #[must_use]
    pub const fn is_divisible(self) -> bool {
        self.bits + PART_BITS <= u32::BITS
    }

    /// The part with this index, of [`PARTS`]; `None` if it cannot be divided any more.
    #[must_use]
    pub fn part(self, index: usize) -> Option<Self> {
        let bits = self.bits + PART_BITS;
        let shift = u32::BITS.checked_sub(bits)?;
        let index = u32::try_from(index).ok()?;
        Some(Self { value: self.value | (index << shift), bits })
    }

    /// The index of the part that a hash within this range belongs to.
    #[must_use]
    pub fn part_of(self, hash: u64) -> usize {
        let below = hash.wrapping_shl(self.bits);
        usize::try_from(below >> (u64::BITS - PART_BITS)).unwrap_or(0)
    }

    /// The hashes within this range.
    #[must_use]
    pub fn hashes(self) -> RangeInclusive<u64> {
        let first = u64::from(self.value) << 32;
        first..=first | u64::MAX.checked_shr(self.bits).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_range_are_next_to_each_other_and_cover_it() {
        let mut range = Prefix::ALL;
        while range.is_divisible() {
            let mut next = *range.hashes().start();
            for index in 0..PARTS {
                let part = range.part(index).unwrap();
                assert_eq!(*part.hashes().start(), next);
                assert_eq!(range.part_of(next), index);
                assert_eq!(range.part_of(*part.hashes().end()), index);
                next = part.hashes().end().wrapping_add(1);
            }
            assert_eq!(next, range.hashes().end().wrapping_add(1));
            range = range.part(37).unwrap();
        }
        assert_eq!((range.bits(), range.part(0)), (30, None));
    }
}
