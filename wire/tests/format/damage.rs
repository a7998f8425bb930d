//! What was cut, flipped, or meant for another cluster is never believed.

use astromesh_wire::{ClusterTag, Datagram, Rejection};

use crate::samples;

/// Every datagram that a test starts from, with its name.
fn datagrams() -> Vec<(&'static str, Vec<u8>)> {
    samples::all().into_iter().map(|sample| (sample.name, sample.encode().0)).collect()
}

#[test]
fn every_truncation_is_rejected() {
    for (name, bytes) in datagrams() {
        for length in 0..bytes.len() {
            let rejection = Datagram::decode(&bytes[..length], samples::cluster()).unwrap_err();
            // Eleven bytes are a header and a checksum; from there on the checksum must notice.
            match rejection {
                Rejection::Truncated => assert!(length < 11, "{name} cut to {length}"),
                Rejection::Checksum { .. } => assert!(length >= 11, "{name} cut to {length}"),
                other => panic!("{name} cut to {length}: {other:?}"),
            }
        }
    }
}

#[test]
fn every_truncation_with_a_right_checksum_is_malformed_or_ends_between_updates() {
    for sample in samples::all() {
        let (bytes, ends) = sample.encode();
        for length in 7..bytes.len() - 4 {
            let forged = samples::with_checksum(&bytes[..length]);
            let decoded = Datagram::decode(&forged, samples::cluster());
            // The first part is the header, complete by itself only where nothing else is due.
            let whole = ends.contains(&length)
                && (length > 7 || sample.message == astromesh_wire::Message::Gossip);
            if whole {
                assert!(decoded.is_ok(), "{} cut to {length}", sample.name);
            } else {
                assert_eq!(
                    decoded.unwrap_err(),
                    Rejection::Malformed,
                    "{} at {length}",
                    sample.name
                );
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_rejected() {
    for (name, mut bytes) in datagrams() {
        for index in 0..bytes.len() {
            for bit in 0..8 {
                bytes[index] ^= 1 << bit;
                let rejection = Datagram::decode(&bytes, samples::cluster()).unwrap_err();
                let expected = match (index, bit) {
                    (0, 4..8) => matches!(rejection, Rejection::Magic),
                    (0, _) => matches!(rejection, Rejection::Version(_)),
                    _ => matches!(rejection, Rejection::Checksum { .. }),
                };
                assert!(expected, "{name}, byte {index}, bit {bit}: {rejection:?}");
                bytes[index] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn another_cluster_is_rejected_with_the_tag_of_its_own() {
    let foreign = ClusterTag::of("staging");
    let mut tags = Vec::new();
    for (name, bytes) in datagrams() {
        assert!(Datagram::decode(&bytes, samples::cluster()).is_ok(), "{name}");
        match Datagram::decode(&bytes, foreign).unwrap_err() {
            Rejection::Checksum { tag } => tags.push(tag),
            other => panic!("{name}: {other:?}"),
        }
    }
    // The same for all of them: this is how an operator tells a foreign cluster from damage.
    assert!(tags.iter().all(|tag| *tag == crc32fast::hash(b"default")));
}

#[test]
fn same_content_under_two_cluster_names_differs_in_the_checksum_alone() {
    for (name, bytes) in datagrams() {
        let content = &bytes[..bytes.len() - 4];
        let staging = crc32fast::hash(content) ^ crc32fast::hash(b"staging");
        let other = [content, &staging.to_be_bytes()].concat();
        assert_ne!(bytes, other, "{name}");
        assert!(Datagram::decode(&other, ClusterTag::of("staging")).is_ok(), "{name}");
        let rejection = Datagram::decode(&other, samples::cluster()).unwrap_err();
        assert!(matches!(rejection, Rejection::Checksum { .. }), "{name}: {rejection:?}");
    }
}
