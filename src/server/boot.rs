//! From the files to the state the server starts with: the newest usable snapshot, then the log after it.

use super::ServerOptions;
use crate::ids::{FrameSeq, SegmentId, SessionId, Zxid};
use crate::io::disk::AtomicFile;
use crate::log::{LogStart, Recovered, SegmentSource, recover};
use crate::member::{RecoveredState, Restorer};
use crate::tree::{Store, StoreSettings, Tree, image};
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

/// The zxid and path of each snapshot in a folder, ascending.
pub fn snapshots(folder: &Path) -> io::Result<BTreeMap<Zxid, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = name.split('.');
        if parts.next() != Some("snapshot") || name.ends_with(".tmp") {
            continue;
        }
        if let Some(Ok(zxid)) = parts.next().map(|hex| i64::from_str_radix(hex, 16)) {
            found.insert(Zxid(zxid), path);
        }
    }
    Ok(found)
}

/// What the server starts with.
pub struct Booted {
    state: RecoveredState,
    snapshot: Option<Zxid>,
    txns: u64,
}

impl Booted {
    /// The recovered data.
    pub fn tree(&self) -> &Tree {
        self.state.store.tree()
    }

    /// For the member.
    pub fn into_recovered(self) -> RecoveredState {
        self.state
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let snapshot = match self.snapshot {
            Some(zxid) => format!("snapshot {zxid}"),
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

/// A state read without changing anything.
pub(super) struct ReadState {
    pub recovered: RecoveredState,
    pub source: String,
}

/// Reads the newest state from the files, also of a running server.
pub(super) fn read_state(options: &ServerOptions, folders: &Folders) -> Result<ReadState, String> {
    let found = snapshots(&folders.data)
        .map_err(|error| format!("cannot read the folder {}: {error}", folders.data.display()))?;
    let (snapshot, store, sessions) = load_newest(options, &found)?;
    let mut restorer = Restorer::new(store, sessions);
    let mut source = Files { folder: folders.log.clone(), open: None };
    let recovered = recover(&mut source, snapshot.unwrap_or(Zxid::ZERO), &mut |entry| restorer.replay(entry))
        .map_err(|error| error.to_string())?;
    let txns = recovered.txns;
    let source = match snapshot.and_then(|zxid| found.get(&zxid)) {
        Some(path) => format!("{} and {txns} transaction(s) of the log", path.display()),
        None => format!("{txns} transaction(s) of the log in {}", folders.log.display()),
    };
    // The log is not gone on with.
    let log = LogStart {
        log_id: recovered.log_id.unwrap_or_default(),
        segment: recovered.next_segment,
        frame: recovered.next_frame.max(FrameSeq(1)),
        last_zxid: recovered.last_zxid,
        segment_bytes: options.segment_bytes,
    };
    let recovered = restorer.finish(recovered, log, found.into_keys().collect());
    Ok(ReadState { recovered, source })
}

/// Recovers, or begins an empty server.
pub fn boot(options: &ServerOptions, folders: &Folders) -> Result<Booted, String> {
    let find = || {
        snapshots(&folders.data)
            .map_err(|error| format!("cannot read the folder {}: {error}", folders.data.display()))
    };
    take_over(options, folders, find()?.is_empty())?;
    let found = find()?;
    let (snapshot, store, sessions) = load_newest(options, &found)?;
    let mut restorer = Restorer::new(store, sessions);
    let mut source = Files { folder: folders.log.clone(), open: None };
    let recovered = recover(&mut source, snapshot.unwrap_or(Zxid::ZERO), &mut |entry| restorer.replay(entry));
    let recovered = recovered.map_err(|error| error.to_string())?;
    if let Some(discarded) = &recovered.discarded {
        tracing::warn!("{discarded}");
    }
    if restorer.mismatches() > 0 {
        tracing::error!(
            "{} transaction(s) of the log carry another digest than the tree had after them",
            restorer.mismatches()
        );
    }
    forget_unused(&recovered, folders)?;
    let txns = recovered.txns;
    let log = log_start(options, &recovered)?;
    let state = restorer.finish(recovered, log, found.into_keys().collect());
    Ok(Booted { state, snapshot, txns })
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
fn take_over(options: &ServerOptions, folders: &Folders, no_snapshot: bool) -> Result<(), String> {
    let is_ours = !no_snapshot
        || fs::read_dir(&folders.log).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("segment."))
        });
    let marker = folders.data.join("taken-over");
    let files = foreign_files(options);
    if is_ours {
        let known = fs::read_to_string(&marker).unwrap_or_default();
        if known == files {
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
    let settings = store_settings(options);
    let restored = super::apache::restore(&options.data_dir, &options.log_dir, settings, &options.image)?;
    let Some(restored) = restored else { return Ok(()) };
    for warning in &restored.warnings {
        tracing::warn!("{warning}");
    }
    let sessions: Vec<(SessionId, i32)> = restored.sessions.into_iter().collect();
    let tree = restored.store.tree();
    let digest = restored.store.digest().map(|digest| (restored.last_zxid, digest));
    let path = folders.data.join(format!("snapshot.{:x}", restored.last_zxid));
    let write = || -> io::Result<()> {
        let mut file = AtomicFile::create(&marker)?;
        file.write_all(files.as_bytes())?;
        file.finish()?;
        let mut file = AtomicFile::create(&path)?;
        image::write(tree, &sessions, digest, restored.last_zxid, &options.image, &mut file)?;
        file.finish().map(drop)
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    tracing::info!(
        "took over the data of Apache ZooKeeper: {} and {} transaction(s) of its logs, last zxid {}, {} nodes, {} session(s)",
        restored.snapshot.display(),
        restored.txns,
        restored.last_zxid,
        tree.node_count() - 1,
        sessions.len()
    );
    Ok(())
}

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
fn load_newest(options: &ServerOptions, found: &BTreeMap<Zxid, PathBuf>) -> Result<Loaded, String> {
    let settings = store_settings(options);
    for (zxid, path) in found.iter().rev() {
        let empty = Tree::empty(settings.hash_seed, settings.rules);
        let loaded = open_image(path).map_err(|error| error.to_string()).and_then(|mut source| {
            image::read(&mut source, empty, &options.image).map_err(|error| error.to_string())
        });
        match loaded {
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
                return Ok((Some(*zxid), store, image.sessions.into_iter().collect()));
            }
            Err(error) => {
                tracing::error!("{} cannot be used ({error}); trying the one before", path.display())
            }
        }
    }
    Ok((None, Store::new(settings), BTreeMap::new()))
}

pub(super) fn open_image(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("snappy") => Box::new(crate::tree::snappy::Decoder::new(file)),
        _ => Box::new(file),
    })
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

fn log_start(options: &ServerOptions, recovered: &Recovered) -> Result<LogStart, String> {
    let log_id = match recovered.log_id {
        Some(log_id) => log_id,
        None => random_id().map_err(|error| format!("cannot read /dev/urandom: {error}"))?,
    };
    Ok(LogStart {
        log_id,
        segment: recovered.next_segment,
        frame: recovered.next_frame.max(FrameSeq(1)),
        last_zxid: recovered.last_zxid,
        segment_bytes: options.segment_bytes,
    })
}

fn random_id() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Segments as files.
struct Files {
    folder: PathBuf,
    open: Option<(SegmentId, File)>,
}

impl Files {
    fn file(&mut self, segment: SegmentId) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.open = Some((segment, File::open(self.folder.join(segment_name(segment)))?));
        }
        Ok(&self.open.as_ref().expect("just opened").1)
    }
}

impl SegmentSource for Files {
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
