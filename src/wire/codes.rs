//! Numbers with names: opcodes (`ZooDefs.OpCode`), error codes (`KeeperException.Code`), special xids, permissions,
//! event types and create flags.

/// What a request asks for (`ZooDefs.OpCode`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum Op {
    Create = 1,
    Delete = 2,
    Exists = 3,
    GetData = 4,
    SetData = 5,
    GetAcl = 6,
    SetAcl = 7,
    GetChildren = 8,
    Sync = 9,
    Ping = 11,
    GetChildren2 = 12,
    Check = 13,
    Multi = 14,
    Create2 = 15,
    Reconfig = 16,
    CheckWatches = 17,
    RemoveWatches = 18,
    CreateContainer = 19,
    DeleteContainer = 20,
    CreateTtl = 21,
    MultiRead = 22,
    Auth = 100,
    SetWatches = 101,
    Sasl = 102,
    GetEphemerals = 103,
    GetAllChildrenNumber = 104,
    SetWatches2 = 105,
    AddWatch = 106,
    WhoAmI = 107,
    CreateSession = -10,
    CloseSession = -11,
    Error = -1,
}

impl Op {
    /// The opcode of a number, or None for one that ZooKeeper does not know.
    #[inline]
    pub fn from_i32(op: i32) -> Option<Op> {
        let index = i64::from(op) - i64::from(OP_MIN);
        usize::try_from(index).ok().and_then(|index| OPS.get(index).copied()).flatten()
    }

    /// True for what goes through the member (a transaction or `sync`), false for what a shard answers by itself.
    #[inline]
    pub fn is_for_member(self) -> bool {
        use Op::*;
        matches!(
            self,
            Create
                | Create2
                | CreateContainer
                | CreateTtl
                | Delete
                | DeleteContainer
                | SetData
                | SetAcl
                | Multi
                | Reconfig
                | Sync
                | CloseSession
        )
    }
}

const OP_MIN: i32 = Op::CloseSession as i32;
const OP_MAX: i32 = Op::WhoAmI as i32;
/// By number, from the least on.
static OPS: [Option<Op>; (OP_MAX - OP_MIN + 1) as usize] = {
    use Op::*;
    const ALL: [Op; 32] = [
        Create,
        Delete,
        Exists,
        GetData,
        SetData,
        GetAcl,
        SetAcl,
        GetChildren,
        Sync,
        Ping,
        GetChildren2,
        Check,
        Multi,
        Create2,
        Reconfig,
        CheckWatches,
        RemoveWatches,
        CreateContainer,
        DeleteContainer,
        CreateTtl,
        MultiRead,
        Auth,
        SetWatches,
        Sasl,
        GetEphemerals,
        GetAllChildrenNumber,
        SetWatches2,
        AddWatch,
        WhoAmI,
        CreateSession,
        CloseSession,
        Error,
    ];
    let mut ops = [None; (OP_MAX - OP_MIN + 1) as usize];
    let mut at = 0;
    while at < ALL.len() {
        ops[(ALL[at] as i32 - OP_MIN) as usize] = Some(ALL[at]);
        at += 1;
    }
    ops
};

/// A failure as the client sees it (`KeeperException.Code`); 0 is OK and not among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum ErrorCode {
    SystemError = -1,
    RuntimeInconsistency = -2,
    DataInconsistency = -3,
    MarshallingError = -5,
    Unimplemented = -6,
    BadArguments = -8,
    UnknownSession = -12,
    NewConfigNoQuorum = -13,
    ReconfigInProgress = -14,
    NoNode = -101,
    NoAuth = -102,
    BadVersion = -103,
    NoChildrenForEphemerals = -108,
    NodeExists = -110,
    NotEmpty = -111,
    SessionExpired = -112,
    InvalidAcl = -114,
    AuthFailed = -115,
    SessionMoved = -118,
    NotReadOnly = -119,
    EphemeralOnLocalSession = -120,
    NoWatcher = -121,
    ReconfigDisabled = -123,
    SessionClosedRequireSaslAuth = -124,
    QuotaExceeded = -125,
    ThrottledOp = -127,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// What a watch event tells (`Watcher.Event.EventType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum EventType {
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

/// xid of a watch notification.
pub const XID_NOTIFICATION: i32 = -1;
/// xid of a ping.
pub const XID_PING: i32 = -2;
/// xid of an auth packet.
pub const XID_AUTH: i32 = -4;
/// xid of setWatches.
pub const XID_SET_WATCHES: i32 = -8;

/// Permission bits (`ZooDefs.Perms`).
#[allow(missing_docs)]
pub mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// Create flags (`CreateMode`).
#[allow(missing_docs)]
pub mod flags {
    pub const PERSISTENT: i32 = 0;
    pub const EPHEMERAL: i32 = 1;
    pub const PERSISTENT_SEQUENTIAL: i32 = 2;
    pub const EPHEMERAL_SEQUENTIAL: i32 = 3;
    pub const CONTAINER: i32 = 4;
    pub const TTL: i32 = 5;
    pub const TTL_SEQUENTIAL: i32 = 6;

    /// True for flags that have a meaning.
    pub fn are_known(flags: i32) -> bool {
        (PERSISTENT..=TTL_SEQUENTIAL).contains(&flags)
    }

    /// True for nodes that end by themselves.
    pub fn have_ttl(flags: i32) -> bool {
        matches!(flags, TTL | TTL_SEQUENTIAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_its_opcode_or_none() {
        let known: Vec<i32> = (-200..200).filter(|op| Op::from_i32(*op).is_some()).collect();
        assert_eq!(known.len(), 32);
        assert!(known.iter().all(|op| Op::from_i32(*op).is_some_and(|known| known as i32 == *op)));
        assert_eq!((known[0], known[31]), (-11, 107));
        assert_eq!((Op::from_i32(i32::MIN), Op::from_i32(i32::MAX), Op::from_i32(0)), (None, None, None));
    }
}
