//! The bounds of one world, small where that makes them met often, and what must hold after every step: nothing that a
//! shard or the member holds is above its bound. What is held is counted here, too, from outside.

use super::world::World;
use crate::limits;
use crate::prng::Prng;
use crate::shard::ConnBounds;

#[derive(Clone, Debug)]
pub struct Bounds {
    pub frame_bytes: usize,
    pub reply_bytes: usize,
    pub output_bytes: usize,
    pub input_bytes: usize,
    pub conn_watch_bytes: usize,
    pub watch_bytes: usize,
    pending: usize,
    pending_bytes: usize,
    out_bytes_soft: usize,
    event_bytes: usize,
    pub outstanding_txns: usize,
    pub outstanding_bytes: usize,
}

impl Bounds {
    /// Related to each other as `limits.rs` and `ShardSettings::share_of` relate them.
    pub fn draw(prng: &mut Prng) -> Bounds {
        let one = |prng: &mut Prng, of: [usize; 3]| of[prng.below(3) as usize];
        let frame_bytes = match prng.below(10) {
            0..3 => 1000,
            3..7 => 24 << 10,
            7..9 => 200 << 10,
            _ => limits::JUTE_MAX_BUFFER,
        };
        let reply_bytes = frame_bytes + one(prng, [0, 1000, limits::REPLY_BYTES_MAX]);
        let output_bytes = limits::LARGEST_REPLIES_AT_ONCE * reply_bytes + one(prng, [0, 20_000, 1 << 30]);
        Bounds {
            frame_bytes,
            reply_bytes,
            output_bytes,
            input_bytes: limits::LARGEST_REQUESTS_AT_ONCE * frame_bytes,
            conn_watch_bytes: one(prng, [800, 4000, 1 << 28]),
            watch_bytes: one(prng, [2000, 8000, 1 << 30]),
            pending: one(prng, [2, 20, limits::CONN_PENDING_MAX]),
            pending_bytes: 2 * frame_bytes + one(prng, [0, 10_000, limits::CONN_PENDING_BYTES_MAX]),
            out_bytes_soft: one(prng, [100, 5000, limits::CONN_OUT_BYTES_SOFT_MAX]),
            event_bytes: one(prng, [300, 3000, limits::CONN_EVENT_BYTES_MAX]),
            outstanding_txns: one(prng, [1, 20, limits::OUTSTANDING_TXNS_MAX]),
            outstanding_bytes: one(prng, [1, 50_000, limits::OUTSTANDING_BYTES_MAX]),
        }
    }

    pub fn conn(&self) -> ConnBounds {
        ConnBounds {
            pending_max: self.pending,
            pending_bytes_max: self.pending_bytes,
            out_bytes_soft_max: self.out_bytes_soft,
            event_bytes_max: self.event_bytes,
        }
    }

    /// The longest value: its request is whole with a path and a list beside it.
    pub fn value_bytes(&self) -> usize {
        self.frame_bytes.min(limits::JUTE_MAX_BUFFER) - 600
    }
}

impl World {
    /// After every step; the trees, which are large, now and then.
    pub fn check_step(&mut self, step: u64) -> Result<(), String> {
        let Some(process) = &self.process else { return Ok(()) };
        if step.is_multiple_of(TREES_EVERY) {
            process.member.store().tree().check();
            process.seats.iter().for_each(|seat| seat.shard.tree().check());
        }
        process.member.check_sums();
        process.check_queues()?;
        for (index, seat) in process.seats.iter().enumerate() {
            self.check_shard(index as u16, &seat.shard)?;
        }
        Ok(())
    }

    fn check_shard(&self, index: u16, shard: &crate::shard::Shard) -> Result<(), String> {
        let bounds = &self.settings.bounds;
        let held = shard.held();
        let sending: usize = self
            .conns
            .iter()
            .filter(|conn| conn.origin.is_some_and(|origin| origin.shard.0 == index))
            .filter_map(|conn| conn.sending.as_ref())
            .map(|buffer| buffer.len())
            .sum();
        let conns = held.conns * limits::CONN_INPUT_BYTES_SMALL;
        let input_most = bounds.input_bytes + bounds.frame_bytes + super::process::RECEIVE_BYTES + conns;
        // A handshake's answer, an auth's and a ping's are not held back by it; each is short.
        let output_most = bounds.output_bytes + held.conns * SHORT_ANSWERS;
        for (what, held, most) in [
            ("bytes to be sent", held.output_bytes, output_most),
            ("bytes of requests", held.input_bytes, input_most),
            ("bytes of watches", held.watch_bytes, bounds.watch_bytes),
        ] {
            if held > most {
                return Err(format!("shard {index} holds {held} {what}, {most} at most"));
            }
        }
        if sending > held.output_bytes {
            return Err(format!(
                "shard {index}: {sending} bytes are being sent, {} are counted",
                held.output_bytes
            ));
        }
        Ok(())
    }
}

/// Of one connection between two flushes.
const SHORT_ANSWERS: usize = 4096;

/// The trees are looked at after so many steps.
const TREES_EVERY: u64 = 64;
