//! What a start makes of its files: old damage, two snapshots of one moment, digests, left-overs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use ringkeeper::ids::Zxid;
use ringkeeper::limits::LOG_BLOCK;
use ringkeeper::log::frame::{FRAME_HEADER_BYTES, FrameHeader, KIND_TXNS, Seed, SegmentHeader};
use ringkeeper::tree::image::{self, ImageOptions};
use ringkeeper::tree::{OwnerRules, Tree};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use support::{Client, Server, eventually, files};
use zerocopy::IntoBytes;

/// Small segments and a snapshot every few writes.
const SMALL: &str = "snapCount=6\npreAllocSize=4096\nringkeeper.shards=1";
const VALUE_BYTES: usize = 900_000;

fn value(number: u64) -> Vec<u8> {
    let mut value = vec![b'x'; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

fn snapshots(server: &Server) -> Vec<PathBuf> {
    files(&server.data(), "snapshot.")
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Writes until there are so many snapshots and segments, then kills the server; the last number written.
fn filled(server: &mut Server, snapshots_min: usize) -> u64 {
    let mut client: Client = server.connect();
    assert_eq!(client.create("/big", b"", 0).err, 0);
    let mut number = 0;
    while snapshots(server).len() < snapshots_min || server.segments().len() < 4 {
        number += 1;
        assert_eq!(client.set("/big", &value(number)).err, 0);
        assert!(number < 500, "{:?}", names(&server.data()));
    }
    eventually("no snapshot is being written", || {
        !names(&server.data()).iter().any(|name| name.ends_with(".tmp"))
    });
    server.kill();
    number
}

#[test]
fn a_flipped_byte_in_a_segment_that_snapshots_cover_stops_no_start() {
    let mut server = Server::start(SMALL, &["zookeeper.autopurge.snapRetainCount=10"]);
    let last = filled(&mut server, 3);
    let oldest = server.segments()[0].clone();
    for at in [9, 4096 + 20, 4096 + 50_000] {
        let mut bytes = fs::read(&oldest).unwrap();
        bytes[at] ^= 1;
        fs::write(&oldest, &bytes).unwrap();
    }
    server.launch();
    assert_eq!(server.connect().get("/big").unwrap(), value(last));
    let log = server.log();
    assert!(log.contains("reading the snapshot ") && log.contains("of the log"), "{log}");
    let name = oldest.file_name().unwrap().to_str().unwrap();
    assert!(!log.contains(&format!("reading {}", oldest.display())), "{name} is not needed: {log}");
}

#[test]
fn of_two_snapshots_of_one_zxid_a_good_one_is_found() {
    let mut server = Server::start(SMALL, &[]);
    let last = filled(&mut server, 2);
    let newest = snapshots(&server).pop().unwrap();
    let good = fs::read(&newest).unwrap();
    let packed = newest.with_file_name(format!("{}.gz", newest.file_name().unwrap().to_str().unwrap()));
    let pack = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    for (plain, gzip) in [(&bad, &good), (&good, &bad)] {
        fs::write(&newest, plain).unwrap();
        fs::write(&packed, pack(gzip)).unwrap();
        // Only the newest moment counts: older ones are out of reach.
        server.launch();
        assert_eq!(server.connect().get("/big").unwrap(), value(last));
        server.kill();
    }
}

#[test]
fn data_whose_digests_do_not_match_is_served_only_if_somebody_says_so() {
    let mut server = Server::start(SMALL, &[]);
    let last = filled(&mut server, 1);
    let newest = snapshots(&server).pop().unwrap();
    let options = ImageOptions::default();
    let empty = Tree::empty(1, OwnerRules::default());
    let image = image::read(&mut fs::File::open(&newest).unwrap(), empty, &options).unwrap();
    let (zxid, digest) = image.digest.expect("our snapshots carry one");
    let mut changed = Vec::new();
    let wrong = Some((zxid, digest ^ 1));
    image::write(&image.tree, &image.sessions, wrong, zxid, &options, &mut changed).unwrap();
    assert!(zxid > Zxid::ZERO && changed.len() as u64 == fs::metadata(&newest).unwrap().len());
    fs::write(&newest, &changed).unwrap();
    server.spawn();
    assert_eq!(server.wait(), 1);
    let log = server.log();
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(log.contains(name) && log.contains("ringkeeper.digest.mismatch=warn"), "{log}");
    server.spawn_with(|command| {
        command.arg("-Dringkeeper.digest.mismatch=warn");
    });
    server.wait_until_it_serves();
    assert_eq!(server.connect().get("/big").unwrap(), value(last));
}

/// Changes the digest in the last transaction of the newest segment with one; all checksums are made right again.
fn falsify_a_digest(server: &Server) -> PathBuf {
    for path in server.segments().into_iter().rev() {
        let mut bytes = fs::read(&path).unwrap();
        let Some(segment) = SegmentHeader::read(&bytes) else { continue };
        let seed = Seed::of(segment.log_id.get());
        let header = |bytes: &[u8], at: usize| {
            let frame = FrameHeader::read(bytes.get(at..)?, seed)?;
            (frame.kind.get() == KIND_TXNS && frame.segment.get() == segment.segment.get()).then_some(frame)
        };
        let last = (0..bytes.len()).step_by(LOG_BLOCK).rev().find(|at| header(&bytes, *at).is_some());
        let Some(at) = last else { continue };
        let mut frame = header(&bytes, at).unwrap();
        let body = at + FRAME_HEADER_BYTES;
        let end = body + frame.body_bytes.get() as usize;
        // The digest's lowest byte is the last one of a transaction.
        bytes[end - 1] ^= 1;
        frame.seal(seed, &bytes[body..end]);
        bytes[at..body].copy_from_slice(frame.as_bytes());
        fs::write(&path, &bytes).unwrap();
        return path;
    }
    panic!("no transaction is in the log");
}

#[test]
fn a_log_whose_digests_do_not_match_is_refused_with_the_way_out() {
    let mut server = Server::start("ringkeeper.shards=1", &[]);
    let mut client = server.connect();
    assert_eq!(client.create("/a", b"0", 0).err, 0);
    for number in 1..=20 {
        assert_eq!(client.set("/a", number.to_string().as_bytes()).err, 0);
    }
    server.kill();
    falsify_a_digest(&server);
    for _ in 0..2 {
        let before = names(&server.data());
        server.spawn();
        assert_eq!(server.wait(), 1);
        assert_eq!(names(&server.data()), before, "a refused start changes nothing");
    }
    let log = server.log();
    for part in ["digest", "ringkeeper.digest.mismatch=warn"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    server.spawn_with(|command| {
        command.arg("-Dringkeeper.digest.mismatch=warn");
    });
    server.wait_until_it_serves();
    assert_eq!(server.connect().get("/a").unwrap(), b"20");
}

#[test]
fn damage_in_the_header_of_the_only_segment_is_refused() {
    let mut server = Server::start("ringkeeper.shards=1", &[]);
    let mut client = server.connect();
    assert_eq!(client.create("/a", b"0", 0).err, 0);
    for number in 1..=20 {
        assert_eq!(client.set("/a", number.to_string().as_bytes()).err, 0);
    }
    server.kill();
    let path = server.segments()[0].clone();
    let bytes = fs::read(&path).unwrap();
    for at in [0, 30, 42, 60, 90] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        fs::write(&path, &damaged).unwrap();
        server.spawn();
        assert_eq!(server.wait(), 1, "byte {at}: {}", server.log());
        let name = path.file_name().unwrap().to_str().unwrap();
        let log = server.log();
        assert!(log.contains(name) && log.contains("Restore this file from a backup"), "{log}");
    }
    fs::write(&path, &bytes).unwrap();
    server.launch();
    assert_eq!(server.connect().get("/a").unwrap(), b"20");
}

#[test]
fn a_start_leaves_no_files_behind_and_uses_prepared_ones_again() {
    let mut server = Server::start(SMALL, &[]);
    let last = filled(&mut server, 2);
    let data = server.data();
    let length = fs::metadata(&server.segments()[0]).unwrap().len();
    let is_used = |path: &PathBuf| fs::read(path).unwrap().starts_with(b"RKSEGMT2");
    let mut used: Vec<PathBuf> = server.segments().into_iter().filter(is_used).collect();
    // What comes last may be a file with the header of an earlier number, prepared.
    let newest = server.segments().pop().unwrap();
    let number = |path: &Path| fs::read(path).unwrap()[32..40].to_vec();
    let name = format!("{:016x}", u64::from_le_bytes(number(&newest).try_into().unwrap()));
    used.retain(|path| *path != newest || newest.to_str().unwrap().ends_with(&name));
    for number in 0xf0..0xf5u64 {
        fs::write(data.join(format!("spare.{number:016x}")), vec![0; length as usize]).unwrap();
    }
    for name in ["snapshot.fff.tmp", "segment.00000000000000ff.tmp", "spare.00000000000000f0.tmp"] {
        fs::write(data.join(name), b"unfinished").unwrap();
    }
    fs::write(data.join("of-somebody-else.tmp"), b"").unwrap();
    let mut inodes = BTreeSet::new();
    for round in 0..4 {
        server.launch();
        // The segment for the first write is asked for at the start; nobody writes.
        eventually("a segment is prepared", || {
            names(&data).iter().filter(|name| name.starts_with("segment.")).count() > used.len()
        });
        server.kill();
        let there = names(&data);
        assert!(there.contains("of-somebody-else.tmp"), "what is not ours stays");
        assert_eq!(there.iter().filter(|name| name.ends_with(".tmp")).count(), 1, "round {round}: {there:?}");
        let free = files(&data, "spare.").into_iter().chain(server.segments());
        let free: BTreeSet<u64> =
            free.filter(|path| !used.contains(path)).map(|path| fs::metadata(path).unwrap().ino()).collect();
        assert_eq!(free.len(), 2, "round {round}: {there:?}");
        assert!(round == 0 || free == inodes, "round {round}: the same files are used again");
        inodes = free;
    }
    server.launch();
    assert_eq!(server.connect().get("/big").unwrap(), value(last));
}

#[test]
fn a_port_in_use_is_told_before_anything_is_read() {
    let mut server = Server::start(SMALL, &[]);
    filled(&mut server, 1);
    let told = server.log().len();
    let mut other = None;
    eventually("the killed server's socket is gone", || {
        other = std::net::TcpListener::bind(("127.0.0.1", server.port)).ok();
        other.is_some()
    });
    server.spawn();
    assert_eq!(server.wait(), 1);
    let log = server.log()[told..].to_owned();
    assert!(log.contains("in use") && !log.contains("reading "), "{log}");
    // At once, and by whom; nobody waits for a process that will not go.
    let own = format!("the port is in use by process {} (", std::process::id());
    assert!(log.contains(&own) && !log.contains("trying again"), "{log}");
}
