//! Restoring from the files of Apache ZooKeeper (`FileTxnSnapLog.restore`): the newest usable snapshot, then its logs
//! after it. Only reads.
//!
//! Apache's snapshots are fuzzy: written while transactions went on, so a node may already be newer than the name
//! says. Replay is tolerant; the digest at the snapshot's end tells from where on the tree must match exactly.

use super::boot::open_image;
use crate::ids::{SessionId, Zxid};
use crate::log::apache::{ApacheLog, files_from, zxid_in_name};
use crate::member::follow_session;
use crate::tree::image::{self, Image, ImageOptions};
use crate::tree::{Store, StoreSettings, Tree};
use crate::wire::txn::{TxnDigest, decode_entry};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What was found in the files.
pub struct Restored {
    /// The data, complete up to `last_zxid`.
    pub store: Store,
    /// Sessions that were not closed, with their timeouts in ms.
    pub sessions: BTreeMap<SessionId, i32>,
    /// The newest transaction.
    pub last_zxid: Zxid,
    /// Where it began.
    pub snapshot: PathBuf,
    /// Transactions replayed.
    pub txns: u64,
    /// What the operator should know: snapshots that could not be used, digests that did not match.
    pub warnings: Vec<String>,
}

/// True if one of the folders holds snapshots or logs of Apache.
pub fn has_data(data_dir: &Path, log_dir: &Path) -> bool {
    let holds = |folder: &Path, prefix: &str| files(folder, prefix).is_ok_and(|found| !found.is_empty());
    [data_dir, log_dir].iter().any(|folder| holds(folder, "snapshot") || holds(folder, "log"))
}

/// Restores; None if there is nothing. The folders are dataDir and dataLogDir.
pub fn restore(
    data_dir: &Path,
    log_dir: &Path,
    settings: StoreSettings,
    options: &ImageOptions,
) -> Result<Option<Restored>, String> {
    let unreadable =
        |folder: &Path, error| format!("cannot read {}: {error}", folder.join(VERSION_2).display());
    let snapshots = files(data_dir, "snapshot").map_err(|error| unreadable(data_dir, error))?;
    let logs = files(log_dir, "log").map_err(|error| unreadable(log_dir, error))?;
    let mut warnings = Vec::new();
    let Some((zxid, path, image)) = newest_usable(&snapshots, settings, options, &mut warnings) else {
        if snapshots.is_empty() && logs.is_empty() {
            return Ok(None);
        }
        let what = if snapshots.is_empty() { "logs but no snapshot" } else { "no snapshot that can be used" };
        let folder = data_dir.join(VERSION_2);
        return Err(format!(
            "{} holds {what}; nothing was changed. {}",
            folder.display(),
            warnings.join(". ")
        ));
    };
    let mut store = Store::from_tree(settings, image.tree);
    store.recount_usage();
    store.set_applied(zxid);
    let sessions = image.sessions.into_iter().collect();
    let restored = Restored { store, sessions, last_zxid: zxid, snapshot: path, txns: 0, warnings };
    let pending = image.digest.filter(|(at, _)| *at > Zxid::ZERO && *at >= zxid);
    let mut replay = Replay { restored, pending, mismatches: 0 };
    replay.settle_pending();
    replay.logs(&logs, options)?;
    Ok(Some(replay.finish()))
}

type Files = BTreeMap<Zxid, PathBuf>;

/// Files named `<prefix>.<zxid>` in `version-2` below a folder; none if that is missing.
fn files(folder: &Path, prefix: &str) -> io::Result<Files> {
    let mut found = Files::new();
    let entries = match fs::read_dir(folder.join(VERSION_2)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if let Some(zxid) = path.file_name().and_then(|name| zxid_in_name(&name.to_string_lossy(), prefix)) {
            found.insert(zxid, path);
        }
    }
    Ok(found)
}

fn newest_usable(
    snapshots: &Files,
    settings: StoreSettings,
    options: &ImageOptions,
    warnings: &mut Vec<String>,
) -> Option<(Zxid, PathBuf, Image)> {
    for (zxid, path) in snapshots.iter().rev().take(SNAPSHOTS_TRIED_MAX) {
        let empty = Tree::empty(settings.hash_seed, settings.rules);
        let read = open_image(path).map_err(|error| error.to_string()).and_then(|mut source| {
            image::read(&mut source, empty, options).map_err(|error| error.to_string())
        });
        match read {
            Ok(image) => return Some((*zxid, path.clone(), image)),
            Err(error) => warnings.push(format!("{} cannot be used ({error})", path.display())),
        }
    }
    None
}

