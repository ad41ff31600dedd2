//! What a shard answers by itself, from its own tree (`FinalRequestProcessor`, section 7 of the protocol). A read that
//! sets a watch is atomic with respect to transactions because both run on this core.

use super::ShardSettings;
use super::conn::Conn;
use super::listing::Source;
use super::lists::{CHILDREN_MIN, ChildLists, ListState};
use super::watches::{Watches, mode};
use crate::ids::Zxid;
use crate::limits;
use crate::tree::permission;
use crate::tree::{Node, Slot, Tree};
use crate::wire::codes::{EventType, perms};
use crate::wire::records::{encode_acls, encode_event};
use crate::wire::request::{MultiHeader, SetWatches, WatchedPaths};
use crate::wire::{Acl, ErrorCode, Op, Request, Stat, Writer};

/// What a read needs beside its connection.
pub struct ReadContext<'a> {
    pub tree: &'a Tree,
    pub watches: &'a mut Watches,
    pub lists: &'a mut ChildLists,
    pub settings: &'a ShardSettings,
    /// An answer that has to be put together in slices can be begun.
    pub may_list: bool,
}

/// What became of a read without an error.
pub enum Answered {
    /// Its body is in `body`.
    Whole,
    /// It is so long that it is put together in slices.
    InSlices(Box<Source>),
    /// The same, and that cannot be begun yet; nothing was done.
    NotYet,
}

/// The outcome of a read that is answered at once: the reply's error code, its body being in `body` already.
pub type ReadResult = Result<(), ErrorCode>;

/// Decodes and answers a read. Events that setWatches causes go to `events` and must precede the reply, also before an
/// error. On an error `body` is to be dropped, unless the operation is multiRead.
pub fn execute(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    op: Op,
    request: &[u8],
    body: &mut Vec<u8>,
    events: &mut Vec<u8>,
) -> Result<Answered, ErrorCode> {
    let Ok(request) = Request::decode(op, request) else { return Err(ErrorCode::MarshallingError) };
    let answered = match request {
        Request::GetData { path, watch } => data(context, conn, &path, watch, body),
        Request::Exists { path, watch } => exists(context, conn, &path, watch, body),
        Request::GetChildren { path, watch, with_stat } => {
            return children(context, conn, &path, watch, with_stat, body);
        }
        Request::GetAllChildrenNumber { path } => return descendants(context, conn, &path, body),
        Request::GetEphemerals { prefix } => return ephemerals(context, conn, prefix.as_deref(), body),
        Request::Ping => Ok(()),
        Request::GetAcl { path } => acl(context, conn, &path, body),
        Request::MultiRead { reads, is_cut } => multi_read(context, conn, &reads, is_cut, body),
        Request::SetWatches(lists) => set_watches(context, conn, &lists, events),
        Request::WhoAmI => {
            who_am_i(conn, body);
            Ok(())
        }
        other => of_watches(context, conn, &other, body),
    };
    answered.map(|()| Answered::Whole)
}

/// Requests about the connection's own watches.
fn of_watches(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    request: &Request<'_>,
    body: &mut Vec<u8>,
) -> ReadResult {
    match request {
        Request::CheckWatches { path, kind } => {
            let modes = watch_modes(*kind, true)?;
            let watched = path.as_ref().map_or(0, |path| context.watches.modes(conn.id.slot, path));
            if watched & modes == 0 { Err(ErrorCode::NoWatcher) } else { Ok(()) }
        }
        Request::RemoveWatches { path, kind } => {
            let modes = watch_modes(*kind, false)?;
            let removed = path.as_ref().map_or(0, |path| context.watches.remove(conn.id.slot, path, modes));
            if removed == 0 { Err(ErrorCode::NoWatcher) } else { Ok(()) }
        }
        Request::AddWatch { path, mode } => {
            let modes = match mode {
                0 => mode::PERSISTENT,
                1 => mode::RECURSIVE,
                _ => return Err(ErrorCode::MarshallingError),
            };
            if let Some(path) = path {
                watch(context, conn, path, modes)?;
            }
            Writer::new(body).int(0);
            Ok(())
        }
        _ => Err(ErrorCode::Unimplemented),
    }
}

