//! The shell as its users meet it: single commands with output and exit code, lines from a pipe, and a terminal. That it
//! prints what ZooKeeper's zkCli prints is shown by tests/clients/zkcli, beside zkCli itself.

// These tests are real programs over real sockets, files and clocks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use support::{Server, eventually};

/// `ringkeeper shell -server ...` to come.
fn shell(server: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
    command.args(["shell", "-server", server]).env("TZ", "UTC").env("RINGKEEPER_HISTORY", "");
    command.env("RINGKEEPER_HINTS", "always");
    command.env_remove("VISUAL").env_remove("EDITOR").stdin(Stdio::null());
    command
}

fn at(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port)
}

/// What a single command printed (without the lines about the connection) and its exit code.
fn run(server: &str, words: &[&str]) -> (String, String, i32) {
    finish(shell(server).args(words))
}

fn finish(command: &mut Command) -> (String, String, i32) {
    let output = command.output().expect("the shell runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_answer = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("Connecting to ")
            && *line != "WATCHER::"
            && !line.contains("type:None")
    };
    let stdout = text(&output.stdout);
    let answer: Vec<&str> = stdout.lines().filter(is_answer).collect();
    (answer.join("\n"), text(&output.stderr).trim_end().to_string(), output.status.code().unwrap_or(-1))
}

fn ok(server: &str, words: &[&str]) -> String {
    let (stdout, stderr, code) = run(server, words);
    assert_eq!(code, 0, "{words:?}: {stdout} {stderr}");
    stdout
}

/// A shell that reads lines from a pipe.
struct Piped {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Piped {
    fn start(server: &str) -> Piped {
        let mut child = shell(server)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the shell runs");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Piped { child, stdin, stdout }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the shell reads");
    }

    /// Skips lines up to one with this in it.
    fn expect(&mut self, wanted: &str) -> String {
        let mut skipped = String::new();
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).expect("the shell writes text");
            assert!(length > 0, "the shell ended without {wanted:?}; it said {skipped}");
            if line.contains(wanted) {
                return skipped;
            }
            skipped.push_str(&line);
        }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn errors_keep_zkclis_line_and_say_what_to_do() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let (_, stderr, code) = run(&zk, &["create", "/a", "x"]);
    assert_eq!((stderr.as_str(), code), ("Created /a", 0));
    ok(&zk, &["create", "/a/b"]);
    let cases: &[(&[&str], &str, i32)] = &[
        (&["get", "/a/c/d"], "Node does not exist: /a/c/d\n  hint: /a exists, /a/c does not", 1),
        (&["set", "-v", "7", "/a", "y"], "version No is not valid : /a\n  hint: its dataVersion is 0", 1),
        (&["delete", "/a"], "Node not empty: /a\n  hint: 1 node is below it; deleteall /a deletes all", 1),
        (&["delete", "-v", "x", "/a"], "-v argument must be an int value, found \"x\"", 1),
        (&["set", "-b", "/a", "%"], "-b: this is not base64: Invalid symbol 37, offset 0.", 1),
        (&["redo", "x"], "Command index out of range", 1),
    ];
    for (words, expected, expected_code) in cases {
        let (stdout, stderr, code) = run(&zk, words);
        assert_eq!((stdout.as_str(), stderr.as_str(), code), ("", *expected, *expected_code), "{words:?}");
    }
    let (_, stderr, code) = run(&zk, &["gett", "/a"]);
    assert!(stderr.ends_with(
        "Command not found: Command not found gett\n  hint: did you mean get? help lists the commands"
    ));
    assert_eq!(code, 127);
    let (_, stderr, code) = run(&zk, &["addauth", "digest"]);
    assert!(stderr.starts_with("KeeperErrorCode = AuthFailed") && code == 1, "{stderr}");
}

