//! `ringkeeper doctor` as an operator runs it: on this machine, on recorded ones, beside a running server, with mistakes.

// These tests are real programs over real files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::Server;

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
        .arg("doctor")
        .args(arguments)
        .env_remove("SERVER_JVMFLAGS")
        .env_remove("JVMFLAGS")
        .output()
        .expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn recorded(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name).display().to_string()
}

/// A zoo.cfg for a data folder.
fn configuration(folder: &Path, data: &Path) -> PathBuf {
    let path = folder.join("zoo.cfg");
    std::fs::write(&path, format!("dataDir={}\nclientPort=2181\n", data.display())).expect("written");
    path
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn this_machine_is_looked_at_and_the_exit_code_says_whether_anything_is_to_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("created");
    let config = configuration(folder.path(), &data).display().to_string();
    let output = doctor(&[&config, "--output", "json"]);
    let report = json(&output);
    let count = |status: &str| report["counts"][status].as_u64().expect("a number");
    let (problems, expected) = (count("problem"), i32::from(count("problem") + count("advice") > 0));
    assert_eq!(output.status.code(), Some(expected), "{report:#}");
    let checks = report["checks"].as_array().expect("a list");
    assert!(checks.len() >= 24, "{}", checks.len());
    let counted: u64 = ["ok", "advice", "problem", "cannot tell"]
        .iter()
        .map(|status| {
            let count = checks.iter().filter(|check| check["status"] == *status).count() as u64;
            assert_eq!(report["counts"][status], count, "{status}");
            count
        })
        .sum();
    assert_eq!(counted, checks.len() as u64);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux");
    assert_eq!(check(&report, "kernel")["found"], kernel.trim());
    assert_ne!(
        check(&report, "durable writes")["status"],
        "cannot tell",
        "the folder is there, so it was tried"
    );
    assert_eq!(check(&report, "dataDir")["status"], "ok");
    assert_eq!(std::fs::read_dir(&data).expect("there").count(), 0, "nothing is left behind");

    let output = doctor(&[&config]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(expected));
    assert!(shown.starts_with("No server runs here with these folders"), "{shown}");
    for check in checks {
        let name = check["check"].as_str().expect("a name");
        assert!(shown.lines().any(|line| line.contains(&format!(" {name} "))), "{name}: {shown}");
    }
    assert!(shown.contains(&format!("{problems} problem")), "{shown}");
}

#[test]
fn a_folder_that_does_not_exist_is_told_and_not_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("not/there");
    let config = configuration(folder.path(), &data);
    let report = json(&doctor(&[&config.display().to_string(), "--output", "json"]));
    let place = check(&report, "dataDir");
    assert_eq!(place["status"], "ok");
    assert!(
        place["found"].as_str().expect("text").contains("does not exist; the server will make it"),
        "{place}"
    );
    assert_eq!(check(&report, "durable writes")["status"], "cannot tell");
    assert_ne!(check(&report, "file system of dataDir")["found"], "", "of the folder above it");
    assert!(!folder.path().join("not").exists());
}

#[test]
fn data_in_memory_is_a_problem() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
    let report = doctor(&[&format!("-DdataDir={}", folder.path().display()), "--output", "json"]);
    let kinds = ["tmpfs", "ramfs"].map(|kind| format!("{kind} on "));
    let report_json = json(&report);
    let found = check(&report_json, "file system of dataDir")["found"].as_str().expect("text");
    if kinds.iter().any(|kind| found.starts_with(kind)) {
        assert_eq!(report.status.code(), Some(1), "{found}");
        assert_eq!(check(&report_json, "file system of dataDir")["status"], "problem");
    }
}

#[test]
fn a_running_server_is_found_by_its_folder_and_not_disturbed() {
    let server = Server::start("", &[]);
    let mut client = server.connect();
    assert_eq!(client.create("/before", b"", 0).err, 0);
    let folder = server.data().parent().expect("a folder").display().to_string();
    let report = json(&doctor(&[&format!("-DdataDir={folder}"), "--output", "json"]));
    assert_eq!(report["server_pid"], server.pid());
    assert_eq!(check(&report, "dataDir")["status"], "ok");
    assert_ne!(check(&report, "durable writes")["status"], "cannot tell");
    let shown = text(&doctor(&[&format!("-DdataDir={folder}"), "--verbose"]).stdout);
    assert!(shown.contains(&format!("runs as process {}", server.pid())), "{shown}");
    assert_eq!(client.create("/after", b"", 0).err, 0);
}

#[test]
fn facts_of_one_machine_are_judged_on_another() {
    let good = doctor(&["--from", &recorded("metal.json")]);
    assert_eq!((good.status.code(), text(&good.stderr)), (Some(0), String::new()));
    assert!(text(&good.stdout).contains("32 ok, 0 advice, 0 problem, 0 cannot tell"));
    let bad = doctor(&["--from", &recorded("neglected.json"), "--output", "json"]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(check(&json(&bad), "swap")["change"].as_array().expect("a list").len(), 2);

    let folder = tempfile::tempdir().expect("a folder");
    let here = doctor(&[&format!("-DdataDir={}", folder.path().display()), "--output", "facts"]);
    assert_eq!(here.status.code(), Some(0), "facts are not judged");
    let file = folder.path().join("facts.json");
    std::fs::write(&file, &here.stdout).expect("written");
    let judged = json(&doctor(&["--from", &file.display().to_string(), "--output", "json"]));
    assert_eq!(check(&judged, "dataDir")["found"], folder.path().display().to_string());
}

#[test]
fn mistakes_are_named_and_end_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("zoo.cfg");
    std::fs::write(&wrong, "dataDir=/tmp\nclientPort=many\n").expect("written");
    let (wrong, metal) = (wrong.display().to_string(), recorded("metal.json"));
    let cases: [(&[&str], &str); 7] = [
        (&["/no/such/zoo.cfg"], "cannot read /no/such/zoo.cfg"),
        (&[&wrong], "clientPort: expected"),
        (&["--output", "yaml"], "possible values: text, json, facts"),
        (&["-Dnothing"], "expected NAME=VALUE"),
        (&["--from", "/no/such/facts"], "cannot read /no/such/facts"),
        (&["--from", &wrong], "holds no facts of a machine"),
        (&[&wrong, "--from", &metal], "cannot be used with"),
    ];
    for (arguments, expected) in cases {
        let output = doctor(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let help = text(&doctor(&["--help"]).stdout);
    assert!(help.contains("1  something is to change") && help.contains("--output"), "{help}");
}
