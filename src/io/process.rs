//! What the kernel knows about this process and machine.

use super::sys::check;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// How many CPUs' time the control groups of this process let it use, the tightest of its own and those above it.
pub fn cpu_quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut tightest: Option<f64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let root = match controllers {
            "" => "/sys/fs/cgroup".to_string(),
            _ if controllers.split(',').any(|name| name == "cpu") => format!("/sys/fs/cgroup/{controllers}"),
            _ => continue,
        };
        // Inside a container the path may be one of outside; its own group is then the root.
        for group in Path::new(path).ancestors() {
            let folder = format!("{root}{}", group.display());
            let quota = quota_of(Path::new(&folder));
            tightest = match (tightest, quota) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }
    tightest
}

/// Of one group, version 2 or 1.
fn quota_of(group: &Path) -> Option<f64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    if let Some(text) = read("cpu.max") {
        let (quota, period) = text.trim().split_once(' ')?;
        return Some(number(quota)? / number(period)?);
    }
    Some(number(&read("cpu.cfs_quota_us")?)? / number(&read("cpu.cfs_period_us")?)?)
}

/// CPUs that serve interrupts of disks and network cards, ascending.
pub fn interrupt_cpus() -> Vec<usize> {
    let mut cpus = BTreeSet::new();
    for (class, own) in [("/sys/class/net", "msi_irqs"), ("/sys/block", "device/msi_irqs")] {
        for entry in std::fs::read_dir(class).into_iter().flatten().flatten() {
            let device = entry.path().join("device");
            let uevent = std::fs::read_to_string(device.join("uevent")).unwrap_or_default();
            // A virtio device's interrupts are those of the device that carries it.
            let folder = if uevent.contains("MODALIAS=virtio:") { "../msi_irqs" } else { own };
            for interrupt in std::fs::read_dir(device.join(folder)).into_iter().flatten().flatten() {
                let read = |name: &str| {
                    let file = Path::new("/proc/irq").join(interrupt.file_name()).join(name);
                    std::fs::read_to_string(file).ok().filter(|list| !list.trim().is_empty())
                };
                let list = read("effective_affinity_list").or_else(|| read("smp_affinity_list"));
                cpus.extend(cpu_list(&list.unwrap_or_default()));
            }
        }
    }
    cpus.into_iter().collect()
}

/// The numbers of a list such as "0-3,8".
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
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

/// Bytes of memory that this process may lock.
pub fn lockable_bytes() -> u64 {
    // SAFETY: the struct is plain numbers, filled by getrlimit before use.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 { limit.rlim_cur } else { 0 }
    }
}

/// Open descriptors of this process, known without walking over them: with 10,000 connections that takes milliseconds.
pub struct OpenFiles {
    max: u64,
    /// Where the kernel does not tell the number, a thread counts now and then.
    counted: Option<Arc<AtomicU64>>,
}

/// How often that thread counts.
const COUNT_EVERY: Duration = Duration::from_secs(5);

impl OpenFiles {
    /// Finds out how they are counted here. A thread that cannot be started leaves the number at 0.
    pub fn new() -> OpenFiles {
        let counted = told_by_kernel().is_none().then(|| Arc::new(AtomicU64::new(0)));
        if let Some(counted) = &counted {
            let counted = Arc::downgrade(counted);
            let count = move || {
                while let Some(counted) = counted.upgrade() {
                    counted.store(count_open_files(), Ordering::Relaxed);
                    drop(counted);
                    std::thread::sleep(COUNT_EVERY);
                }
            };
            _ = std::thread::Builder::new().name("descriptors".into()).spawn(count);
        }
        OpenFiles { max: raise_open_files(), counted }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        match &self.counted {
            Some(counted) => counted.load(Ordering::Relaxed),
            None => told_by_kernel().unwrap_or(0),
        }
    }

    /// How many there may be.
    pub fn max(&self) -> u64 {
        self.max
    }
}

impl Default for OpenFiles {
    fn default() -> OpenFiles {
        OpenFiles::new()
    }
}

/// Since Linux 6.2 the folder's size is the number of open descriptors; before it is 0.
fn told_by_kernel() -> Option<u64> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    (size > 0).then_some(size)
}

/// Looks at every one.
fn count_open_files() -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_and_quotas_of_groups_are_read() {
        assert_eq!(cpu_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!((cpu_list("5\n"), cpu_list("\n")), (vec![5], vec![]));
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(quota_of(folder.path()), None);
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        write("cpu.cfs_quota_us", "-1\n");
        write("cpu.cfs_period_us", "100000\n");
        assert_eq!(quota_of(folder.path()), None);
        write("cpu.cfs_quota_us", "150000\n");
        assert_eq!(quota_of(folder.path()), Some(1.5));
        write("cpu.max", "max 100000\n");
        assert_eq!(quota_of(folder.path()), None);
        write("cpu.max", "250000 100000\n");
        assert_eq!(quota_of(folder.path()), Some(2.5));
    }

    #[test]
    fn the_kernel_tells_how_many_descriptors_are_open() {
        let Some(before) = told_by_kernel() else { return };
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").expect("a file")).collect();
        // Other tests open and close some meanwhile.
        let told = told_by_kernel().expect("as before");
        assert!(told + 50 > before + 100, "{before}, then {told}");
        assert!(count_open_files() > files.len() as u64);
        assert!(OpenFiles::new().count() > files.len() as u64);
    }
}
