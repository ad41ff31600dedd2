//! Serialized child lists of large parents that are asked for again and again (`maxGetChildrenResponseCacheSize` in
//! ZooKeeper): gathering a thousand names touches a thousand records, copying the list touches one.
//!
//! An entry is valid for one state of one parent only: any create or delete of a child raises the parent's pzxid, and
//! a parent made anew has another czxid. So nothing has to tell this cache about changes.

use crate::ids::Zxid;
use crate::limits::{CHILD_LISTS_BYTES_MAX, CHILD_LISTS_MAX};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// A state of a parent's child list: its czxid and pzxid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListState {
    /// When the parent was made.
    pub czxid: Zxid,
    /// When a child last came or went.
    pub pzxid: Zxid,
}

/// The lists one shard keeps.
pub struct ChildLists {
    lists: HashMap<Box<str>, (ListState, Box<[u8]>), FixedState>,
    /// Paths in the order in which they came, for making room. Holds exactly the keys of `lists`.
    order: VecDeque<Box<str>>,
    bytes: usize,
}

/// Shorter lists are as quick to gather as to look up.
pub const CHILDREN_MIN: usize = 32;

impl ChildLists {
    /// An empty cache; the seed keeps hashing deterministic.
    pub fn new(hash_seed: u64) -> ChildLists {
        let lists = HashMap::with_hasher(FixedState::with_seed(hash_seed));
        ChildLists { lists, order: VecDeque::new(), bytes: 0 }
    }

    /// The list of the parent in this state.
    pub fn find(&self, path: &str, state: ListState) -> Option<&[u8]> {
        let (kept, list) = self.lists.get(path)?;
        (*kept == state).then_some(list)
    }

    /// Keeps a list in place of any earlier one; the oldest give way. One that is too long for the whole cache is not
    /// kept.
    pub fn keep(&mut self, path: &str, state: ListState, list: &[u8]) {
        if list.len() > CHILD_LISTS_BYTES_MAX {
            return;
        }
        if let Some((kept, old)) = self.lists.get_mut(path) {
            self.bytes = self.bytes + list.len() - old.len();
            (*kept, *old) = (state, list.into());
        } else {
            self.lists.insert(path.into(), (state, list.into()));
            self.order.push_back(path.into());
            self.bytes += list.len();
        }
        while self.bytes > CHILD_LISTS_BYTES_MAX || self.order.len() > CHILD_LISTS_MAX {
            let oldest = self.order.pop_front().expect("what has a size has an entry");
            let (_, list) = self.lists.remove(&oldest).expect("the order holds the keys");
            self.bytes -= list.len();
        }
    }

    /// The order holds the keys, the sum is that of the parts, and nothing is above its bound.
    pub fn check(&self) {
        assert_eq!(self.order.len(), self.lists.len());
        assert!(self.order.iter().all(|path| self.lists.contains_key(path)));
        assert_eq!(self.bytes, self.lists.values().map(|(_, list)| list.len()).sum::<usize>());
        assert!(self.bytes <= CHILD_LISTS_BYTES_MAX && self.order.len() <= CHILD_LISTS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: ListState = ListState { czxid: Zxid(1), pzxid: Zxid(5) };

    #[test]
    fn a_list_is_good_for_its_own_state_only() {
        let mut lists = ChildLists::new(1);
        lists.keep("/a", STATE, b"one");
        assert_eq!(lists.find("/a", STATE), Some(b"one".as_slice()));
        let later = ListState { pzxid: Zxid(6), ..STATE };
        assert_eq!(lists.find("/a", later), None);
        assert_eq!(lists.find("/a", ListState { czxid: Zxid(2), ..STATE }), None);
        lists.keep("/a", later, b"three");
        assert_eq!(lists.find("/a", later), Some(b"three".as_slice()));
        assert_eq!((lists.bytes, lists.order.len()), (5, 1));
    }

    #[test]
    fn the_oldest_give_way() {
        let mut lists = ChildLists::new(1);
        for index in 0..=CHILD_LISTS_MAX {
            lists.keep(&format!("/{index}"), STATE, b"x");
        }
        assert_eq!(lists.find("/0", STATE), None);
        assert!(lists.find("/1", STATE).is_some());
        lists.keep("/large", STATE, &vec![0; CHILD_LISTS_BYTES_MAX]);
        assert!(lists.find("/large", STATE).is_some());
        assert_eq!((lists.bytes, lists.order.len(), lists.lists.len()), (CHILD_LISTS_BYTES_MAX, 1, 1));
        lists.keep("/larger", STATE, &vec![0; CHILD_LISTS_BYTES_MAX + 1]);
        assert_eq!(lists.find("/larger", STATE), None);
    }
}
