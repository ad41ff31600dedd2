//! Core 0's end of the ring through which the member's words reach the shards of other cores.

use crate::io::ring::{Reader, Writer, ring};
use crate::limits::WORDS_MAX;
use crate::mesh::{Lag, ToShard, Word};
use std::collections::VecDeque;

/// The member's words, published in their order.
pub struct Words {
    ring: Writer<Word>,
    /// Words that found no room. A batch is never among them: the member says none before there is room for it.
    waiting: VecDeque<Word>,
    /// Bytes of each published word that some shard has not taken.
    bytes: VecDeque<usize>,
    bytes_sum: usize,
    taken: u64,
}

impl Words {
    /// For so many shards on other cores, and their ends.
    pub fn new(shards: usize) -> (Words, Vec<Reader<Word>>) {
        let (ring, readers) = ring(WORDS_MAX, shards);
        let words = Words { ring, waiting: VecDeque::new(), bytes: VecDeque::new(), bytes_sum: 0, taken: 0 };
        (words, readers)
    }

    /// Publishes a word behind all others.
    pub fn say(&mut self, word: Word) {
        self.publish_waiting();
        let is_batch = matches!(word.message, ToShard::Committed(_));
        if !self.waiting.is_empty() {
            assert!(!is_batch, "a batch is said only if there is room for it");
            return self.waiting.push_back(word);
        }
        if let Err(word) = self.publish(word) {
            assert!(!is_batch, "a batch is said only if there is room for it");
            self.waiting.push_back(word);
        }
    }

    fn publish(&mut self, word: Word) -> Result<(), Word> {
        let bytes = word.bytes();
        self.ring.push(word)?;
        self.bytes.push_back(bytes);
        self.bytes_sum += bytes;
        Ok(())
    }

    fn publish_waiting(&mut self) {
        while let Some(word) = self.waiting.pop_front() {
            if let Err(word) = self.publish(word) {
                return self.waiting.push_front(word);
            }
        }
    }

    /// Lets go of what every shard has taken; how far the slowest is behind.
    pub fn catch_up(&mut self) -> Lag {
        let taken = self.ring.sweep();
        while self.taken < taken {
            self.taken += 1;
            self.bytes_sum -= self.bytes.pop_front().expect("every published word has its bytes here");
        }
        self.publish_waiting();
        Lag { words: self.bytes.len() + self.waiting.len(), bytes: self.bytes_sum }
    }
}
