//! What ZooKeeper promises, once more and as simply as possible: one map of nodes, one transaction after the other. It
//! shares no code with the tree, keeps the state after every transaction, and lists what each one changed, so that
//! every reply and every event can be held against it.

use super::access::{self, ADMIN, CREATE, DELETE, List, READ, WRITE, allows};
use super::actions::{Action, CONTAINER, EPHEMERAL, SEQUENTIAL, TTL};
use super::quotas::{QUOTA_EXCEEDED, ROOT};
use crate::ids::SessionId;
use crate::wire::Stat;
use std::collections::BTreeMap;
use std::rc::Rc;

pub const NO_NODE: i32 = -101;
pub const NO_AUTH: i32 = -102;
pub const BAD_VERSION: i32 = -103;
pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
pub const NODE_EXISTS: i32 = -110;
pub const NOT_EMPTY: i32 = -111;
pub const INVALID_ACL: i32 = -114;

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    pub data: Vec<u8>,
    pub version: i32,
    pub creates: i32,
    pub deletes: i32,
    pub children: i32,
    pub czxid: i64,
    pub mzxid: i64,
    pub pzxid: i64,
    pub kind: Kind,
    pub acl: List,
    pub acl_version: i32,
}

impl Item {
    fn new(data: &[u8], zxid: i64, kind: Kind, acl: List) -> Item {
        Item {
            data: data.to_vec(),
            version: 0,
            creates: 0,
            deletes: 0,
            children: 0,
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            kind,
            acl,
            acl_version: 0,
        }
    }
}

/// Who a node belongs to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Plain,
    Ephemeral(SessionId),
    Container,
    Ttl,
}

pub type Nodes = BTreeMap<String, Rc<Item>>;

/// What a transaction did to a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Did {
    Create,
    Delete,
    Set,
    /// A child came or went.
    Children,
}

#[derive(Clone, Debug)]
pub struct Change {
    pub zxid: i64,
    pub did: Did,
    pub path: String,
    /// Of the node that it happened to; before it went.
    pub acl: List,
}

/// The reply to a write.
#[derive(Clone, PartialEq, Debug)]
pub enum Expected {
    Error(i32),
    Nothing,
    Path(String),
    PathStat(String, Stat),
    Stat(Stat),
    /// All of them, or the index of the one that failed and its error.
    Multi(Result<Vec<Expected>, (usize, i32)>),
}

/// The model.
pub struct Model {
    pub zxid: i64,
    pub nodes: Nodes,
    pub sessions: BTreeMap<SessionId, i32>,
    history: Vec<(i64, Nodes)>,
    pub changes: Vec<Change>,
    /// Before the transaction under way.
    pub before: Nodes,
    pub enforces_quotas: bool,
}

impl Model {
    /// An empty server.
    pub fn new(enforces_quotas: bool) -> Model {
        let mut nodes = Nodes::new();
        for path in ["/", "/zookeeper", ROOT] {
            nodes.insert(path.into(), Rc::new(Item::new(&[], 0, Kind::Plain, access::open())));
        }
        Model {
            zxid: 0,
            nodes,
            sessions: BTreeMap::new(),
            history: Vec::new(),
            changes: Vec::new(),
            before: Nodes::new(),
            enforces_quotas,
        }
    }

    /// The nodes after a transaction; None if it has not happened.
    pub fn at(&self, zxid: i64) -> Option<&Nodes> {
        if zxid > self.zxid {
            return None;
        }
        let after = self.history.partition_point(|(at, _)| *at <= zxid);
        Some(&self.history[after.checked_sub(1)?].1)
    }

    /// The next transaction has this number.
    pub fn begin(&mut self, zxid: i64) -> Result<(), String> {
        if self.history.is_empty() {
            self.history.push((0, self.nodes.clone()));
        }
        if zxid != self.zxid + 1 {
            return Err(format!("transaction {zxid:#x} follows {:#x}", self.zxid));
        }
        self.zxid = zxid;
        Ok(())
    }

    /// It is done.
    pub fn end(&mut self) {
        self.history.push((self.zxid, self.nodes.clone()));
    }

