//! Apache ZooKeeper's files, read by hand, and a small model of what their transactions do. Uses nothing of the crate:
//! a mistake in its reader or its replay cannot hide itself here. Names are those of the recordings' JSON.

use base64::Engine;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Takes fields off the front of a record.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn buffer(&mut self) -> Option<Vec<u8>> {
        let length = self.int();
        (length >= 0).then(|| self.take(length as usize).to_vec())
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.buffer().unwrap_or_default()).expect("UTF-8")
    }

    fn acl(&mut self) -> Value {
        let entries = (0..self.int())
            .map(|_| json!({"perms": self.int(), "scheme": self.text(), "id": self.text()}))
            .collect::<Vec<_>>();
        entries.into()
    }
}

/// One record of a log: where it lies, and its entry.
#[derive(Clone)]
pub struct Record {
    pub start: usize,
    pub end: usize,
    pub zxid: i64,
    entry: Vec<u8>,
}

/// The records of a log that is whole.
pub fn records(log: &[u8]) -> Vec<Record> {
    assert_eq!(&log[..8], b"ZKLG\0\0\0\x02");
    let (mut found, mut at) = (Vec::new(), 16);
    while at + 12 <= log.len() {
        let mut fields = Fields(&log[at..]);
        let (sum, length) = (fields.long(), fields.int() as usize);
        if length == 0 {
            break;
        }
        let entry = fields.take(length).to_vec();
        assert_eq!(sum, i64::from(simd_adler32::adler32(&entry.as_slice())));
        assert_eq!(fields.take(1), b"B");
        let (start, end) = (at, at + 12 + length + 1);
        let zxid = Fields(&entry[12..]).long();
        found.push(Record { start, end, zxid, entry });
        at = end;
    }
    found
}

#[derive(Clone)]
struct Node {
    data: Option<Vec<u8>>,
    acl: Value,
    czxid: i64,
    mzxid: i64,
    ctime: i64,
    mtime: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    owner: i64,
    pzxid: i64,
}

/// What a ZooKeeper server holds.
#[derive(Clone, Default)]
pub struct Model {
    nodes: BTreeMap<String, Node>,
    /// With their timeouts.
    pub sessions: BTreeMap<i64, i32>,
    pub zxid: i64,
    /// The tree's digest as the file says, if it says one.
    pub digest: Option<i64>,
}

impl Model {
    /// From a plain snapshot; checks every seal, and that nothing follows.
    pub fn of_snapshot(bytes: &[u8]) -> Model {
        let mut fields = Fields(bytes);
        assert_eq!(fields.take(8), b"ZKSN\0\0\0\x02");
        fields.take(8);
        let sessions = (0..fields.int()).map(|_| (fields.long(), fields.int())).collect();
        let mut model = Model { sessions, ..Model::default() };
        let mut acls: BTreeMap<i64, Value> =
            (0..fields.int()).map(|_| (fields.long(), fields.acl())).collect();
        acls.insert(-1, json!([{"perms": 31, "scheme": "world", "id": "anyone"}]));
        loop {
            let path = fields.text();
            if path == "/" {
                break;
            }
            let data = fields.buffer();
            let acl = acls[&fields.long()].clone();
            let (czxid, mzxid, ctime, mtime) = (fields.long(), fields.long(), fields.long(), fields.long());
            let (version, cversion, aversion) = (fields.int(), fields.int(), fields.int());
            let (owner, pzxid) = (fields.long(), fields.long());
            let node =
                Node { data, acl, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid };
            let path = if path.is_empty() { "/".into() } else { path };
            assert!(model.nodes.insert(path, node).is_none(), "no node is there twice");
        }
        model.sections(bytes, fields);
        model
    }

