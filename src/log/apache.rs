//! Apache ZooKeeper's own transaction log files (`FileTxnLog`), only read: to take over a data directory.
//!
//! A file is a header of 16 bytes, then records: Adler-32 of the entry in 8 bytes, length, entry, 'B'. Files are
//! preallocated, so an empty record, a short one or one without its 'B' ends the file without an error: it was never
//! acknowledged. A complete record with another checksum is damage.

use crate::ids::Zxid;
use std::io::{self, Read};

/// "ZKLG"
const MAGIC: [u8; 4] = *b"ZKLG";
const HEADER_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 12;
const END_OF_RECORD: u8 = b'B';
/// zxid of an entry: after session and cxid.
const ZXID_AT: usize = 12;
const TXN_HEADER_BYTES: usize = 32;

/// Why a log file cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {what}")]
pub struct ApacheLogError {
    /// In the file.
    pub offset: u64,
    /// What was found and expected.
    pub what: String,
}

/// One record's entry: header, transaction, digest, as `wire::txn::decode_entry` takes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApacheEntry<'a> {
    /// Its zxid.
    pub zxid: Zxid,
    /// The entry.
    pub bytes: &'a [u8],
    /// Where the record begins and ends in the file.
    pub start: u64,
    pub end: u64,
}

/// Walks the entries of one file; after an error there is nothing more.
#[derive(Debug)]
pub struct ApacheLog<'a> {
    bytes: &'a [u8],
    /// Where in the file they are.
    offset: u64,
    at: usize,
    entry_bytes_max: usize,
}

impl<'a> ApacheLog<'a> {
    /// Checks the header. A file of 0 bytes is what a crash leaves right after creating it; it has no entries. Records
    /// longer than `entry_bytes_max` are damage.
    pub fn new(bytes: &'a [u8], entry_bytes_max: usize) -> Result<ApacheLog<'a>, ApacheLogError> {
        if bytes.is_empty() {
            return Ok(ApacheLog { bytes, offset: 0, at: 0, entry_bytes_max });
        }
        let error = |what: String| Err(ApacheLogError { offset: 0, what });
        if bytes.len() < HEADER_BYTES {
            return error(format!(
                "the file ends in its header, after {} of {HEADER_BYTES} bytes",
                bytes.len()
            ));
        }
        if bytes[..4] != MAGIC {
            return error("this is no transaction log (its magic is not ZKLG)".into());
        }
        Ok(ApacheLog { bytes, offset: 0, at: HEADER_BYTES, entry_bytes_max })
    }

    /// The next complete record, None where the file's content ends.
    fn record(&self) -> Result<Option<(u64, &'a [u8])>, String> {
        let Some(head) = self.bytes.get(self.at..self.at + RECORD_HEAD_BYTES) else { return Ok(None) };
        let checksum = u64::from_be_bytes(head[..8].try_into().expect("eight bytes"));
        let length = i32::from_be_bytes(head[8..].try_into().expect("four bytes"));
        if matches!(length, 0 | -1) {
            return Ok(None);
        }
        if length < 0 || length as usize > self.entry_bytes_max {
            return Err(format!(
                "a record claims a length of {length} bytes, above the limit of {}",
                self.entry_bytes_max
            ));
        }
        let start = self.at + RECORD_HEAD_BYTES;
        let end = start + length as usize;
        match self.bytes.get(end) {
            Some(&END_OF_RECORD) => Ok(Some((checksum, &self.bytes[start..end]))),
            _ => Ok(None),
        }
    }

    /// True if what follows the last entry may be the beginning of a record that goes on after these bytes.
    fn is_cut(&self) -> bool {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.get(8..RECORD_HEAD_BYTES) else { return true };
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        length > 0 && rest.len() <= RECORD_HEAD_BYTES + length as usize
    }

    fn entry(&mut self) -> Result<Option<ApacheEntry<'a>>, String> {
        let Some((expected, entry)) = self.record()? else { return Ok(None) };
        let found = simd_adler32::adler32(&entry) as u64;
        if found != expected {
            return Err(format!("the record's checksum is {expected:08x}, but its bytes have {found:08x}"));
        }
        if entry.len() < TXN_HEADER_BYTES {
            return Err(format!("the record has {} bytes, too few for a transaction", entry.len()));
        }
        let zxid = entry[ZXID_AT..ZXID_AT + 8].try_into().expect("eight bytes");
        let (start, zxid) = (self.offset + self.at as u64, Zxid(i64::from_be_bytes(zxid)));
        self.at += RECORD_HEAD_BYTES + entry.len() + 1;
        Ok(Some(ApacheEntry { zxid, bytes: entry, start, end: self.offset + self.at as u64 }))
    }
}

