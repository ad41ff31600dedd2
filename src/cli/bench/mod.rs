//! `ringkeeper bench`: a load generator for any server of the ZooKeeper client protocol, and the physical limits to
//! compare with (`echo-server`, `disk`). `net` moves frames, `workload` builds and checks them, `load` paces them;
//! `fanout` and `sessions` are the workloads that are not request and reply; `outcome` and `report` tell the result.
//!
//! Invariant: every reply is checked, and a wrong one fails the run with exit code 1. It shares the record codec with
//! the server and nothing else.

mod crowd;
mod disk;
mod fanout;
mod hosts;
mod keys;
mod load;
mod net;
mod null;
mod outcome;
mod process;
mod progress;
mod report;
mod sessions;
mod setup;
mod workload;

use crate::io::poller::{pin_thread, raise_open_files};
use clap::{Args, Subcommand};
use crowd::Crowd;
use hosts::{Auth, Hosts};
use keys::Distribution;
use load::{Measured, Pace, Watch};
use net::say;
use outcome::{CpuMeter, Latency, Outcome};
use process::ServerProcess;
use progress::Progress;
use serde_json::json;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use workload::{Kind, Requests, Shape, Workload};

/// Measure a ZooKeeper server, or the limits of this machine
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand, Debug)]
enum BenchCommand {
    /// Read the data of nodes
    Get(LoadArgs),
    /// Read the Stat of nodes
    Exists(LoadArgs),
    /// List the children of one node that has --nodes of them (getChildren, as old clients do; Apache caches no answers to it)
    Children(LoadArgs),
    /// The same with the node's Stat (getChildren2, as new clients do; Apache caches the answers)
    Children2(LoadArgs),
    /// Write the data of nodes
    Set(LoadArgs),
    /// Create nodes
    Create(LoadArgs),
    /// Create a node, delete it, and so on, beside --nodes others
    CreateDelete(LoadArgs),
    /// Create ephemeral nodes, then close the sessions that own them
    Ephemeral(LoadArgs),
    /// Transactions of --multi-ops writes
    Multi(LoadArgs),
    /// Read --read-percent, write the rest
    Mixed(LoadArgs),
    /// Create --nodes nodes and leave them there
    Preload(LoadArgs),
    /// Change nodes that many connections watch
    FanOut(FanOutArgs),
    /// Open and close many sessions
    SessionStorm(StormArgs),
    /// Keep many idle sessions
    SessionHold(HoldArgs),
    /// A server that only answers, for the limit of the sockets; not a ZooKeeper server
    #[command(alias = "null")]
    EchoServer(EchoArgs),
    /// Durable writes in a loop, for the limit of the disk
    Disk(DiskArgs),
    /// One HTML page with plots from the JSON files of several runs
    Report(ReportArgs),
}

#[derive(Args, Debug, Clone)]
struct Common {
    /// host:port of the server, or of several, whom connections are spread over: a:2181,b:2181
    #[arg(long, default_value = "127.0.0.1:2181")]
    server: String,
    /// Identity that every session proves, except those of a session storm, for example digest:user:password
    #[arg(long, value_name = "SCHEME:AUTH", env = "RINGKEEPER_BENCH_AUTH", hide_env_values = true)]
    auth: Option<Auth>,
    /// Process id of the server, for its CPU time and memory [default: who listens on the port of the only server]
    #[arg(long)]
    server_pid: Option<u32>,
    /// Name of this run in tables and plots [default: the server]
    #[arg(long)]
    label: Option<String>,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pin the generator to this CPU
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Session timeout to ask for, in ms
    #[arg(long, default_value_t = 30_000)]
    session_timeout_ms: i32,
    /// Parent of all nodes of the run. Bench makes and deletes it; one that it did not make is refused
    #[arg(long, default_value = "/bench")]
    folder: String,
    /// Take a --folder that bench did not make, and DELETE ALL THAT IS IN IT
    #[arg(long)]
    force: bool,
    /// jute.maxbuffer of the server, which takes no longer requests
    #[arg(long, value_name = "BYTES", default_value_t = crate::limits::JUTE_MAX_BUFFER)]
    jute_maxbuffer: usize,
    /// Bytes of each value
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Nodes [default: 1000; for fan-out 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=99_999_999))]
    nodes: Option<u64>,
    /// Leave the nodes there
    #[arg(long)]
    keep: bool,
    /// Take the nodes that an earlier run has left there, in place of preparing them again
    #[arg(long)]
    reuse: bool,
}

