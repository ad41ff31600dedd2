//! From the files to the state the server starts with: the newest usable snapshot, then the log after it.

use super::ServerOptions;
use super::apache::Source;
use super::snapshots::{self, Files};
use crate::ids::{FrameSeq, SegmentId, SessionId, Zxid};
use crate::io::disk::AtomicFile;
use crate::log::{LogStart, Recovered, SegmentSource, recover};
use crate::member::{RecoveredState, Restorer};
use crate::tree::image::Compression;
use crate::tree::{Store, StoreSettings, Tree};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where our files are.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Snapshots: `<dataDir>/ringkeeper`.
    pub data: PathBuf,
    /// Segments: `<dataLogDir>/ringkeeper`.
    pub log: PathBuf,
}

impl Folders {
    /// Creates what is missing.
    pub fn prepare(options: &ServerOptions) -> Result<Folders, String> {
        let folders =
            Folders { data: options.data_dir.join("ringkeeper"), log: options.log_dir.join("ringkeeper") };
        for folder in [&folders.data, &folders.log] {
            fs::create_dir_all(folder)
                .map_err(|error| format!("cannot create the folder {}: {error}", folder.display()))?;
        }
        Ok(folders)
    }
}

/// The name of a segment file.
pub fn segment_name(segment: SegmentId) -> String {
    format!("segment.{:016x}", segment.0)
}

/// A state with the files it came from.
pub struct Booted {
    state: RecoveredState,
    snapshot: Option<(Zxid, PathBuf)>,
    log_folder: PathBuf,
    txns: u64,
    /// Transactions that carry another digest than the tree had after them.
    pub mismatches: u64,
}

impl Booted {
    /// The recovered data.
    pub fn tree(&self) -> &Tree {
        self.state.store.tree()
    }

    /// All of it.
    pub fn state(&self) -> &RecoveredState {
        &self.state
    }

    /// For the member.
    pub fn into_recovered(self) -> RecoveredState {
        self.state
    }

    /// The files it comes from.
    pub fn source(&self) -> String {
        let (txns, folder) = (self.txns, self.log_folder.display());
        match &self.snapshot {
            Some((_, path)) => format!("{} and {txns} transaction(s) of the log", path.display()),
            None => format!("{txns} transaction(s) of the log in {folder}"),
        }
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let snapshot = match &self.snapshot {
            Some((zxid, _)) => format!("snapshot {zxid}"),
            None => "no snapshot".into(),
        };
        format!(
            "{snapshot} and {} transaction(s) of the log: last zxid {}, {} nodes, {} session(s)",
            self.txns,
            self.state.last_zxid,
            self.tree().node_count() - 1,
            self.state.sessions.len()
        )
    }
}

/// Reads the newest state from the files, also of a running server; changes nothing.
pub(super) fn read_state(options: &ServerOptions, folders: &Folders) -> Result<Booted, String> {
    let restored = Restored::from(options, folders)?;
    // The log is not gone on with.
    let log_id = restored.recovered.log_id.unwrap_or_default();
    Ok(restored.finish(options, folders, log_id))
}

/// Recovers, or begins an empty server.
pub fn boot(options: &ServerOptions, folders: &Folders) -> Result<Booted, String> {
    take_over(options, folders)?;
    let restored = Restored::from(options, folders)?;
    if let Some(discarded) = &restored.recovered.discarded {
        tracing::warn!("{discarded}");
    }
    forget_unused(&restored.recovered, folders)?;
    let log_id = match restored.recovered.log_id {
        Some(log_id) => log_id,
        None => random_id().map_err(|error| format!("cannot read /dev/urandom: {error}"))?,
    };
    let booted = restored.finish(options, folders, log_id);
    if booted.mismatches > 0 {
        tracing::error!(
            "{} transaction(s) of the log carry another digest than the tree had after them",
            booted.mismatches
        );
    }
    Ok(booted)
}

