//! From the files to the state the server starts with. What is read and whether it may be served is decided by
//! `member::restore`; here are the files, and what the operator sees of it.

use super::ServerOptions;
use super::apache::Source;
use super::snapshots::{self, Files};
use crate::ids::{SegmentId, SessionId};
use crate::io::disk::{AtomicFile, sync_folder};
use crate::log::SegmentSource;
use crate::log::apache::zxid_in_name;
use crate::log::files::{LogFile, log_file, spare_name, sweep};
use crate::member::{OnMismatch, Progress, RecoveredState, RestoreSource, Restored, SnapshotFile, restore};
use crate::tree::image::{Compression, Image, ImageOptions};
use crate::tree::{StoreSettings, Tree};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use crate::log::files::segment_name;

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

/// A state with the files it came from.
pub struct Booted {
    state: RecoveredState,
    snapshot: Option<SnapshotFile>,
    log_folder: PathBuf,
    txns: u64,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// Files of the log's folder to be used for segments to come.
    pub spares: Vec<SegmentId>,
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
            Some(file) => format!("{} and {txns} transaction(s) of the log", file.name),
            None => format!("{txns} transaction(s) of the log in {folder}"),
        }
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let snapshot = match &self.snapshot {
            Some(file) => format!("snapshot {}", file.zxid),
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
    let mut source = Folder { folders, image: options.image, open: None, is_read_only: true };
    let restored = restore(&mut source, store_settings(options), OnMismatch::Warn, &mut |_| {})?;
    Ok(booted(restored, options, folders, [0; 20]))
}

/// Recovers, or begins an empty server.
pub fn boot(options: &ServerOptions, folders: &Folders) -> Result<Booted, String> {
    take_over(options, folders)?;
    let mut source = Folder { folders, image: options.image, open: None, is_read_only: false };
    let mut teller = Teller::new();
    let restored =
        restore(&mut source, store_settings(options), options.on_digest_mismatch, &mut |progress| {
            teller.tell(progress);
        })?;
    restored.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let spares = sweep_folders(&restored.recovered.prepared, options, folders)?;
    let drawn = draw().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    Ok(Booted { spares, ..booted(restored, options, folders, drawn) })
}

/// `drawn`: for the log's id and the incarnation.
fn booted(mut restored: Restored, options: &ServerOptions, folders: &Folders, drawn: [u8; 20]) -> Booted {
    let (id, number) = drawn.split_first_chunk::<16>().expect("twenty bytes");
    let number = u32::from_le_bytes(number.try_into().expect("four bytes"));
    let log = restored.recovered.log_start(u128::from_le_bytes(*id), number, options.segment_bytes);
    Booted {
        snapshot: restored.snapshot.take(),
        log_folder: folders.log.clone(),
        txns: restored.recovered.txns,
        warnings: std::mem::take(&mut restored.warnings),
        spares: Vec::new(),
        state: restored.into_state(log),
    }
}

/// Says what is being read: a start that takes long is not taken for one that hangs.
struct Teller {
    told: Instant,
}

impl Teller {
    fn new() -> Teller {
        Teller { told: Instant::now() }
    }

    fn tell(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Snapshot { name } => tracing::info!("reading the snapshot {name}"),
            Progress::Segment { name, number, of } => {
                tracing::info!("reading {name}, {number} of {of} of the log")
            }
            Progress::Txns { count, last_zxid } if self.told.elapsed() >= Duration::from_secs(1) => {
                tracing::info!("{count} transaction(s) of the log applied, zxid {last_zxid}");
            }
            Progress::Txns { .. } => return,
        }
        self.told = Instant::now();
    }
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
    for warning in restored.warnings.iter().chain(&super::holders::warning(options)) {
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

/// Removes what processes that died have left behind, keeps a few prepared segments as spares, and makes both folders'
/// entries durable, so that what was read now is there at the next start.
fn sweep_folders(
    prepared: &[SegmentId],
    options: &ServerOptions,
    folders: &Folders,
) -> Result<Vec<SegmentId>, String> {
    let mut files = Vec::new();
    for (name, path) in names(&folders.log)? {
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        files.push((name, bytes));
    }
    let swept = sweep(&files, prepared, options.segment_bytes);
    for segment in &swept.rename {
        let from = folders.log.join(segment_name(*segment));
        let to = folders.log.join(spare_name(*segment));
        fs::rename(&from, &to).map_err(|error| format!("cannot rename {}: {error}", from.display()))?;
    }
    let unfinished = names(&folders.data)?.into_iter().filter(|(name, _)| is_unfinished_snapshot(name));
    let leftovers = swept.remove.iter().map(|name| folders.log.join(name));
    for path in leftovers.chain(unfinished.map(|(_, path)| path)) {
        fs::remove_file(&path).map_err(|error| format!("cannot remove {}: {error}", path.display()))?;
    }
    for folder in [&folders.log, &folders.data] {
        sync_folder(folder).map_err(|error| format!("cannot sync {}: {error}", folder.display()))?;
    }
    Ok(swept.spares)
}

fn is_unfinished_snapshot(name: &str) -> bool {
    name.starts_with("snapshot.") && name.ends_with(".tmp")
}

fn names(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let read = || -> io::Result<Vec<(String, PathBuf)>> {
        let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        let name = |path: PathBuf| Some((path.file_name()?.to_str()?.to_owned(), path));
        Ok(paths.into_iter().filter_map(name).collect())
    };
    read().map_err(|error| format!("cannot read the folder {}: {error}", folder.display()))
}

fn draw() -> io::Result<[u8; 20]> {
    let mut bytes = [0; 20];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Snapshots and segments as files.
struct Folder<'a> {
    folders: &'a Folders,
    image: ImageOptions,
    open: Option<(SegmentId, File)>,
    /// Of a server that may be running: it cares for its files itself.
    is_read_only: bool,
}

impl Folder<'_> {
    fn path(&self, segment: SegmentId) -> PathBuf {
        self.folders.log.join(segment_name(segment))
    }

    fn file(&mut self, segment: SegmentId) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.open = Some((segment, File::open(self.path(segment))?));
        }
        Ok(&self.open.as_ref().expect("just opened").1)
    }
}

impl RestoreSource for Folder<'_> {
    fn snapshots(&self) -> io::Result<Vec<SnapshotFile>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folders.data)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(zxid) = name.and_then(|name| zxid_in_name(name, "snapshot")) {
                found.push(SnapshotFile { zxid, name: path.display().to_string() });
            }
        }
        Ok(found)
    }

    fn load(&mut self, file: &SnapshotFile, settings: &StoreSettings) -> Result<Image, String> {
        snapshots::read(Path::new(&file.name), settings, &self.image)
    }
}

impl SegmentSource for Folder<'_> {
    fn segments(&self) -> io::Result<Vec<SegmentId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folders.log)? {
            if let Some(LogFile::Segment(id)) = entry?.file_name().to_str().and_then(log_file) {
                found.push(id);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn length(&self, segment: SegmentId) -> io::Result<u64> {
        Ok(fs::metadata(self.path(segment))?.len())
    }

    fn read(&mut self, segment: SegmentId, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file(segment)?.read_exact_at(into, offset)
    }

    fn sync(&mut self, segment: SegmentId) -> io::Result<()> {
        if self.is_read_only { Ok(()) } else { self.file(segment)?.sync_data() }
    }

    fn name(&self, segment: SegmentId) -> String {
        self.path(segment).display().to_string()
    }
}
