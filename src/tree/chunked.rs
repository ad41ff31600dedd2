//! A row that grows by whole chunks: nothing is ever moved, so growing never takes longer than one allocation, and no
//! room for twice the present size is kept.

use std::ops::{Index, IndexMut};

/// A growing row of `T`, indexed by `u32`.
#[derive(Clone)]
pub struct Chunked<T> {
    /// All but the last are full.
    chunks: Vec<Vec<T>>,
}

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

impl<T> Chunked<T> {
    /// An empty row.
    pub const fn empty() -> Chunked<T> {
        Chunked { chunks: Vec::new() }
    }

    /// Entries there are.
    pub fn count(&self) -> u32 {
        match self.chunks.last() {
            Some(last) => (((self.chunks.len() - 1) << CHUNK_BITS) + last.len()) as u32,
            None => 0,
        }
    }

    /// Adds an entry and returns its index.
    pub fn push(&mut self, value: T) -> u32 {
        let index = self.count();
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(value),
            None => {
                // A small tree stays small: only the first chunk grows step by step.
                let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
        index
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> Index<u32> for Chunked<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.chunks[(index >> CHUNK_BITS) as usize][index as usize & (CHUNK - 1)]
    }
}

impl<T> IndexMut<u32> for Chunked<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[(index >> CHUNK_BITS) as usize][index as usize & (CHUNK - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_index_over_chunks() {
        let mut row = Chunked::empty();
        let last = 3 * CHUNK as u32 + 7;
        for value in 0..=last {
            assert_eq!(row.push(u64::from(value)), value);
        }
        row[CHUNK as u32] = 0;
        assert_eq!((row.count(), row[0], row[CHUNK as u32], row[last]), (last + 1, 0, 0, u64::from(last)));
        assert_eq!(row.iter().count(), last as usize + 1);
    }
}
