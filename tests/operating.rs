//! What an operator sees of a start, and zkServer.sh beside instances that are not its own.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::process::{Command, Output};
use support::Server;

const BINARY: &str = env!("CARGO_BIN_EXE_ringkeeper");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn start(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.env_remove("SERVER_JVMFLAGS").env_remove("JVMFLAGS");
    command.arg("start").args(arguments).output().unwrap()
}

#[test]
fn the_cause_stands_before_the_error_it_leads_to() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("zoo.cfg");
    let lines = format!("dataDir={}\nserver.1=localhost:2888:3888;2181\n", folder.path().display());
    std::fs::write(&config, lines).unwrap();
    std::fs::write(folder.path().join("myid"), "7\n").unwrap();
    for check in [vec![], vec!["--check"]] {
        let output = start(&[vec![config.to_str().unwrap()], check].concat());
        let told = text(&output.stderr);
        let cause =
            told.find("myid says \"7\", so the line server.1 is for another server").expect("a cause");
        let error = told.find("clientPort is not set").expect("an error");
        assert!(cause < error, "{told}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_port_alone_is_no_file() {
    let output = start(&["2181"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("2181 is a port, not a file") && told.contains("start 2181 DATADIR"), "{told}");
}

#[test]
fn what_is_read_is_told_before_the_server_listens() {
    let mut server = Server::start("snapCount=50\npreAllocSize=1", &[]);
    let mut client = server.connect();
    for n in 0..200 {
        assert_eq!(client.create(&format!("/n{n}"), b"x", 0).err, 0);
    }
    support::eventually("a snapshot", || !support::files(&server.data(), "snapshot.").is_empty());
    assert_eq!(server.stop(), 0);
    let before = server.log().len();
    server.launch();
    let log = server.log()[before..].to_owned();
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what}: {log}"));
    assert!(at("Ringkeeper ") < at("reading the snapshot "), "{log}");
    assert!(at("reading the snapshot ") < at("of the log") && at("of the log") < at("recovered "), "{log}");
    assert!(at("recovered ") < at("listening on "), "{log}");
}

#[test]
fn a_take_over_says_what_is_read() {
    let mut server = Server::prepare("extendedTypesEnabled=true", &[]);
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/datadirs/standalone-basic/data");
    let to = server.folder.path().join("data");
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
    server.launch();
    let log = server.log();
    assert!(log.contains("reading the snapshot ") && log.contains("version-2/snapshot."), "{log}");
    assert!(log.contains(" of the logs") && log.contains("took over the data"), "{log}");
}

#[test]
fn a_port_that_another_process_has_is_named_with_it() {
    let server = Server::start("", &[]);
    let data = tempfile::tempdir().unwrap();
    let (port, folder) = (server.port.to_string(), data.path().display().to_string());
    let output = start(&[&port, &folder]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    let holder = format!("the port is in use by process {} (ringkeeper)", server.pid());
    assert!(told.contains(&holder) && !told.contains("trying again"), "{told}");
}

#[test]
fn a_server_that_nobody_wrote_to_starts_again() {
    let mut server = Server::start("", &[]);
    let identity = std::fs::read(server.data().join("identity")).unwrap();
    assert_eq!(server.stop(), 0);
    server.launch();
    server.kill();
    server.launch();
    assert_eq!(std::fs::read(server.data().join("identity")).unwrap(), identity);
    let mut client = server.connect();
    assert_eq!(client.create("/n", b"x", 0).err, 0);
    server.kill();
    server.launch();
    assert_eq!(server.connect().get("/n"), Ok(b"x".to_vec()));
}
