//! What the kernel knows about this process and machine.

use super::sys::check;
use std::io;

/// Keeps this process on small pages. Transparent huge pages round everything the allocator touches up to 2 MiB: with
/// 200,000 nodes a third more memory, for no gain in time: where the kernel must first find and clear them, they take
/// longer than small ones. Of no consequence if the kernel refuses.
pub fn avoid_huge_pages() {
    // SAFETY: prctl with plain numbers; it changes nothing but a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// CPUs this process may run on.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: the set is plain bits; its size is passed along.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return vec![0];
        }
        set
    };
    // SAFETY: CPU_ISSET only reads the set, whose size bounds the index.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Binds the calling thread to one CPU.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    // SAFETY: the set is plain bits; its size is passed along.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set))?;
    }
    Ok(())
}

/// Raises the limit of open files as far as allowed; returns the limit.
pub fn raise_open_files() -> u64 {
    // SAFETY: the struct is plain numbers, filled by getrlimit before use.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 0;
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        limit.rlim_cur
    }
}

/// Open file descriptors of this process.
pub fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// Where every thread of this process is, a line each: its name, its state, the CPU time it has used, and what it waits for
/// in the kernel.
pub fn threads() -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let status = read("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_start_matches(':').trim().to_string()
        };
        let stat = read("stat");
        // After the name in parentheses come the state and its 50 numbers; the 12th and 13th are user and system time.
        let numbers: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| numbers.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let stack = read("stack");
        let inside = stack.lines().next().map_or_else(|| read("wchan"), str::to_string);
        lines.push(format!(
            "thread {} {}: {}, {} ms of CPU, in the kernel at {}",
            entry.file_name().to_string_lossy(),
            field("Name"),
            field("State"),
            (ticks(11) + ticks(12)) * 10,
            if inside.is_empty() { "-" } else { inside.trim() }
        ));
    }
    lines
}

/// A number that nobody outside can guess.
pub fn random_u64() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The kernel's release.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string()
}
