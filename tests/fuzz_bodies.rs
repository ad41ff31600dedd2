//! What the fuzz targets do, with their first inputs: without a fuzzer, so that every build sees what no longer fits.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code)] // The fuzzer writes the inputs, too.
mod bodies;

/// Runs every first input; says how many there are.
fn run_all(target: &str, run: impl Fn(&[u8])) -> usize {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let seeds = bodies::seeds::of(tests.as_ref(), target);
    seeds.iter().for_each(|input| run(input));
    seeds.len()
}

#[test]
fn every_target_takes_its_first_inputs() {
    assert!(run_all("apache_log", bodies::apache_log::run) > 50);
    assert_eq!(run_all("config", bodies::config::run), 3);
    assert!(run_all("connection", bodies::connection::run) > 100);
    assert!(run_all("requests", bodies::requests::run) > 500);
    assert!(run_all("snapshot", bodies::snapshot::run) > 50);
    assert!(run_all("txns", bodies::txns::run) > 50);
}

#[test]
fn the_first_segments_are_read_to_their_end() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let seeds = bodies::seeds::of(tests.as_ref(), "log");
    assert!(seeds.len() > 50);
    assert_eq!(seeds.iter().map(|input| bodies::log::run(input)).max(), Some(2), "a frame in each of two");
}