    /// A write of a client, who has proved to be these users; on an error nothing has changed.
    pub fn execute(&mut self, session: SessionId, users: &[usize], action: &Action) -> Expected {
        self.before = self.nodes.clone();
        let changes = self.changes.len();
        let result = match action {
            Action::Multi(actions) => {
                let mut results = Vec::new();
                let mut failed = None;
                for (index, action) in actions.iter().enumerate() {
                    match self.single(session, users, action) {
                        Expected::Error(error) => {
                            failed = Some((index, error));
                            break;
                        }
                        result => results.push(result),
                    }
                }
                Expected::Multi(failed.map_or(Ok(results), Err))
            }
            Action::Close => {
                self.close(session);
                Expected::Nothing
            }
            single => self.single(session, users, single),
        };
        if matches!(result, Expected::Error(_) | Expected::Multi(Err(_))) {
            self.nodes.clone_from(&self.before);
            self.changes.truncate(changes);
        }
        result
    }

    /// A session ends and its nodes go, in the order of their paths.
    pub fn close(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        let is_own = |(_, item): &(&String, &Rc<Item>)| item.kind == Kind::Ephemeral(session);
        let own: Vec<String> = self.nodes.iter().filter(is_own).map(|(path, _)| path.clone()).collect();
        own.iter().for_each(|path| self.remove(path));
    }

    /// The server collects a container or a TTL node.
    pub fn collect(&mut self, path: &str) -> Result<(), String> {
        let item = self.nodes.get(path).ok_or_else(|| format!("{path} is collected and not there"))?;
        let is_due = match item.kind {
            Kind::Container => item.children == 0 && item.creates > 0,
            Kind::Ttl => item.children == 0,
            _ => false,
        };
        if !is_due {
            return Err(format!("{path} is collected but is not to go: {item:?}"));
        }
        self.remove(path);
        Ok(())
    }

    fn single(&mut self, session: SessionId, users: &[usize], action: &Action) -> Expected {
        match action {
            Action::Create { path, data, flags, with_stat, acl } => {
                let Some(acl) = access::stored(acl, users) else { return Expected::Error(INVALID_ACL) };
                let Some(above) = self.nodes.get(parent(path)) else { return Expected::Error(NO_NODE) };
                if !allows(&above.acl, CREATE, users) {
                    return Expected::Error(NO_AUTH);
                }
                self.create(session, path, *flags, *with_stat, Item::new(data, self.zxid, Kind::Plain, acl))
            }
            Action::Delete { path, version } => self.delete(users, path, *version),
            Action::Set { path, data, version } => self.set(users, path, data, *version),
            Action::SetAcl { path, acl, version } => {
                let Some(acl) = access::stored(acl, users) else { return Expected::Error(INVALID_ACL) };
                let Some(item) = self.nodes.get_mut(path) else { return Expected::Error(NO_NODE) };
                if !allows(&item.acl, ADMIN, users) {
                    return Expected::Error(NO_AUTH);
                }
                if *version != -1 && *version != item.acl_version {
                    return Expected::Error(BAD_VERSION);
                }
                let item = Rc::make_mut(item);
                item.acl_version += 1;
                item.acl = acl;
                Expected::Stat(stat(item))
            }
            Action::Check { path, version } => match self.nodes.get(path) {
                None => Expected::Error(NO_NODE),
                Some(item) if !allows(&item.acl, READ, users) => Expected::Error(NO_AUTH),
                Some(item) if *version != -1 && *version != item.version => Expected::Error(BAD_VERSION),
                Some(_) => Expected::Nothing,
            },
            other => unreachable!("{other:?} is no write"),
        }
    }

    fn delete(&mut self, users: &[usize], path: &str, version: i32) -> Expected {
        let Some(above) = self.nodes.get(parent(path)) else { return Expected::Error(NO_NODE) };
        if !allows(&above.acl, DELETE, users) {
            return Expected::Error(NO_AUTH);
        }
        let Some(item) = self.nodes.get(path) else { return Expected::Error(NO_NODE) };
        if version != -1 && version != item.version {
            return Expected::Error(BAD_VERSION);
        }
        if item.children > 0 {
            return Expected::Error(NOT_EMPTY);
        }
        self.remove(path);
        Expected::Nothing
    }

