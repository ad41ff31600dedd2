//! A tree as bytes: ZooKeeper's snapshot format (`FileSnap`, `DataTree.serialize`), written and read as a stream.
//!
//! File: header, body (sessions, ACLs, nodes depth first, "/"), seal, then optional digest and zxid sections, each
//! sealed. A seal is the Adler-32 of everything before it, earlier seals included, and the string "/".
//!
//! The reader trusts no length: fields are limited, memory grows only with bytes that really came.

use super::chunked::Keep;
use super::image_writer::{CHUNK_BYTES, ImageWriter};
use super::index::{CONFIG_ACL, ChildStat, LoadError, Tree, canonical};
use super::node::{Node, NodeHead};
use super::slots::{LOOK_AHEAD, Slot};
use crate::ids::{AclId, SessionId, Zxid};
use crate::wire::records::decode_acls;
use crate::wire::{Reader, Writer};
use simd_adler32::Adler32;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// "ZKSN"
pub(super) const MAGIC: i32 = 0x5a4b_534e;
pub(super) const VERSION: i32 = 2;
pub(super) const DB_ID: i64 = -1;
/// A string or data field is never longer than twice jute.maxbuffer; be generous to raised limits.
const FIELD_BYTES_MAX: usize = 1 << 30;
/// The last zxid and its seal; the section with the digest is longer.
const ZXID_SECTION_BYTES: usize = 8 + 13;

/// Which optional sections are written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ImageOptions {
    /// `serializeLastProcessedZxid.enabled`.
    pub last_zxid_section: bool,
    /// `jute.maxbuffer` and its extra: larger fields in a snapshot are corruption.
    pub field_bytes_max: usize,
}

impl Default for ImageOptions {
    fn default() -> ImageOptions {
        ImageOptions { last_zxid_section: true, field_bytes_max: FIELD_BYTES_MAX }
    }
}

/// How the file is compressed; the file's extension tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// As it is.
    None,
    /// `.gz`
    Gzip,
    /// `.snappy`, in the framing of snappy-java.
    Snappy,
}

impl Compression {
    /// What follows `snapshot.<zxid>` in the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}

/// What a snapshot holds.
pub struct Image {
    /// The nodes.
    pub tree: Tree,
    /// Global sessions and their timeouts in ms.
    pub sessions: Vec<(SessionId, i32)>,
    /// The digest of the newest transaction in it.
    pub digest: Option<(Zxid, u64)>,
    /// The last processed zxid at its end.
    pub last_zxid: Option<Zxid>,
    /// Bytes read, uncompressed.
    pub bytes: u64,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("offset {offset}: {what}")]
pub struct ImageError {
    /// In the uncompressed bytes.
    pub offset: u64,
    /// What was found and expected.
    pub what: String,
}

/// Writes a whole snapshot.
pub fn write<K: Keep>(
    tree: &Tree<K>,
    sessions: &[(SessionId, i32)],
    digest: Option<(Zxid, u64)>,
    last_zxid: Zxid,
    options: &ImageOptions,
    sink: &mut dyn Write,
) -> io::Result<()> {
    write_all(tree, ImageWriter::new(tree, sessions.to_vec(), digest, last_zxid, *options), sink)
}

/// Writes the body alone, as it goes over the wire to a learner: no header, no seals.
pub fn write_body<K: Keep>(
    tree: &Tree<K>,
    sessions: &[(SessionId, i32)],
    sink: &mut dyn Write,
) -> io::Result<()> {
    write_all(tree, ImageWriter::body(tree, sessions.to_vec()), sink)
}

fn write_all<K: Keep>(tree: &Tree<K>, mut writer: ImageWriter, sink: &mut dyn Write) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(2 * CHUNK_BYTES);
    let mut is_more = true;
    while is_more {
        is_more = writer.next_chunk(tree, &mut chunk);
        sink.write_all(&chunk)?;
        chunk.clear();
    }
    Ok(())
}

