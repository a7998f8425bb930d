//! Any bytes as a datagram: no panic, and what decodes survives being written again.

use astromesh_wire::limits::{BALLOTS_MAX, DATAGRAM_BYTES_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX};
use astromesh_wire::{ClusterTag, Datagram, Encoder, Rejection, State, Update};
use bytes::BytesMut;

const CLUSTER: &str = "default";
const CHECKSUM_BYTES: usize = 4;

/// Decodes the bytes as they are, and once more with the checksum put right: a fuzzer would need
/// ages to guess that, and never see what is behind it.
pub fn decode(bytes: &[u8]) {
    check(bytes);
    if let Some((content, _)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() {
        let checksum = crc32fast::hash(content) ^ crc32fast::hash(CLUSTER.as_bytes());
        check(&[content, &checksum.to_be_bytes()].concat());
    }
}

fn check(bytes: &[u8]) {
    let cluster = ClusterTag::of(CLUSTER);
    let datagram = match Datagram::decode(bytes, cluster) {
        Ok(datagram) => datagram,
        Err(rejection) => {
            let is_oversize = bytes.len() > DATAGRAM_BYTES_MAX;
            assert_eq!(rejection == Rejection::Oversize, is_oversize, "{rejection:?}");
            return;
        }
    };
    let foreign = Datagram::decode(bytes, ClusterTag::of("another"));
    assert!(matches!(foreign, Err(Rejection::Checksum { .. })), "believed by another cluster");

    let updates: Vec<Update<'_>> = datagram.updates().collect();
    // The shortest one is a range that announces a list.
    assert!(updates.len() <= bytes.len() / 7, "more updates than bytes for them");
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, datagram.sender, &datagram.message);
    for update in &updates {
        check_limits(update);
        assert!(encoder.push(update).is_ok(), "what was read does not fit when written");
    }
    encoder.finish(cluster);
    assert!(buffer.len() <= bytes.len(), "written longer than it was read");

    let again = Datagram::decode(&buffer, cluster).expect("what was written decodes");
    assert_eq!((again.sender, again.message), (datagram.sender, datagram.message));
    assert!(again.updates().eq(updates), "updates changed on the way");
}

/// What a reader may rely on in an update that decoded.
fn check_limits(update: &Update<'_>) {
    match update {
        Update::Record(record) => {
            assert!(record.name.len() <= NAME_BYTES_MAX, "name beyond its limit");
            assert!(record.metadata.len() <= METADATA_BYTES_MAX, "metadata beyond their limit");
            check_age(record.state, record.gone_for_s);
        }
        Update::Evidence(evidence) => {
            assert!(evidence.ballots().count() <= BALLOTS_MAX, "more ballots than allowed");
        }
        Update::Range(range) => {
            assert!(range.bits <= 32, "a prefix of {} bits", range.bits);
            let beyond = u64::from(range.prefix) << range.bits;
            assert_eq!(beyond & u64::from(u32::MAX), 0, "a prefix beyond its bits");
        }
        Update::Entry(entry) => check_age(entry.state, entry.gone_for_s),
        Update::State(_) | Update::Load { .. } => {}
    }
}

fn check_age(state: State, gone_for_s: u32) {
    assert_ne!(state, State::Suspect, "a suspect where nobody is told from the living");
    assert!(state != State::Alive || gone_for_s == 0, "alive and gone");
}
