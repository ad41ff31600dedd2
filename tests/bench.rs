//! A short run of every workload of `ringkeeper bench` against a server, and what it writes: the JSON of each run, the HTML
//! page of all of them. The figures mean nothing here; that they are complete and fit together does.

// These tests are real programs over real sockets.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;
use support::{DEADLINE, Server, free_port};

const LOAD: &[&str] =
    &["-c", "4", "-f", "4", "--nodes", "100", "--warm-up", "0.05", "--duration", "0.2", "--value", "64"];

/// A workload, its arguments, and the operations that it measures.
const RUNS: [(&str, &[&str], &[&str]); 14] = [
    ("get", &["--distribution", "zipf", "--threads", "2"], &["get"]),
    ("exists", &[], &["exists"]),
    ("children", &[], &["children"]),
    ("set", &["--rate", "500", "--watches", "25"], &["set"]),
    ("create", &[], &["create"]),
    ("create-delete", &[], &["create", "delete"]),
    ("ephemeral", &["--operations", "300"], &["create"]),
    ("multi", &["--multi-ops", "3"], &["multi"]),
    ("mixed", &["--read-percent", "50"], &["get", "set"]),
    ("preload", &[], &["create"]),
    ("fan-out", &["-c", "20", "--rounds", "5", "--warm-up-rounds", "1", "--probe"], &["event", "last event"]),
    (
        "fan-out-persistent",
        &[
            "--persistent",
            "-c",
            "5",
            "--nodes",
            "4",
            "--watches-each",
            "4",
            "--rounds",
            "8",
            "--warm-up-rounds",
            "1",
        ],
        &["event", "last event"],
    ),
    ("session-storm", &["--sessions", "50", "--concurrency", "4"], &["open", "open, close"]),
    ("session-hold", &["--sessions", "20", "--duration", "2", "--session-timeout-ms", "4000"], &["ping"]),
];

