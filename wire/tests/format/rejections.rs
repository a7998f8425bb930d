//! Each reason to reject a datagram, provoked by itself.

use astromesh_wire::{Datagram, Rejection};

use crate::samples::{cluster, with_checksum};

/// Version 2, gossip, sender 11..: a header to put things behind.
const GOSSIP: [u8; 7] = [0xa2, 5, 0x11, 0x11, 0x11, 0x11, 0x11];

fn rejection(bytes: &[u8]) -> Rejection {
    Datagram::decode(bytes, cluster()).unwrap_err()
}

/// The rejection of a datagram with this first and second byte and a right checksum.
fn with_header(first: u8, second: u8) -> Rejection {
    let mut content = GOSSIP.to_vec();
    content[0] = first;
    content[1] = second;
    rejection(&with_checksum(&content))
}

/// The rejection of a message of this kind, flags included, with these fields.
fn with_message(kind: u8, fields: &[u8]) -> Rejection {
    let mut content = [&GOSSIP[..], fields].concat();
    content[1] = kind;
    rejection(&with_checksum(&content))
}

/// How many updates a gossip carries whose updates are these bytes; none when it is malformed.
fn updates_in(updates: &[u8]) -> Option<usize> {
    let bytes = with_checksum(&[&GOSSIP[..], updates].concat());
    match Datagram::decode(&bytes, cluster()) {
        Ok(datagram) => Some(datagram.updates().count()),
        Err(rejection) => {
            assert_eq!(rejection, Rejection::Malformed);
            None
        }
    }
}

/// The rejection of a gossip that carries these bytes as its updates, under a right checksum.
fn with_updates(updates: &[u8]) -> Rejection {
    rejection(&with_checksum(&[&GOSSIP[..], updates].concat()))
}

#[test]
fn empty_and_short_ones_are_truncated() {
    assert_eq!(rejection(&[]), Rejection::Truncated);
    assert_eq!(rejection(&GOSSIP[..1]), Rejection::Truncated);
    assert_eq!(rejection(&[0xa2; 10]), Rejection::Truncated);
    assert!(matches!(rejection(&[0xa2; 11]), Rejection::Checksum { .. }));
}

#[test]
fn more_than_1200_bytes_are_oversize_whatever_they_are() {
    let largest = with_checksum(&[&GOSSIP[..], &[0; 1_189]].concat());
    assert_eq!(largest.len(), 1_200);
    assert_eq!(rejection(&largest), Rejection::Malformed);
    let larger = with_checksum(&[&GOSSIP[..], &[0; 1_190]].concat());
    assert_eq!(rejection(&larger), Rejection::Oversize);
    assert_eq!(rejection(&vec![0xff; 65_507]), Rejection::Oversize);
}

#[test]
fn another_protocol_has_the_wrong_magic() {
    for first in (0..=u8::MAX).filter(|first| first >> 4 != 0xa) {
        assert_eq!(with_header(first, 5), Rejection::Magic);
    }
}

#[test]
fn every_other_version_is_named_before_the_checksum_is_looked_at() {
    for version in (0..16).filter(|version| *version != 2) {
        assert_eq!(with_header(0xa0 | version, 5), Rejection::Version(version));
        assert_eq!(rejection(&[0xa0 | version]), Rejection::Version(version));
    }
}

#[test]
fn sealed_ones_are_told_from_malformed_ones() {
    for kind in 0..=0x7f {
        assert_eq!(with_header(0xa2, 0x80 | kind), Rejection::Sealed);
    }
}

#[test]
fn reserved_flags_are_malformed() {
    for kind in 0..16 {
        assert_eq!(with_message(0x10 | kind, &[1; 40]), Rejection::Malformed);
    }
}

#[test]
fn slot_flag_is_malformed_on_all_but_ping_and_ack() {
    // Fields and no updates, so that nothing but the flag is wrong.
    let subject = [2, 2, 2, 2, 2, 3, 1];
    let rows: [(u8, &[u8]); 7] = [
        (3, &[2, 2, 2, 2, 2, 0, 7]),
        (4, &[0, 7]),
        (5, &[]),
        (6, &[2, 2, 2, 2, 2]),
        (7, &[&subject[..], &[0, 9]].concat()),
        (8, &[&subject[..], &[0]].concat()),
        (9, &[2, 2, 2, 2, 2, 3, 0, 0, 0, 9, 4, 0, 0]),
    ];
    for (kind, fields) in rows {
        let mut content = [&GOSSIP[..], fields].concat();
        content[1] = kind;
        assert!(Datagram::decode(&with_checksum(&content), cluster()).is_ok(), "kind {kind}");
        assert_eq!(with_message(0x20 | kind, fields), Rejection::Malformed, "kind {kind}");
    }
}