fn readable<'a>(context: &ReadContext<'a>, conn: &Conn, path: &str) -> Result<(Slot, &'a Node), ErrorCode> {
    let (slot, node) = context.tree.find(path).ok_or(ErrorCode::NoNode)?;
    check(context, conn, node, perms::READ)?;
    Ok((slot, node))
}

fn check(context: &ReadContext<'_>, conn: &Conn, node: &Node, wanted: i32) -> ReadResult {
    let acl = node.acl();
    if acl == crate::ids::AclId::OPEN || context.settings.common.skip_acl {
        return Ok(());
    }
    if permission::allows(context.tree.acl(acl), wanted, &conn.identities) {
        Ok(())
    } else {
        Err(ErrorCode::NoAuth)
    }
}

fn exists(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    path: &str,
    watch: bool,
    body: &mut Vec<u8>,
) -> ReadResult {
    if path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    let found = context.tree.find(path);
    if let Some((_, node)) = found {
        check(context, conn, node, perms::READ)?;
    }
    if watch {
        self::watch(context, conn, path, mode::DATA)?;
    }
    let (slot, _) = found.ok_or(ErrorCode::NoNode)?;
    context.tree.stat(slot).encode(body);
    Ok(())
}

fn data(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    path: &str,
    watch: bool,
    body: &mut Vec<u8>,
) -> ReadResult {
    let (slot, node) = readable(context, conn, path)?;
    if watch {
        self::watch(context, conn, path, mode::DATA)?;
    }
    Writer::new(body).buffer(node.data());
    context.tree.stat(slot).encode(body);
    Ok(())
}

fn children(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    path: &str,
    watch: bool,
    with_stat: bool,
    body: &mut Vec<u8>,
) -> Result<Answered, ErrorCode> {
    let (slot, node) = readable(context, conn, path)?;
    let stat = context.tree.stat(slot);
    let is_long = stat.num_children as usize > context.settings.listing_entries_at_once
        && context.lists.find(node.path(), state_of(node, &stat)).is_none();
    if is_long && !context.may_list {
        return Ok(Answered::NotYet);
    }
    if watch {
        self::watch(context, conn, path, mode::CHILD)?;
    }
    if is_long {
        let next = context.tree.first_child(slot);
        let path = node.path().into();
        return Ok(Answered::InSlices(Box::new(Source::Children {
            parent: slot,
            next,
            path,
            stat,
            with_stat,
        })));
    }
    list_children(context, slot, &stat, &mut usize::MAX.clone(), body)?;
    if with_stat {
        stat.encode(body);
    }
    Ok(Answered::Whole)
}

fn state_of(node: &Node, stat: &Stat) -> ListState {
    ListState { czxid: node.czxid(), pzxid: Zxid(stat.pzxid) }
}

/// The names of all children. Those of a list that was not kept count against `at_most`.
fn list_children(
    context: &mut ReadContext<'_>,
    slot: Slot,
    stat: &Stat,
    at_most: &mut usize,
    body: &mut Vec<u8>,
) -> ReadResult {
    let node = context.tree.at(slot);
    let state = state_of(node, stat);
    let count = stat.num_children as usize;
    let is_kept = count >= CHILDREN_MIN;
    if let Some(list) = is_kept.then(|| context.lists.find(node.path(), state)).flatten() {
        body.extend_from_slice(list);
        return Ok(());
    }
    *at_most = at_most.checked_sub(count).ok_or(ErrorCode::MarshallingError)?;
    let start = body.len();
    Writer::new(body).int(stat.num_children);
    for (_, child) in context.tree.children(slot) {
        Writer::new(body).buffer(Some(child.name_bytes()));
        fits(context, start, body)?;
    }
    if is_kept {
        context.lists.keep(node.path(), state, &body[start..]);
    }
    Ok(())
}

