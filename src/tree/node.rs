//! One znode's record: immutable, reference counted, built once by the member and shared by every tree of the process.
//! One allocation holds the numbers, the path and the data. What changes when a child comes or goes (cversion, pzxid,
//! child count) is not here but in each tree's own children table.
//!
//! Most nodes are written once, belong to nobody and are open to all: numbers that say just that take no room. Layout:
//!
//! - 8 bytes: flags, length of the path, ctime in 6 bytes. Of a large node: flags, one byte unused, the length in 6.
//! - The path, first because most looks are at it, and so that it starts where whole words do.
//! - czxid in 6 bytes. Of a large node: czxid and ctime in 8 each.
//! - What the flags announce: mzxid, mtime, version; owner; aversion; ACL.
//! - The data.

use crate::ids::{AclId, SessionId, Zxid};
use triomphe::ThinArc;

/// The numbers of a znode that only its own transactions change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeHead {
    /// zxid of the create.
    pub czxid: Zxid,
    /// zxid of the last setData.
    pub mzxid: Zxid,
    /// Time of the create, ms since 1970.
    pub ctime: i64,
    /// Time of the last setData, ms since 1970.
    pub mtime: i64,
    /// Stored owner: 0, a session, or a container or TTL mark (see [`Owner`]).
    pub owner: i64,
    /// Counts setData.
    pub version: i32,
    /// Counts setACL.
    pub aversion: i32,
    /// Its access control list.
    pub acl: AclId,
}

/// Records up to here are put together on the stack.
const SCRATCH_BYTES: usize = 512;

/// mzxid, mtime and version are there; otherwise they are czxid, ctime and 0.
const CHANGED: u8 = 1;
/// The owner is there; otherwise it is 0.
const OWNED: u8 = 2;
/// aversion is there; otherwise it is 0.
const ACL_CHANGED: u8 = 4;
/// The ACL is there; otherwise it is the open one.
const LISTED: u8 = 8;
/// The data is null.
const NULL: u8 = 16;
/// A path over 255 bytes, an epoch over 65,535, or a time that is negative or after the year 10,000.
const LARGE: u8 = 32;
/// All flags.
const FLAGS: usize = 63;

/// Bytes of the numbers between path and data, by flags.
const NUMBER_BYTES: [u8; FLAGS + 1] = {
    let mut bytes = [0; FLAGS + 1];
    let mut flags = 0;
    while flags <= FLAGS {
        bytes[flags] = if flags as u8 & LARGE != 0 { 16 } else { 6 };
        bytes[flags] += if flags as u8 & CHANGED != 0 { 20 } else { 0 };
        bytes[flags] += if flags as u8 & OWNED != 0 { 8 } else { 0 };
        bytes[flags] += if flags as u8 & ACL_CHANGED != 0 { 4 } else { 0 };
        bytes[flags] += if flags as u8 & LISTED != 0 { 4 } else { 0 };
        flags += 1;
    }
    bytes
};
/// The most of them.
const MAX_NUMBER_BYTES: usize = NUMBER_BYTES[FLAGS] as usize;

impl NodeHead {
    /// A head with all numbers zero, for the nodes that exist from the start.
    pub fn zero() -> NodeHead {
        NodeHead {
            czxid: Zxid::ZERO,
            mzxid: Zxid::ZERO,
            ctime: 0,
            mtime: 0,
            owner: 0,
            version: 0,
            aversion: 0,
            acl: AclId::OPEN,
        }
    }

    fn flags(&self) -> u8 {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        flag(self.mzxid != self.czxid || self.mtime != self.ctime || self.version != 0, CHANGED)
            | flag(self.owner != 0, OWNED)
            | flag(self.aversion != 0, ACL_CHANGED)
            | flag(self.acl != AclId::OPEN, LISTED)
            | flag((self.czxid.0 | self.ctime) >> 48 != 0, LARGE)
    }
}

/// A shared znode record. Cloning copies a pointer.
#[derive(Clone)]
pub struct Node(ThinArc<[u8; 8], u8>);

impl Node {
    /// Builds a record. The root's path is "/".
    pub fn new(head: NodeHead, path: &str, data: Option<&[u8]>) -> Node {
        Node::build(head, path.as_bytes(), data)
    }

    /// A record of the same path.
    pub fn changed(&self, head: NodeHead, data: Option<&[u8]>) -> Node {
        Node::build(head, self.path_bytes(), data)
    }

