#![no_main]

libfuzzer_sys::fuzz_target!(init: ringkeeper_fuzz::prepare("log"), |data: &[u8]| {
    ringkeeper_fuzz::log::run(data);
});
