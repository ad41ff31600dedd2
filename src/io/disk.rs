//! Files: the data folder's lock, log segments, atomically replaced files, and what a folder's disk can do.

use super::sys::check;
use super::{AlignedBuffer, Durability};
use crate::limits::LOG_BLOCK;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Held as long as this process uses a data folder.
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder for this process. The error says who holds it.
    pub fn take(folder: &Path) -> Result<FolderLock, String> {
        let path = folder.join("ringkeeper.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        // SAFETY: the descriptor is open; flock takes no pointers.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            return Err(format!(
                "{} is in use by another server (process {}); stop it first, or choose another dataDir",
                folder.display(),
                holder.trim()
            ));
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(FolderLock { _file: file })
    }
}

/// Makes the entries of a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a file full of written zeros, durable, under its final name.
pub fn create_zeros(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.reserve(bytes)?;
    // Its buffer holds zeros.
    let mut left = bytes;
    while left > ATOMIC_WRITE_BYTES as u64 {
        file.filled = ATOMIC_WRITE_BYTES;
        file.write_out()?;
        left -= ATOMIC_WRITE_BYTES as u64;
    }
    file.filled = left as usize;
    file.finish().map(drop)
}

/// Opens a segment for durable writes; O_DIRECT if the file system has it.
pub fn open_segment(path: &Path, direct: bool) -> io::Result<OwnedFd> {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
}

/// What the log folder's file system can do.
#[derive(Clone, Copy, Debug)]
pub struct DiskProbe {
    /// O_DIRECT works with 4096-byte blocks.
    pub direct: bool,
    /// The faster way to make a write durable.
    pub durability: Durability,
    /// Median time of a durable 4 KiB write, in microseconds.
    pub write_us: u64,
}

/// True where files live in memory only.
pub fn is_volatile(folder: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()) else { return false };
    // SAFETY: the struct is plain numbers, filled by statfs before use; the path ends with a zero byte.
    unsafe {
        let mut status: libc::statfs = std::mem::zeroed();
        libc::statfs(path.as_ptr(), &raw mut status) == 0
            && [TMPFS_MAGIC, RAMFS_MAGIC].contains(&(status.f_type as i64))
    }
}

const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Tries O_DIRECT and both ways of durability with a small scratch file.
pub fn probe(folder: &Path) -> io::Result<DiskProbe> {
    probe_with(folder, "probe.tmp")
}

/// The same beside a server that may be starting: with a scratch file of another name.
pub fn probe_with(folder: &Path, scratch: &str) -> io::Result<DiskProbe> {
    let path = folder.join(scratch);
    let result = probe_file(&path);
    let _ = fs::remove_file(&path);
    result
}

fn probe_file(path: &Path) -> io::Result<DiskProbe> {
    create_zeros(path, PROBE_BYTES)?;
    let direct = open_segment(path, true).is_ok_and(|fd| timed_write(&fd, Durability::None, 0).is_ok());
    let fd = open_segment(path, direct)?;
    let dsync = median(&fd, Durability::Dsync);
    let fdatasync = median(&fd, Durability::Fdatasync)?;
    match dsync {
        Ok(dsync) if dsync <= fdatasync + fdatasync / 8 => {
            Ok(DiskProbe { direct, durability: Durability::Dsync, write_us: dsync })
        }
        _ => Ok(DiskProbe { direct, durability: Durability::Fdatasync, write_us: fdatasync }),
    }
}

const PROBE_BYTES: u64 = 256 << 10;

fn median(fd: &OwnedFd, durability: Durability) -> io::Result<u64> {
    let mut times =
        (0..9).map(|turn| timed_write(fd, durability, turn * 4096)).collect::<io::Result<Vec<_>>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn timed_write(fd: &OwnedFd, durability: Durability, offset: u64) -> io::Result<u64> {
    let buffer = AlignedBuffer::zeroed(4096);
    let start = Instant::now();
    write_durable(fd, offset, &buffer, durability)?;
    Ok(start.elapsed().as_micros() as u64)
}

/// A blocking durable write, for threads off the hot cores.
pub fn write_durable(
    fd: &OwnedFd,
    offset: u64,
    buffer: &AlignedBuffer,
    durability: Durability,
) -> io::Result<()> {
    let bytes = buffer.as_slice();
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let flags = if durability == Durability::Dsync { libc::RWF_DSYNC } else { 0 };
    // SAFETY: the one part points to `bytes`, which outlives the call and is only read.
    let written = unsafe { libc::pwritev2(fd.as_raw_fd(), &raw const part, 1, offset as libc::off_t, flags) };
    if written < 0 {
        return Err(io::Error::last_os_error());
    }
    if written as usize != bytes.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("only {written} of {} bytes were written", bytes.len()),
        ));
    }
    if durability == Durability::Fdatasync {
        // SAFETY: the descriptor is open.
        check(unsafe { libc::fdatasync(fd.as_raw_fd()) })?;
    }
    Ok(())
}