#[derive(Args, Debug, Clone)]
struct LoadArgs {
    #[command(flatten)]
    common: Common,
    /// Connections
    #[arg(long, short = 'c', default_value_t = 16)]
    connections: usize,
    /// Requests in flight on each connection
    #[arg(long, short = 'f', default_value_t = 32)]
    in_flight: usize,
    /// Generator threads
    #[arg(long, short = 't', default_value_t = 1)]
    threads: usize,
    /// Measured seconds
    #[arg(long, short = 'd', default_value_t = 10.0)]
    duration: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 3.0)]
    warm_up: f64,
    /// Send exactly so many requests, all measured, in place of a duration
    #[arg(long)]
    operations: Option<u64>,
    /// Open loop: so many requests per second, whatever the server does
    #[arg(long)]
    rate: Option<f64>,
    /// How nodes are chosen
    #[arg(long, value_enum, default_value = "uniform")]
    distribution: Distribution,
    /// Reads among a hundred requests of a mixed load
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(0..=100))]
    read_percent: u64,
    /// Writes in one multi
    #[arg(long, default_value_t = 10)]
    multi_ops: u64,
    /// Watches that other sessions hold meanwhile, each on a node of its own that nobody changes
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=99_999_999))]
    watches: u64,
}

#[derive(Args, Debug)]
struct FanOutArgs {
    #[command(flatten)]
    common: Common,
    /// Connections that watch
    #[arg(long, short = 'c', default_value_t = 1000)]
    connections: usize,
    /// Nodes that each connection watches
    #[arg(long, default_value_t = 1)]
    watches_each: u64,
    /// Persistent watches in place of one-shot ones
    #[arg(long)]
    persistent: bool,
    /// Changes to measure
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// Changes before those
    #[arg(long, default_value_t = 20)]
    warm_up_rounds: u64,
    /// Another client reads during the fan-out; report its latency
    #[arg(long)]
    probe: bool,
}

#[derive(Args, Debug)]
struct StormArgs {
    #[command(flatten)]
    common: Common,
    /// Sessions to open and close
    #[arg(long, default_value_t = 10_000)]
    sessions: u64,
    /// At the same time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
}

#[derive(Args, Debug)]
struct HoldArgs {
    #[command(flatten)]
    common: Common,
    /// Sessions to keep
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// For so many seconds
    #[arg(long, default_value_t = 20.0)]
    duration: f64,
}

#[derive(Args, Debug)]
struct EchoArgs {
    /// Port of 127.0.0.1 to listen on
    #[arg(long)]
    port: u16,
    /// Pin the server to this CPU
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Bytes of the value in its replies
    #[arg(long, default_value_t = 100)]
    value: usize,
    /// Names in its replies to getChildren
    #[arg(long, default_value_t = 0)]
    children: u64,
}

#[derive(Args, Debug)]
struct DiskArgs {
    /// A folder on the disk to measure
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Bytes of each write
    #[arg(long, default_value_t = 4096)]
    block: usize,
    /// Seconds
    #[arg(long, short = 'd', default_value_t = 5.0)]
    duration: f64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pin to this CPU
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
}

#[derive(Args, Debug)]
struct ReportArgs {
    /// Results, written by --json
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// The page to write
    #[arg(long, short = 'o', default_value = "report.html")]
    output: PathBuf,
}

