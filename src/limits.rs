//! Every bound in one place, related to each other by compile-time assertions. Settings may lower or raise some of
//! them at start; these are the defaults and the hard ceilings.

/// `jute.maxbuffer`: the largest request body and field, in bytes.
pub const JUTE_MAX_BUFFER: usize = 0xfffff;

/// Shards a process can have.
pub const SHARDS_MAX: usize = 64;
/// Messages one core may queue for another.
pub const MESH_QUEUE_MAX: usize = 4096;

/// Requests of one connection waiting for a reply before its socket is no longer read.
pub const CONN_PENDING_MAX: usize = 4096;
/// Bytes of requests of one connection held behind its own unfinished write before its socket is no longer read.
pub const CONN_PENDING_BYTES_MAX: usize = 4 << 20;
/// Reply bytes queued for one connection before its requests are no longer read.
pub const CONN_OUT_BYTES_SOFT_MAX: usize = 1 << 20;
/// Reply and event bytes queued for one connection before it is closed: the client does not read.
pub const CONN_OUT_BYTES_HARD_MAX: usize = 64 << 20;

/// Proposed transactions not yet durable before the member takes no further requests.
pub const OUTSTANDING_TXNS_MAX: usize = 16 * 1024;
/// Bytes of proposed transactions not yet durable before the member takes no further requests.
pub const OUTSTANDING_BYTES_MAX: usize = 32 << 20;

/// The unit of log writes and their alignment, in bytes.
pub const LOG_BLOCK: usize = 4096;
/// Bytes of one log segment unless `preAllocSize` says otherwise.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes one group commit carries at most, headers and padding included, unless one transaction alone is larger.
pub const LOG_FRAME_BYTES_MAX: usize = 1 << 20;
/// Log writes in flight at once.
pub const LOG_WRITES_IN_FLIGHT_MAX: usize = 4;
/// A group commit of fewer bytes waits for the write before it, or until the core has nothing else to do: each write costs
/// the same however little is in it.
pub const LOG_FRAME_BYTES_HELD: usize = 16 << 10;
/// Segments prepared ahead of need.
pub const LOG_SEGMENTS_AHEAD: usize = 1;

/// Serialized child lists one shard keeps.
pub const CHILD_LISTS_MAX: usize = 400;
/// Bytes of all the serialized child lists one shard keeps.
pub const CHILD_LISTS_BYTES_MAX: usize = 4 << 20;

/// Sends started for one fan-out before other inputs get their turn.
pub const FAN_OUT_SLICE: usize = 128;

const _: () = assert!(LOG_FRAME_BYTES_MAX.is_multiple_of(LOG_BLOCK));
const _: () = assert!(LOG_SEGMENT_BYTES as usize >= 4 * LOG_FRAME_BYTES_MAX);
const _: () = assert!(CONN_OUT_BYTES_SOFT_MAX < CONN_OUT_BYTES_HARD_MAX);
const _: () = assert!(CONN_PENDING_BYTES_MAX >= 2 * JUTE_MAX_BUFFER);
const _: () = assert!(OUTSTANDING_BYTES_MAX >= 4 * JUTE_MAX_BUFFER);
