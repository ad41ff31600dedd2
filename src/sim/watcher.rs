//! The events one connection must see: its watches, and the changes of the model since each was set. Events come in
//! the order of the changes, each once per connection, and before any reply that reflects the change.

use super::access::{READ, allows};
use super::actions::{Action, Lists};
use super::model::{Change, Did, Model, Nodes};
use crate::wire::codes::EventType;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

const DATA: u8 = 1;
const CHILD: u8 = 2;
const PERSISTENT: u8 = 4;
const RECURSIVE: u8 = 8;

/// An event as it is on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub zxid: i64,
    pub kind: i32,
    pub path: String,
}

/// Whether an event comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Certainly,
    Perhaps,
}

/// What the watches of one connection may take on the server, each its path and so much.
const WATCH_BYTES: usize = 160;

/// One connection's watches and what they must bring.
#[derive(Default)]
pub struct Watcher {
    watches: BTreeMap<String, u8>,
    /// One-shot watches that exists set on a missing node.
    missing: BTreeMap<String, ()>,
    /// Changes up to this zxid are turned into `due`.
    cursor: i64,
    next_change: usize,
    /// With what becomes of each: an event may only come where the connection proved enough meanwhile.
    due: VecDeque<(Event, Due)>,
    /// What the connection has proved: at `cursor`, and by now.
    users_before: Rc<Vec<usize>>,
    users: Rc<Vec<usize>>,
    /// Events of a setWatches whose reply is still to come.
    special: Vec<Event>,
    pub received: u64,
}

impl Watcher {
    /// What a client sets again on its next connection.
    pub fn lists(&self, relative_zxid: i64) -> Lists {
        let mut lists = Lists { relative_zxid, ..Lists::default() };
        for (path, modes) in &self.watches {
            let add = |mode: u8, list: &mut Vec<String>| {
                if modes & mode != 0 {
                    list.push(path.clone());
                }
            };
            let data = if self.missing.contains_key(path) { &mut lists.exist } else { &mut lists.data };
            add(DATA, data);
            add(CHILD, &mut lists.child);
            add(PERSISTENT, &mut lists.persistent);
            add(RECURSIVE, &mut lists.recursive);
        }
        lists
    }

    /// An event has arrived.
    pub fn on_event(&mut self, model: &Model, event: Event) -> Result<(), String> {
        self.received += 1;
        if event.zxid == -1 {
            self.special.push(event);
            return Ok(());
        }
        if event.zxid > model.zxid {
            return Err(format!("{event:?} of a transaction that is not committed"));
        }
        self.advance(model, event.zxid);
        while let Some((due, whether)) = self.due.pop_front() {
            if due == event {
                return Ok(());
            }
            if whether == Due::Certainly {
                return Err(format!("{event:?} came where {due:?} is due"));
            }
        }
        Err(format!("{event:?} came where nothing is due"))
    }

    /// The connection has proved something: what follows is judged by it.
    pub fn prove(&mut self, users: &Rc<Vec<usize>>) {
        self.users = Rc::clone(users);
    }

    /// What the server counts for these watches, and for one more.
    pub fn bytes_with(&self, path: &str) -> usize {
        let one = |path: &str| WATCH_BYTES + path.len();
        let more = if self.watches.contains_key(path) { 0 } else { one(path) };
        self.watches.keys().map(|path| one(path)).sum::<usize>() + more
    }

    /// Whether the path is watched at all.
    pub fn watches(&self, path: &str) -> bool {
        self.watches.contains_key(path)
    }

    /// A reply that reflects `zxid` has arrived: whatever is due up to there must have come before.
    pub fn on_reply(&mut self, model: &Model, zxid: i64) -> Result<(), String> {
        self.advance(model, zxid);
        self.due.retain(|(_, whether)| *whether == Due::Certainly);
        match self.due.front() {
            Some((due, _)) => Err(format!("a reply at {zxid:#x} came before {due:?}")),
            None => Ok(()),
        }
    }

