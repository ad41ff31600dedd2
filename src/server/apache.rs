//! Restoring from the files of Apache ZooKeeper (`FileTxnSnapLog.restore`): the newest usable snapshot, then its logs
//! after it. Only reads.
//!
//! Apache's snapshots are fuzzy: written while transactions went on, so a node may already be newer than the name
//! says. Replay is tolerant; the digest at the snapshot's end tells from where on the tree must match exactly.
//!
//! What Apache refuses is refused: damaged logs, logs without a snapshot, files in the wrong one of two folders. So is a
//! hole in the zxids, which Apache does not look for. `snapshot.trust.empty` allows both kinds of missing transactions.

use super::ServerOptions;
use super::snapshots::{self, Files, Snapshot};
use super::teller::Told;
use crate::ids::{SessionId, Zxid};
use crate::log::apache::{ApacheEntry, ApacheLogError, files_from, follows, visit_entries};
use crate::member::follow_session;
use crate::tree::image::{Image, ImageOptions};
use crate::tree::{Owner, OwnerRules, Store, StoreSettings, snappy};
use crate::wire::txn::{TxnDigest, decode_entry};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where the files are, and how they are taken.
pub struct Source<'a> {
    /// `dataDir`: snapshots.
    pub data_dir: &'a Path,
    /// `dataLogDir`: logs.
    pub log_dir: &'a Path,
    pub settings: StoreSettings,
    pub image: ImageOptions,
    /// `snapshot.trust.empty`: transactions may be missing before a log.
    pub trust_empty_snapshot: bool,
    /// `extendedTypesEnabled` was set, to whichever value: the operator knows what it means.
    pub extended_types_given: bool,
}

/// What was found in the files.
pub struct Restored {
    /// The data, complete up to `last_zxid`.
    pub store: Store,
    /// Sessions that were not closed, with their timeouts in ms.
    pub sessions: BTreeMap<SessionId, i32>,
    /// The newest transaction.
    pub last_zxid: Zxid,
    /// Where it began; None: with an empty tree.
    pub begin: Option<PathBuf>,
    /// Transactions replayed.
    pub txns: u64,
    /// What the operator should know: snapshots that could not be used, digests that did not match.
    pub warnings: Vec<String>,
}

impl Restored {
    /// To be written as ours; `sessions` are its own.
    pub fn snapshot<'a>(&'a self, sessions: &'a [(SessionId, i32)]) -> Snapshot<'a> {
        let digest = self.store.digest().map(|digest| (self.last_zxid, digest));
        Snapshot { tree: self.store.tree(), sessions, digest, zxid: self.last_zxid }
    }

    /// In one line.
    pub fn source(&self) -> String {
        let begin = self.begin.as_ref().map_or("no snapshot".into(), |path| path.display().to_string());
        format!("{begin} and {} transaction(s) of its logs", self.txns)
    }
}

