//! What goes wrong in a command: zkCli's line for it, the exit code, and what we add for the reader.

use crate::cli::client::{ClientError, code_name};
use crate::wire::ErrorCode;

/// A command that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// What zkCli prints, and what scripts may look for.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
    /// Of a one-shot command.
    pub(super) exit_code: u8,
    /// Of the server, for whom there is one.
    pub(super) cause: Option<ClientError>,
    /// In JSON, where there is no cause.
    pub(super) kind: &'static str,
}

impl Failure {
    /// Exit code 1.
    pub(super) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, exit_code: 1, cause: None, kind: "Failed" }
    }

    /// The command was given wrong words; the message says which are right.
    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure { kind: "Usage", ..Failure::new(message) }
    }

    /// As an exception of zkCli's option parser prints itself.
    pub(super) fn parse(class: &str, message: &str) -> Failure {
        Failure::usage(format!("org.apache.commons.cli.{class}: {message}"))
    }

    /// There is no such command.
    pub(super) fn unknown(command: &str) -> Failure {
        let message = format!("Command not found: Command not found {command}");
        Failure { exit_code: 127, kind: "UnknownCommand", ..Failure::new(message) }
    }

    /// The name of the error in JSON.
    pub(super) fn name(&self) -> &'static str {
        self.cause.as_ref().map_or(self.kind, name)
    }

    /// The same with a name of its own in JSON.
    pub(super) fn named(self, kind: &'static str) -> Failure {
        Failure { kind, ..self }
    }

    /// The same with more to its line.
    pub(super) fn and(self, more: &str) -> Failure {
        Failure { message: format!("{}; {more}", self.message), ..self }
    }

    /// The same with advice.
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let exit_code = if error == ClientError::Interrupted { 130 } else { 1 };
        Failure { exit_code, cause: Some(error.clone()), ..Failure::new(line(&error)) }
    }
}

/// zkCli's line for an error (`CliWrapperException`).
pub(super) fn line(error: &ClientError) -> String {
    let ClientError::Code { code, path } = error else { return error.to_string() };
    let path = if path.is_empty() { "null" } else { path };
    let is = |wanted: ErrorCode| *code == wanted.code();
    let text = if is(ErrorCode::NoNode) {
        "Node does not exist: "
    } else if is(ErrorCode::NoChildrenForEphemerals) {
        "Ephemerals cannot have children: "
    } else if is(ErrorCode::NodeExists) {
        "Node already exists: "
    } else if is(ErrorCode::NotEmpty) {
        "Node not empty: "
    } else if is(ErrorCode::NotReadOnly) {
        "Not a read-only call: "
    } else if is(ErrorCode::InvalidAcl) {
        "Acl is not valid : "
    } else if is(ErrorCode::NoAuth) {
        "Insufficient permission : "
    } else if is(ErrorCode::BadArguments) {
        "Arguments are not valid : "
    } else if is(ErrorCode::BadVersion) {
        "version No is not valid : "
    } else if is(ErrorCode::QuotaExceeded) {
        "Quota has exceeded : "
    } else if is(ErrorCode::ReconfigInProgress) {
        return "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)".into();
    } else if is(ErrorCode::NewConfigNoQuorum) {
        return "No quorum of new config is connected and up-to-date with the leader of last commmitted config - \
                try invoking reconfiguration after new servers are connected and synced"
            .into();
    } else {
        return error.to_string();
    };
    format!("{text}{path}")
}

fn name(error: &ClientError) -> &'static str {
    match error {
        ClientError::Code { code, .. } => code_name(*code),
        ClientError::Interrupted => "Interrupted",
        ClientError::BadPath(_) => "BadPath",
        ClientError::Malformed(_) => "Malformed",
    }
}
