//! The watches of one shard's connections: who wants to hear of changes of which path (`WatchManager`, both tables).
//!
//! Invariant: a connection is among the watchers of a path iff the path is among the connection's paths, with the same
//! non-empty set of modes on one side. Paths without watchers are forgotten. Does not know what a change is; `apply`
//! asks it whom to tell.

use crate::limits::{WATCH_BYTES, WATCHES_LEAVING_AT_ONCE};
use foldhash::fast::FixedState;
use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashSet, HashTable};
use smallvec::SmallVec;
use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;

/// How a connection watches a path; several at once are possible.
pub mod mode {
    /// exists and getData: fires once.
    pub const DATA: u8 = 1;
    /// getChildren: fires once.
    pub const CHILD: u8 = 2;
    /// addWatch mode 0: data and child events of this path, stays.
    pub const PERSISTENT: u8 = 4;
    /// addWatch mode 1: data events of this path and everything below, stays.
    pub const RECURSIVE: u8 = 8;
    /// Counted as data watches by wchs, wchc and wchp.
    pub const IN_DATA_TABLE: u8 = DATA | PERSISTENT | RECURSIVE;
    /// In the child table.
    pub const IN_CHILD_TABLE: u8 = CHILD | PERSISTENT;
}

/// Which table a change fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Created, deleted, data changed.
    Data,
    /// Children changed, deleted.
    Child,
}

/// All watches of one shard.
pub struct Watches {
    hasher: FixedState,
    by_path: HashTable<u32>,
    paths: Vec<WatchedPath>,
    free: Vec<u32>,
    /// What each watcher watches. Connections have numbers of their own here: who is gone keeps its number until the last of
    /// its watches is taken away, and its slot may be another one's by then.
    by_watcher: HashMap<u32, Watching, FixedState>,
    by_conn: HashMap<u32, u32, FixedState>,
    /// The connection of each watcher; `GONE` of those that are leaving, and of free numbers.
    conns: Vec<u32>,
    free_watchers: Vec<u32>,
    leaving: VecDeque<Leaving>,
    bounds: Bounds,
    /// What all watches take, counted per connection and path.
    bytes: usize,
    /// Watchers with `mode::RECURSIVE`; ancestors are only looked at if there are any.
    recursive: usize,
    /// (connection, path, table) triples with at least one mode, as `watch_count` counts them.
    total: u64,
    data: DataWatches,
}

/// How many data watches there are, and of how many paths and connections.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DataWatches {
    pub total: u64,
    pub paths: u64,
    pub conns: u64,
}

/// How much the watches may take, in bytes: `WATCH_BYTES` and the path for each connection and path.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// Those of one connection.
    pub conn_bytes_max: usize,
    /// All.
    pub bytes_max: usize,
}

/// A connection that is gone, and what is still to be taken away of its watches.
struct Leaving {
    watcher: u32,
    paths: Vec<u32>,
}

const GONE: u32 = u32::MAX;

/// What one connection watches.
struct Watching {
    paths: HashSet<u32, FixedState>,
    bytes: usize,
    /// Of the paths, those with a data watch.
    data: u32,
}

#[derive(Default)]
struct WatchedPath {
    path: Box<str>,
    watchers: Watchers,
    /// Of the watchers, those with a data watch.
    data: u32,
}

/// A few watchers stand in a row, many in a map, so that adding one is never a walk over thousands.
enum Watchers {
    Few(SmallVec<[(u32, u8); 2]>),
    Many(HashMap<u32, u8, FixedState>),
}

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers::Few(SmallVec::new())
    }
}

const FEW_MAX: usize = 8;

impl Watches {
    /// No watches; the seed keeps hashing deterministic.
    pub fn new(hash_seed: u64, bounds: Bounds) -> Watches {
        let hasher = FixedState::with_seed(hash_seed);
        Watches {
            hasher: hasher.clone(),
            by_path: HashTable::new(),
            paths: Vec::new(),
            free: Vec::new(),
            by_watcher: HashMap::with_hasher(hasher.clone()),
            by_conn: HashMap::with_hasher(hasher),
            conns: Vec::new(),
            free_watchers: Vec::new(),
            leaving: VecDeque::new(),
            bounds,
            bytes: 0,
            recursive: 0,
            total: 0,
            data: DataWatches::default(),
        }
    }

