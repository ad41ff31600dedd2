//! The layouts of a segment's header block and of a frame's header. Little-endian numbers at fixed places, each with
//! a CRC-32C over everything it stands for.

use crate::limits::LOG_BLOCK;
use zerocopy::byteorder::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// "RKSEGMT1"
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"RKSEGMT1");
/// "RKFRAME1"
pub const FRAME_MAGIC: u64 = u64::from_le_bytes(*b"RKFRAME1");

/// The first bytes of a segment's first block; the rest of the block is zero.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SegmentHeader {
    pub magic: U64,
    /// Random per data folder: tells a foreign file.
    pub log_id: U128,
    /// This segment's number: tells a recycled file's old content.
    pub segment: U64,
    /// Sequence of the first frame in it.
    pub first_frame: U64,
    /// The newest zxid before it.
    pub previous_zxid: U64,
    /// Every frame up to this one was durable when this was written.
    pub durable_through: U64,
    /// The newest zxid that was durable then.
    pub durable_zxid: U64,
    /// Over all fields before.
    pub crc: U32,
}

/// The first bytes of a frame; transactions follow directly, each as a u32 length and its bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct FrameHeader {
    pub magic: U64,
    /// The segment it was written to.
    pub segment: U64,
    /// Ascending without gaps over all segments.
    pub sequence: U64,
    /// Every frame up to this one was durable when this one was written.
    pub durable_through: U64,
    pub first_zxid: U64,
    pub last_zxid: U64,
    /// Bytes of transactions after this header.
    pub body_bytes: U32,
    /// Transactions in it.
    pub txns: U32,
    /// Over this header with a zero here, and the body.
    pub crc: U32,
}

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
const _: () = assert!(FRAME_HEADER_BYTES < LOG_BLOCK && size_of::<SegmentHeader>() < LOG_BLOCK);

impl SegmentHeader {
    /// The checksum these fields should have.
    pub fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..size_of::<SegmentHeader>() - 4])
    }

    /// Reads a header from a segment's first block; None if it is not a valid one.
    pub fn read(block: &[u8]) -> Option<SegmentHeader> {
        let (header, _) = SegmentHeader::read_from_prefix(block).ok()?;
        (header.magic.get() == SEGMENT_MAGIC && header.crc.get() == header.checksum()).then_some(header)
    }
}

impl FrameHeader {
    /// The checksum of this header and its body.
    pub fn checksum(&self, body: &[u8]) -> u32 {
        let zeroed = FrameHeader { crc: U32::ZERO, ..*self };
        crc32c::crc32c_append(crc32c::crc32c(zeroed.as_bytes()), body)
    }

    /// Reads a header whose magic is right; the checksum is not yet looked at.
    pub fn read(block: &[u8]) -> Option<FrameHeader> {
        let (header, _) = FrameHeader::read_from_prefix(block).ok()?;
        (header.magic.get() == FRAME_MAGIC).then_some(header)
    }

    /// Bytes of the whole frame on disk.
    pub fn frame_bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES as u64 + self.body_bytes.get() as u64).next_multiple_of(LOG_BLOCK as u64)
    }
}