/// Runs one `ringkeeper bench` command.
pub fn run(args: BenchArgs) -> Result<(), String> {
    raise_open_files().map_err(say("raise the limit on open files"))?;
    match args.command {
        BenchCommand::Get(load) => run_load(Workload::Get, "get", load),
        BenchCommand::Exists(load) => run_load(Workload::Exists, "exists", load),
        BenchCommand::Children(load) => run_load(Workload::Children, "children", load),
        BenchCommand::Children2(load) => run_load(Workload::Children2, "children2", load),
        BenchCommand::Set(load) => run_load(Workload::Set, "set", load),
        BenchCommand::Create(load) => run_load(Workload::Create, "create", load),
        BenchCommand::CreateDelete(load) => run_load(Workload::CreateDelete, "create-delete", load),
        BenchCommand::Ephemeral(load) => run_load(Workload::Ephemeral, "ephemeral", load),
        BenchCommand::Multi(load) => run_load(Workload::Multi, "multi", load),
        BenchCommand::Mixed(load) => run_load(Workload::Mixed, "mixed", load),
        BenchCommand::Preload(mut load) => {
            load.operations = Some(load.common.nodes.unwrap_or(NODES));
            load.common.keep = true;
            run_load(Workload::Create, "preload", load)
        }
        BenchCommand::FanOut(args) => run_fan_out(args),
        BenchCommand::SessionStorm(args) => run_storm(args),
        BenchCommand::SessionHold(args) => run_hold(args),
        BenchCommand::EchoServer(args) => {
            pin(args.cpu)?;
            let listener = TcpListener::bind(("127.0.0.1", args.port)).map_err(say("listen"))?;
            null::serve(listener, null::NullSettings { value_bytes: args.value, children: args.children })
        }
        BenchCommand::Disk(args) => run_disk(args),
        BenchCommand::Report(args) => report::write(&args.results, &args.output),
    }
}

/// What every run against a server starts with.
struct Target {
    hosts: Arc<Hosts>,
    server: Option<ServerProcess>,
    outcome: Outcome,
}

impl Target {
    fn new(common: &Common, workload: &str) -> Result<Target, String> {
        if !common.folder.starts_with('/') || common.folder.len() < 2 || common.folder.ends_with('/') {
            return Err(format!("the folder {} is not the absolute path of a node below /", common.folder));
        }
        Outcome::check_file(common.json.as_deref())?;
        pin(common.cpu)?;
        let hosts = Hosts::find(&common.server, common.auth.clone())?;
        let is_only = hosts.addresses().len() == 1;
        let looks = is_only || common.server_pid.is_some();
        let server = if looks { ServerProcess::find(common.server_pid, hosts.first()) } else { None };
        if let (Some(pid), None) = (common.server_pid, server) {
            return Err(format!("there is no process {pid} to look at"));
        }
        let mut outcome =
            Outcome::new(common.label.clone().unwrap_or_else(|| common.server.clone()), workload);
        outcome.settings.insert("value_bytes".into(), json!(common.value));
        if !is_only {
            outcome.settings.insert("servers".into(), json!(hosts.addresses().len()));
        }
        Ok(Target { hosts: Arc::new(hosts), server, outcome })
    }

    fn set(&mut self, name: &str, value: serde_json::Value) {
        self.outcome.settings.insert(name.into(), value);
    }

    /// Deletes the nodes and tells the result.
    fn finish(self, common: &Common, folder: Option<&str>) -> Result<(), String> {
        if let Some(folder) = folder.filter(|_| !common.keep) {
            setup::clean(&self.hosts, folder, common.force)?;
        }
        self.outcome.publish(common.json.as_deref())
    }
}

