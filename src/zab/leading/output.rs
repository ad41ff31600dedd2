//! What a leader orders, and why it or a learner ends.

use super::learner::LearnerId;
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::limits::LEARNER_SYNCS_MAX;
use crate::wire::jute::DecodeError;
use crate::wire::records::Identity;

/// What a leader wants.
#[derive(Clone, PartialEq, Debug)]
pub enum LeadingOutput {
    /// Make the accepted epoch durable; `on_accepted_saved` follows.
    SaveAccepted(Epoch),
    /// Make the current epoch durable; `on_current_saved` follows.
    SaveCurrent(Epoch),
    /// A quorum has everything up to this.
    Commit(Zxid),
    /// The history that it began with is committed; from now on it proposes.
    Established(Epoch),
    /// `on_sent` follows, perhaps in parts.
    Send {
        /// Which learner.
        to: LearnerId,
        /// Whole packets.
        bytes: Vec<u8>,
    },
    /// Close behind what was sent. Nothing is said of this learner any more.
    Close {
        /// Which learner.
        learner: LearnerId,
        /// Its number, if it has said that.
        server: Option<ServerId>,
        /// For the log.
        why: LearnerEnd,
    },
    /// Send a snapshot: `on_snapshot_begins` says which, its bytes and the signature follow behind that packet, then
    /// `on_snapshot_sent`.
    SendSnapshot(LearnerId),
    /// Look into the log on disk around a learner's last transaction; `on_disk` answers.
    AskDisk {
        /// Which learner.
        learner: LearnerId,
        /// Its last transaction.
        last: Zxid,
    },
    /// Read entries of the log on disk, at least one and as many as fit; `on_disk_entries` answers.
    ReadDisk {
        /// Which learner.
        learner: LearnerId,
        /// The first one stands behind this.
        behind: Zxid,
        /// From here on they are in memory.
        until: Zxid,
    },
    /// A client's write came through a learner.
    Request(LearnerRequest),
    /// A session is alive.
    Touched {
        /// Which one.
        session: SessionId,
        /// As its client negotiated it.
        timeout_ms: i32,
    },
    /// A client came back through a learner; `revalidated` answers.
    Revalidate {
        /// Which learner.
        from: LearnerId,
        /// Which session.
        session: SessionId,
        /// As the learner knows it.
        timeout_ms: i32,
    },
    /// A sync of this server's own clients is done.
    Synced(u64),
    /// It does not lead any more.
    GiveUp(LeadingEnd),
}

/// See [`LeadingOutput::Request`].
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct LearnerRequest {
    pub from: LearnerId,
    pub server: ServerId,
    pub session: SessionId,
    pub cxid: i32,
    /// Not checked yet.
    pub op: i32,
    pub body: Vec<u8>,
    pub identities: Option<Vec<Identity>>,
}

/// Why a learner was let go.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LearnerEnd {
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    #[error("packet {0} where another belongs")]
    Unexpected(i32),
    #[error("it speaks a protocol from before 3.4")]
    OldProtocol,
    #[error("it has the number of its leader: two servers have the same myid")]
    OwnNumber,
    #[error("it has a later configuration than its leader")]
    ConfigurationAhead,
    #[error("it has accepted epoch {0}, there is none behind that")]
    EpochsUsedUp(u32),
    #[error("it has more than its leader: epoch {current}, {last}")]
    Ahead { current: i32, last: Zxid },
    #[error("it acknowledges {0}, which was not sent to it")]
    WrongAck(Zxid),
    #[error("another connection of the same server takes its place")]
    Replaced,
    #[error("it has not said anything for too long")]
    Silent,
    #[error("it has not acknowledged a proposal for too long")]
    SlowAck,
    #[error("more than {LEARNER_SYNCS_MAX} of its syncs are waiting")]
    Syncs,
    #[error("the connection ended")]
    Closed,
}

/// Why a leader gives up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LeadingEnd {
    #[error("no quorum agreed on an epoch within initLimit")]
    NoEpoch,
    #[error("a voter looks for another leader before a quorum agreed on an epoch")]
    VoterLeft,
    #[error("no quorum accepted the epoch within initLimit")]
    NoElection,
    #[error("no quorum was synchronised within initLimit")]
    NotSynchronized,
    #[error("there is no quorum of synchronised followers any more")]
    NoQuorum,
    #[error("the zxids of the epoch are used up")]
    ZxidsUsedUp,
}
