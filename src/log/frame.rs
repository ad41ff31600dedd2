//! The layouts of a segment's header block and of a frame's header (log format 2). Little-endian numbers at fixed places.
//!
//! A segment's first block; what is behind the header in it is zero:
//!
//! | Byte | Field |
//! |---|---|
//! | 0 | magic, "RKSEGMT2"; the last byte is the format's version |
//! | 8 | log id, 16 bytes |
//! | 24 | incarnation of the server that began it |
//! | 32 | its number |
//! | 40 | sequence of the first frame |
//! | 48 | the newest zxid before it that counts |
//! | 56 | every frame up to this one was durable |
//! | 64 | the newest zxid that was durable |
//! | 72 | accepted epoch |
//! | 80 | current epoch |
//! | 88 | CRC-32C of bytes 0 to 87; every later version keeps it at this place |
//!
//! A frame, at the start of a block; zeros fill up its last block:
//!
//! | Byte | Field |
//! |---|---|
//! | 0 | magic, "RKFRAME2" |
//! | 8 | number of the segment it was written to |
//! | 16 | incarnation of the server that wrote it |
//! | 24 | sequence |
//! | 32 | every frame up to this one was durable |
//! | 40 | first zxid |
//! | 48 | last zxid |
//! | 56 | bytes of the body |
//! | 60 | transactions in it |
//! | 64 | kind: 1 transactions, 2 epochs |
//! | 68 | CRC-32C of the log id and bytes 0 to 67 |
//! | 72 | the same, continued over the body |
//! | 76 | body: transactions, each a u32 length and its bytes; or accepted and current epoch, 8 bytes each |
//!
//! The log id begins both checksums of a frame and is told to nobody: no bytes that a client sends look like a frame.

use crate::limits::LOG_BLOCK;
use zerocopy::byteorder::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// "RKSEGMT2"
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"RKSEGMT2");
/// "RKFRAME2"
pub const FRAME_MAGIC: u64 = u64::from_le_bytes(*b"RKFRAME2");
/// The version of this format.
pub const VERSION: u8 = 2;

/// The first bytes of a segment's first block.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SegmentHeader {
    pub magic: U64,
    /// Random per data folder: tells a foreign file.
    pub log_id: U128,
    /// Differs for every start of a server: tells what an earlier one left behind.
    pub incarnation: U64,
    /// This segment's number: tells a recycled file's old content.
    pub segment: U64,
    /// Sequence of the first frame in it. Older segments count only up to the least one behind them.
    pub first_frame: U64,
    /// The newest zxid before it. Older segments count only up to the least one behind them.
    pub previous_zxid: U64,
    /// Every frame up to this one was durable when this was written.
    pub durable_through: U64,
    /// The newest zxid that was durable then.
    pub durable_zxid: U64,
    pub accepted_epoch: U64,
    pub current_epoch: U64,
    /// Over all fields before.
    pub crc: U32,
}

/// The first bytes of a frame.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FrameHeader {
    pub magic: U64,
    /// The segment it was written to.
    pub segment: U64,
    /// Of the server that wrote it: the same as in its segment's header.
    pub incarnation: U64,
    /// Ascending without gaps over all segments that count.
    pub sequence: U64,
    /// Every frame up to this one was durable when this one was written.
    pub durable_through: U64,
    pub first_zxid: U64,
    pub last_zxid: U64,
    /// Bytes of the body after this header.
    pub body_bytes: U32,
    /// Transactions in it.
    pub txns: U32,
    /// `KIND_TXNS` or `KIND_EPOCHS`.
    pub kind: U32,
    /// Over the log id and all fields before.
    pub header_crc: U32,
    /// The same, continued over the body.
    pub crc: U32,
}

/// The body is transactions.
pub const KIND_TXNS: u32 = 1;
/// The body is the accepted and the current epoch.
pub const KIND_EPOCHS: u32 = 2;

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
const SEGMENT_HEADER_BYTES: usize = size_of::<SegmentHeader>();
const _: () = assert!(FRAME_HEADER_BYTES == 76 && SEGMENT_HEADER_BYTES == 92);
const _: () = assert!(FRAME_HEADER_BYTES < LOG_BLOCK && SEGMENT_HEADER_BYTES < LOG_BLOCK);