    /// `conn` watches `path` in these modes, too; false, and nothing is added, where that is more than it may.
    #[must_use]
    pub fn add(&mut self, conn: u32, path: &str, modes: u8) -> bool {
        let index = self.index_or_insert(path);
        let watcher = self.watcher_or_insert(conn);
        let watching = self.by_watcher.get_mut(&watcher).expect("a watcher has an entry");
        if watching.paths.insert(index) {
            watching.bytes += cost(path);
            self.bytes += cost(path);
            if watching.bytes > self.bounds.conn_bytes_max || self.bytes > self.bounds.bytes_max {
                self.unlist(index, watcher);
                self.forget_if_unwatched(index);
                return false;
            }
        }
        let before = self.paths[index as usize].watchers.modes(watcher);
        self.paths[index as usize].watchers.set(watcher, before | modes, &self.hasher);
        self.count(index, watcher, before, before | modes);
        true
    }

    fn watcher_or_insert(&mut self, conn: u32) -> u32 {
        if let Some(watcher) = self.by_conn.get(&conn) {
            return *watcher;
        }
        let watcher = self.free_watchers.pop().unwrap_or(self.conns.len() as u32);
        if watcher as usize == self.conns.len() {
            self.conns.push(GONE);
        }
        assert_eq!(self.conns[watcher as usize], GONE, "a number is free before it is used again");
        self.conns[watcher as usize] = conn;
        self.by_conn.insert(conn, watcher);
        let paths = HashSet::with_hasher(self.hasher.clone());
        self.by_watcher.insert(watcher, Watching { paths, bytes: 0, data: 0 });
        watcher
    }

    /// The modes in which `conn` watches `path`; 0 for none.
    pub fn modes(&self, conn: u32, path: &str) -> u8 {
        let Some(watcher) = self.by_conn.get(&conn) else { return 0 };
        self.index(path).map_or(0, |index| self.paths[index as usize].watchers.modes(*watcher))
    }

    /// `conn` no longer watches `path` in these modes. Returns the modes that were really there.
    pub fn remove(&mut self, conn: u32, path: &str, modes: u8) -> u8 {
        let Some(watcher) = self.by_conn.get(&conn).copied() else { return 0 };
        let Some(index) = self.index(path) else { return 0 };
        let before = self.paths[index as usize].watchers.modes(watcher);
        self.set(index, watcher, before & !modes);
        before & modes
    }

    /// The connection is gone: it is told of nothing more. Its watches are taken away at once if they are few, else by
    /// `advance`.
    pub fn remove_conn(&mut self, conn: u32) {
        let Some(watcher) = self.by_conn.remove(&conn) else { return };
        self.conns[watcher as usize] = GONE;
        let watching = self.by_watcher.remove(&watcher).expect("a watcher has an entry");
        self.data.conns -= u64::from(watching.data > 0);
        self.leaving.push_back(Leaving { watcher, paths: watching.paths.into_iter().collect() });
        if self.leaving.len() == 1 {
            self.advance(WATCHES_LEAVING_AT_ONCE);
        }
    }

