//! Between Apache ZooKeeper's folders and ours without a running server: `import` makes a folder of ours from Apache's
//! files, `export` writes a folder that Apache ZooKeeper starts on. The source is only read, the target must be empty.

use super::apache::{self, Restored};
use super::boot::{self, Folders};
use super::{FolderLock, ServerOptions};
use crate::ids::{SessionId, Zxid};
use crate::io::disk::AtomicFile;
use crate::tree::{Tree, image};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was converted.
#[derive(Debug)]
pub struct Report {
    /// What it began with and what followed.
    pub source: String,
    /// The newest transaction.
    pub last_zxid: Zxid,
    pub nodes: u64,
    /// Bytes of paths and data.
    pub bytes: u64,
    pub acls: usize,
    pub sessions: usize,
    pub ephemerals: u64,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What was written; None in a dry run.
    pub written: Option<PathBuf>,
}

/// Reads Apache's files below `options.data_dir` and `options.log_dir` and writes our folder below `to`.
pub fn import(options: &ServerOptions, to: &Path, is_dry_run: bool) -> Result<Report, String> {
    let settings = boot::store_settings(options);
    let restored = apache::restore(&options.data_dir, &options.log_dir, settings, &options.image)?;
    let Some(restored) = restored else {
        return Err(format!(
            "{} holds no snapshot and no log of Apache ZooKeeper; name the folder that is dataDir in its zoo.cfg",
            options.data_dir.join("version-2").display()
        ));
    };
    let Restored { store, sessions, last_zxid, snapshot, txns, warnings } = restored;
    let sessions: Vec<(SessionId, i32)> = sessions.into_iter().collect();
    let source = format!("{} and {txns} transaction(s) of its logs", snapshot.display());
    let mut report = report(store.tree(), &sessions, last_zxid, source, warnings);
    if !is_dry_run {
        let folder = to.join("ringkeeper");
        make_empty(&folder)?;
        let path = folder.join(format!("snapshot.{last_zxid:x}"));
        let digest = store.digest().map(|digest| (last_zxid, digest));
        write(store.tree(), &sessions, digest, last_zxid, options, &path)?;
        report.written = Some(path);
    }
    Ok(report)
}

/// Reads our folder below `options.data_dir` and `options.log_dir`, also while a server uses it, and writes one for
/// Apache ZooKeeper below `to`: a point in time, everything durable at the start included.
pub fn export(options: &ServerOptions, to: &Path) -> Result<Report, String> {
    let folders =
        Folders { data: options.data_dir.join("ringkeeper"), log: options.log_dir.join("ringkeeper") };
    if !folders.data.is_dir() {
        return Err(format!("{} is not there: this is no data folder of Ringkeeper", folders.data.display()));
    }
    // Keeps a server from starting meanwhile; if one runs, its folder changes while it is read.
    let lock = FolderLock::take(&options.log_dir);
    let tries = if lock.is_ok() { 1 } else { TRIES_MAX };
    let mut result = Err(String::new());
    for _ in 0..tries {
        result = boot::read_state(options, &folders);
        if result.is_ok() {
            break;
        }
    }
    let state = result?;
    let (store, last_zxid) = (&state.recovered.store, state.recovered.last_zxid);
    if last_zxid == Zxid::ZERO && !folders.log.is_dir() {
        return Err(format!("{} holds no data", folders.log.display()));
    }
    let folder = to.join("version-2");
    make_empty(&folder)?;
    let path = folder.join(format!("snapshot.{last_zxid:x}"));
    let digest = store.digest().map(|digest| (last_zxid, digest));
    write(store.tree(), &state.recovered.sessions, digest, last_zxid, options, &path)?;
    let mut warnings = Vec::new();
    if lock.is_err() {
        warnings.push("a server uses this folder; what it has written since is not in the export".into());
    }
    let mut report = report(store.tree(), &state.recovered.sessions, last_zxid, state.source, warnings);
    report.written = Some(path);
    Ok(report)
}

/// A running server may remove or reuse a segment while it is read; then a newer snapshot is there.
const TRIES_MAX: usize = 5;

fn report(
    tree: &Tree,
    sessions: &[(SessionId, i32)],
    last_zxid: Zxid,
    source: String,
    warnings: Vec<String>,
) -> Report {
    Report {
        source,
        last_zxid,
        nodes: tree.node_count() - 1,
        bytes: tree.data_bytes(),
        acls: tree.acls().count(),
        sessions: sessions.len(),
        ephemerals: tree.ephemeral_count(),
        warnings,
        written: None,
    }
}

/// Nothing that is there is ever overwritten.
fn make_empty(folder: &Path) -> Result<(), String> {
    let is_used = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        return Err(format!("{} is not empty; name a folder without data", folder.display()));
    }
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

fn write(
    tree: &Tree,
    sessions: &[(SessionId, i32)],
    digest: Option<(Zxid, u64)>,
    last_zxid: Zxid,
    options: &ServerOptions,
    path: &Path,
) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let mut file = AtomicFile::create(path)?;
        image::write(tree, sessions, digest, last_zxid, &options.image, &mut file)?;
        file.flush()?;
        file.finish().map(drop)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}
