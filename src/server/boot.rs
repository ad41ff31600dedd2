//! From the files to the state the server starts with. What is read and whether it may be served is decided by
//! `member::restore`; here are the files, and what the operator sees of it.

use super::ServerOptions;
use super::apache::Source;
use super::snapshots::{self, Files};
use super::teller::Teller;
use crate::ids::{SegmentId, SessionId};
use crate::io::disk::{AtomicFile, sync_folder};
use crate::log::SegmentSource;
use crate::log::apache::zxid_in_name;
use crate::log::files::{LogFile, log_file, spare_name, sweep};
use crate::member::{OnMismatch, RecoveredState, RestoreSource, Restored, SnapshotFile, restore};
use crate::tree::image::{Compression, Image, ImageOptions};
use crate::tree::{StoreSettings, Tree};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use crate::log::files::segment_name;

/// Where our files are.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Snapshots: `<dataDir>/ringkeeper`.
    pub data: PathBuf,
    /// Segments: `<dataLogDir>/ringkeeper`.
    pub log: PathBuf,
}

/// Our folder in dataDir and in dataLogDir.
pub const FOLDER: &str = "ringkeeper";

impl Folders {
    /// Creates what is missing.
    pub fn prepare(options: &ServerOptions) -> Result<Folders, String> {
        let folders = Folders { data: options.data_dir.join(FOLDER), log: options.log_dir.join(FOLDER) };
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
    /// Names of snapshots that cannot be read.
    pub unreadable: Vec<String>,
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
    let known = identity(folders)?;
    let mut source = Folder { folders, image: options.image, open: None, is_read_only: false };
    let mut teller = Teller::new();
    let restored =
        restore(&mut source, store_settings(options), options.on_digest_mismatch, &mut |progress| {
            teller.tell(progress);
        })?;
    restored.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let spares = sweep_folders(&restored.recovered.prepared, options, folders)?;
    let mut drawn = draw().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    if let Some(known) = known {
        // The start before drew it, and wrote nothing into the log.
        drawn[..16].copy_from_slice(&known.to_le_bytes());
    }
    let booted = Booted { spares, ..booted(restored, options, folders, drawn) };
    settle_identity(folders, known, booted.state.log.log_id)?;
    Ok(booted)
}

/// `drawn`: for the log's id and the incarnation.
fn booted(mut restored: Restored, options: &ServerOptions, folders: &Folders, drawn: [u8; 20]) -> Booted {
    let (id, number) = drawn.split_first_chunk::<16>().expect("twenty bytes");
    let number = u32::from_le_bytes(number.try_into().expect("four bytes"));
    let log = restored.recovered.log_start(u128::from_le_bytes(*id), number, options.segment_bytes());
    Booted {
        snapshot: restored.snapshot.take(),
        log_folder: folders.log.clone(),
        txns: restored.recovered.txns,
        warnings: std::mem::take(&mut restored.warnings),
        spares: Vec::new(),
        unreadable: restored.unreadable.iter().map(|file| file_name(Path::new(&file.name))).collect(),
        state: restored.into_state(log),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn find_snapshots(folders: &Folders) -> Result<Files, String> {
    snapshots::find(&folders.data, "snapshot")
        .map_err(|error| format!("cannot read the folder {}: {error}", folders.data.display()))
}

pub(super) fn store_settings(options: &ServerOptions) -> StoreSettings {
    StoreSettings {
        hash_seed: options.shard.hash_seed,
        rules: options.member.owner_rules,
        digest_enabled: options.member.digest_enabled,
        enforce_quota: options.member.enforce_quota,
    }
}

/// A folder that holds only Apache's files is taken over: their state becomes our first snapshot, and a marker says which
/// files it came from. Apache's files stay as they are. If new ones come or one grows, the start is refused: two histories
/// are never merged. That old ones go is no new history.
fn take_over(options: &ServerOptions, folders: &Folders) -> Result<(), String> {
    let strange_segments =
        snapshots::others(&folders.log, "segment").into_iter().filter(|name| log_file(name).is_none());
    let strange =
        snapshots::others(&folders.data, "snapshot").into_iter().map(|name| folders.data.join(name));
    for path in strange.chain(strange_segments.map(|name| folders.log.join(name))) {
        tracing::warn!("{} is ignored: none of this server's files has such a name", path.display());
    }
    if !find_snapshots(folders)?.is_empty() || has_segments(folders)? {
        return check_foreign(options, folders);
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

fn has_segments(folders: &Folders) -> Result<bool, String> {
    let is_segment = |name: &str| matches!(log_file(name), Some(LogFile::Segment(_)));
    Ok(names(&folders.log)?.iter().any(|(name, _)| is_segment(name)))
}

/// Apache's files beside ours may be fewer than at the take-over, not more or longer.
fn check_foreign(options: &ServerOptions, folders: &Folders) -> Result<(), String> {
    let marker = folders.data.join(MARKER);
    let known = parse_marker(&fs::read_to_string(&marker).unwrap_or_default());
    let found = foreign_files(options);
    let is_new = |name: &String, bytes: &u64| known.get(name).is_none_or(|known| bytes > known);
    let new: Vec<&str> =
        found.iter().filter(|(name, bytes)| is_new(name, bytes)).map(|(name, _)| name.as_str()).collect();
    if new.is_empty() {
        let gone = known.keys().filter(|name| !found.contains_key(*name)).count();
        if gone > 0 {
            tracing::info!("{gone} of Apache ZooKeeper's files that were taken over are gone, which is fine");
        }
        return Ok(());
    }
    Err(format!(
        "{} holds files of Apache ZooKeeper that are new or have grown since this server took its data over: {}. Two \
         histories cannot be merged. If Apache ZooKeeper was not started on this folder again, move these files away; if \
         it was, its newer data are in them, and this server's in {}: keep both folders, and decide which one goes on",
        options.data_dir.join("version-2").display(),
        new.join(", "),
        folders.data.display()
    ))
}

/// Says in our folder which files of Apache's beside it the data comes from.
pub(super) fn write_marker(options: &ServerOptions, folder: &Path) -> Result<(), String> {
    let lines = foreign_files(options).into_iter().map(|(name, bytes)| format!("{name} {bytes}\n"));
    write_small(&folder.join(MARKER), lines.collect::<String>().as_bytes())
}

const MARKER: &str = "taken-over";

/// Name and length of each of Apache's snapshots and logs.
fn foreign_files(options: &ServerOptions) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for (folder, prefix) in [(&options.data_dir, "snapshot"), (&options.log_dir, "log")] {
        for (_, path) in snapshots::find(&folder.join("version-2"), prefix).unwrap_or_default() {
            found.insert(file_name(&path), fs::metadata(&path).map_or(0, |metadata| metadata.len()));
        }
    }
    found
}

fn parse_marker(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, bytes) = line.rsplit_once(' ')?;
        Some((name.to_string(), bytes.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

const IDENTITY: &str = "identity";

/// The id of the log that both folders belong to; None: neither says.
fn identity(folders: &Folders) -> Result<Option<u128>, String> {
    let (data, log) = (read_identity(&folders.data)?, read_identity(&folders.log)?);
    match (data, log) {
        (Some(data), Some(log)) if data != log => Err(format!(
            "{} and {} belong to different servers: their files {IDENTITY} differ. Name in zoo.cfg the dataDir and the \
             dataLogDir of one server",
            folders.data.display(),
            folders.log.display()
        )),
        (Some(_), None) if !has_segments(folders)? => Err(format!(
            "{} holds no log, but the snapshots in {} belong to a server that had one: without it every write after the \
             newest snapshot would be lost. Name the right dataLogDir, or bring its folder back. If it is gone for good, \
             removing {} makes the server start with the snapshots alone, and loses what came after the newest",
            folders.log.display(),
            folders.data.display(),
            folders.data.join(IDENTITY).display()
        )),
        (data, log) => Ok(data.or(log)),
    }
}

fn read_identity(folder: &Path) -> Result<Option<u128>, String> {
    let path = folder.join(IDENTITY);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        Ok(text) => u128::from_str_radix(text.trim(), 16).map(Some).map_err(|_| {
            let what =
                "expected 32 hexadecimal digits. Remove it if all files in this folder are of one server";
            format!("{}: {what}", path.display())
        }),
    }
}

/// What was read must be the log that the folders belong to; from now on both say so.
fn settle_identity(folders: &Folders, known: Option<u128>, log_id: u128) -> Result<(), String> {
    if known.is_some_and(|known| known != log_id) {
        return Err(format!(
            "the segments in {} belong to another server than the files {IDENTITY} say. Put them back where they came from",
            folders.log.display()
        ));
    }
    for folder in [&folders.data, &folders.log] {
        if read_identity(folder)? != Some(log_id) {
            write_small(&folder.join(IDENTITY), format!("{log_id:032x}\n").as_bytes())?;
        }
    }
    Ok(())
}

fn write_small(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(bytes)?;
        file.finish().map(drop)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))
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
    let swept = sweep(&files, prepared, options.segment_bytes());
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