    fn sections(&mut self, bytes: &[u8], mut fields: Fields<'_>) {
        let seal = |fields: &mut Fields<'_>| {
            let before = &bytes[..bytes.len() - fields.0.len()];
            assert_eq!(fields.long(), i64::from(simd_adler32::adler32(&before)));
            assert_eq!(fields.text(), "/");
        };
        seal(&mut fields);
        if !fields.0.is_empty() {
            self.zxid = fields.long();
            assert_eq!(fields.int(), 2);
            // Nothing was applied since the start: it says 0.
            self.digest = Some(fields.long()).filter(|_| self.zxid > 0);
            seal(&mut fields);
        }
        if !fields.0.is_empty() {
            self.zxid = fields.long();
            seal(&mut fields);
        }
        assert_eq!(fields.0, b"");
    }

    /// One transaction more.
    pub fn apply(&mut self, record: &Record) {
        let mut fields = Fields(&record.entry);
        let (session, _cxid, zxid, time) = (fields.long(), fields.int(), fields.long(), fields.long());
        assert!(zxid > self.zxid, "the recordings hold no zxid twice");
        self.zxid = zxid;
        let header = Header { session, zxid, time };
        let op = fields.int();
        self.operation(&header, op, &mut fields);
        if fields.0.len() >= 12 {
            assert_eq!(fields.int(), 2);
            self.digest = Some(fields.long());
        }
        assert_eq!(fields.0, b"", "type {op} at zxid {zxid:x}");
    }

    fn operation(&mut self, header: &Header, op: i32, fields: &mut Fields<'_>) {
        match op {
            -10 => {
                self.sessions.insert(header.session, fields.int());
            }
            -11 => self.close(header, fields),
            // What was refused has its zxid, and no effect.
            -1 => _ = fields.int(),
            1 | 15 | 19 | 21 => self.create(header, op, fields),
            2 | 20 => self.delete(header, &fields.text()),
            5 | 16 => {
                let (path, data, version) = (fields.text(), fields.buffer(), fields.int());
                let node = self.nodes.get_mut(&path).expect("is there");
                (node.data, node.version) = (data, version);
                (node.mzxid, node.mtime) = (header.zxid, header.time);
            }
            7 => {
                let (path, acl, aversion) = (fields.text(), fields.acl(), fields.int());
                let node = self.nodes.get_mut(&path).expect("is there");
                (node.acl, node.aversion) = (acl, aversion);
            }
            14 => self.multi(header, fields),
            other => panic!("type {other} is in no recording"),
        }
    }

    /// One failed part takes the others back.
    fn multi(&mut self, header: &Header, fields: &mut Fields<'_>) {
        let parts: Vec<(i32, Vec<u8>)> =
            (0..fields.int()).map(|_| (fields.int(), fields.buffer().unwrap_or_default())).collect();
        if parts.iter().any(|(op, _)| *op == -1) {
            return;
        }
        for (op, bytes) in parts.iter().filter(|(op, _)| *op != 13) {
            let mut fields = Fields(bytes);
            self.operation(header, *op, &mut fields);
            assert_eq!(fields.0, b"");
        }
    }

    fn create(&mut self, header: &Header, op: i32, fields: &mut Fields<'_>) {
        let (path, data, acl) = (fields.text(), fields.buffer(), fields.acl());
        let is_ephemeral = matches!(op, 1 | 15) && fields.take(1) == [1];
        let parent_cversion = fields.int();
        let owner = match op {
            19 => i64::MIN,
            21 => (0xff << 56) | fields.long(),
            _ if is_ephemeral => header.session,
            _ => 0,
        };
        let (zxid, time) = (header.zxid, header.time);
        let parent = self.nodes.get_mut(parent(&path)).expect("a parent");
        (parent.cversion, parent.pzxid) = (parent_cversion, zxid);
        let node = Node {
            data,
            acl,
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner,
            pzxid: zxid,
        };
        assert!(self.nodes.insert(path, node).is_none(), "created once");
    }

    fn delete(&mut self, header: &Header, path: &str) {
        self.nodes.remove(path).expect("is there");
        self.nodes.get_mut(parent(path)).expect("a parent").pzxid = header.zxid;
    }

    /// Old servers wrote no list of the nodes to delete.
    fn close(&mut self, header: &Header, fields: &mut Fields<'_>) {
        if !fields.0.is_empty() {
            (0..fields.int()).for_each(|_| drop(fields.text()));
        }
        self.sessions.remove(&header.session).expect("was open");
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == header.session);
        let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
        owned.iter().for_each(|path| self.delete(header, path));
    }

    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Node> {
        let is_below = move |other: &str| {
            other == path || other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        };
        self.nodes.iter().filter(move |(other, _)| is_below(other)).map(|(_, node)| node)
    }

    /// What a quota's usage is counted to be: servers keep it by themselves, no transaction says it.
    fn usage(&self, path: &str) -> Vec<u8> {
        let counted = path.trim_start_matches("/zookeeper/quota").trim_end_matches("/zookeeper_stats");
        let bytes: usize = self.below(counted).map(|node| node.data.as_ref().map_or(0, Vec::len)).sum();
        format!("count={},bytes={bytes}", self.below(counted).count()).into_bytes()
    }

    /// All nodes as in `expected-persisted.json`, after every usage was counted.
    pub fn persisted(&self) -> BTreeMap<String, Value> {
        let mut counted = self.clone();
        for (path, node) in counted.nodes.iter_mut().filter(|(path, _)| path.ends_with("/zookeeper_stats")) {
            node.data = Some(self.usage(path));
        }
        counted.persisted_as_stored()
    }

    /// All nodes as in `expected-persisted.json`.
    pub fn persisted_as_stored(&self) -> BTreeMap<String, Value> {
        let text = |(path, node): (&String, &Node)| {
            let data = node.data.as_ref();
            let data = data.map(|data| base64::engine::general_purpose::STANDARD.encode(data));
            let value = json!({"path": path, "data": data, "acl": node.acl, "persisted": {
                "czxid": node.czxid, "mzxid": node.mzxid, "ctime": node.ctime, "mtime": node.mtime,
                "version": node.version, "cversion": node.cversion, "aversion": node.aversion,
                "ephemeralOwner": node.owner, "ephemeralOwner_hex": format!("0x{:x}", node.owner),
                "pzxid": node.pzxid}});
            (path.clone(), value)
        };
        self.nodes.iter().map(text).collect()
    }

    /// The Stat a client sees, as in `expected-client.json`.
    pub fn stat(&self, path: &str) -> Value {
        let node = &self.nodes[path];
        let children = self.nodes.keys().filter(|other| *other != "/" && parent(other) == path).count();
        // Containers and nodes with a TTL have negative numbers there, which a client is not told.
        json!({"czxid": node.czxid, "mzxid": node.mzxid, "ctime": node.ctime, "mtime": node.mtime,
            "version": node.version, "cversion": node.cversion * 2 - children as i32, "aversion": node.aversion,
            "ephemeralOwner": node.owner.max(0), "dataLength": node.data.as_ref().map_or(0, Vec::len),
            "numChildren": children, "pzxid": node.pzxid})
    }
}

struct Header {
    session: i64,
    zxid: i64,
    time: i64,
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}