impl<'a> Source<'a> {
    /// As configured.
    pub fn of(options: &'a ServerOptions) -> Source<'a> {
        Source {
            data_dir: &options.data_dir,
            log_dir: &options.log_dir,
            settings: super::boot::store_settings(options),
            image: options.image,
            trust_empty_snapshot: options.trust_empty_snapshot,
            extended_types_given: options.extended_types_given,
        }
    }

    /// Restores; None if there is nothing.
    pub fn restore(&self) -> Result<Option<Restored>, String> {
        let folders = [(self.data_dir, "snapshot"), (self.log_dir, "log")];
        let others =
            folders.map(|(folder, prefix)| snapshots::others(&folder.join(VERSION_2), prefix)).concat();
        let snapshots = files(self.data_dir, "snapshot")?;
        let logs = files(self.log_dir, "log")?;
        self.check_separation()?;
        if snapshots.is_empty() && logs.is_empty() {
            return Ok(None);
        }
        let mut replay = self.begin(&snapshots, &logs)?;
        let ignored =
            others.iter().map(|name| format!("{name} is ignored: no snapshot and no log has such a name"));
        replay.restored.warnings.extend(ignored);
        replay.settle_pending();
        replay.logs(&logs, self)?;
        let restored = replay.finish(snapshots.last().map(|(zxid, _)| *zxid));
        self.check_ttl_nodes(&restored)?;
        Ok(Some(restored))
    }

    /// Without extended types the owner of a TTL node is taken for a session that nobody has: the server would delete the
    /// node at once.
    fn check_ttl_nodes(&self, restored: &Restored) -> Result<(), String> {
        if self.settings.rules.extended_types || self.extended_types_given {
            return Ok(());
        }
        let extended = OwnerRules { extended_types: true, ..self.settings.rules };
        let is_ttl = |owner: i64| {
            let is_session = restored.sessions.contains_key(&SessionId(owner));
            matches!(extended.owner(owner), Owner::Ttl(_)) && !is_session
        };
        let ttl: Vec<&str> = restored
            .store
            .tree()
            .nodes()
            .filter(|(_, node)| is_ttl(node.head().owner))
            .map(|(_, node)| node.path())
            .collect();
        match ttl.first() {
            None => Ok(()),
            Some(first) => Err(format!(
                "{} TTL node(s) would be deleted, {first} among them, because extendedTypesEnabled is not set: Apache \
                 ZooKeeper was started with it, perhaps in java.env or in JVMFLAGS. Set extendedTypesEnabled=true to keep \
                 them, or extendedTypesEnabled=false to have them deleted",
                ttl.len()
            )),
        }
    }

    /// Files that lie where Apache does not look for them would be left out in silence.
    fn check_separation(&self) -> Result<(), String> {
        if is_same_folder(self.data_dir, self.log_dir) {
            return Ok(());
        }
        for (folder, prefix, what) in
            [(self.log_dir, "snapshot", "snapshots in dataLogDir"), (self.data_dir, "log", "logs in dataDir")]
        {
            if let Some(path) = files(folder, prefix)?.first().map(|(_, path)| path) {
                return Err(format!(
                    "{}: there are {what}, where Apache ZooKeeper does not start either. dataDir is {} and dataLogDir \
                     is {}: set right whichever is wrong, or move these files to where they belong",
                    path.display(),
                    self.data_dir.display(),
                    self.log_dir.display()
                ));
            }
        }
        Ok(())
    }

    /// With the newest usable snapshot, or with an empty tree where that is allowed.
    fn begin(&self, snapshots: &Files, logs: &Files) -> Result<Replay, String> {
        let mut warnings = Vec::new();
        let (whole, torn): (Vec<_>, Vec<_>) = snapshots.iter().rev().partition(|(_, path)| is_whole(path));
        warnings.extend(torn.iter().map(|(_, path)| format!("{} is not complete", path.display())));
        for (zxid, path) in whole.iter().take(SNAPSHOTS_TRIED_MAX) {
            tracing::info!("reading the snapshot {}", path.display());
            match snapshots::read(path, &self.settings, &self.image) {
                Ok(image) => return Ok(Replay::new(self, (*zxid, path), image, warnings)),
                Err(error) => warnings.push(format!("{} cannot be used ({error})", path.display())),
            }
        }
        let nothing_done = |what: &str, way_out: &str| {
            let (folder, found) = (self.data_dir.join(VERSION_2), warnings.join(". "));
            let end = if found.is_empty() { "" } else { ". " };
            format!("{} holds {what}; nothing was changed. {way_out}{end}{found}", folder.display())
        };
        let first_log = logs.first().map(|(_, path)| path);
        match first_log.filter(|_| whole.is_empty()) {
            Some(_) if self.trust_empty_snapshot => Ok(Replay::empty(self, warnings)),
            Some(log) => {
                let what =
                    format!("no complete snapshot, but there are logs ({} is the first)", log.display());
                Err(nothing_done(&what, WITHOUT_SNAPSHOT))
            }
            None => Err(nothing_done("no snapshot that can be used", BRING_BACK_SNAPSHOT)),
        }
    }
}

const WITHOUT_SNAPSHOT: &str = "Bring the snapshots back from a backup or another member. If there never was one, because \
    the server ran with ZooKeeper 3.4, let the logs begin with an empty tree: --trust-empty-snapshot, or \
    snapshot.trust.empty=true in zoo.cfg";
const BRING_BACK_SNAPSHOT: &str = "Bring one back from a backup or another member, with the logs after it";
const BAD_LOG: &str = "Bring this log back from a backup or another member; or make a copy with right checksums by \
    ringkeeper inspect log --repair, and look at what was wrong; or move this log and all later ones away, if losing what \
    is in them is acceptable";

/// True for the same path or two names of one folder.
pub fn is_same_folder(one: &Path, other: &Path) -> bool {
    one == other
        || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}

/// Files named `<prefix>.<zxid>` in `version-2` below a folder; none if that is missing.
fn files(folder: &Path, prefix: &str) -> Result<Files, String> {
    let folder = folder.join(VERSION_2);
    match snapshots::find(&folder, prefix) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Files::new()),
        found => found.map_err(|error| format!("cannot read {}: {error}", folder.display())),
    }
}

