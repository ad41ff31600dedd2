//! The identifiers and times everything else speaks in. Plain newtypes: two integers of one type never sit side by
//! side in a call. They know nothing of state, time sources or IO.

use std::fmt;

/// A transaction id: epoch in the high 32 bits, counter in the low 32 (ZooKeeper's zxid).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Before any transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// The next zxid of the same epoch.
    pub fn next(self) -> Zxid {
        assert!(self.0 as u32 != u32::MAX, "the zxid counter of an epoch is used up");
        Zxid(self.0 + 1)
    }

    /// The epoch this zxid belongs to.
    pub fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// The position within its epoch.
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The first zxid of an epoch (counter 0), as ZooKeeper's `ZxidUtils.makeZxid`.
    pub fn first_of(epoch: Epoch) -> Zxid {
        Zxid((epoch.0 as i64) << 32)
    }
}

impl fmt::LowerHex for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A leader's term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(pub u32);

/// A client session. Signed as in jute; printed as unsigned hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session (a fresh connect request carries it).
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A member's number in the ensemble (`myid`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ServerId(pub i64);

/// One shard of this process, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ShardId(pub u16);

/// A connection on one core. Slots are reused; the generation tells the uses apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ConnId {
    /// Index into the core's connection table.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// Where a request came from and its answer goes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Origin {
    /// The shard that owns the connection.
    pub shard: ShardId,
    /// The connection on that shard.
    pub conn: ConnId,
}

/// The time an input is stepped at. Both clocks are given: timers use `mono_ms`, znode times use `wall_ms`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Now {
    /// Milliseconds of a clock that never goes back; its zero is arbitrary.
    pub mono_ms: u64,
    /// Milliseconds since 1970, as in `TxnHeader.time`.
    pub wall_ms: i64,
}

/// A log segment's number, ascending without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SegmentId(pub u64);

/// A log frame's number, ascending without gaps over all segments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct FrameSeq(pub u64);

/// An entry of the ACL table shared by all trees of this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct AclId(pub u32);

impl AclId {
    /// world:anyone with all permissions; never in the table (disk id -1).
    pub const OPEN: AclId = AclId(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_splits_into_epoch_and_counter() {
        let zxid = Zxid(0x2_0000_0001);
        assert_eq!(zxid.epoch(), Epoch(2));
        assert_eq!(zxid.counter(), 1);
        assert_eq!(Zxid::first_of(Epoch(2)).next(), zxid);
        assert_eq!(zxid.to_string(), "0x200000001");
    }
}
