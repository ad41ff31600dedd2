//! Runs one body a given number of turns, for callgrind to count its instructions: `scripts/instructions`. Alone it only
//! lists the bodies with the operations of a turn.

mod bodies;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [name, turns] = arguments.as_slice() else {
        for (name, prepare) in bodies::ALL {
            println!("{}\t{name}", prepare(NODES).operations);
        }
        return ExitCode::SUCCESS;
    };
    let found = bodies::ALL.iter().find(|(known, _)| known == name);
    let (Some((_, prepare)), Ok(turns)) = (found, turns.parse::<u64>()) else {
        eprintln!("expected the name of a body and a number of turns, found \"{name}\" and \"{turns}\"");
        return ExitCode::FAILURE;
    };
    let mut body = prepare(NODES);
    (0..turns).for_each(|_| (body.turn)());
    ExitCode::SUCCESS
}

/// Instructions do not depend on caches, and callgrind is slow.
const NODES: u32 = 10_000;
