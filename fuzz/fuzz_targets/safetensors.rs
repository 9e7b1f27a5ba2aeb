#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| neurosieve_fuzz::read(
    "x.safetensors",
    bytes,
    neurosieve_fuzz::entry::activations
));
