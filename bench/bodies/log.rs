//! From transactions to the bytes of a durable write.

use super::Body;
use super::tree::set_data;
use ringkeeper::ids::{FrameSeq, SegmentId, SessionId, Zxid};
use ringkeeper::log::{Epochs, LogOutput, LogStart, LogWriter};
use ringkeeper::wire::txn::encode_entry;
use ringkeeper::wire::{TxnDigest, TxnHeader};

/// Encodes, frames, sums up; the disk is always done at once.
pub fn frame(_: u32) -> Body {
    let start = LogStart {
        log_id: 9,
        incarnation: 1 << 32,
        segment: SegmentId(1),
        frame: FrameSeq(1),
        last_zxid: Zxid(0),
        epochs: Epochs::default(),
        segment_bytes: 64 << 20,
    };
    let mut log = LogWriter::new(start);
    let (mut zxid, mut entry, mut out) = (0, Vec::new(), Vec::new());
    let turn = move || {
        for _ in 0..TXNS {
            zxid += 1;
            let txn = set_data("/bench/n00000001");
            let header = TxnHeader {
                session: SessionId(7),
                cxid: 1,
                zxid: Zxid(zxid),
                time_ms: 1_700_000_000_000,
                op: txn.op(),
            };
            entry.clear();
            encode_entry(&mut entry, &header, &txn, Some(TxnDigest { version: 2, tree: zxid }));
            log.append(Zxid(zxid), &entry);
        }
        // The first round asks for a segment, and each new segment for its successor.
        while log.durable() < Zxid(zxid) {
            log.flush(true, &mut out);
            for output in out.drain(..) {
                match output {
                    LogOutput::Write { buffer, token, .. } => log.on_written(token, buffer),
                    LogOutput::Prepare { segment, bytes } => log.on_segment_ready(segment, bytes),
                    LogOutput::Close { .. } | LogOutput::Release { .. } => {}
                }
            }
        }
        log.on_snapshot(Zxid(zxid), &mut out);
        out.clear();
    };
    Body { operations: TXNS, turn: Box::new(turn) }
}

const TXNS: u64 = 64;
