//! One writer's words for many readers, in one order: a ring that every reader goes through at its own pace. A word is
//! there for all readers at one instant, that of the release store in [`Writer::push`].

use crossbeam::utils::CachePadded;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

struct Shared<T> {
    slots: Box<[UnsafeCell<Option<T>>]>,
    /// Words that all readers may take.
    published: CachePadded<AtomicU64>,
    /// Per reader: words it has taken; `GONE` once it has ended.
    taken: Box<[CachePadded<AtomicU64>]>,
}

// SAFETY: a slot is written by the one writer only while its position is not published or every reader has taken it
// (`Writer::push`, `Writer::sweep`), and read only while it is published and not yet taken (`Reader::take`); the
// release and acquire of the counters order the two.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}
// SAFETY: it owns its words.
unsafe impl<T: Send> Send for Shared<T> {}

/// What `taken` says of a reader that has ended: nobody waits for it.
const GONE: u64 = u64::MAX;

/// The writing end.
pub struct Writer<T> {
    shared: Arc<Shared<T>>,
    published: u64,
    /// Positions below are empty again. Invariant: `swept <= published <= swept + capacity`.
    swept: u64,
}

/// One of the reading ends.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    index: usize,
    /// Invariant: `taken <= published`.
    taken: u64,
}

/// A ring of `capacity` words for so many readers.
pub fn ring<T>(capacity: usize, readers: usize) -> (Writer<T>, Vec<Reader<T>>) {
    assert!(capacity > 0 && readers > 0, "a ring without room or readers carries nothing");
    let shared = Arc::new(Shared {
        slots: (0..capacity).map(|_| UnsafeCell::new(None)).collect(),
        published: CachePadded::new(AtomicU64::new(0)),
        taken: (0..readers).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
    });
    let reader = |index| Reader { shared: Arc::clone(&shared), index, taken: 0 };
    let readers = (0..readers).map(reader).collect();
    (Writer { shared, published: 0, swept: 0 }, readers)
}

impl<T> Shared<T> {
    fn slot(&self, position: u64) -> &UnsafeCell<Option<T>> {
        &self.slots[(position % self.slots.len() as u64) as usize]
    }
}

impl<T> Writer<T> {
    /// Publishes a word to all readers at once; gives it back if the slowest of them is a ring behind.
    pub fn push(&mut self, word: T) -> Result<(), T> {
        let capacity = self.shared.slots.len() as u64;
        if self.published == self.swept + capacity {
            self.sweep();
            if self.published == self.swept + capacity {
                return Err(word);
            }
        }
        // SAFETY: this position is not published, and the word that was here a ring ago is swept.
        unsafe { *self.shared.slot(self.published).get() = Some(word) };
        self.published += 1;
        self.shared.published.store(self.published, Ordering::Release);
        Ok(())
    }

    /// Drops the words that every reader has taken. Returns how many were taken by all, from the beginning.
    pub fn sweep(&mut self) -> u64 {
        let slowest = self.shared.taken.iter().map(|taken| taken.load(Ordering::Acquire)).min();
        let slowest = slowest.unwrap_or(GONE).min(self.published);
        assert!(self.swept <= slowest, "readers do not go back");
        while self.swept < slowest {
            // SAFETY: every reader has taken this position and reads it no more.
            unsafe { *self.shared.slot(self.swept).get() = None };
            self.swept += 1;
        }
        slowest
    }
}

impl<T> Reader<T> {
    /// How many words are published; those up to here can be taken.
    pub fn published(&self) -> u64 {
        let published = self.shared.published.load(Ordering::Acquire);
        assert!(self.taken <= published, "nothing is taken before it is published");
        published
    }

    /// How many words were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Nothing is there to be taken.
    pub fn is_empty(&self) -> bool {
        self.published() == self.taken
    }

    /// Takes the next word up to `until`, a number that `published` has returned; `pick` keeps what is of use of it.
    pub fn take<R>(&mut self, until: u64, pick: impl FnOnce(&T) -> R) -> Option<R> {
        if self.taken >= until {
            return None;
        }
        // SAFETY: the position is published, as `until` says, and not yet taken by this reader: nobody writes it.
        let word = unsafe { &*self.shared.slot(self.taken).get() };
        let picked = pick(word.as_ref().expect("a published word stays until all have taken it"));
        self.taken += 1;
        self.shared.taken[self.index].store(self.taken, Ordering::Release);
        Some(picked)
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.shared.taken[self.index].store(GONE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(reader: &mut Reader<Arc<u64>>) -> Vec<u64> {
        let until = reader.published();
        std::iter::from_fn(|| reader.take(until, |word| **word)).collect()
    }

    #[test]
    fn every_reader_gets_every_word_in_order_and_the_slowest_bounds_the_writer() {
        let (mut writer, mut readers) = ring(3, 2);
        let words: Vec<Arc<u64>> = (0..5).map(Arc::new).collect();
        for word in &words[..3] {
            writer.push(Arc::clone(word)).expect("room");
        }
        assert_eq!(take_all(&mut readers[0]), [0, 1, 2]);
        assert!(writer.push(Arc::clone(&words[3])).is_err(), "the second reader is a ring behind");
        let until = readers[1].published();
        assert_eq!(readers[1].take(until, |word| **word), Some(0));
        assert!(writer.push(Arc::clone(&words[3])).is_ok());
        assert!(writer.push(Arc::clone(&words[4])).is_err());
        assert_eq!(Arc::strong_count(&words[0]), 1, "what all have taken is dropped");
        assert_eq!(Arc::strong_count(&words[1]), 2);
        assert_eq!(take_all(&mut readers[1]), [1, 2, 3]);
        assert_eq!(take_all(&mut readers[0]), [3]);
        assert_eq!(writer.sweep(), 4);
        assert_eq!(Arc::strong_count(&words[3]), 1);
    }

    #[test]
    fn a_reader_that_has_ended_holds_up_nobody() {
        let (mut writer, mut readers) = ring(1, 2);
        readers.pop();
        for word in 0..10 {
            writer.push(Arc::new(word)).expect("room");
            assert_eq!(take_all(&mut readers[0]), [word]);
        }
    }

    #[test]
    fn threads_agree_on_the_order() {
        const WORDS: u64 = 20_000;
        let (mut writer, readers) = ring(64, 3);
        let threads: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                std::thread::spawn(move || {
                    let mut next = 0;
                    while next < WORDS {
                        let until = reader.published();
                        while let Some(word) = reader.take(until, |word: &Arc<u64>| **word) {
                            assert_eq!(word, next);
                            next += 1;
                        }
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        for word in 0..WORDS {
            let mut word = Arc::new(word);
            while let Err(back) = writer.push(word) {
                word = back;
                std::thread::yield_now();
            }
        }
        threads.into_iter().for_each(|thread| thread.join().expect("the order holds"));
    }
}
