//! Background work with the real binary, under both drivers: snapshots taken, kept, removed, cut off, on a full disk and on
//! one that stands still. Disks of their own take root and loop devices; where there are none, the tests say so and look at
//! nothing. The same where glommio cannot be.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stderr)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Client, Server, create_body, eventually, files};

const DRIVERS: [&str; 2] = ["threads", "glommio"];

/// A server under this driver, not started; false: it cannot be here.
fn launch(server: &mut Server, driver: &str) -> bool {
    server.spawn();
    let line = format!("background work by {driver}");
    eventually("it says how it works in the background, or why not", || {
        server.log().contains(&line) || server.log().contains("is not possible")
    });
    if server.log().contains("is not possible") {
        assert_ne!(server.wait(), 0);
        let log = server.log();
        assert!(driver == "glommio", "threads are possible everywhere: {log}");
        eprintln!("skipped, no glommio here: {log}");
        return false;
    }
    server.wait_until_it_serves();
    true
}

fn settings(driver: &str, extra: &str) -> String {
    format!("ringkeeper.scribe={driver}\n{extra}")
}

/// A file system on a file, which can be full and can stand still; thawed and unmounted when dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(image: &Path, folder: &Path, bytes: u64) -> Option<Disk> {
        std::fs::File::create(image).and_then(|file| file.set_len(bytes)).unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let is_done = run(Command::new("mkfs.ext4").arg("-q").arg(image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(folder));
        is_done.then(|| Disk { folder: folder.into() })
    }

    /// Whoever writes waits from now on.
    fn freeze(&self) -> bool {
        run(Command::new("fsfreeze").arg("-f").arg(&self.folder))
    }

    fn thaw(&self) -> bool {
        run(Command::new("fsfreeze").arg("-u").arg(&self.folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.folder).output();
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}

fn run(command: &mut Command) -> bool {
    match command.output() {
        Ok(output) if output.status.success() => true,
        output => {
            eprintln!("skipped, {command:?} does not work: {output:?}");
            false
        }
    }
}

/// A server whose snapshots are on a disk of their own, of so many bytes.
fn on_a_disk_of_its_own(driver: &str, bytes: u64, extra: &str) -> Option<(Server, Disk)> {
    let server = Server::prepare("", &[]);
    let log = server.folder.path().join("log");
    let extra = format!("dataLogDir={}\n{extra}", log.display());
    let text = std::fs::read_to_string(server.folder.path().join("zoo.cfg")).unwrap();
    std::fs::write(server.folder.path().join("zoo.cfg"), text + &settings(driver, &extra)).unwrap();
    let disk = Disk::mount(&server.folder.path().join("disk"), &server.folder.path().join("data"), bytes)?;
    Some((server, disk))
}

fn snapshots(server: &Server) -> Vec<PathBuf> {
    files(&server.data(), "snapshot.")
}

/// So many writes in one piece, all answered.
fn write(client: &mut Client, count: usize, data: &[u8]) {
    for _ in 0..count {
        assert_eq!(client.set("/a", data).err, 0);
    }
}

/// A thread of the server, or of the kernel for it, waits for a disk.
fn waits_for_disk(server: &Server) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let stats = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let mut states = stats.filter_map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('D')));
    states.any(|waits| waits)
}

#[test]
fn snapshots_are_taken_kept_and_removed_and_segments_let_go() {
    for driver in DRIVERS {
        let extra =
            "snapCount=200\npreAllocSize=4096\nautopurge.snapRetainCount=3\nautopurge.purgeInterval=1";
        let mut server = Server::prepare(&settings(driver, extra), &[]);
        if !launch(&mut server, driver) {
            continue;
        }
        let mut client = server.connect();
        assert_eq!(client.create("/a", b"", 0).err, 0);
        let data = vec![7; 10_000];
        let mut last = Vec::new();
        for round in 0..6 {
            // One that is on its way is waited for: without it, the next ones are not begun.
            write(&mut client, 400, &data);
            eventually("a newer snapshot", || {
                let there = snapshots(&server);
                there.last().is_some_and(|path| path.extension().is_some_and(|end| end != "tmp"))
                    && there != last
            });
            last = snapshots(&server);
            assert!(last.len() <= 4, "{driver}, round {round}: {last:?}");
        }
        eventually("three are kept", || snapshots(&server).len() == 3);
        write(&mut client, 1, b"last");
        // 24 MB went through segments of 4 MiB.
        assert!(server.segments().len() <= 6, "{driver}: {:?}", server.segments());
        server.kill();
        assert!(launch(&mut server, driver));
        assert_eq!(server.connect().get("/a"), Ok(b"last".to_vec()), "{driver}");
        assert_eq!(server.stop(), 0);
    }
}

