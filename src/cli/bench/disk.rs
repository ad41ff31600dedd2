//! The limit of a machine's disk for a log: a loop of durable writes of one block each, one in flight, into a file
//! that was written with zeros before, so that no write has to allocate or convert an extent. Opened with O_DIRECT
//! and O_DSYNC, which is what RWF_DSYNC asks for per write.

use super::load::new_histogram;
use super::net::say;
use super::outcome::{CpuMeter, Latency, Outcome};
use crate::aligned::AlignedBuffer;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Writes for `duration` in `folder`; the file is deleted afterwards.
pub fn run(
    folder: &Path,
    block_bytes: usize,
    duration: Duration,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let path = folder.join(format!("ringkeeper-bench-disk.{}", std::process::id()));
    let result = write_zeros(&path).and_then(|()| measure(&path, block_bytes, duration, outcome));
    let removed = std::fs::remove_file(&path).map_err(say("remove the test file"));
    result.and(removed)
}

fn write_zeros(path: &Path) -> Result<(), String> {
    let mut file =
        File::create(path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() as u64 {
        file.write_all(&zeros).map_err(say("write the test file"))?;
    }
    file.sync_all().map_err(say("sync the test file"))
}

fn measure(path: &Path, block_bytes: usize, duration: Duration, outcome: &mut Outcome) -> Result<(), String> {
    let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(path);
    let direct = open(libc::O_DIRECT | libc::O_DSYNC);
    outcome.settings.insert("direct".into(), direct.is_ok().into());
    let file = direct.or_else(|_| open(libc::O_DSYNC)).map_err(say("open the test file"))?;
    let mut buffer = AlignedBuffer::zeroed(block_bytes);
    buffer.as_mut_slice().fill(b'x');
    let bytes = buffer.len() as u64;
    let mut latency = new_histogram();
    let (started, meter) = (Instant::now(), CpuMeter::start(None));
    let mut offset = 0;
    while started.elapsed() < duration {
        let before = Instant::now();
        file.write_all_at(buffer.as_slice(), offset).map_err(say("write durably"))?;
        latency.saturating_record(before.elapsed().as_nanos() as u64);
        offset = if offset + 2 * bytes > FILE_BYTES { 0 } else { offset + bytes };
    }
    outcome.latency_us.insert("write".into(), Latency::of(&latency));
    meter.finish(outcome, latency.len(), started.elapsed(), 1);
    Ok(())
}

/// Long enough that a loop does not rewrite one spot.
const FILE_BYTES: u64 = 64 << 20;
