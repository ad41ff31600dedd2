//! The first inputs of every target, from the recorded vectors and data folders.

use serde_json::Value;
use std::path::{Path, PathBuf};

const CONNECT: &str =
    "0000002d000000000000000000000000000075300000000000000000000000100000000000000000000000000000000000";
const CONFIGS: [&str; 3] = [
    "tickTime=2000\ndataDir=/tmp/x\nclientPort=2181\ninitLimit=5\nsyncLimit=2\nserver.1=a:2888:3888\n\
     4lw.commands.whitelist=*\nautopurge.snapRetainCount=3\nmaxClientCnxns=60\nadmin.enableServer=false\n",
    "-Xmx1g -Dzookeeper.snapCount=10 '-Da=b c' -Dflag",
    "dataDir = /tmp/\\u0041 \\\n  b\n! comment\nkey:value\n\\ key=1",
];
/// More of a recorded file is slow and finds nothing more.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Of one target.
pub fn of(tests: &Path, target: &str) -> Vec<Vec<u8>> {
    match target {
        "apache_log" => [vectors(tests), files(tests, "log").map(without_padding).collect()].concat(),
        "config" => CONFIGS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        "connection" => connections(tests),
        "log" => [vec![two_segments()], behind(&[1], vectors(tests))].concat(),
        "requests" => [1, 2, 4, 5, 7, 14, 22, 26, 27, 31, 32]
            .iter()
            .flat_map(|op| {
                let bodies = vectors(tests).into_iter().filter_map(|bytes| Some(bytes.get(8..)?.to_vec()));
                behind(&[*op], bodies.collect())
            })
            .collect(),
        "snapshot" => snapshots(tests),
        "txns" => vectors(tests),
        _ => panic!("no target {target}"),
    }
}

/// Writes those of one target into a folder.
pub fn write(tests: &Path, target: &str, folder: &Path) {
    for (index, bytes) in of(tests, target).iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{index}")), bytes).expect("the corpus can be written");
    }
}

fn vectors(tests: &Path) -> Vec<Vec<u8>> {
    let of_file = |name: &str| {
        let text = std::fs::read(tests.join("vectors").join(name)).expect("recorded vectors");
        let Value::Array(vectors) = serde_json::from_slice(&text).expect("recorded vectors are JSON") else {
            panic!("{name} holds a list");
        };
        vectors.into_iter().map(|vector| bytes_of(vector["hex"].as_str().unwrap_or("")))
    };
    of_file("client.json").chain(of_file("disk.json")).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16).expect("a hexadecimal digit") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn behind(prefix: &[u8], inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    inputs.into_iter().map(|input| [prefix, &input].concat()).collect()
}

/// In one piece; as the first bytes, and behind a connect request.
fn connections(tests: &Path) -> Vec<Vec<u8>> {
    let connect = [vec![0xff], bytes_of(CONNECT)].concat();
    [behind(&[0xff], vectors(tests)), behind(&connect, vectors(tests))].concat()
}

/// Recorded files of a kind: "snapshot" or "log".
fn files(tests: &Path, kind: &'static str) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let mut folders = vec![tests.join("datadirs")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("recorded folders") {
            let path = entry.expect("recorded folders").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.split('.').next() == Some(kind) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.into_iter().map(|path| {
        let mut bytes = std::fs::read(&path).expect("recorded files");
        bytes.truncate(FILE_BYTES_MAX);
        (path, bytes)
    })
}

fn without_padding((_, mut bytes): (PathBuf, Vec<u8>)) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

fn snapshots(tests: &Path) -> Vec<Vec<u8>> {
    let whole = vectors(tests).into_iter().map(|bytes| (0, bytes));
    let recorded = files(tests, "snapshot").flat_map(|(path, bytes)| {
        let kind = match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => 1,
            Some("snappy") => 2,
            _ => 0,
        };
        let body = bytes.get(16..).unwrap_or(&[]).to_vec();
        [(kind, bytes), (3, body)]
    });
    whole.chain(recorded).flat_map(|(kind, bytes)| behind(&[kind], vec![bytes])).collect()
}

/// Two segments of this server's log, with a frame of sessions in each.
fn two_segments() -> Vec<u8> {
    let block = |fields: &[u8]| {
        let mut block = fields.to_vec();
        block.resize(super::log::PIECE, 0);
        block
    };
    // What the target does not fill in: from `first_frame` on, and from `sequence` on.
    let header = |first_frame: u64, previous_zxid: u64, durable: u64| {
        block(
            &[[0; 40].to_vec(), numbers(&[first_frame, previous_zxid, durable, previous_zxid, 0, 0])]
                .concat(),
        )
    };
    let frame = |sequence: u64, zxid: u64| {
        let mut entry = [numbers(&[5u64.to_be(), 0]), vec![0; 12]].concat();
        entry[12..20].copy_from_slice(&zxid.to_be_bytes());
        entry.extend((-10i32).to_be_bytes());
        entry.extend(30_000i32.to_be_bytes());
        let body = [&(entry.len() as u32).to_le_bytes()[..], &entry].concat();
        let mut fields = [vec![0; 24], numbers(&[sequence, sequence - 1, zxid, zxid])].concat();
        for number in [body.len() as u32, 1, 1, 0, 0] {
            fields.extend(number.to_le_bytes());
        }
        block(&[fields, body].concat())
    };
    [vec![1], header(1, 0, 0), frame(1, 1), header(2, 1, 1), frame(2, 2)].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