/// A log that ends in its header, or that is all zeros: the power went before the first write was durable.
fn holds_nothing(path: &Path, bytes: u64) -> bool {
    if (1..16).contains(&bytes) {
        return true;
    }
    let Ok(mut file) = File::open(path) else { return false };
    let mut chunk = vec![0; 64 << 10];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return bytes > 0,
            Ok(read) if chunk[..read].iter().all(|byte| *byte == 0) => {}
            _ => return false,
        }
    }
}

/// Apache's cheap test: what a crash left half written is no candidate, so an older snapshot or none counts. A candidate
/// that turns out to be damaged is another matter: then no empty tree takes its place.
fn is_whole(path: &Path) -> bool {
    let read = |into: &mut [u8], from_end: bool| {
        let mut file = File::open(path)?;
        if from_end {
            file.seek(SeekFrom::End(-(into.len() as i64)))?;
        }
        file.read_exact(into)
    };
    let (mut head, mut tail) = ([0; 8], [0; 10]);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => read(&mut head[..2], false).is_ok() && head[..2] == [0x1f, 0x8b],
        Some("snappy") => read(&mut head, false).is_ok() && head == snappy::MAGIC,
        _ => read(&mut tail, true).is_ok() && tail[5..] == *b"\0\0\0\x01/",
    }
}

/// Why a log ends everything.
struct Refused {
    offset: u64,
    what: String,
    way_out: String,
}

impl Refused {
    fn damage(offset: u64, what: String) -> Refused {
        Refused { offset, what, way_out: BAD_LOG.into() }
    }

    fn named(self, path: &Path) -> String {
        format!("{}, offset {}: {}. {}", path.display(), self.offset, self.what, self.way_out)
    }
}

impl From<ApacheLogError> for Refused {
    fn from(error: ApacheLogError) -> Refused {
        Refused::damage(error.offset, error.what)
    }
}

struct Replay {
    restored: Restored,
    /// Of the snapshot, by its name.
    from: Zxid,
    /// The newest transaction that may be in it.
    until: Zxid,
    trusts: bool,
    /// The digest at the snapshot's fuzzy end; None once it was compared or passed.
    pending: Option<(Zxid, u64)>,
    mismatches: u64,
}

