//! zkServer.sh and zkCli.sh as those know them who have them in their own scripts, and zkServer.sh where things are not as
//! they should be: pid files of others, folders that cannot be written, addresses of IPv6.

// These tests are real programs over real sockets, files and clocks.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::eventually;

/// zkServer.sh and zkCli.sh with a folder of their own.
struct Scripts {
    folder: tempfile::TempDir,
    port: u16,
}

impl Scripts {
    fn new() -> Scripts {
        Scripts::at("127.0.0.1")
    }

    /// With this clientPortAddress.
    fn at(address: &str) -> Scripts {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("a port").port();
        let data = folder.path().join("data");
        let text = format!(
            "tickTime=2000\n  dataDir = {}\nclientPort={port}\nclientPortAddress={address}\n",
            data.display()
        );
        std::fs::write(folder.path().join("zoo.cfg"), text).expect("a configuration");
        Scripts { folder, port }
    }

    fn run(&self, script: &str, words: &[&str]) -> (String, String, i32) {
        self.run_with(script, words, &[])
    }

    fn run_with(&self, script: &str, words: &[&str], env: &[(&str, &Path)]) -> (String, String, i32) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
        let mut command = Command::new(path);
        command.args(words).env("RINGKEEPER", env!("CARGO_BIN_EXE_ringkeeper")).stdin(Stdio::null());
        command.env("ZOOCFGDIR", self.folder.path()).env("ZOO_LOG_DIR", self.folder.path().join("logs"));
        for name in ["ZOOCFG", "ZOOPIDFILE", "SERVER_JVMFLAGS", "JVMFLAGS", "ZOO_DATADIR_AUTOCREATE_DISABLE"]
        {
            command.env_remove(name);
        }
        command.envs(env.iter().copied()).env("USER", "me").env("HOSTNAME", "here");
        let output = command.output().expect("a script");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_string();
        (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
    }

    fn server(&self, words: &[&str]) -> (String, i32) {
        let (stdout, _, code) = self.run("zkServer.sh", words);
        (stdout, code)
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.path().join("data/zookeeper_server.pid")
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.pid_file()).expect("a pid file")
    }

    fn out_file(&self) -> PathBuf {
        self.folder.path().join("logs/zookeeper-me-server-here.out")
    }

    /// Nothing runs with this configuration.
    fn nothing_runs(&self) {
        let lock = self.folder.path().join("data/ringkeeper.lock");
        let pid = std::fs::read_to_string(lock).unwrap_or_default();
        let command = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        let name = self.folder.path().join("zoo.cfg").display().to_string();
        assert!(!String::from_utf8_lossy(&command).contains(&name), "process {pid} runs");
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        self.run("zkServer.sh", &["stop"]);
    }
}

#[test]
fn zk_server_sh_as_its_users_know_it() {
    let scripts = Scripts::new();
    let pid_file = scripts.pid_file();
    let found = format!("Client port found: {}. Client address: 127.0.0.1. Client SSL: false.", scripts.port);
    let (stdout, stderr, code) = scripts.run("zkServer.sh", &["status"]);
    assert_eq!(stdout, format!("{found}\nError contacting service. It is probably not running."));
    assert_eq!(code, 1);
    assert_eq!(stderr, format!("Using config: {}/zoo.cfg", scripts.folder.path().display()));
    let none =
        format!("Stopping zookeeper ... no zookeeper to stop (could not find file {})", pid_file.display());
    assert_eq!(scripts.server(&["stop"]), (none, 0));
    assert_eq!(scripts.server(&["start"]), ("Starting zookeeper ... STARTED".into(), 0));
    let pid = std::fs::read_to_string(&pid_file).expect("a pid file");
    let running = format!("Starting zookeeper ... already running as process {pid}.");
    assert_eq!(scripts.server(&["start"]), (running, 1));
    assert_eq!(scripts.server(&["status"]), (format!("{found}\nMode: standalone"), 0));
    let file = scripts.folder.path().join("zoo.cfg");
    assert_eq!(scripts.server(&["status", file.to_str().expect("a name")]).1, 0);
    let (stdout, _, code) =
        scripts.run("zkCli.sh", &["-server", &format!("127.0.0.1:{}", scripts.port), "ls", "/"]);
    assert!(stdout.ends_with("[zookeeper]") && code == 0, "{stdout}");
    let restarted = "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED";
    assert_eq!(scripts.server(&["restart"]), (restarted.into(), 0));
    assert_ne!(std::fs::read_to_string(&pid_file).expect("a pid file"), pid);
    assert_eq!(scripts.server(&["stop"]), ("Stopping zookeeper ... STOPPED".into(), 0));
    assert!(!pid_file.exists());
    assert_eq!(scripts.server(&["status"]).1, 1);
}

