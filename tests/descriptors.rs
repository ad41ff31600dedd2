//! Clients cannot take the descriptors that the log and the snapshots need.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::net::TcpStream;
use std::process::{Command, Stdio};
use support::{Client, Server, connect_body, eventually, files};

/// Small segments and a snapshot every few writes.
const SETTINGS: &str = "snapCount=6\npreAllocSize=4096\nringkeeper.shards=1";
const OPEN_FILES: u64 = 200;
/// Of them, what one shard leaves to others (`limits.rs`).
const RESERVED: u64 = 64 + 16;
const VALUE_BYTES: usize = 900_000;

/// Starts it where so many files may be open.
fn start(settings: &str) -> Server {
    let mut server = Server::prepare(settings, &[]);
    let log = std::fs::File::create(server.log_path()).unwrap();
    server.spawn_with(|command| {
        let mut limited = Command::new("sh");
        limited.arg("-c").arg(format!("ulimit -n {OPEN_FILES} && exec \"$0\" \"$@\""));
        limited.arg(command.get_program()).args(command.get_args());
        limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *command = limited;
    });
    server.wait_until_it_serves();
    server
}

fn try_connect(server: &Server) -> Option<Client> {
    Client::handshake(server.port, &connect_body(0, 30_000, 0, Some(&[0; 16]), Some(false)))
}

fn newest(server: &Server, prefix: &str) -> Option<String> {
    let newest = files(&server.data(), prefix).pop()?;
    Some(newest.file_name().unwrap().to_string_lossy().into_owned())
}

#[test]
fn more_connections_than_descriptors_stop_neither_log_nor_snapshots() {
    for io in ["auto", "epoll"] {
        let server = start(&format!("{SETTINGS}\nringkeeper.io={io}"));
        let mut healthy = server.connect();
        assert_eq!(healthy.create("/big", b"", 0).err, 0);
        let mut held: Vec<Client> = Vec::new();
        while let Some(client) = try_connect(&server) {
            held.push(client);
            assert!(held.len() < OPEN_FILES as usize, "somewhere it ends");
        }
        assert!(held.len() as u64 >= OPEN_FILES - RESERVED - 5, "{} were taken", held.len());
        // They go on trying.
        let crowd: Vec<_> =
            (0..400).filter_map(|_| TcpStream::connect(("127.0.0.1", server.port)).ok()).collect();
        assert!(crowd.len() > 100);
        let first = newest(&server, "segment.");
        for number in 0..40u8 {
            assert_eq!(healthy.set("/big", &vec![number; VALUE_BYTES]).err, 0);
        }
        assert_ne!(newest(&server, "segment."), first, "the log goes on in further segments");
        eventually("a snapshot is there", || newest(&server, "snapshot.").is_some());
        let log = server.log();
        for part in ["(RLIMIT_NOFILE)", &OPEN_FILES.to_string(), &RESERVED.to_string(), "ulimit -n"] {
            assert!(log.contains(part), "{part}: {log}");
        }
        assert!(log.matches("RLIMIT_NOFILE").count() < 12, "not a line for each");
        assert!(!log.contains("Too many open files"), "some are always left: {log}");
        assert!(!log.contains("cannot be prepared") && !log.contains("no snapshot:"), "{log}");
        drop((held, crowd));
        eventually("others are taken again", || try_connect(&server).is_some());
        assert_eq!(healthy.get("/big").unwrap(), vec![39; VALUE_BYTES]);
    }
}