    /// Takes away up to so many watches of connections that are gone.
    pub fn advance(&mut self, at_most: usize) {
        let mut left = at_most;
        while let Some(leaving) = self.leaving.front_mut() {
            let watcher = leaving.watcher;
            let Some(index) = leaving.paths.pop() else {
                self.free_watchers.push(watcher);
                self.leaving.pop_front();
                continue;
            };
            self.bytes -= cost(&self.paths[index as usize].path);
            let before = self.paths[index as usize].watchers.modes(watcher);
            self.paths[index as usize].watchers.set(watcher, 0, &self.hasher);
            self.count(index, watcher, before, 0);
            self.forget_if_unwatched(index);
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }

    /// `advance` has something to do.
    pub fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// A change of `path` fires this table: fills `told` with the connections to tell, each once, and drops their
    /// one-shot watches.
    pub fn fire(&mut self, table: Table, path: &str, told: &mut Vec<u32>) {
        told.clear();
        let (fires, once) = match table {
            Table::Data => (mode::IN_DATA_TABLE, mode::DATA),
            Table::Child => (mode::IN_CHILD_TABLE, mode::CHILD),
        };
        if let Some(index) = self.index(path) {
            let mut spent: SmallVec<[(u32, u8); 8]> = SmallVec::new();
            self.paths[index as usize].watchers.each(|watcher, modes| {
                let conn = self.conns[watcher as usize];
                if modes & fires != 0 && conn != GONE {
                    told.push(conn);
                    if modes & once != 0 {
                        spent.push((watcher, modes & !once));
                    }
                }
            });
            self.spend(index, &spent);
        }
        if table == Table::Data && self.recursive > 0 {
            self.add_recursive_ancestors(path, told);
        }
    }

    /// Watches in both tables.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What all of them take, as the bounds count it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many data watches there are.
    pub fn data(&self) -> DataWatches {
        self.data
    }

    /// The numbers of the paths that a connection watches.
    pub fn paths_of(&self, conn: u32) -> Vec<u32> {
        let watching = self.by_conn.get(&conn).and_then(|watcher| self.by_watcher.get(watcher));
        watching.map_or_else(Vec::new, |watching| watching.paths.iter().copied().collect())
    }

    /// The path of this number, if the connection has a data watch on it.
    pub fn data_path(&self, conn: u32, number: u32) -> Option<&str> {
        let watched = self.paths.get(number as usize)?;
        let watcher = self.by_conn.get(&conn)?;
        (watched.watchers.modes(*watcher) & mode::IN_DATA_TABLE != 0).then_some(&watched.path)
    }

    /// The path of this number with the connections that have a data watch on it; None where the numbers end.
    pub fn data_watchers(&self, number: u32) -> Option<(&str, Vec<u32>)> {
        let watched = self.paths.get(number as usize)?;
        let mut conns = Vec::with_capacity(watched.data as usize);
        watched.watchers.each(|watcher, modes| {
            let conn = self.conns[watcher as usize];
            if modes & mode::IN_DATA_TABLE != 0 && conn != GONE {
                conns.push(conn);
            }
        });
        Some((&watched.path, conns))
    }

    /// A number that stands for a path in all shards of a process, if it has a data watch; None where the numbers end.
    pub fn data_path_hash(&self, number: u32) -> Option<Option<u64>> {
        let watched = self.paths.get(number as usize)?;
        Some((watched.data > 0).then(|| self.hasher.hash_one(&*watched.path)))
    }

    fn spend(&mut self, index: u32, spent: &[(u32, u8)]) {
        for &(watcher, left) in spent {
            self.set(index, watcher, left);
        }
    }

    fn add_recursive_ancestors(&self, path: &str, told: &mut Vec<u32>) {
        let direct = told.len();
        let mut ancestor = path;
        while ancestor != "/" {
            ancestor = crate::tree::node::split_path(ancestor).0;
            if let Some(index) = self.index(ancestor) {
                self.paths[index as usize].watchers.each(|watcher, modes| {
                    let conn = self.conns[watcher as usize];
                    if modes & mode::RECURSIVE != 0 && conn != GONE {
                        told.push(conn);
                    }
                });
            }
        }
        if told.len() > direct {
            told.sort_unstable();
            told.dedup();
        }
    }

    fn set(&mut self, index: u32, watcher: u32, modes: u8) {
        let before = self.paths[index as usize].watchers.modes(watcher);
        self.paths[index as usize].watchers.set(watcher, modes, &self.hasher);
        self.count(index, watcher, before, modes);
        if modes != 0 {
            return;
        }
        self.unlist(index, watcher);
        self.forget_if_unwatched(index);
    }

    /// The path is no longer among those of the watcher; with the last one it is none any more.
    fn unlist(&mut self, index: u32, watcher: u32) {
        let Some(watching) = self.by_watcher.get_mut(&watcher) else { return };
        if watching.paths.remove(&index) {
            let cost = cost(&self.paths[index as usize].path);
            watching.bytes -= cost;
            self.bytes -= cost;
        }
        if watching.paths.is_empty() {
            self.by_watcher.remove(&watcher);
            let conn = std::mem::replace(&mut self.conns[watcher as usize], GONE);
            self.by_conn.remove(&conn);
            self.free_watchers.push(watcher);
        }
    }

    /// Both sides agree, the sums are those of the parts, and nothing is above its bound. Looks at every watch.
    pub fn check(&self) {
        let (mut total, mut recursive, mut pairs) = (0, 0, 0);
        let mut data = DataWatches::default();
        let leaving = self
            .leaving
            .iter()
            .flat_map(|leaving| leaving.paths.iter().map(|index| (leaving.watcher, *index)));
        let leaving: BTreeSet<(u32, u32)> = leaving.collect();
        for (index, watched) in self.paths.iter().enumerate() {
            let mut data_watchers = 0;
            watched.watchers.each(|watcher, modes| {
                assert!(modes != 0, "who watches in no mode is no watcher");
                let knows = match self.by_watcher.get(&watcher) {
                    Some(watching) => watching.paths.contains(&(index as u32)),
                    None => leaving.contains(&(watcher, index as u32)),
                };
                assert!(knows, "a watcher knows its path");
                total += u64::from(modes & mode::IN_DATA_TABLE != 0)
                    + u64::from(modes & mode::IN_CHILD_TABLE != 0);
                recursive += usize::from(modes & mode::RECURSIVE != 0);
                data_watchers += u32::from(modes & mode::IN_DATA_TABLE != 0);
                pairs += 1;
            });
            assert_eq!(watched.data, data_watchers);
            data.total += u64::from(data_watchers);
            data.paths += u64::from(data_watchers > 0);
        }
        data.conns = self.by_watcher.values().filter(|watching| watching.data > 0).count() as u64;
        assert_eq!(self.data, data);
        assert_eq!((self.total, self.recursive), (total, recursive));
        let listed = self.by_watcher.values().map(|watching| watching.paths.len()).sum::<usize>();
        assert_eq!(listed + leaving.len(), pairs);
        let mut bytes: usize = leaving.iter().map(|(_, index)| cost(&self.paths[*index as usize].path)).sum();
        for watching in self.by_watcher.values() {
            let paths = watching.paths.iter().map(|index| cost(&self.paths[*index as usize].path));
            assert_eq!(watching.bytes, paths.sum::<usize>());
            assert!(watching.bytes <= self.bounds.conn_bytes_max);
            bytes += watching.bytes;
        }
        assert_eq!(self.bytes, bytes);
        assert!(bytes <= self.bounds.bytes_max);
        assert_eq!(self.by_conn.len(), self.by_watcher.len());
        assert!(self.by_conn.iter().all(|(conn, watcher)| self.conns[*watcher as usize] == *conn));
        let in_use = self.by_conn.len() + self.leaving.len() + self.free_watchers.len();
        assert_eq!(in_use, self.conns.len(), "every number is used, leaving or free");
    }

    fn count(&mut self, index: u32, watcher: u32, before: u8, after: u8) {
        let tables = |modes: u8| {
            (modes & mode::IN_DATA_TABLE != 0) as u64 + (modes & mode::IN_CHILD_TABLE != 0) as u64
        };
        self.total = self.total + tables(after) - tables(before);
        let recursive = |modes: u8| (modes & mode::RECURSIVE != 0) as usize;
        self.recursive = self.recursive + recursive(after) - recursive(before);
        let is_data = |modes: u8| modes & mode::IN_DATA_TABLE != 0;
        if is_data(before) != is_data(after) {
            self.count_data(index, watcher, is_data(after));
        }
    }

    fn count_data(&mut self, index: u32, watcher: u32, is_more: bool) {
        let change = |count: &mut u32| {
            let before = *count;
            *count = if is_more { before + 1 } else { before - 1 };
            (before == 0) != (*count == 0)
        };
        let path = change(&mut self.paths[index as usize].data);
        // A connection that is gone is not there any more.
        let conn = self.by_watcher.get_mut(&watcher).is_some_and(|watching| change(&mut watching.data));
        let DataWatches { total, paths, conns } = self.data;
        self.data = if is_more {
            DataWatches { total: total + 1, paths: paths + u64::from(path), conns: conns + u64::from(conn) }
        } else {
            DataWatches { total: total - 1, paths: paths - u64::from(path), conns: conns - u64::from(conn) }
        };
    }

    fn index(&self, path: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(path);
        self.by_path.find(hash, |index| *self.paths[*index as usize].path == *path).copied()
    }

    fn index_or_insert(&mut self, path: &str) -> u32 {
        let hash = self.hasher.hash_one(path);
        let Watches { hasher, by_path, paths, free, .. } = self;
        let entry = by_path.entry(
            hash,
            |index| *paths[*index as usize].path == *path,
            |index| hasher.hash_one(&*paths[*index as usize].path),
        );
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let index = free.pop().unwrap_or(paths.len() as u32);
                vacant.insert(index);
                let watched = WatchedPath { path: path.into(), ..WatchedPath::default() };
                if index as usize == paths.len() {
                    paths.push(watched);
                } else {
                    paths[index as usize] = watched;
                }
                index
            }
        }
    }

    fn forget_if_unwatched(&mut self, index: u32) {
        if !self.paths[index as usize].watchers.is_empty() {
            return;
        }
        let watched = std::mem::take(&mut self.paths[index as usize]);
        let hash = self.hasher.hash_one(&*watched.path);
        if let Ok(entry) = self.by_path.find_entry(hash, |other| *other == index) {
            entry.remove();
        }
        self.free.push(index);
    }
}

