//! Replays the committed fuzz corpus of operations on a small mesh.

use std::path::Path;

#[path = "../../fuzz/src/engine_operations.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz package, which includes the same file")]
mod engine_operations;

/// The inputs under `fuzz/corpus/engine_operations` that people made.
const SAMPLES: usize = 6;

#[test]
fn no_checker_finds_anything_wrong_in_the_whole_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/engine_operations");
    let mut replayed = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        engine_operations::engine_operations(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= SAMPLES);
}
