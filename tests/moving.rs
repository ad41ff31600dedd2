//! Moving in: real data folders of Apache ZooKeeper are taken over, and Apache's files stay as they are.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use base64::Engine;
use std::path::{Path, PathBuf};
use support::Server;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A server that starts on a copy of a recorded data folder.
fn moved_in(name: &str) -> Server {
    let mut server = Server::start("", &["zookeeper.extendedTypesEnabled=true"]);
    server.stop();
    let data = server.folder.path().join("data");
    std::fs::remove_dir_all(&data).unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name).join("data");
    copy(&sample, &data);
    server.launch();
    server
}

/// Data of all nodes that everybody may read, as the recording says.
fn check(server: &Server, name: &str) -> usize {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name).join("expected-client.json");
    let expected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut client = server.connect();
    let nodes = expected["nodes"].as_array().unwrap();
    for node in nodes {
        let path = node["path"].as_str().unwrap();
        let found = client.get(path);
        if found == Err(-102) {
            continue;
        }
        let data =
            base64::engine::general_purpose::STANDARD.decode(node["data"].as_str().unwrap_or_default());
        // Usage of quotas is recounted while loading.
        if !path.ends_with("/zookeeper_stats") {
            assert_eq!(found, Ok(data.unwrap()), "{name}: {path}");
        }
        let stat = client.exists(path, false).body;
        let long = |at: usize| i64::from_be_bytes(stat[at..at + 8].try_into().unwrap());
        let int = |at: usize| i32::from_be_bytes(stat[at..at + 4].try_into().unwrap()) as i64;
        let fields = [
            ("czxid", long(0)),
            ("mzxid", long(8)),
            ("ctime", long(16)),
            ("mtime", long(24)),
            ("version", int(32)),
            ("aversion", int(40)),
            ("ephemeralOwner", long(44)),
        ];
        for (field, value) in fields {
            assert_eq!(Some(value), node["stat"][field].as_i64(), "{name}: {path}: {field}");
        }
    }
    nodes.len()
}

#[test]
fn apaches_folders_are_taken_over_and_go_on() {
    for name in ["standalone-basic", "standalone-gz", "standalone-snappy", "standalone-legacyflags"] {
        let mut server = moved_in(name);
        assert!(server.log().contains("took over the data of Apache ZooKeeper"), "{}", server.log());
        assert!(check(&server, name) > 5, "{name}");
        assert_eq!(server.connect().create("/after", b"the move", 0).err, 0);
        server.kill();
        server.launch();
        assert_eq!(server.connect().get("/after").unwrap(), b"the move");
        assert!(check(&server, name) > 5, "{name} after a restart");
    }
}

/// Imported into the folder that Apache's files are in, they are the ones it continues from.
#[test]
fn a_folder_imported_in_place_is_started_on() {
    let mut server = moved_in("standalone-basic");
    server.stop();
    let data = server.folder.path().join("data");
    std::fs::remove_dir_all(data.join("ringkeeper")).unwrap();
    let path = data.display().to_string();
    let imported = ringkeeper(&["import", &path, &path, "-Dzookeeper.extendedTypesEnabled=true"]);
    assert!(imported.status.success(), "{}", text(&imported));
    server.launch();
    assert!(check(&server, "standalone-basic") > 5);
}

/// Nothing but the snapshot is there after an import: without it the server would be empty.
#[test]
fn a_damaged_only_snapshot_is_refused_not_replaced_by_nothing() {
    let mut server = moved_in("standalone-basic");
    server.stop();
    for file in support::files(&server.data(), "segment.") {
        std::fs::remove_file(file).unwrap();
    }
    let snapshot = support::files(&server.data(), "snapshot.").pop().unwrap();
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    server.spawn();
    assert_eq!(server.wait(), 1);
    assert!(server.log().contains("snapshot.d5 cannot be used, and what can be read"), "{}", server.log());
    let from = server.data().parent().unwrap().display().to_string();
    let to = server.folder.path().join("to").display().to_string();
    let exported = ringkeeper(&["export", &from, &to]);
    assert_eq!(exported.status.code(), Some(1), "{}", text(&exported));
}