    fn build(head: NodeHead, path: &[u8], data: Option<&[u8]>) -> Node {
        let mut flags = head.flags() | if data.is_none() { NULL } else { 0 };
        if path.len() > usize::from(u8::MAX) {
            flags |= LARGE;
        }
        let mut numbers = [0; MAX_NUMBER_BYTES + 8];
        let mut at = 0;
        let mut put = |number: u64, bytes: usize| {
            numbers[at..at + 8].copy_from_slice(&number.to_le_bytes());
            at += bytes;
        };
        let first = match flags & LARGE {
            0 => {
                put(head.czxid.0 as u64, 6);
                (head.ctime as u64) << 16 | (path.len() as u64) << 8
            }
            _ => {
                put(head.czxid.0 as u64, 8);
                put(head.ctime as u64, 8);
                (path.len() as u64) << 16
            }
        };
        if flags & CHANGED != 0 {
            put(head.mzxid.0 as u64, 8);
            put(head.mtime as u64, 8);
            put(head.version as u64, 4);
        }
        if flags & OWNED != 0 {
            put(head.owner as u64, 8);
        }
        if flags & ACL_CHANGED != 0 {
            put(head.aversion as u64, 4);
        }
        if flags & LISTED != 0 {
            put(head.acl.0.into(), 4);
        }
        let data = data.unwrap_or_default();
        let length = path.len() + at + data.len();
        // Copying a slice twice is much faster than feeding the allocation byte by byte.
        let (mut short, mut long) = ([0; SCRATCH_BYTES], Vec::new());
        let bytes = match short.get_mut(..length) {
            Some(short) => short,
            None => {
                long.resize(length, 0);
                &mut long[..]
            }
        };
        let (numbers_start, data_start) = (path.len(), path.len() + at);
        bytes[..numbers_start].copy_from_slice(path);
        bytes[numbers_start..data_start].copy_from_slice(&numbers[..at]);
        bytes[data_start..].copy_from_slice(data);
        Node(ThinArc::from_header_and_slice((first | u64::from(flags)).to_le_bytes(), bytes))
    }

    /// The numbers.
    #[inline]
    pub fn head(&self) -> NodeHead {
        let (flags, czxid) = (self.flags(), self.czxid());
        let (mut at, ctime) = match flags & LARGE {
            0 => (self.path_length() + 6, self.first() >> 16),
            _ => {
                let mut at = self.path_length() + 8;
                let ctime = self.number::<8>(&mut at);
                (at, ctime)
            }
        };
        let ctime = ctime as i64;
        let mut head = NodeHead { czxid, mzxid: czxid, ctime, mtime: ctime, ..NodeHead::zero() };
        if flags & (CHANGED | OWNED | ACL_CHANGED | LISTED) == 0 {
            return head;
        }
        if flags & CHANGED != 0 {
            head.mzxid = Zxid(self.number::<8>(&mut at) as i64);
            head.mtime = self.number::<8>(&mut at) as i64;
            head.version = self.number::<4>(&mut at) as i32;
        }
        if flags & OWNED != 0 {
            head.owner = self.number::<8>(&mut at) as i64;
        }
        if flags & ACL_CHANGED != 0 {
            head.aversion = self.number::<4>(&mut at) as i32;
        }
        if flags & LISTED != 0 {
            head.acl = AclId(self.number::<4>(&mut at) as u32);
        }
        head
    }

    /// Transaction that created it, as in the head.
    #[inline]
    pub fn czxid(&self) -> Zxid {
        let mut at = self.path_length();
        let czxid = match self.flags() & LARGE {
            0 => self.number::<6>(&mut at),
            _ => self.number::<8>(&mut at),
        };
        Zxid(czxid as i64)
    }

    /// Who owns it, as in the head.
    #[inline]
    pub fn owner(&self) -> i64 {
        if self.flags() & OWNED == 0 { 0 } else { self.head().owner }
    }

    /// Its access control list, as in the head.
    #[inline]
    pub fn acl(&self) -> AclId {
        if self.flags() & LISTED == 0 { AclId::OPEN } else { self.head().acl }
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.0.header.header[0]
    }

    #[inline]
    fn first(&self) -> u64 {
        u64::from_le_bytes(self.0.header.header)
    }

    #[inline]
    fn path_length(&self) -> usize {
        match self.flags() & LARGE {
            0 => usize::from(self.0.header.header[1]),
            _ => (self.first() >> 16) as usize,
        }
    }

    /// Where the data starts, and ends for null.
    #[inline]
    fn data_start(&self) -> usize {
        self.path_length() + usize::from(NUMBER_BYTES[usize::from(self.flags()) & FLAGS])
    }

    /// The number that has N bytes there; goes on behind it.
    #[inline]
    fn number<const N: usize>(&self, at: &mut usize) -> u64 {
        let mut eight = [0; 8];
        eight[..N].copy_from_slice(&self.0.slice[*at..*at + N]);
        *at += N;
        u64::from_le_bytes(eight)
    }

    /// The full path; "/" for the root.
    pub fn path(&self) -> &str {
        std::str::from_utf8(self.path_bytes()).expect("the path was a str when the record was built")
    }

    /// The path's bytes, for hashing and comparing.
    #[inline]
    pub fn path_bytes(&self) -> &[u8] {
        &self.0.slice[..self.path_length()]
    }

    /// The bytes of the parent's path.
    pub fn parent_bytes(&self) -> &[u8] {
        let path = self.path_bytes();
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        &path[..end.max(1)]
    }

    /// The data; None is null.
    #[inline]
    pub fn data(&self) -> Option<&[u8]> {
        (self.flags() & NULL == 0).then(|| &self.0.slice[self.data_start()..])
    }

    /// Length of the data, 0 for null.
    #[inline]
    pub fn data_length(&self) -> usize {
        self.0.slice.len() - self.data_start()
    }

