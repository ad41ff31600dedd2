//! The session password: 16 bytes that any member derives from the session id alone, as `java.util.Random` seeded
//! with `id ^ 0xB3415C00` yields them.

use crate::ids::SessionId;

/// The password of a session.
pub fn password(session: SessionId) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = ((session.0 ^ 0xB341_5C00) as u64 ^ MULTIPLIER) & MASK;
    let mut bytes = [0; 16];
    for chunk in bytes.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    bytes
}
