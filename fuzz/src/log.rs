//! Segments with anything in them: recovery says what it found or what is wrong. The input is two segments, one behind
//! the other; checksums are put right so that what is behind them is reached.

use ringkeeper::ids::{SegmentId, Zxid};
use ringkeeper::log::{SegmentSource, recover};
use std::io;

const BLOCK: usize = 4096;
/// Of a segment's header and of a frame's, with the checksum at the end.
const SEGMENT_HEADER: usize = 92;
const FRAME_HEADER: usize = 76;
/// Of each block: few bytes of input make a long log.
pub const PIECE: usize = 160;
const LOG_ID: u128 = 7;
const INCARNATION: u64 = 1 << 32;

struct Segments(Vec<Vec<u8>>);

impl SegmentSource for Segments {
    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        Ok((1..=self.0.len() as u64).map(SegmentId).collect())
    }

    fn length(&self, segment: SegmentId) -> io::Result<u64> {
        Ok(self.0[segment.0 as usize - 1].len() as u64)
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        into.copy_from_slice(&self.0[segment.0 as usize - 1][start..start + into.len()]);
        Ok(())
    }

    fn sync(&mut self, _: SegmentId) -> io::Result<()> {
        Ok(())
    }

    fn name(&self, segment: SegmentId) -> String {
        format!("segment {}", segment.0)
    }
}

/// Each block holds what the input says for it, and nothing else.
fn segment(input: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK * (2 + input.len() / PIECE)];
    for (block, piece) in bytes.chunks_mut(BLOCK).zip(input.chunks(PIECE)) {
        block[..piece.len()].copy_from_slice(piece);
    }
    bytes
}

/// Makes headers of whatever stands where headers are.
fn seal(bytes: &mut [u8], segment: u64) {
    let (first, rest) = bytes.split_at_mut(BLOCK);
    first[..8].copy_from_slice(b"RKSEGMT2");
    first[8..24].copy_from_slice(&LOG_ID.to_le_bytes());
    first[24..32].copy_from_slice(&INCARNATION.to_le_bytes());
    first[32..40].copy_from_slice(&segment.to_le_bytes());
    let sum = crc32c::crc32c(&first[..SEGMENT_HEADER - 4]);
    first[SEGMENT_HEADER - 4..SEGMENT_HEADER].copy_from_slice(&sum.to_le_bytes());
    for block in rest.chunks_mut(BLOCK) {
        block[..8].copy_from_slice(b"RKFRAME2");
        block[8..16].copy_from_slice(&segment.to_le_bytes());
        block[16..24].copy_from_slice(&INCARNATION.to_le_bytes());
        let seed = crc32c::crc32c(&LOG_ID.to_le_bytes());
        let sum = crc32c::crc32c_append(seed, &block[..FRAME_HEADER - 8]);
        block[FRAME_HEADER - 8..FRAME_HEADER - 4].copy_from_slice(&sum.to_le_bytes());
        let length = u32::from_le_bytes(block[56..60].try_into().expect("four bytes")) as usize;
        let end = FRAME_HEADER.saturating_add(length).min(BLOCK);
        let sum = crc32c::crc32c_append(sum, &block[FRAME_HEADER..end]);
        block[FRAME_HEADER - 4..FRAME_HEADER].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Says how many transactions it found.
pub fn run(data: &[u8]) -> u64 {
    let Some((&flags, data)) = data.split_first() else { return 0 };
    let (first, second) = data.split_at(data.len() / 2);
    let mut segments = Segments(vec![segment(first), segment(second)]);
    if flags & 1 != 0 {
        segments.0.iter_mut().enumerate().for_each(|(index, bytes)| seal(bytes, index as u64 + 1));
    }
    let (mut last, mut txns) = (Zxid::ZERO, 0);
    let _ = recover(&mut segments, Zxid(i64::from(flags >> 4)), &mut |entry| {
        let zxid = i64::from_be_bytes(entry[12..20].try_into().expect("eight bytes"));
        assert!(Zxid(zxid) > last, "transactions come in order");
        last = Zxid(zxid);
        txns += 1;
        Ok(())
    });
    txns
}
