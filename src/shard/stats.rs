//! A connection's counters, as `cons` prints them.

use crate::ids::Now;
use crate::wire::Op;

/// Counters of one connection (`ServerCnxn`).
#[derive(Clone, Debug)]
pub struct ConnStats {
    /// When it was established, ms since 1970.
    pub established_ms: i64,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// The last operation; None: there was none, or one without a name.
    pub last_op: Option<Op>,
    /// Its xid, -1 before the first.
    pub last_cxid: i64,
    /// zxid of the last reply, -1 before the first.
    pub last_zxid: i64,
    /// When the last reply was made, in monotonic ms.
    pub last_response_ms: u64,
    /// Latency of the last reply, ms.
    pub last_latency_ms: u64,
    /// Smallest latency, ms; `u64::MAX` before the first.
    pub min_latency_ms: u64,
    /// Largest latency, ms.
    pub max_latency_ms: u64,
    /// Sum of the latencies, ms.
    pub sum_latency_ms: u64,
    /// Replies counted in the sum.
    pub count: u64,
}

impl ConnStats {
    /// Counters of a fresh connection.
    pub fn new(now: Now) -> ConnStats {
        ConnStats {
            established_ms: now.wall_ms,
            received: 0,
            sent: 0,
            last_op: None,
            last_cxid: -1,
            last_zxid: -1,
            last_response_ms: 0,
            last_latency_ms: 0,
            min_latency_ms: u64::MAX,
            max_latency_ms: 0,
            sum_latency_ms: 0,
            count: 0,
        }
    }

    /// Forgets what was counted (`crst`); the connection stays established since when it was.
    pub fn reset(&mut self) {
        let established_ms = self.established_ms;
        *self = ConnStats::new(Now { mono_ms: 0, wall_ms: established_ms });
    }

    /// A reply was made.
    #[inline]
    pub fn on_reply(&mut self, op: Option<Op>, xid: i32, zxid: i64, now_ms: u64, latency_ms: u64) {
        if xid >= 0 {
            self.last_cxid = xid as i64;
        }
        self.last_op = op;
        self.last_zxid = zxid;
        self.last_response_ms = now_ms;
        self.last_latency_ms = latency_ms;
        self.min_latency_ms = self.min_latency_ms.min(latency_ms);
        self.max_latency_ms = self.max_latency_ms.max(latency_ms);
        self.sum_latency_ms += latency_ms;
        self.count += 1;
    }
}

/// The four letters by which `cons` names an operation.
pub fn letters(op: Option<Op>) -> &'static str {
    use Op::*;
    match op {
        Some(CreateSession) => "SESS",
        Some(Ping) => "PING",
        Some(Create | Create2 | CreateContainer | CreateTtl) => "CREA",
        Some(Delete) => "DELE",
        Some(Exists) => "EXIS",
        Some(GetData) => "GETD",
        Some(SetData) => "SETD",
        Some(GetAcl) => "GETA",
        Some(SetAcl) => "SETA",
        Some(GetChildren | GetChildren2) => "GETC",
        Some(Sync) => "SYNC",
        Some(Multi) => "MULT",
        Some(MultiRead) => "MLTR",
        Some(SetWatches) => "SETW",
        Some(SetWatches2) => "STW2",
        Some(AddWatch) => "ADDW",
        Some(CheckWatches) => "CHKW",
        Some(RemoveWatches) => "REMW",
        Some(Reconfig) => "RECO",
        Some(Check) => "CHEC",
        Some(CloseSession) => "CLOS",
        Some(GetEphemerals) => "GETE",
        Some(GetAllChildrenNumber) => "GETACN",
        Some(WhoAmI) => "HOMI",
        _ => "NA",
    }
}
