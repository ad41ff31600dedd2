//! `inspect log`: transactions as lines, filtered; `--verify`, `--follow` and `--repair`.

use super::files::{Folder, Kind, folders_of, kind_of};
use super::output::{Out, Progress};
use super::reader::{LogReader, Problem};
use super::render;
use super::segments::end_of;
use crate::ids::Zxid;
use crate::wire::txn::decode_entry;
use crate::wire::{Txn, TxnHeader};
use clap::Args;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The transactions of a log, or of all logs of a folder.
#[derive(Args)]
pub(super) struct LogArgs {
    /// A log of Apache ZooKeeper, a segment of Ringkeeper, or a folder that holds such files, or its zoo.cfg.
    path: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// Check every record instead of listing them: checksums, order, and what follows the end.
    #[arg(long)]
    verify: bool,
    /// Go on waiting for what is appended, until interrupted.
    #[arg(long, conflicts_with = "verify")]
    follow: bool,
    /// Write a copy of a log of Apache ZooKeeper with all checksums right to a new file.
    #[arg(long, value_name = "NEW", conflicts_with_all = ["verify", "follow"])]
    repair: Option<PathBuf>,
}

impl LogArgs {
    /// A plain listing.
    pub fn of(path: &Path) -> LogArgs {
        let filter = Filter::default();
        LogArgs { path: path.into(), filter, verify: false, follow: false, repair: None }
    }
}

/// Which transactions are shown: those that fit all of it.
#[derive(Args, Default)]
pub(super) struct Filter {
    /// From A to B, both included; either may be left out. Hexadecimal with 0x, decimal without.
    #[arg(long, value_name = "A..B", value_parser = zxid_range)]
    zxid: Option<(Zxid, Zxid)>,
    /// Not before this time: 2026-01-31T23:59:59.001 (UTC) or ms since 1970.
    #[arg(long, value_name = "TIME", value_parser = render::parse_time)]
    since: Option<i64>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = render::parse_time)]
    until: Option<i64>,
    /// Of this session, as 0x100...
    #[arg(long, value_name = "ID", value_parser = session)]
    session: Option<i64>,
    /// That touch this node or one below it.
    #[arg(long = "path", value_name = "PATH")]
    below: Option<String>,
    /// Of these types: create, setData, delete, multi, closeSession, ...
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(render::OP_NAMES))]
    types: Vec<String>,
}

/// A number as ZooKeeper's tools write it.
pub(super) fn parse_zxid(text: &str) -> Result<Zxid, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map(|zxid| zxid as i64),
        None => text.parse(),
    };
    parsed.map(Zxid).map_err(|_| format!("{text:?} is no zxid; write 0x1f or 31"))
}

fn zxid_range(text: &str) -> Result<(Zxid, Zxid), String> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let or = |text: &str, none: i64| if text.is_empty() { Ok(Zxid(none)) } else { parse_zxid(text) };
    Ok((or(from, i64::MIN)?, or(to, i64::MAX)?))
}

fn session(text: &str) -> Result<i64, String> {
    let hex = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(hex, 16).map(|id| id as i64).map_err(|_| format!("{text:?} is no session id"))
}

impl Filter {
    fn lets_through(&self, header: &TxnHeader, txn: &Txn<'_>) -> bool {
        self.zxid.is_none_or(|(from, to)| (from..=to).contains(&header.zxid))
            && self.since.is_none_or(|since| header.time_ms >= since)
            && self.until.is_none_or(|until| header.time_ms < until)
            && self.session.is_none_or(|session| header.session.0 == session)
            && (self.types.is_empty() || self.types.iter().any(|name| name == render::op_name(header.op)))
            && self.below.as_deref().is_none_or(|prefix| touches(txn, prefix))
    }
}

