//! The nodes a run needs, made before it and deleted after it, over one blocking session. What an earlier run has left is
//! used: values are written again, surplus nodes deleted, so that a run always meets the same tree.
//!
//! Invariant: nothing is deleted that bench did not make, unless that is forced. A folder of its own says so in its data, and in
//! it only nodes with the names of keys are bench's.

use super::hosts::Hosts;
use super::keys;
use super::net::{Session, encode_request, failed};
use super::progress::Progress;
use super::workload::{Requests, Shape};
use crate::wire::records::Acl;
use crate::wire::request::encode_create;
use crate::wire::{ErrorCode, Op, Reader, Writer};
use std::collections::BTreeSet;

/// Data of a folder that bench made.
const MARKER: &[u8] = b"made by ringkeeper bench, which deletes what is in it";

/// Makes the folder hold exactly the nodes that the workload needs: all or none.
pub fn prepare(hosts: &Hosts, shape: &Shape, is_forced: bool) -> Result<(), String> {
    let mut session = Session::open(hosts, SETUP_TIMEOUT_MS)?;
    take(&mut session, &shape.folder, is_forced)?;
    let wanted = if shape.workload.needs_nodes() { shape.nodes } else { 0 };
    let present = children(&mut session, &shape.folder)?;
    check_names(&shape.folder, &present, is_forced)?;
    let is_wanted = |name: &String| key_of(name).is_some_and(|key| key < wanted);
    let surplus: Vec<&String> = present.iter().filter(|name| !is_wanted(name)).collect();
    delete_all(&mut session, &shape.folder, &surplus, is_forced)?;
    let mut requests = Requests::new(shape.clone(), 0, 1, 1);
    let known: BTreeSet<u64> = present.iter().filter_map(|name| key_of(name)).collect();
    let mut progress = Progress::of("preparing nodes");
    session.pipeline(
        wanted,
        |key, xid, out| match known.contains(&key) {
            true => requests.encode_set(key, xid, out),
            false => requests.encode_create(key, xid, out),
        },
        |key, code, _| {
            progress.at(key, wanted);
            if code == 0 { Ok(()) } else { Err(failed(&format!("preparing node {key}"), code)) }
        },
    )?;
    session.close()?;
    hosts.sync(&shape.folder, SETUP_TIMEOUT_MS)
}

/// That a folder which will be deleted after a run without `prepare` is bench's.
pub fn check(hosts: &Hosts, folder: &str, is_forced: bool) -> Result<(), String> {
    let mut session = Session::open(hosts, SETUP_TIMEOUT_MS)?;
    if !is_forced {
        check_marker(&mut session, folder)?;
        let present = children(&mut session, folder)?;
        check_names(folder, &present, is_forced)?;
    }
    session.close()
}

/// Deletes the folder with all that is in it.
pub fn clean(hosts: &Hosts, folder: &str, is_forced: bool) -> Result<(), String> {
    let mut session = Session::open(hosts, SETUP_TIMEOUT_MS)?;
    let present = children(&mut session, folder)?;
    check_names(folder, &present, is_forced)?;
    delete_all(&mut session, folder, &present.iter().collect::<Vec<_>>(), is_forced)?;
    match delete(&mut session, folder)? {
        0 => session.close(),
        code => Err(failed(&format!("deleting {folder}"), code)),
    }
}

/// Makes the folder, or takes the one that an earlier run has made.
fn take(session: &mut Session, folder: &str, is_forced: bool) -> Result<(), String> {
    let ends = folder.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    for end in ends {
        create(session, &folder[..end], None)?;
    }
    let is_new = create(session, folder, Some(MARKER))?;
    if is_new {
        return Ok(());
    }
    if !is_forced {
        return check_marker(session, folder);
    }
    let (code, _) = session.call(Op::SetData, |out| {
        let mut writer = Writer::new(out);
        writer.string(folder);
        writer.buffer(Some(MARKER));
        writer.int(-1);
    })?;
    if code == 0 { Ok(()) } else { Err(failed(&format!("taking {folder}"), code)) }
}

/// True if it was not there.
fn create(session: &mut Session, path: &str, data: Option<&[u8]>) -> Result<bool, String> {
    let (code, _) = session.call(Op::Create, |out| encode_create(out, path, data, &Acl::open(), 0, None))?;
    match code {
        0 => Ok(true),
        code if code == ErrorCode::NodeExists.code() => Ok(false),
        code => Err(failed(&format!("creating {path}"), code)),
    }
}

