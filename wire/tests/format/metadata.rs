//! The bytes behind a record: what does not fit, what is hostile, what is from the future.

use astromesh_wire::limits::{AGENT_NAME_BYTES_MAX, METADATA_BYTES_MAX};
use astromesh_wire::{Agent, Agents, Metadata, Service};

use crate::samples;

/// A node with these agents.
fn with_agents(names: Vec<String>) -> Metadata {
    let agents = Agents::Listed(names.into_iter().map(Agent::named).collect());
    Metadata { http_port: 8_000, services: Service::ALL.to_vec(), agents }
}

/// A node with so many agents, of which every one that leaves 2 of a division by 3 is idempotent.
fn with_marks(count: usize) -> Metadata {
    let agent = |number: usize| Agent { name: number.to_string(), is_idempotent: number % 3 == 2 };
    Metadata { agents: Agents::Listed((0..count).map(agent).collect()), ..with_agents(Vec::new()) }
}

#[test]
fn idempotent_agents_cost_a_bit_for_each_agent_and_none_costs_nothing() {
    // With two agents none is idempotent yet; from the third on there are marks, eight in a byte.
    let cases = [(0, 0), (1, 0), (2, 0), (3, 1), (8, 1), (9, 2), (16, 2), (17, 3), (200, 25)];
    for (count, marks) in cases {
        let metadata = with_marks(count);
        let names = (0..count).map(|number| number.to_string()).collect();
        let bytes = metadata.encode();
        assert_eq!(bytes.len(), with_agents(names).encode().len() + marks, "{count} agents");
        assert_eq!(Metadata::decode(&bytes), Some(metadata), "{count} agents");
    }
}

#[test]
fn first_agent_is_the_lowest_bit_and_bits_beyond_the_last_are_ignored() {
    let names: Vec<u8> = (b'a'..=b'i').flat_map(|letter| [1, letter]).collect();
    let bytes = [&[0x1f, 0x40, 0x01, 2, 9], &names[..], &[0b1000_0001, 0b1111_1111]].concat();
    let Agents::Listed(agents) = Metadata::decode(&bytes).unwrap().agents else {
        panic!("they are listed")
    };
    let idempotent = agents.iter().filter(|agent| agent.is_idempotent);
    assert_eq!(idempotent.map(|agent| agent.name.as_str()).collect::<String>(), "ahi");
}

#[test]
fn list_is_given_up_when_only_its_marks_do_not_fit() {
    let names = |last: usize| {
        let mut metadata = with_agents([vec!["n".repeat(100); 9], vec!["n".repeat(last)]].concat());
        let Agents::Listed(agents) = &mut metadata.agents else { panic!("they are listed") };
        agents[9].is_idempotent = true;
        metadata
    };
    // Ten agents have two bytes of marks.
    let fits = names(81);
    assert_eq!(fits.encode().len(), METADATA_BYTES_MAX);
    assert_eq!(Metadata::decode(&fits.encode()), Some(fits));
    let decoded = Metadata::decode(&names(82).encode()).unwrap();
    assert_eq!(decoded.agents, Agents::Elsewhere);
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
    for metadata in [samples::listed(), samples::marked(), samples::elsewhere()] {
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
    for metadata in [samples::listed(), samples::marked(), with_marks(17), samples::elsewhere()] {
        let bytes = metadata.encode();
        for length in 0..bytes.len() {
            assert_eq!(Metadata::decode(&bytes[..length]), None, "cut to {length}");
        }
    }
}

#[test]
fn hostile_bytes_are_refused() {
    let head = [0x1f, 0x40, 0x03];
    let tails: [(&str, &[u8]); 12] = [
        ("no such kind of agents", &[3]),
        ("2^60 agents", &[0, 253, 0x10, 0, 0, 0, 0, 0, 0, 0]),
        ("2^32 - 1 agents", &[0, 252, 0xff, 0xff, 0xff, 0xff]),
        ("65,535 agents and none of them there", &[0, 251, 0xff, 0xff]),
        ("one agent with a name of 2^60 bytes", &[0, 1, 253, 0x10, 0, 0, 0, 0, 0, 0, 0]),
        ("one agent whose name is longer than the bytes", &[0, 1, 3, b'a']),
        ("one agent whose name is not UTF-8", &[0, 1, 2, 0xc3, 0x28]),
        ("one agent whose name is half a character", &[0, 1, 1, 0xc3]),
        ("one agent too few", &[0, 2, 1, b'a']),
        ("marks without agents", &[2]),
        ("2^60 agents with marks", &[2, 253, 0x10, 0, 0, 0, 0, 0, 0, 0]),
        ("an agent without its mark", &[2, 1, 1, b'a']),
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