#[test]
fn zk_server_sh_explains() {
    let scripts = Scripts::new();
    let (stdout, code) = scripts.server(&["print-cmd"]);
    assert!(
        stdout.contains("/ringkeeper\" start \"") && stdout.contains("/zoo.cfg\" >> \"") && code == 0,
        "{stdout}"
    );
    let (stdout, code) = scripts.server(&["version"]);
    assert!(stdout.contains(", version 3.9.") && code == 0, "{stdout}");
    let (_, stderr, _) = scripts.run("zkServer.sh", &["begin"]);
    assert!(stderr.contains("{start|start-foreground|stop|version|restart|status|print-cmd}"), "{stderr}");
    let bad = format!("tickTime=soon\ndataDir={}/x\n", scripts.folder.path().display());
    std::fs::write(scripts.folder.path().join("bad.cfg"), bad).expect("written");
    let (stdout, stderr, code) = scripts.run("zkServer.sh", &["start", "bad.cfg"]);
    assert_eq!((stdout.as_str(), code), ("Starting zookeeper ... FAILED TO START", 1));
    assert!(stderr.contains("tickTime"), "{stderr}");
    let (_, stderr, code) = scripts.run("zkServer.sh", &["--config", "/nonexistent", "start"]);
    assert!(stderr.contains("/nonexistent/zoo.cfg cannot be read") && code == 1, "{stderr}");
}

#[test]
fn a_pid_file_that_cannot_be_written_leaves_no_server_behind() {
    let scripts = Scripts::new();
    let folder = scripts.folder.path().join("a-folder");
    std::fs::create_dir(&folder).expect("a folder");
    // A full disk. By a link of our own: a script that removes its pid file must not remove the device.
    let full = scripts.folder.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
    for (pid_file, why) in [(&folder, "Is a directory"), (&full, "was stopped again")] {
        let (stdout, stderr, code) = scripts.run_with("zkServer.sh", &["start"], &[("ZOOPIDFILE", pid_file)]);
        assert_eq!((stdout.as_str(), code), ("Starting zookeeper ... FAILED TO WRITE PID", 1));
        assert!(stderr.contains(why) && stderr.contains("ZOOPIDFILE names another file"), "{stderr}");
        scripts.nothing_runs();
    }
}

#[test]
fn a_folder_for_logs_that_cannot_be_written_is_named() {
    let scripts = Scripts::new();
    let file = scripts.folder.path().join("a-file");
    std::fs::write(&file, "").expect("a file");
    let (stdout, stderr, code) = scripts.run_with("zkServer.sh", &["start"], &[("ZOO_LOG_DIR", &file)]);
    assert_eq!((stdout.as_str(), code), ("Starting zookeeper ... FAILED TO START", 1));
    assert!(stderr.contains("a-file") && stderr.contains("ZOO_LOG_DIR names another folder"), "{stderr}");
    assert!(!scripts.pid_file().exists());
    scripts.nothing_runs();
}

