//! The requests of a workload and what their replies must be. One `Requests` belongs to one generator thread; it
//! builds request frames in place and checks replies without allocating. Knows no sockets and no clock.

use super::keys::{self, DIGITS, Distribution, Keys};
use super::net::{encode_request, failed};
use crate::wire::codes::flags;
use crate::wire::records::{Acl, Stat, encode_acls};
use crate::wire::request::MultiHeader;
use crate::wire::{Op, Reader, Writer};

/// What a run does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    Get,
    Exists,
    Children,
    Children2,
    Set,
    Create,
    CreateDelete,
    Ephemeral,
    Multi,
    Mixed,
}

impl Workload {
    /// True if its nodes must exist before the run.
    pub fn needs_nodes(self) -> bool {
        !matches!(self, Workload::Create | Workload::Ephemeral)
    }
}

/// What one request was, to check its reply and to name its histogram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Kind {
    Get,
    Exists,
    Children,
    Set,
    Create,
    Delete,
    Multi,
    Children2,
}

impl Kind {
    /// In the order of their numbers.
    pub const NAMES: [&str; 8] =
        ["get", "exists", "children", "set", "create", "delete", "multi", "children2"];
}

/// The shape of the requests.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What to do.
    pub workload: Workload,
    /// The parent of all nodes, without a slash at the end.
    pub folder: String,
    /// Nodes in the folder.
    pub nodes: u64,
    /// Bytes of every value.
    pub value_bytes: usize,
    /// How keys are drawn.
    pub distribution: Distribution,
    /// Reads among a hundred requests of a mixed load.
    pub read_percent: u64,
    /// Operations of a multi.
    pub multi_ops: u64,
}

/// Builds requests and checks replies.
pub struct Requests {
    shape: Shape,
    keys: Keys,
    /// Path with the digits of the last key; its length never changes.
    path: Vec<u8>,
    value: Vec<u8>,
    open_acl: Vec<u8>,
    /// For creates: the next unused key of this thread, and the step that keeps threads apart.
    next_key: u64,
    key_step: u64,
    /// For create-delete: per connection, the node that it must delete next.
    to_delete: Vec<Option<u64>>,
}

impl Requests {
    /// The requests of thread `thread` of `threads`, over `connections` connections of its own.
    pub fn new(shape: Shape, thread: u64, threads: u64, connections: usize) -> Requests {
        let mut open_acl = Vec::new();
        encode_acls(&mut open_acl, &Acl::open());
        Requests {
            keys: Keys::new(0x5EED + thread, shape.nodes.max(1), shape.distribution),
            path: keys::path(&shape.folder, 0).into_bytes(),
            value: keys::value(0, shape.value_bytes),
            open_acl,
            // Create-delete works beside the nodes that are there.
            next_key: thread + if shape.workload == Workload::CreateDelete { shape.nodes } else { 0 },
            key_step: threads,
            to_delete: vec![None; connections],
            shape,
        }
    }

    /// Appends the next request of a connection; what it was and for which key.
    pub fn encode_next(&mut self, connection: usize, xid: i32, out: &mut Vec<u8>) -> (Kind, u64) {
        match self.shape.workload {
            Workload::Get => self.encode_keyed(Kind::Get, xid, out),
            Workload::Exists => self.encode_keyed(Kind::Exists, xid, out),
            Workload::Set => self.encode_keyed(Kind::Set, xid, out),
            Workload::Mixed if self.keys.chance(self.shape.read_percent) => {
                self.encode_keyed(Kind::Get, xid, out)
            }
            Workload::Mixed => self.encode_keyed(Kind::Set, xid, out),
            Workload::Multi => self.encode_multi(xid, out),
            Workload::Children => self.encode_children(Op::GetChildren, Kind::Children, xid, out),
            Workload::Children2 => self.encode_children(Op::GetChildren2, Kind::Children2, xid, out),
            Workload::Create | Workload::Ephemeral => {
                let key = self.take_new_key();
                self.encode_create(key, xid, out);
                (Kind::Create, key)
            }
            Workload::CreateDelete => match self.to_delete[connection].take() {
                Some(key) => {
                    encode_request(out, xid, Op::Delete, |out| {
                        let mut writer = Writer::new(out);
                        writer.buffer(Some(self.path_of(key)));
                        writer.int(-1);
                    });
                    (Kind::Delete, key)
                }
                None => {
                    let key = self.take_new_key();
                    self.to_delete[connection] = Some(key);
                    self.encode_create(key, xid, out);
                    (Kind::Create, key)
                }
            },
        }
    }

    fn encode_children(&self, op: Op, kind: Kind, xid: i32, out: &mut Vec<u8>) -> (Kind, u64) {
        encode_request(out, xid, op, |out| {
            let mut writer = Writer::new(out);
            writer.buffer(Some(self.shape.folder.as_bytes()));
            writer.boolean(false);
        });
        (kind, 0)
    }

