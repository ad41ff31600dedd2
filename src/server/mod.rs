//! The production driver: recovers, pins cores, builds the mesh, runs the loops, stops in order. It moves bytes and
//! messages between `io` and the state machines and decides nothing about ZooKeeper.
//!
//! Threads: one per core (`core`), each with its own io backend; core 0 drives the member, and a shard as well where
//! there are few CPUs. The scribe (`scribe`) off the hot cores. The main thread waits for signals.

// The driver owns clocks, threads, files and sockets.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod apache;
mod boot;
pub mod convert;
mod core;
mod holders;
pub mod layout;
mod options;
mod scribe;
mod snapshots;
mod teller;
pub mod texts;
mod words;

pub use crate::shard::FOUR_LETTER_WORDS;
pub use options::ServerOptions;
pub use scribe::ScribeChoice;

use crate::io::clock::Clock;
use crate::io::disk::{DiskProbe, FolderLock};
use crate::io::queue::{Receiver, Sender, mailbox};
use crate::io::ring::Reader;
use crate::io::sys::EventFd;
use crate::io::{Durability, IoChoice, Waker, signals};
use crate::limits::MESH_QUEUE_MAX;
use crate::member::{Descriptors, Member, MemberSettings};
use crate::mesh::Word;
use crate::shard::{Shard, ShardSettings};
use core::{Core, CoreMessage, MemberSeat};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Runs the server until SIGTERM, SIGINT or a failure ends it. `on_hang_up` is called at SIGHUP.
pub fn run(mut options: ServerOptions, on_hang_up: &dyn Fn()) -> Result<(), String> {
    let random =
        || crate::io::process::random_u64().map_err(|error| format!("cannot read /dev/urandom: {error}"));
    (options.shard.hash_seed, options.member.seed) = (random()?, random()?);
    options.member.version = texts::VERSION.into();
    options.member.configuration = texts::conf(&options).into();
    options.shard.environment = texts::environment();
    crate::io::process::avoid_huge_pages();
    let open_files = crate::io::process::raise_open_files();
    let layout = options.layout();
    options.member.descriptors = Descriptors::of(open_files, usize::from(layout.shards));
    tracing::info!(
        "Ringkeeper {} on Linux {}",
        env!("CARGO_PKG_VERSION"),
        crate::io::process::kernel_release()
    );
    let folders = boot::Folders::prepare(&options)?;
    let _locks = lock(&options)?;
    let listeners = vec![bind_for_clients(&options)?];
    let probe = probe_disk(&options, &folders)?;
    let started = Instant::now();
    let booted = boot::boot(&options, &folders)?;
    print_banner(&options, &layout, &probe, &booted, started.elapsed(), open_files);
    let ports = Ports { listeners, probe };
    Process::start(options, layout, folders, booted, ports)?.wait(on_hang_up)
}

/// Takes the signals that do not end the server, until one comes that does.
fn wait_for_end(on_hang_up: &dyn Fn()) -> i32 {
    loop {
        match signals::wait() {
            libc::SIGHUP => {
                on_hang_up();
                tracing::info!("SIGHUP: the log file, if there is one, is opened again");
            }
            libc::SIGQUIT => crate::io::process::threads().iter().for_each(|line| tracing::info!("{line}")),
            libc::SIGUSR1 | libc::SIGUSR2 => tracing::info!("SIGUSR1 and SIGUSR2 mean nothing here"),
            signal => return signal,
        }
    }
}

/// Both folders are this server's alone; they may be one.
fn lock(options: &ServerOptions) -> Result<Vec<FolderLock>, String> {
    let mut locks = vec![FolderLock::take(&options.data_dir)?];
    if !apache::is_same_folder(&options.data_dir, &options.log_dir) {
        locks.push(FolderLock::take(&options.log_dir)?);
    }
    Ok(locks)
}

struct Ports {
    listeners: Vec<TcpListener>,
    probe: DiskProbe,
}