/// What Apache refuses unless snapshot.trust.empty is set.
#[test]
fn logs_without_a_snapshot_start_only_if_that_is_allowed() {
    let mut server = moved_in("standalone-basic");
    server.stop();
    let data = server.folder.path().join("data");
    std::fs::remove_dir_all(data.join("ringkeeper")).unwrap();
    for snapshot in support::files(&data.join("version-2"), "snapshot.") {
        std::fs::remove_file(snapshot).unwrap();
    }
    server.spawn();
    assert_eq!(server.wait(), 1);
    assert!(server.log().contains("no complete snapshot, but there are logs"), "{}", server.log());
    let (from, to) = (data.display().to_string(), server.folder.path().join("to").display().to_string());
    let refused = ringkeeper(&["import", &from, &to]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("--trust-empty-snapshot"), "{}", text(&refused));
    assert!(!Path::new(&to).exists());
    let allowed =
        ringkeeper(&["import", &from, &to, "--trust-empty-snapshot", "-DextendedTypesEnabled=true"]);
    assert!(allowed.status.success() && text(&allowed).contains("warning"), "{}", text(&allowed));
    server.defines.push("zookeeper.snapshot.trust.empty=true".into());
    server.launch();
    assert!(check(&server, "standalone-basic") > 5);
}

/// A zoo.cfg says where data and logs are, and which settings count.
#[test]
fn import_and_export_take_a_zoo_cfg() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let name = |name: &str| path(name).display().to_string();
    for (kind, folder) in [("snapshot.", "data"), ("log.", "logs")] {
        std::fs::create_dir_all(path(folder).join("version-2")).unwrap();
        for file in support::files(&Path::new(&sample("standalone-basic")).join("version-2"), kind) {
            std::fs::copy(&file, path(folder).join("version-2").join(file.file_name().unwrap())).unwrap();
        }
    }
    let text_of = |data: &str, logs: &str| {
        format!(
            "dataDir={}\ndataLogDir={}\nclientPort=2181\nextendedTypesEnabled=true\nserver.1=a:2888:3888\n",
            name(data),
            name(logs)
        )
    };
    std::fs::write(path("zoo.cfg"), text_of("data", "logs")).unwrap();
    let imported = ringkeeper(&["import", &name("zoo.cfg"), &name("ours")]);
    assert!(imported.status.success(), "{}", text(&imported));
    assert!(text(&imported).contains("last zxid  0xd5") && !text(&imported).contains("warning"));
    // With the folders apart, and only one of them named.
    let half = ringkeeper(&["import", &name("data"), &name("half"), "-DextendedTypesEnabled=true"]);
    assert!(text(&half).contains("last zxid  0xbf"), "{}", text(&half));
    assert!(
        text(&half).contains("was being written until zxid 0xc0, but the logs end at"),
        "{}",
        text(&half)
    );
    let logs = name("logs");
    let arguments =
        ["import", &name("data"), &name("both"), "--log-dir", &logs, "-DextendedTypesEnabled=true"];
    let both = ringkeeper(&arguments);
    assert!(text(&both).contains("last zxid  0xd5"), "{}", text(&both));
    std::fs::write(path("ours.cfg"), text_of("ours", "ours")).unwrap();
    let exported = ringkeeper(&["export", &name("ours.cfg"), &name("theirs")]);
    assert!(exported.status.success(), "{}", text(&exported));
    let facts = |output: &std::process::Output| {
        text(output).lines().skip(1).take(4).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(facts(&exported), facts(&imported));
    std::fs::write(path("bad.cfg"), "dataDir=\n").unwrap();
    assert_eq!(ringkeeper(&["import", &name("bad.cfg"), &name("none")]).status.code(), Some(2));
}