fn run_load(workload: Workload, name: &str, args: LoadArgs) -> Result<(), String> {
    let mut target = Target::new(&args.common, name)?;
    let shape = Shape {
        workload,
        folder: args.common.folder.clone(),
        nodes: args.common.nodes.unwrap_or(NODES),
        value_bytes: args.common.value,
        distribution: args.distribution,
        read_percent: args.read_percent,
        multi_ops: args.multi_ops,
    };
    let pace = pace_of(&args, workload)?;
    describe(&mut target, &args, workload);
    check_size(&shape, &args.common)?;
    if !args.common.reuse {
        setup::prepare(&target.hosts, &shape, args.common.force)?;
    } else if !args.common.keep {
        setup::check(&target.hosts, &shape.folder, args.common.force)?;
    }
    let crowd =
        (args.watches > 0).then(|| Crowd::place(&target.hosts, args.watches, &args.common)).transpose()?;
    let measured = measure(&mut target, &pace, &shape)?;
    crowd.map_or(Ok(()), Crowd::leave)?;
    for (kind, histogram) in measured.latency.iter().enumerate() {
        if let Some(histogram) = histogram {
            target.outcome.latency_us.insert(Kind::NAMES[kind].into(), Latency::of(histogram));
        }
    }
    target.finish(&args.common, Some(&shape.folder))
}

/// A server closes the connection of a longer request without a word.
fn check_size(shape: &Shape, common: &Common) -> Result<(), String> {
    let longest = Requests::longest(shape);
    if longest <= common.jute_maxbuffer {
        return Ok(());
    }
    Err(format!(
        "requests would have {longest} bytes, and the server takes no more than jute.maxbuffer, {}. Choose a smaller --value; if \
         the server's is larger, say so by --jute-maxbuffer",
        common.jute_maxbuffer
    ))
}

fn pace_of(args: &LoadArgs, workload: Workload) -> Result<Pace, String> {
    if args.threads == 0 || args.connections < args.threads || args.in_flight == 0 {
        return Err("every thread needs a connection, and every connection room for one request".into());
    }
    if args.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        return Err("the rate must be above 0".into());
    }
    // Closing belongs to what `ephemeral` measures, so it always counts operations.
    let default_operations = (workload == Workload::Ephemeral).then_some(EPHEMERAL_OPERATIONS);
    Ok(Pace {
        threads: args.threads,
        connections: args.connections,
        in_flight: args.in_flight,
        warm_up: Duration::from_secs_f64(args.warm_up.max(0.0)),
        duration: Duration::from_secs_f64(args.duration.max(0.0)),
        operations: args.operations.or(default_operations),
        rate: args.rate,
        session_timeout_ms: args.common.session_timeout_ms,
    })
}

fn describe(target: &mut Target, args: &LoadArgs, workload: Workload) {
    target.set("nodes", json!(args.common.nodes.unwrap_or(NODES)));
    target.set("connections", json!(args.connections));
    target.set("in_flight", json!(args.in_flight));
    target.set("threads", json!(args.threads));
    target.set("distribution", json!(args.distribution));
    target.set("rate", json!(args.rate));
    target.set("watches", json!(args.watches));
    match workload {
        Workload::Mixed => target.set("read_percent", json!(args.read_percent)),
        Workload::Multi => target.set("multi_ops", json!(args.multi_ops)),
        _ => {}
    }
}