/// Where a file is until it is whole.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Whether files of a folder can be written past the page cache, also by who looks their disk up first. The error says why
/// not.
pub fn takes_direct(folder: &Path) -> Result<(), String> {
    let path = folder.join("probe.tmp");
    let tried = try_direct(&path);
    let _ = fs::remove_file(&path);
    tried.map_err(|error| format!("{} takes no O_DIRECT ({error})", folder.display()))?;
    let device = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?.dev();
    let link = format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device));
    match fs::canonicalize(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{link} cannot be read ({error})"))
        }
        _ => Ok(()),
    }
}

fn try_direct(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(path)?;
    file.write_all_at(AlignedBuffer::zeroed(LOG_BLOCK).as_slice(), 0)
}

/// A file written beside its final name; `finish` makes it durable and puts it in place.
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
    /// Bytes not yet written, the first `filled` of them.
    buffer: AlignedBuffer,
    filled: usize,
    /// Bytes written.
    offset: u64,
}

/// Written at once: enough to keep a disk busy, little enough not to keep the log's writes waiting behind it.
const ATOMIC_WRITE_BYTES: usize = 256 << 10;

impl AtomicFile {
    /// Starts writing. Past the page cache where the file system allows it: a snapshot is not read again soon, and
    /// caching it would push out what is.
    pub fn create(path: &Path) -> io::Result<AtomicFile> {
        let temporary = temporary(path);
        let _ = fs::remove_file(&temporary);
        let open = |flags| {
            OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(&temporary)
        };
        let file = open(libc::O_DIRECT).or_else(|_| open(0))?;
        let buffer = AlignedBuffer::zeroed(ATOMIC_WRITE_BYTES);
        Ok(AtomicFile { path: path.into(), temporary, file: Some(file), buffer, filled: 0, offset: 0 })
    }

    /// Takes room for the file in one piece where the file system can.
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::Other)?;
        // SAFETY: the descriptor is open; fallocate takes no pointers.
        match check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as libc::off_t) }) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Durable and under its final name, with its length.
    pub fn finish(mut self) -> io::Result<u64> {
        let bytes = self.offset + self.filled as u64;
        // The last block is filled up with what the buffer held before; the length cuts that off.
        self.filled = self.filled.next_multiple_of(LOG_BLOCK);
        self.write_out()?;
        let file = self.file.take().ok_or(io::ErrorKind::Other)?;
        file.set_len(bytes)?;
        file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(bytes)
    }

    fn write_out(&mut self) -> io::Result<()> {
        let bytes = &self.buffer.as_slice()[..self.filled];
        let mut written = self.file.as_ref().ok_or(io::ErrorKind::Other)?.write_all_at(bytes, self.offset);
        if written.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL)) {
            // Some file systems take O_DIRECT only in name.
            let file = OpenOptions::new().write(true).open(&self.temporary)?;
            written = file.write_all_at(bytes, self.offset);
            self.file = Some(file);
        }
        written?;
        self.offset += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled == ATOMIC_WRITE_BYTES {
            self.write_out()?;
        }
        let taken = bytes.len().min(ATOMIC_WRITE_BYTES - self.filled);
        self.buffer.as_mut_slice()[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        Ok(taken)
    }

    /// Nothing is in the file before it is whole: `finish` writes the rest.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = FolderLock::take(folder.path()).expect("free");
        let error = FolderLock::take(folder.path()).err().expect("held");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(lock);
        FolderLock::take(folder.path()).expect("free again");
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot.1");
        drop(AtomicFile::create(&path).expect("created"));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
        let mut file = AtomicFile::create(&path).expect("created");
        file.write_all(b"hello").expect("written");
        assert_eq!(file.finish().expect("finished"), 5);
        assert_eq!(fs::read(&path).expect("there"), b"hello");
    }

    #[test]
    fn an_atomic_file_has_every_byte_whatever_the_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot.2");
        for length in [0, 1, 4096, ATOMIC_WRITE_BYTES, ATOMIC_WRITE_BYTES + 1, 3 * ATOMIC_WRITE_BYTES - 5] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + at / 251) as u8).collect();
            let mut file = AtomicFile::create(&path).expect("created");
            bytes.chunks(10_007).for_each(|piece| file.write_all(piece).expect("written"));
            assert_eq!(file.finish().expect("finished"), length as u64);
            assert!(fs::read(&path).expect("there") == bytes, "{length}");
        }
    }

    #[test]
    fn memory_is_told_from_disks() {
        assert!(!is_volatile(Path::new("/proc")) && !is_volatile(Path::new("/no/such/place")));
        let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
        if mounts.contains(" /dev/shm tmpfs ") {
            assert!(is_volatile(Path::new("/dev/shm")));
        }
    }

    #[test]
    fn segments_are_zeros_and_take_durable_writes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        create_zeros(&path, 64 << 10).expect("created");
        let probe = probe(folder.path()).expect("probed");
        let fd = open_segment(&path, probe.direct).expect("opened");
        let mut buffer = AlignedBuffer::zeroed(4096);
        buffer.as_mut_slice()[0] = 7;
        write_durable(&fd, 4096, &buffer, probe.durability).expect("written");
        let bytes = fs::read(&path).expect("readable");
        assert_eq!((bytes.len(), bytes[4096], bytes[4097]), (64 << 10, 7, 0));
    }
}
