//! The data at a place in the order of transactions: a snapshot file as it is, or a folder's newest snapshot before
//! that place and the log after it.

use super::files::{Folder, Kind, kind_of, unpacked};
use super::log::{open, parse_zxid};
use crate::ids::{SessionId, Zxid};
use crate::member::follow_session;
use crate::tree::image::{self, Image, ImageOptions};
use crate::tree::{OwnerRules, Store, StoreSettings, Tree};
use crate::wire::txn::decode_entry;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tree and its sessions.
pub(super) struct State {
    /// The nodes, and the digest.
    pub store: Store,
    /// With their timeouts in ms.
    pub sessions: BTreeMap<SessionId, i32>,
    /// The newest transaction in it; a snapshot file's by what it says of itself.
    pub zxid: Option<Zxid>,
}

/// Owners are read as a server with all node types does: nothing here expires or is deleted for its type.
pub(super) const SETTINGS: StoreSettings = StoreSettings {
    hash_seed: 1,
    rules: OwnerRules { extended_types: true, emulate_353: false },
    digest_enabled: true,
    enforce_quota: false,
};

/// What an operator gives: a snapshot, a folder, or `FOLDER@ZXID`.
pub(super) fn of(text: &Path) -> Result<State, String> {
    if text.exists() {
        return at(text, None);
    }
    let whole = text.to_string_lossy();
    match whole.rsplit_once('@') {
        Some((path, zxid)) => at(Path::new(path), Some(parse_zxid(zxid)?)),
        None => Err(format!("{whole} does not exist")),
    }
}

/// The state at a zxid, at the end of the log without one.
pub(super) fn at(path: &Path, zxid: Option<Zxid>) -> Result<State, String> {
    if path.is_dir() {
        return in_folder(path, &Folder::read(path)?, zxid);
    }
    if zxid.is_some() {
        return Err(format!(
            "{} is a file: only a folder with its log has states to choose from",
            path.display()
        ));
    }
    let image = load(path)?;
    let last = image.last_zxid.or(image.digest.map(|(zxid, _)| zxid));
    Ok(State {
        store: Store::from_tree(SETTINGS, image.tree),
        sessions: image.sessions.into_iter().collect(),
        zxid: last,
    })
}

fn load(path: &Path) -> Result<Image, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let Kind::Snapshot(packing) = kind_of(path).map_err(|error| named(&error))? else {
        return Err(format!("{} is no snapshot", path.display()));
    };
    let mut source = unpacked(path, packing).map_err(|error| named(&error))?;
    let empty = Tree::empty(SETTINGS.hash_seed, SETTINGS.rules);
    image::read(&mut source, empty, &ImageOptions::default()).map_err(|error| named(&error))
}

fn in_folder(path: &Path, folder: &Folder, wanted: Option<Zxid>) -> Result<State, String> {
    let to = wanted.unwrap_or(Zxid(i64::MAX));
    let snapshots = if folder.is_ours() { &folder.snapshots } else { &folder.apache_snapshots };
    let mut state = begin(path, snapshots, to, folder.is_ours())?;
    let from = state.zxid.unwrap_or(Zxid::ZERO);
    let logs = if folder.is_ours() { folder.logs() } else { apache_logs(folder, from) };
    for log in
        logs.iter().filter(|log| !folder.is_ours() || kind_of(log).is_ok_and(|kind| kind == Kind::Segment))
    {
        replay(log, (from, to), &mut state)?;
    }
    let reached = state.zxid.unwrap_or(Zxid::ZERO);
    if let Some(wanted) = wanted.filter(|wanted| *wanted > reached) {
        return Err(format!("the log in {} ends at {reached}, before {wanted}", path.display()));
    }
    state.zxid = Some(reached);
    Ok(state)
}

/// The newest usable snapshot whose content is not newer than `to`.
fn begin(path: &Path, snapshots: &[(Zxid, PathBuf)], to: Zxid, is_ours: bool) -> Result<State, String> {
    for (zxid, file) in snapshots.iter().rev().filter(|(zxid, _)| *zxid <= to) {
        let image = match load(file) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("{error}; trying the snapshot before");
                continue;
            }
        };
        // Apache's are written while transactions go on: they hold more than their name says.
        let end = image.digest.map(|(zxid, _)| zxid).into_iter().chain(image.last_zxid).max();
        if end.is_some_and(|end| end > to) {
            continue;
        }
        let mut store = Store::from_tree(SETTINGS, image.tree);
        if !is_ours {
            store.recount_usage();
        }
        store.set_applied(*zxid);
        return Ok(State { store, sessions: image.sessions.into_iter().collect(), zxid: Some(*zxid) });
    }
    if is_ours {
        return Ok(State { store: Store::new(SETTINGS), sessions: BTreeMap::new(), zxid: None });
    }
    Err(format!("{} holds no usable snapshot that is not newer than {to}", path.display()))
}

fn apache_logs(folder: &Folder, from: Zxid) -> Vec<PathBuf> {
    let names: Vec<Zxid> = folder.apache_logs.iter().map(|(zxid, _)| *zxid).collect();
    let first = names.len() - crate::log::apache::files_from(&names, Zxid(from.0.saturating_add(1))).len();
    folder.apache_logs[first..].iter().map(|(_, path)| path.clone()).collect()
}

fn replay(log: &Path, (from, to): (Zxid, Zxid), state: &mut State) -> Result<(), String> {
    let named =
        |offset: u64, what: &dyn std::fmt::Display| format!("{}, offset {offset}: {what}", log.display());
    let (mut reader, _) = open(log).map_err(|problem| named(problem.offset, &problem.what))?;
    let mut entry = Vec::new();
    while let Some(offset) =
        reader.next(&mut entry).map_err(|problem| named(problem.offset, &problem.what))?
    {
        let (header, txn, _) = decode_entry(&entry).map_err(|error| named(offset, &error))?;
        if header.zxid > to {
            return Ok(());
        }
        if header.zxid <= from {
            continue;
        }
        follow_session(&header, &txn, &mut state.sessions);
        state.store.replay(&header, &txn);
        state.zxid = Some(header.zxid);
    }
    Ok(())
}