    /// Bytes of the longest request of this shape, as a server counts them.
    pub fn longest(shape: &Shape) -> usize {
        let mut requests = Requests::new(shape.clone(), 0, 1, 1);
        let (mut create, mut next) = (Vec::new(), Vec::new());
        requests.encode_create(0, 1, &mut create);
        requests.encode_next(0, 1, &mut next);
        create.len().max(next.len()) - 4
    }

    fn take_new_key(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key += self.key_step;
        key
    }

    fn encode_keyed(&mut self, kind: Kind, xid: i32, out: &mut Vec<u8>) -> (Kind, u64) {
        let key = self.keys.draw();
        match kind {
            Kind::Set => self.encode_set(key, xid, out),
            Kind::Exists => self.encode_read(Op::Exists, key, xid, out),
            _ => self.encode_read(Op::GetData, key, xid, out),
        }
        (kind, key)
    }

    fn encode_read(&mut self, op: Op, key: u64, xid: i32, out: &mut Vec<u8>) {
        let path = self.path_of(key);
        encode_request(out, xid, op, |out| {
            let mut writer = Writer::new(out);
            writer.buffer(Some(path));
            writer.boolean(false);
        });
    }

    /// A request that writes the value of `key` again.
    pub fn encode_set(&mut self, key: u64, xid: i32, out: &mut Vec<u8>) {
        encode_request(out, xid, Op::SetData, |out| self.encode_set_body(key, out));
    }

    fn encode_set_body(&mut self, key: u64, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.buffer(Some(self.path_of(key)));
        writer.buffer(Some(self.value_of(key)));
        writer.int(-1);
    }

    /// A request that creates the node of `key`.
    pub fn encode_create(&mut self, key: u64, xid: i32, out: &mut Vec<u8>) {
        let is_ephemeral = self.shape.workload == Workload::Ephemeral;
        encode_request(out, xid, Op::Create, |out| {
            let mut writer = Writer::new(out);
            writer.buffer(Some(self.path_of(key)));
            writer.buffer(Some(self.value_of(key)));
            writer.raw(&self.open_acl);
            writer.int(if is_ephemeral { flags::EPHEMERAL } else { flags::PERSISTENT });
        });
    }

    fn encode_multi(&mut self, xid: i32, out: &mut Vec<u8>) -> (Kind, u64) {
        let first = self.keys.draw();
        encode_request(out, xid, Op::Multi, |out| {
            for offset in 0..self.shape.multi_ops {
                MultiHeader { op: Op::SetData as i32, done: false, err: -1 }.encode(out);
                self.encode_set_body((first + offset) % self.shape.nodes, out);
            }
            MultiHeader::END.encode(out);
        });
        (Kind::Multi, first)
    }

    /// The path of a key; written over the one before.
    fn path_of(&mut self, key: u64) -> &[u8] {
        let digits = self.path.len() - DIGITS;
        keys::write_digits(key, &mut self.path[digits..]);
        &self.path
    }

    fn value_of(&mut self, key: u64) -> &[u8] {
        if self.value.len() >= DIGITS {
            keys::write_digits(key, &mut self.value[..DIGITS]);
        } else {
            self.value = keys::value(key, self.value.len());
        }
        &self.value
    }

    /// What is wrong with the reply, if anything.
    pub fn check(&mut self, kind: Kind, key: u64, code: i32, body: &[u8]) -> Result<(), String> {
        if code != 0 {
            return Err(failed(&format!("{} of key {key}", Kind::NAMES[kind as usize]), code));
        }
        let is_right = match kind {
            Kind::Get => self.is_right_get(key, body),
            Kind::Exists | Kind::Set => {
                body.len() == STAT_BYTES && stat_data_length(body) == self.shape.value_bytes
            }
            Kind::Children => self.is_right_children(body),
            Kind::Children2 => {
                let names = body.len().checked_sub(STAT_BYTES).map(|end| &body[..end]);
                names.is_some_and(|names| self.is_right_children(names))
            }
            Kind::Create => self.is_right_create(key, body),
            Kind::Delete => body.is_empty(),
            Kind::Multi => self.is_right_multi(body),
        };
        if is_right {
            return Ok(());
        }
        Err(format!("a wrong reply to {} of key {key}: {} bytes", Kind::NAMES[kind as usize], body.len()))
    }

    fn is_right_get(&self, key: u64, body: &[u8]) -> bool {
        let bytes = self.shape.value_bytes;
        let Some((head, rest)) = body.split_first_chunk::<4>() else { return false };
        i32::from_be_bytes(*head) == bytes as i32
            && rest.len() == bytes + STAT_BYTES
            && keys::is_value(&rest[..bytes], key, bytes)
            && stat_data_length(&rest[bytes..]) == bytes
    }

