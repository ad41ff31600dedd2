//! The provided buffer ring: one pool of receive buffers per core, from which the kernel takes a buffer when bytes have
//! arrived. 10,000 idle connections need none.

use super::sys::check;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// A registered ring of receive buffers.
pub struct BufferRing {
    entries: *mut BufRingEntry,
    count: u16,
    buffer_bytes: usize,
    memory: Vec<u8>,
    tail: u16,
}

const GROUP: u16 = 0;

impl BufferRing {
    /// Allocates and registers `count` (a power of two) buffers.
    pub fn register(ring: &IoUring, count: u16, buffer_bytes: usize) -> io::Result<BufferRing> {
        assert!(count.is_power_of_two(), "the kernel asks for a power of two");
        let bytes = count as usize * size_of::<BufRingEntry>();
        // SAFETY: an anonymous private mapping; the result is checked below.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mut buffers = BufferRing {
            entries: memory.cast(),
            count,
            buffer_bytes,
            memory: vec![0; count as usize * buffer_bytes],
            tail: 0,
        };
        // SAFETY: the mapping is page aligned, large enough for `count` entries, and lives as long as the ring is used
        // (both are dropped with the backend, the ring first).
        unsafe { ring.submitter().register_buf_ring_with_flags(memory as u64, count, GROUP, 0)? };
        for buffer in 0..count {
            buffers.give_back(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The group's number in receive requests.
    pub fn group(&self) -> u16 {
        GROUP
    }

    /// Lends the first `length` bytes of a buffer that the kernel has filled.
    pub fn with(&self, buffer: u16, length: usize, read: impl FnOnce(&[u8])) {
        assert!(length <= self.buffer_bytes, "the kernel fills no more than a buffer");
        let start = buffer as usize * self.buffer_bytes;
        read(&self.memory[start..start + length]);
    }

    /// Offers a buffer to the kernel again; takes effect with `publish`.
    pub fn give_back(&mut self, buffer: u16) {
        let slot = self.tail & (self.count - 1);
        let start = buffer as usize * self.buffer_bytes;
        let address = self.memory[start..].as_ptr() as u64;
        // SAFETY: `slot` is below `count`; the kernel does not read entries at or beyond the published tail.
        let entry = unsafe { &mut *self.entries.add(slot as usize) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes what was given back visible to the kernel.
    pub fn publish(&mut self) {
        // SAFETY: the tail lies inside the mapping and is only written by this thread; the release store orders the
        // entries before it, as the kernel expects.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        let bytes = self.count as usize * size_of::<BufRingEntry>();
        // SAFETY: the mapping was made with this length and is used by nobody any more.
        let result = check(unsafe { libc::munmap(self.entries.cast(), bytes) });
        debug_assert!(result.is_ok());
    }
}
