//! Moving in: real data folders of Apache ZooKeeper are taken over, and Apache's files stay as they are.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use base64::Engine;
use std::path::Path;
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

#[test]
fn newer_files_of_apache_beside_ours_are_refused() {
    let mut server = moved_in("standalone-basic");
    server.stop();
    std::fs::write(server.folder.path().join("data/version-2/log.ffff"), b"ZKLG").unwrap();
    server.spawn();
    assert_eq!(server.wait(), 1);
    assert!(server.log().contains("Two histories cannot be merged"), "{}", server.log());
}
