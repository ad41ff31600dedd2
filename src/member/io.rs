//! What happens to the member and what it wants: the two enums its driver speaks in.

use crate::aligned::AlignedBuffer;
use crate::ids::{SegmentId, SessionId, ShardId, Zxid};
use crate::log::LogOutput;
use crate::mesh::{ToMember, ToShard};
use std::net::IpAddr;

/// Everything that can happen to the member.
pub enum MemberInput {
    /// The driver runs: every known session gets a full timeout, timers start.
    Start,
    /// A message of a shard, in the order that shard sent them.
    FromShard(ToMember),
    /// A client connected; answered by `Assign` or `Refuse` with the same token.
    #[allow(missing_docs)]
    Accepted { address: IpAddr, token: u64 },
    /// A log write is durable. The buffer goes back to the log writer.
    #[allow(missing_docs)]
    LogWritten { token: u64, buffer: AlignedBuffer },
    /// A log write or its sync failed. Never retried: the member stops.
    #[allow(missing_docs)]
    LogFailed { what: String },
    /// A segment asked for by `LogOutput::Prepare` is there, zero-filled.
    #[allow(missing_docs)]
    SegmentReady { segment: SegmentId, bytes: u64 },
    /// It is not; the member asks again each second.
    #[allow(missing_docs)]
    SegmentFailed { segment: SegmentId, no_space: bool, what: String },
    /// The snapshot that reaches `zxid` is durable.
    #[allow(missing_docs)]
    SnapshotDone { zxid: Zxid, bytes: u64 },
    /// It is not; the next one is tried after as many transactions as usual.
    #[allow(missing_docs)]
    SnapshotFailed { what: String },
    /// What only the driver can measure, for four-letter words; said at the start and now and then.
    Usage(Usage),
    /// Time passed (see [`super::Member::next_timeout`]).
    Tick,
    /// Finish what is proposed, then say `Stopped`.
    Stop,
}

/// What the process uses.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    /// Bytes of all snapshots on disk.
    pub snapshot_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Limit of open file descriptors.
    pub open_files_max: u64,
}

/// Everything the member wants of its driver.
pub enum MemberOutput {
    /// A message for one shard.
    ToShard(ShardId, ToShard),
    /// The same message for every shard; a `Committed` also for the scribe's tree.
    Broadcast(ToShard),
    /// Give the accepted connection to this shard.
    #[allow(missing_docs)]
    Assign { token: u64, shard: ShardId },
    /// Close the accepted connection.
    #[allow(missing_docs)]
    Refuse { token: u64, reason: RefuseReason },
    /// What the log wants of the disk.
    Log(LogOutput),
    /// Write a snapshot of the scribe's tree as it is when it has applied exactly `zxid`, whose broadcast was sent
    /// before. Afterwards keep the newest `keep` snapshots and remove older ones; None keeps all.
    #[allow(missing_docs)]
    Snapshot { zxid: Zxid, digest: Option<(Zxid, u64)>, sessions: Vec<(SessionId, i32)>, keep: Option<usize> },
    /// Space is needed: remove the snapshots older than this one.
    #[allow(missing_docs)]
    RemoveSnapshots { before: Zxid },
    /// Worth a line in the operator's log.
    #[allow(missing_docs)]
    Notice { text: String },
    /// Everything proposed is durable and broadcast; nothing follows.
    Stopped,
    /// The member cannot go on; nothing follows.
    #[allow(missing_docs)]
    Fatal { what: String },
}

impl MemberOutput {
    /// True for what takes a place in the order of words to the shards.
    pub(super) fn is_word(&self) -> bool {
        matches!(self, MemberOutput::ToShard(..) | MemberOutput::Broadcast(_))
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefuseReason {
    /// `maxClientCnxns` of this address.
    PerAddress,
    /// `maxCnxns` in total.
    Total,
    /// Further ones would take descriptors that the log and snapshots need.
    Descriptors,
    /// The member stops.
    Stopping,
}