impl Replay {
    fn new(source: &Source<'_>, (zxid, path): (Zxid, &Path), image: Image, warnings: Vec<String>) -> Replay {
        let mut store = Store::from_tree(source.settings, image.tree);
        store.recount_usage();
        store.set_applied(zxid);
        let sessions = image.sessions.into_iter().collect();
        let begin = Some(path.to_path_buf());
        let restored = Restored { store, sessions, last_zxid: zxid, begin, txns: 0, warnings };
        let pending = image.digest.filter(|(at, _)| *at > Zxid::ZERO && *at >= zxid);
        let ends = [image.digest.map(|(at, _)| at), image.last_zxid, Some(zxid)];
        let until = ends.into_iter().flatten().max().expect("its own zxid is one");
        Replay { restored, from: zxid, until, trusts: source.trust_empty_snapshot, pending, mismatches: 0 }
    }

    fn empty(source: &Source<'_>, mut warnings: Vec<String>) -> Replay {
        warnings.push(
            "there is no snapshot: the logs begin with an empty tree, as snapshot.trust.empty allows".into(),
        );
        let (store, sessions) = (Store::new(source.settings), BTreeMap::new());
        let restored = Restored { store, sessions, last_zxid: Zxid::ZERO, begin: None, txns: 0, warnings };
        let zero = Zxid::ZERO;
        Replay { restored, from: zero, until: zero, trusts: true, pending: None, mismatches: 0 }
    }

    fn logs(&mut self, logs: &Files, source: &Source<'_>) -> Result<(), String> {
        let names: Vec<Zxid> = logs.iter().map(|(zxid, _)| *zxid).collect();
        let chosen = files_from(&names, Zxid(self.from.0.saturating_add(1)));
        for (at, name) in chosen.iter().enumerate() {
            let path =
                logs.iter().find(|(zxid, _)| zxid == name).map(|(_, path)| path).expect("chosen from them");
            let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (bytes, file) = opened.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            if bytes == 0 && Some(name) != chosen.last() {
                let empty = Refused::damage(0, "the file is empty, but later logs are there".into());
                return Err(empty.named(path));
            }
            if Some(name) == chosen.last() && holds_nothing(path, bytes) {
                let what = "the last log holds nothing: it was begun, and nothing in it was acknowledged";
                self.restored.warnings.push(format!("{}: {what}", path.display()));
                continue;
            }
            tracing::info!("reading {}, {} of {} of the logs", path.display(), at + 1, chosen.len());
            let mut file = Told::new(file, path.display().to_string(), bytes);
            self.log(path, &mut file, source.image.field_bytes_max).map_err(|refused| refused.named(path))?;
        }
        Ok(())
    }

    fn log(&mut self, path: &Path, file: &mut dyn Read, entry_bytes_max: usize) -> Result<(), Refused> {
        visit_entries(file, entry_bytes_max, &mut |entry| {
            // Equal zxids occur in Apache's logs and both count, so only what the snapshot surely has is skipped.
            if entry.zxid <= self.from {
                return Ok(());
            }
            self.check_hole(path, entry)?;
            self.entry(entry.bytes)
                .map_err(|error| Refused::damage(entry.start, format!("transaction {}: {error}", entry.zxid)))
        })
    }

    /// What a lost log held would be missing from the data for ever, and nothing would show it.
    fn check_hole(&mut self, path: &Path, next: &ApacheEntry<'_>) -> Result<(), Refused> {
        let (last, offset) = (self.restored.last_zxid, next.start);
        if follows(last, next.zxid) {
            return Ok(());
        }
        let what = format!("the data before ends at zxid {last}, but here follows {}", next.zxid);
        if self.trusts {
            self.restored.warnings.push(format!("{}, offset {offset}: {what}", path.display()));
            return Ok(());
        }
        let way_out = format!(
            "Bring the missing log or a newer snapshot back from a backup or another member; or move this log and all \
             later ones away to end at {last}; or go on without what is missing, as Apache ZooKeeper would: \
             --trust-empty-snapshot, or snapshot.trust.empty=true in zoo.cfg"
        );
        Err(Refused { offset, what, way_out })
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (header, txn, digest) = decode_entry(bytes).map_err(|error| error.to_string())?;
        follow_session(&header, &txn, &mut self.restored.sessions);
        self.restored.store.replay(&header, &txn);
        self.restored.last_zxid = self.restored.last_zxid.max(header.zxid);
        self.restored.txns += 1;
        self.settle_pending();
        self.compare(header.zxid, digest);
        Ok(())
    }

