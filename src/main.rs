//! The `ringkeeper` command.

use clap::{Parser, Subcommand};
use ringkeeper::cli::bench::{self, BenchArgs};
use ringkeeper::config::{self, Invocation};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A coordination server that takes the place of Apache ZooKeeper 3.9 on Linux.
#[derive(Parser)]
#[command(name = "ringkeeper", version, after_help = EXIT_CODES)]
struct Cli {
    /// What goes to the log on standard error: error, warn, info, debug or trace.
    #[arg(long, global = true, env = "RINGKEEPER_LOG", default_value = "info")]
    log_level: String,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 stopped in order, 1 the server failed or could not start, 2 wrong usage or \
configuration.";

#[derive(Subcommand)]
enum Command {
    /// Run the server in the foreground until SIGTERM or SIGINT.
    Start(StartArgs),
    /// Measure a ZooKeeper server, or the limits of this machine.
    Bench(BenchArgs),
}

/// Without a file: port 2181 on loopback, data in ./data. With one: an unmodified zoo.cfg. With a port and a folder:
/// those.
#[derive(clap::Args)]
struct StartArgs {
    /// A zoo.cfg, or a port followed by a data folder.
    #[arg(value_name = "ZOO.CFG | PORT DATADIR", num_args = 0..=2)]
    target: Vec<String>,
    /// A setting that Apache takes as a system property, e.g. -Dzookeeper.snapCount=10000. SERVER_JVMFLAGS and
    /// JVMFLAGS are read, too; a key in zoo.cfg wins.
    #[arg(short = 'D', value_name = "NAME=VALUE", allow_hyphen_values = true)]
    defines: Vec<String>,
    /// Only check the configuration and print the settings found.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_target(false)
        .init();
    match cli.command {
        Command::Start(args) => start(&args),
        Command::Bench(args) => bench(args),
    }
}

fn bench(args: BenchArgs) -> ExitCode {
    match bench::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringkeeper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &StartArgs) -> ExitCode {
    let invocation = match args.target.as_slice() {
        [] => Invocation::Defaults,
        [file] => Invocation::File(PathBuf::from(file)),
        [port, folder] => match port.parse() {
            Ok(port) => Invocation::PortAndDir(port, PathBuf::from(folder)),
            Err(_) => {
                eprintln!("ringkeeper: expected a port before the data folder, found {port:?}; see --help");
                return ExitCode::from(2);
            }
        },
        _ => unreachable!("clap takes two at most"),
    };
    let flags: Vec<String> =
        ["SERVER_JVMFLAGS", "JVMFLAGS"].iter().filter_map(|name| std::env::var(name).ok()).collect();
    let loaded = match config::load(&invocation, &args.defines, &flags) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("ringkeeper: {error}");
            return ExitCode::from(2);
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if args.check {
        for (key, value) in &loaded.settings {
            println!("{key}={value}");
        }
        return ExitCode::SUCCESS;
    }
    match ringkeeper::server::run(loaded.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
