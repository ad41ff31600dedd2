//! The operator's commands: one file each, listed in [`Command`]. Parses arguments, sets up the log on standard error,
//! and turns the outcome into an exit code; what a command does is done elsewhere.

// Commands read files and the environment.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[macro_use]
mod output;
pub mod bench;
pub mod client;
mod convert;
mod doctor;
mod inspect;
mod logging;
mod shell;
mod start;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A coordination server that takes the place of Apache ZooKeeper 3.9 on Linux.
#[derive(Parser)]
#[command(name = "ringkeeper", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten, next_help_heading = "Log")]
    log: logging::LogArguments,
    #[command(subcommand)]
    command: Command,
}

/// A new command gets a file, an entry here and one in [`run`].
#[derive(Subcommand)]
enum Command {
    Start(start::Arguments),
    Import(convert::ImportArguments),
    Export(convert::ExportArguments),
    /// Measure a ZooKeeper server, or the limits of this machine.
    Bench(bench::BenchArgs),
    Inspect(inspect::InspectArgs),
    Doctor(doctor::Arguments),
    Shell(shell::Arguments),
    /// Print the version.
    Version,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or stopped in order
  1  the server could not start, or failed
  2  wrong usage or a wrong configuration";

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_server = matches!(&cli.command, Command::Start(arguments) if !arguments.is_check());
    // Signals are blocked before the first thread starts, so that no thread is ended by one.
    let prepared = if is_server {
        crate::io::signals::block().map_err(|error| format!("cannot block signals: {error}"))
    } else {
        crate::io::signals::end_on_closed_pipe();
        Ok(())
    };
    if let Err(error) = prepared.and_then(|()| cli.log.start(is_server)) {
        errln!("ringkeeper: {error}");
        return ExitCode::from(FAILED);
    }
    let code = run(cli.command);
    logging::flush();
    code
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Start(arguments) => start::run(&arguments),
        Command::Import(arguments) => convert::import(&arguments),
        Command::Export(arguments) => convert::export(&arguments),
        Command::Bench(arguments) => done_or_failed(bench::run(arguments)),
        Command::Inspect(arguments) => done_or_failed(inspect::run(&arguments)),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Shell(arguments) => shell::run(&arguments),
        Command::Version => {
            outln!("ringkeeper {}", crate::server::texts::BUILD);
            ExitCode::SUCCESS
        }
    }
}

fn done_or_failed<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("ringkeeper: {error}");
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defines_are_written_as_for_java() {
        let cli = Cli::try_parse_from(["ringkeeper", "start", "a.cfg", "-Da=b=c", "-D", "x=1", "--check"]);
        let Ok(Cli { command: Command::Start(arguments), .. }) = cli else { panic!("start is a command") };
        assert_eq!(arguments.defines(), [("a".into(), "b=c".into()), ("x".into(), "1".into())]);
        assert!(Cli::try_parse_from(["ringkeeper", "start", "-Dnothing"]).is_err());
        assert!(Cli::try_parse_from(["ringkeeper", "--log-level", "verbose", "version"]).is_err());
    }
}