/// The running threads.
struct Process {
    to_member: Sender<CoreMessage>,
    threads: Vec<std::thread::JoinHandle<Result<(), String>>>,
}

impl Process {
    fn start(
        options: ServerOptions,
        layout: layout::Layout,
        folders: boot::Folders,
        booted: boot::Booted,
        ports: Ports,
    ) -> Result<Process, String> {
        let cores = layout.cores();
        let event_fds = (0..cores).map(|_| EventFd::new().map(Arc::new)).collect::<Result<Vec<_>, _>>();
        let event_fds = event_fds.map_err(|error| format!("cannot create an eventfd: {error}"))?;
        let (senders, receivers): (Vec<_>, Vec<_>) = event_fds
            .iter()
            .map(|fd| mailbox::<CoreMessage>(MESH_QUEUE_MAX, Arc::clone(fd) as Arc<dyn Waker>))
            .unzip();
        let (mut words, readers) = match cores {
            1 => (None, Vec::new()),
            cores => {
                let (words, readers) = words::Words::new(cores - 1);
                (Some(words), readers)
            }
        };
        let mut readers = readers.into_iter();
        let trees = (0..layout.shards).map(|_| booted.tree().clone()).collect::<Vec<_>>();
        let scribe = scribe::start(&options, &folders, &booted, &ports.probe, senders[0].clone())?;
        let settings = MemberSettings { shards: layout.shards, ..options.member.clone() };
        let mut member = Some(Member::new(settings, booted.into_recovered()));
        let mut listeners = Some(ports.listeners);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut trees = trees.into_iter();
        let mut scribe = Some(scribe);
        let clock = Clock::start();
        let mut threads = Vec::new();
        for (index, (receiver, event_fd)) in receivers.into_iter().zip(event_fds).enumerate() {
            let shard = layout.shard_on(index).and_then(|id| Some((id, trees.next()?)));
            let shard_settings =
                ShardSettings { common: options.member.common.clone(), ..options.shard.clone() };
            let shard_settings = shard_settings.share_of(layout.shards);
            let seat = member.take().zip(scribe.take());
            let is_first = seat.is_some();
            let seat = seat.map(|(member, scribe)| {
                MemberSeat::new(member, scribe, words.take(), &folders, ports.probe.durability)
            });
            let plan = CorePlan {
                index,
                cpu: layout.cpu_of(index),
                io: options.io,
                event_fd,
                receiver,
                senders: senders.clone(),
                words: if is_first { None } else { readers.next() },
                layout: layout.clone(),
                listeners: listeners.take().unwrap_or_default(),
                is_over: Arc::clone(&is_over),
                clock,
            };
            let thread = std::thread::Builder::new().name(format!("core-{index}")).spawn(move || {
                let shard =
                    shard.map(|(id, tree)| Shard::new(ShardSettings { shard: id, ..shard_settings }, tree));
                let is_over = Arc::clone(&plan.is_over);
                let result = Core::new(plan, seat, shard).and_then(Core::run);
                if !is_over.swap(true, Ordering::SeqCst) {
                    signals::raise_end();
                }
                result
            });
            threads.push(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
        }
        Ok(Process { to_member: senders[0].clone(), threads })
    }

    /// Waits for the end: a signal, or a core that cannot go on.
    fn wait(self, on_hang_up: &dyn Fn()) -> Result<(), String> {
        let signal = wait_for_end(on_hang_up);
        let name = if signal == libc::SIGINT { "SIGINT" } else { "SIGTERM" };
        tracing::info!("{name}: stopping");
        let mut stop = CoreMessage::Stop;
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(back) = self.to_member.send(stop) {
            stop = back;
            if Instant::now() > deadline {
                return Err("the member does not take the order to stop".into());
            }
            std::thread::yield_now();
        }
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err("a core panicked".into()));
            result = result.and(ended);
        }
        if result.is_ok() {
            tracing::info!("stopped");
        }
        result
    }
}

