#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("config"), |data: &[u8]| ringkeeper_fuzz::config::run(data));
