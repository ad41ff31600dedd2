//! The log hurts nobody: whoever reads it may stop or go, its disk may be full, its terminal may close. Signals that other
//! programs send to servers end nothing, and commands whose output nobody takes end quietly.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use support::{Server, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_ringkeeper");

/// Many lines, were they all written.
const FRAMES: usize = 2000;

/// What makes a server complain: a frame of 2 GiB.
fn bad_frames(server: &Server, count: usize) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let _ = stream.write_all(&[0x7f, 0xff, 0xff, 0xff]);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

/// A session goes on, and words are answered.
fn serves(server: &Server) {
    assert_eq!(server.four_letters("ruok").as_deref(), Some("imok"));
    let mut client = server.connect();
    assert!(matches!(client.create("/n", b"x", 0).err, 0 | -110));
    assert_eq!(client.get("/n"), Ok(b"x".to_vec()));
}

fn logging_to(stderr: impl Into<Stdio>, arguments: &[&str]) -> Server {
    let mut server = Server::prepare("", &[]);
    server.spawn_with(|command| {
        command.args(arguments).stderr(stderr);
    });
    server.wait_until_it_serves();
    server
}

#[test]
fn the_reader_of_the_log_goes() {
    let (reader, writer) = std::io::pipe().unwrap();
    let server = logging_to(OwnedFd::from(writer), &["--log-level", "trace"]);
    drop(reader);
    bad_frames(&server, 20);
    serves(&server);
}

#[test]
fn the_reader_of_the_log_stops_reading() {
    let (reader, writer) = std::io::pipe().unwrap();
    let server = logging_to(OwnedFd::from(writer), &["--log-level", "trace"]);
    let mut client = server.connect();
    bad_frames(&server, FRAMES);
    // More than a pipe holds: debug tells of every session.
    for _ in 0..FRAMES {
        server.connect();
    }
    serves(&server);
    assert_eq!(client.ping().map(|reply| reply.err), Some(0), "a session of before lives on");
    drop(reader);
    serves(&server);
}

#[test]
fn the_disk_of_the_log_is_full() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut server = logging_to(full, &["--log-level", "debug"]);
    bad_frames(&server, 20);
    serves(&server);
    assert_eq!(server.stop(), 0);
}

#[test]
fn warnings_about_clients_are_few_and_say_what_came() {
    let server = Server::start("", &[]);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    eventually("the log is written", || server.log().contains("an HTTP request"));
    let lines = server.log().lines().filter(|line| line.contains("WARN")).count();
    assert!((1..20).contains(&lines), "{lines} lines: {}", server.log());
}

#[test]
fn signals_of_others_end_nothing() {
    let mut server = Server::start("", &[]);
    let mut client = server.connect();
    for signal in ["-HUP", "-USR1", "-USR2", "-QUIT", "-PIPE"] {
        let pid = server.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(client.ping().map(|reply| reply.err), Some(0), "{signal}");
    }
    eventually("SIGQUIT tells of the threads", || server.log().contains(" core-0: "));
    serves(&server);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_log_file_is_opened_again_at_sighup_and_full_ones_are_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.log");
    let name = path.display().to_string();
    let server = logging_to(Stdio::null(), &["--log-file", &name, "--log-format", "json"]);
    let first = std::fs::read_to_string(&path).unwrap();
    for line in first.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["timestamp"].is_string() && line["message"].is_string());
    }
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    eventually("a new file", || path.exists());
    serves(&server);
}