#[test]
fn every_workload_tells_a_result_that_fits_together_and_leaves_nothing_behind() {
    let server = Server::start("", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let (nodes, mut zxid) = (state(&server).0, 0);
    let mut files = Vec::new();
    for (workload, arguments, operations) in RUNS {
        let file = folder.path().join(format!("{workload}.json"));
        let output = against(&server, workload, arguments, &file);
        assert!(output.status.success(), "{workload}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.starts_with(&format!("{workload} on here\n")), "{shown}");
        assert!(shown.contains("server CPU: ") && shown.contains("server memory: "), "{shown}");
        let run = json(&file);
        fits_together(&run, workload, operations);
        assert!(run["server_resident_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{run:#}");
        let (nodes_now, zxid_now) = state(&server);
        // What preload leaves there, the next one deletes.
        let kept = if workload == "preload" { 101 } else { 0 };
        assert_eq!(nodes_now, nodes + kept, "{workload}");
        if is_write(workload) {
            assert!(zxid_now >= zxid + run["operations"].as_u64().expect("a number"), "{run:#}");
        }
        zxid = zxid_now;
        files.push(file);
    }
    let rate = json(&files[3])["operations_per_second"].as_f64().expect("a number");
    assert!(rate < 700.0, "an open loop keeps to its rate of 500: {rate}");
    page_shows(&files);
}

/// What must hold of any result.
fn fits_together(run: &Value, workload: &str, operations: &[&str]) {
    assert_eq!((&run["workload"], &run["label"]), (&workload.into(), &"here".into()));
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("a number is missing: {run:#}"));
    let (count, seconds) = (number(&run["operations"]), number(&run["seconds"]));
    assert!(count > 0.0 && seconds > 0.0, "{run:#}");
    let rate = count / seconds;
    assert!((number(&run["operations_per_second"]) / rate - 1.0).abs() < 0.01, "{run:#}");
    assert!(number(&run["server_cpu_us_per_operation"]) >= 0.0);
    let latency: BTreeMap<String, Value> =
        serde_json::from_value(run["latency_us"].clone()).expect("an object");
    for operation in operations {
        let latency = latency.get(*operation).unwrap_or_else(|| panic!("{operation} is missing: {run:#}"));
        let steps = ["min", "p50", "p90", "p99", "p999", "p9999", "max"].map(|step| number(&latency[step]));
        assert!(steps.is_sorted() && steps[0] > 0.0, "{operation}: {steps:?}");
        // A mean is exact, a percentile is that of its bucket.
        assert!(number(&latency["mean"]) <= steps[6] * 1.01 && number(&latency["count"]) > 0.0, "{latency}");
    }
}

fn is_write(workload: &str) -> bool {
    ["set", "create", "create-delete", "ephemeral", "multi", "preload"].contains(&workload)
}

/// One page of all runs: each with a table and plots, whole, without a number that is none and without a script.
fn page_shows(files: &[PathBuf]) {
    let page_file = files[0].with_file_name("report.html");
    let mut arguments = vec!["report".to_string(), "-o".into(), page_file.display().to_string()];
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    let output = bench(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with(&format!("{} runs\n", files.len())));
    let page = std::fs::read_to_string(&page_file).expect("the page");
    for (workload, _, operations) in RUNS {
        let title = format!("<h2>{workload}");
        assert!(page.contains(&title), "{workload} has no section");
        let section = page.split(&title).nth(1).and_then(|rest| rest.split("<h2>").next()).expect("there");
        assert!(section.contains("<polyline") && section.contains("operations per second"), "{workload}");
        for operation in operations {
            assert!(section.contains(&format!("<tr><td>here<td>{operation}<td>")), "{workload}: {operation}");
        }
    }
    for element in ["svg", "h1", "h2", "table", "div", "text"] {
        let opened =
            page.matches(&format!("<{element} ")).count() + page.matches(&format!("<{element}>")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        assert!(opened > 0, "{element}");
    }
    for wrong in ["NaN", "inf", "<script", "http://", "https://", "url("] {
        assert!(!page.contains(wrong), "{wrong}");
    }
}

#[test]
fn the_limits_are_measured_and_a_wrong_reply_fails_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("disk.json");
    let (place, written) = (folder.path().display().to_string(), file.display().to_string());
    let output = bench(&["disk", "--folder", &place, "--duration", "0.2", "--json", &written]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let disk = json(&file);
    assert!(disk["operations"].as_u64().is_some_and(|count| count > 0), "{disk:#}");
    let left = std::fs::read_dir(folder.path()).expect("there").count();
    assert_eq!(left, 1, "only the result is left");

    let echo = EchoServer::start();
    let server = format!("127.0.0.1:{}", echo.port);
    let run = |value: &str| {
        let own =
            ["--server", &server, "--value", value, "--nodes", "10", "--duration", "0.1", "--warm-up", "0"];
        bench(&[&["get"], &own[..]].concat())
    };
    let right = run("100");
    assert!(right.status.success(), "{}", text(&right.stderr));
    let wrong = run("99");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("a wrong reply to get of key "), "{}", text(&wrong.stderr));
}

#[test]
fn nodes_of_an_earlier_run_are_used_again() {
    let server = Server::start("", &[]);
    let file = tempfile::tempdir().expect("a folder");
    let file = file.path().join("run.json");
    let nothing = against(&server, "get", &["--reuse"], &file);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("failed with code -101"), "{}", text(&nothing.stderr));
    let kept = against(&server, "preload", &["--value", "64"], &file);
    assert!(kept.status.success(), "{}", text(&kept.stderr));
    let zxid = state(&server).1;
    let reused = against(&server, "get", &["--reuse", "--keep"], &file);
    assert!(reused.status.success(), "{}", text(&reused.stderr));
    let sessions = 2 * 4;
    assert_eq!(state(&server).1, zxid + sessions, "sessions came and went, nothing else was written");
}

#[test]
fn mistakes_are_named() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let cases: [(&[&str], i32, &str); 6] = [
        (&["get", "--server", &nobody], 1, "refused"),
        (&["get", "--folder", "bench/"], 1, "is not the absolute path of a node"),
        (&["get", "--rate", "0"], 1, "the rate must be above 0"),
        (&["get", "-c", "1", "-t", "2"], 1, "every thread needs a connection"),
        (&["got"], 2, "unrecognized subcommand"),
        (&["report", "/no/such/file.json"], 1, "cannot read /no/such/file.json"),
    ];
    for (arguments, code, expected) in cases {
        let output = bench(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// Killed when dropped.
struct EchoServer {
    port: u16,
    child: Child,
}

impl EchoServer {
    fn start() -> EchoServer {
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
            .args(["bench", "echo-server", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("the binary");
        let mut echo = EchoServer { port, child };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(echo.child.try_wait().expect("a child to ask").is_none(), "it ended");
            assert!(start.elapsed() < DEADLINE, "it does not serve");
            std::thread::yield_now();
        }
        echo
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn against(server: &Server, workload: &str, arguments: &[&str], file: &Path) -> Output {
    let (address, file) = (format!("127.0.0.1:{}", server.port), file.display().to_string());
    let own = ["--server", &address, "--label", "here", "--json", &file];
    let load = match workload {
        "preload" => &["--nodes", "100"][..],
        "fan-out" | "fan-out-persistent" | "session-storm" | "session-hold" => &[],
        _ => LOAD,
    };
    // The same command; in results it is another workload.
    let command = workload.strip_suffix("-persistent").unwrap_or(workload);
    bench(&[&[command], load, arguments, &own].concat())
}

fn bench(arguments: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_ringkeeper");
    Command::new(binary).arg("bench").args(arguments).output().expect("the binary")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn json(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).expect("a result");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Nodes and the last zxid of a server.
fn state(server: &Server) -> (u64, u64) {
    let answer = server.four_letters("srvr").expect("it answers");
    let field = |name: &str| {
        answer.lines().find_map(|line| line.strip_prefix(name)).expect("srvr has it").trim().to_string()
    };
    let zxid = field("Zxid: 0x");
    (field("Node count: ").parse().expect("a number"), u64::from_str_radix(&zxid, 16).expect("a zxid"))
}
