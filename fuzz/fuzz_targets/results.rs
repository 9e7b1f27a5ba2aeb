#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| neurosieve_fuzz::read(
    "results.json",
    bytes,
    neurosieve_fuzz::entry::results
));