#[test]
fn newer_files_of_apache_beside_ours_are_refused() {
    let mut server = moved_in("standalone-basic");
    server.stop();
    std::fs::write(server.folder.path().join("data/version-2/log.ffff"), b"ZKLG").unwrap();
    server.spawn();
    assert_eq!(server.wait(), 1);
    assert!(server.log().contains("Two histories cannot be merged"), "{}", server.log());
}

fn ringkeeper(arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
    command.env_remove("SERVER_JVMFLAGS").env_remove("JVMFLAGS").args(arguments).output().unwrap()
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs").join(name).join("data").display().to_string()
}

#[test]
fn offline_import_and_export_keep_everything() {
    const TTL: &str = "-Dzookeeper.extendedTypesEnabled=true";
    let scratch = tempfile::tempdir().unwrap();
    let folder = |name: &str| scratch.path().join(name).display().to_string();
    for name in ["standalone-basic", "standalone-fuzzy", "standalone-gz", "standalone-snappy"] {
        let (ours, theirs, again) = (
            folder(&format!("{name}-ours")),
            folder(&format!("{name}-theirs")),
            folder(&format!("{name}-again")),
        );
        let dry = ringkeeper(&["import", &sample(name), &ours, TTL, "--dry-run"]);
        assert!(dry.status.success() && text(&dry).contains("nothing was written"), "{}", text(&dry));
        assert!(!Path::new(&ours).exists(), "a dry run writes nothing");
        let imported = ringkeeper(&["import", &sample(name), &ours, TTL]);
        assert!(imported.status.success(), "{}", text(&imported));
        let exported = ringkeeper(&["export", &ours, &theirs, TTL]);
        assert!(exported.status.success(), "{}", text(&exported));
        let back = ringkeeper(&["import", &theirs, &again, TTL]);
        assert!(back.status.success() && !text(&back).contains("warning"), "{}", text(&back));
        // Zxid, nodes, bytes, ACLs, sessions, ephemerals: every line but where it came from and went to.
        let facts = |output: &std::process::Output| {
            let text = text(output);
            text.lines().skip(1).take(4).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(facts(&imported), facts(&dry));
        assert_eq!(facts(&imported), facts(&exported));
        assert_eq!(facts(&imported), facts(&back));
        let bytes = |folder: &str, below: &str| {
            let files = support::files(&Path::new(folder).join(below), "snapshot.");
            std::fs::read(&files[0]).unwrap()
        };
        assert!(bytes(&ours, "ringkeeper") == bytes(&again, "ringkeeper"), "{name}: not a byte was lost");
    }
}

/// A rehearsal on the folder of a running server.
#[test]
fn a_take_over_says_who_still_has_the_logs_open() {
    for is_open in [true, false] {
        let mut server = Server::prepare("", &["zookeeper.extendedTypesEnabled=true"]);
        let target = server.folder.path().join("data/version-2");
        std::fs::create_dir_all(&target).unwrap();
        let source = PathBuf::from(sample("standalone-basic")).join("version-2");
        for entry in std::fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
        }
        let log = support::files(&target, "log.").pop().unwrap();
        let held = is_open.then(|| std::fs::OpenOptions::new().append(true).open(&log).unwrap());
        server.launch();
        let said = format!("process {} has {} open", std::process::id(), log.display());
        assert_eq!(server.log().contains(&said), is_open, "{}", server.log());
        assert_eq!(server.log().contains("import"), is_open, "{}", server.log());
        drop(held);
    }
}