struct Replay {
    restored: Restored,
    /// The digest at the snapshot's fuzzy end; None once it was compared or passed.
    pending: Option<(Zxid, u64)>,
    mismatches: u64,
}

impl Replay {
    fn logs(&mut self, logs: &Files, options: &ImageOptions) -> Result<(), String> {
        let names: Vec<Zxid> = logs.keys().copied().collect();
        for name in files_from(&names, Zxid(self.restored.last_zxid.0 + 1)) {
            let path = &logs[name];
            let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            self.log(&bytes, options).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn log(&mut self, bytes: &[u8], options: &ImageOptions) -> Result<(), String> {
        let entry_bytes_max = options.field_bytes_max;
        for entry in ApacheLog::new(bytes, entry_bytes_max).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            // Equal zxids occur in Apache's logs and both count, so only what the snapshot surely has is skipped.
            if entry.zxid > self.snapshot_zxid() {
                self.entry(entry.bytes).map_err(|error| format!("transaction {}: {error}", entry.zxid))?;
            }
        }
        Ok(())
    }

    fn snapshot_zxid(&self) -> Zxid {
        let name = self.restored.snapshot.file_name().expect("a snapshot has a name").to_string_lossy();
        zxid_in_name(&name, "snapshot").expect("it was found by its name")
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
                self.restored.snapshot.display(),
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

    fn finish(mut self) -> Restored {
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
    use crate::tree::OwnerRules;
    use base64::Engine;
    use serde_json::Value;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name)
    }

    fn restored(data: &Path) -> Restored {
        let rules = OwnerRules { extended_types: true, emulate_353: false };
        let settings = StoreSettings { hash_seed: 1, rules, digest_enabled: true, enforce_quota: false };
        restore(data, data, settings, &ImageOptions::default()).expect("sound").expect("not empty")
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
        let source = folder("standalone-basic/data/version-2");
        let whole = restored(&folder("standalone-basic/data"));
        for newest in ["snapshot.0", "snapshot.60"] {
            let copy = tempfile::tempdir().expect("a folder");
            let target = copy.path().join(VERSION_2);
            fs::create_dir(&target).expect("created");
            for name in [newest, "log.1", "log.62", "log.c1"] {
                fs::copy(source.join(name), target.join(name)).expect("copied");
            }
            let other = restored(copy.path());
            assert_eq!(other.warnings, Vec::<String>::new());
            assert_eq!(other.store.digest(), whole.store.digest());
            assert_eq!(other.sessions, whole.sessions);
        }
    }

    #[test]
    fn damage_is_named_and_an_older_snapshot_takes_over() {
        let source = folder("standalone-basic/data/version-2");
        let copy = tempfile::tempdir().expect("a folder");
        let target = copy.path().join(VERSION_2);
        fs::create_dir(&target).expect("created");
        for name in ["snapshot.60", "snapshot.bf", "log.1", "log.62", "log.c1"] {
            fs::copy(source.join(name), target.join(name)).expect("copied");
        }
        let mut bytes = fs::read(target.join("snapshot.bf")).expect("is there");
        bytes[5000] ^= 1;
        fs::write(target.join("snapshot.bf"), bytes).expect("written");
        let other = restored(copy.path());
        assert!(other.snapshot.ends_with("snapshot.60"));
        assert!(other.warnings.len() == 1 && other.warnings[0].contains("snapshot.bf"));
        let mut log = fs::read(target.join("log.62")).expect("is there");
        log[60] ^= 1;
        fs::write(target.join("log.62"), log).expect("written");
        let settings = StoreSettings {
            hash_seed: 1,
            rules: OwnerRules::default(),
            digest_enabled: true,
            enforce_quota: false,
        };
        let error =
            restore(copy.path(), copy.path(), settings, &ImageOptions::default()).err().expect("damage");
        assert!(error.contains("log.62: offset 16"), "{error}");
        assert!(has_data(copy.path(), copy.path()));
    }
}
