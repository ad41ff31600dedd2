//! `ringkeeper import` of every recorded data folder of Apache ZooKeeper, whole and cut: at the end of every transaction
//! of its last log, and inside every one. What came over must be what Apache's own loader made of the whole, and what
//! a small model (`support/apache.rs`) makes of the transactions before the cut. The model begins with the oldest
//! snapshot where the import begins with the newest, so it checks the snapshots, too.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use support::apache::{Model, Record, records};

/// Each folder with the files the model takes: a plain snapshot that is a point in time, and all logs after it. (An empty
/// server is the same whatever its snapshot is packed in; a member that joined late has the logs of the others before.)
const FOLDERS: [(&str, &str, &[&str]); 11] = [
    ("standalone-basic/data", "standalone-basic/data/version-2/snapshot.0", &["standalone-basic/data"]),
    ("standalone-gz/data", "standalone-basic/data/version-2/snapshot.0", &["standalone-gz/data"]),
    ("standalone-snappy/data", "standalone-basic/data/version-2/snapshot.0", &["standalone-snappy/data"]),
    (
        "standalone-legacyflags/data",
        "standalone-legacyflags/data/version-2/snapshot.0",
        &["standalone-legacyflags/data"],
    ),
    ("standalone-fuzzy/data", "standalone-fuzzy/data/version-2/snapshot.98c", &["standalone-fuzzy/data"]),
    ("quorum-4/s1/data", "quorum-4/s1/data/version-2/snapshot.0", &["quorum-4/s1/data"]),
    ("quorum-4/s2/data", "quorum-4/s2/data/version-2/snapshot.0", &["quorum-4/s2/data"]),
    ("quorum-4/s3/data", "quorum-4/s3/data/version-2/snapshot.0", &["quorum-4/s3/data"]),
    (
        "quorum-4/s4/data",
        "quorum-4/s1/data/version-2/snapshot.0",
        &["quorum-4/s1/data/version-2/log.100000001", "quorum-4/s4/data"],
    ),
    ("trunc-case/before/data", "trunc-case/before/data/version-2/snapshot.0", &["trunc-case/before/data"]),
    // Its log holds nothing that the snapshot has not: wherever it is cut, the snapshot is what comes over.
    (
        "trunc-case/after/data",
        "trunc-case/after/data/version-2/snapshot.100000006",
        &["trunc-case/after/data"],
    ),
];

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name)
}

/// The logs of a folder by the zxid in their names.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs = support::files(&folder.join("version-2"), "log.");
    logs.sort_by_key(|log| i64::from_str_radix(log.extension().unwrap().to_str().unwrap(), 16).unwrap());
    logs
}

/// The states after each transaction, the first one before any.
fn history(snapshot: &str, sources: &[&str]) -> Vec<Model> {
    let mut model = Model::of_snapshot(&fs::read(recorded(snapshot)).unwrap());
    let mut states = vec![model.clone()];
    for source in sources.iter().map(|source| recorded(source)) {
        let logs = if source.is_dir() { logs(&source) } else { vec![source] };
        for record in logs.iter().flat_map(|log| records(&fs::read(log).unwrap())) {
            if record.zxid > model.zxid {
                model.apply(&record);
                states.push(model.clone());
            }
        }
    }
    states
}

/// Imports a folder; what then lies in ours, and what was said.
fn import(from: &Path, to: &Path) -> (Model, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
        .env_remove("SERVER_JVMFLAGS")
        .env_remove("JVMFLAGS")
        .args(["import", "-Dzookeeper.extendedTypesEnabled=true"])
        .args([from, to])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {}", from.display(), String::from_utf8_lossy(&output.stderr));
    let written = support::files(&to.join("ringkeeper"), "snapshot.");
    assert_eq!(written.len(), 1);
    let model = Model::of_snapshot(&fs::read(&written[0]).unwrap());
    assert!(written[0].ends_with(format!("snapshot.{:x}", model.zxid)));
    fs::remove_dir_all(to).unwrap();
    (model, text)
}

