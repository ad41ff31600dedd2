//! From snapshots and the log after them to what a member starts with: which snapshot, which segments, and whether the
//! result may be served. The driver reads the bytes; production, `export` and the simulator decide here alike.
//!
//! The newest snapshot that reads well is taken, and the segments that it leaves necessary. Older snapshots and segments
//! are looked at only if it does not read. Refused is a result that stops before what a snapshot's name says was once
//! there, and one whose digests do not match.

use super::RecoveredState;
use crate::ids::{SegmentId, SessionId, Zxid};
use crate::log::{LogStart, Recovered, SegmentSource, Visitor, plan, read_headers, replay};
use crate::tree::image::Image;
use crate::tree::{Effects, Store, StoreSettings, Undo};
use crate::wire::txn::decode_entry;
use crate::wire::{Txn, TxnHeader};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A snapshot by its file. Two of one zxid, packed differently, are two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SnapshotFile {
    pub zxid: Zxid,
    /// As messages call it, and `RestoreSource::load` knows it.
    pub name: String,
}

/// Where a state is restored from.
pub trait RestoreSource: SegmentSource {
    /// All snapshots there are, in any order.
    fn snapshots(&self) -> io::Result<Vec<SnapshotFile>>;
    /// Reads one to its end; the error says why it cannot be used.
    fn load(&mut self, file: &SnapshotFile, settings: &StoreSettings) -> Result<Image, String>;
}

/// What to do about digests that do not match (`ringkeeper.digest.mismatch`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnMismatch {
    /// The state is not the one that was written: nobody is served from it.
    Refuse,
    /// Somebody decided to go on with what there is.
    Warn,
}

/// What is being read, for whoever waits.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    Snapshot {
        name: &'a str,
    },
    /// Of the log, which has `of` necessary segments.
    Segment {
        name: &'a str,
        number: usize,
        of: usize,
    },
    /// So many transactions of the log are applied.
    Txns {
        count: u64,
        last_zxid: Zxid,
    },
}

/// A restored state and how it came about.
pub struct Restored {
    /// The snapshot it begins with.
    pub snapshot: Option<SnapshotFile>,
    /// What the log said.
    pub recovered: Recovered,
    /// What the operator should know: unusable snapshots, a torn tail, digests.
    pub warnings: Vec<String>,
    /// Digests that do not match.
    pub mismatches: u64,
    /// Snapshots that were looked at and cannot be used.
    pub unreadable: Vec<SnapshotFile>,
    /// The zxids of all usable snapshots, as far as that is known, ascending.
    snapshots: Vec<Zxid>,
    store: Store,
    sessions: BTreeMap<SessionId, i32>,
}

/// Reads the newest state there is.
pub fn restore(
    source: &mut dyn RestoreSource,
    settings: StoreSettings,
    on_mismatch: OnMismatch,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Restored, String> {
    let mut found = source.snapshots().map_err(|error| format!("cannot list the snapshots: {error}"))?;
    found.sort();
    let mut warnings = Vec::new();
    let loaded = load_newest(source, settings, &found, &mut warnings, progress);
    let begin = loaded.snapshot.as_ref().map_or(Zxid::ZERO, |file| file.zxid);
    let files = read_headers(source).map_err(|error| error.to_string())?;
    let plan = plan(&*source, files, begin).map_err(|error| error.to_string())?;
    let mut follower = Follower { restorer: loaded.restorer, begun: 0, of: plan.needed().count(), progress };
    let recovered = replay(source, &plan, &mut follower);
    let mut restorer = follower.restorer;
    let recovered = recovered.map_err(|error| error.to_string())?;
    check_reached(&loaded.failed, recovered.last_zxid)?;
    warnings.extend(recovered.discarded.clone());
    if let Some(mismatch) = restorer.mismatch(loaded.snapshot.as_ref()) {
        match on_mismatch {
            OnMismatch::Refuse => return Err(format!("{mismatch}. {DIGEST_WAY_OUT}")),
            OnMismatch::Warn => warnings.push(mismatch),
        }
    }
    let usable = found.iter().filter(|file| !loaded.failed.contains(file));
    let snapshots: BTreeSet<Zxid> = usable.map(|file| file.zxid).collect();
    restorer.store.set_applied(recovered.last_zxid);
    Ok(Restored {
        snapshot: loaded.snapshot,
        recovered,
        warnings,
        mismatches: restorer.mismatches + u64::from(restorer.is_snapshot_other),
        unreadable: loaded.failed,
        snapshots: snapshots.into_iter().collect(),
        store: restorer.store,
        sessions: restorer.sessions,
    })
}

impl Restored {
    /// The data.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Sessions and their timeouts in ms.
    pub fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// For the member.
    pub fn into_state(self, log: LogStart) -> RecoveredState {
        RecoveredState {
            log,
            segments: self.recovered.segments,
            last_zxid: self.recovered.last_zxid,
            sessions: self.sessions.into_iter().collect(),
            snapshots: self.snapshots,
            txns_since_snapshot: self.recovered.txns,
            store: self.store,
        }
    }
}

/// Applies what is replayed, and says so.
struct Follower<'a> {
    restorer: Restorer,
    begun: usize,
    of: usize,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

impl Visitor for Follower<'_> {
    fn on_segment(&mut self, _segment: SegmentId, name: &str) {
        self.begun += 1;
        (self.progress)(Progress::Segment { name, number: self.begun, of: self.of });
    }

    fn on_txn(&mut self, entry: &[u8]) -> Result<(), String> {
        self.restorer.replay(entry)?;
        if self.restorer.txns.is_multiple_of(TXNS_BETWEEN_WORDS) {
            let (count, last_zxid) = (self.restorer.txns, self.restorer.store.tree().applied());
            (self.progress)(Progress::Txns { count, last_zxid });
        }
        Ok(())
    }
}

