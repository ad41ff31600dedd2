//! Every bound in one place, related to each other by compile-time assertions. Settings may lower or raise some of
//! them at start; these are the defaults and the hard ceilings.

/// `jute.maxbuffer`: the largest request body and field, in bytes.
pub const JUTE_MAX_BUFFER: usize = 0xfffff;

/// Shards a process can have.
pub const SHARDS_MAX: usize = 64;
/// Messages one core may queue for another.
pub const MESH_QUEUE_MAX: usize = 4096;
/// Words of the member that the slowest shard may have before it: one more waits for room.
pub const WORDS_MAX: usize = 4096;
/// Bytes of them before the member says no more.
pub const WORDS_BYTES_MAX: usize = 64 << 20;
/// The words that one step of what is committed takes at most: a batch, an answer behind it, the batch behind that.
pub const WORDS_AT_ONCE: usize = 3;

/// Of a connection without a session so many bytes at most buy time, each its own; a connect request has 49.
pub const HANDSHAKE_BYTES: usize = 64;
/// Reads of one connection that may stand before a write of it.
pub const READS_BEFORE_WRITE_MAX: usize = 64;
/// Requests of one connection waiting for a reply before its socket is no longer read.
pub const CONN_PENDING_MAX: usize = 4096;
/// Bytes of one connection's unanswered requests before its socket is no longer read.
pub const CONN_PENDING_BYTES_MAX: usize = 4 << 20;
/// `ringkeeper.inputBytesMax`: bytes of requests not yet whole or not yet answered, over all shards. A shard whose share is
/// used up reads no more from connections that hold more than `CONN_INPUT_BYTES_SMALL` of it.
pub const INPUT_BYTES_MAX: usize = 256 << 20;
/// A connection may hold so much whatever the others do.
pub const CONN_INPUT_BYTES_SMALL: usize = 16 << 10;
/// A shard's share allows for so many of the largest requests at least.
pub const LARGEST_REQUESTS_AT_ONCE: usize = 8;
/// What a connection takes beside its requests and replies.
pub const CONN_BYTES: usize = 4 << 10;
/// Reply bytes queued for one connection before its requests are no longer read.
pub const CONN_OUT_BYTES_SOFT_MAX: usize = 1 << 20;
/// Event bytes that wait behind what is being sent to one connection before it is closed: the client does not read.
pub const CONN_EVENT_BYTES_MAX: usize = 64 << 20;
/// `ringkeeper.replyBytesMax`: bytes of one reply; a read that would need more gets an error. Clients are limited by
/// their own jute.maxbuffer; a list of 5,000,000 children still fits.
pub const REPLY_BYTES_MAX: usize = 128 << 20;
/// A getData reply has this beside the data.
pub const STAT_AND_LENGTH_BYTES: usize = 72;
/// `ringkeeper.outputBytesMax`: bytes of replies and events that wait or are being sent, over all shards. A shard whose
/// share is used up closes connections, those that hold most events first.
pub const OUTPUT_BYTES_MAX: usize = 512 << 20;
/// A shard's share allows for so many of the largest replies at least.
pub const LARGEST_REPLIES_AT_ONCE: usize = 2;
/// Entries that an answer lists at once, or a slice of a longer one: children, ephemerals, descendants. About a quarter of a
/// millisecond where each is a cache miss.
pub const LISTING_ENTRIES_AT_ONCE: usize = 2048;
/// Answers of one shard that are put together in slices at a time; more wait to begin.
pub const LISTINGS_AT_ONCE: usize = LARGEST_REPLIES_AT_ONCE;
/// Such an answer is sent in pieces of so many bytes.
pub const LISTING_PIECE_BYTES: usize = 256 << 10;
/// Children that all the lists of one multiRead have together, unless they were asked for before: it is answered at once,
/// from one state.
pub const MULTI_READ_CHILDREN_MAX: usize = 100_000;
/// Four-letter words that list something, answered at a time; beyond, the oldest is given up.
pub const ASKS_MAX: usize = 256;
/// Paths, or lines about them, that one slice of such an answer has: less than half a millisecond.
pub const ASK_ENTRIES_AT_ONCE: usize = 1024;
/// Containers and TTL nodes that the member looks at in one turn, to see whether they are due.
pub const COLLECTABLE_AT_ONCE: usize = 512;
/// A shorter event is copied behind what waits already; a longer one is referred to.
pub const EVENT_SHARED_BYTES_MIN: usize = 256;
/// Pieces that wait for one connection are put together for one send up to so many bytes.
pub const SEND_GATHER_BYTES_MAX: usize = 64 << 10;
/// Identities one connection can have proved.
pub const IDENTITIES_MAX: usize = 256;
/// Bytes of all of them.
pub const IDENTITIES_BYTES_MAX: usize = 64 << 10;
/// `ringkeeper.watchBytesPerConnectionMax`: what the watches of one connection may take, counted as `WATCH_BYTES` and the
/// path for each.
pub const CONN_WATCH_BYTES_MAX: usize = 256 << 20;
/// `ringkeeper.watchBytesMax`: the same over all connections of all shards.
pub const WATCH_BYTES_MAX: usize = 1 << 30;
/// Watches of connections that are gone which one turn takes away.
pub const WATCHES_LEAVING_AT_ONCE: usize = 1024;
/// What a watch takes beside its path.
pub const WATCH_BYTES: usize = 160;