impl<'a> Iterator for ApacheLog<'a> {
    type Item = Result<ApacheEntry<'a>, ApacheLogError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.entry() {
            Ok(entry) => entry.map(Ok),
            Err(what) => {
                let offset = self.offset + self.at as u64;
                self.at = self.bytes.len();
                Some(Err(ApacheLogError { offset, what }))
            }
        }
    }
}

/// Walks the entries of one file with little more of it in memory than its longest record, and ends at the first error.
pub fn visit_entries<E: From<ApacheLogError>>(
    source: &mut dyn Read,
    entry_bytes_max: usize,
    visit: &mut dyn FnMut(&ApacheEntry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut window = Vec::new();
    let mut offset = 0;
    loop {
        let more = io::copy(&mut source.take(WINDOW_BYTES), &mut window).map_err(|error| {
            let offset = offset + window.len() as u64;
            ApacheLogError { offset, what: format!("reading failed: {error}") }
        });
        let is_over = more? == 0;
        let mut log = match offset {
            0 => ApacheLog::new(&window, entry_bytes_max)?,
            _ => ApacheLog { bytes: &window, offset, at: 0, entry_bytes_max },
        };
        for entry in &mut log {
            visit(&entry?)?;
        }
        if is_over || !log.is_cut() {
            return Ok(());
        }
        let walked = log.at;
        offset += walked as u64;
        window.drain(..walked);
    }
}

/// Read at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// The zxid in a file's name: `log.<hex>` or `snapshot.<hex>`, what follows a second dot is ignored.
pub fn zxid_in_name(name: &str, prefix: &str) -> Option<Zxid> {
    let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
    let is_snapshot = prefix == "snapshot";
    let packed = [".gz", ".snappy"].iter().find_map(|end| rest.strip_suffix(end)).filter(|_| is_snapshot);
    let digits = packed.unwrap_or(rest);
    // A sign would be taken for a part of the number.
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let zxid = i64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some(Zxid(zxid))
}

/// True if no transaction can be missing between the two. A leader counts every transaction, refused ones included, from
/// the epoch's first on. Lower and equal zxids are no hole; what an epoch that ended held at its end cannot be told.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    if next.epoch() > last.epoch() { next.counter() <= 1 } else { next.0 <= last.0.saturating_add(1) }
}