    /// The reply to a request that sets watches, given the state it reflects. `on_reply` was called before.
    pub fn set(&mut self, action: &Action, state: &Nodes, found: bool) -> Result<(), String> {
        let mut add = |path: &String, mode: u8| *self.watches.entry(path.clone()).or_default() |= mode;
        match action {
            Action::Get { path, watch: true } if found => add(path, DATA),
            Action::Exists { path, watch: true } => {
                add(path, DATA);
                if !found {
                    self.missing.insert(path.clone(), ());
                }
            }
            Action::Children { path, watch: true, .. } if found => add(path, CHILD),
            Action::AddWatch { path, recursive } => {
                add(path, if *recursive { RECURSIVE } else { PERSISTENT })
            }
            Action::SetWatches(lists) => return self.set_again(lists, state),
            Action::RemoveWatches { path } if found => {
                self.watches.remove(path);
                self.missing.remove(path);
            }
            _ => {}
        }
        Ok(())
    }

    fn set_again(&mut self, lists: &Lists, state: &Nodes) -> Result<(), String> {
        let mut due = Vec::new();
        let mut tell =
            |kind: EventType, path: &str| due.push(Event { zxid: -1, kind: kind as i32, path: path.into() });
        for path in &lists.data {
            match state.get(path) {
                None => tell(EventType::NodeDeleted, path),
                Some(item) if item.mzxid > lists.relative_zxid => tell(EventType::NodeDataChanged, path),
                Some(_) => *self.watches.entry(path.clone()).or_default() |= DATA,
            }
        }
        for path in &lists.exist {
            if state.contains_key(path) {
                tell(EventType::NodeCreated, path);
            } else {
                *self.watches.entry(path.clone()).or_default() |= DATA;
                self.missing.insert(path.clone(), ());
            }
        }
        for path in &lists.child {
            match state.get(path) {
                None => tell(EventType::NodeDeleted, path),
                Some(item) if item.pzxid > lists.relative_zxid => tell(EventType::NodeChildrenChanged, path),
                Some(_) => *self.watches.entry(path.clone()).or_default() |= CHILD,
            }
        }
        for path in &lists.persistent {
            *self.watches.entry(path.clone()).or_default() |= PERSISTENT;
        }
        for path in &lists.recursive {
            *self.watches.entry(path.clone()).or_default() |= RECURSIVE;
        }
        let special = std::mem::take(&mut self.special);
        if special == due { Ok(()) } else { Err(format!("setWatches brought {special:?}, due were {due:?}")) }
    }

    /// What is still due when nothing more will come.
    pub fn is_settled(&mut self, model: &Model) -> Result<(), String> {
        self.on_reply(model, model.zxid)
    }

    fn advance(&mut self, model: &Model, zxid: i64) {
        if zxid <= self.cursor {
            self.users_before = Rc::clone(&self.users);
            return;
        }
        self.cursor = zxid;
        if self.next_change == 0 && self.watches.is_empty() {
            self.next_change = model.changes.partition_point(|change| change.zxid <= zxid);
        }
        while let Some(change) = model.changes.get(self.next_change).filter(|change| change.zxid <= zxid) {
            self.next_change += 1;
            self.fire(change);
        }
        self.users_before = Rc::clone(&self.users);
    }

    fn fire(&mut self, change: &Change) {
        let Change { zxid, did, path, acl } = change;
        let own = self.watches.get(path).copied().unwrap_or(0);
        let (told, spent, kind) = match did {
            Did::Create => (own & (DATA | PERSISTENT | RECURSIVE), DATA, EventType::NodeCreated),
            Did::Set => (own & (DATA | PERSISTENT | RECURSIVE), DATA, EventType::NodeDataChanged),
            Did::Delete => (own, DATA | CHILD, EventType::NodeDeleted),
            Did::Children => (own & (CHILD | PERSISTENT), CHILD, EventType::NodeChildrenChanged),
        };
        let from_above = *did != Did::Children && self.is_below_recursive(path);
        if own & spent != 0 {
            self.watches.insert(path.clone(), own & !spent);
            self.watches.retain(|_, modes| *modes != 0);
        }
        if spent & DATA != 0 {
            self.missing.remove(path);
        }
        let whether = match (allows(acl, READ, &self.users_before), allows(acl, READ, &self.users)) {
            (true, _) => Due::Certainly,
            (false, true) => Due::Perhaps,
            (false, false) => return,
        };
        if told != 0 || from_above {
            self.due.push_back((Event { zxid: *zxid, kind: kind as i32, path: path.clone() }, whether));
        }
    }

    fn is_below_recursive(&self, path: &str) -> bool {
        let mut above = path;
        while above != "/" {
            above = super::model::parent(above);
            if self.watches.get(above).is_some_and(|modes| modes & RECURSIVE != 0) {
                return true;
            }
        }
        false
    }
}
