#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("apache_log"), |data: &[u8]| ringkeeper_fuzz::apache_log::run(data));
