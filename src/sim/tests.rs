use super::run;

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
