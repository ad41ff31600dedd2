#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("connection"), |data: &[u8]| ringkeeper_fuzz::connection::run(data));