    fn set(&mut self, users: &[usize], path: &str, data: &[u8], version: i32) -> Expected {
        let zxid = self.zxid;
        let Some(item) = self.nodes.get(path) else { return Expected::Error(NO_NODE) };
        if !allows(&item.acl, WRITE, users) {
            return Expected::Error(NO_AUTH);
        }
        let more = data.len() as i64 - item.data.len() as i64;
        if self.exceeds_quota(path, 0, more) {
            return Expected::Error(QUOTA_EXCEEDED);
        }
        if version != -1 && version != item.version {
            return Expected::Error(BAD_VERSION);
        }
        let item = Rc::make_mut(self.nodes.get_mut(path).expect("it was there"));
        item.version += 1;
        item.mzxid = zxid;
        item.data = data.to_vec();
        let stat = stat(item);
        self.count_usage(path, 0, more);
        self.changed(Did::Set, path);
        Expected::Stat(stat)
    }

    fn create(
        &mut self,
        session: SessionId,
        path: &str,
        flags: i32,
        with_stat: bool,
        mut item: Item,
    ) -> Expected {
        let above = &self.nodes[parent(path)];
        let is_sequential = flags < CONTAINER && flags & SEQUENTIAL != 0;
        let path = if is_sequential { format!("{path}{:010}", above.creates) } else { path.to_string() };
        if self.nodes.contains_key(&path) {
            return Expected::Error(NODE_EXISTS);
        }
        if matches!(above.kind, Kind::Ephemeral(_)) {
            return Expected::Error(NO_CHILDREN_FOR_EPHEMERALS);
        }
        let bytes = item.data.len() as i64;
        if self.exceeds_quota(&path, 1, bytes) {
            return Expected::Error(QUOTA_EXCEEDED);
        }
        item.kind = match flags {
            CONTAINER => Kind::Container,
            TTL => Kind::Ttl,
            flags if flags & EPHEMERAL != 0 => Kind::Ephemeral(session),
            _ => Kind::Plain,
        };
        let stat = stat(&item);
        let zxid = item.czxid;
        self.nodes.insert(path.clone(), Rc::new(item));
        let above = Rc::make_mut(self.nodes.get_mut(self::parent(&path)).expect("it was there"));
        above.creates += 1;
        above.children += 1;
        above.pzxid = zxid;
        self.begin_usage(&path);
        self.count_usage(&path, 1, bytes);
        self.changed(Did::Create, &path);
        self.changed(Did::Children, self::parent(&path));
        if with_stat || flags >= CONTAINER { Expected::PathStat(path, stat) } else { Expected::Path(path) }
    }

    fn remove(&mut self, path: &str) {
        self.changed(Did::Delete, path);
        let bytes = self.nodes[path].data.len() as i64;
        self.count_usage(path, -1, -bytes);
        self.nodes.remove(path);
        let zxid = self.zxid;
        let above = Rc::make_mut(self.nodes.get_mut(parent(path)).expect("a parent is there"));
        above.deletes += 1;
        above.children -= 1;
        above.pzxid = zxid;
        self.changed(Did::Children, parent(path));
    }

    fn changed(&mut self, did: Did, path: &str) {
        let acl = Rc::clone(&self.nodes[path].acl);
        self.changes.push(Change { zxid: self.zxid, did, path: path.into(), acl });
    }
}

/// The path above.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// A node's Stat; times are not modelled.
pub fn stat(item: &Item) -> Stat {
    Stat {
        czxid: item.czxid,
        mzxid: item.mzxid,
        pzxid: item.pzxid,
        version: item.version,
        cversion: item.creates + item.deletes,
        aversion: item.acl_version,
        ephemeral_owner: if let Kind::Ephemeral(session) = item.kind { session.0 } else { 0 },
        data_length: item.data.len() as i32,
        num_children: item.children,
        ..Stat::default()
    }
}

/// The same numbers without the times.
pub fn without_times(stat: Stat) -> Stat {
    Stat { ctime: 0, mtime: 0, ..stat }
}