fn touches(txn: &Txn<'_>, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let mut paths = Vec::new();
    render::paths(txn, &mut paths);
    paths
        .iter()
        .any(|path| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Shows it; an error if a file is damaged, after everything that can be read was shown.
pub(super) fn run(arguments: &LogArgs, out: &mut Out) -> Result<(), String> {
    if let Some(new) = &arguments.repair {
        return repair(&arguments.path, new, out);
    }
    let is_folder = folders_of(&arguments.path)?.is_some();
    let mut show = Show { arguments, out, is_folder, problems: 0, previous: Zxid(i64::MIN) };
    let mut files = log_files(&arguments.path)?;
    let mut index = 0;
    while index < files.len() {
        show.file(&files[index])?;
        index += 1;
        if arguments.follow && index == files.len() {
            files = wait_for_more(&mut show, &files, &arguments.path)?;
        }
    }
    match show.problems {
        0 => Ok(()),
        1 => Err("one problem was found; it is named above".into()),
        count => Err(format!("{count} problems were found; they are named above")),
    }
}

fn log_files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if let Some(folders) = folders_of(path)? {
        let files = Folder::read(&folders)?.logs();
        return if files.is_empty() { Err(format!("{} holds no log", path.display())) } else { Ok(files) };
    }
    let kind = kind_of(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if !kind.is_log() {
        return Err(format!("{} is no log ({})", path.display(), kind.name()));
    }
    Ok(vec![path.to_path_buf()])
}

pub(super) fn open(path: &Path) -> Result<(LogReader, u64), Problem> {
    let problem = |error| Problem { offset: 0, what: format!("cannot be read: {error}"), goes_on: false };
    let kind = kind_of(path).map_err(problem)?;
    let file = File::open(path).map_err(problem)?;
    let bytes = file.metadata().map_err(problem)?.len();
    Ok((LogReader::open(Box::new(file), kind)?, bytes))
}

struct Show<'a> {
    arguments: &'a LogArgs,
    out: &'a mut Out,
    /// Its segments count beside each other; a file alone is shown as it is.
    is_folder: bool,
    problems: u64,
    previous: Zxid,
}

/// What was seen of one file.
#[derive(Default)]
struct Seen {
    txns: u64,
    first: Option<Zxid>,
    last: Option<Zxid>,
    problems: u64,
}

impl Show<'_> {
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let before = self.problems;
        let mut seen = Seen::default();
        match open(path) {
            Ok((reader, bytes)) => {
                let mut reader = if self.is_folder { reader.until(end_of(path)) } else { reader };
                let mut progress = Progress::new(path, bytes);
                self.drain(path, &mut reader, &mut seen, &mut progress)?;
                if self.arguments.follow {
                    self.follow(path, &mut reader, &mut seen)?;
                } else if let Some(problem) = reader.tail() {
                    self.tail(path, &problem)?;
                }
                progress.done();
            }
            Err(problem) => self.problem(path, &problem)?,
        }
        seen.problems = self.problems - before;
        if self.arguments.verify { self.verdict(path, &seen) } else { Ok(()) }
    }

    fn drain(
        &mut self,
        path: &Path,
        reader: &mut LogReader,
        seen: &mut Seen,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let mut entry = Vec::new();
        loop {
            match reader.next(&mut entry) {
                Ok(Some(offset)) => self.entry(path, offset, &entry, seen)?,
                Ok(None) => return Ok(()),
                Err(problem) => {
                    self.problem(path, &problem)?;
                    if !problem.goes_on {
                        return Ok(());
                    }
                }
            }
            progress.at(reader.position());
        }
    }

    /// Stays with a file that is being written until it is interrupted or a newer one begins.
    fn follow(&mut self, path: &Path, reader: &mut LogReader, seen: &mut Seen) -> Result<(), String> {
        loop {
            let is_last = log_files(&self.arguments.path)?.last().is_none_or(|last| last == path);
            reader.look_again();
            self.drain(path, reader, seen, &mut Progress::none())?;
            self.out.flush()?;
            if !is_last {
                return Ok(());
            }
            std::thread::sleep(FOLLOW_EVERY);
        }
    }

    fn entry(&mut self, path: &Path, offset: u64, entry: &[u8], seen: &mut Seen) -> Result<(), String> {
        let (header, txn, digest) = match decode_entry(entry) {
            Ok(decoded) => decoded,
            Err(error) => {
                let what = format!("the record is no transaction: {error}");
                return self.problem(path, &Problem { offset, what, goes_on: true });
            }
        };
        seen.txns += 1;
        seen.first.get_or_insert(header.zxid);
        seen.last = Some(header.zxid);
        if self.arguments.verify {
            // Apache's logs may hold a zxid twice.
            if header.zxid < self.previous {
                let what = format!("zxid {} comes after {}", header.zxid, self.previous);
                self.problem(path, &Problem { offset, what, goes_on: true })?;
            }
            self.previous = header.zxid;
            return Ok(());
        }
        if !self.arguments.filter.lets_through(&header, &txn) {
            return Ok(());
        }
        if self.out.is_json {
            self.out.json(&render::txn_json(&header, &txn, digest, offset))
        } else {
            self.out.line(&render::txn_text(&header, &txn))
        }
    }

    fn tail(&mut self, path: &Path, problem: &Problem) -> Result<(), String> {
        if self.arguments.verify {
            return self.problem(path, problem);
        }
        errln!("{}, offset {}: {}", path.display(), problem.offset, problem.what);
        Ok(())
    }

    fn problem(&mut self, path: &Path, problem: &Problem) -> Result<(), String> {
        self.problems += 1;
        self.out.flush()?;
        errln!("{}, offset {}: {}", path.display(), problem.offset, problem.what);
        Ok(())
    }

    fn verdict(&mut self, path: &Path, seen: &Seen) -> Result<(), String> {
        let text = |zxid: Option<Zxid>| zxid.map(|zxid| zxid.to_string());
        if self.out.is_json {
            return self.out.json(&json!({"file": path, "txns": seen.txns, "firstZxid": text(seen.first),
                "lastZxid": text(seen.last), "problems": seen.problems}));
        }
        let range = match (seen.first, seen.last) {
            (Some(first), Some(last)) => format!(" ({first} to {last})"),
            _ => String::new(),
        };
        let verdict =
            if seen.problems == 0 { "sound".into() } else { format!("{} problem(s)", seen.problems) };
        self.out.line(&format!("{}: {} transaction(s){range}, {verdict}", path.display(), seen.txns))
    }
}