fn check_marker(session: &mut Session, folder: &str) -> Result<(), String> {
    let (code, body) = session.call(Op::GetData, |out| {
        let mut writer = Writer::new(out);
        writer.string(folder);
        writer.boolean(false);
    })?;
    if code != 0 {
        return Err(failed(&format!("reading {folder}"), code));
    }
    let data = Reader::new(&body).buffer().map_err(|error| format!("a bad reply: {error}"))?;
    if data == Some(MARKER) {
        return Ok(());
    }
    Err(format!(
        "{folder} is there already and bench did not make it: what is in it would be deleted. Name another --folder; --force has \
         it deleted all the same"
    ))
}

fn check_names(folder: &str, names: &[String], is_forced: bool) -> Result<(), String> {
    match names.iter().find(|name| key_of(name).is_none()) {
        Some(strange) if !is_forced => Err(format!(
            "{folder}/{strange} is not one of bench's nodes and would be deleted. Name another --folder; --force has it deleted \
             all the same"
        )),
        _ => Ok(()),
    }
}

fn children(session: &mut Session, folder: &str) -> Result<Vec<String>, String> {
    let (code, body) = session.call(Op::GetChildren, |out| {
        let mut writer = Writer::new(out);
        writer.string(folder);
        writer.boolean(false);
    })?;
    if code != 0 {
        return Err(failed(&format!("listing {folder}"), code));
    }
    let names =
        Reader::new(&body).strings("child").map_err(|error| format!("a bad list of children: {error}"))?;
    Ok(names.unwrap_or_default().into_iter().map(|name| name.into_owned()).collect())
}

fn delete_all(session: &mut Session, folder: &str, names: &[&String], is_forced: bool) -> Result<(), String> {
    let mut progress = Progress::of("deleting nodes");
    let mut parents = Vec::new();
    session.pipeline(
        names.len() as u64,
        |number, xid, out| {
            encode_request(out, xid, Op::Delete, |out| {
                let mut writer = Writer::new(out);
                writer.string(&format!("{folder}/{}", names[number as usize]));
                writer.int(-1);
            });
        },
        |number, code, _| {
            progress.at(number, names.len() as u64);
            let path = format!("{folder}/{}", names[number as usize]);
            match code {
                0 => Ok(()),
                // An ephemeral node of an earlier run may expire meanwhile.
                code if code == ErrorCode::NoNode.code() => Ok(()),
                code if code == ErrorCode::NotEmpty.code() && is_forced => {
                    parents.push(path);
                    Ok(())
                }
                code if code == ErrorCode::NotEmpty.code() => Err(format!(
                    "{path} has children, which bench did not make. Name another --folder; --force has them deleted, too"
                )),
                code => Err(failed(&format!("deleting {path}"), code)),
            }
        },
    )?;
    parents.iter().try_for_each(|path| delete_subtree(session, path))
}

/// Only by force.
fn delete_subtree(session: &mut Session, root: &str) -> Result<(), String> {
    // Parents before their children; deleted from the end.
    let mut paths = vec![root.to_string()];
    let mut at = 0;
    while at < paths.len() {
        let names = children(session, &paths[at])?;
        let below: Vec<String> = names.iter().map(|name| format!("{}/{name}", paths[at])).collect();
        paths.extend(below);
        at += 1;
    }
    for path in paths.iter().rev() {
        match delete(session, path)? {
            0 => {}
            code if code == ErrorCode::NoNode.code() => {}
            code => return Err(failed(&format!("deleting {path}"), code)),
        }
    }
    Ok(())
}

fn delete(session: &mut Session, path: &str) -> Result<i32, String> {
    let (code, _) = session.call(Op::Delete, |out| {
        let mut writer = Writer::new(out);
        writer.string(path);
        writer.int(-1);
    })?;
    Ok(code)
}

/// The key that a name stands for.
fn key_of(name: &str) -> Option<u64> {
    name.strip_prefix('n').filter(|digits| digits.len() == keys::DIGITS)?.parse().ok()
}

const SETUP_TIMEOUT_MS: i32 = 30_000;