#[test]
fn without_a_server_it_says_why() {
    let (stdout, stderr, code) = run("127.0.0.1:1", &["ls", "/"]);
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert!(
        stderr.starts_with("KeeperErrorCode = ConnectionLoss for /\n  hint: 127.0.0.1:1: Connection refused"),
        "{stderr}"
    );
    let (_, stderr, code) =
        finish(shell("127.0.0.1:1").args(["-timeout", "100", "-waitforconnection", "ls", "/"]));
    assert!(stderr.contains("ConnectionLoss") && code == 1, "{stderr}");
    for bad in ["127.0.0.1:1/x/", "127.0.0.1:port", "/only/a/path"] {
        assert_eq!(run(bad, &["ls", "/"]).2, 1, "{bad}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("client.properties");
    std::fs::write(&file, "zookeeper.client.secure=true\n").expect("written");
    let (_, stderr, code) =
        finish(shell("127.0.0.1:1").arg("-client-configuration").arg(&file).args(["ls", "/"]));
    assert!(stderr.contains("TLS") && code == 2, "{stderr}");
}

#[test]
fn a_server_that_opens_no_session_is_told_from_one_that_is_not_there() {
    // As a server does that has as many connections as it may, or no room on its disk for a session.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut request = [0; 49];
            let _ = std::io::Read::read_exact(&mut stream.expect("a connection"), &mut request);
        }
    });
    let (_, stderr, code) = run(&address, &["ls", "/"]);
    assert!(stderr.starts_with("KeeperErrorCode = ConnectionLoss for /\n  hint: 127.0.0.1:"), "{stderr}");
    assert!(stderr.contains("a server is there, but opens no session") && code == 1, "{stderr}");
    assert!(!stderr.contains("is a server running"), "{stderr}");
}

#[test]
fn a_chroot_and_several_hosts() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    ok(&zk, &["create", "/app"]);
    let below = format!("127.0.0.1:1,{zk}/app");
    let (_, stderr, _) = run(&below, &["create", "/inner", "x"]);
    assert_eq!(stderr, "Created /inner");
    assert_eq!(ok(&below, &["ls", "-R", "/"]), "/\n/inner");
    assert_eq!(ok(&zk, &["get", "/app/inner"]), "x");
    let (_, stderr, _) = run(&below, &["get", "/other"]);
    assert!(stderr.starts_with("Node does not exist: /other"), "{stderr}");
    let mut piped = Piped::start(&below);
    piped.type_line("get -w /inner");
    piped.expect("x");
    piped.type_line("set /inner y");
    piped.expect("type:NodeDataChanged path:/inner");
}

#[test]
fn json_and_other_forms_of_values() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    ok(&zk, &["create", "/j", "{\"a\":[1]}"]);
    ok(&zk, &["set", "-b", "/j", "/wA="]);
    let json = |words: &[&str]| {
        let (stdout, stderr, code) = finish(shell(&zk).args(["--output", "json"]).args(words));
        let text = if code == 0 { stdout } else { stderr };
        (serde_json::from_str::<serde_json::Value>(&text).expect("one JSON value"), code)
    };
    let (value, _) = json(&["get", "-s", "/j"]);
    assert_eq!((&value["data"]["base64"], &value["stat"]["dataVersion"]), (&"/wA=".into(), &1.into()));
    let (value, code) = json(&["get", "/absent"]);
    assert_eq!(
        (&value["error"], &value["hint"], code),
        (&"NoNode".into(), &"ls / lists what there is".into(), 1)
    );
    assert_eq!(json(&["ls", "/"]).0["children"], serde_json::json!(["j", "zookeeper"]));
    assert_eq!(json(&["getAcl", "/j"]).0["acl"], serde_json::json!(["world:anyone:cdrwa"]));
    ok(&zk, &["set", "/j", "{\"a\":[1]}"]);
    let (stdout, _, _) = finish(shell(&zk).args(["--values=json", "get", "/j"]));
    assert_eq!(stdout, "{\n  \"a\": [\n    1\n  ]\n}");
    let (stdout, _, _) = finish(shell(&zk).args(["--values", "hex", "get", "/j"]));
    assert!(
        stdout.contains("|00000000| 7b 22 61 22 3a 5b 31 5d 7d                      |{\"a\":[1]}       |"),
        "{stdout}"
    );
}

