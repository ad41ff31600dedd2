//! The data at a place in the order of transactions: a snapshot file as it is, or a folder's newest snapshot before
//! that place and the log after it.

use super::files::{Folder, Kind, folders_of, kind_of, unpacked};
use super::log::{open, parse_zxid};
use super::segments::{end_of, needed_after};
use crate::ids::{SessionId, Zxid};
use crate::log::apache::{files_from, follows};
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

/// What an operator gives: a snapshot, a folder or its zoo.cfg, or `FOLDER@ZXID`.
pub(super) fn of(text: &Path, log_dir: Option<&Path>) -> Result<State, String> {
    if text.exists() {
        return at(text, log_dir, None);
    }
    let whole = text.to_string_lossy();
    match whole.rsplit_once('@') {
        Some((path, zxid)) => at(Path::new(path), log_dir, Some(parse_zxid(zxid)?)),
        None => Err(format!("{whole} does not exist")),
    }
}

/// The state at a zxid, at the end of the log without one.
pub(super) fn at(path: &Path, log_dir: Option<&Path>, zxid: Option<Zxid>) -> Result<State, String> {
    if let Some(mut folders) = folders_of(path)? {
        folders.extend(log_dir.map(Path::to_path_buf));
        return in_folder(path, &Folder::read(&folders)?, zxid);
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
    let history = History::of(folder, wanted);
    let state = history.read(path, wanted.unwrap_or(Zxid(i64::MAX)))?;
    let reached = state.zxid.unwrap_or(Zxid::ZERO);
    match wanted.filter(|wanted| *wanted > reached) {
        Some(wanted) => {
            let error = format!("the log in {} ends at {reached}, before {wanted}", path.display());
            Err(history.with_choices(error, wanted))
        }
        None => Ok(State { zxid: Some(reached), ..state }),
    }
}

/// Snapshots and logs that belong together.
struct History<'a> {
    is_ours: bool,
    snapshots: &'a [(Zxid, PathBuf)],
    folder: &'a Folder,
}

impl History<'_> {
    /// Ours if there is one; for what was before it began, Apache's that it continues from.
    fn of(folder: &Folder, wanted: Option<Zxid>) -> History<'_> {
        let begin = folder.snapshots.first().map(|(zxid, _)| *zxid);
        let is_before = wanted.zip(begin).is_some_and(|(wanted, begin)| wanted < begin);
        let is_ours = folder.is_ours() && (!is_before || folder.apache_snapshots.is_empty());
        let snapshots = if is_ours { &folder.snapshots } else { &folder.apache_snapshots };
        History { is_ours, snapshots, folder }
    }

    fn read(&self, path: &Path, to: Zxid) -> Result<State, String> {
        let mut state = self.begin(path, to)?;
        let from = state.zxid.unwrap_or(Zxid::ZERO);
        for log in self.logs(from)? {
            if !replay(&log, (from, to), &mut state).map_err(|error| self.with_choices(error, to))? {
                break;
            }
        }
        Ok(state)
    }

    /// An error, and where a state can be begun with instead.
    fn with_choices(&self, error: String, to: Zxid) -> String {
        let later = self.snapshots.iter().map(|(zxid, _)| *zxid).find(|zxid| *zxid > to);
        later.map_or(error.clone(), |zxid| {
            format!("{error}. The next snapshot is of zxid {zxid}: ask for that or a later one")
        })
    }

    /// The newest usable snapshot whose content is not newer than `to`.
    fn begin(&self, path: &Path, to: Zxid) -> Result<State, String> {
        for (zxid, file) in self.snapshots.iter().rev().filter(|(zxid, _)| *zxid <= to) {
            let image = match load(file) {
                Ok(image) => image,
                Err(error) => {
                    errln!("{error}; trying the snapshot before");
                    continue;
                }
            };
            // Apache's are written while transactions go on: they hold more than their name says.
            let end = image.digest.map(|(zxid, _)| zxid).into_iter().chain(image.last_zxid).max();
            if end.is_some_and(|end| end > to) {
                continue;
            }
            let mut store = Store::from_tree(SETTINGS, image.tree);
            if !self.is_ours {
                store.recount_usage();
            }
            store.set_applied(*zxid);
            return Ok(State { store, sessions: image.sessions.into_iter().collect(), zxid: Some(*zxid) });
        }
        if self.is_ours {
            return Ok(State { store: Store::new(SETTINGS), sessions: BTreeMap::new(), zxid: None });
        }
        let error = match self.snapshots.first() {
            Some((oldest, _)) if *oldest > to => {
                format!("{} holds no state at {to}: its oldest snapshot is of zxid {oldest}", path.display())
            }
            Some(_) => format!("{} holds no usable snapshot that is not newer than {to}", path.display()),
            None => format!("{} holds no snapshot to begin with", path.display()),
        };
        Err(self.with_choices(error, to))
    }

    fn logs(&self, from: Zxid) -> Result<Vec<PathBuf>, String> {
        if self.is_ours {
            let folder = self.folder.segments.first().and_then(|(_, path)| path.parent());
            return folder.map_or(Ok(Vec::new()), |folder| needed_after(folder, from));
        }
        let logs = &self.folder.apache_logs;
        let names: Vec<Zxid> = logs.iter().map(|(zxid, _)| *zxid).collect();
        let first = names.len() - files_from(&names, Zxid(from.0.saturating_add(1))).len();
        Ok(logs[first..].iter().map(|(_, path)| path.clone()).collect())
    }
}

/// True if there may be more before `to` in the next log.
fn replay(log: &Path, (from, to): (Zxid, Zxid), state: &mut State) -> Result<bool, String> {
    let named =
        |offset: u64, what: &dyn std::fmt::Display| format!("{}, offset {offset}: {what}", log.display());
    let (reader, _) = open(log).map_err(|problem| named(problem.offset, &problem.what))?;
    let mut reader = reader.until(end_of(log));
    let mut entry = Vec::new();
    while let Some(offset) =
        reader.next(&mut entry).map_err(|problem| named(problem.offset, &problem.what))?
    {
        let (header, txn, _) = decode_entry(&entry).map_err(|error| named(offset, &error))?;
        if header.zxid <= from {
            continue;
        }
        let last = state.zxid.unwrap_or(Zxid::ZERO);
        if last >= to {
            return Ok(false);
        }
        if !follows(last, header.zxid) {
            let next = header.zxid;
            let what = format!(
                "the data before ends at zxid {last}, but here follows {next}: the log between is not there"
            );
            return Err(named(offset, &what));
        }
        if header.zxid > to {
            return Ok(false);
        }
        follow_session(&header, &txn, &mut state.sessions);
        state.store.replay(&header, &txn);
        state.zxid = Some(last.max(header.zxid));
    }
    Ok(true)
}