/// The newest snapshot that reads well, and the log after it.
struct Restored {
    snapshots: Files,
    snapshot: Option<Zxid>,
    restorer: Restorer,
    recovered: Recovered,
}

impl Restored {
    fn from(options: &ServerOptions, folders: &Folders) -> Result<Restored, String> {
        let snapshots = find_snapshots(folders)?;
        let (snapshot, store, sessions) = load_newest(options, &snapshots);
        let mut restorer = Restorer::new(store, sessions);
        let mut source = Segments { folder: folders.log.clone(), open: None };
        let begin = snapshot.unwrap_or(Zxid::ZERO);
        let recovered = recover(&mut source, begin, &mut |entry| restorer.replay(entry));
        let recovered = recovered.map_err(|error| error.to_string())?;
        check_reached(&snapshots, recovered.last_zxid)?;
        Ok(Restored { snapshots, snapshot, restorer, recovered })
    }

    fn finish(self, options: &ServerOptions, folders: &Folders, log_id: u128) -> Booted {
        let Restored { mut snapshots, snapshot, restorer, recovered } = self;
        let log = LogStart {
            log_id,
            segment: recovered.next_segment,
            frame: recovered.next_frame.max(FrameSeq(1)),
            last_zxid: recovered.last_zxid,
            segment_bytes: options.segment_bytes,
        };
        let zxids = snapshots.keys().copied().collect();
        let (txns, mismatches) = (recovered.txns, restorer.mismatches());
        Booted {
            state: restorer.finish(recovered, log, zxids),
            snapshot: snapshot.and_then(|zxid| snapshots.remove_entry(&zxid)),
            log_folder: folders.log.clone(),
            txns,
            mismatches,
        }
    }
}

/// A snapshot that cannot be used still says how far the data once went: starting with less would lose it in silence.
fn check_reached(snapshots: &Files, last: Zxid) -> Result<(), String> {
    let lost = snapshots.iter().next_back().filter(|(zxid, _)| **zxid > last);
    lost.map_or(Ok(()), |(_, path)| {
        Err(format!(
            "{} cannot be used, and what can be read of the older snapshots and the log ends at zxid {last}, before it. \
             Restore the file from a backup, or the whole data folder from another copy; if losing what came after \
             {last} is acceptable, move the file away and start again",
            path.display()
        ))
    })
}

fn find_snapshots(folders: &Folders) -> Result<Files, String> {
    snapshots::find(&folders.data, "snapshot")
        .map_err(|error| format!("cannot read the folder {}: {error}", folders.data.display()))
}

pub(super) fn store_settings(options: &ServerOptions) -> StoreSettings {
    StoreSettings {
        hash_seed: options.shard.hash_seed,
        rules: options.shard.rules,
        digest_enabled: options.member.digest_enabled,
        enforce_quota: options.member.enforce_quota,
    }
}

/// A folder that holds only Apache's files is taken over: their state becomes our first snapshot, and a marker says which
/// files it came from. Apache's files stay as they are. If they change later, the start is refused: two histories are
/// never merged.
fn take_over(options: &ServerOptions, folders: &Folders) -> Result<(), String> {
    let is_ours = !find_snapshots(folders)?.is_empty()
        || fs::read_dir(&folders.log).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("segment."))
        });
    if is_ours {
        let marker = folders.data.join(MARKER);
        let known = fs::read_to_string(&marker).unwrap_or_default();
        if known == foreign_files(options) {
            return Ok(());
        }
        return Err(format!(
            "{} holds files of Apache ZooKeeper that are not those this server continues from ({} lists them). Two \
             histories cannot be merged: move away either the folder version-2 or the folder ringkeeper, whichever is \
             the older one, and start again",
            options.data_dir.join("version-2").display(),
            marker.display()
        ));
    }
    let Some(restored) = Source::of(options).restore()? else { return Ok(()) };
    for warning in &restored.warnings {
        tracing::warn!("{warning}");
    }
    write_marker(options, &folders.data)?;
    let sessions: Vec<(SessionId, i32)> = restored.sessions.iter().map(|(id, ms)| (*id, *ms)).collect();
    restored.snapshot(&sessions).write(&folders.data, Compression::None, &options.image)?;
    tracing::info!(
        "took over the data of Apache ZooKeeper: {}, last zxid {}, {} nodes, {} session(s)",
        restored.source(),
        restored.last_zxid,
        restored.store.tree().node_count() - 1,
        sessions.len()
    );
    Ok(())
}

