//! A byte buffer whose memory starts on a 4096-byte boundary and is whole blocks long, as O_DIRECT asks for. Built
//! from a `Vec` of aligned blocks, so it needs no `unsafe`; the log fills it, the IO edge writes it.

use crate::limits::LOG_BLOCK;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One block. Invariant: its size and alignment are `LOG_BLOCK`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone)]
#[repr(C, align(4096))]
struct Block([u8; LOG_BLOCK]);

/// Whole, zero-initialised, aligned blocks.
#[derive(Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
}

impl AlignedBuffer {
    /// A buffer of `bytes` zero bytes, rounded up to whole blocks.
    pub fn zeroed(bytes: usize) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::default();
        buffer.resize(bytes);
        buffer
    }

    /// Grows (with zeros) or shrinks to `bytes`, rounded up to whole blocks.
    pub fn resize(&mut self, bytes: usize) {
        self.blocks.resize(bytes.div_ceil(LOG_BLOCK), Block([0; LOG_BLOCK]));
    }

    /// Length in bytes, a multiple of `LOG_BLOCK`.
    pub fn len(&self) -> usize {
        self.blocks.len() * LOG_BLOCK
    }

    /// True without any block.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.blocks.as_slice().as_bytes()
    }

    /// The bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.blocks.as_mut_slice().as_mut_bytes()
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.blocks.clear();
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
}
