//! `ringkeeper inspect` on the recorded data folders of Apache ZooKeeper and on our own, as a program calls it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use serde_json::Value;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::Server;

const FOLDERS: [(&str, &str); 9] = [
    ("standalone-basic", "data"),
    ("standalone-fuzzy", "data"),
    ("standalone-gz", "data"),
    ("standalone-legacyflags", "data"),
    ("standalone-snappy", "data"),
    ("quorum-4", "s1/data"),
    ("quorum-4", "s2/data"),
    ("quorum-4", "s3/data"),
    ("quorum-4", "s4/data"),
];

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name)
}

fn inspect(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringkeeper")).arg("inspect").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let output = inspect(&[arguments, &["--output", "json"]].concat());
    text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_recorded_folder_holds_what_apache_restores_from_it() {
    for (name, part) in FOLDERS {
        let folder = sample(name).join(part).display().to_string();
        let expected = std::fs::read_to_string(sample(name).join("expected-persisted.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let nodes = json(&["snapshot", &folder, "--tree"]);
        let wanted = expected["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), wanted.len(), "{folder}");
        for wanted in wanted {
            let node = nodes.iter().find(|node| node["path"] == wanted["path"]).unwrap();
            assert_eq!((&node["data"], &node["acl"]), (&wanted["data"], &wanted["acl"]), "{folder}: {node}");
            let fields = wanted["persisted"].as_object().unwrap();
            for (field, value) in fields.iter().filter(|(field, _)| *field != "ephemeralOwner_hex") {
                assert_eq!(&node[field], value, "{folder}: {field} of {node}");
            }
        }
        let summary = &json(&["snapshot", &folder])[0];
        assert_eq!(summary["sessions"], expected["sessions"], "{folder}");
        let last = format!("0x{}", expected["lastProcessedZxid_hex"].as_str().unwrap());
        assert_eq!(summary["lastZxid"], last.as_str(), "{folder}");
        let digest = expected["treeDigest"].as_i64().unwrap();
        assert!(digest == 0 || summary["digest"] == format!("{digest:x}").as_str(), "{folder}");
        assert_eq!(summary["digest"], summary["computedDigest"], "{folder}");
    }
}

#[test]
fn filters_choose_transactions_and_all_of_them_must_fit() {
    let folder = sample("standalone-basic/data").display().to_string();
    let all = json(&["log", &folder]);
    assert_eq!(all.len(), 97 + 95 + 21);
    assert_eq!(all.last().unwrap()["zxid"], "0xd5");
    let some = json(&["log", &folder, "--zxid", "0x10..31"]);
    assert_eq!((some.len(), &some[0]["zxid"]), (16, &all[15]["zxid"]));
    let deletes = json(&["log", &folder, "--type", "delete,multi"]);
    let is_wanted = |txn: &&Value| txn["type"] == "delete" || txn["type"] == "multi";
    assert_eq!(deletes.iter().collect::<Vec<_>>(), all.iter().filter(is_wanted).collect::<Vec<_>>());
    assert!(deletes.len() > 1 && deletes.len() < all.len());
    let acl = json(&["log", &folder, "--path", "/app/acl", "--type", "setACL"]);
    assert_eq!(acl.len(), 1);
    assert_eq!((&acl[0]["path"], &acl[0]["zxid"]), (&"/app/acl".into(), &"0x78".into()));
    let middle = all[100]["time"].as_str().unwrap();
    let (before, after) =
        (json(&["log", &folder, "--until", middle]), json(&["log", &folder, "--since", middle]));
    assert_eq!(before.len() + after.len(), all.len());
    assert_eq!(json(&["log", &folder, "--session", "0x1"]).len(), 0);
    let lines = text(&inspect(&["log", &folder]));
    assert_eq!(lines.lines().count(), all.len());
    assert!(lines.lines().last().unwrap().ends_with("create \"/app/last\" 4 bytes acl world:anyone:rwcda"));
}

#[test]
fn two_states_of_a_folder_differ_in_what_the_log_between_them_did() {
    let folder = sample("standalone-basic/data").display().to_string();
    let changes = json(&["diff", &format!("{folder}@0xc0"), &format!("{folder}@0xd5")]);
    assert_eq!(changes[0]["path"], "/app");
    assert_eq!(changes[0]["fields"], serde_json::json!(["cversion", "pzxid"]));
    assert_eq!((&changes[1]["change"], &changes[1]["path"]), (&"created".into(), &"/app/last".into()));
    assert_eq!(changes.last().unwrap(), &serde_json::json!({"created": 1, "deleted": 0, "changed": 3}));
    let same = text(&inspect(&["diff", &folder, &folder]));
    assert_eq!(same, "0 created, 0 deleted, 0 changed\n");
    let refused = inspect(&["diff", &folder, &format!("{folder}@0xd6")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ends at 0xd5, before 0xd6"));
    assert_eq!(refused.status.code(), Some(1));
}

/// A copy of some files of `standalone-basic`, snapshots and logs in folders of their own.
fn part(snapshots: &[&str], logs: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (folder, names) in [("data", snapshots), ("logs", logs)] {
        let target = copy.path().join(folder).join("version-2");
        std::fs::create_dir_all(&target).unwrap();
        for name in names {
            let source = sample("standalone-basic/data/version-2").join(name);
            std::fs::copy(source, target.join(name)).unwrap();
        }
    }
    copy
}

fn refused(arguments: &[&str]) -> String {
    let output = inspect(arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_no_file_holds_is_not_made_up() {
    let all = part(&["snapshot.0", "snapshot.60"], &["log.1", "log.62", "log.c1"]);
    let data = all.path().join("data").display().to_string();
    let logs = all.path().join("logs").display().to_string();
    let at = |zxid: &str, expected: &str| {
        let summary = &json(&["snapshot", &data, "--log-dir", &logs, "--at", zxid])[0];
        assert_eq!(summary["lastZxid"], expected, "{zxid}");
        assert_eq!(summary["digest"], summary["computedDigest"], "{zxid}");
    };
    at("0x5f", "0x5f");
    std::fs::remove_file(all.path().join("data/version-2/snapshot.0")).unwrap();
    let error = refused(&["snapshot", &data, "--log-dir", &logs, "--at", "0x5f"]);
    assert!(error.contains("holds no state at 0x5f: its oldest snapshot is of zxid 0x60"), "{error}");
    let error = refused(&["diff", &format!("{data}@0x5f"), &data]);
    assert!(error.contains("ask for that or a later one"), "{error}");
    // The snapshot of 0x60 was written until 0x61.
    let error = refused(&["snapshot", &data, "--log-dir", &logs, "--at", "0x60"]);
    assert!(error.contains("no usable snapshot that is not newer than 0x60"), "{error}");
    at("0x61", "0x61");
    std::fs::remove_file(all.path().join("logs/version-2/log.62")).unwrap();
    at("0x61", "0x61");
    for zxid in ["0x62", "0xc1", "0xd5"] {
        let error = refused(&["snapshot", &data, "--log-dir", &logs, "--at", zxid]);
        let hole = "log.c1, offset 16: the data before ends at zxid 0x61, but here follows 0xc1";
        assert!(error.contains(hole), "{zxid}: {error}");
    }
    let error = refused(&["snapshot", &data, "--log-dir", &logs]);
    assert!(error.contains("the data before ends at zxid 0x61"), "{error}");
}

#[test]
fn a_zoo_cfg_stands_for_both_of_its_folders() {
    let all = part(&["snapshot.60"], &["log.1", "log.62", "log.c1"]);
    let path = |name: &str| all.path().join(name).display().to_string();
    let text_of = format!("dataDir={}\ndataLogDir={}\nclientPort=2181\n", path("data"), path("logs"));
    std::fs::write(all.path().join("zoo.cfg"), text_of).unwrap();
    let files = json(&[&path("zoo.cfg")]);
    assert_eq!(files.len(), 4);
    assert_eq!(json(&["log", &path("zoo.cfg")]).len(), 97 + 95 + 21);
    let whole = sample("standalone-basic/data").display().to_string();
    assert_eq!(text(&inspect(&["diff", &path("zoo.cfg"), &whole])), "0 created, 0 deleted, 0 changed\n");
    let middle = (format!("{}@0xc0", path("zoo.cfg")), format!("{whole}@0xc0"));
    assert_eq!(text(&inspect(&["diff", &middle.0, &middle.1])), "0 created, 0 deleted, 0 changed\n");
    let summary = &json(&["snapshot", &path("zoo.cfg"), "--at", "0xc0"])[0];
    assert_eq!((&summary["lastZxid"], &summary["digest"]), (&"0xc0".into(), &summary["computedDigest"]));
    std::fs::write(all.path().join("bad.cfg"), "dataDir\n").unwrap();
    assert!(refused(&[&path("bad.cfg")]).contains("no log and no snapshot"));
}

/// After a takeover, what was before it is in Apache's files, and ours have no state there.
#[test]
fn states_before_and_after_a_takeover_are_read() {
    let copy = part(&["snapshot.60", "log.1", "log.62"], &["log.c1"]);
    let data = copy.path().join("data").display().to_string();
    let imported = Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
        .args(["import", &data, &data, "-Dzookeeper.extendedTypesEnabled=true"])
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    for (zxid, kept) in [("0x70", true), ("0xc0", false)] {
        let summary = &json(&["snapshot", &data, "--at", zxid])[0];
        assert_eq!((&summary["lastZxid"], &summary["digest"]), (&zxid.into(), &summary["computedDigest"]));
        let Some(version_2) = kept.then(|| copy.path().join("data/version-2")) else { continue };
        std::fs::remove_dir_all(version_2).unwrap();
        let error = refused(&["snapshot", &data, "--at", zxid]);
        assert!(error.contains("before 0x70. The next snapshot is of zxid 0xc0"), "{error}");
    }
}

#[test]
fn a_packed_snapshot_is_read_to_its_end() {
    let copy = tempfile::tempdir().unwrap();
    for (name, damage) in [("snapshot.2f.gz", 5), ("snapshot.31.snappy", 0)] {
        let kind = name.rsplit('.').next().unwrap();
        let whole = std::fs::read(sample(&format!("standalone-{kind}/data/version-2/{name}"))).unwrap();
        let folder = copy.path().join(kind).join("version-2");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(name);
        let place = copy.path().join(kind).display().to_string();
        let diff = || inspect(&["diff", &place, &file.display().to_string()]);
        std::fs::write(&file, &whole).unwrap();
        assert_eq!(text(&diff()), "0 created, 0 deleted, 0 changed\n");
        // The checksum of gzip itself, which comes after everything that the snapshot's own checksums cover.
        let mut bytes = whole.clone();
        if damage > 0 {
            let at = bytes.len() - damage;
            bytes[at] ^= 1;
            std::fs::write(&file, &bytes).unwrap();
            assert!(refused(&["snapshot", &place]).contains("reading failed"));
            bytes = whole;
        }
        bytes.extend_from_slice(b"more");
        std::fs::write(&file, &bytes).unwrap();
        refused(&["snapshot", &place]);
        refused(&["snapshot", &file.display().to_string()]);
        let imported = Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
            .args(["import", &place, &copy.path().join("to").display().to_string()])
            .output()
            .unwrap();
        assert_eq!(imported.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&imported.stderr).contains("cannot be used"));
    }
}

#[test]
fn damage_is_named_with_its_offset_and_a_log_is_repaired_into_a_new_file() {
    let copy = tempfile::tempdir().unwrap();
    let (bad, new) = (copy.path().join("log.1"), copy.path().join("repaired"));
    let original = std::fs::read(sample("standalone-basic/data/version-2/log.1")).unwrap();
    let mut bytes = original.clone();
    bytes[23] ^= 1;
    std::fs::write(&bad, bytes).unwrap();
    let (bad, new) = (bad.display().to_string(), new.display().to_string());
    let verified = inspect(&["log", &bad, "--verify"]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stderr).contains("log.1, offset 16: the record's checksum is"));
    assert!(
        String::from_utf8_lossy(&verified.stdout).contains("96 transaction(s) (0x2 to 0x61), 1 problem(s)")
    );
    assert!(text(&inspect(&["log", &bad, "--repair", &new])).contains("97 record(s), 1 with a new checksum"));
    let repaired = std::fs::read(&new).unwrap();
    assert_eq!(repaired, original[..repaired.len()]);
    assert!(original[repaired.len()..].iter().all(|byte| *byte == 0));
    assert!(text(&inspect(&["log", &new, "--verify"])).contains("sound"));
    assert_eq!(inspect(&["log", &bad, "--repair", &new]).status.code(), Some(1), "nothing is overwritten");
}

#[test]
fn what_is_no_data_is_refused_with_what_to_give() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().display().to_string();
    let refused = inspect(&[&folder]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("give the dataDir"));
    let file = empty.path().join("notes");
    std::fs::write(&file, "ZK").unwrap();
    assert_eq!(inspect(&[&file.display().to_string()]).status.code(), Some(1));
    assert_eq!(inspect(&["/no/such/file"]).status.code(), Some(1));
}

#[test]
fn our_own_folder_is_read_while_the_server_runs() {
    let server = Server::start("", &[]);
    let mut client = server.connect();
    for index in 0..20 {
        assert_eq!(client.create(&format!("/n{index}"), b"data", 0).err, 0);
    }
    let folder = server.data().parent().unwrap().display().to_string();
    let created = json(&["log", &folder, "--path", "/n7"]);
    assert_eq!(created.len(), 1);
    assert_eq!(created[0]["data"], "ZGF0YQ==");
    let summary = &json(&["snapshot", &folder])[0];
    assert_eq!(summary["sessions"].as_object().unwrap().len(), 1);
    assert_eq!(summary["digest"], summary["computedDigest"]);
    let nodes = json(&["snapshot", &folder, "--tree"]);
    assert_eq!(nodes.iter().filter(|node| node["path"].as_str().unwrap().starts_with("/n")).count(), 20);
    let zxid = created[0]["zxid"].as_str().unwrap();
    let changes = json(&["diff", &format!("{folder}@{zxid}"), &folder]);
    assert_eq!(changes.last().unwrap()["created"], 12);
    assert!(text(&inspect(&["log", &folder, "--verify"])).contains("sound"));
}

#[test]
fn a_followed_log_shows_what_is_written_after_it_was_opened() {
    let server = Server::start("", &[]);
    let mut client = server.connect();
    assert_eq!(client.create("/before", b"", 0).err, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
        .args(["inspect", "log", "--follow", "--type", "create2,create"])
        .arg(server.data())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("\"/before\""));
    assert_eq!(client.create("/after", b"", 0).err, 0);
    assert!(lines.next().unwrap().unwrap().contains("\"/after\""));
    child.kill().unwrap();
    child.wait().unwrap();
}
