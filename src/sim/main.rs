//! `ringkeeper-sim`: runs seeds of the simulator; a failing one is named with the command that replays it.

use clap::Parser;
use ringkeeper::sim;
use std::process::ExitCode;

/// Run the server's state machines under virtual time with crashes, torn writes and lost connections.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed only, and print everything that happens
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (seeds, is_loud) = match arguments.seed {
        Some(seed) => (seed..=seed, true),
        None => (arguments.from..=arguments.from + arguments.seeds.max(1) - 1, false),
    };
    let first = *seeds.start();
    let mut sums = [0; 4];
    let mut passed = 0;
    for seed in seeds {
        // A broken invariant of the core ends the process: the seed is named all the same.
        std::panic::set_hook(Box::new(move |panic| {
            println!("seed {seed} FAILED: {panic}");
            println!("replay it: ringkeeper-sim --seed {seed}");
            println!("{} passed, 1 failed", seed.saturating_sub(first));
        }));
        let outcome = sim::run(seed, is_loud);
        if let Some((failure, trace)) = outcome.failure {
            if !is_loud {
                trace.iter().for_each(|line| println!("{line}"));
            }
            println!("seed {seed} FAILED: {failure}");
            println!("replay it: ringkeeper-sim --seed {seed}");
            println!("{passed} passed, 1 failed");
            return ExitCode::FAILURE;
        }
        passed += 1;
        sums.iter_mut().zip(outcome.counts).for_each(|(sum, count)| *sum += count);
        if is_loud {
            println!("trace: {} lines, hash {:016x}", outcome.lines, outcome.hash);
        }
    }
    let [txns, crashes, replies, events] = sums;
    println!("{txns} transactions, {crashes} crashes, {replies} replies and {events} events checked");
    println!("{passed} passed, 0 failed");
    ExitCode::SUCCESS
}