#[test]
fn the_session_and_its_watches_outlive_a_connection() {
    let mut server = Server::start("", &[]);
    let mut piped = Piped::start(&at(&server));
    for line in [
        "addauth digest me:secret",
        "create -e /mine x",
        "get -w /mine",
        "addWatch /zookeeper",
        "stat -w /later",
    ] {
        piped.type_line(line);
    }
    // The answer of getEphemerals: all before it is done.
    piped.type_line("getEphemerals");
    piped.expect("[/mine]");
    server.kill();
    piped.expect("state:Disconnected");
    server.launch();
    piped.expect("state:SyncConnected type:None");
    piped.type_line("getEphemerals");
    piped.expect("[/mine]");
    piped.type_line("whoami");
    piped.expect("digest: me");
    piped.type_line("set /mine y");
    piped.expect("type:NodeDataChanged path:/mine");
    piped.type_line("create /later");
    piped.expect("type:NodeCreated path:/later");
    piped.type_line("quit");
    piped.expect("state:Closed");
    assert_eq!(ok(&at(&server), &["ls", "/"]), "[later, zookeeper]");
}

#[test]
fn watches_can_be_silenced() {
    let server = Server::start("", &[]);
    let mut piped = Piped::start(&at(&server));
    for line in [
        "create /a",
        "printwatches off",
        "get -w /a",
        "set /a 1",
        "printwatches on",
        "get -w /a",
        "set /a 2",
        "getAllChildrenNumber /",
    ] {
        piped.type_line(line);
    }
    let before = piped.expect("type:NodeDataChanged path:/a");
    assert!(!before.contains("NodeDataChanged"), "{before}");
}

#[test]
fn find_and_tree() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    for path in ["/app", "/app/b", "/app/b/lock-2", "/app/b/lock-1", "/app/a"] {
        ok(&zk, &["create", path]);
    }
    assert_eq!(ok(&zk, &["find", "/app", "--name", "lock-*"]), "/app/b/lock-1\n/app/b/lock-2");
    assert_eq!(ok(&zk, &["find", "/app", "--name=[ab]"]), "/app/a\n/app/b");
    assert_eq!(ok(&zk, &["tree", "/app"]), "/app\n├── a\n└── b\n    ├── lock-1\n    └── lock-2\n5 nodes");
    assert_eq!(ok(&zk, &["tree", "/app", "--depth", "1"]), "/app\n├── a\n└── b (2 below)\n3 nodes");
}

#[test]
fn a_subtree_goes_to_a_file_and_comes_back() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("app.json");
    let file = file.to_str().expect("a name");
    ok(&zk, &["create", "/app", "top"]);
    ok(&zk, &["create", "/app/null"]);
    ok(&zk, &["create", "/app/bytes", "x", "world:anyone:rd,ip:127.0.0.1:cdrwa"]);
    ok(&zk, &["set", "-b", "/app/bytes", "AP8="]);
    ok(&zk, &["create", "-e", "/app/mine"]);
    assert!(ok(&zk, &["export", "/app", file]).starts_with("4 nodes of /app"));
    let report = ok(&zk, &["import", file, "/copy/of/app"]);
    assert_eq!(report, "3 nodes created below /copy/of/app; 1 node left out, because ephemeral");
    assert_eq!(ok(&zk, &["get", "/copy/of/app"]), "top");
    assert_eq!(ok(&zk, &["get", "/copy/of/app/null"]), "null");
    assert_eq!(ok(&zk, &["get", "-b", "/copy/of/app/bytes"]), "AP8=");
    assert_eq!(ok(&zk, &["getAcl", "/copy/of/app/bytes"]), ok(&zk, &["getAcl", "/app/bytes"]));
    ok(&zk, &["set", "/app", "changed"]);
    let report = ok(&zk, &["import", file]);
    assert!(report.starts_with("0 nodes created below /app; 3 nodes that existed already left"), "{report}");
    assert_eq!(ok(&zk, &["get", "/app"]), "changed");
    ok(&zk, &["import", file, "--overwrite"]);
    assert_eq!(ok(&zk, &["get", "/app"]), "top");
    let (_, stderr, code) = run(&zk, &["import", "/nonexistent"]);
    assert!(stderr.contains("/nonexistent: No such file") && code == 1, "{stderr}");
}