#[test]
fn the_level_of_the_log_is_one_of_the_usual_words() {
    for word in ["warning", "WARN", "Info", "debug", "TRACE", "error"] {
        let status = Command::new(BINARY).args(["--log-level", word, "version"]).output().unwrap().status;
        assert_eq!(status.code(), Some(0), "{word}");
    }
    for word in ["verbose", "", "7"] {
        let output = Command::new(BINARY).args(["--log-level", word, "version"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{word}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("error, warn, info, debug, trace or off"), "{text}");
    }
    let output = Command::new(BINARY).arg("version").env("RINGKEEPER_LOG", "loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn debug_tells_of_sessions_and_segments() {
    let mut server = Server::prepare("snapCount=2", &[]);
    server.spawn_with(|command| {
        command.args(["--log-level", "debug"]);
    });
    server.wait_until_it_serves();
    let mut client = server.connect();
    (0..20).for_each(|index| assert_eq!(client.create(&format!("/{index}"), b"", 0).err, 0));
    let session = format!("0x{:x}", client.session);
    client.call(-11, &[]);
    for what in ["opened", "closed"] {
        eventually(what, || server.log().lines().any(|line| line.contains(&session) && line.contains(what)));
    }
    eventually("snapshots", || server.log().contains("snapshot"));
    drop(server);
}

/// Each command with arguments that make it print something.
fn commands(folder: &std::path::Path, server: &str) -> Vec<Vec<String>> {
    let config = folder.join("zoo.cfg").display().to_string();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/datadirs/standalone-basic/data");
    let [none, page] = ["none", "page.html"].map(|name| folder.join(name).display().to_string());
    let disk = folder.display().to_string();
    let result = concat!(env!("CARGO_MANIFEST_DIR"), "/results/2026-11-21-full/get-1x1.ringkeeper.json");
    let all: &[&[&str]] = &[
        &["start", &config, "--check"],
        &["import", data, &none, "--dry-run", "-DextendedTypesEnabled=true"],
        &["version"],
        &["--help"],
        &["start", "--help"],
        &["bench", "--help"],
        &["bench", "disk", "--folder", &disk, "--duration", "0.01"],
        &["bench", "report", result, "-o", &page],
        &["bench", "get", "--server", server, "--nodes", "2", "--warm-up", "0", "--duration", "0.05"],
        &["bench", "session-storm", "--server", server, "--sessions", "2"],
        &["export", data, &none, "-DextendedTypesEnabled=true"],
        &["inspect", "diff", data, data],
        &["inspect", "log", data, "--output", "json"],
        &["doctor", "--output", "facts"],
        &["doctor", "--output", "json"],
        &["shell", "-server", server, "help"],
        &["shell", "--output=json", "-server", server, "ls", "/"],
        &["inspect", "log", data],
        &["inspect", "snapshot", data],
        &["doctor"],
        &["shell", "-server", "127.0.0.1:1", "help"],
    ];
    all.iter().map(|words| words.iter().map(|word| word.to_string()).collect()).collect()
}

/// The subcommands that a help text lists.
fn listed(words: &[&str]) -> Vec<String> {
    let output = Command::new(BINARY).args(words).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let list =
        text.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let first = |line: &str| Some(line.strip_prefix("  ")?.split_once(' ')?.0.to_string());
    list.lines().filter_map(first).filter(|name| !name.is_empty() && name != "help").collect()
}

#[test]
fn no_command_is_missing_from_the_list() {
    let all = commands(std::path::Path::new("/f"), "127.0.0.1:1");
    let has = |words: &[&str]| {
        all.iter()
            .any(|given| given.starts_with(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>()))
    };
    let top = listed(&[]);
    assert!(top.len() >= 8, "{top:?}");
    for command in &top {
        assert!(has(&[command]), "{command}");
    }
    for command in listed(&["inspect"]) {
        assert!(has(&["inspect", &command]), "inspect {command}");
    }
    // Those of bench that measure a load print as `get` does; an echo server prints nothing.
    for command in ["get", "session-storm", "disk", "report"] {
        assert!(
            listed(&["bench"]).contains(&command.to_string()) && has(&["bench", command]),
            "bench {command}"
        );
    }
}

#[test]
fn commands_whose_output_nobody_takes_end_quietly() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("zoo.cfg"), "dataDir=/d\nclientPort=1\n").unwrap();
    let server = Server::start("", &[]);
    for words in commands(folder.path(), &format!("127.0.0.1:{}", server.port)) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let full = File::options().write(true).open("/dev/full").unwrap();
        for (what, stdout) in [("closed", Stdio::from(OwnedFd::from(writer))), ("full", Stdio::from(full))] {
            let mut command = Command::new(BINARY);
            let output = command.args(&words).stdin(Stdio::null()).stdout(stdout).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            for loud in ["panicked", "Broken pipe", "BrokenPipe"] {
                assert!(!text.contains(loud), "{words:?}, {what}: {text}");
            }
            assert_ne!(output.status.code(), Some(134), "{words:?}, {what}");
            assert_ne!(
                std::os::unix::process::ExitStatusExt::signal(&output.status),
                Some(6),
                "{words:?}, {what}"
            );
        }
    }
}