/// What a server promised and follows (`acceptedEpoch` and `currentEpoch` of ZooKeeper). Invariant: current <= accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Epochs {
    pub accepted: u64,
    pub current: u64,
}

impl Epochs {
    /// Bytes of an epoch frame's body.
    pub const BYTES: usize = 16;

    pub fn to_bytes(self) -> [u8; Epochs::BYTES] {
        let mut bytes = [0; Epochs::BYTES];
        bytes[..8].copy_from_slice(&self.accepted.to_le_bytes());
        bytes[8..].copy_from_slice(&self.current.to_le_bytes());
        bytes
    }

    /// None if the body has another length, or breaks the invariant.
    pub fn read(body: &[u8]) -> Option<Epochs> {
        let bytes: &[u8; Epochs::BYTES] = body.try_into().ok()?;
        let number = |part: &[u8]| u64::from_le_bytes(part.try_into().expect("eight bytes"));
        let epochs = Epochs { accepted: number(&bytes[..8]), current: number(&bytes[8..]) };
        (epochs.current <= epochs.accepted).then_some(epochs)
    }
}

/// Where the checksums of a log's frames begin: the sum of its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(u32);

impl Seed {
    pub fn of(log_id: u128) -> Seed {
        Seed(crc32c::crc32c(&log_id.to_le_bytes()))
    }
}

impl SegmentHeader {
    /// The checksum these fields should have.
    pub fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..SEGMENT_HEADER_BYTES - 4])
    }

    /// Reads a header from a segment's first block; None if it is not a valid one.
    pub fn read(block: &[u8]) -> Option<SegmentHeader> {
        let (header, _) = SegmentHeader::read_from_prefix(block).ok()?;
        (header.magic.get() == SEGMENT_MAGIC && header.crc.get() == header.checksum()).then_some(header)
    }

    /// The epochs as they were when it was begun.
    pub fn epochs(&self) -> Epochs {
        Epochs { accepted: self.accepted_epoch.get(), current: self.current_epoch.get() }
    }
}

/// The version of a sound segment header that is not of this version.
pub fn other_version(block: &[u8]) -> Option<u8> {
    let digit = *block.get(7)?;
    let version = digit.wrapping_sub(b'0');
    if !block.starts_with(b"RKSEGMT") || version == VERSION {
        return None;
    }
    let end = if version == 1 { FIRST_VERSION_BYTES } else { SEGMENT_HEADER_BYTES } - 4;
    let crc = block.get(end..end + 4)?;
    (crc == crc32c::crc32c(&block[..end]).to_le_bytes()).then_some(version)
}

/// Bytes of a segment's header in format 1, its checksum at the end.
const FIRST_VERSION_BYTES: usize = 68;

impl FrameHeader {
    /// Fills in both checksums.
    pub fn seal(&mut self, seed: Seed, body: &[u8]) {
        let header_crc = self.header_checksum(seed);
        self.header_crc = header_crc.into();
        self.crc = crc32c::crc32c_append(header_crc, body).into();
    }

    /// Whether the body is the one that was written behind this header. The header is sound already (`read`).
    pub fn is_body(&self, body: &[u8]) -> bool {
        self.crc.get() == crc32c::crc32c_append(self.header_crc.get(), body)
    }

    /// Reads a header that this log has written; the body is not yet looked at.
    pub fn read(block: &[u8], seed: Seed) -> Option<FrameHeader> {
        let (header, _) = FrameHeader::read_from_prefix(block).ok()?;
        let is_ours =
            header.magic.get() == FRAME_MAGIC && header.header_crc.get() == header.header_checksum(seed);
        is_ours.then_some(header)
    }

    /// Bytes of the whole frame on disk.
    pub fn frame_bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES as u64 + self.body_bytes.get() as u64).next_multiple_of(LOG_BLOCK as u64)
    }

    fn header_checksum(&self, seed: Seed) -> u32 {
        crc32c::crc32c_append(seed.0, &self.as_bytes()[..FRAME_HEADER_BYTES - 8])
    }
}