#[test]
fn packed_snapshots_are_read_again() {
    for driver in DRIVERS {
        for method in ["gz", "snappy"] {
            let extra = format!("snapCount=20\nsnapshot.compression.method={method}");
            let mut server = Server::prepare(&settings(driver, &extra), &[]);
            if !launch(&mut server, driver) {
                continue;
            }
            let mut client = server.connect();
            assert_eq!(client.create("/a", b"", 0).err, 0);
            write(&mut client, 100, &vec![7; 1000]);
            let end = Some(std::ffi::OsStr::new(method));
            eventually("a packed snapshot", || snapshots(&server).iter().any(|path| path.extension() == end));
            write(&mut client, 1, b"last");
            server.kill();
            assert!(launch(&mut server, driver));
            let log = server.log();
            assert!(!log.contains("cannot be used"), "{driver} {method}: {log}");
            assert_eq!(server.connect().get("/a"), Ok(b"last".to_vec()), "{driver} {method}");
        }
    }
}

#[test]
fn while_the_disk_of_a_snapshot_stands_still_writes_and_connects_go_on() {
    for driver in DRIVERS {
        let Some((mut server, disk)) = on_a_disk_of_its_own(driver, 64 << 20, "snapCount=100") else {
            return;
        };
        if !launch(&mut server, driver) {
            continue;
        }
        let mut client = server.connect();
        assert_eq!(client.create("/a", b"", 0).err, 0);
        if !disk.freeze() {
            return;
        }
        write(&mut client, 100, b"1");
        eventually("a snapshot waits for its disk", || waits_for_disk(&server));
        // More than may wait for the scribe: it follows while its snapshot does not come on.
        let data = vec![7; 900_000];
        write(&mut client, 2 * ringkeeper::limits::SCRIBE_BYTES_MAX / data.len(), &data);
        let mut other = server.connect();
        assert_eq!(other.get("/a").map(|data| data.len()), Ok(data.len()));
        assert!(disk.thaw());
        eventually("the snapshot is in place", || {
            snapshots(&server).iter().any(|path| path.extension().is_some_and(|end| end != "tmp"))
        });
        write(&mut client, 1, b"last");
        server.kill();
        assert!(launch(&mut server, driver));
        assert_eq!(server.connect().get("/a"), Ok(b"last".to_vec()), "{driver}");
        server.kill();
    }
}

#[test]
fn a_process_killed_during_a_snapshot_leaves_nothing_that_stays() {
    for driver in DRIVERS {
        let Some((mut server, disk)) = on_a_disk_of_its_own(driver, 64 << 20, "snapCount=100") else {
            return;
        };
        if !launch(&mut server, driver) {
            continue;
        }
        let mut client = server.connect();
        assert_eq!(client.create("/a", b"", 0).err, 0);
        if !disk.freeze() {
            return;
        }
        write(&mut client, 150, b"1");
        eventually("a snapshot waits for its disk", || waits_for_disk(&server));
        write(&mut client, 1, b"last");
        assert!(run(Command::new("kill").args(["-9", &server.pid().to_string()])));
        assert!(disk.thaw());
        server.kill();
        assert!(launch(&mut server, driver));
        assert_eq!(server.connect().get("/a"), Ok(b"last".to_vec()), "{driver}");
        // Its own snapshot may be on its way.
        let is_tmp = |path: &PathBuf| path.extension().is_some_and(|end| end == "tmp");
        eventually("nothing unfinished stays", || !files(&server.data(), "").iter().any(is_tmp));
        server.kill();
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_given_up_and_the_next_one_that_fits_is_written() {
    for driver in DRIVERS {
        let Some((mut server, _disk)) = on_a_disk_of_its_own(driver, 16 << 20, "snapCount=100") else {
            return;
        };
        if !launch(&mut server, driver) {
            continue;
        }
        let mut client = server.connect();
        assert_eq!(client.create("/a", b"", 0).err, 0);
        let data = vec![7; 900_000];
        for node in 0..30 {
            assert_eq!(client.call(1, &create_body(&format!("/n{node}"), &data, 0)).err, 0);
        }
        write(&mut client, 200, b"1");
        eventually("a snapshot fails", || server.log().contains("no snapshot: "));
        assert!(server.log().contains("No space left on device"), "{}", server.log());
        eventually("nothing of it is left", || snapshots(&server).is_empty());
        for node in 0..30 {
            assert_eq!(client.delete(&format!("/n{node}")).err, 0);
        }
        write(&mut client, 400, b"last");
        eventually("a snapshot is written", || {
            snapshots(&server).iter().any(|path| path.extension().is_some_and(|end| end != "tmp"))
        });
        server.kill();
        assert!(launch(&mut server, driver));
        assert_eq!(server.connect().get("/a"), Ok(b"last".to_vec()), "{driver}");
        server.kill();
    }
}

#[test]
fn where_io_uring_is_not_wanted_the_work_is_done_by_threads() {
    let mut server = Server::prepare("ringkeeper.io=epoll", &[]);
    assert!(launch(&mut server, "threads"));
    assert!(server.log().contains("background work by threads: ringkeeper.io=epoll"), "{}", server.log());
    let mut server = Server::prepare("ringkeeper.io=epoll\nringkeeper.scribe=glommio", &[]);
    server.spawn();
    assert_ne!(server.wait(), 0);
    assert!(server.log().contains("ringkeeper.scribe=glommio is not possible"), "{}", server.log());
}