/// Runs the generator threads and looks at the server at the right moments.
fn measure(target: &mut Target, pace: &Pace, shape: &Shape) -> Result<Measured, String> {
    let watch = Watch {
        connected: Barrier::new(pace.threads + 1),
        go: Barrier::new(pace.threads + 1),
        replies: AtomicU64::new(0),
        is_failed: AtomicBool::new(false),
    };
    let hosts = Arc::clone(&target.hosts);
    let hosts = &hosts;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..pace.threads)
            .map(|thread| {
                let watch = &watch;
                scope.spawn(move || load::run_thread(hosts, pace, shape, thread, watch))
            })
            .collect();
        watch.connected.wait();
        let mut meter = CpuMeter::start(target.server);
        watch.go.wait();
        let started = Instant::now();
        let is_timed = pace.operations.is_none();
        if is_timed {
            wait_until(started + pace.warm_up, &watch, pace);
            meter = CpuMeter::start(target.server);
            wait_until(started + pace.warm_up + pace.duration, &watch, pace);
            // Read at the end of the measured time; the number of operations is known only after the join.
            meter.finish(&mut target.outcome, 1, pace.duration, pace.threads);
        } else {
            tell_until(&|| threads.iter().all(|thread| thread.is_finished()), &watch, pace);
        }
        let mut all = Measured::new();
        let mut failure = None;
        for thread in threads {
            match thread.join().expect("generator threads do not panic") {
                Ok(measured) => all.merge(measured),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        match is_timed {
            true => target.outcome.set_operations(all.operations, all.elapsed),
            false => meter.finish(&mut target.outcome, all.operations, all.elapsed, pace.threads),
        }
        if let Some(rate) = pace.rate {
            // An open loop polls while it waits, so a busy generator says nothing; a missed rate does.
            let is_missed = target.outcome.operations_per_second < RATE_REACHED * rate;
            target.outcome.is_generator_limited &= is_missed;
        }
        Ok(all)
    })
}

/// Sleeps until a time, telling the progress to a person who watches.
fn wait_until(end: Instant, watch: &Watch, pace: &Pace) {
    let mut progress = Progress::of("");
    while Instant::now() < end && !watch.is_failed.load(Ordering::Relaxed) {
        let before = watch.replies.load(Ordering::Relaxed);
        let slice = end.saturating_duration_since(Instant::now()).min(progress::INTERVAL);
        std::thread::sleep(slice);
        if slice == progress::INTERVAL {
            let rate = (watch.replies.load(Ordering::Relaxed) - before) as f64 / slice.as_secs_f64();
            progress.say(&format!("{rate:>10.0} replies per second on {} connections", pace.connections));
        }
    }
}

/// The same for a run that ends with its operations.
fn tell_until(is_over: &dyn Fn() -> bool, watch: &Watch, pace: &Pace) {
    let mut progress = Progress::of("operations");
    while progress.is_watched() && !is_over() {
        std::thread::sleep(LOOK_EVERY);
        progress.at(watch.replies.load(Ordering::Relaxed), pace.operations.unwrap_or_default());
    }
}

fn run_fan_out(args: FanOutArgs) -> Result<(), String> {
    let mut target =
        Target::new(&args.common, if args.persistent { "fan-out-persistent" } else { "fan-out" })?;
    target.set("connections", json!(args.connections));
    target.set("watches_each", json!(args.watches_each));
    target.set("rounds", json!(args.rounds));
    let nodes = args.common.nodes.unwrap_or(1);
    target.set("nodes", json!(nodes));
    if args.watches_each > nodes {
        return Err("a connection cannot watch more nodes than there are".into());
    }
    let shape = Shape {
        workload: Workload::Get,
        folder: args.common.folder.clone(),
        nodes,
        value_bytes: args.common.value,
        distribution: Distribution::Uniform,
        read_percent: 100,
        multi_ops: 1,
    };
    check_size(&shape, &args.common)?;
    setup::prepare(&target.hosts, &shape, args.common.force)?;
    let plan = fanout::FanOutPlan {
        connections: args.connections,
        watches_each: args.watches_each,
        is_persistent: args.persistent,
        rounds: args.rounds,
        warm_up_rounds: args.warm_up_rounds,
        is_probed: args.probe,
        timeout_ms: args.common.session_timeout_ms,
    };
    fanout::run(&target.hosts, plan, &shape, target.server, &mut target.outcome)?;
    target.finish(&args.common, Some(&shape.folder))
}

fn run_storm(args: StormArgs) -> Result<(), String> {
    let mut target = Target::new(&args.common, "session-storm")?;
    target.set("concurrency", json!(args.concurrency));
    if args.concurrency == 0 {
        return Err("a storm needs one session at a time at least".into());
    }
    let plan = sessions::StormPlan {
        sessions: args.sessions,
        concurrency: args.concurrency,
        timeout_ms: args.common.session_timeout_ms,
    };
    sessions::storm(&target.hosts, plan, target.server, &mut target.outcome)?;
    target.finish(&args.common, None)
}