/// Reads a whole snapshot into `tree`, which must be empty.
pub fn read(source: &mut dyn Read, tree: Tree, options: &ImageOptions) -> Result<Image, ImageError> {
    let mut input = Input::new(source, options);
    check_header(&mut input)?;
    let mut image = take_body(&mut input, tree)?;
    take_sections(&mut input, &mut image)?;
    Ok(image)
}

/// Reads a whole snapshot and keeps no node: `visit` gets each as it comes, with the tree that holds the table of ACLs
/// alone. `tree` must be empty. The memory does not grow with the number of nodes.
pub fn scan(
    source: &mut dyn Read,
    tree: Tree,
    options: &ImageOptions,
    visit: &mut dyn FnMut(&Tree, &Node, ChildStat) -> Result<(), String>,
) -> Result<Image, ImageError> {
    let mut input = Input::new(source, options);
    check_header(&mut input)?;
    let mut image = Image { tree, sessions: Vec::new(), digest: None, last_zxid: None, bytes: 0 };
    read_sessions(&mut input, &mut image)?;
    let acls = read_acls(&mut input, &mut image.tree)?;
    while let Some(length) = input.path_length()? {
        let offset = input.consumed;
        let Loaded { node, cversion, pzxid } = read_node(&mut input, &acls, length)?;
        let children = ChildStat { cversion, pzxid, count: 0 };
        visit(&image.tree, &node, children).map_err(|what| ImageError { offset, what })?;
    }
    take_sections(&mut input, &mut image)?;
    Ok(image)
}

fn check_header(input: &mut Input<'_>) -> Result<(), ImageError> {
    match input.int()? {
        MAGIC => input.take(12).map(|_| ()),
        _ => Err(ImageError { offset: 0, what: "this is no snapshot (its magic is not ZKSN)".into() }),
    }
}

/// What follows the nodes: their seal, then the optional sections, then nothing.
fn take_sections(input: &mut Input<'_>, image: &mut Image) -> Result<(), ImageError> {
    input.check_seal("the nodes")?;
    // With the digest switched off, Apache writes the last zxid alone.
    if input.has(ZXID_SECTION_BYTES + 1)? {
        let zxid = Zxid(input.long()?);
        let version = input.int()?;
        if version < super::digest::DIGEST_VERSION {
            input.field("an old digest")?;
        } else {
            let digest = input.long()? as u64;
            image.digest = Some((zxid, digest));
        }
        input.check_seal("the digest")?;
    }
    if input.has(1)? {
        image.last_zxid = Some(Zxid(input.long()?));
        input.check_seal("the last zxid")?;
    }
    image.bytes = input.consumed;
    // Also makes an unpacker check its own checksum.
    if input.has(1)? {
        return Err(input.error("bytes follow the end of the snapshot"));
    }
    Ok(())
}

/// Reads a body alone into `tree`, which must be empty. Also returns what was read from the source after its end.
pub fn read_body(
    source: &mut dyn Read,
    tree: Tree,
    options: &ImageOptions,
) -> Result<(Image, Vec<u8>), ImageError> {
    let mut input = Input::new(source, options);
    let mut image = take_body(&mut input, tree)?;
    image.bytes = input.consumed;
    Ok((image, input.buffer[input.start..input.end].to_vec()))
}

fn take_body(input: &mut Input<'_>, tree: Tree) -> Result<Image, ImageError> {
    let mut image = Image { tree, sessions: Vec::new(), digest: None, last_zxid: None, bytes: 0 };
    read_sessions(input, &mut image)?;
    let acls = read_acls(input, &mut image.tree)?;
    read_nodes(input, &mut image.tree, &acls)?;
    Ok(image)
}

fn read_sessions(input: &mut Input<'_>, image: &mut Image) -> Result<(), ImageError> {
    let count = input.int()?;
    for _ in 0..count.max(0) {
        let session = SessionId(input.long()?);
        image.sessions.push((session, input.int()?));
    }
    Ok(())
}