/// Which log files may hold transactions from `first` on: the last one named before it, and all after. `ascending`
/// are the zxids of the names.
pub fn files_from(ascending: &[Zxid], first: Zxid) -> &[Zxid] {
    let named_from = ascending.partition_point(|zxid| *zxid < first);
    &ascending[named_from.saturating_sub(1)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::txn::decode_entry;

    const LIMIT: usize = 1 << 20;

    fn before_truncation() -> &'static [u8] {
        include_bytes!("../../tests/datadirs/trunc-case/before/data/version-2/log.100000001")
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<ApacheEntry<'_>>, ApacheLogError> {
        ApacheLog::new(bytes, LIMIT)?.collect()
    }

    #[test]
    fn entries_end_where_a_truncated_log_of_apache_ends() {
        let after = include_bytes!("../../tests/datadirs/trunc-case/after/data/version-2/log.100000001");
        let entries = read_all(before_truncation()).expect("sound");
        let kept = entries.iter().find(|entry| entry.zxid == Zxid(0x1_0000_0006)).expect("is in the log");
        assert_eq!(kept.end, after.len() as u64);
        assert_eq!(read_all(after).expect("sound").last(), Some(kept));
        for entry in entries {
            let (header, _, _) = decode_entry(entry.bytes).expect("known transactions");
            assert_eq!(header.zxid, entry.zxid);
        }
    }

    #[test]
    fn a_torn_tail_ends_the_file_and_a_flipped_byte_is_damage() {
        let whole = before_truncation();
        let entries = read_all(whole).expect("sound");
        let (first, second) = (entries[0], entries[1]);
        for cut in first.end..second.end {
            assert_eq!(read_all(&whole[..cut as usize]), Ok(vec![first]), "cut at {cut}");
        }
        let mut damaged = whole.to_vec();
        damaged[first.end as usize + 20] ^= 1;
        assert_eq!(read_all(&damaged).expect_err("damage").offset, first.end);
        let mut unfinished = whole.to_vec();
        unfinished[second.end as usize - 1] = 0;
        assert_eq!(read_all(&unfinished), Ok(vec![first]));
        let mut huge = whole.to_vec();
        huge[first.end as usize + 8] = 0x7f;
        assert_eq!(read_all(&huge).expect_err("damage").offset, first.end);
    }

    /// Gives little at once.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(into.len());
            self.0.read(&mut into[..count])
        }
    }

    #[test]
    fn through_a_window_a_file_reads_as_in_one_piece() {
        let sample = before_truncation();
        let first = read_all(sample).expect("sound")[0];
        let record = &sample[first.start as usize..first.end as usize];
        let mut long = sample[..HEADER_BYTES].to_vec();
        while long.len() < 3 * WINDOW_BYTES as usize {
            long.extend_from_slice(record);
        }
        let mut damaged = long.clone();
        let at = damaged.len() - 5;
        damaged[at] ^= 1;
        let preallocated = [&long[..], &[0; 2 * WINDOW_BYTES as usize]].concat();
        let torn = &long[..long.len() - 3];
        for bytes in [sample, &long, &damaged, &preallocated, torn, b"", b"ZKLG"] {
            let mut seen = Vec::new();
            let visited = visit_entries(&mut Dribble(bytes, 1000), LIMIT, &mut |entry| {
                seen.push((entry.zxid, entry.bytes.to_vec(), entry.start, entry.end));
                Ok::<_, ApacheLogError>(())
            });
            let mut expected = Vec::new();
            let mut end = Ok(());
            match ApacheLog::new(bytes, LIMIT) {
                Ok(log) => log.for_each(|entry| match entry {
                    Ok(ApacheEntry { zxid, bytes, start, end }) => {
                        expected.push((zxid, bytes.to_vec(), start, end));
                    }
                    Err(error) => end = Err(error),
                }),
                Err(error) => end = Err(error),
            }
            assert_eq!((seen, visited), (expected, end), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_long_preallocated_end_is_not_read() {
        let sample = before_truncation();
        let mut source = sample.chain(io::repeat(0));
        let visited = visit_entries(&mut source, LIMIT, &mut |_| Ok::<_, ApacheLogError>(()));
        assert_eq!(visited, Ok(()));
    }

    #[test]
    fn only_an_empty_file_may_lack_its_header() {
        assert_eq!(read_all(b""), Ok(Vec::new()));
        assert!(read_all(b"ZKLG").is_err());
        assert!(read_all(b"ZKSN\0\0\0\x02\0\0\0\0\0\0\0\0").is_err());
    }

    #[test]
    fn a_hole_is_told_by_the_zxids() {
        let fits = [
            (0, 1),
            (5, 6),
            (5, 5),
            (5, 3),
            (5, 0x1_0000_0000),
            (5, 0x2_0000_0001),
            (0x1_0000_0000, 0x1_0000_0001),
        ];
        assert!(fits.iter().all(|(last, next)| follows(Zxid(*last), Zxid(*next))));
        let holes = [(0, 2), (5, 7), (5, 0x1_0000_0002), (0x1_0000_0005, 0x1_0000_0007)];
        assert!(!holes.iter().any(|(last, next)| follows(Zxid(*last), Zxid(*next))));
    }

    #[test]
    fn files_are_chosen_by_name() {
        assert_eq!(zxid_in_name("log.100000045", "log"), Some(Zxid(0x1_0000_0045)));
        assert_eq!(zxid_in_name("snapshot.2f.gz", "snapshot"), Some(Zxid(0x2f)));
        for other in
            ["log", "log.xyz", "log.-1", "log.+1", "snapshot.1", "log.1.tmp", "log.1.bak", "log.1.gz", "log."]
        {
            assert_eq!(zxid_in_name(other, "log"), None, "{other}");
        }
        let names = [Zxid(1), Zxid(0x62), Zxid(0xc1)];
        assert_eq!(files_from(&names, Zxid(0xc0)), &names[1..]);
        assert_eq!(files_from(&names, Zxid(0xc1)), &names[1..]);
        assert_eq!(files_from(&names, Zxid(0xff)), &names[2..]);
        assert_eq!(files_from(&names, Zxid(1)), &names[..]);
        assert_eq!(files_from(&[], Zxid(1)), &[]);
    }
}
