//! The member's words on their way to the shards, as `server/words.rs` and `io/ring.rs` carry them: one order, a bounded
//! ring, each word there for all shards at one instant, taken by each shard at its own time.

use crate::ids::ShardId;
use crate::mesh::{Lag, ToShard, Word};
use crate::prng::Prng;
use std::collections::VecDeque;

pub struct Words {
    /// From position `first` on; those that found no room in the ring at its end.
    words: VecDeque<Word>,
    first: u64,
    max: u64,
    /// Per shard: words that are there for it, and words it has taken.
    published: Vec<u64>,
    taken: Vec<u64>,
    /// Broken on purpose: words are published to one shard after the other, as separate mailboxes do.
    is_torn: bool,
}

impl Words {
    pub fn new(shards: u16, max: usize, is_torn: bool) -> Words {
        let none = vec![0; shards as usize];
        Words {
            words: VecDeque::new(),
            first: 0,
            max: max as u64,
            published: none.clone(),
            taken: none,
            is_torn,
        }
    }

    fn end(&self) -> u64 {
        self.first + self.words.len() as u64
    }

    fn slowest(&self) -> u64 {
        self.taken.iter().copied().min().unwrap_or(self.first)
    }

    /// The member says something.
    pub fn say(&mut self, word: Word, prng: &mut Prng) -> Result<(), String> {
        let has_room = self.end() < self.slowest() + self.max;
        if matches!(word.message, ToShard::Committed(_)) && !has_room {
            return Err("a batch finds no room in the ring".into());
        }
        self.words.push_back(word);
        let end = self.end().min(self.slowest() + self.max);
        for published in &mut self.published {
            if !self.is_torn || prng.chance(50) {
                *published = end;
            }
        }
        Ok(())
    }

    /// Lets go of what all have taken, publishes what found no room; how far the slowest shard is behind.
    pub fn catch_up(&mut self) -> Lag {
        while self.first < self.slowest() {
            self.words.pop_front();
            self.first += 1;
        }
        if !self.is_torn {
            let end = self.end().min(self.slowest() + self.max);
            self.published.fill(end);
        }
        Lag { words: self.words.len(), bytes: self.words.iter().map(Word::bytes).sum() }
    }

    /// Of all words that some shard has not taken.
    pub fn bytes(&self) -> usize {
        self.words.iter().map(Word::bytes).sum()
    }

    /// What is torn arrives at last.
    pub fn publish_to(&mut self, shard: usize) {
        if self.is_torn {
            self.published[shard] = self.end();
        }
    }

    /// Nothing is there that this shard has not taken.
    pub fn is_empty(&self) -> bool {
        self.taken.iter().all(|taken| *taken == self.end())
    }

    /// How many words a shard can take.
    pub fn count(&self, shard: usize) -> u64 {
        self.published[shard] - self.taken[shard]
    }

    /// A shard takes its next word; None if that was for another shard.
    pub fn take(&mut self, shard: usize) -> Option<ToShard> {
        assert!(self.taken[shard] < self.published[shard], "only what is published is taken");
        let word = &self.words[(self.taken[shard] - self.first) as usize];
        self.taken[shard] += 1;
        word.concerns(ShardId(shard as u16)).then(|| word.message.clone())
    }
}