fn run_hold(args: HoldArgs) -> Result<(), String> {
    let mut target = Target::new(&args.common, "session-hold")?;
    target.set("sessions", json!(args.sessions));
    if args.sessions == 0 {
        return Err("there is nothing to hold without a session".into());
    }
    let duration = Duration::from_secs_f64(args.duration.max(0.0));
    let timeout_ms = args.common.session_timeout_ms;
    sessions::hold(&target.hosts, args.sessions, timeout_ms, duration, target.server, &mut target.outcome)?;
    target.finish(&args.common, None)
}

fn run_disk(args: DiskArgs) -> Result<(), String> {
    Outcome::check_file(args.json.as_deref())?;
    pin(args.cpu)?;
    let mut outcome = Outcome::new("disk".into(), "disk");
    outcome.settings.insert("block_bytes".into(), json!(args.block));
    disk::run(
        &args.folder,
        args.block.max(1),
        Duration::from_secs_f64(args.duration.max(0.0)),
        &mut outcome,
    )?;
    outcome.publish(args.json.as_deref())
}

fn pin(cpu: Option<usize>) -> Result<(), String> {
    cpu.map_or(Ok(()), |cpu| pin_thread(cpu).map_err(|error| format!("cannot pin to CPU {cpu}: {error}")))
}

/// Nodes of a run that names no number.
const NODES: u64 = 1000;
/// Ephemeral nodes of a run that names no number.
const EPHEMERAL_OPERATIONS: u64 = 50_000;
/// Part of a rate asked for that counts as reached.
const RATE_REACHED: f64 = 0.97;
/// How often a run that ends with its operations is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    /// A null server on a thread, and a load over it; the thread ends with the test process.
    fn run_against_null(
        workload: Workload,
        served_value_bytes: usize,
        rate: Option<f64>,
    ) -> Result<Measured, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let settings = null::NullSettings { value_bytes: served_value_bytes, children: 10 };
        std::thread::spawn(move || null::serve(listener, settings));
        let shape = Shape {
            workload,
            folder: "/bench".into(),
            nodes: 10,
            value_bytes: 100,
            distribution: Distribution::Zipf,
            read_percent: 50,
            multi_ops: 1,
        };
        let pace = Pace {
            threads: 2,
            connections: 3,
            in_flight: 4,
            warm_up: Duration::ZERO,
            duration: Duration::ZERO,
            operations: Some(1001),
            rate,
            session_timeout_ms: 10_000,
        };
        let hosts = Arc::new(Hosts::only(address));
        setup::prepare(&hosts, &shape, false)?;
        let mut target = Target { hosts, server: None, outcome: Outcome::new("null".into(), "test") };
        measure(&mut target, &pace, &shape)
    }

    #[test]
    fn every_request_of_a_run_is_answered_and_counted() {
        for workload in [
            Workload::Get,
            Workload::Exists,
            Workload::Children,
            Workload::Children2,
            Workload::Mixed,
            Workload::CreateDelete,
        ] {
            let measured = run_against_null(workload, 100, None).expect("the null server answers all");
            assert_eq!(measured.operations, 1001, "{workload:?}");
        }
    }

    #[test]
    fn an_open_loop_takes_the_time_that_its_rate_needs() {
        let measured =
            run_against_null(Workload::Get, 100, Some(10_000.0)).expect("the null server answers all");
        assert_eq!(measured.operations, 1001);
        assert!(measured.elapsed >= Duration::from_millis(99), "{:?}", measured.elapsed);
    }

    #[test]
    fn a_wrong_reply_fails_the_run() {
        let error = run_against_null(Workload::Get, 99, None).err().expect("values are one byte short");
        assert!(error.contains("a wrong reply to get"), "{error}");
    }
}
