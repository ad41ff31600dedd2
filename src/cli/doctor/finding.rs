//! One check's verdict.

use serde::Serialize;

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    /// Works, and could work better.
    Advice,
    /// Acknowledged data, the start or the service is at risk.
    Problem,
    /// What would tell cannot be read here.
    #[serde(rename = "cannot tell")]
    Unknown,
}

impl Status {
    pub const ALL: [Status; 4] = [Status::Ok, Status::Advice, Status::Problem, Status::Unknown];

    /// True if something is to change.
    pub fn is_due(self) -> bool {
        matches!(self, Status::Advice | Status::Problem)
    }

    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Advice => "advice",
            Status::Problem => "problem",
            Status::Unknown => "cannot tell",
        }
    }
}

/// What a check says.
#[derive(Clone, Serialize, Debug)]
pub(super) struct Finding {
    pub check: String,
    pub status: Status,
    pub found: String,
    pub why: &'static str,
    /// Commands, and lines for files after a `#`. Empty only if nothing is to change, or nothing can be changed.
    pub change: Vec<String>,
}

/// A check before its verdict: its name and why anybody should care.
pub(super) struct Check {
    name: String,
    why: &'static str,
}

impl Check {
    pub fn new(name: impl Into<String>, why: &'static str) -> Check {
        Check { name: name.into(), why }
    }

    pub fn ok(self, found: impl Into<String>) -> Finding {
        self.finding(Status::Ok, found, Vec::new())
    }

    pub fn advice<S: Into<String>>(
        self,
        found: impl Into<String>,
        change: impl IntoIterator<Item = S>,
    ) -> Finding {
        self.finding(Status::Advice, found, change.into_iter().map(Into::into).collect())
    }

    pub fn problem<S: Into<String>>(
        self,
        found: impl Into<String>,
        change: impl IntoIterator<Item = S>,
    ) -> Finding {
        self.finding(Status::Problem, found, change.into_iter().map(Into::into).collect())
    }

    pub fn unknown(self, found: impl Into<String>) -> Finding {
        self.finding(Status::Unknown, found, Vec::new())
    }

    /// What cannot be told because a file is missing.
    pub fn missing(self, file: &str) -> Finding {
        self.unknown(format!("{file} cannot be read here"))
    }

    fn finding(self, status: Status, found: impl Into<String>, change: Vec<String>) -> Finding {
        Finding { check: self.name, status, found: found.into(), why: self.why, change }
    }
}
