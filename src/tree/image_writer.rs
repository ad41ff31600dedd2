//! A tree as the bytes of a snapshot, chunk by chunk: whoever writes them decides what happens between two chunks. The
//! tree must be the same for all chunks. The format is `image`'s.

use super::chunked::Keep;
use super::image::{DB_ID, ImageOptions, MAGIC, VERSION};
use super::index::Tree;
use super::slots::{LOOK_AHEAD, Slot};
use crate::ids::{AclId, SessionId, Zxid};
use crate::wire::records::encode_acls;
use crate::wire::{Acl, Writer};
use simd_adler32::Adler32;
use std::sync::Arc;

/// Bytes of a chunk, about: enough to keep a disk busy.
pub const CHUNK_BYTES: usize = 256 << 10;

/// What is written next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Header,
    /// From this one on.
    Sessions(usize),
    /// From this one on.
    Acls(usize),
    Nodes,
    Seals,
    Done,
}

/// An image on its way. Invariant: the stages follow each other, and nothing follows `Done`.
pub struct ImageWriter {
    stage: Stage,
    sessions: Vec<(SessionId, i32)>,
    acls: Vec<(AclId, Arc<[Acl]>)>,
    digest: Option<(Zxid, u64)>,
    last_zxid: Zxid,
    options: ImageOptions,
    /// As it goes over the wire to a learner: no header, no seals.
    is_body: bool,
    chunk_bytes: usize,
    /// Of everything so far.
    adler: Adler32,
    /// Nodes to come, the next one last; their children are not among them yet.
    stack: Vec<Slot>,
    /// Nodes to come whose records were fetched into the cache.
    ahead: usize,
}

impl ImageWriter {
    /// A whole snapshot.
    pub fn new<K: Keep>(
        tree: &Tree<K>,
        sessions: Vec<(SessionId, i32)>,
        digest: Option<(Zxid, u64)>,
        last_zxid: Zxid,
        options: ImageOptions,
    ) -> ImageWriter {
        let mut acls: Vec<(AclId, Arc<[Acl]>)> = tree.acls().map(|(id, acl)| (id, Arc::clone(acl))).collect();
        acls.sort_unstable_by_key(|(id, _)| *id);
        ImageWriter {
            stage: Stage::Header,
            sessions,
            acls,
            digest,
            last_zxid,
            options,
            is_body: false,
            chunk_bytes: CHUNK_BYTES,
            adler: Adler32::new(),
            stack: tree.root().into_iter().collect(),
            ahead: 0,
        }
    }

    /// The body alone.
    pub fn body<K: Keep>(tree: &Tree<K>, sessions: Vec<(SessionId, i32)>) -> ImageWriter {
        let whole = ImageWriter::new(tree, sessions, None, Zxid::ZERO, ImageOptions::default());
        ImageWriter { is_body: true, stage: Stage::Sessions(0), ..whole }
    }

    /// In chunks of about so many bytes.
    pub fn in_chunks_of(self, chunk_bytes: usize) -> ImageWriter {
        assert!(chunk_bytes > 0, "a chunk has something in it");
        ImageWriter { chunk_bytes, ..self }
    }

    /// Appends the next chunk to `out`. True: another one follows.
    pub fn next_chunk<K: Keep>(&mut self, tree: &Tree<K>, out: &mut Vec<u8>) -> bool {
        assert!(self.stage != Stage::Done, "nothing follows the last chunk");
        let start = out.len();
        let mut summed = start;
        while self.stage != Stage::Done && out.len() - start < self.chunk_bytes {
            self.stage = match self.stage {
                Stage::Header => self.put_header(out),
                Stage::Sessions(at) => self.put_session(at, out),
                Stage::Acls(at) => self.put_acl(at, out),
                Stage::Nodes => self.put_node(tree, out),
                Stage::Seals => self.put_seals(&mut summed, out),
                Stage::Done => Stage::Done,
            };
        }
        self.adler.write(&out[summed..]);
        self.stage != Stage::Done
    }

    fn put_header(&self, out: &mut Vec<u8>) -> Stage {
        let mut writer = Writer::new(out);
        writer.int(MAGIC);
        writer.int(VERSION);
        writer.long(DB_ID);
        Stage::Sessions(0)
    }

    fn put_session(&self, at: usize, out: &mut Vec<u8>) -> Stage {
        let mut writer = Writer::new(out);
        if at == 0 {
            writer.int(self.sessions.len() as i32);
        }
        let Some((session, timeout_ms)) = self.sessions.get(at) else { return Stage::Acls(0) };
        writer.long(session.0);
        writer.int(*timeout_ms);
        if at + 1 < self.sessions.len() { Stage::Sessions(at + 1) } else { Stage::Acls(0) }
    }

    fn put_acl(&self, at: usize, out: &mut Vec<u8>) -> Stage {
        let mut writer = Writer::new(out);
        if at == 0 {
            writer.int(self.acls.len() as i32);
        }
        let Some((id, acl)) = self.acls.get(at) else { return Stage::Nodes };
        writer.long(id.0 as i64);
        encode_acls(out, acl);
        if at + 1 < self.acls.len() { Stage::Acls(at + 1) } else { Stage::Nodes }
    }

    fn put_node<K: Keep>(&mut self, tree: &Tree<K>, out: &mut Vec<u8>) -> Stage {
        let Some(slot) = self.stack.pop() else {
            Writer::new(out).string("/");
            return if self.is_body { Stage::Done } else { Stage::Seals };
        };
        if self.ahead == 0 {
            self.ahead = LOOK_AHEAD;
            tree.look_ahead_at(self.stack.iter().rev().take(LOOK_AHEAD).copied());
        }
        self.ahead -= 1;
        write_node(tree, slot, out);
        self.stack.extend(tree.children(slot).map(|(child, _)| child));
        Stage::Nodes
    }

    fn put_seals(&mut self, summed: &mut usize, out: &mut Vec<u8>) -> Stage {
        self.put_seal(summed, out);
        if let Some((zxid, digest)) = self.digest {
            let mut writer = Writer::new(out);
            writer.long(zxid.0);
            writer.int(super::digest::DIGEST_VERSION);
            writer.long(digest as i64);
            self.put_seal(summed, out);
            if self.options.last_zxid_section {
                Writer::new(out).long(self.last_zxid.0);
                self.put_seal(summed, out);
            }
        }
        Stage::Done
    }

    fn put_seal(&mut self, summed: &mut usize, out: &mut Vec<u8>) {
        self.adler.write(&out[*summed..]);
        *summed = out.len();
        let mut writer = Writer::new(out);
        writer.long(self.adler.finish() as i64);
        writer.string("/");
    }
}

fn write_node<K: Keep>(tree: &Tree<K>, slot: Slot, out: &mut Vec<u8>) {
    let (node, children) = (tree.at(slot), tree.child_stat(slot));
    let head = node.head();
    let path = if node.path_bytes() == b"/" { "" } else { node.path() };
    let mut writer = Writer::new(out);
    writer.string(path);
    writer.buffer(node.data());
    writer.long(if head.acl == AclId::OPEN { -1 } else { head.acl.0 as i64 });
    for value in [head.czxid.0, head.mzxid.0, head.ctime, head.mtime] {
        writer.long(value);
    }
    for value in [head.version, children.cversion, head.aversion] {
        writer.int(value);
    }
    writer.long(head.owner);
    writer.long(children.pzxid.0);
}
