//! The bytes of every example, compared with files that are read by people.
//!
//! `UPDATE_GOLDEN=1 cargo test -p astromesh-wire` rewrites `wire/tests/golden`. A file that is
//! already released never changes: that would be a new version of the protocol. Each file is also
//! quoted, whole, by `docs/wire-protocol.md`. Files named `version-1-` are kept as they were then.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use astromesh_wire::{Ballot, Datagram, Message, Metadata, Rejection, State, Update};

use crate::samples::{self, Sample};

/// Files of version 1: a ping and an ack with updates.
const VERSION_1_EXAMPLES: usize = 2;

/// Files beside those of [`samples::all`]: two that are only read, and three of metadata.
const OTHER_EXAMPLES: usize = 5;

/// Where the files are.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A file's text: a comment, then one line of hexadecimal digits for each part.
fn render(about: &str, bytes: &[u8], ends: &[usize]) -> String {
    let mut text = format!("# {about}\n");
    let mut start = 0;
    for &end in ends {
        let part: Vec<String> =
            bytes[start..end].iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", part.join(" ")).unwrap();
        start = end;
    }
    text
}

/// The bytes of a file.
fn parse(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// Name and bytes of every file.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, parse(&std::fs::read_to_string(&path).unwrap()))
        })
        .collect()
}

/// Compares bytes with the golden file of this name, or rewrites that.
fn check(name: &str, about: &str, bytes: &[u8], ends: &[usize]) {
    let path = directory().join(format!("{name}.hex"));
    let text = render(about, bytes, ends);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, golden,
        "{name}.hex differs: the format changed, or run with UPDATE_GOLDEN=1 for a new example"
    );
    assert_eq!(parse(&golden), bytes);
}

fn decode(bytes: &[u8]) -> (Message, Vec<Update<'_>>) {
    let datagram = Datagram::decode(bytes, samples::cluster()).unwrap();
    assert_eq!(datagram.sender, samples::SENDER);
    (datagram.message, datagram.updates().collect())
}

#[test]
fn every_example_is_its_golden_bytes_and_back() {
    for sample in samples::all() {
        let (bytes, ends) = sample.encode();
        check(sample.name, sample.about, &bytes, &ends);
        assert_eq!(decode(&bytes), (sample.message, sample.updates), "{}", sample.name);
    }
}

#[test]
fn extension_block_is_skipped() {
    // A ping as it may look some day: flag 0x40, a block of three bytes, then an update.
    let ping = Sample { updates: vec![samples::dead()], ..ping() };
    let (plain, ends) = ping.encode();
    let (message_end, update_end) = (ends[1], ends[2]);
    let mut content = plain[..message_end].to_vec();
    content[1] |= 0x40;
    content.extend([3, 0xe1, 0xe2, 0xe3]);
    content.extend(&plain[message_end..update_end]);
    let bytes = samples::with_checksum(&content);
    check(
        "extension",
        "ping with an extension block of 3 bytes, then a dead-update; read only",
        &bytes,
        &[7, message_end, message_end + 4, content.len(), bytes.len()],
    );
    assert_eq!(decode(&bytes), (ping.message, ping.updates));
}

#[test]
fn integers_wider_than_needed_are_read() {
    let (plain, _) =
        Sample { message: Message::Gossip, updates: vec![samples::dead()], ..ping() }.encode();
    let mut content = plain[..13].to_vec();
    content.extend([0xfb, 0x00, 0x03, 0xfc, 0x00, 0x00, 0x00, 0x01]);
    let bytes = samples::with_checksum(&content);
    check(
        "wide-integers",
        "the dead-update again, generation in three bytes, incarnation in five; read only",
        &bytes,
        &[7, content.len(), bytes.len()],
    );
    assert_eq!(decode(&bytes), (Message::Gossip, vec![samples::dead()]));
}

#[test]
fn bucket_of_an_update_without_accuser_is_ignored() {
    for (kind, state) in [(0, State::Alive), (3, State::Left)] {
        let mut content = vec![0xa2, 5, 1, 1, 1, 1, 1];
        content.extend([(kind << 5) | 0x1f, 2, 2, 2, 2, 2, 3, 1]);
        let bytes = samples::with_checksum(&content);
        let datagram = Datagram::decode(&bytes, samples::cluster()).unwrap();
        let Some(Update::State(update)) = datagram.updates().next() else {
            panic!("a state update");
        };
        assert_eq!((update.state, update.accuser.number()), (state, 0));
    }
}