/// Progress is told once in so many transactions: the clock is not asked for each of them.
const TXNS_BETWEEN_WORDS: u64 = 4096;

struct Loaded {
    snapshot: Option<SnapshotFile>,
    restorer: Restorer,
    /// Those that cannot be used.
    failed: Vec<SnapshotFile>,
}

/// The newest snapshot that reads well; a bad one is named and the one before is tried.
fn load_newest(
    source: &mut dyn RestoreSource,
    settings: StoreSettings,
    found: &[SnapshotFile],
    warnings: &mut Vec<String>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Loaded {
    let mut failed = Vec::new();
    for file in found.iter().rev() {
        progress(Progress::Snapshot { name: &file.name });
        match source.load(file, &settings) {
            Ok(image) => {
                let restorer = Restorer::from_image(settings, image, file.zxid);
                return Loaded { snapshot: Some(file.clone()), restorer, failed };
            }
            Err(error) => {
                warnings.push(format!("{} cannot be used ({error}); trying the one before", file.name));
                failed.push(file.clone());
            }
        }
    }
    Loaded { snapshot: None, restorer: Restorer::new(Store::new(settings), BTreeMap::new()), failed }
}

/// A snapshot that cannot be used still says how far the data once went: starting with less would lose it in silence.
fn check_reached(failed: &[SnapshotFile], last: Zxid) -> Result<(), String> {
    let lost = failed.iter().find(|file| file.zxid > last);
    lost.map_or(Ok(()), |file| {
        Err(format!(
            "{} cannot be used, and what can be read of the older snapshots and the log ends at zxid {last}, before it. \
             Restore the file from a backup, or the whole data folder from another copy. Starting without it would \
             lose every write after {last}, also those that clients were told are done: only if that is acceptable, \
             move the file to another folder, keep it, and start again",
            file.name
        ))
    })
}

const DIGEST_WAY_OUT: &str = "The data is not what was written. Restore the data folder from a backup or another copy; \
    to serve what is there all the same, set ringkeeper.digest.mismatch=warn";

/// A state on its way from a snapshot to the end of the log.
struct Restorer {
    store: Store,
    sessions: BTreeMap<SessionId, i32>,
    txns: u64,
    /// The snapshot's digest is not that of its tree.
    is_snapshot_other: bool,
    /// Entries that carry another digest than the tree had after them, and the first of them.
    mismatches: u64,
    first_mismatch: Zxid,
}

impl Restorer {
    fn new(store: Store, sessions: BTreeMap<SessionId, i32>) -> Restorer {
        let first_mismatch = Zxid::ZERO;
        Restorer { store, sessions, txns: 0, is_snapshot_other: false, mismatches: 0, first_mismatch }
    }

    fn from_image(settings: StoreSettings, image: Image, zxid: Zxid) -> Restorer {
        let mut store = Store::from_tree(settings, image.tree);
        store.set_applied(zxid);
        let ours = store.digest().map(|ours| (zxid, ours));
        let mut restorer = Restorer::new(store, image.sessions.into_iter().collect());
        // A digest of another point in time says nothing about this tree.
        restorer.is_snapshot_other =
            image.digest.zip(ours).is_some_and(|(theirs, ours)| theirs.0 == ours.0 && theirs.1 != ours.1);
        restorer
    }

    /// The next entry of the log. Our snapshots are a point in time, so what follows in the log must fit exactly.
    fn replay(&mut self, entry: &[u8]) -> Result<(), String> {
        let (header, txn, digest) = decode_entry(entry).map_err(|error| error.to_string())?;
        follow_session(&header, &txn, &mut self.sessions);
        let applied = self.store.apply(&header, &txn, &mut Effects::new(), &mut Undo::none());
        applied.map_err(|error| format!("it does not fit the data before it ({error:?})"))?;
        self.store.set_applied(header.zxid);
        self.txns += 1;
        if let (Some(digest), Some(ours)) = (digest, self.store.digest())
            && digest.tree as u64 != ours
        {
            if self.mismatches == 0 {
                self.first_mismatch = header.zxid;
            }
            self.mismatches += 1;
        }
        Ok(())
    }

    /// What does not match, in one line.
    fn mismatch(&self, snapshot: Option<&SnapshotFile>) -> Option<String> {
        let log = (self.mismatches > 0).then(|| {
            format!(
                "{} transaction(s) of the log, the first one {}, carry another digest than the tree has after them",
                self.mismatches, self.first_mismatch
            )
        });
        let name = snapshot.filter(|_| self.is_snapshot_other).map(|file| &file.name);
        match (name, log) {
            (None, log) => log,
            (Some(name), None) => Some(format!("{name}: the digest in it is not that of its tree")),
            (Some(name), Some(log)) => {
                Some(format!("{name}: the digest in it is not that of its tree; {log}"))
            }
        }
    }
}

/// Sessions come and go with their transactions.
pub fn follow_session(header: &TxnHeader, txn: &Txn<'_>, sessions: &mut BTreeMap<SessionId, i32>) {
    match txn {
        Txn::CreateSession { timeout_ms } => {
            sessions.insert(header.session, *timeout_ms);
        }
        Txn::CloseSession { .. } => {
            sessions.remove(&header.session);
        }
        _ => {}
    }
}
