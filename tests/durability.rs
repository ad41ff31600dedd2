//! What was acknowledged survives: kill -9 under load again and again, torn tails, damage, a second server, full stop.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use ringkeeper::log::frame::{FRAME_HEADER_BYTES, FrameHeader, Seed, SegmentHeader};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support::{Client, Server, eventually, set_body};
use zerocopy::IntoBytes;

const ROUNDS: usize = 20;
const WRITERS: usize = 4;
const BLOCK: usize = 4096;

/// Per path the newest acknowledged number, and the newest one sent.
type Ledger = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

/// Writes ascending numbers, some one by one and some pipelined, until the server is gone.
fn write_until_killed(port: u16, writer: usize, start: u64, ledger: &Ledger, is_ready: &AtomicBool) {
    let mut client = Client::connect(port, 30_000);
    let path = format!("/w{writer}");
    let depth = if writer.is_multiple_of(2) { 1 } else { 16 };
    let mut number = start;
    let mut pending = std::collections::VecDeque::new();
    loop {
        while pending.len() < depth {
            number += 1;
            ledger.lock().unwrap().get_mut(&path).unwrap().1 = number;
            let body = set_body(&path, number.to_string().as_bytes(), -1);
            if client.send(number as i32, 5, &body).is_err() {
                return;
            }
            pending.push_back(number);
        }
        let Some(reply) = client.receive() else { return };
        let sent = pending.pop_front().unwrap();
        assert_eq!((reply.xid, reply.err), (sent as i32, 0));
        ledger.lock().unwrap().get_mut(&path).unwrap().0 = sent;
        is_ready.store(true, Ordering::SeqCst);
    }
}

#[test]
fn every_acknowledged_write_survives_kill_9() {
    // Small segments and frequent snapshots, so that all of it happens in every round.
    let mut server = Server::start("snapCount=2000\npreAllocSize=4096\nringkeeper.shards=2", &[]);
    let ledger: Ledger = Arc::default();
    let mut client = server.connect();
    for writer in 0..WRITERS {
        let path = format!("/w{writer}");
        assert_eq!(client.create(&path, b"0", 0).err, 0);
        ledger.lock().unwrap().insert(path, (0, 0));
    }
    let mut prng = 0x9E37_79B9_7F4A_7C15u64;
    for round in 0..ROUNDS {
        let ready: Vec<Arc<AtomicBool>> = (0..WRITERS).map(|_| Arc::default()).collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (port, ledger, ready) = (server.port, Arc::clone(&ledger), Arc::clone(&ready[writer]));
                let start = ledger.lock().unwrap()[&format!("/w{writer}")].1;
                std::thread::spawn(move || write_until_killed(port, writer, start, &ledger, &ready))
            })
            .collect();
        eventually("all writers are at work", || ready.iter().all(|ready| ready.load(Ordering::SeqCst)));
        prng = prng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let more = 50 + (prng >> 33) % 3000;
        let target: u64 = ledger.lock().unwrap().values().map(|(acked, _)| acked).sum::<u64>() + more;
        eventually("some more writes", || {
            ledger.lock().unwrap().values().map(|(acked, _)| acked).sum::<u64>() >= target
        });
        server.kill();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        server.launch();
        let mut client = server.connect();
        for (path, (acked, sent)) in ledger.lock().unwrap().iter_mut() {
            let found: u64 = String::from_utf8(client.get(path).unwrap()).unwrap().parse().unwrap();
            assert!(
                *acked <= found && found <= *sent,
                "round {round}: {path} is {found}, acknowledged {acked}, sent {sent}"
            );
            (*acked, *sent) = (found, (*sent).max(found));
        }
    }
    assert!(!support::files(&server.data(), "snapshot.").is_empty(), "snapshots were written");
    assert_eq!(server.stop(), 0);
}

#[test]
fn sessions_and_ephemerals_survive_kill_9_or_go_in_time() {
    let mut server = Server::start("minSessionTimeout=100\ntickTime=200", &[]);
    let mut stays = Client::connect(server.port, 4000);
    let mut goes = Client::connect(server.port, 500);
    assert_eq!(stays.create("/stays", b"", 1).err, 0);
    assert_eq!(goes.create("/goes", b"", 1).err, 0);
    let before = stays.exists("/stays", false).body;
    server.kill();
    server.launch();
    let mut back = Client::resume(server.port, stays.session, &stays.password, 0).unwrap();
    assert_eq!(back.session, stays.session);
    assert_eq!(back.exists("/stays", false).body, before, "the same czxid and owner");
    eventually("the dead session's ephemeral is gone", || {
        back.ping();
        back.exists("/goes", false).err == -101
    });
    assert_eq!(back.exists("/stays", false).err, 0);
    assert_eq!(back.call(-11, &[]).err, 0);
    let mut other = server.connect();
    assert_eq!(other.exists("/stays", false).err, -101);
}

/// A stopped server with some writes in one segment; returns how many.
fn stopped_with_writes() -> (Server, usize) {
    let mut server = Server::start("", &[]);
    let mut client = server.connect();
    assert_eq!(client.create("/a", b"0", 0).err, 0);
    for number in 1..=20 {
        assert_eq!(client.set("/a", number.to_string().as_bytes()).err, 0);
    }
    server.kill();
    (server, 20)
}

