//! The requests of [`Client`], one function each: encoding, decoding, chroot, and what is checked before a server is
//! asked. Errors name the path as the caller gave it.

use super::watches::Intent;
use super::{Answer, Client, ClientError, WatchKind, path};
use crate::wire::codes::flags;
use crate::wire::jute::DecodeError;
use crate::wire::records::{decode_acls, encode_acls};
use crate::wire::request::{MultiHeader, encode_create};
use crate::wire::{Acl, ErrorCode, Identity, Op, Reader, Stat, Writer};
use std::time::Duration;

/// What kind of node to create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Persistent,
    Ephemeral,
    Container,
    Ttl(i64),
}

/// A node to create.
#[derive(Clone, Copy, Debug)]
pub struct Create<'a> {
    pub path: &'a str,
    pub data: Option<&'a [u8]>,
    pub acl: &'a [Acl],
    pub kind: Kind,
    pub is_sequential: bool,
}

type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    /// Returns the path it got.
    pub fn create(&self, create: &Create<'_>) -> Result<String> {
        let checked = if create.is_sequential { format!("{}1", create.path) } else { create.path.into() };
        check(&checked)?;
        check_acl(create.acl)?;
        let (op, flags, ttl_ms) = match (create.kind, create.is_sequential) {
            (Kind::Persistent, false) => (Op::Create, flags::PERSISTENT, None),
            (Kind::Persistent, true) => (Op::Create, flags::PERSISTENT_SEQUENTIAL, None),
            (Kind::Ephemeral, false) => (Op::Create, flags::EPHEMERAL, None),
            (Kind::Ephemeral, true) => (Op::Create, flags::EPHEMERAL_SEQUENTIAL, None),
            (Kind::Container, _) => (Op::CreateContainer, flags::CONTAINER, None),
            (Kind::Ttl(ttl_ms), false) => (Op::CreateTtl, flags::TTL, Some(ttl_ms)),
            (Kind::Ttl(ttl_ms), true) => (Op::CreateTtl, flags::TTL_SEQUENTIAL, Some(ttl_ms)),
        };
        let mut body = Vec::new();
        encode_create(&mut body, &self.with_chroot(create.path), create.data, create.acl, flags, ttl_ms);
        let answer = self.call(op, &body, None, None).map_err(|error| error.about(create.path))?;
        let path = answer.read(|reader| reader.string("path").map(String::from))?;
        Ok(self.without_chroot(&path))
    }

    /// A version of -1 fits every version, here and below.
    pub fn delete(&self, path: &str, version: i32) -> Result<()> {
        self.ask(Op::Delete, path, None, |writer| writer.int(version)).map(|_| ())
    }

    /// None: there is no such node.
    pub fn exists(&self, path: &str, watch: bool) -> Result<Option<Stat>> {
        let intent = watch.then(|| Intent::Exists(self.with_chroot(path)));
        match self.ask(Op::Exists, path, intent, |writer| writer.boolean(watch)) {
            Ok(answer) => answer.read(Stat::decode).map(Some),
            Err(error) if error.is(ErrorCode::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Data may be null.
    pub fn data(&self, path: &str, watch: bool) -> Result<(Option<Vec<u8>>, Stat)> {
        let intent = watch.then(|| Intent::Data(self.with_chroot(path)));
        let answer = self.ask(Op::GetData, path, intent, |writer| writer.boolean(watch))?;
        answer.read(|reader| Ok((reader.buffer()?.map(<[u8]>::to_vec), Stat::decode(reader)?)))
    }

    pub fn set_data(&self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Stat> {
        let rest = |writer: &mut Writer<'_>| {
            writer.buffer(data);
            writer.int(version);
        };
        self.ask(Op::SetData, path, None, rest)?.read(Stat::decode)
    }

    /// Names in the server's order.
    pub fn children(&self, path: &str, watch: bool) -> Result<(Vec<String>, Stat)> {
        let intent = watch.then(|| Intent::Children(self.with_chroot(path)));
        let answer = self.ask(Op::GetChildren2, path, intent, |writer| writer.boolean(watch))?;
        answer.read(|reader| Ok((strings(reader)?, Stat::decode(reader)?)))
    }

    /// The same without a watch, given up after a while.
    pub fn children_within(&self, path: &str, limit: Duration) -> Result<Vec<String>> {
        check(path)?;
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.string(&self.with_chroot(path));
        writer.boolean(false);
        self.call(Op::GetChildren, &body, None, Some(limit))?.read(strings)
    }

    pub fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        let answer = self.ask(Op::GetAcl, path, None, |_| {})?;
        answer.read(|reader| Ok((decode_acls(reader)?, Stat::decode(reader)?)))
    }

    pub fn set_acl(&self, path: &str, acl: &[Acl], version: i32) -> Result<Stat> {
        check(path)?;
        check_acl(acl)?;
        let mut body = Vec::new();
        Writer::new(&mut body).string(&self.with_chroot(path));
        encode_acls(&mut body, acl);
        Writer::new(&mut body).int(version);
        self.call(Op::SetAcl, &body, None, None).map_err(|error| error.about(path))?.read(Stat::decode)
    }

    pub fn sync(&self, path: &str) -> Result<()> {
        self.ask(Op::Sync, path, None, |_| {}).map(|_| ())
    }

    /// The ensemble's configuration, whatever the chroot.
    pub fn config(&self, watch: bool) -> Result<(Option<Vec<u8>>, Stat)> {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.string(CONFIG);
        writer.boolean(watch);
        let intent = watch.then(|| Intent::Data(CONFIG.into()));
        let answer = self.call(Op::GetData, &body, intent, None).map_err(|error| error.about(CONFIG))?;
        answer.read(|reader| Ok((reader.buffer()?.map(<[u8]>::to_vec), Stat::decode(reader)?)))
    }

    /// Returns the configuration that counts now.
    pub fn reconfig(
        &self,
        joining: Option<&str>,
        leaving: Option<&str>,
        members: Option<&str>,
        from_version: i64,
    ) -> Result<(Option<Vec<u8>>, Stat)> {
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        [joining, leaving, members].into_iter().for_each(|list| writer.ustring(list));
        writer.long(from_version);
        let answer = self.call(Op::Reconfig, &body, None, None)?;
        answer.read(|reader| Ok((reader.buffer()?.map(<[u8]>::to_vec), Stat::decode(reader)?)))
    }

    /// Adds a watch that stays.
    pub fn add_watch(&self, path: &str, is_recursive: bool) -> Result<()> {
        let watched = self.with_chroot(path);
        let intent = if is_recursive { Intent::Recursive(watched) } else { Intent::Persistent(watched) };
        self.ask(Op::AddWatch, path, Some(intent), |writer| writer.int(is_recursive as i32)).map(|_| ())
    }

    /// `is_local` forgets them here even if the server refuses.
    pub fn remove_watches(&self, path: &str, kind: WatchKind, is_local: bool) -> Result<()> {
        let intent = Intent::Remove { path: self.with_chroot(path), kind, is_local };
        self.ask(Op::RemoveWatches, path, Some(intent), |writer| writer.int(kind as i32)).map(|_| ())
    }

    /// Of this session. As in ZooKeeper's client, the chroot counts neither for the prefix nor for the answer.
    pub fn ephemerals(&self, prefix: &str) -> Result<Vec<String>> {
        check(prefix)?;
        let mut body = Vec::new();
        Writer::new(&mut body).string(prefix);
        self.call(Op::GetEphemerals, &body, None, None)?.read(strings)
    }

    /// How many nodes are below.
    pub fn all_children_number(&self, path: &str) -> Result<i32> {
        self.ask(Op::GetAllChildrenNumber, path, None, |_| {})?.read(|reader| reader.int())
    }

    /// The identities this connection has proved.
    pub fn who_am_i(&self) -> Result<Vec<Identity>> {
        let answer = self.call(Op::WhoAmI, &[], None, None)?;
        answer.read(|reader| {
            let count = reader.count()?.unwrap_or(0);
            let mut identities = Vec::new();
            for _ in 0..count {
                let scheme = reader.ustring()?.unwrap_or_default().into_owned();
                identities.push(Identity { scheme, id: reader.ustring()?.unwrap_or_default().into_owned() });
            }
            Ok(identities)
        })
    }

    /// Deletes these in this order, all or none.
    pub fn delete_together(&self, paths: &[String]) -> Result<()> {
        let mut body = Vec::new();
        for path in paths {
            MultiHeader { op: Op::Delete as i32, done: false, err: -1 }.encode(&mut body);
            let mut writer = Writer::new(&mut body);
            writer.string(&self.with_chroot(path));
            writer.int(-1);
        }
        MultiHeader::END.encode(&mut body);
        let answer = self.call(Op::Multi, &body, None, None)?;
        // A multi that failed is answered with one result per operation; those that are not to blame have code 0 or -2.
        let is_to_blame = |code: &i32| !matches!(*code, 0 | -2);
        match answer.read(multi_errors)?.into_iter().find(is_to_blame) {
            Some(code) => Err(ClientError::code(code)),
            None => Ok(()),
        }
    }

    fn ask(
        &self,
        op: Op,
        path: &str,
        watch: Option<Intent>,
        rest: impl FnOnce(&mut Writer<'_>),
    ) -> Result<Answer> {
        check(path)?;
        let mut body = Vec::new();
        let mut writer = Writer::new(&mut body);
        writer.string(&self.with_chroot(path));
        rest(&mut writer);
        self.call(op, &body, watch, None).map_err(|error| error.about(path))
    }
}

impl Answer {
    fn read<T>(
        &self,
        read: impl FnOnce(&mut Reader<'_>) -> std::result::Result<T, DecodeError>,
    ) -> Result<T> {
        read(&mut Reader::new(&self.body)).map_err(|error| ClientError::Malformed(error.to_string()))
    }
}

const CONFIG: &str = "/zookeeper/config";

fn check(path: &str) -> Result<()> {
    path::validate(path).map_err(ClientError::BadPath)
}

/// ZooKeeper's client does not even send an empty list.
fn check_acl(acl: &[Acl]) -> Result<()> {
    if acl.is_empty() { Err(ClientError::code(ErrorCode::InvalidAcl.code())) } else { Ok(()) }
}

/// The codes of the failed operations.
fn multi_errors(reader: &mut Reader<'_>) -> std::result::Result<Vec<i32>, DecodeError> {
    let mut codes = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(codes);
        }
        if header.op == Op::Error as i32 {
            codes.push(reader.int()?);
        }
    }
}

fn strings(reader: &mut Reader<'_>) -> std::result::Result<Vec<String>, DecodeError> {
    let strings = reader.strings("name")?.unwrap_or_default();
    Ok(strings.into_iter().map(std::borrow::Cow::into_owned).collect())
}
