#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("txns"), |data: &[u8]| ringkeeper_fuzz::txns::run(data));