/// Disk ids are per file and may be any number; the tree gets small ones of its own.
fn read_acls(input: &mut Input<'_>, tree: &mut Tree) -> Result<BTreeMap<i64, AclId>, ImageError> {
    let count = input.int()?;
    let mut ids = BTreeMap::new();
    for index in 0..count.max(0) {
        let disk_id = input.long()?;
        let entries = input.int()?;
        let mut bytes = entries.max(0).to_be_bytes().to_vec();
        for _ in 0..entries.max(0) {
            bytes.extend_from_slice(input.take(4)?);
            for _ in 0..2 {
                let text = input.field("an ACL")?.unwrap_or_default();
                Writer::new(&mut bytes).buffer(Some(text));
            }
        }
        let acl = decode_acls(&mut Reader::new(&bytes)).map_err(|error| input.error(&error.to_string()))?;
        let id = AclId(CONFIG_ACL.0 + index as u32);
        tree.install(&super::Effect::AddAcl { id, acl: acl.into() });
        ids.insert(disk_id, id);
    }
    Ok(ids)
}

fn read_nodes(input: &mut Input<'_>, tree: &mut Tree, acls: &BTreeMap<i64, AclId>) -> Result<(), ImageError> {
    let start = input.consumed;
    let mut loaded = Vec::new();
    while let Some(length) = input.path_length()? {
        loaded.push(read_node(input, acls, length)?);
    }
    build(tree, start, &loaded)?;
    for (_, id) in acls.iter() {
        tree.drop_unused_acl(*id);
    }
    match tree.node("/") {
        Some(_) => Ok(()),
        None => Err(input.error("the snapshot has no root")),
    }
}

/// A node and its stored child numbers.
struct Loaded {
    node: Node,
    cversion: i32,
    pzxid: Zxid,
}

/// Puts the nodes in their places when their number is known: growing the tables step by step would visit every node
/// again and again, which takes longer than reading them.
fn build(tree: &mut Tree, start: u64, loaded: &[Loaded]) -> Result<(), ImageError> {
    tree.reserve(loaded.len());
    let mut near = Slot::NONE;
    for (index, Loaded { node, cversion, pzxid }) in loaded.iter().enumerate() {
        if index % LOOK_AHEAD == 0 {
            tree.look_ahead(loaded[index..].iter().take(LOOK_AHEAD).map(|loaded| loaded.node.path_bytes()));
        }
        let what = match tree.load(node.clone(), &mut near) {
            Ok(_) if *cversion == 0 && *pzxid == node.czxid() => continue,
            Ok(slot) => {
                tree.set_children(slot, *cversion, *pzxid);
                continue;
            }
            Err(LoadError::NoParent) => "comes before its parent",
            Err(LoadError::Twice) => "is there twice",
        };
        let bytes = |loaded: &Loaded| (76 + loaded.node.path().len() + loaded.node.data_length()) as u64;
        let before: u64 = loaded[..index].iter().map(bytes).sum();
        // The root's path is written with no byte.
        let offset = start + before.saturating_sub(u64::from(index > 0));
        return Err(ImageError { offset, what: format!("node {:?} {what}", node.path()) });
    }
    Ok(())
}

/// Reads one node whose path has this length; all its bytes are looked at where they lie in the buffer.
fn read_node(
    input: &mut Input<'_>,
    acls: &BTreeMap<i64, AclId>,
    path_bytes: usize,
) -> Result<Loaded, ImageError> {
    let offset = input.consumed;
    let head_bytes = 4 + path_bytes + 4;
    input.fill(head_bytes)?;
    let length = input.peek_int(head_bytes - 4);
    let data_bytes = if length == -1 { 0 } else { input.checked_length(length, "data")? };
    let bytes = input.take(head_bytes + data_bytes + 68)?;
    let (before, rest) = bytes.split_at(head_bytes + data_bytes);
    let path = String::from_utf8_lossy(&before[4..head_bytes - 4]);
    let path = canonical(&path);
    let data = (length != -1).then_some(&before[head_bytes..]);
    let error = |what: &str| Err(ImageError { offset, what: format!("node {path:?} {what}") });
    let mut reader = Reader::new(rest);
    let mut long = || reader.long().expect("68 bytes are there");
    let (acl, czxid, mzxid, ctime, mtime) = (long(), long(), long(), long(), long());
    let mut int = || reader.int().expect("68 bytes are there");
    let (version, cversion, aversion) = (int(), int(), int());
    let mut long = || reader.long().expect("68 bytes are there");
    let (owner, pzxid) = (long(), long());
    // An unknown list is treated as open by nobody: it is damage.
    let acl = if acl == -1 { Some(AclId::OPEN) } else { acls.get(&acl).copied() };
    let Some(acl) = acl else { return error("has an unknown ACL") };
    if !path.starts_with('/') || path.len() > 1 && path.ends_with('/') {
        return error("has a path that no node can have");
    }
    let head =
        NodeHead { czxid: Zxid(czxid), mzxid: Zxid(mzxid), ctime, mtime, owner, version, aversion, acl };
    Ok(Loaded { node: Node::new(head, path, data), cversion, pzxid: Zxid(pzxid) })
}