    /// What it counts in the size of the data: path and data. The root's path counts as empty.
    #[inline]
    pub fn accounted_bytes(&self) -> usize {
        let bytes = self.0.slice.len() - usize::from(NUMBER_BYTES[usize::from(self.flags()) & FLAGS]);
        if self.path_length() == 1 { bytes - 1 } else { bytes }
    }

    /// The last component of the path; empty for the root.
    pub fn name(&self) -> &str {
        split_path(self.path()).1
    }

    /// The bytes of the name.
    pub fn name_bytes(&self) -> &[u8] {
        let path = self.path_bytes();
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        &path[start..]
    }

    /// The path of the parent; the root is its own.
    pub fn parent(&self) -> &str {
        split_path(self.path()).0
    }

    /// Reads something of a short record's every cache line.
    #[inline]
    pub fn touch(&self) -> u8 {
        let bytes = &self.0.slice;
        self.flags() ^ bytes[bytes.len() / 2] ^ bytes[bytes.len() - 1]
    }

    /// True if both are the very same record.
    pub fn is_same(&self, other: &Node) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("path", &self.path()).field("head", &self.head()).finish()
    }
}

/// Splits a valid path into parent and name: "/a/b" into "/a" and "b", "/a" into "/" and "a".
pub fn split_path(path: &str) -> (&str, &str) {
    match path.rfind('/') {
        Some(0) => ("/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => ("/", path),
    }
}

/// What the stored owner of a node means (`EphemeralType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A persistent node.
    None,
    /// An ephemeral node of this session.
    Session(SessionId),
    /// A container.
    Container,
    /// A TTL node; the time is in ms.
    Ttl(u64),
}

/// Stored owner of a container.
pub const CONTAINER_OWNER: i64 = i64::MIN;
/// Largest TTL, in ms.
pub const TTL_MS_MAX: i64 = (1 << 40) - 1;
const TTL_MARK: u64 = 0xff00_0000_0000_0000;

/// Stored owner of a TTL node.
pub fn ttl_owner(ttl_ms: i64) -> i64 {
    assert!((1..=TTL_MS_MAX).contains(&ttl_ms), "the member has checked the TTL");
    (TTL_MARK | ttl_ms as u64) as i64
}

/// How stored owners are read: settings of the server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OwnerRules {
    /// `zookeeper.extendedTypesEnabled`.
    pub extended_types: bool,
    /// `zookeeper.emulate353TTLNodes`.
    pub emulate_353: bool,
}

impl OwnerRules {
    /// What a stored owner means.
    pub fn owner(self, stored: i64) -> Owner {
        let bits = stored as u64;
        if stored == 0 {
            return Owner::None;
        }
        if stored == CONTAINER_OWNER {
            return Owner::Container;
        }
        if self.extended_types && bits >> 56 == 0xff && (bits >> 40) & 0xffff == 0 {
            return Owner::Ttl(bits & ((1 << 40) - 1));
        }
        if self.extended_types && self.emulate_353 && stored < 0 {
            return Owner::Ttl(bits & 0x7fff_ffff_ffff_ffff);
        }
        Owner::Session(SessionId(stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Mostly the values that take no room, and those at the ends.
    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), Just(1), Just(-1), Just(i64::MIN), Just(i64::MAX), any::<i64>(), 0..1_i64 << 40]
    }

    proptest! {
        #[test]
        fn a_record_gives_back_what_it_was_built_from(
            (czxid, ctime, owner) in (number(), number(), number()),
            changed in proptest::option::of((number(), number(), any::<i32>())),
            (aversion, acl) in (prop_oneof![Just(0), any::<i32>()], prop_oneof![Just(AclId::OPEN.0), any::<u32>()]),
            name in prop_oneof![Just(String::new()), "[a-zé/]{1,20}", "[a-z]{250,300}"],
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        ) {
            let (mzxid, mtime, version) = changed.unwrap_or((czxid, ctime, 0));
            let head = NodeHead {
                czxid: Zxid(czxid),
                mzxid: Zxid(mzxid),
                ctime,
                mtime,
                owner,
                version,
                aversion,
                acl: AclId(acl),
            };
            let path = format!("/{name}");
            let node = Node::new(head, &path, data.as_deref());
            prop_assert_eq!(node.head(), head);
            prop_assert_eq!((node.owner(), node.acl()), (head.owner, head.acl));
            prop_assert_eq!(node.path(), path);
            prop_assert_eq!(node.data(), data.as_deref());
            prop_assert_eq!(node.data_length(), data.map_or(0, |data| data.len()));
        }
    }

    #[test]
    fn a_plain_node_takes_little_beside_its_path_and_data() {
        let (zxid, time) = (Zxid(0x1_0000_0000), 1_700_000_000_000);
        let head = NodeHead { czxid: zxid, mzxid: zxid, ctime: time, mtime: time, ..NodeHead::zero() };
        let node = Node::new(head, "/bench", Some(&[1; 100]));
        assert_eq!(size_of_val(&node.0.header) + node.0.slice.len(), 106 + 22);
    }
}
