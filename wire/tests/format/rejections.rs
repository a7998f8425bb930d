//! Each reason to reject a datagram, provoked by itself.

use astromesh_wire::{Datagram, Rejection};

use crate::samples::{cluster, with_checksum};

/// Version 1, gossip, sender 11..: a header to put things behind.
const GOSSIP: [u8; 7] = [0xa1, 5, 0x11, 0x11, 0x11, 0x11, 0x11];

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

/// The rejection of a gossip that carries these bytes as its updates, under a right checksum.
fn with_updates(updates: &[u8]) -> Rejection {
    rejection(&with_checksum(&[&GOSSIP[..], updates].concat()))
}

#[test]
fn empty_and_short_ones_are_truncated() {
    assert_eq!(rejection(&[]), Rejection::Truncated);
    assert_eq!(rejection(&GOSSIP[..1]), Rejection::Truncated);
    assert_eq!(rejection(&[0xa1; 10]), Rejection::Truncated);
    assert!(matches!(rejection(&[0xa1; 11]), Rejection::Checksum { .. }));
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
    for version in (0..16).filter(|version| *version != 1) {
        assert_eq!(with_header(0xa0 | version, 5), Rejection::Version(version));
        assert_eq!(rejection(&[0xa0 | version]), Rejection::Version(version));
    }
}

#[test]
fn sealed_ones_are_told_from_malformed_ones() {
    for kind in 0..=0x7f {
        assert_eq!(with_header(0xa1, 0x80 | kind), Rejection::Sealed);
    }
}

#[test]
fn reserved_flags_are_malformed() {
    for flags in [0x10, 0x20, 0x30] {
        assert_eq!(with_header(0xa1, flags | 5), Rejection::Malformed);
    }
}

#[test]
fn unknown_messages_are_malformed() {
    for kind in [0, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        assert_eq!(with_header(0xa1, kind), Rejection::Malformed);
    }
}

#[test]
fn unknown_updates_are_malformed() {
    for kind in [6_u8, 7] {
        assert_eq!(with_updates(&[kind << 5, 2, 2, 2, 2, 2, 3, 1]), Rejection::Malformed);
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
