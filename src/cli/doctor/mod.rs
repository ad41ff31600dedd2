//! `ringkeeper doctor`: looks at the machine as the server will find it, or finds it, and says what to change. `gather` reads
//! and tries things and fills [`facts::Facts`]; `checks` turn facts into findings and touch nothing; `report` shows them.

mod checks;
mod facts;
mod finding;
mod gather;
mod machine;
mod report;
#[cfg(test)]
mod tests;

use super::{FAILED, WRONG_USAGE, start};
use crate::config::Config;
use clap::ValueEnum;
use facts::Facts;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check this machine against what Ringkeeper needs, and say what to change.
///
/// Reads settings of the kernel, of disks, network cards and control groups, and tries io_uring and a few durable writes
/// (a scratch file of 256 KiB in the log's folder, removed again). Changes nothing. Run it as the user that runs the server;
/// while a server runs on these folders, its own limits and CPUs are looked at.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// The server's zoo.cfg; without it, what `ringkeeper start` without a file would use.
    #[arg(value_name = "ZOO.CFG", conflicts_with = "from")]
    config: Option<PathBuf>,
    /// A setting, as for `start`.
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = start::define)]
    defines: Vec<(String, String)>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Say why also of what is in order.
    #[arg(long, short)]
    verbose: bool,
    /// Judge another machine by its facts (written there with --output facts).
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Text,
    /// One object for programs: checks with status, found, why and change, and counts.
    Json,
    /// What was read, unjudged, as one object.
    Facts,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing needs changing; there may be checks that cannot tell
  1  something is to change: at least one problem, or advice
  2  wrong usage or a wrong configuration";

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let facts = match arguments.facts() {
        Ok(facts) => facts,
        Err(error) => {
            errln!("ringkeeper: {error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let findings = checks::all(&facts);
    let text = match arguments.output {
        Output::Text => report::text(&facts, &findings, arguments.verbose),
        Output::Json => pretty(&report::json(&facts, &findings)),
        Output::Facts => pretty(&facts),
    };
    // Nobody has to read on.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let is_due = arguments.output != Output::Facts && findings.iter().any(|finding| finding.status.is_due());
    if is_due { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

impl Arguments {
    fn facts(&self) -> Result<Facts, String> {
        if let Some(file) = &self.from {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            return serde_json::from_str(&text).map_err(|error| {
                format!(
                    "{} holds no facts of a machine (ringkeeper doctor --output facts): {error}",
                    file.display()
                )
            });
        }
        let env = |name: &str| std::env::var(name).ok();
        let loaded = Config::load(self.config.as_deref(), &self.defines, &env);
        let (loaded, warnings) = match loaded {
            Ok((config, warnings)) => (Ok(config), warnings),
            Err(failed) => (Err(failed.error.to_string()), failed.warnings),
        };
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let config = loaded?;
        Ok(gather::gather(&config.server))
    }
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("texts and numbers always serialise") + "\n"
}
