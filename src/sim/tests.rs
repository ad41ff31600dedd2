use super::{run, run_with};

#[test]
fn some_seeds_hold() {
    for seed in 0..20 {
        if let Some((failure, trace)) = run(seed, false).failure {
            panic!("seed {seed}: {failure}\n{}", trace.join("\n"));
        }
    }
}

#[test]
fn a_seed_decides_everything() {
    let (once, again) = (run(7, false), run(7, false));
    assert_eq!((once.hash, once.lines, once.counts), (again.hash, again.lines, again.counts));
    assert_ne!(once.hash, run(8, false).hash);
}

#[test]
fn a_batch_that_reaches_one_shard_after_the_other_is_found() {
    let fails =
        |seed: &u64| run_with(*seed, false, |settings| settings.has_torn_words = true).failure.is_some();
    assert!((0..300).any(|seed| fails(&seed)));
}