#[test]
fn export_says_which_setting_large_nodes_need() {
    let server = Server::start("", &["jute.maxbuffer=4194304"]);
    let mut client = server.connect();
    assert_eq!(client.create("/small", &vec![1; 1_048_575], 0).err, 0);
    let export = |name: &str| {
        let to = server.folder.path().join(name).display().to_string();
        let from = server.folder.path().join("data").display().to_string();
        let exported = ringkeeper(&["export", &from, &to]);
        assert!(exported.status.success(), "{}", text(&exported));
        text(&exported)
    };
    assert!(!export("first").contains("jute.maxbuffer"));
    assert_eq!(client.create("/large", &vec![1; 1_048_576], 0).err, 0);
    assert_eq!(client.create("/larger", &vec![1; 3_000_000], 0).err, 0);
    let said = export("second");
    assert!(said.contains("2 node(s)") && said.contains("3000000: /larger"), "{said}");
    assert!(said.contains("-Djute.maxbuffer=3145728"), "{said}");
}

#[test]
fn export_of_a_running_server_is_a_point_in_time() {
    let server = Server::start("", &[]);
    let mut client = server.connect();
    for index in 0..50 {
        assert_eq!(client.create(&format!("/n{index}"), b"data", 0).err, 0);
    }
    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().display().to_string();
    let from = server.folder.path().join("data").display().to_string();
    let exported = ringkeeper(&["export", &from, &to]);
    assert!(exported.status.success(), "{}", text(&exported));
    assert!(text(&exported).contains("nodes      54 "), "{}", text(&exported));
    assert!(text(&exported).contains("a server uses this folder"), "{}", text(&exported));
    // An Apache folder that holds this: taken over again by a server of ours.
    let mut again = Server::start("", &[]);
    again.stop();
    let data = again.folder.path().join("data");
    std::fs::remove_dir_all(&data).unwrap();
    copy(scratch.path(), &data);
    again.launch();
    let mut client = again.connect();
    assert_eq!(client.get("/n49"), Ok(b"data".to_vec()));
}

