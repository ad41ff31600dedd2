//! One znode's record: immutable, reference counted, built once by the member and shared by every tree of the process.
//! One allocation holds the numbers, the path and the data. What changes when a child comes or goes (cversion, pzxid,
//! child count) is not here but in each tree's own children table.

use crate::ids::{AclId, SessionId, Zxid};
use smallvec::SmallVec;
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
    /// Set by `Node::new`.
    pub(super) path_bytes: u32,
    /// Set by `Node::new`; `u32::MAX` for null data.
    pub(super) data_bytes: u32,
}

const NULL_DATA: u32 = u32::MAX;
/// Records up to here are put together on the stack.
const SCRATCH_BYTES: usize = 512;

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
            path_bytes: 0,
            data_bytes: 0,
        }
    }
}

/// A shared znode record. Cloning copies a pointer.
#[derive(Clone)]
pub struct Node(ThinArc<NodeHead, u8>);

impl Node {
    /// Builds a record. The root's path is "/".
    pub fn new(mut head: NodeHead, path: &str, data: Option<&[u8]>) -> Node {
        head.path_bytes = path.len() as u32;
        head.data_bytes = data.map_or(NULL_DATA, |data| data.len() as u32);
        // Copying a slice twice is much faster than feeding the allocation byte by byte.
        let mut bytes: SmallVec<[u8; SCRATCH_BYTES]> = SmallVec::new();
        bytes.extend_from_slice(path.as_bytes());
        bytes.extend_from_slice(data.unwrap_or_default());
        Node(ThinArc::from_header_and_slice(head, &bytes))
    }

    /// The numbers.
    pub fn head(&self) -> &NodeHead {
        &self.0.header.header
    }

    /// The full path; "/" for the root.
    pub fn path(&self) -> &str {
        let bytes = &self.0.slice[..self.head().path_bytes as usize];
        std::str::from_utf8(bytes).expect("the path was a str when the record was built")
    }

    /// The path's bytes, for hashing and comparing.
    pub fn path_bytes(&self) -> &[u8] {
        &self.0.slice[..self.head().path_bytes as usize]
    }

    /// The bytes of the parent's path.
    pub fn parent_bytes(&self) -> &[u8] {
        let path = self.path_bytes();
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        &path[..end.max(1)]
    }

    /// The data; None is null.
    pub fn data(&self) -> Option<&[u8]> {
        let head = self.head();
        (head.data_bytes != NULL_DATA).then(|| &self.0.slice[head.path_bytes as usize..])
    }

    /// Length of the data, 0 for null.
    pub fn data_length(&self) -> usize {
        self.0.slice.len() - self.head().path_bytes as usize
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

    /// True if both are the very same record.
    pub fn is_same(&self, other: &Node) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("path", &self.path()).field("head", self.head()).finish()
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