#[test]
fn watch_follows_a_subtree() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    ok(&zk, &["create", "/app"]);
    let mut piped = Piped::start(&zk);
    piped.type_line("watch /app --count 3");
    piped.expect("following /app");
    ok(&zk, &["create", "/app/a", "first"]);
    piped.expect("created /app/a = first");
    ok(&zk, &["set", "/app/a", "second"]);
    piped.expect("changed /app/a = second");
    ok(&zk, &["delete", "/app/a"]);
    piped.expect("deleted /app/a");
    // The watch is gone with the command.
    piped.type_line("create /app/b");
    piped.type_line("getAllChildrenNumber /app");
    let before = piped.expect("1");
    assert!(!before.contains("NodeCreated"), "{before}");
}

#[test]
fn edit_writes_back_unless_somebody_else_did() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    ok(&zk, &["create", "/conf", "mode=slow"]);
    let edit = |editor: &str| finish(shell(&zk).env("EDITOR", editor).args(["edit", "/conf"]));
    assert_eq!(edit("sed -i s/slow/fast/").0, "/conf has dataVersion 1 now");
    assert_eq!(ok(&zk, &["get", "/conf"]), "mode=fast");
    assert_eq!(edit("true").0, "/conf is unchanged");
    let (_, stderr, code) = edit("false");
    assert!(stderr.contains("nothing was changed") && code == 1, "{stderr}");
    let meddler = format!(
        "{} shell -server {zk} set /conf theirs >/dev/null; echo mine >",
        env!("CARGO_BIN_EXE_ringkeeper")
    );
    let (_, stderr, code) = edit(&meddler);
    assert!(stderr.contains("hint: somebody else changed /conf meanwhile"), "{stderr}");
    assert_eq!((code, ok(&zk, &["get", "/conf"]).as_str()), (1, "theirs"));
    assert_eq!(kept(&stderr), "mine\n");
    // An editor that fails after its user has typed.
    let (_, stderr, code) = edit("f() { echo typed >\"$1\"; return 3; }; f");
    assert!(stderr.contains("exit status: 3; nothing was changed; your text is in "), "{stderr}");
    assert_eq!((code, kept(&stderr).as_str()), (1, "typed\n"));
    assert_eq!(ok(&zk, &["get", "/conf"]), "theirs");
}

/// What the file holds that `edit` has left, which is removed.
fn kept(stderr: &str) -> String {
    let line = stderr.lines().find(|line| line.contains("your text is in ")).expect("a line");
    let file = line.rsplit("your text is in ").next().expect("a name");
    let text = std::fs::read_to_string(file).expect("it is kept");
    std::fs::remove_file(file).expect("removed");
    text
}

/// The lines of a pipe, with these identities.
fn script(zk: &str, lines: &[&str]) -> (String, String) {
    let mut child = shell(zk)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shell");
    let mut stdin = child.stdin.take().expect("a pipe");
    lines.iter().for_each(|line| writeln!(stdin, "{line}").expect("it reads"));
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_was_exported_comes_back_also_below_read_only_parents() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cfg.json").display().to_string();
    for path in ["/cfg", "/cfg/a", "/cfg/a/b", "/own", "/own/x"] {
        ok(&zk, &["create", path, "data"]);
    }
    for (path, acl) in [
        ("/cfg/a/b", "world:anyone:r"),
        ("/cfg/a", "world:anyone:r,ip:127.0.0.1:rw"),
        ("/cfg", "world:anyone:r"),
    ] {
        ok(&zk, &["setAcl", path, acl]);
    }
    ok(&zk, &["export", "/cfg", &file]);
    assert_eq!(ok(&zk, &["import", &file, "/restored"]), "3 nodes created below /restored");
    for below in ["", "/a", "/a/b"] {
        let acl = |root: &str| ok(&zk, &["getAcl", &format!("{root}{below}")]);
        assert_eq!(acl("/restored"), acl("/cfg"), "{below}");
    }
    // By an owner whose identity no parent gives the right to create.
    let me = "addauth digest me:secret";
    script(&zk, &[me, "setAcl /own/x auth::cdrwa", "setAcl /own auth::ra", &format!("export /own {file}")]);
    let (stdout, stderr) =
        script(&zk, &[me, &format!("import {file} /again"), "getAcl /again", "getAcl /again/x"]);
    assert!(stdout.contains("2 nodes created below /again"), "{stdout}{stderr}");
    assert_eq!(stdout.matches("'digest,'me:").count(), 2, "{stdout}");
    assert!(stdout.contains(": ra\n") && stdout.contains(": cdrwa\n"), "{stdout}");
    // What the server does not show, the file cannot hold.
    let (_, stderr) = script(&zk, &[me, "setAcl /own auth::r", &format!("export /own {file}")]);
    assert!(stderr.contains("hides the digests in the ACL of 1 node (/own is the first)"), "{stderr}");
}