fn descendants(
    context: &ReadContext<'_>,
    conn: &Conn,
    path: &str,
    body: &mut Vec<u8>,
) -> Result<Answered, ErrorCode> {
    let (slot, node) = readable(context, conn, path)?;
    let Some(count) = context.tree.descendant_count(slot, context.settings.listing_entries_at_once) else {
        if !context.may_list {
            return Ok(Answered::NotYet);
        }
        return Ok(Answered::InSlices(Box::new(Source::Descendants { path: node.path().into(), next: 0 })));
    };
    // Under its other name the root counts itself, too.
    let itself = i32::from(path.is_empty());
    Writer::new(body).int(count as i32 + itself);
    Ok(Answered::Whole)
}

fn acl(context: &ReadContext<'_>, conn: &Conn, path: &str, body: &mut Vec<u8>) -> ReadResult {
    let (slot, node) = context.tree.find(path).ok_or(ErrorCode::NoNode)?;
    check(context, conn, node, perms::READ | perms::ADMIN)?;
    let acls = context.tree.acl(node.acl());
    if check(context, conn, node, perms::ADMIN).is_ok() {
        encode_acls(body, acls);
    } else {
        let masked: Vec<Acl> = acls.iter().map(masked).collect();
        encode_acls(body, &masked);
    }
    context.tree.stat(slot).encode(body);
    Ok(())
}

/// Without ADMIN the hash in a digest id is not shown.
fn masked(acl: &Acl) -> Acl {
    let mut acl = acl.clone();
    if acl.scheme == "digest"
        && let Some(colon) = acl.id.find(':')
    {
        acl.id.truncate(colon);
        acl.id.push_str(":x");
    }
    acl
}