    fn settle_pending(&mut self) {
        let Some((at, digest)) = self.pending else { return };
        let (last, ours) = (self.restored.last_zxid, self.restored.store.digest());
        if last < at {
            return;
        }
        self.pending = None;
        if last == at && ours.is_some_and(|ours| ours != digest) {
            self.restored.warnings.push(format!(
                "{}: its digest at {at} is {digest:x}, but the restored tree has {:x}",
                self.begin(),
                ours.unwrap_or_default()
            ));
        }
    }

    fn compare(&mut self, zxid: Zxid, digest: Option<TxnDigest>) {
        let (Some(digest), Some(ours), None) = (digest, self.restored.store.digest(), self.pending) else {
            return;
        };
        if digest.version != crate::tree::digest::DIGEST_VERSION || digest.tree as u64 == ours {
            return;
        }
        self.mismatches += 1;
        if self.mismatches == 1 {
            let text =
                format!("transaction {zxid} carries the digest {:x}, but the tree had {ours:x}", digest.tree);
            self.restored.warnings.push(text);
        }
    }

    fn begin(&self) -> String {
        self.restored.begin.as_ref().map_or("no snapshot".into(), |path| path.display().to_string())
    }

    /// `newest`: of the snapshots, usable or not.
    fn finish(mut self, newest: Option<Zxid>) -> Restored {
        let last = self.restored.last_zxid;
        if let Some(newest) = newest.filter(|newest| *newest > last) {
            self.restored.warnings.push(format!(
                "the data ends at zxid {last}, though a snapshot of zxid {newest} was begun: what came between is lost"
            ));
        }
        if self.until > last {
            let (begin, until) = (self.begin(), self.until);
            self.restored.warnings.push(format!(
                "{begin} was being written until zxid {until}, but the logs end at {last}: some nodes in it may be newer \
                 than the others"
            ));
        }
        if self.mismatches > 1 {
            let text =
                format!("{} transactions in all carry another digest than the tree had", self.mismatches);
            self.restored.warnings.push(text);
        }
        self.restored.store.set_applied(self.restored.last_zxid);
        self.restored
    }
}

