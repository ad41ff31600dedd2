#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("snapshot"), |data: &[u8]| ringkeeper_fuzz::snapshot::run(data));