    fn is_right_create(&mut self, key: u64, body: &[u8]) -> bool {
        body.split_first_chunk::<4>().is_some_and(|(head, path)| {
            i32::from_be_bytes(*head) as usize == path.len() && path == self.path_of(key)
        })
    }

    fn is_right_children(&self, body: &[u8]) -> bool {
        // Each name is checked for its form, so a mangled list cannot pass; equal names could.
        let name_bytes = DIGITS + 1;
        let Some((head, names)) = body.split_first_chunk::<4>() else { return false };
        i32::from_be_bytes(*head) as u64 == self.shape.nodes
            && names.len() == self.shape.nodes as usize * (4 + name_bytes)
            && names
                .chunks(4 + name_bytes)
                .all(|name| name[..4] == (name_bytes as i32).to_be_bytes() && name[4] == b'n')
    }

    fn is_right_multi(&self, body: &[u8]) -> bool {
        let mut reader = Reader::new(body);
        let mut is_right_set = || {
            let header = MultiHeader::decode(&mut reader).ok()?;
            let stat = Stat::decode(&mut reader).ok()?;
            let is_set = header.op == Op::SetData as i32 && !header.done;
            Some(is_set && stat.data_length as usize == self.shape.value_bytes)
        };
        (0..self.shape.multi_ops).all(|_| is_right_set() == Some(true))
            && MultiHeader::decode(&mut reader) == Ok(MultiHeader::END)
            && reader.remaining() == 0
    }
}

/// `dataLength` of an encoded Stat.
fn stat_data_length(stat: &[u8]) -> usize {
    let bytes = stat[52..56].try_into().expect("a range of four bytes");
    i32::from_be_bytes(bytes) as usize
}

/// Bytes of an encoded Stat.
pub const STAT_BYTES: usize = 68;

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(workload: Workload) -> Requests {
        let shape = Shape {
            workload,
            folder: "/b".into(),
            nodes: 10,
            value_bytes: 20,
            distribution: Distribution::Uniform,
            read_percent: 50,
            multi_ops: 3,
        };
        Requests::new(shape, 0, 1, 1)
    }

    fn get_reply(key: u64, bytes: usize) -> Vec<u8> {
        let mut body = Vec::new();
        Writer::new(&mut body).buffer(Some(&keys::value(key, bytes)));
        Stat { data_length: bytes as i32, ..Stat::default() }.encode(&mut body);
        body
    }

    #[test]
    fn a_wrong_reply_is_noticed() {
        let mut requests = requests(Workload::Get);
        assert_eq!(requests.check(Kind::Get, 3, 0, &get_reply(3, 20)), Ok(()));
        assert!(requests.check(Kind::Get, 3, 0, &get_reply(4, 20)).is_err(), "another node's value");
        assert!(requests.check(Kind::Get, 3, 0, &get_reply(3, 19)).is_err(), "too short");
        assert!(requests.check(Kind::Get, 3, -101, &[]).is_err(), "an error");
        assert!(requests.check(Kind::Get, 3, 0, &[]).is_err(), "empty");
    }

    #[test]
    fn requests_decode_as_what_they_are() {
        for workload in
            [Workload::Set, Workload::Multi, Workload::CreateDelete, Workload::Ephemeral, Workload::Children2]
        {
            let mut out = Vec::new();
            requests(workload).encode_next(0, 5, &mut out);
            assert_eq!(i32::from_be_bytes(out[..4].try_into().expect("four bytes")) as usize, out.len() - 4);
            let op =
                Op::from_i32(i32::from_be_bytes(out[8..12].try_into().expect("four bytes"))).expect("known");
            crate::wire::Request::decode(op, &out[12..]).expect("a request");
        }
    }

    #[test]
    fn the_longest_request_is_counted_as_servers_count_it() {
        let shape = Shape { value_bytes: 1000, ..requests(Workload::Get).shape };
        // Header, path "/b/n00000000", value, one ACL of world:anyone, flags.
        assert_eq!(Requests::longest(&shape), 8 + (4 + 12) + (4 + 1000) + (4 + 4 + 4 + 5 + 4 + 6) + 4);
        let multi = Shape { workload: Workload::Multi, multi_ops: 10, ..shape };
        assert!(Requests::longest(&multi) > 10 * 1000);
    }

    #[test]
    fn create_delete_alternates_beside_the_nodes_that_are_there() {
        let mut requests = requests(Workload::CreateDelete);
        let kinds: Vec<_> = (0..4).map(|xid| requests.encode_next(0, xid, &mut Vec::new())).collect();
        assert_eq!(kinds, [(Kind::Create, 10), (Kind::Delete, 10), (Kind::Create, 11), (Kind::Delete, 11)]);
    }
}