const VERSION_2: &str = "version-2";
const SNAPSHOTS_TRIED_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{OwnerRules, Tree};
    use base64::Engine;
    use serde_json::Value;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name)
    }

    fn try_restore(data_dir: &Path, log_dir: &Path, trust_empty_snapshot: bool) -> Result<Restored, String> {
        let rules = OwnerRules { extended_types: true, emulate_353: false };
        let settings = StoreSettings { hash_seed: 1, rules, digest_enabled: true, enforce_quota: false };
        let image = ImageOptions::default();
        let extended_types_given = false;
        let source =
            Source { data_dir, log_dir, settings, image, trust_empty_snapshot, extended_types_given };
        source.restore().map(|restored| restored.expect("not empty"))
    }

    fn restored(data: &Path) -> Restored {
        try_restore(data, data, false).expect("sound")
    }

    /// What it is refused with; what it warns of where missing transactions are allowed.
    fn refused(data: &Path) -> (String, Vec<String>) {
        let error = try_restore(data, data, false).err().expect("refused");
        (error, try_restore(data, data, true).map_or_else(|error| vec![error], |restored| restored.warnings))
    }

    /// A data folder with some files of `standalone-basic`.
    fn part(names: &[&str]) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        let target = copy.path().join(VERSION_2);
        fs::create_dir(&target).expect("created");
        for name in names {
            let source = folder("standalone-basic/data/version-2").join(name);
            fs::copy(source, target.join(name)).expect("copied");
        }
        copy
    }

    /// Compares with what Apache's own loader made of the same files.
    fn check(expected: &str, data: &str) {
        let text = fs::read_to_string(folder(expected).join("expected-persisted.json")).expect("is there");
        let expected: Value = serde_json::from_str(&text).expect("JSON");
        let restored = restored(&folder(data));
        assert_eq!(restored.warnings, Vec::<String>::new());
        assert_eq!(restored.last_zxid.0, expected["lastProcessedZxid"].as_i64().expect("a number"));
        let sessions: BTreeMap<String, i64> =
            restored.sessions.iter().map(|(id, ms)| (format!("0x{:x}", id.0), *ms as i64)).collect();
        assert_eq!(serde_json::json!(sessions), expected["sessions"]);
        let nodes = expected["nodes"].as_array().expect("an array");
        let tree = restored.store.tree();
        assert_eq!(tree.nodes().count(), nodes.len());
        assert_eq!(
            tree.node_count(),
            expected["nodeCountIncludingTwoRootAliases"].as_u64().expect("a number")
        );
        for node in nodes {
            check_node(tree, node);
        }
        let digest = expected["treeDigest"].as_i64().expect("a number");
        assert!(digest == 0 || restored.store.digest() == Some(digest as u64));
    }

    fn check_node(tree: &Tree, expected: &Value) {
        let path = expected["path"].as_str().expect("text");
        let (slot, node) = tree.find(path).unwrap_or_else(|| panic!("{path} is missing"));
        let data = node.data().map(|data| base64::engine::general_purpose::STANDARD.encode(data));
        assert_eq!(serde_json::json!(data), expected["data"], "{path}");
        let (head, children) = (node.head(), tree.child_stat(slot));
        let persisted = serde_json::json!({
            "czxid": head.czxid.0, "mzxid": head.mzxid.0, "ctime": head.ctime, "mtime": head.mtime,
            "version": head.version, "cversion": children.cversion, "aversion": head.aversion,
            "ephemeralOwner": head.owner, "ephemeralOwner_hex": format!("0x{:x}", head.owner),
            "pzxid": children.pzxid.0,
        });
        assert_eq!(persisted, expected["persisted"], "{path}");
        let acl: Vec<Value> = tree
            .acl(head.acl)
            .iter()
            .map(|acl| serde_json::json!({"perms": acl.perms, "scheme": acl.scheme, "id": acl.id}))
            .collect();
        assert_eq!(Value::from(acl), expected["acl"], "{path}");
    }

    #[test]
    fn standalone_directories_restore_as_apache_restores_them() {
        for name in ["basic", "fuzzy", "gz", "legacyflags", "snappy"] {
            let name = format!("standalone-{name}");
            check(&name, &format!("{name}/data"));
        }
    }

    #[test]
    fn all_members_of_an_ensemble_restore_the_same_tree() {
        for member in 1..=4 {
            check("quorum-4", &format!("quorum-4/s{member}/data"));
        }
    }

    #[test]
    fn a_truncated_log_restores_as_the_snapshot_after_the_truncation() {
        let (before, after) =
            (restored(&folder("trunc-case/before/data")), restored(&folder("trunc-case/after/data")));
        assert!(before.last_zxid > after.last_zxid);
        assert_eq!(after.last_zxid, Zxid(0x1_0000_0006));
        assert!(before.warnings.is_empty() && after.warnings.is_empty());
    }

    #[test]
    fn replay_from_any_older_snapshot_gives_the_same_tree() {
        let whole = restored(&folder("standalone-basic/data"));
        for newest in ["snapshot.0", "snapshot.60"] {
            let copy = part(&[newest, "log.1", "log.62", "log.c1"]);
            let other = restored(copy.path());
            assert_eq!(other.warnings, Vec::<String>::new());
            assert_eq!(other.store.digest(), whole.store.digest());
            assert_eq!(other.sessions, whole.sessions);
        }
    }

    #[test]
    fn damage_is_named_and_an_older_snapshot_takes_over() {
        let copy = part(&["snapshot.60", "snapshot.bf", "log.1", "log.62", "log.c1"]);
        let (newest, log) = (copy.path().join("version-2/snapshot.bf"), copy.path().join("version-2/log.62"));
        let mut bytes = fs::read(&newest).expect("is there");
        bytes[5000] ^= 1;
        fs::write(&newest, &bytes).expect("written");
        let other = restored(copy.path());
        assert!(other.begin.as_ref().is_some_and(|path| path.ends_with("snapshot.60")));
        assert!(other.warnings.len() == 1 && other.warnings[0].contains("snapshot.bf cannot be used"));
        // As a crash leaves one.
        bytes.truncate(5000);
        fs::write(&newest, bytes).expect("written");
        let other = restored(copy.path());
        assert!(other.begin.as_ref().is_some_and(|path| path.ends_with("snapshot.60")));
        assert!(other.warnings.len() == 1 && other.warnings[0].contains("snapshot.bf is not complete"));
        let log_c1 = copy.path().join("version-2/log.c1");
        fs::rename(&log, copy.path().join("log.62")).expect("moved");
        fs::rename(&log_c1, copy.path().join("log.c1")).expect("moved");
        let warnings = restored(copy.path()).warnings;
        assert!(
            warnings[1].contains("ends at zxid 0x61, though a snapshot of zxid 0xbf was begun"),
            "{warnings:?}"
        );
        fs::rename(copy.path().join("log.62"), &log).expect("moved back");
        fs::rename(copy.path().join("log.c1"), log_c1).expect("moved back");
        let mut bytes = fs::read(&log).expect("is there");
        bytes[60] ^= 1;
        fs::write(&log, bytes).expect("written");
        let (error, trusting) = refused(copy.path());
        assert!(error.contains("log.62, offset 16: the record's checksum is"), "{error}");
        assert!(error.contains("from a backup or another member"), "{error}");
        assert_eq!(trusting, [error]);
    }

    #[test]
    fn logs_without_a_snapshot_are_refused_unless_that_is_allowed() {
        let copy = part(&["log.1", "log.62", "log.c1"]);
        let (error, warnings) = refused(copy.path());
        assert!(
            error.contains("no complete snapshot, but there are logs") && error.contains("log.1 is"),
            "{error}"
        );
        assert!(error.contains("--trust-empty-snapshot"), "{error}");
        assert!(warnings.len() == 1 && warnings[0].starts_with("there is no snapshot"), "{warnings:?}");
        let whole = restored(&folder("standalone-basic/data"));
        let allowed = try_restore(copy.path(), copy.path(), true).expect("allowed");
        assert_eq!((allowed.store.digest(), allowed.last_zxid), (whole.store.digest(), whole.last_zxid));
        assert_eq!((allowed.begin, allowed.txns), (None, 97 + 95 + 21));
        // Half a snapshot is none. A whole one that is damaged is no reason to begin with an empty tree.
        let torn = copy.path().join("version-2/snapshot.60");
        let whole = fs::read(folder("standalone-basic/data/version-2/snapshot.60")).expect("is there");
        fs::write(&torn, &whole[..3000]).expect("written");
        let (error, warnings) = refused(copy.path());
        assert!(error.contains("snapshot.60 is not complete"), "{error}");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let mut damaged = whole;
        damaged[3000] ^= 1;
        fs::write(&torn, damaged).expect("written");
        let (error, trusting) = refused(copy.path());
        assert!(
            error.contains("no snapshot that can be used") && error.contains("snapshot.60 cannot be used")
        );
        assert_eq!(trusting, [error]);
    }

    #[test]
    fn a_hole_is_refused_unless_that_is_allowed() {
        // Between the snapshot and the logs.
        let copy = part(&["snapshot.0", "log.62", "log.c1"]);
        let (error, warnings) = refused(copy.path());
        let hole = "log.62, offset 16: the data before ends at zxid 0x0, but here follows 0x62";
        assert!(error.contains(hole) && error.contains("--trust-empty-snapshot"), "{error}");
        assert!(warnings[0].ends_with(hole), "{warnings:?}");
        // Between two logs: the last one named before the snapshot's zxid is read, too, and ends below it.
        let copy = part(&["snapshot.60", "log.1", "log.c1"]);
        let (error, _) = refused(copy.path());
        assert!(
            error.contains("log.c1, offset 16: the data before ends at zxid 0x61, but here follows 0xc1"),
            "{error}"
        );
        // An empty file ends the logs as a crash does, but not before others.
        let copy = part(&["snapshot.60", "log.1", "log.62", "log.c1"]);
        fs::write(copy.path().join("version-2/log.c1"), b"").expect("written");
        assert_eq!(restored(copy.path()).last_zxid, Zxid(0xc0));
        fs::write(copy.path().join("version-2/log.62"), b"").expect("written");
        let (error, trusting) = refused(copy.path());
        assert!(error.contains("log.62, offset 0: the file is empty, but later logs are there"), "{error}");
        assert_eq!(trusting, [error]);
        fs::write(copy.path().join("version-2/log.c1"), b"ZKLG").expect("written");
        assert!(refused(copy.path()).0.contains("log.62, offset 0"));
        fs::remove_file(copy.path().join("version-2/log.62")).expect("removed");
        // The last one may have been begun when the power went.
        for nothing in [&b"ZKLG"[..], &[0; 15], &[0; 16], &[0; 65536]] {
            fs::write(copy.path().join("version-2/log.c1"), nothing).expect("written");
            let restored = restored(copy.path());
            assert_eq!(restored.last_zxid, Zxid(0x61));
            assert!(
                restored
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("log.c1: the last log holds nothing"))
            );
        }
        // A member that came late has only the logs after its snapshot.
        let late = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder("quorum-4/s4/data/version-2"), late.path().join(VERSION_2));
        fs::create_dir(&to).expect("created");
        for name in ["snapshot.0", "log.100000045", "log.200000001"] {
            fs::copy(from.join(name), to.join(name)).expect("copied");
        }
        let error = refused(late.path()).0;
        assert!(error.contains("ends at zxid 0x0, but here follows 0x100000045"), "{error}");
    }

    /// The snapshot was written while transactions went on, and those are lost.
    #[test]
    fn logs_that_end_within_a_fuzzy_snapshot_are_warned_of() {
        let other = restored(part(&["snapshot.60"]).path());
        assert_eq!((other.last_zxid, other.txns), (Zxid(0x60), 0));
        assert!(other.warnings.len() == 1, "{:?}", other.warnings);
        assert!(other.warnings[0].contains("snapshot.60 was being written until zxid 0x61"));
        assert!(restored(part(&["snapshot.60", "log.1"]).path()).warnings.is_empty());
    }

    #[test]
    fn files_in_the_wrong_one_of_two_folders_are_refused() {
        let (data, logs) = (part(&["snapshot.60"]), part(&["log.1", "log.62", "log.c1"]));
        let both = try_restore(data.path(), logs.path(), false).expect("sound");
        assert_eq!((both.last_zxid, both.warnings.len()), (Zxid(0xd5), 0));
        let again = data.path().join("..").join(data.path().file_name().expect("named"));
        assert_eq!(try_restore(data.path(), &again, false).expect("one folder").last_zxid, Zxid(0x60));
        fs::copy(logs.path().join("version-2/log.62"), data.path().join("version-2/log.62")).expect("copied");
        let error = try_restore(data.path(), logs.path(), true).err().expect("refused");
        assert!(error.contains("version-2/log.62: there are logs in dataDir"), "{error}");
        let error = try_restore(logs.path(), data.path(), true).err().expect("refused");
        assert!(error.contains("version-2/snapshot.60: there are snapshots in dataLogDir"), "{error}");
    }
}
