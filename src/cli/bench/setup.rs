//! The nodes a run needs, made before it and deleted after it, over one blocking session. What is there already is
//! used: values are written again, surplus nodes deleted, so that a run always meets the same tree.

use super::keys;
use super::net::{Session, encode_request};
use super::workload::{Requests, Shape};
use crate::wire::records::Acl;
use crate::wire::request::encode_create;
use crate::wire::{ErrorCode, Op, Reader, Writer};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Makes the folder hold exactly the nodes that the workload needs: all or none.
pub fn prepare(address: SocketAddr, shape: &Shape) -> Result<(), String> {
    let mut session = Session::open(address, SETUP_TIMEOUT_MS)?;
    create_folders(&mut session, &shape.folder)?;
    let wanted = if shape.workload.needs_nodes() { shape.nodes } else { 0 };
    let present = children(&mut session, &shape.folder)?;
    let is_wanted = |name: &String| key_of(name).is_some_and(|key| key < wanted);
    let surplus: Vec<&String> = present.iter().filter(|name| !is_wanted(name)).collect();
    delete_all(&mut session, &shape.folder, &surplus)?;
    let mut requests = Requests::new(shape.clone(), 0, 1, 1);
    let known: BTreeSet<u64> = present.iter().filter_map(|name| key_of(name)).collect();
    session.pipeline(
        wanted,
        |key, xid, out| match known.contains(&key) {
            true => requests.encode_set(key, xid, out),
            false => requests.encode_create(key, xid, out),
        },
        |key, code, _| {
            if code == 0 { Ok(()) } else { Err(format!("preparing node {key} failed with code {code}")) }
        },
    )?;
    session.close()
}

/// Deletes the folder with all that is in it.
pub fn clean(address: SocketAddr, folder: &str) -> Result<(), String> {
    let mut session = Session::open(address, SETUP_TIMEOUT_MS)?;
    let present = children(&mut session, folder)?;
    delete_all(&mut session, folder, &present.iter().collect::<Vec<_>>())?;
    let (code, _) = session.call(Op::Delete, |out| {
        let mut writer = Writer::new(out);
        writer.string(folder);
        writer.int(-1);
    })?;
    if code != 0 {
        return Err(format!("deleting {folder} failed with code {code}"));
    }
    session.close()
}

fn create_folders(session: &mut Session, folder: &str) -> Result<(), String> {
    let ends = folder.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    for end in ends.chain([folder.len()]) {
        let path = &folder[..end];
        let (code, _) =
            session.call(Op::Create, |out| encode_create(out, path, None, &Acl::open(), 0, None))?;
        if code != 0 && code != ErrorCode::NodeExists.code() {
            return Err(format!("creating {path} failed with code {code}"));
        }
    }
    Ok(())
}

fn children(session: &mut Session, folder: &str) -> Result<Vec<String>, String> {
    let (code, body) = session.call(Op::GetChildren, |out| {
        let mut writer = Writer::new(out);
        writer.string(folder);
        writer.boolean(false);
    })?;
    if code != 0 {
        return Err(format!("listing {folder} failed with code {code}"));
    }
    let names =
        Reader::new(&body).strings("child").map_err(|error| format!("a bad list of children: {error}"))?;
    Ok(names.unwrap_or_default().into_iter().map(|name| name.into_owned()).collect())
}

fn delete_all(session: &mut Session, folder: &str, names: &[&String]) -> Result<(), String> {
    session.pipeline(
        names.len() as u64,
        |number, xid, out| {
            encode_request(out, xid, Op::Delete, |out| {
                let mut writer = Writer::new(out);
                writer.string(&format!("{folder}/{}", names[number as usize]));
                writer.int(-1);
            });
        },
        |number, code, _| match code {
            0 => Ok(()),
            // An ephemeral node of an earlier run may expire meanwhile.
            code if code == ErrorCode::NoNode.code() => Ok(()),
            code => Err(format!("deleting {folder}/{} failed with code {code}", names[number as usize])),
        },
    )
}

/// The key that a name stands for.
fn key_of(name: &str) -> Option<u64> {
    name.strip_prefix('n').filter(|digits| digits.len() == keys::DIGITS)?.parse().ok()
}

const SETUP_TIMEOUT_MS: i32 = 30_000;