/// Says in our folder which files of Apache's beside it the data comes from.
pub(super) fn write_marker(options: &ServerOptions, folder: &Path) -> Result<(), String> {
    let path = folder.join(MARKER);
    let write = || -> io::Result<()> {
        let mut file = AtomicFile::create(&path)?;
        file.write_all(foreign_files(options).as_bytes())?;
        file.finish().map(drop)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
}

const MARKER: &str = "taken-over";

/// Name and length of each of Apache's snapshots and logs, one per line.
fn foreign_files(options: &ServerOptions) -> String {
    let mut lines = std::collections::BTreeSet::new();
    for folder in [&options.data_dir, &options.log_dir] {
        for entry in fs::read_dir(folder.join("version-2")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("snapshot.") || name.starts_with("log.") {
                let length = entry.metadata().map_or(0, |metadata| metadata.len());
                lines.insert(format!("{name} {length}\n"));
            }
        }
    }
    lines.into_iter().collect()
}

type Loaded = (Option<Zxid>, Store, BTreeMap<SessionId, i32>);

/// The newest snapshot that reads well; a bad one is named and the one before is tried.
fn load_newest(options: &ServerOptions, found: &Files) -> Loaded {
    let settings = store_settings(options);
    for (zxid, path) in found.iter().rev() {
        match snapshots::read(path, &settings, &options.image) {
            Ok(image) => {
                let mut store = Store::from_tree(settings, image.tree);
                store.set_applied(*zxid);
                if let (Some((at, digest)), Some(ours)) = (image.digest, store.digest())
                    && at == *zxid
                    && digest != ours
                {
                    tracing::error!(
                        "{}: the digest in it is {digest:x}, but its tree has {ours:x}",
                        path.display()
                    );
                }
                return (Some(*zxid), store, image.sessions.into_iter().collect());
            }
            Err(error) => {
                tracing::error!("{} cannot be used ({error}); trying the one before", path.display())
            }
        }
    }
    (None, Store::new(settings), BTreeMap::new())
}

/// Segments that hold nothing go before anything new is written, so that no later start takes them for a part of the
/// log.
fn forget_unused(recovered: &Recovered, folders: &Folders) -> Result<(), String> {
    for segment in &recovered.unused {
        let path = folders.log.join(segment_name(*segment));
        fs::remove_file(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
    }
    for entry in fs::read_dir(&folders.log).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("segment.") && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
    crate::io::disk::sync_folder(&folders.log)
        .map_err(|error| format!("cannot sync {}: {error}", folders.log.display()))
}

fn random_id() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Segments as files.
struct Segments {
    folder: PathBuf,
    open: Option<(SegmentId, File)>,
}

impl Segments {
    fn file(&mut self, segment: SegmentId) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.open = Some((segment, File::open(self.folder.join(segment_name(segment)))?));
        }
        Ok(&self.open.as_ref().expect("just opened").1)
    }
}

impl SegmentSource for Segments {
    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(hex) = name.strip_prefix("segment.")
                && let Ok(id) = u64::from_str_radix(hex, 16)
            {
                found.push(SegmentId(id));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn length(&self, segment: SegmentId) -> io::Result<u64> {
        Ok(fs::metadata(self.folder.join(segment_name(segment)))?.len())
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file(segment)?.read_exact_at(into, offset)
    }

    fn name(&self, segment: SegmentId) -> String {
        self.folder.join(segment_name(segment)).display().to_string()
    }
}