/// What one core's thread starts with.
struct CorePlan {
    index: usize,
    cpu: Option<usize>,
    io: IoChoice,
    event_fd: Arc<EventFd>,
    receiver: Receiver<CoreMessage>,
    senders: Vec<Sender<CoreMessage>>,
    /// The member's words, for cores without it.
    words: Option<Reader<Word>>,
    layout: layout::Layout,
    listeners: Vec<TcpListener>,
    is_over: Arc<AtomicBool>,
    clock: Clock,
}

/// A machine without IPv6 has no address that stands for both families.
fn bind_for_clients(options: &ServerOptions) -> Result<TcpListener, String> {
    let (mut address, backlog) = (options.client_address, options.backlog());
    let mut bound = bind(address, backlog);
    if matches!(&bound, Err(NotBound::Impossible(_))) && address.ip() == Ipv6Addr::UNSPECIFIED {
        address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        bound = bind(address, backlog);
    }
    bound.map_err(|error| match error {
        NotBound::InUse(holder) => format!(
            "cannot listen on {address}: the port is in use{holder}. Stop what uses it, or name another clientPort"
        ),
        NotBound::Impossible(error) => format!("cannot listen on {address}: {error}"),
    })
}

enum NotBound {
    /// By whom, if that is known.
    InUse(String),
    Impossible(std::io::Error),
}

/// A socket of a server that was killed may live on for a moment, until the kernel has cleared its ring away: only an
/// address that nobody has is tried again, for a bounded time.
fn bind(address: SocketAddr, backlog: i32) -> Result<TcpListener, NotBound> {
    let deadline = Instant::now() + BIND_FOR;
    let mut is_told = false;
    loop {
        match try_bind(address, backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                return Err(NotBound::Impossible(error));
            }
            Err(_) => match holders::of_address(address) {
                Some(holder) => return Err(NotBound::InUse(format!(" by {holder}"))),
                None if Instant::now() >= deadline => return Err(NotBound::InUse(String::new())),
                None => {}
            },
        }
        if !std::mem::replace(&mut is_told, true) {
            let seconds = BIND_FOR.as_secs();
            tracing::warn!("{address} is in use by no process seen here; trying again for {seconds} s");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

const BIND_FOR: Duration = Duration::from_secs(2);

fn try_bind(address: SocketAddr, backlog: i32) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn probe_disk(options: &ServerOptions, folders: &boot::Folders) -> Result<DiskProbe, String> {
    let mut probe = crate::io::disk::probe(&folders.log)
        .map_err(|error| format!("cannot write to {}: {error}", folders.log.display()))?;
    if let Some(durability) = options.durability {
        probe.durability = durability;
    }
    if !options.force_sync {
        tracing::warn!("forceSync=no: an acknowledged write may be lost when the machine fails");
        probe.durability = Durability::None;
    }
    if crate::io::disk::is_volatile(&folders.log) {
        tracing::warn!(
            "{} is in memory (tmpfs): nothing in it survives the machine, acknowledged writes neither",
            folders.log.display()
        );
    } else if !probe.direct {
        tracing::warn!(
            "{} has no O_DIRECT; the log goes through the page cache (works, but with less steady latency)",
            folders.log.display()
        );
    }
    Ok(probe)
}

fn print_banner(
    options: &ServerOptions,
    layout: &layout::Layout,
    probe: &DiskProbe,
    booted: &boot::Booted,
    took: Duration,
    open_files: u64,
) {
    tracing::info!("recovered {} in {} ms", booted.summary(), took.as_millis());
    tracing::info!(
        "log in {}: {}, {:?}, {} us per durable write",
        options.log_dir.display(),
        if probe.direct { "O_DIRECT" } else { "page cache" },
        probe.durability,
        probe.write_us
    );
    tracing::info!("{layout}; up to {open_files} open files");
    tracing::info!("listening on {}, storing in {}", options.client_address, options.data_dir.display());
}
