//! The `engine_operations` body under libfuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    astromesh_fuzz::engine_operations::engine_operations(bytes);
});