/// The only reply with an error and a body: the results before what cannot be answered.
fn multi_read(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    reads: &[Request<'_>],
    is_cut: bool,
    body: &mut Vec<u8>,
) -> ReadResult {
    let start = body.len();
    let results = read_all(context, conn, reads, body);
    if results.is_err() {
        body.truncate(start);
    } else if is_cut {
        return Err(ErrorCode::MarshallingError);
    }
    results
}

fn read_all(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    reads: &[Request<'_>],
    body: &mut Vec<u8>,
) -> ReadResult {
    let start = body.len();
    let mut children_max = limits::MULTI_READ_CHILDREN_MAX;
    for read in reads {
        let (op, path) = match read {
            Request::GetData { path, .. } => (Op::GetData, path),
            Request::GetChildren { path, .. } => (Op::GetChildren, path),
            _ => unreachable!("the decoder lets only reads into a multiRead"),
        };
        let header = body.len();
        MultiHeader { op: op as i32, done: false, err: 0 }.encode(body);
        let result = match op {
            Op::GetData => data(context, conn, path, false, body),
            _ => readable(context, conn, path).map(|(slot, _)| slot).and_then(|slot| {
                let stat = context.tree.stat(slot);
                list_children(context, slot, &stat, &mut children_max, body)
            }),
        };
        fits(context, start, body)?;
        match result {
            Ok(()) => {}
            // Alone it is too large already.
            Err(ErrorCode::MarshallingError) => return result,
            Err(error) => {
                body.truncate(header);
                MultiHeader { op: Op::Error as i32, done: false, err: error.code() }.encode(body);
                Writer::new(body).int(error.code());
            }
        }
    }
    MultiHeader::END.encode(body);
    fits(context, start, body)
}

/// A reply above its bound is an error; the client may ask for less.
fn fits(context: &ReadContext<'_>, start: usize, body: &[u8]) -> ReadResult {
    if body.len() - start > context.settings.reply_bytes_max {
        return Err(ErrorCode::MarshallingError);
    }
    Ok(())
}

fn ephemerals(
    context: &ReadContext<'_>,
    conn: &Conn,
    prefix: Option<&str>,
    body: &mut Vec<u8>,
) -> Result<Answered, ErrorCode> {
    let (tree, session) = (context.tree, conn.session);
    let prefix = prefix.filter(|prefix| !prefix.trim().is_empty()).unwrap_or("/");
    let at_once = context.settings.listing_entries_at_once;
    if tree.ephemeral_slots(session).nth(at_once).is_some() {
        if !context.may_list {
            return Ok(Answered::NotYet);
        }
        let slots = tree.ephemeral_slots(session).collect();
        return Ok(Answered::InSlices(Box::new(Source::Ephemerals {
            session,
            prefix: prefix.into(),
            slots,
        })));
    }
    let paths: Vec<&str> =
        tree.ephemerals(session).map(Node::path).filter(|path| path.starts_with(prefix)).collect();
    let start = body.len();
    Writer::new(body).strings(&paths);
    fits(context, start, body)?;
    Ok(Answered::Whole)
}

/// The modes a WatcherType means. Checking a persistent watch looks at the data table only; both are one mode here.
fn watch_modes(kind: i32, checking: bool) -> Result<u8, ErrorCode> {
    Ok(match kind {
        1 => mode::CHILD,
        2 => mode::DATA,
        3 if checking => mode::CHILD | mode::DATA | mode::PERSISTENT | mode::RECURSIVE,
        3 => u8::MAX,
        4 => mode::PERSISTENT,
        5 => mode::RECURSIVE,
        _ => return Err(ErrorCode::MarshallingError),
    })
}

/// The connection watches the path, too, if it may have one more watch.
fn watch(context: &mut ReadContext<'_>, conn: &Conn, path: &str, modes: u8) -> ReadResult {
    if context.watches.add(conn.id.slot, path, modes) { Ok(()) } else { Err(ErrorCode::ThrottledOp) }
}

/// List by list; a null ends it, and what stood before it is done.
fn set_watches(
    context: &mut ReadContext<'_>,
    conn: &Conn,
    lists: &SetWatches<'_>,
    events: &mut Vec<u8>,
) -> ReadResult {
    let mut tell = |event, path: &str| encode_event(events, Zxid(-1), event, path);
    for path in &lists.data.paths {
        match context.tree.node(path) {
            None => tell(EventType::NodeDeleted, path),
            Some(node) if node.head().mzxid.0 > lists.relative_zxid => tell(EventType::NodeDataChanged, path),
            Some(_) => watch(context, conn, path, mode::DATA)?,
        }
    }
    ends_without_null(&lists.data)?;
    for path in &lists.exist.paths {
        match context.tree.node(path) {
            Some(_) => tell(EventType::NodeCreated, path),
            None => watch(context, conn, path, mode::DATA)?,
        }
    }
    ends_without_null(&lists.exist)?;
    for path in &lists.child.paths {
        match context.tree.find(path) {
            None => tell(EventType::NodeDeleted, path),
            Some((slot, _)) if context.tree.child_stat(slot).pzxid.0 > lists.relative_zxid => {
                tell(EventType::NodeChildrenChanged, path)
            }
            Some(_) => watch(context, conn, path, mode::CHILD)?,
        }
    }
    ends_without_null(&lists.child)?;
    for (list, mode) in [(&lists.persistent, mode::PERSISTENT), (&lists.recursive, mode::RECURSIVE)] {
        for path in &list.paths {
            watch(context, conn, path, mode)?;
        }
        ends_without_null(list)?;
    }
    Ok(())
}

fn ends_without_null(list: &WatchedPaths<'_>) -> ReadResult {
    if list.has_null { Err(ErrorCode::MarshallingError) } else { Ok(()) }
}

fn who_am_i(conn: &Conn, body: &mut Vec<u8>) {
    Writer::new(body).int(conn.identities.len() as i32);
    for identity in conn.identities.iter() {
        let user = if identity.scheme == "digest" {
            identity.id.split(':').next().unwrap_or_default()
        } else {
            &identity.id
        };
        let mut writer = Writer::new(body);
        writer.string(&identity.scheme);
        writer.string(user);
    }
}
