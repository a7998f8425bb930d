//! The bytes behind a record: what does not fit, what is hostile, what is from the future.

use astromesh_wire::limits::{AGENT_NAME_BYTES_MAX, METADATA_BYTES_MAX};
use astromesh_wire::{Agents, Metadata, Service};

use crate::samples;

/// A node with these agents.
fn with_agents(names: Vec<String>) -> Metadata {
    Metadata { http_port: 8_000, services: Service::ALL.to_vec(), agents: Agents::Listed(names) }
}

#[test]
fn every_agent_of_a_node_with_many_short_names_arrives() {
    // 200 names of three letters are 805 bytes: they fit, and are read again one and all.
    let metadata = with_agents((100..300).map(|number| number.to_string()).collect());
    let bytes = metadata.encode();
    assert_eq!(bytes.len(), 807);
    assert_eq!(Metadata::decode(&bytes), Some(metadata));
}

#[test]
fn agents_that_do_not_fit_are_elsewhere() {
    let metadata = with_agents((0..100).map(|number| format!("agent-number-{number}")).collect());
    let bytes = metadata.encode();
    let expected = Metadata { agents: Agents::Elsewhere, ..metadata };
    assert_eq!(bytes.len(), 6);
    assert_eq!(Metadata::decode(&bytes), Some(expected));
}

#[test]
fn list_is_kept_up_to_the_last_byte_and_given_up_with_the_next() {
    let names = |last: usize| {
        let mut names = vec!["n".repeat(100); 9];
        names.push("n".repeat(last));
        names
    };
    let fits = with_agents(names(83));
    assert_eq!(fits.encode().len(), METADATA_BYTES_MAX);
    assert_eq!(Metadata::decode(&fits.encode()), Some(fits));
    let bytes = with_agents(names(84)).encode();
    assert_eq!(Metadata::decode(&bytes).unwrap().agents, Agents::Elsewhere);
}

#[test]
fn agent_with_an_overlong_name_sends_readers_elsewhere() {
    let longest = with_agents(vec!["n".repeat(AGENT_NAME_BYTES_MAX)]);
    assert_eq!(Metadata::decode(&longest.encode()), Some(longest));
    let bytes = with_agents(vec!["n".repeat(AGENT_NAME_BYTES_MAX + 1)]).encode();
    assert_eq!(Metadata::decode(&bytes).unwrap().agents, Agents::Elsewhere);
}

#[test]
fn fields_of_later_versions_are_ignored() {
    for metadata in [samples::listed(), samples::elsewhere()] {
        let mut bytes = metadata.encode();
        bytes.extend([0xfe; 40]);
        assert_eq!(Metadata::decode(&bytes), Some(metadata));
    }
}

#[test]
fn services_of_later_versions_are_ignored() {
    // Bits 0 and 8: `api`, and one that this version has no name for.
    let decoded = Metadata::decode(&[0x1f, 0x40, 0xfb, 0x01, 0x01, 0x01]).unwrap();
    assert_eq!(decoded.services, [Service::Api]);
}

#[test]
fn every_truncation_is_refused() {
    for metadata in [samples::listed(), samples::elsewhere()] {
        let bytes = metadata.encode();
        for length in 0..bytes.len() {
            assert_eq!(Metadata::decode(&bytes[..length]), None, "cut to {length}");
        }
    }
}

#[test]
fn hostile_bytes_are_refused() {
    let head = [0x1f, 0x40, 0x03];
    let tails: [(&str, &[u8]); 9] = [
        ("no such kind of agents", &[2]),
        ("2^60 agents", &[0, 253, 0x10, 0, 0, 0, 0, 0, 0, 0]),
        ("2^32 - 1 agents", &[0, 252, 0xff, 0xff, 0xff, 0xff]),
        ("65,535 agents and none of them there", &[0, 251, 0xff, 0xff]),
        ("one agent with a name of 2^60 bytes", &[0, 1, 253, 0x10, 0, 0, 0, 0, 0, 0, 0]),
        ("one agent whose name is longer than the bytes", &[0, 1, 3, b'a']),
        ("one agent whose name is not UTF-8", &[0, 1, 2, 0xc3, 0x28]),
        ("one agent whose name is half a character", &[0, 1, 1, 0xc3]),
        ("one agent too few", &[0, 2, 1, b'a']),
    ];
    for (row, tail) in tails {
        assert_eq!(Metadata::decode(&[&head[..], tail].concat()), None, "{row}");
    }
}

#[test]
fn more_bytes_than_a_record_may_carry_are_refused() {
    let mut bytes = samples::listed().encode();
    bytes.resize(METADATA_BYTES_MAX, 0);
    assert!(Metadata::decode(&bytes).is_some());
    bytes.push(0);
    assert_eq!(Metadata::decode(&bytes), None);
}

#[test]
fn service_names_are_read_back_and_no_other_is() {
    for service in Service::ALL {
        assert_eq!(service.name().parse(), Ok(service));
    }
    assert!("API".parse::<Service>().is_err());
    assert!("".parse::<Service>().is_err());
}