/// Buffered input that sums up what was consumed.
struct Input<'a> {
    source: &'a mut dyn Read,
    adler: Adler32,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of the buffer, up to here is summed. Invariant: summed <= start.
    summed: usize,
    consumed: u64,
    field_bytes_max: usize,
}

impl<'a> Input<'a> {
    fn new(source: &'a mut dyn Read, options: &ImageOptions) -> Input<'a> {
        Input {
            source,
            adler: Adler32::new(),
            buffer: vec![0; 2 * CHUNK_BYTES],
            start: 0,
            end: 0,
            summed: 0,
            consumed: 0,
            field_bytes_max: options.field_bytes_max,
        }
    }

    /// Makes at least `need` bytes available.
    fn fill(&mut self, need: usize) -> Result<(), ImageError> {
        if self.end - self.start >= need {
            return Ok(());
        }
        self.sum();
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.summed = 0;
        while self.end < need {
            if self.end == self.buffer.len() {
                // Grows only as far as bytes really come.
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            let read = self.source.read(&mut self.buffer[self.end..]);
            match read.map_err(|error| self.error(&format!("reading failed: {error}")))? {
                0 => return Err(self.error(&format!("the file ends here; {need} more bytes were expected"))),
                more => self.end += more,
            }
        }
        Ok(())
    }

    fn sum(&mut self) {
        self.adler.write(&self.buffer[self.summed..self.start]);
        self.summed = self.start;
    }

    fn take(&mut self, need: usize) -> Result<&[u8], ImageError> {
        self.fill(need)?;
        self.start += need;
        self.consumed += need as u64;
        Ok(&self.buffer[self.start - need..self.start])
    }

    /// The length of the next node's path; None at the end of the list, which is consumed.
    fn path_length(&mut self) -> Result<Option<usize>, ImageError> {
        self.fill(5)?;
        let length = self.checked_length(self.peek_int(0), "a path")?;
        if length == 1 && self.buffer[self.start + 4] == b'/' {
            self.take(5)?;
            return Ok(None);
        }
        Ok(Some(length))
    }

    /// Four bytes that were filled in, so far ahead.
    fn peek_int(&self, ahead: usize) -> i32 {
        let at = self.start + ahead;
        i32::from_be_bytes(self.buffer[at..at + 4].try_into().expect("four bytes"))
    }

    fn int(&mut self) -> Result<i32, ImageError> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn long(&mut self) -> Result<i64, ImageError> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    fn checked_length(&self, length: i32, what: &str) -> Result<usize, ImageError> {
        if length < 0 || length as usize > self.field_bytes_max {
            return Err(self.error(&format!("{what} claims a length of {length} bytes")));
        }
        Ok(length as usize)
    }

    fn field(&mut self, what: &str) -> Result<Option<&[u8]>, ImageError> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let length = self.checked_length(length, what)?;
        self.take(length).map(Some)
    }

    fn has(&mut self, bytes: usize) -> Result<bool, ImageError> {
        match self.fill(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.what.starts_with("the file ends") => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn check_seal(&mut self, what: &str) -> Result<(), ImageError> {
        self.sum();
        let expected = self.adler.finish() as i64;
        let found = self.long()?;
        if found != expected {
            return Err(self.error(&format!(
                "the checksum after {what} is {found:08x}, but the bytes before have {expected:08x}"
            )));
        }
        if self.field("a seal")? != Some(&b"/"[..]) {
            return Err(self.error(&format!("the seal after {what} does not end in \"/\"")));
        }
        Ok(())
    }

    fn error(&self, what: &str) -> ImageError {
        ImageError { offset: self.consumed, what: what.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Effects, OwnerRules, Store, StoreSettings, Undo};
    use crate::wire::Acl;
    use crate::wire::txn::CreateKind;
    use crate::wire::{Txn, TxnHeader};

    fn sample() -> Store {
        let settings = StoreSettings {
            hash_seed: 1,
            rules: OwnerRules::default(),
            digest_enabled: true,
            enforce_quota: false,
        };
        let mut store = Store::new(settings);
        for (zxid, path) in [(1, "/a"), (2, "/a/b"), (3, "/a/c"), (4, "/d")] {
            let txn = Txn::Create {
                kind: CreateKind::Create,
                path: path.into(),
                data: (zxid != 3).then_some(b"data"),
                acl: vec![Acl { perms: zxid as i32, scheme: "ip".into(), id: "10.0.0.1".into() }].into(),
                ephemeral: zxid == 4,
                parent_cversion: -1,
            };
            apply(&mut store, zxid, &txn);
        }
        store
    }

    fn apply(store: &mut Store, zxid: i64, txn: &Txn<'_>) -> Effects {
        let header = TxnHeader {
            session: SessionId(9),
            cxid: 1,
            zxid: Zxid(zxid),
            time_ms: 1_700_000_000_000,
            op: txn.op(),
        };
        let mut effects = Effects::new();
        store.apply(&header, txn, &mut effects, &mut Undo::none()).expect("valid");
        effects
    }

    /// Something of each kind.
    fn change(store: &mut Store, zxid: i64) -> Effects {
        let txn = match zxid {
            5 => Txn::Delete { path: "/a/b".into(), container: false },
            6 => Txn::Delete { path: "/d".into(), container: false },
            7 => Txn::SetData { path: "/a".into(), data: None, version: 1, reconfig: false },
            8 => Txn::SetAcl { path: "/a/c".into(), acl: Acl::open().into(), version: 1 },
            _ => Txn::Create {
                kind: CreateKind::Create,
                path: format!("/a/c/{zxid}").into(),
                data: None,
                acl: Acl::open().into(),
                ephemeral: true,
                parent_cversion: -1,
            },
        };
        apply(store, zxid, &txn)
    }

    fn bytes(store: &Store) -> Vec<u8> {
        let mut bytes = Vec::new();
        let digest = store.digest().map(|digest| (Zxid(4), digest));
        write(store.tree(), &[(SessionId(9), 30_000)], digest, Zxid(4), &ImageOptions::default(), &mut bytes)
            .expect("written");
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Image, ImageError> {
        read(&mut &bytes[..], Tree::empty(2, OwnerRules::default()), &ImageOptions::default())
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was() {
        let store = sample();
        let image = read_all(&bytes(&store)).expect("sound");
        assert_eq!(image.sessions, [(SessionId(9), 30_000)]);
        assert_eq!(image.last_zxid, Some(Zxid(4)));
        let settings = StoreSettings {
            hash_seed: 2,
            rules: OwnerRules::default(),
            digest_enabled: true,
            enforce_quota: false,
        };
        for (slot, node) in store.tree().nodes() {
            let (place, other) = image.tree.find(node.path()).expect("there");
            assert_eq!(image.tree.stat(place), store.tree().stat(slot), "{}", node.path());
            assert_eq!(image.tree.acl(other.acl()), store.tree().acl(node.acl()));
            assert_eq!(other.data(), node.data());
        }
        assert_eq!(Store::from_tree(settings, image.tree).digest(), store.digest());
    }

    /// The sections are optional, each for itself.
    #[test]
    fn sections_are_recognised_whichever_there_are() {
        let (store, mut zxid_only) = (sample(), Vec::new());
        let options = ImageOptions::default();
        write(store.tree(), &[], None, Zxid(4), &options, &mut zxid_only).expect("memory takes it");
        Writer::new(&mut zxid_only).long(77);
        let mut adler = Adler32::new();
        adler.write(&zxid_only);
        Writer::new(&mut zxid_only).long(adler.finish() as i64);
        Writer::new(&mut zxid_only).string("/");
        let read = |bytes: &[u8]| read_all(bytes).map(|image| (image.digest.is_some(), image.last_zxid));
        assert_eq!(read(&zxid_only).expect("sound"), (false, Some(Zxid(77))));
        assert_eq!(read(&zxid_only[..zxid_only.len() - 21]).expect("sound"), (false, None));
        let whole = bytes(&store);
        assert_eq!(read(&whole).expect("sound"), (true, Some(Zxid(4))));
        assert_eq!(read(&whole[..whole.len() - 21]).expect("sound"), (true, None));
        let error = read(&[&whole[..], b"/"].concat()).expect_err("too long");
        assert_eq!(
            (error.offset, error.what.as_str()),
            (whole.len() as u64, "bytes follow the end of the snapshot")
        );
    }

    /// Whoever takes it in pieces may go on between two of them.
    #[test]
    fn a_frozen_tree_gives_the_same_bytes_in_pieces_while_the_tree_goes_on() {
        let mut store = sample();
        let whole = bytes(&store);
        let mut tree = store.tree().without_index();
        let frozen = tree.freeze();
        let (sessions, digest) =
            (vec![(SessionId(9), 30_000)], store.digest().map(|digest| (Zxid(4), digest)));
        let writer = ImageWriter::new(&frozen, sessions, digest, Zxid(4), ImageOptions::default());
        let (mut writer, mut pieces, mut zxid) = (writer.in_chunks_of(50), Vec::new(), 4);
        while writer.next_chunk(&frozen, &mut pieces) {
            zxid += 1;
            for effect in change(&mut store, zxid) {
                tree.install(&effect);
            }
        }
        assert!(zxid > 10 && pieces == whole, "{zxid}");
        assert_eq!(tree.node_count(), store.tree().node_count());
        let live = |tree: &Tree| (tree.node_count(), tree.data_bytes(), tree.ephemeral_count());
        let frozen = (frozen.node_count(), frozen.data_bytes(), frozen.ephemeral_count());
        assert_eq!(frozen, live(sample().tree()));
    }

    #[test]
    fn a_node_out_of_place_is_named_with_its_offset() {
        let with = |paths: &[&str]| {
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            writer.int(MAGIC);
            writer.raw(&[0; 20]);
            for path in paths {
                writer.string(path);
                writer.buffer(None);
                writer.long(-1);
                writer.raw(&[0; 60]);
            }
            writer.string("/");
            let error = read_all(&bytes).err().expect("damage");
            (error.offset, error.what)
        };
        assert_eq!(with(&["", "/a", "/a"]), (24 + 76 + 78, "node \"/a\" is there twice".into()));
        assert_eq!(with(&["", "/b/a"]), (24 + 76, "node \"/b/a\" comes before its parent".into()));
        assert_eq!(with(&["/a"]).0, 24);
        assert_eq!(with(&["", "a"]).0, 24 + 76);
        assert!(with(&[]).1.contains("no root"));
    }

    #[test]
    fn any_flipped_byte_or_cut_is_an_error_with_an_offset() {
        let whole = bytes(&sample());
        for at in 0..whole.len() {
            // The version and database id in the header are not looked at, as in ZooKeeper.
            if (4..16).contains(&at) {
                continue;
            }
            let mut flipped = whole.clone();
            flipped[at] ^= 0x40;
            assert!(read_all(&flipped).is_err(), "byte {at} flipped");
        }
        for cut in 0..whole.len() - 46 - 20 {
            assert!(read_all(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}
