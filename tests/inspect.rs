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
