//! What is wrong with a configuration, told to the person who has to mend it.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A line of a file, counted from 1.
    File {
        /// As given.
        path: PathBuf,
        /// Of the key.
        line: usize,
    },
    /// `-D` or a positional argument.
    CommandLine,
    /// `-D` in an environment variable.
    Environment(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line } => write!(out, "{}, line {line}", path.display()),
            Place::CommandLine => write!(out, "command line"),
            Place::Environment(name) => write!(out, "environment variable {name}"),
        }
    }
}

/// Why the server does not start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A value is not what its key takes.
    #[error("{place}: {key}: expected {expected}, found \"{found}\"")]
    Malformed {
        /// Where it is set.
        place: Place,
        /// As written.
        key: String,
        /// In words.
        expected: String,
        /// As written.
        found: String,
    },
    /// Well-formed, but this version cannot do it or the settings contradict each other.
    #[error("{place}: {what}. {way_out}")]
    Refused {
        /// Where it is set.
        place: Place,
        /// What is refused.
        what: String,
        /// What to do about it.
        way_out: String,
    },
    /// Something necessary is not set.
    #[error("{}: {key} is not set. {way_out}", path.display())]
    Missing {
        /// The file that lacks it.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What to do about it.
        way_out: String,
    },
}

/// A configuration that cannot be used, with what was noticed before: often the cause.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct LoadError {
    /// In the order in which they were noticed.
    pub warnings: Vec<Warning>,
    /// Why it cannot be used.
    pub error: Box<ConfigError>,
}

/// Something the operator should know; the server starts all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
