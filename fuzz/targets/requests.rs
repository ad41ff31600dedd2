#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("requests"), |data: &[u8]| ringkeeper_fuzz::requests::run(data));
