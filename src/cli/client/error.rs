//! Why a request has no good answer, in the words of ZooKeeper's client (`KeeperException`).

use crate::wire::ErrorCode;

/// The server's codes, and the two that only a client knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientError {
    /// An error code of `KeeperException` and the path it is about ("" for none).
    Code { code: i32, path: String },
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The path cannot be one; the line says why.
    BadPath(String),
    /// The server's answer makes no sense.
    Malformed(String),
}

/// The connection broke, or could not be made, before the answer came.
pub const CONNECTION_LOSS: i32 = -4;
/// The session is over.
pub const SESSION_EXPIRED: i32 = ErrorCode::SessionExpired as i32;

impl ClientError {
    /// An error without a path.
    pub fn code(code: i32) -> ClientError {
        ClientError::Code { code, path: String::new() }
    }

    /// The same about this path.
    pub fn about(self, path: &str) -> ClientError {
        match self {
            ClientError::Code { code, .. } => ClientError::Code { code, path: path.into() },
            other => other,
        }
    }

    /// True for exactly this code.
    pub fn is(&self, wanted: ErrorCode) -> bool {
        matches!(self, ClientError::Code { code, .. } if *code == wanted.code())
    }

    /// True if no server answered.
    pub fn is_connection_loss(&self) -> bool {
        matches!(self, ClientError::Code { code: CONNECTION_LOSS, .. })
    }
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClientError::Code { code, path } if path.is_empty() => {
                write!(f, "KeeperErrorCode = {}", words(*code))
            }
            ClientError::Code { code, path } => write!(f, "KeeperErrorCode = {} for {path}", words(*code)),
            ClientError::Interrupted => write!(f, "interrupted"),
            ClientError::BadPath(why) => write!(f, "{why}"),
            ClientError::Malformed(why) => write!(f, "the server's answer cannot be read: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// The name of a code, one word: the class below `KeeperException`.
pub fn code_name(code: i32) -> &'static str {
    match code {
        -1 => "SystemError",
        -2 => "RuntimeInconsistency",
        -3 => "DataInconsistency",
        -4 => "ConnectionLoss",
        -5 => "MarshallingError",
        -6 => "Unimplemented",
        -7 => "OperationTimeout",
        -8 => "BadArguments",
        -12 => "UnknownSession",
        -13 => "NewConfigNoQuorum",
        -14 => "ReconfigInProgress",
        -100 => "ApiError",
        -101 => "NoNode",
        -102 => "NoAuth",
        -103 => "BadVersion",
        -108 => "NoChildrenForEphemerals",
        -110 => "NodeExists",
        -111 => "NotEmpty",
        -112 => "SessionExpired",
        -113 => "InvalidCallback",
        -114 => "InvalidACL",
        -115 => "AuthFailed",
        -118 => "SessionMoved",
        -119 => "NotReadOnly",
        -120 => "EphemeralOnLocalSession",
        -121 => "NoWatcher",
        -122 => "RequestTimeout",
        -123 => "ReconfigDisabled",
        -124 => "SessionClosedRequireSaslAuth",
        -125 => "QuotaExceeded",
        -127 => "ThrottledOp",
        _ => "UnknownError",
    }
}

/// How `KeeperException` calls a code: mostly by the name of its class.
pub fn words(code: i32) -> String {
    let known = match code {
        -100 => "APIError",
        -111 => "Directory not empty",
        -112 => "Session expired",
        -113 => "Invalid callback",
        -118 => "Session moved",
        -119 => "Not a read-only call",
        -120 => "Ephemeral node on local session",
        -121 => "No such watcher",
        -123 => "Reconfig is disabled",
        -124 => "Session closed because client failed to authenticate",
        -125 => "Quota has exceeded",
        -127 => "Op throttled due to high load",
        // It has no words for these.
        -12 | -122 => "UnknownError",
        _ => code_name(code),
    };
    if known == "UnknownError" { format!("Unknown error {code}") } else { known.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_keeper_exceptions() {
        let error = ClientError::code(ErrorCode::NoWatcher.code()).about("/a");
        assert_eq!(error.to_string(), "KeeperErrorCode = No such watcher for /a");
        assert_eq!(ClientError::code(-123).to_string(), "KeeperErrorCode = Reconfig is disabled");
    }

    #[test]
    fn names_are_single_words() {
        for code in -130..0 {
            let name = code_name(code);
            assert!(name.chars().all(|c| c.is_ascii_alphabetic()), "{code}: {name}");
            let is_known = !words(code).starts_with("Unknown error");
            assert!(!is_known || name != "UnknownError", "{code} has words and no name");
        }
    }
}
