//! How the log looks and where it goes: text or JSON; standard error or a file. The server's goes through a thread of its
//! own; that of other commands is written at once, and what cannot be written is lost without a word.

use crate::io::log_thread::{LogQueue, Target};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Options of every command about its log.
#[derive(clap::Args)]
pub(super) struct LogArguments {
    /// What goes to the log: error, warn, info, debug, trace or off.
    #[arg(long, global = true, env = "RINGKEEPER_LOG", default_value = "info", value_parser = level, ignore_case = true)]
    log_level: LevelFilter,
    /// How a line of the log looks.
    #[arg(long, global = true, env = "RINGKEEPER_LOG_FORMAT", default_value = "text")]
    log_format: Format,
    /// The server's log goes to this file in place of standard error. SIGHUP opens it again.
    #[arg(long, global = true, env = "RINGKEEPER_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// MiB after which the log file is moved aside to FILE.1, FILE.1 to FILE.2, and so on.
    #[arg(long, global = true, default_value = "64", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    log_file_size: u64,
    /// Log files kept, the present one included.
    #[arg(long, global = true, default_value = "5", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    log_files: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

fn level(text: &str) -> Result<LevelFilter, String> {
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        "off" => LevelFilter::OFF,
        _ => return Err("expected error, warn, info, debug, trace or off".into()),
    })
}

static SERVER_LOG: OnceLock<LogQueue> = OnceLock::new();

/// The log of the server in this process, if it runs one.
pub(super) fn server_log() -> Option<&'static LogQueue> {
    SERVER_LOG.get()
}

/// Waits a moment for what is not written yet.
pub(super) fn flush() {
    if let Some(log) = server_log() {
        log.flush(Duration::from_secs(1));
    }
}

impl LogArguments {
    /// Starts the log; `is_server`: through a thread of its own.
    pub(super) fn start(&self, is_server: bool) -> Result<(), String> {
        if !is_server {
            self.init(|| Quiet(io::stderr()), io::stderr().is_terminal());
            return Ok(());
        }
        let (target, name) = match &self.log_file {
            None => (Target::Stderr, "standard error".into()),
            Some(path) => {
                let (bytes_max, files) = (self.log_file_size << 20, self.log_files as usize);
                (Target::File { path: path.clone(), bytes_max, files }, path.display().to_string())
            }
        };
        let is_terminal = self.log_file.is_none() && io::stderr().is_terminal();
        let log =
            LogQueue::start(target).map_err(|error| format!("cannot write the log to {name}: {error}"))?;
        let log = SERVER_LOG.get_or_init(|| log);
        self.init(move || Line { bytes: Vec::new(), log }, is_terminal);
        Ok(())
    }

    fn init<W>(&self, writer: W, is_terminal: bool)
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(self.log_level)
            .with_writer(writer)
            .log_internal_errors(false)
            .with_target(false);
        match self.log_format {
            Format::Text => subscriber.with_ansi(is_terminal).init(),
            Format::Json => subscriber.json().with_ansi(false).flatten_event(true).init(),
        }
    }
}

/// One event's line, queued when it is whole.
struct Line {
    bytes: Vec<u8>,
    log: &'static LogQueue,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.log.push(std::mem::take(&mut self.bytes));
    }
}

/// Errors of writing lead nowhere.
struct Quiet(io::Stderr);

impl Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_usual_words_in_any_case() {
        for (text, due) in [
            ("error", LevelFilter::ERROR),
            ("WARNING", LevelFilter::WARN),
            ("Warn", LevelFilter::WARN),
            ("INFO", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("Trace", LevelFilter::TRACE),
            ("off", LevelFilter::OFF),
        ] {
            assert_eq!(level(text), Ok(due), "{text}");
        }
        for text in ["", "verbose", "1", "info,debug", "ringkeeper=debug"] {
            assert!(level(text).is_err(), "{text}");
        }
    }
}