/// After the last file: those that have come since.
fn wait_for_more(show: &mut Show<'_>, known: &[PathBuf], path: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = known.to_vec();
    if folders_of(path)?.is_none() {
        return Ok(files);
    }
    loop {
        let found = log_files(path)?;
        files.extend(found.into_iter().filter(|file| !known.contains(file)));
        if files.len() > known.len() {
            return Ok(files);
        }
        show.out.flush()?;
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// Every complete record goes into the new file with the checksum that its bytes have.
fn repair(path: &Path, new: &Path, out: &mut Out) -> Result<(), String> {
    let unreadable = |error| format!("cannot read {}: {error}", path.display());
    if kind_of(path).map_err(unreadable)? != Kind::ApacheLog {
        return Err(format!(
            "{} is no log of Apache ZooKeeper. A damaged segment is not repaired: restore it from a backup or copy the \
             data folder of another member",
            path.display()
        ));
    }
    let named = |problem: Problem| format!("{}, offset {}: {}", path.display(), problem.offset, problem.what);
    let (mut reader, _) = open(path).map_err(named)?;
    let file = OpenOptions::new().write(true).create_new(true).open(new);
    let mut sink =
        std::io::BufWriter::new(file.map_err(|error| format!("cannot create {}: {error}", new.display()))?);
    let mut write = |bytes: &[u8]| {
        sink.write_all(bytes).map_err(|error| format!("cannot write {}: {error}", new.display()))
    };
    write(b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0")?;
    let (mut entry, mut records, mut repaired) = (Vec::new(), 0, 0);
    loop {
        match reader.next(&mut entry) {
            Ok(None) => break,
            Ok(Some(_)) => {}
            Err(problem) if problem.goes_on => {
                repaired += 1;
                out.line(&format!(
                    "offset {}: {}; written with the right one",
                    problem.offset, problem.what
                ))?;
            }
            Err(problem) => {
                return Err(format!("{}; what stands before it is in {}", named(problem), new.display()));
            }
        }
        records += 1;
        write(&u64::from(simd_adler32::adler32(&entry.as_slice())).to_be_bytes())?;
        write(&(entry.len() as i32).to_be_bytes())?;
        write(&entry)?;
        write(b"B")?;
        if let Err(error) = decode_entry(&entry) {
            out.line(&format!("record {records} is no transaction ({error}); a server will refuse it"))?;
        }
    }
    let file = sink.into_inner().map_err(|error| format!("cannot write {}: {error}", new.display()))?;
    file.sync_all().map_err(|error| format!("cannot write {}: {error}", new.display()))?;
    if let Some(problem) = reader.tail() {
        out.line(&format!("offset {}: {}; left out", problem.offset, problem.what))?;
    }
    out.line(&format!("{}: {records} record(s), {repaired} with a new checksum", new.display()))
}

const FOLLOW_EVERY: Duration = Duration::from_millis(200);
