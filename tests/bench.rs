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
const RUNS: [(&str, &[&str], &[&str]); 15] = [
    ("get", &["--distribution", "zipf", "--threads", "2"], &["get"]),
    ("exists", &[], &["exists"]),
    ("children", &[], &["children"]),
    ("children2", &[], &["children2"]),
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
    let rate = json(&files[4])["operations_per_second"].as_f64().expect("a number");
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
    let said = text(&nothing.stderr);
    assert!(said.contains("reading /bench failed: NoNode (-101); ") && said.contains("preload"), "{said}");
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
    let cases: [(&[&str], i32, &str); 13] = [
        (&["get", "--server", &nobody], 1, "refused"),
        (&["get", "--folder", "bench/"], 1, "is not the absolute path of a node"),
        (&["get", "--rate", "0"], 1, "the rate must be above 0"),
        (&["get", "-c", "1", "-t", "2"], 1, "every thread needs a connection"),
        (&["get", "--json", "/no/such/folder/x"], 1, "cannot write /no/such/folder/x: "),
        (&["get", "--json", "/no/such/folder/x"], 1, "nothing was measured"),
        (&["disk", "--json", "/no/such/folder/x"], 1, "cannot write /no/such/folder/x: "),
        (&["get", "--value", "2000000"], 1, "no more than jute.maxbuffer, 1048575. Choose a smaller --value"),
        (&["fan-out", "--value", "2000000"], 1, "by --jute-maxbuffer"),
        (&["multi", "--value", "200000", "--multi-ops", "10"], 1, "no more than jute.maxbuffer"),
        (&["get", "--auth", "digest"], 2, "expected SCHEME:AUTH"),
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

/// What a shell prints.
fn shell(server: &Server, words: &[&str]) -> String {
    let address = format!("127.0.0.1:{}", server.port);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
    let output = command.args(["shell", "--output=json", "-server", &address]).args(words).output();
    text(&output.expect("the binary").stdout)
}

fn refused(server: &Server, workload: &str, arguments: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let output = against(server, workload, arguments, file.path());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn nothing_is_deleted_that_bench_did_not_make() {
    let server = Server::start("", &[]);
    for path in ["/prod", "/prod/db", "/prod/orders", "/prod/orders/1", "/bench", "/app", "/app-watched"] {
        shell(&server, &["create", path, "precious"]);
    }
    let nodes = state(&server);
    for arguments in [
        &["--folder", "/prod"][..],
        &["--folder", "/prod", "--reuse"],
        // The folder that is meant where none is named, and the one of the watches.
        &[],
        &["--folder", "/app", "--watches", "5"],
    ] {
        for workload in ["get", "create", "fan-out"] {
            if workload == "fan-out"
                && arguments.iter().any(|word| *word == "--reuse" || *word == "--watches")
            {
                continue;
            }
            let said = refused(&server, workload, arguments);
            assert!(said.contains("is there already and bench did not make it"), "{said}");
            assert!(said.contains("--force has it deleted all the same"), "{said}");
        }
    }
    assert_eq!(state(&server).0, nodes.0, "nothing came, nothing went");
    // In a folder of bench's own, too.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let made = against(&server, "preload", &["--folder", "/mine"], file.path());
    assert!(made.status.success(), "{}", text(&made.stderr));
    shell(&server, &["create", "/mine/note", "precious"]);
    let said = refused(&server, "get", &["--folder", "/mine"]);
    assert!(said.contains("/mine/note is not one of bench's nodes and would be deleted"), "{said}");
    shell(&server, &["delete", "/mine/note"]);
    shell(&server, &["create", "/mine/n00000099/note", "precious"]);
    let said = refused(&server, "create", &["--folder", "/mine"]);
    assert!(said.contains("/mine/n00000099 has children, which bench did not make"), "{said}");
    assert!(shell(&server, &["ls", "/mine/n00000099"]).contains("note"));
    // By force all of it goes, whatever it was.
    for folder in ["/prod", "/mine"] {
        let done = against(&server, "get", &["--folder", folder, "--force"], file.path());
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    assert!(!shell(&server, &["ls", "/"]).contains("prod"));
    assert!(shell(&server, &["ls", "/"]).contains("bench"));
}

#[test]
fn a_server_that_takes_no_more_connections_is_told_of_by_its_setting() {
    let server = Server::start("maxClientCnxns=10", &[]);
    let address = format!("127.0.0.1:{}", server.port);
    for arguments in [
        &["get", "-c", "16"][..],
        &["fan-out", "-c", "16"],
        &["session-hold", "--sessions", "16", "--duration", "1"],
        &["session-storm", "--sessions", "64", "--concurrency", "32"],
    ] {
        let output = bench(&[arguments, &["--server", &address]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.contains("the server closed ") && said.contains("maxClientCnxns: 60 unless set"),
            "{said}"
        );
        assert!(!said.contains("os error") && !said.contains("failed to fill"), "{said}");
    }
}

#[test]
fn several_servers_share_the_connections() {
    let (one, other) = (Server::start("", &[]), Server::start("", &[]));
    let both = format!("127.0.0.1:{},127.0.0.1:{}", one.port, other.port);
    let before = [state(&one).1, state(&other).1];
    let output = bench(&["session-storm", "--server", &both, "--sessions", "20", "--concurrency", "2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Each session is opened and closed by a transaction.
    for (server, before) in [&one, &other].into_iter().zip(before) {
        assert_eq!(state(server).1 - before, 20);
    }
    // Two names of one server: all is measured as with one.
    let twice = format!("127.0.0.1:{0},localhost:{0}", one.port);
    let output = bench(&[&["mixed", "--server", &twice], LOAD].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn an_identity_is_proved_on_every_session() {
    let server = Server::start("", &[]);
    shell(&server, &["create", "/closed", "x", "digest:me:016djjlksVQS5RgX3M7biBGyYwY=:cdrwa"]);
    let said = refused(&server, "get", &["--folder", "/closed/bench"]);
    assert!(said.contains("creating /closed/bench failed: NoAuth (-102); prove an identity"), "{said}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let auth = ["--folder", "/closed/bench", "--auth", "digest:me:secret"];
    let done = against(&server, "mixed", &auth, file.path());
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(!std::fs::read_to_string(file.path()).expect("a result").contains("secret"));
    let said = refused(&server, "get", &["--auth", "nosuchscheme:x"]);
    assert!(said.contains("the server refused the identity of --auth: "), "{said}");
}

#[test]
fn a_person_sees_that_something_goes_on() {
    let server = Server::start("", &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
    command.args(["bench", "get", "--server", &format!("127.0.0.1:{}", server.port), "--nodes", "10"]);
    command.args(["--warm-up", "1", "--duration", "1", "-c", "1", "-f", "1"]);
    let mut tty = rexpect::session::spawn_command(command, Some(60_000)).expect("a terminal");
    tty.exp_string(" replies per second on 1 connections").expect("progress");
    tty.exp_string("get on 127.0.0.1").expect("the result");
    tty.exp_eof().expect("it ends");
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