#[test]
fn ballots_are_their_golden_bytes_and_back() {
    let bytes: Vec<u8> = samples::ballots().into_iter().flat_map(Ballot::to_bytes).collect();
    assert_eq!(bytes, samples::BALLOTS);
    let sample = samples::all().into_iter().find(|sample| sample.name == "evidence").unwrap();
    let (bytes, _) = sample.encode();
    let (_, updates) = decode(&bytes);
    let [Update::Evidence(evidence)] = updates[..] else { panic!("one evidence") };
    assert!(evidence.ballots().eq(samples::ballots()));
}

#[test]
fn vote_of_a_ballot_that_has_no_name_here_is_silence() {
    let mut content = vec![0xa2, 5, 1, 1, 1, 1, 1];
    content.extend([0xc0, 2, 2, 2, 2, 2, 3, 1, 1, 1, 1, 1, 1, 1, 9, 9, 2, 3, 1, 0, 1]);
    content.extend([3, 3, 3, 3, 3, 0x77, 0, 5]);
    let bytes = samples::with_checksum(&content);
    let datagram = Datagram::decode(&bytes, samples::cluster()).unwrap();
    let Some(Update::Evidence(evidence)) = datagram.updates().next() else {
        panic!("evidence");
    };
    let votes: Vec<_> = evidence.ballots().map(|ballot| ballot.vote).collect();
    assert_eq!(votes, [None]);
}

#[test]
fn digests_of_a_range_are_read_in_their_order_and_a_list_has_none() {
    let digests = |name: &str| -> Vec<u32> {
        let sample = samples::all().into_iter().find(|sample| sample.name == name).unwrap();
        let Update::Range(range) = sample.updates[0] else { panic!("a range") };
        range.content.digests().collect()
    };
    let expected: Vec<u32> = (0..64).map(|part| part * 0x0101_0101).collect();
    assert_eq!(digests("range-parts"), expected);
    assert!(digests("range-list").is_empty());
}

#[test]
fn examples_of_version_1_are_told_to_be_of_version_1() {
    let mut seen = 0;
    for (name, bytes) in files().into_iter().filter(|(name, _)| name.starts_with("version-1-")) {
        let rejection = Datagram::decode(&bytes, samples::cluster()).unwrap_err();
        assert_eq!(rejection, Rejection::Version(1), "{name}");
        seen += 1;
    }
    assert_eq!(seen, VERSION_1_EXAMPLES);
}

#[test]
fn metadata_is_its_golden_bytes_and_back() {
    let listed = samples::listed();
    let bytes = listed.encode();
    check(
        "metadata-listed",
        "metadata: port 8000, services api and agents, agents a and b",
        &bytes,
        &[2, 3, bytes.len()],
    );
    assert_eq!(Metadata::decode(&bytes), Some(listed));

    let marked = samples::marked();
    let bytes = marked.encode();
    check(
        "metadata-marked",
        "metadata: the same, and b is idempotent",
        &bytes,
        &[2, 3, 9, bytes.len()],
    );
    assert_eq!(Metadata::decode(&bytes), Some(marked));

    let elsewhere = samples::elsewhere();
    let bytes = elsewhere.encode();
    check(
        "metadata-elsewhere",
        "metadata: port 8000, all eight services (255, in three bytes), agents elsewhere",
        &bytes,
        &[2, 5, bytes.len()],
    );
    assert_eq!(Metadata::decode(&bytes), Some(elsewhere));
}

#[test]
fn specification_quotes_every_golden_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wire-protocol.md");
    let specification = std::fs::read_to_string(&path).unwrap();
    let mut quoted = 0;
    for entry in std::fs::read_dir(directory()).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            specification.contains(&text),
            "docs/wire-protocol.md must quote this file as it is: {}\n{text}",
            file.display()
        );
        quoted += 1;
    }
    let expected = samples::all().len() + OTHER_EXAMPLES + VERSION_1_EXAMPLES;
    assert_eq!(quoted, expected, "a golden file without a test, or the reverse");
}

fn ping() -> Sample {
    samples::all().into_iter().find(|sample| sample.name == "ping").unwrap()
}
