//! Lines to standard output, which may be closed early, and progress to a terminal.

use serde_json::Value;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Standard output, buffered.
pub(super) struct Out {
    /// JSON lines instead of text.
    pub is_json: bool,
    sink: BufWriter<Stdout>,
}

/// What an operation fails with when nobody reads on; `run` takes it for success.
pub(super) const CLOSED: &str = "the output was closed";

impl Out {
    pub fn new(is_json: bool) -> Out {
        Out { is_json, sink: BufWriter::with_capacity(64 << 10, io::stdout()) }
    }

    pub fn line(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.sink, "{line}").map_err(output_error)
    }

    pub fn json(&mut self, value: &Value) -> Result<(), String> {
        writeln!(self.sink, "{value}").map_err(output_error)
    }

    pub fn flush(&mut self) -> Result<(), String> {
        self.sink.flush().map_err(output_error)
    }
}

fn output_error(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CLOSED.into(),
        _ => format!("cannot write the output: {error}"),
    }
}

/// How far long work has come, on standard error, if that is a terminal and standard output is none.
pub(super) struct Progress {
    name: String,
    bytes: u64,
    told: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub fn new(path: &Path, bytes: u64) -> Progress {
        let is_wanted = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Progress { name, bytes: bytes.max(1), told: is_wanted.then(Instant::now), is_shown: false }
    }

    pub fn none() -> Progress {
        Progress { name: String::new(), bytes: 1, told: None, is_shown: false }
    }

    pub fn at(&mut self, position: u64) {
        let Some(told) = &mut self.told else { return };
        if told.elapsed() > EVERY {
            *told = Instant::now();
            self.is_shown = true;
            crate::cli::output::err(format_args!(
                "\r{}: {} %",
                self.name,
                position.min(self.bytes) * 100 / self.bytes
            ));
        }
    }

    pub fn done(&self) {
        if self.is_shown {
            errln!("\r{}: 100 %", self.name);
        }
    }
}

const EVERY: Duration = Duration::from_secs(1);