#[test]
fn an_import_that_fails_says_what_it_did() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("half.json");
    let node = |path: &str, acl: &str| format!(r#"{{"path":"{path}","data":null,"acl":["{acl}"]}}"#);
    let nodes = [
        node("", "world:anyone:r"),
        node("/a", "world:anyone:cdrwa"),
        node("/b", "nosuchscheme:x:r"),
        node("/c", "world:anyone:cdrwa"),
    ];
    let text =
        format!(r#"{{"format":"ringkeeper-subtree","version":1,"path":"/x","nodes":[{}]}}"#, nodes.join(","));
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let (_, stderr, code) = run(&zk, &["import", &file]);
    assert!(stderr.starts_with("Acl is not valid : /x/b; 2 nodes created below /x before that"), "{stderr}");
    assert_eq!(code, 1);
    // Nothing stays open: the parent has its ACL.
    assert_eq!(ok(&zk, &["getAcl", "/x"]), "'world,'anyone\n: r");
    let (_, stderr, _) = finish(shell(&zk).args(["--output", "json", "import", &file, "/y"]));
    let value: serde_json::Value = serde_json::from_str(&stderr).expect("one JSON value");
    assert_eq!(value["error"], "InvalidACL");
    assert!(value["message"].as_str().expect("a text").contains("2 nodes created below /y"), "{value}");
}

#[test]
fn an_export_names_what_may_not_be_read_and_can_leave_it_out() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("some.json");
    let name = file.display().to_string();
    for path in ["/p", "/p/open", "/p/secret", "/p/secret/below"] {
        ok(&zk, &["create", path]);
    }
    script(&zk, &["addauth digest me:secret", "setAcl /p/secret auth::cdrwa"]);
    let (_, stderr, code) = run(&zk, &["export", "/p", &name]);
    assert!(
        stderr.starts_with("Insufficient permission : /p/secret; nothing was written; --skip leaves out")
    );
    assert!(code == 1 && !file.exists(), "{stderr}");
    let told = ok(&zk, &["export", "/p", &name, "--skip"]);
    assert!(told.contains("what may not be read is left out with all below it: /p/secret"), "{told}");
    assert_eq!(ok(&zk, &["import", &name, "/q"]), "2 nodes created below /q");
    assert_eq!(ok(&zk, &["ls", "-R", "/q"]), "/q\n/q/open");
}

#[test]
fn errors_in_json_have_names() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    for path in ["/a", "/a/b"] {
        ok(&zk, &["create", path]);
    }
    let cases: &[(&[&str], &str, i32)] = &[
        (&["delete", "/a"], "NotEmpty", 1),
        (&["create", "/a"], "NodeExists", 1),
        (&["set", "/a", "x", "-v", "9"], "BadVersion", 1),
        (&["removewatches", "/a"], "NoWatcher", 1),
        (&["reconfig", "-remove", "1"], "ReconfigDisabled", 1),
        (&["setAcl", "/a", "x:y:r"], "InvalidACL", 1),
        (&["create", "/b", "x", "x:y:r"], "InvalidACL", 1),
        (&["listquota", "/a"], "NoNode", 0),
        (&["setquota", "-n", "x", "/a"], "Usage", 0),
        (&["setquota", "-n", "1", "/none"], "NoNode", 1),
        (&["get"], "Usage", 1),
        (&["get", "--nothing", "/a"], "Usage", 1),
        (&["get", "a"], "BadPath", 1),
        (&["import", "/nonexistent"], "Failed", 1),
        (&["nonsense"], "UnknownCommand", 127),
    ];
    for (words, name, expected_code) in cases {
        let (_, stderr, code) = finish(shell(&zk).args(["--output", "json"]).args(*words));
        let value: serde_json::Value =
            serde_json::from_str(&stderr).unwrap_or_else(|error| panic!("{words:?}: {error}: {stderr}"));
        assert_eq!((value["error"].as_str(), code), (Some(*name), *expected_code), "{words:?}: {value}");
    }
    let (_, stderr, _) =
        finish(shell("127.0.0.1:1").args(["--output", "json", "-timeout", "100", "ls", "/"]));
    assert!(stderr.contains(r#""error":"ConnectionLoss""#), "{stderr}");
}

#[test]
fn hints_are_for_people() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let quiet = |words: &[&str]| finish(shell(&zk).env_remove("RINGKEEPER_HINTS").args(words));
    assert_eq!(quiet(&["get", "/none"]).1, "Node does not exist: /none");
    let (_, stderr, code) = quiet(&["create", "/a", "x", "world:anyone:xyz"]);
    let line = "Unknown perm type: ";
    assert_eq!((stderr, code), (format!("{line}x\n{line}y\n{line}z\nCreated /a"), 0));
    let (_, stderr, _) = run(&zk, &["create", "/b", "x", "world:anyone:rz"]);
    assert!(
        stderr.contains("  hint: an ACL is scheme:id:permissions,...")
            && stderr.contains("\"world:anyone:r\"")
    );
    let (_, stderr, _) = run(&zk, &["setAcl", "/b", "world:anyone:xyz"]);
    assert!(stderr.contains("which lets in nobody but a superuser"), "{stderr}");
}

