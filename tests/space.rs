//! Volumes that are small or full, with the real binary: tmpfs volumes of a few MiB. Mounting them takes root; where that is
//! not permitted, the tests say so and look at nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stderr)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use support::{Client, DEADLINE, Server, files};

/// A tmpfs mounted at the place of a server's data; unmounted when dropped.
struct Volume {
    folder: PathBuf,
}

impl Volume {
    fn mount(folder: &Path, bytes: u64) -> Option<Volume> {
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(folder);
        let output = command.stdin(Stdio::null()).output().ok()?;
        if !output.status.success() {
            eprintln!("skipped, no volume can be mounted: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Volume { folder: folder.into() })
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// A server whose data lie on a volume of so many bytes.
fn on_volume(bytes: u64, extra: &str) -> Option<(Server, Volume)> {
    let server = Server::prepare(extra, &[]);
    let volume = Volume::mount(&server.folder.path().join("data"), bytes)?;
    Some((server, volume))
}

/// Writes until a write is refused; how many were answered.
fn fill(client: &mut Client) -> usize {
    let data = vec![7; 500_000];
    (0..2000).take_while(|_| client.set("/a", &data).err == 0).count()
}

#[test]
fn a_volume_too_small_for_a_segment_gets_smaller_ones() {
    let Some((mut server, _volume)) = on_volume(24 << 20, "") else { return };
    server.launch();
    let mut client = server.connect();
    assert_eq!(client.create("/a", b"", 0).err, 0);
    assert_eq!(client.set("/a", b"1").err, 0);
    // One that is being prepared has no length yet.
    let bytes = server.segments().into_iter().filter_map(|path| Some(path.metadata().ok()?.len()));
    let bytes: Vec<_> = bytes.filter(|bytes| *bytes > 0).collect();
    assert!(!bytes.is_empty() && bytes.iter().all(|bytes| (4 << 20..64 << 20).contains(bytes)), "{bytes:?}");
    server.kill();
    server.launch();
    assert_eq!(server.connect().get("/a"), Ok(b"1".to_vec()), "and reads them again");
}

#[test]
fn a_volume_too_small_for_any_segment_is_refused() {
    let Some((mut server, _volume)) = on_volume(1 << 20, "") else { return };
    server.spawn();
    assert_ne!(server.wait(), 0);
    let log = server.log();
    assert!(log.contains("no space for the transaction log") && log.contains("KiB must be free"), "{log}");
}

#[test]
fn a_server_goes_on_by_itself_on_a_volume_that_its_log_fills() {
    // Some segments of 8 MiB, and many times as many writes: by its settings nothing is ever removed.
    let Some((mut server, _volume)) = on_volume(40 << 20, "preAllocSize=8192") else { return };
    server.launch();
    let mut client = server.connect();
    assert_eq!(client.create("/a", b"", 0).err, 0);
    let data = vec![7; 500_000];
    let start = Instant::now();
    let mut answered = 0;
    while answered < 300 {
        answered += usize::from(client.set("/a", &data).err == 0);
        assert!(start.elapsed() < DEADLINE, "{answered} writes were answered: {}", server.log());
    }
    assert_eq!(client.set("/a", b"last").err, 0);
    server.kill();
    server.launch();
    assert_eq!(server.connect().get("/a"), Ok(b"last".to_vec()));
}

#[test]
fn on_a_full_volume_new_sessions_read_and_space_is_enough_to_go_on() {
    let Some((mut server, volume)) = on_volume(64 << 20, "preAllocSize=8192") else { return };
    server.launch();
    let mut client = server.connect();
    assert_eq!(client.create("/a", b"", 0).err, 0);
    // Somebody else fills the volume.
    let other = volume.folder.join("other");
    let _ = std::fs::write(&other, vec![1; 64 << 20]);
    let answered = fill(&mut client);
    assert!(answered < 2000, "the volume is full");
    for _ in 0..20 {
        let mut reader = server.connect();
        assert!(reader.get("/a").is_ok());
    }
    std::fs::remove_file(other).unwrap();
    let start = Instant::now();
    while client.set("/a", b"again").err != 0 {
        assert!(start.elapsed() < DEADLINE, "it does not go on: {}", server.log());
    }
    assert!(!files(&server.data(), "segment.").is_empty());
}