fn cost(path: &str) -> usize {
    WATCH_BYTES + path.len()
}

impl Watchers {
    fn is_empty(&self) -> bool {
        match self {
            Watchers::Few(few) => few.is_empty(),
            Watchers::Many(many) => many.is_empty(),
        }
    }

    fn modes(&self, conn: u32) -> u8 {
        match self {
            Watchers::Few(few) => {
                few.iter().find(|(watcher, _)| *watcher == conn).map_or(0, |(_, modes)| *modes)
            }
            Watchers::Many(many) => many.get(&conn).copied().unwrap_or(0),
        }
    }

    fn each(&self, mut visit: impl FnMut(u32, u8)) {
        match self {
            Watchers::Few(few) => few.iter().for_each(|(conn, modes)| visit(*conn, *modes)),
            Watchers::Many(many) => many.iter().for_each(|(conn, modes)| visit(*conn, *modes)),
        }
    }

    fn set(&mut self, conn: u32, modes: u8, hasher: &FixedState) {
        match self {
            Watchers::Few(few) => {
                few.retain(|(watcher, _)| *watcher != conn);
                if modes == 0 {
                    return;
                }
                few.push((conn, modes));
                if few.len() > FEW_MAX {
                    let mut many = HashMap::with_hasher(hasher.clone());
                    many.extend(few.drain(..));
                    *self = Watchers::Many(many);
                }
            }
            Watchers::Many(many) => {
                if modes == 0 {
                    many.remove(&conn);
                } else {
                    many.insert(conn, modes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { conn_bytes_max: 1 << 20, bytes_max: 2 << 20 };

    fn fired(watches: &mut Watches, table: Table, path: &str) -> Vec<u32> {
        let mut told = Vec::new();
        watches.fire(table, path, &mut told);
        told.sort_unstable();
        told
    }

    #[test]
    fn one_shot_watches_fire_once_and_persistent_ones_stay() {
        let mut watches = Watches::new(1, BOUNDS);
        assert!(watches.add(1, "/a", mode::DATA));
        assert!(watches.add(1, "/a", mode::DATA));
        assert!(watches.add(2, "/a", mode::PERSISTENT));
        assert!(watches.add(3, "/", mode::RECURSIVE));
        assert_eq!(watches.total(), 4);
        assert_eq!(fired(&mut watches, Table::Data, "/a"), [1, 2, 3]);
        assert_eq!(fired(&mut watches, Table::Data, "/a"), [2, 3]);
        assert_eq!(fired(&mut watches, Table::Child, "/a"), [2]);
        assert_eq!(fired(&mut watches, Table::Data, "/other/deep"), [3]);
    }

    #[test]
    fn a_connection_is_told_once_whatever_its_modes() {
        let mut watches = Watches::new(1, BOUNDS);
        assert!(watches.add(7, "/a/b", mode::DATA | mode::PERSISTENT | mode::RECURSIVE));
        assert!(watches.add(7, "/a", mode::RECURSIVE));
        assert_eq!(fired(&mut watches, Table::Data, "/a/b"), [7]);
        assert_eq!(watches.modes(7, "/a/b"), mode::PERSISTENT | mode::RECURSIVE);
    }

    #[test]
    fn many_watchers_of_one_path_come_and_go() {
        let mut watches = Watches::new(1, BOUNDS);
        for conn in 0..1000 {
            assert!(watches.add(conn, "/a", mode::CHILD));
        }
        watches.remove_conn(500);
        assert_eq!(watches.remove(501, "/a", mode::CHILD), mode::CHILD);
        assert_eq!(fired(&mut watches, Table::Child, "/a").len(), 998);
        assert_eq!(watches.total(), 0);
        assert!(watches.index("/a").is_none());
        assert!(watches.add(1, "/b", mode::DATA));
        assert_eq!(watches.paths.len(), 1);
    }

    #[test]
    fn more_than_the_bounds_is_not_added_and_what_goes_makes_room() {
        let bounds = Bounds { conn_bytes_max: 3 * cost("/a"), bytes_max: 5 * cost("/a") };
        let mut watches = Watches::new(1, bounds);
        for path in ["/a", "/b", "/c"] {
            assert!(watches.add(1, path, mode::DATA));
        }
        assert!(!watches.add(1, "/d", mode::DATA), "the connection has three");
        assert!(watches.add(1, "/a", mode::CHILD), "another mode of the same path takes nothing");
        assert!(watches.add(2, "/a", mode::DATA) && watches.add(2, "/b", mode::DATA));
        assert!(!watches.add(2, "/c", mode::DATA), "all have five");
        watches.check();
        assert_eq!(fired(&mut watches, Table::Data, "/b"), [1, 2]);
        assert!(watches.add(2, "/c", mode::DATA));
        watches.check();
        watches.remove_conn(1);
        assert!(watches.add(2, "/d", mode::DATA) && !watches.add(2, "/e", mode::DATA));
        watches.check();
    }

    #[test]
    fn many_watches_of_who_is_gone_are_taken_away_bit_by_bit_and_fire_for_nobody() {
        let mut watches = Watches::new(1, Bounds { conn_bytes_max: 64 << 20, bytes_max: 64 << 20 });
        let count = 3 * WATCHES_LEAVING_AT_ONCE;
        for index in 0..count {
            assert!(watches.add(1, &format!("/{index}"), mode::DATA | mode::CHILD));
        }
        assert!(watches.add(2, "/0", mode::DATA) && watches.add(2, "/1", mode::RECURSIVE));
        watches.remove_conn(1);
        watches.check();
        assert!(watches.is_leaving() && watches.total() > 2);
        // Another connection has its slot.
        assert!(watches.add(1, "/0", mode::DATA));
        assert_eq!(watches.modes(1, "/1"), 0);
        watches.check();
        assert_eq!(fired(&mut watches, Table::Data, "/0"), [1, 2]);
        assert_eq!(fired(&mut watches, Table::Data, "/1/x"), [2]);
        for index in 0..count {
            assert!(fired(&mut watches, Table::Child, &format!("/{index}")).is_empty());
        }
        watches.check();
        // One more goes while the first is still leaving.
        assert!(watches.add(3, "/3", mode::DATA));
        watches.remove_conn(3);
        watches.check();
        while watches.is_leaving() {
            watches.advance(100);
            watches.check();
        }
        assert_eq!((watches.total(), watches.data().conns), (1, 1));
        assert_eq!(watches.bytes, cost("/1"));
    }
}