fn assert_same(found: &Model, expected: &Model, what: &str) {
    assert_eq!(found.zxid, expected.zxid, "{what}");
    assert_eq!(found.sessions, expected.sessions, "{what}");
    let (nodes, wanted) = (found.persisted_as_stored(), expected.persisted());
    assert_eq!(nodes.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{what}");
    for (path, node) in nodes {
        assert_eq!(node, wanted[&path], "{what}");
    }
    assert!(expected.digest.is_none() || found.digest == expected.digest, "{what}");
}

/// The files of a folder but the last log, which comes in many lengths.
struct Cut {
    scratch: tempfile::TempDir,
    last_log: PathBuf,
    whole: Vec<u8>,
}

impl Cut {
    fn of(folder: &Path) -> Cut {
        // In memory where that is possible: what takes time is waiting for the disk, more than a thousand times.
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let target = scratch.path().join("from/version-2");
        fs::create_dir_all(&target).unwrap();
        for file in support::files(&folder.join("version-2"), "") {
            fs::copy(&file, target.join(file.file_name().unwrap())).unwrap();
        }
        let last_log = logs(&scratch.path().join("from")).pop().unwrap();
        let whole = fs::read(&last_log).unwrap();
        Cut { scratch, last_log, whole }
    }

    /// Imports with that many bytes of the last log; `filled`: the rest is zero, as in a preallocated file.
    fn import(&self, bytes: usize, filled: bool) -> (Model, String) {
        let mut log = self.whole[..bytes].to_vec();
        if filled {
            log.resize(self.whole.len(), 0);
        }
        fs::write(&self.last_log, log).unwrap();
        import(&self.scratch.path().join("from"), &self.scratch.path().join("to"))
    }
}

fn expected(folder: &str, file: &str) -> Option<Value> {
    let text = fs::read_to_string(recorded(folder.split('/').next().unwrap()).join(file)).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// With what Apache's own loader made of the folder, and what a client of Apache saw before.
fn assert_as_apache(folder: &str, found: &Model) {
    let Some(persisted) = expected(folder, "expected-persisted.json") else {
        assert!(folder.starts_with("trunc-case"), "{folder} has been restored by Apache");
        return;
    };
    let sessions: BTreeMap<String, i32> =
        found.sessions.iter().map(|(session, timeout)| (format!("0x{session:x}"), *timeout)).collect();
    assert_eq!(json!(sessions), persisted["sessions"], "{folder}");
    assert_eq!(json!(found.zxid), persisted["lastProcessedZxid"], "{folder}");
    assert!(persisted["treeDigest"] == 0 || json!(found.digest) == persisted["treeDigest"], "{folder}");
    let nodes = found.persisted_as_stored();
    let wanted = persisted["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), wanted.len(), "{folder}");
    for node in wanted {
        assert_eq!(&nodes[node["path"].as_str().unwrap()], node, "{folder}");
    }
    let Some(seen) = expected(folder, "expected-client.json") else { return };
    for node in seen["nodes"].as_array().unwrap() {
        let path = node["path"].as_str().unwrap();
        let (mut stat, mut found) = (node["stat"].clone(), found.stat(path));
        if path == "/zookeeper/config" {
            // Each member's own: when it last took its configuration from its file.
            stat["mtime"].take();
            found["mtime"].take();
        }
        assert_eq!(found, stat, "{folder}: {path}");
    }
}

fn whole_and_cut(folder: &str, snapshot: &str, sources: &[&str]) -> usize {
    let states = history(snapshot, sources);
    let end = states.last().unwrap();
    let cut = Cut::of(&recorded(folder));
    let (found, said) = cut.import(cut.whole.len(), false);
    assert!(!said.contains("warning"), "{folder}: {said}");
    assert_same(&found, end, folder);
    assert_as_apache(folder, &found);
    let records = records(&cut.whole);
    assert!(!records.is_empty(), "{folder}");
    let at = |zxid: i64| states.iter().rfind(|state| state.zxid <= zxid).unwrap_or(&states[0]);
    let before_all = at(records[0].zxid - 1);
    let mut before = before_all;
    for (index, Record { start, end, zxid, .. }) in records.iter().enumerate() {
        // A different place in each: in its checksum, its length, its header, its content, before its end mark.
        let inside = start + 1 + index * 7919 % (end - start - 1);
        for (bytes, filled, state) in
            [(inside, false, before), (inside, true, before), (*end, index % 2 == 0, at(*zxid))]
        {
            let what = format!("{folder}, last log cut to {bytes} bytes at zxid {zxid:x}");
            let (found, said) = cut.import(bytes, filled);
            assert!(!said.contains("warning"), "{what}: {said}");
            assert_same(&found, state, &what);
        }
        before = at(*zxid);
    }
    // As a crash leaves a log that was just begun.
    for bytes in [0, 16] {
        assert_same(&cut.import(bytes, false).0, before_all, folder);
    }
    records.len()
}

#[test]
fn every_recorded_folder_comes_over_whole_and_cut_at_and_in_every_transaction() {
    let cuts: usize = std::thread::scope(|scope| {
        let run = |half: usize| {
            move || {
                FOLDERS
                    .iter()
                    .skip(half)
                    .step_by(2)
                    .map(|(folder, snapshot, sources)| whole_and_cut(folder, snapshot, sources))
                    .sum::<usize>()
            }
        };
        let threads = [0, 1].map(|half| scope.spawn(run(half)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(cuts > 400, "{cuts}");
}

/// No recording is left out.
#[test]
fn every_folder_with_a_log_is_in_the_list() {
    let mut folders = vec![recorded("")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        if folder.join("version-2").is_dir() {
            found.push(folder.strip_prefix(recorded("")).unwrap().display().to_string());
            continue;
        }
        let entries = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    found.sort();
    let mut listed: Vec<&str> = FOLDERS.iter().map(|(folder, _, _)| *folder).collect();
    listed.sort_unstable();
    assert_eq!(found, listed);
}