#[test]
fn ack_that_ends_before_its_slot_is_malformed() {
    for slot in [&[][..], &[5]] {
        let fields = [&[0, 7, 0xde, 0xad, 0xbe, 0xef][..], slot].concat();
        assert_eq!(with_message(0x22, &fields), Rejection::Malformed);
    }
}

#[test]
fn unknown_votes_are_malformed() {
    for vote in 3..=u8::MAX {
        assert_eq!(with_message(8, &[2, 2, 2, 2, 2, 3, 1, vote]), Rejection::Malformed);
    }
}

#[test]
fn beacons_with_unknown_flags_or_without_their_share_are_malformed() {
    let with_flags = |flags: u8, share: &[u8]| {
        let fields = [&[2, 2, 2, 2, 2, 3, 0, 0, 0, 9, 4, 0, flags][..], share].concat();
        let mut content = [&GOSSIP[..], &fields].concat();
        content[1] = 9;
        Datagram::decode(&with_checksum(&content), cluster()).is_ok()
    };
    // Draining; with a share; both. Every other bit is for later versions to give a meaning.
    for flags in 0..=u8::MAX {
        assert_eq!(with_flags(flags, &[]), flags <= 1, "flags {flags}");
        assert_eq!(with_flags(flags, &[7]), [2, 3].contains(&flags), "flags {flags}, a share");
    }
}

#[test]
fn load_whose_tag_announces_a_limit_that_is_not_there_is_malformed() {
    let load = [2, 2, 2, 2, 2, 3, 9, 2, 35, 60];
    let updates = |tag: u8, limit: &[u8]| updates_in(&[&[tag][..], &load, limit].concat());
    for bits in 0..32 {
        let has_limit = bits & 2 != 0;
        assert_eq!(updates(0xa0 | bits, &[]), (!has_limit).then_some(1), "bits {bits}");
        assert_eq!(updates(0xa0 | bits, &[8]), has_limit.then_some(1), "bits {bits}, a limit");
    }
}

#[test]
fn unknown_messages_are_malformed() {
    for kind in [0, 10, 11, 12, 13, 14, 15] {
        assert_eq!(with_message(kind, &[0; 40]), Rejection::Malformed);
    }
}

#[test]
fn unknown_updates_are_malformed() {
    // Kind 7 with whatever in its lower bits, and kind 6 with what is not one of its four.
    for tag in (0xe0..=0xff).chain(0xc4..=0xdf) {
        for length in [8, 40, 400] {
            assert_eq!(
                with_updates(&[&[tag][..], &vec![0; length]].concat()),
                Rejection::Malformed
            );
        }
    }
}

#[test]
fn one_broken_update_rejects_the_good_ones_before_it() {
    let dead = [0x51, 2, 2, 2, 2, 2, 3, 1];
    let good = with_checksum(&[&GOSSIP[..], &dead].concat());
    assert_eq!(Datagram::decode(&good, cluster()).unwrap().updates().count(), 1);
    assert_eq!(with_updates(&[&dead[..], &dead[..7]].concat()), Rejection::Malformed);
}

#[test]
fn integers_wider_than_their_field_are_malformed() {
    let with_generation =
        |bytes: &[u8]| with_updates(&[&[0x51, 2, 2, 2, 2, 2], bytes, &[1]].concat());
    // 253 opens eight bytes, 254 sixteen, 255 nothing: none of them is a 32-bit number.
    assert_eq!(with_generation(&[253, 0, 0, 0, 0, 0, 0, 0, 3]), Rejection::Malformed);
    assert_eq!(with_generation(&[254; 17]), Rejection::Malformed);
    assert_eq!(with_generation(&[255]), Rejection::Malformed);
}

#[test]
fn extension_block_longer_than_the_datagram_is_malformed() {
    for block in [&[][..], &[1], &[4, 0, 0, 0], &[251, 4], &[251, 0xff, 0xff], &[252, 0, 0, 0, 0]] {
        let mut content = [&GOSSIP[..], block].concat();
        content[1] |= 0x40;
        assert_eq!(rejection(&with_checksum(&content)), Rejection::Malformed, "{block:?}");
    }
}

/// A record up to its name: generation 3, incarnation 0, revision 1, 192.0.2.7:8000.
fn record_head(family: u8) -> Vec<u8> {
    let mut bytes = vec![0x80];
    bytes.extend([0x33; 16]);
    bytes.extend([3, 0, 1, family, 192, 0, 2, 7, 0x1f, 0x40]);
    bytes
}

