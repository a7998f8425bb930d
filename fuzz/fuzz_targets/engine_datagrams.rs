//! The `engine_datagrams` body under libfuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    astromesh_fuzz::engine_datagrams::engine_datagrams(bytes);
});