/// The first block of the first segment that holds nothing.
fn end_of_log(server: &Server) -> u64 {
    let bytes = std::fs::read(&server.segments()[0]).unwrap();
    let blocks = bytes.chunks(BLOCK).position(|block| block.iter().all(|byte| *byte == 0)).unwrap();
    (blocks * BLOCK) as u64
}

fn overwrite(server: &Server, offset: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&server.segments()[0]).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

fn read_block(server: &Server, offset: u64) -> Vec<u8> {
    let mut file = std::fs::File::open(&server.segments()[0]).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    let mut block = vec![0; BLOCK];
    file.read_exact(&mut block).unwrap();
    block
}

#[test]
fn a_torn_tail_is_discarded_with_one_line() {
    let (mut server, writes) = stopped_with_writes();
    let end = end_of_log(&server);
    // Half of the frame that would have come next: the last frame with the next sequence, its body cut off.
    let segment = SegmentHeader::read(&read_block(&server, 0)).unwrap();
    let seed = Seed::of(segment.log_id.get());
    let mut torn = read_block(&server, end - BLOCK as u64);
    let mut frame = FrameHeader::read(&torn, seed).unwrap();
    frame.sequence.set(frame.sequence.get() + 1);
    frame.seal(seed, b"another body");
    torn[..FRAME_HEADER_BYTES].copy_from_slice(frame.as_bytes());
    torn[FRAME_HEADER_BYTES..].fill(0xab);
    overwrite(&server, end, &torn);
    server.launch();
    assert_eq!(server.connect().get("/a").unwrap(), writes.to_string().as_bytes());
    assert_eq!(server.log().matches("torn tail").count(), 1, "{}", server.log());
    server.kill();
    server.launch();
    assert_eq!(server.connect().get("/a").unwrap(), writes.to_string().as_bytes());
}

#[test]
fn damage_in_the_middle_refuses_the_start_and_names_the_place() {
    let (mut server, _) = stopped_with_writes();
    let offset = 5 * BLOCK as u64;
    let mut block = read_block(&server, offset);
    block[100] ^= 1;
    overwrite(&server, offset, &block);
    server.spawn();
    assert_eq!(server.wait(), 1);
    let log = server.log();
    let name = server.segments()[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        log.contains(&name) && log.contains(&format!("offset {offset}")) && log.contains("Restore"),
        "{log}"
    );
    block[100] ^= 1;
    overwrite(&server, offset, &block);
    server.launch();
    assert_eq!(server.connect().get("/a").unwrap(), b"20");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let mut server = Server::start("", &[]);
    let config = server.folder.path().join("second.cfg");
    std::fs::write(
        &config,
        format!("dataDir={}\nclientPort=1\n", server.folder.path().join("data").display()),
    )
    .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
        .arg("start")
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("in use by another server"), "{text}");
    assert_eq!(server.connect().create("/still", b"", 0).err, 0);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_data_folder_belongs_to_one_server_whatever_its_log_folder_is() {
    let mut server = Server::start("", &[]);
    assert_eq!(server.connect().create("/mine", b"", 0).err, 0);
    let root = server.folder.path().to_path_buf();
    let second = |logs: &str| {
        let config = root.join("second.cfg");
        let folder = |name: &str| root.join(name).display().to_string();
        let text = format!("dataDir={}\ndataLogDir={}\nclientPort=1\n", folder("data"), folder(logs));
        std::fs::write(&config, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
        let output = command.arg("start").arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = second("other-logs");
    assert!(text.contains("in use by another server"), "{text}");
    server.stop();
    let text = second("other-logs");
    assert!(text.contains("holds no log") && text.contains("identity"), "{text}");
    server.launch();
    assert_eq!(server.connect().get("/mine"), Ok(Vec::new()));
}

#[test]
fn two_servers_folders_are_not_mixed() {
    let make = || {
        let mut server = Server::start("snapCount=5", &[]);
        let mut client = server.connect();
        (0..30).for_each(|index| assert_eq!(client.create(&format!("/n{index}"), b"", 0).err, 0));
        let data = server.data();
        eventually("a snapshot", || !support::files(&data, "snapshot.").is_empty());
        assert_eq!(server.stop(), 0);
        server
    };
    let (one, other) = (make(), make());
    let config = one.folder.path().join("mixed.cfg");
    let folder = |server: &Server| server.folder.path().join("data").display().to_string();
    let text = format!("dataDir={}\ndataLogDir={}\nclientPort=1\n", folder(&one), folder(&other));
    std::fs::write(&config, text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringkeeper"));
    let output = command.arg("start").arg(&config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("belong to different servers"), "{text}");
}

#[test]
fn compressed_snapshots_are_read_back() {
    for method in ["gz", "snappy"] {
        let mut server = Server::start(&format!("snapCount=50\nsnapshot.compression.method={method}"), &[]);
        let mut client = server.connect();
        for number in 0..200 {
            assert_eq!(client.create(&format!("/n{number}"), b"data", 0).err, 0);
        }
        let data = server.data();
        eventually("a snapshot", || {
            !support::files(&data, "snapshot.")
                .iter()
                .all(|path| path.extension().is_some_and(|e| e == "tmp"))
        });
        assert_eq!(server.stop(), 0);
        server.launch();
        assert!(server.log().contains("recovered snapshot 0x"), "{}", server.log());
        let mut client = server.connect();
        for number in 0..200 {
            assert_eq!(client.get(&format!("/n{number}")).unwrap(), b"data");
        }
    }
}
