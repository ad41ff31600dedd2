//! Between Apache ZooKeeper's folders and ours without a running server: `import` makes a folder of ours from Apache's
//! files, `export` writes a folder that Apache ZooKeeper starts on. The source is only read, the target must be empty.

use super::ServerOptions;
use super::apache::{Source, is_same_folder};
use super::boot::{self, Folders};
use super::snapshots::Snapshot;
use crate::ids::{SessionId, Zxid};
use crate::limits::JUTE_MAX_BUFFER;
use crate::tree::Tree;
use crate::tree::image::Compression;
use std::fs;
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
    crate::io::process::avoid_huge_pages();
    let Some(mut restored) = Source::of(options).restore()? else {
        return Err(format!(
            "{} holds no snapshot and no log of Apache ZooKeeper; name the folder that is dataDir in its zoo.cfg",
            options.data_dir.join("version-2").display()
        ));
    };
    let warnings = std::mem::take(&mut restored.warnings);
    let sessions: Vec<(SessionId, i32)> = restored.sessions.iter().map(|(id, ms)| (*id, *ms)).collect();
    let snapshot = restored.snapshot(&sessions);
    let target = if is_dry_run { None } else { Some((to.join("ringkeeper"), options)) };
    let report = report(&snapshot, restored.source(), warnings, target)?;
    if let Some(path) = &report.written
        && is_same_folder(to, &options.data_dir)
    {
        boot::write_marker(options, path.parent().expect("a file is in a folder"))?;
    }
    Ok(report)
}

/// Reads our folder below `options.data_dir` and `options.log_dir`, also while a server uses it, and writes one for
/// Apache ZooKeeper below `to`: a point in time, everything durable at the start included.
pub fn export(options: &ServerOptions, to: &Path) -> Result<Report, String> {
    crate::io::process::avoid_huge_pages();
    let folders =
        Folders { data: options.data_dir.join("ringkeeper"), log: options.log_dir.join("ringkeeper") };
    if !folders.data.is_dir() {
        return Err(format!("{} is not there: this is no data folder of Ringkeeper", folders.data.display()));
    }
    // Keeps a server from starting meanwhile; if one runs, its folder changes while it is read.
    let lock = super::lock(options);
    let tries = if lock.is_ok() { 1 } else { TRIES_MAX };
    let mut result = Err(String::new());
    for _ in 0..tries {
        result = boot::read_state(options, &folders);
        if result.is_ok() {
            break;
        }
    }
    let booted = result?;
    let state = booted.state();
    if state.last_zxid == Zxid::ZERO && !folders.log.is_dir() {
        return Err(format!("{} holds no data", folders.log.display()));
    }
    let mut warnings = Vec::new();
    if lock.is_err() {
        warnings.push("a server uses this folder; what it has written since is not in the export".into());
    }
    warnings.extend(booted.warnings.iter().cloned());
    warnings.extend(too_large_for_apache(booted.tree()));
    let digest = state.store.digest().map(|digest| (state.last_zxid, digest));
    let snapshot = Snapshot { tree: booted.tree(), sessions: &state.sessions, digest, zxid: state.last_zxid };
    report(&snapshot, booted.source(), warnings, Some((to.join("version-2"), options)))
}

/// Nodes that Apache's default jute.maxbuffer keeps from its clients, and the setting that they need.
fn too_large_for_apache(tree: &Tree) -> Option<String> {
    let large = || tree.nodes().map(|(_, node)| node).filter(|node| node.data_length() > JUTE_MAX_BUFFER);
    let largest = large().max_by_key(|node| node.data_length())?;
    let bytes = largest.data_length();
    // Beside the data a reply holds a header and a Stat, a request the path.
    let needed = (bytes + largest.path_bytes().len() + 1024).next_multiple_of(1 << 20);
    Some(format!(
        "{} node(s) hold more than the {JUTE_MAX_BUFFER} bytes of Apache ZooKeeper's default jute.maxbuffer, the largest \
         {bytes}: {}. Start Apache ZooKeeper and the clients that use them with -Djute.maxbuffer={needed}",
        large().count(),
        String::from_utf8_lossy(largest.path_bytes()),
    ))
}

/// A running server may remove or reuse a segment while it is read; then a newer snapshot is there.
const TRIES_MAX: usize = 5;

/// Writes the snapshot into a folder, if one is given, and says what it holds.
fn report(
    snapshot: &Snapshot<'_>,
    source: String,
    warnings: Vec<String>,
    target: Option<(PathBuf, &ServerOptions)>,
) -> Result<Report, String> {
    let mut written = None;
    if let Some((folder, options)) = target {
        make_empty(&folder)?;
        written = Some(snapshot.write(&folder, Compression::None, &options.image)?.0);
    }
    let tree = snapshot.tree;
    Ok(Report {
        source,
        last_zxid: snapshot.zxid,
        nodes: tree.node_count() - 1,
        bytes: tree.data_bytes(),
        acls: tree.acls().count(),
        sessions: snapshot.sessions.len(),
        ephemerals: tree.ephemeral_count(),
        warnings,
        written,
    })
}

/// Nothing that is there is ever overwritten.
fn make_empty(folder: &Path) -> Result<(), String> {
    let is_used = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        return Err(format!("{} is not empty; name a folder without data", folder.display()));
    }
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}