/// After a pause of the process no session expires for as long as it was, but at most for so many ms.
pub const EXPIRY_GRACE_MS_MAX: u64 = 60_000;

/// Servers of one ensemble, observers included.
pub const SERVERS_MAX: usize = 1024;
/// Bytes of the addresses in the first message of an election connection, as in `QuorumCnxManager`.
pub const ELECTION_ADDRESS_BYTES_MAX: usize = 2048;
/// Bytes of one notification of an election, as in `QuorumCnxManager`.
pub const ELECTION_MESSAGE_BYTES_MAX: usize = 512 << 10;
/// Connections of an election or quorum port that have not said who they are; election connections of servers outside of
/// the configuration.
pub const LINKS_UNKNOWN_MAX: usize = 64;
/// Bytes of the text of a configuration: it goes into each notification.
pub const CONFIG_BYTES_MAX: usize = ELECTION_MESSAGE_BYTES_MAX - 64;
/// Committed transactions that are kept in memory for learners, unless `commitLogCount` says otherwise.
pub const COMMIT_LOG_COUNT: usize = 500;
/// Bytes of them.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;
/// Bytes handed over for one learner and not sent: more wait in the log.
pub const LEARNER_BYTES_IN_FLIGHT_MAX: usize = 4 << 20;
/// Syncs of one learner's clients that wait for their answer.
pub const LEARNER_SYNCS_MAX: usize = 16 * 1024;
/// What the data of a packet between servers may have beyond `jute.maxbuffer`: a transaction is longer than its request.
pub const QUORUM_DATA_BYTES_EXTRA: usize = 1 << 20;

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
/// Files of released segments that are kept to be used again.
pub const LOG_SPARES_MAX: usize = 2;
/// Segments prepared ahead of need.
pub const LOG_SEGMENTS_AHEAD: usize = 1;

/// Bytes of committed batches that wait for the scribe before the member takes no messages. It follows while it writes a
/// snapshot, so they wait only while its thread gets no time.
pub const SCRIBE_BYTES_MAX: usize = 64 << 20;
/// What an order to the scribe takes beside its bytes.
pub const SCRIBE_ORDER_BYTES: usize = 256;
/// Pieces of a snapshot that are made before the first of them is written.
pub const IMAGE_CHUNKS_IN_FLIGHT: usize = 2;

/// Serialized child lists one shard keeps.
pub const CHILD_LISTS_MAX: usize = 400;
/// Bytes of all the serialized child lists one shard keeps.
pub const CHILD_LISTS_BYTES_MAX: usize = 4 << 20;

/// Warnings about clients of one kind that a shard writes in `COMPLAINTS_EVERY_MS`.
pub const COMPLAINTS_AT_ONCE: u32 = 5;
/// See `COMPLAINTS_AT_ONCE`.
pub const COMPLAINTS_EVERY_MS: u64 = 10_000;
/// When the member has taken no requests for so long, it says so.
pub const STALL_TOLD_AFTER_MS: u64 = 1000;
/// `ringkeeper.slowRequestMs`: a request that waits for so long is told of.
pub const SLOW_REQUEST_MS: u64 = 1000;
/// A disk that stays slow is told of this often.
pub const SLOW_LOG_EVERY_MS: u64 = 10_000;
/// Lines of the log that wait to be written; more are dropped and counted.
pub const LOG_LINES_MAX: usize = 4096;
/// Bytes of one line of the log; the rest is cut off.
pub const LOG_LINE_BYTES_MAX: usize = 4096;

/// Connections that wait in the kernel to be accepted, unless `clientPortListenBacklog` says otherwise.
pub const LISTEN_BACKLOG: u32 = 4096;
/// Descriptors that connections leave for the log, snapshots, probes, pipes and whatever else the server opens.
pub const DESCRIPTORS_RESERVED: u32 = 64;
/// The same for each core: its ring, its queues' events, what its threads open.
pub const DESCRIPTORS_RESERVED_PER_CORE: u32 = 16;

/// Sends started for one fan-out before other inputs get their turn.
pub const FAN_OUT_SLICE: usize = 128;

const _: () = assert!(LOG_FRAME_BYTES_MAX.is_multiple_of(LOG_BLOCK));
const _: () = assert!(LOG_SEGMENT_BYTES as usize >= 4 * LOG_FRAME_BYTES_MAX);
const _: () = assert!(CONN_OUT_BYTES_SOFT_MAX < REPLY_BYTES_MAX && REPLY_BYTES_MAX < i32::MAX as usize);
const _: () = assert!(CONN_EVENT_BYTES_MAX + LARGEST_REPLIES_AT_ONCE * REPLY_BYTES_MAX <= OUTPUT_BYTES_MAX);
const _: () = assert!(EVENT_SHARED_BYTES_MIN < SEND_GATHER_BYTES_MAX);
const _: () = assert!(CONN_WATCH_BYTES_MAX <= WATCH_BYTES_MAX);
const _: () = assert!(CONN_PENDING_BYTES_MAX >= 2 * JUTE_MAX_BUFFER);
const _: () = assert!(WORDS_MAX > 4 * WORDS_AT_ONCE && WORDS_BYTES_MAX >= 2 * LOG_FRAME_BYTES_MAX);
const _: () = assert!(SCRIBE_BYTES_MAX >= 2 * OUTSTANDING_BYTES_MAX && IMAGE_CHUNKS_IN_FLIGHT > 0);
const _: () = assert!(OUTSTANDING_BYTES_MAX >= 4 * JUTE_MAX_BUFFER);
