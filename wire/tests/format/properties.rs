//! What was written is what is read, for random values; and random bytes never do harm.

use astromesh_wire::limits::{DATAGRAM_BYTES_MAX, METADATA_BYTES_MAX};
use astromesh_wire::{
    Agents, Ballot, ClusterTag, Datagram, Encoder, Evidence, Incarnation, Message, Metadata,
    NodeId, Rejection, Update,
};
use bytes::BytesMut;
use proptest::prelude::*;

use crate::samples::{self, with_checksum};
use crate::strategies::{self, holds};

#[test]
fn message_and_update_are_read_as_written() {
    let inputs = (strategies::short_id(), strategies::message(), strategies::piece());
    holds(inputs, |(sender, message, piece)| {
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, sender, &message);
        prop_assert!(encoder.push(&piece.update()).is_ok());
        encoder.finish(samples::cluster());
        let datagram = Datagram::decode(&buffer, samples::cluster()).unwrap();
        prop_assert_eq!(datagram.sender, sender);
        prop_assert_eq!(datagram.message, message);
        prop_assert_eq!(datagram.updates().collect::<Vec<_>>(), [piece.update()]);
        Ok(())
    });
}

#[test]
fn ballots_are_read_as_written() {
    holds(strategies::ballots(), |ballots| {
        let bytes: Vec<u8> = ballots.iter().flat_map(|ballot| Ballot::to_bytes(*ballot)).collect();
        let evidence = Evidence {
            subject: Incarnation { id: samples::MEMBER, generation: 3, incarnation: 1 },
            accuser: samples::SENDER,
            rule: 1,
            open_ms: 1,
            decided_ms_ago: 1,
            tries: 2,
            helpers: 3,
            nacks: 1,
            health: 0,
            ballots: &bytes,
        };
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, samples::SENDER, &Message::Gossip);
        prop_assert!(encoder.push(&Update::Evidence(evidence)).is_ok());
        encoder.finish(samples::cluster());
        let datagram = Datagram::decode(&buffer, samples::cluster()).unwrap();
        let Some(Update::Evidence(read)) = datagram.updates().next() else {
            panic!("evidence was written");
        };
        prop_assert_eq!(read.ballots().collect::<Vec<_>>(), ballots);
        Ok(())
    });
}

#[test]
fn encoder_keeps_the_budget_and_exactly_what_it_accepted() {
    let pieces = prop::collection::vec(strategies::piece(), 0..180);
    holds((strategies::message(), pieces), |(message, pieces)| {
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, samples::SENDER, &message);
        let fit = pieces.iter().take_while(|piece| encoder.push(&piece.update()).is_ok()).count();
        let room = encoder.room();
        encoder.finish(samples::cluster());
        prop_assert!(buffer.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(buffer.len() + room, DATAGRAM_BYTES_MAX);
        let datagram = Datagram::decode(&buffer, samples::cluster()).unwrap();
        prop_assert!(datagram.updates().eq(pieces[..fit].iter().map(|piece| piece.update())));
        Ok(())
    });
}

#[test]
fn another_cluster_never_believes_and_always_names_the_same_tag() {
    let inputs = ("\\PC{1,32}", "\\PC{1,32}", strategies::message(), strategies::piece());
    holds(inputs, |(ours, theirs, message, piece)| {
        prop_assume!(ClusterTag::of(&ours) != ClusterTag::of(&theirs));
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, samples::SENDER, &message);
        prop_assert!(encoder.push(&piece.update()).is_ok());
        encoder.finish(ClusterTag::of(&ours));
        prop_assert!(Datagram::decode(&buffer, ClusterTag::of(&ours)).is_ok());
        let rejection = Datagram::decode(&buffer, ClusterTag::of(&theirs)).unwrap_err();
        prop_assert_eq!(rejection, Rejection::Checksum { tag: crc32fast::hash(ours.as_bytes()) });
        Ok(())
    });
}

#[test]
fn random_content_under_a_right_checksum_decodes_in_full_or_not_at_all() {
    let content = (0..=0x7f_u8, prop::collection::vec(any::<u8>(), 5..300));
    holds(content, |(kind, rest)| {
        let bytes = with_checksum(&[&[0xa2, kind][..], &rest].concat());
        match Datagram::decode(&bytes, samples::cluster()) {
            Ok(datagram) => prop_assert!(datagram.updates().count() <= rest.len() / 7),
            Err(rejection) => prop_assert_eq!(rejection, Rejection::Malformed),
        }
        Ok(())
    });
}

#[test]
fn metadata_is_read_as_written_or_its_agents_are_elsewhere() {
    holds(strategies::metadata(), |metadata| {
        let bytes = metadata.encode();
        prop_assert!(bytes.len() <= METADATA_BYTES_MAX);
        let decoded = Metadata::decode(&bytes).unwrap();
        if decoded.agents == Agents::Elsewhere {
            prop_assert_eq!(decoded, Metadata { agents: Agents::Elsewhere, ..metadata });
        } else {
            prop_assert_eq!(decoded, metadata);
        }
        Ok(())
    });
}

#[test]
fn metadata_of_random_bytes_takes_no_more_than_it_was_given() {
    // Half of them start as listed agents do, else few would come that far.
    let random = prop::collection::vec(any::<u8>(), 0..=1_100);
    let kind = prop_oneof![Just(0), Just(2)];
    let listed = (kind, random.clone())
        .prop_map(|(kind, rest)| [&[0x1f, 0x40, 0x03, kind][..], &rest].concat());
    holds(prop_oneof![random, listed], |bytes| {
        if let Some(Metadata { agents: Agents::Listed(agents), .. }) = Metadata::decode(&bytes) {
            let taken: usize = agents.iter().map(|agent| agent.name.len() + 1).sum();
            prop_assert!(taken <= bytes.len());
        }
        Ok(())
    });
}

#[test]
fn node_id_is_read_as_printed_and_its_short_form_is_its_start() {
    holds(any::<[u8; 16]>(), |bytes| {
        let id = NodeId::from_bytes(bytes);
        let text = id.to_string();
        prop_assert_eq!(text.parse(), Ok(id));
        prop_assert!(bytes.starts_with(id.short().as_bytes()));
        prop_assert!(text.replace('-', "").starts_with(&id.short().to_string()));
        let number = format!("{:010x}", id.short().to_u64());
        prop_assert_eq!(number, id.short().to_string());
        Ok(())
    });
}