#[test]
fn conversions_refuse_what_they_cannot_do_well() {
    let scratch = tempfile::tempdir().unwrap();
    let empty = scratch.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (empty, to) = (empty.display().to_string(), scratch.path().join("to").display().to_string());
    let fails = |arguments: &[&str], code: i32, what: &str| {
        let output = ringkeeper(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        assert!(text(&output).contains(what), "{}", text(&output));
    };
    fails(&["import", &empty, &to], 1, "holds no snapshot and no log");
    fails(&["export", &empty, &to], 1, "this is no data folder of Ringkeeper");
    fails(&["import", "/no/such/place", &to], 2, "neither a folder nor a zoo.cfg");
    let used = scratch.path().join("used/ringkeeper");
    std::fs::create_dir_all(&used).unwrap();
    std::fs::write(used.join("something"), b"x").unwrap();
    let used = scratch.path().join("used").display().to_string();
    fails(&["import", &sample("standalone-basic"), &used, "-DextendedTypesEnabled=true"], 1, "is not empty");
    // TTL nodes are not deleted unasked.
    let ttl = "extendedTypesEnabled=true to keep them";
    fails(&["import", &sample("standalone-basic"), &to, "--dry-run"], 1, ttl);
    fails(
        &["import", &sample("standalone-basic"), &to, "--dry-run", "-DextendedTypesEnabled=false"],
        0,
        "nodes",
    );
}

/// A server that has taken Apache's files over, stopped.
fn moved_in_and_stopped() -> Server {
    let mut server = Server::prepare("extendedTypesEnabled=true", &[]);
    copy_files(
        &Path::new(&sample("standalone-basic")).join("version-2"),
        &server.folder.path().join("data/version-2"),
    );
    server.launch();
    assert_eq!(server.connect().create("/after", b"moving in", 0).err, 0);
    assert_eq!(server.stop(), 0);
    server
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in support::files(from, "") {
        if file.is_file() {
            std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
}

fn still_there(server: &mut Server) {
    server.launch();
    assert_eq!(server.connect().get("/after"), Ok(b"moving in".to_vec()));
    server.kill();
}

#[test]
fn apache_files_may_go_after_moving_in() {
    let mut server = moved_in_and_stopped();
    let version_2 = server.folder.path().join("data/version-2");
    for name in ["snapshot.0", "log.1"] {
        std::fs::remove_file(version_2.join(name)).unwrap();
    }
    still_there(&mut server);
    std::fs::remove_dir_all(&version_2).unwrap();
    still_there(&mut server);
    assert!(server.log().contains("are gone, which is fine"), "{}", server.log());
}

#[test]
fn our_folder_alone_is_a_backup() {
    let server = moved_in_and_stopped();
    let mut elsewhere = Server::prepare("extendedTypesEnabled=true", &[]);
    copy_files(&server.data(), &elsewhere.data());
    still_there(&mut elsewhere);
}

#[test]
fn new_and_grown_files_of_apache_are_refused_by_name() {
    let mut server = moved_in_and_stopped();
    let version_2 = server.folder.path().join("data/version-2");
    let last = support::files(&version_2, "log.").pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(&last, [&bytes[..], b"more"].concat()).unwrap();
    std::fs::write(version_2.join("snapshot.fff"), b"new").unwrap();
    server.spawn();
    assert_eq!(server.wait(), 1);
    let log = server.log();
    assert!(log.contains("snapshot.fff") && log.contains("log.c1"), "{log}");
    assert!(!log.contains("snapshot.0,"), "only what is new is named: {log}");
    std::fs::write(&last, bytes).unwrap();
    std::fs::remove_file(version_2.join("snapshot.fff")).unwrap();
    still_there(&mut server);
}

/// Copies that people make beside the originals.
const COPIES: [&str; 10] = ["bak", "old", "orig", "prev", "copy", "save", "1", "2", "corrupt", "x"];

#[test]
fn copies_beside_the_originals_do_not_count() {
    for suffix in COPIES {
        let scratch = tempfile::tempdir().unwrap();
        let version_2 = scratch.path().join("version-2");
        copy_files(&Path::new(&sample("standalone-basic")).join("version-2"), &version_2);
        let log = std::fs::read(version_2.join("log.c1")).unwrap();
        std::fs::write(version_2.join(format!("log.c1.{suffix}")), &log[..1200]).unwrap();
        std::fs::copy(version_2.join("snapshot.60"), version_2.join(format!("snapshot.bf.{suffix}")))
            .unwrap();
        let (from, to) =
            (scratch.path().display().to_string(), scratch.path().join("none").display().to_string());
        let output = ringkeeper(&["import", &from, &to, "--dry-run", "-DextendedTypesEnabled=true"]);
        assert!(text(&output).contains("last zxid  0xd5"), "{suffix}: {}", text(&output));
        assert!(
            text(&output).contains(&format!("log.c1.{suffix} is ignored")),
            "{suffix}: {}",
            text(&output)
        );
        assert!(text(&output).contains(&format!("snapshot.bf.{suffix} is ignored")), "{suffix}");
    }
}

#[test]
fn copies_of_our_own_snapshots_do_not_count() {
    let mut server = Server::start("snapCount=20", &[]);
    let mut client = server.connect();
    (0..200).for_each(|index| assert_eq!(client.create(&format!("/n{index}"), b"", 0).err, 0));
    let data = server.data();
    support::eventually("snapshots", || !support::files(&data, "snapshot.").is_empty());
    assert_eq!(server.stop(), 0);
    let snapshot = support::files(&data, "snapshot.").pop().unwrap();
    for suffix in COPIES {
        std::fs::write(data.join(format!("{}.{suffix}", snapshot.file_name().unwrap().display())), b"x")
            .unwrap();
        std::fs::write(data.join(format!("segment.0000000000000001.{suffix}")), b"x").unwrap();
    }
    server.launch();
    assert_eq!(server.connect().get("/n199"), Ok(Vec::new()));
    assert_eq!(server.log().matches("is ignored").count(), 2 * COPIES.len(), "{}", server.log());
}
