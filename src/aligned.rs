//! A byte buffer whose memory starts on a 4096-byte boundary and is whole blocks long, as O_DIRECT asks for. Built
//! from a `Vec` of aligned blocks, so it needs no `unsafe`; the log fills it, the IO edge writes it.

use crate::limits::LOG_BLOCK;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One block. Invariant: its size and alignment are `LOG_BLOCK`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone)]
#[repr(C, align(4096))]
struct Block([u8; LOG_BLOCK]);

/// Whole, initialised, aligned blocks.
#[derive(Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
    /// Blocks that count; invariant: there are so many at least.
    used: usize,
}

impl AlignedBuffer {
    /// A buffer of `bytes` zero bytes, rounded up to whole blocks.
    pub fn zeroed(bytes: usize) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::default();
        buffer.resize(bytes);
        buffer
    }

    /// Grows or shrinks to `bytes`, rounded up to whole blocks. What it grows by is zero, or what was there before it
    /// shrank: filling a log frame does not begin with wiping its memory.
    pub fn resize(&mut self, bytes: usize) {
        self.used = bytes.div_ceil(LOG_BLOCK);
        if self.used > self.blocks.len() {
            self.blocks.resize(self.used, Block([0; LOG_BLOCK]));
        }
    }

    /// Length in bytes, a multiple of `LOG_BLOCK`.
    pub fn len(&self) -> usize {
        self.used * LOG_BLOCK
    }

    /// True without any block that counts.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Bytes of memory, at least its length.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.len() * LOG_BLOCK
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.blocks[..self.used].as_bytes()
    }

    /// The bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.blocks[..self.used].as_mut_bytes()
    }

    /// Empties it, keeping the memory and what is in it.
    pub fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zeroed() {
        let buffer = AlignedBuffer::zeroed(5000);
        assert_eq!(buffer.len(), 8192);
        assert_eq!(buffer.as_slice().as_ptr() as usize % LOG_BLOCK, 0);
        assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn memory_comes_back_as_it_was_left_and_new_memory_is_zero() {
        let mut buffer = AlignedBuffer::zeroed(2 * LOG_BLOCK);
        buffer.as_mut_slice().fill(7);
        buffer.clear();
        assert!(buffer.is_empty() && buffer.as_slice().is_empty());
        buffer.resize(3 * LOG_BLOCK);
        assert_eq!((buffer.len(), buffer.memory_bytes()), (3 * LOG_BLOCK, 3 * LOG_BLOCK));
        let (old, new) = buffer.as_slice().split_at(2 * LOG_BLOCK);
        assert!(old.iter().all(|byte| *byte == 7) && new.iter().all(|byte| *byte == 0));
    }
}
