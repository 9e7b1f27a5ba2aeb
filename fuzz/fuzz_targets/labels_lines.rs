#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| neurosieve_fuzz::read(
    "x.txt",
    bytes,
    neurosieve_fuzz::entry::labels
));
