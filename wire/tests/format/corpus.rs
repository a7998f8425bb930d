//! Replays the committed fuzz corpus, so that what a fuzzer once found stays found.

use std::path::Path;

use crate::{golden, samples};

#[path = "../../../fuzz/src/decode.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz package, which includes the same file")]
mod decode;
#[path = "../../../fuzz/src/metadata.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz package, which includes the same file")]
mod metadata;

/// Runs `body` on every file of a corpus; returns how many there were.
fn replay(target: &str, body: fn(&[u8])) -> usize {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        body(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    replayed
}

#[test]
fn decode_holds_its_promises_on_the_whole_corpus() {
    assert!(replay("decode", decode::decode) >= samples::all().len());
}

#[test]
fn metadata_holds_its_promises_on_the_whole_corpus() {
    assert!(replay("metadata", metadata::metadata) >= 2);
}

#[test]
fn corpus_holds_the_golden_bytes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, bytes) in golden::files() {
        let target = if name.starts_with("metadata") { "metadata" } else { "decode" };
        let file = corpus.join(target).join(&name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &bytes).unwrap();
        }
        let seed = std::fs::read(&file).unwrap_or_default();
        assert!(seed == bytes, "{}: run with UPDATE_GOLDEN=1", file.display());
    }
}
