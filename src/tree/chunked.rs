//! A row that grows by whole chunks: nothing is ever moved, so growing never takes longer than one allocation, and no
//! room for twice the present size is kept.
//!
//! Chunks are kept in one of two ways ([`Keep`]). [`Own`]: a copy of the row copies everything; for the trees of the hot
//! cores. [`Shared`]: a copy of the row shares its chunks, and one is copied when it is first changed afterwards, for the
//! scribe, whose copies are frozen points in time.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// How the chunks of a row are kept.
pub trait Keep: Clone {
    /// A chunk has two to the power of so many entries.
    const CHUNK_BITS: u32;
    /// The entries of one.
    type Chunk<T: Clone>: Clone;

    /// A chunk with these entries.
    fn chunk<T: Clone>(entries: Vec<T>) -> Self::Chunk<T>;
    /// Its entries.
    fn entries<T: Clone>(chunk: &Self::Chunk<T>) -> &[T];
    /// Its entries, to be changed.
    fn entries_mut<T: Clone>(chunk: &mut Self::Chunk<T>) -> &mut Vec<T>;
}

/// Each row has its chunks for itself.
#[derive(Clone, Copy, Debug)]
pub struct Own;

impl Keep for Own {
    const CHUNK_BITS: u32 = 12;
    type Chunk<T: Clone> = Vec<T>;

    fn chunk<T: Clone>(entries: Vec<T>) -> Vec<T> {
        entries
    }

    #[inline]
    fn entries<T: Clone>(chunk: &Vec<T>) -> &[T] {
        chunk
    }

    #[inline]
    fn entries_mut<T: Clone>(chunk: &mut Vec<T>) -> &mut Vec<T> {
        chunk
    }
}

/// Copies of a row share its chunks until they change.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

impl Keep for Shared {
    // Copying a chunk counts a reference to every record in it, and hot cores have these counts in their caches.
    const CHUNK_BITS: u32 = 8;
    type Chunk<T: Clone> = Arc<Vec<T>>;

    fn chunk<T: Clone>(entries: Vec<T>) -> Arc<Vec<T>> {
        Arc::new(entries)
    }

    fn entries<T: Clone>(chunk: &Arc<Vec<T>>) -> &[T] {
        chunk
    }

    fn entries_mut<T: Clone>(chunk: &mut Arc<Vec<T>>) -> &mut Vec<T> {
        Arc::make_mut(chunk)
    }
}

/// A growing row of `T`, indexed by `u32`.
#[derive(Clone)]
pub struct Chunked<T: Clone, K: Keep = Own> {
    /// All but the last are full.
    chunks: Vec<K::Chunk<T>>,
}

impl<T: Clone, K: Keep> Chunked<T, K> {
    const CHUNK: usize = 1 << K::CHUNK_BITS;

    /// An empty row.
    pub const fn empty() -> Chunked<T, K> {
        Chunked { chunks: Vec::new() }
    }

    /// Entries there are.
    #[inline]
    pub fn count(&self) -> u32 {
        match self.chunks.last() {
            Some(last) => (((self.chunks.len() - 1) << K::CHUNK_BITS) + K::entries(last).len()) as u32,
            None => 0,
        }
    }

    /// Adds an entry and returns its index.
    #[inline]
    pub fn push(&mut self, value: T) -> u32 {
        let index = self.count();
        match self.chunks.last_mut().filter(|last| K::entries(last).len() < Self::CHUNK) {
            Some(last) => K::entries_mut(last).push(value),
            None => {
                // A small tree stays small: only the first chunk grows step by step.
                let capacity = if self.chunks.is_empty() { 0 } else { Self::CHUNK };
                let mut chunk = Vec::with_capacity(capacity);
                chunk.push(value);
                self.chunks.push(K::chunk(chunk));
            }
        }
        index
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| K::entries(chunk))
    }
}

impl<T: Clone> Chunked<T> {
    /// The same entries in chunks that can be shared.
    pub fn to_shared(&self) -> Chunked<T, Shared> {
        let mut row = Chunked::empty();
        self.iter().for_each(|value| _ = row.push(value.clone()));
        row
    }
}

impl<T: Clone, K: Keep> Index<u32> for Chunked<T, K> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &K::entries(&self.chunks[(index >> K::CHUNK_BITS) as usize])[index as usize & (Self::CHUNK - 1)]
    }
}

impl<T: Clone, K: Keep> IndexMut<u32> for Chunked<T, K> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        let chunk = &mut self.chunks[(index >> K::CHUNK_BITS) as usize];
        &mut K::entries_mut(chunk)[index as usize & (Self::CHUNK - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grows<K: Keep>() {
        let mut row = Chunked::<u64, K>::empty();
        let (chunk, last) = (1 << K::CHUNK_BITS, (3 << K::CHUNK_BITS) + 7);
        for value in 0..=last {
            assert_eq!(row.push(u64::from(value)), value);
        }
        row[chunk] = 0;
        assert_eq!((row.count(), row[0], row[chunk], row[last]), (last + 1, 0, 0, u64::from(last)));
        assert_eq!(row.iter().count(), last as usize + 1);
    }

    #[test]
    fn entries_keep_their_index_over_chunks() {
        grows::<Own>();
        grows::<Shared>();
    }

    #[test]
    fn a_copy_shares_all_chunks_but_those_that_change() {
        let mut own = Chunked::empty();
        (0..1000_u32).for_each(|value| _ = own.push(value));
        let mut row = own.to_shared();
        let frozen = row.clone();
        row[300] = 7;
        row.push(1000);
        assert!(frozen.iter().copied().eq(0..1000));
        assert_eq!((row[300], row[299], row.count()), (7, 299, 1001));
        let shared = row.chunks.iter().zip(&frozen.chunks).map(|(chunk, frozen)| Arc::ptr_eq(chunk, frozen));
        assert_eq!(shared.collect::<Vec<_>>(), [true, false, true, false]);
    }
}
