//! Any bytes as operations on a small mesh: crashes, cuts, lies. No checker finds anything wrong.

/// Plays the bytes on the simulator; what they stand for is said in `sim/src/operations.rs`.
pub fn engine_operations(bytes: &[u8]) {
    let violations = astromesh_sim::operations::play(bytes);
    assert!(violations.is_empty(), "{violations:?}");
}