#[test]
fn records_that_break_a_limit_are_malformed() {
    let long_name = [&[65][..], &[b'n'; 65], &[0]].concat();
    let long_metadata = [&[0, 251, 0x03, 0xe9][..], &[0; 1_001]].concat();
    let no_text = vec![2, 0xc3, 0x28, 0];
    // Lengths of 2^60: refused by what is there, not by trying to reserve them.
    let endless_name = vec![253, 0x10, 0, 0, 0, 0, 0, 0, 0];
    let endless_metadata = vec![0, 253, 0x10, 0, 0, 0, 0, 0, 0, 0];
    for tail in [long_name, long_metadata, no_text, endless_name, endless_metadata] {
        assert_eq!(with_updates(&[record_head(4), tail].concat()), Rejection::Malformed);
    }
    assert_eq!(with_updates(&[record_head(5), vec![0, 0]].concat()), Rejection::Malformed);
    let good = with_checksum(&[&GOSSIP[..], &record_head(4), &[0, 0]].concat());
    assert!(Datagram::decode(&good, cluster()).is_ok());
}

#[test]
fn records_and_entries_of_no_such_state_are_malformed() {
    let (name_and_metadata, gone_for_s) = ([0, 0], [90]);
    for state in 0..32 {
        let mut record = record_head(4);
        record[0] |= state;
        record.extend(name_and_metadata);
        let mut entry = vec![0xc3, state, 2, 2, 2, 2, 2, 3, 1, 2];
        // Alive; dead; left: suspect, which would be 1, is not told from alive here.
        let known = [0, 2, 3].contains(&state);
        let aged = [2, 3].contains(&state);
        assert_eq!(updates_in(&record), (known && !aged).then_some(1), "record, state {state}");
        assert_eq!(updates_in(&entry), (known && !aged).then_some(1), "entry, state {state}");
        record.extend(gone_for_s);
        entry.extend(gone_for_s);
        assert_eq!(updates_in(&record), aged.then_some(1), "aged record, state {state}");
        assert_eq!(updates_in(&entry), aged.then_some(1), "aged entry, state {state}");
    }
}

/// Evidence up to the number of its ballots.
const EVIDENCE: [u8; 20] = [0xc0, 2, 2, 2, 2, 2, 3, 1, 1, 1, 1, 1, 1, 1, 9, 9, 2, 3, 1, 0];

#[test]
fn evidence_with_more_ballots_than_allowed_is_malformed() {
    let with_ballots = |count: u8| {
        let ballots = vec![0x33; usize::from(count) * 8];
        updates_in(&[&EVIDENCE[..], &[count], &ballots].concat())
    };
    for count in 0..=16 {
        assert_eq!(with_ballots(count), Some(1), "{count} ballots");
    }
    for count in 17..=120 {
        assert_eq!(with_ballots(count), None, "{count} ballots");
    }
}

#[test]
fn evidence_with_fewer_ballots_than_it_says_is_malformed() {
    for (count, bytes) in [(1, 0), (1, 7), (16, 127), (255, 1_100)] {
        let ballots = vec![0x33; bytes];
        assert_eq!(
            with_updates(&[&EVIDENCE[..], &[count], &ballots].concat()),
            Rejection::Malformed
        );
    }
}

#[test]
fn ranges_that_do_not_exist_are_malformed() {
    let list = |prefix: u32, bits: u8| {
        updates_in(&[&[0xc2][..], &prefix.to_be_bytes(), &[bits, 0]].concat())
    };
    let parts = |prefix: u32, bits: u8| {
        updates_in(&[&[0xc1][..], &prefix.to_be_bytes(), &[bits], &[0; 256]].concat())
    };
    for bits in 0..=32 {
        // The last bit that counts, and the one after it.
        let last = 0x8000_0000_u32.checked_shr(u32::from(bits).wrapping_sub(1)).unwrap_or(0);
        let beyond = 0x8000_0000_u32.checked_shr(u32::from(bits)).unwrap_or(0);
        assert_eq!((list(last, bits), parts(last, bits)), (Some(1), Some(1)), "{bits} bits");
        if beyond != 0 {
            assert_eq!((list(beyond, bits), parts(beyond, bits)), (None, None), "{bits} bits");
            assert_eq!(list(last | 1, bits), None, "{bits} bits");
        }
    }
    for bits in 33..=u8::MAX {
        assert_eq!((list(0, bits), parts(0, bits)), (None, None), "{bits} bits");
    }
}