#[test]
fn the_pid_file_of_another_instance_ends_nobody() {
    let (scripts, other) = (Scripts::new(), Scripts::new());
    assert_eq!(other.server(&["start"]).1, 0);
    let pid = other.pid();
    // As after a reboot: the number in our pid file is the other one's by now.
    std::fs::create_dir_all(scripts.folder.path().join("data")).expect("a folder");
    std::fs::write(scripts.pid_file(), &pid).expect("written");
    let (stdout, code) = scripts.server(&["stop"]);
    let file = scripts.pid_file().display().to_string();
    let none = format!("no zookeeper to stop (process {pid} of {file} is no server of this configuration)");
    assert_eq!((stdout, code), (format!("Stopping zookeeper ... {none}"), 0));
    assert!(other.server(&["status"]).0.ends_with("Mode: standalone"), "the other one still runs");
    std::fs::write(scripts.pid_file(), &pid).expect("written");
    assert_eq!(scripts.server(&["start"]), ("Starting zookeeper ... STARTED".into(), 0));
    assert_ne!(scripts.pid(), pid);
    assert_eq!(scripts.server(&["stop"]), ("Stopping zookeeper ... STOPPED".into(), 0));
    assert!(other.server(&["status"]).0.ends_with("Mode: standalone"), "the other one still runs");
}

#[test]
fn a_server_is_known_by_its_folder_or_by_its_configuration() {
    let scripts = Scripts::new();
    // Under another name of its configuration: by its folder.
    let link = scripts.folder.path().join("link.cfg");
    std::fs::copy(scripts.folder.path().join("zoo.cfg"), &link).expect("copied");
    assert_eq!(scripts.server(&["start"]).1, 0);
    let stopped = ("Stopping zookeeper ... STOPPED".to_string(), 0);
    assert_eq!(scripts.server(&["stop", link.to_str().expect("a name")]), stopped);
    // By its configuration, given as a relative name, while another folder's lock is looked for.
    let mut server = Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
    server.current_dir(scripts.folder.path()).args(["start", "zoo.cfg"]).stderr(Stdio::null());
    let mut server = server.spawn().expect("the server's binary");
    eventually("it serves", || scripts.server(&["status"]).1 == 0);
    let text = std::fs::read_to_string(scripts.folder.path().join("zoo.cfg")).expect("there");
    let moved = text.replace("/data", "/elsewhere");
    std::fs::write(scripts.folder.path().join("zoo.cfg"), moved).expect("written");
    std::fs::create_dir(scripts.folder.path().join("elsewhere")).expect("a folder");
    let pid_file = scripts.folder.path().join("elsewhere/zookeeper_server.pid");
    std::fs::write(pid_file, server.id().to_string()).expect("written");
    // `stop` waits until its process is gone, which it is once somebody has asked how it ended.
    let waiting = std::thread::spawn(move || server.wait().expect("it ends"));
    assert_eq!(scripts.server(&["stop"]), stopped);
    assert!(waiting.join().expect("no panic").success());
}

#[test]
fn a_restart_keeps_the_log_of_the_run_before() {
    let scripts = Scripts::new();
    assert_eq!(scripts.server(&["start"]).1, 0);
    let first = scripts.pid();
    let out = || std::fs::read_to_string(scripts.out_file()).expect("a log");
    assert_eq!(out().matches("listening on").count(), 1);
    assert_eq!(scripts.server(&["restart"]).1, 0);
    assert_ne!(scripts.pid(), first);
    assert_eq!(out().matches("listening on").count(), 2);
    assert!(out().contains("stopped"), "{}", out());
    // A large one is moved aside, and five of them are kept.
    let aside =
        |number: usize| scripts.folder.path().join(format!("logs/zookeeper-me-server-here.out.{number}"));
    for round in 1..=6 {
        let bytes = [("ZOO_OUT_BYTES", Path::new("100"))];
        assert_eq!(scripts.run_with("zkServer.sh", &["restart"], &bytes).2, 0);
        assert_eq!(out().matches("listening on").count(), 1);
        let kept = (1..=9).filter(|number| aside(*number).exists()).count();
        assert_eq!(kept, round.min(5));
    }
    let newest = std::fs::read_to_string(aside(1)).expect("a log");
    assert_eq!(newest.matches("listening on").count(), 1);
}

#[test]
fn status_asks_at_addresses_of_ipv6() {
    for address in ["::1", "[::1]"] {
        let scripts = Scripts::at(address);
        assert_eq!(scripts.server(&["start"]), ("Starting zookeeper ... STARTED".into(), 0));
        let found =
            format!("Client port found: {}. Client address: {address}. Client SSL: false.", scripts.port);
        assert_eq!(scripts.server(&["status"]), (format!("{found}\nMode: standalone"), 0));
    }
}