#[test]
fn help_explains_forms_units_and_modes() {
    let help = |command: &str| finish(shell("127.0.0.1:1").args(["help", command])).0;
    let create = help("create");
    assert!(create.contains("create [-s] [-e] [-c] [-t ttl] path [data] [acl]") && create.contains("-t: ms"));
    assert!(
        create.contains("scheme:id:permissions") && create.contains("e.g. create -e -s /app/"),
        "{create}"
    );
    assert!(help("addWatch").contains("PERSISTENT_RECURSIVE: changes of the node and of all nodes below it"));
}

#[test]
fn nobody_waits_for_a_server_that_says_nothing() {
    // It takes connections and never answers; the session's timeout is longer than this test may take.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let ends = |zk: &str, lines: &str, before: &dyn Fn()| {
        let mut child = shell(zk);
        child.args(["-timeout", "600000"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().expect("the shell");
        let mut stdin = child.stdin.take().expect("a pipe");
        before();
        stdin.write_all(lines.as_bytes()).expect("it reads");
        eventually("the shell ends", || child.try_wait().expect("a child to ask").is_some());
    };
    ends(&address, "quit\n", &|| {
        // The connect request has come: the shell waits for its answer.
        let (mut stream, _) = silent.accept().expect("a connection");
        std::io::Read::read_exact(&mut stream, &mut [0; 4]).expect("a request");
        std::mem::forget(stream);
    });
    // An address that nobody answers for: packets to it are lost.
    ends("192.0.2.1:2181", "quit\n", &|| {});
    // A server that stops in the middle of a session.
    let server = Server::start("", &[]);
    let zk = at(&server);
    let mut piped = Piped::start(&zk);
    piped.type_line("getAllChildrenNumber /");
    piped.expect("2");
    signal(&server, "STOP");
    piped.type_line("quit");
    eventually("the shell ends", || piped.child.try_wait().expect("a child to ask").is_some());
    signal(&server, "CONT");
}

#[test]
fn a_session_without_ephemeral_nodes_does_not_linger() {
    let server = Server::start("", &[]);
    let zk = at(&server);
    let mut observer = server.connect();
    ok(&zk, &["create", "-e", "/lingers"]);
    assert_eq!(observer.exists("/lingers", false).err, 0);
    ok(&zk, &["create", "/stays"]);
    eventually("only the session with the node is left", || {
        let mntr = server.four_letters("mntr").unwrap_or_default();
        mntr.contains("zk_global_sessions\t2")
    });
}

/// A shell on a terminal of its own.
fn terminal(server: &str, history: &Path) -> rexpect::session::PtySession {
    let mut command = shell(server);
    command
        .stdin(Stdio::inherit())
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env("RINGKEEPER_HISTORY", history);
    rexpect::session::spawn_command(command, Some(60_000)).expect("a terminal")
}

#[test]
fn on_a_terminal() {
    let mut server = Server::start("", &[]);
    let zk = at(&server);
    ok(&zk, &["create", "/application", "found"]);
    let folder = tempfile::tempdir().expect("a folder");
    let history = folder.path().join("state/history");
    let mut tty = terminal(&zk, &history);
    tty.exp_string("help lists the commands").expect("a greeting");
    // A path completed from the server.
    press(&mut tty, "get /appl\t\r");
    tty.exp_string("found").expect("the completed path's data");
    tty.send_line("addauth digest me:secret").expect("sent");
    tty.send_line("whoami").expect("sent");
    tty.exp_string("digest: me").expect("the identity");
    // Ctrl-C while the terminal is not the editor's would throw away what is typed ahead.
    tty.exp_string("CONNECTED)").expect("the next prompt");
    // A server that hangs: Ctrl-C ends the command, not the shell.
    signal(&server, "STOP");
    tty.send_line("ls /").expect("sent");
    tty.exp_string("ls /").expect("the echo");
    // The key counts while a command runs; one too many may end the next one, too.
    until(&mut tty, "interrupted", |tty| {
        if is_cooked(tty) {
            press(tty, "\x03");
        }
    });
    signal(&server, "CONT");
    until(&mut tty, "\r\n0\r\n", |tty| press(tty, "getAllChildrenNumber /application\r"));
    // All that was typed ahead is done: the editor waits.
    tty.send_line("printwatches").expect("sent");
    tty.exp_string("printwatches is on").expect("the answer");
    tty.exp_string("(CONNECTED) ").expect("the next prompt");
    // A lost server is told above the prompt, and why a command fails below it.
    server.kill();
    tty.exp_string("state:Disconnected").expect("the event");
    // The prompt below it says so too, before anybody presses a key.
    tty.exp_string("(CONNECTING) ").expect("the prompt");
    tty.send_line("ls /").expect("sent");
    tty.exp_string("Connection refused").expect("the reason");
    server.launch();
    tty.exp_string("state:SyncConnected").expect("the event");
    tty.exp_string("(CONNECTED) ").expect("the prompt");
    // Also where events are not shown.
    tty.send_line("printwatches off").expect("sent");
    tty.send_line("printwatches").expect("sent");
    tty.exp_string("printwatches is off").expect("the answer");
    tty.exp_string("(CONNECTED) ").expect("the next prompt");
    server.kill();
    let between = tty.exp_string("(CONNECTING) ").expect("the prompt");
    assert!(!between.contains("state:"), "{between}");
    server.launch();
    tty.exp_string("(CONNECTED) ").expect("the prompt");
    tty.send_line("quit").expect("sent");
    tty.exp_eof().expect("it ends");
    // The next session knows the lines of this one, but for the secret.
    let kept = std::fs::read_to_string(&history).expect("a history");
    assert!(kept.contains("getAllChildrenNumber /application") && !kept.contains("secret"), "{kept}");
    let mut tty = terminal(&zk, &history);
    tty.exp_string("help lists the commands").expect("a greeting");
    press(&mut tty, "\x1b[A\x1b[A\r");
    tty.exp_string("printwatches is on").expect("the second line from the end, again");
    press(&mut tty, "\x04");
    tty.exp_eof().expect("it ends");
}

/// Does this again until the shell has said that.
fn until(
    tty: &mut rexpect::session::PtySession,
    wanted: &str,
    act: impl Fn(&mut rexpect::session::PtySession),
) {
    let mut seen = String::new();
    eventually(wanted, || {
        act(tty);
        (0..1000).for_each(|_| seen.extend(tty.try_read()));
        seen.contains(wanted)
    });
}

/// True while a command runs: the editor has given the terminal back.
fn is_cooked(tty: &rexpect::session::PtySession) -> bool {
    let terminal = tty.process().get_file_handle().expect("a terminal");
    let output = Command::new("stty").arg("-a").stdin(terminal).output().expect("stty");
    String::from_utf8_lossy(&output.stdout).contains(" icanon")
}

fn press(tty: &mut rexpect::session::PtySession, keys: &str) {
    tty.send(keys).expect("sent");
    tty.flush().expect("sent");
}

fn signal(server: &Server, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(server.pid().to_string()).status();
    assert!(status.expect("kill").success());
}
