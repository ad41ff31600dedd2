//! What a run found, as a table for people and as JSON for programs and for `bench report`. Latencies are in µs, CPU
//! times in µs per operation.

use super::process::ServerProcess;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// One run.
#[derive(Clone, Serialize, Deserialize, Debug, Default)]
pub struct Outcome {
    /// Version of this program.
    pub tool: String,
    /// What the run was called on the command line, else the server's address.
    pub label: String,
    /// Name of the workload.
    pub workload: String,
    /// Everything that shaped the run.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Measured operations.
    pub operations: u64,
    /// Measured time.
    pub seconds: f64,
    /// The former by the latter.
    pub operations_per_second: f64,
    /// By kind of operation.
    pub latency_us: BTreeMap<String, Latency>,
    /// None for a server on another machine.
    pub server_cpu_us_per_operation: Option<f64>,
    /// 100 is one CPU.
    pub server_cpu_percent: Option<f64>,
    /// At the end of the run.
    pub server_resident_bytes: Option<u64>,
    /// Of this process.
    pub generator_cpu_us_per_operation: f64,
    /// True if this process was busy and the server was not: the figures are then the generator's, not the server's.
    pub is_generator_limited: bool,
    /// Figures that only this workload has, by name with unit.
    pub extra: BTreeMap<String, f64>,
}

/// The shape of one histogram, in µs.
#[derive(Clone, Copy, Serialize, Deserialize, Debug, Default)]
#[allow(missing_docs)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub max: f64,
}

impl Latency {
    /// Reads a histogram in ns.
    pub fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            min: histogram.min() as f64 / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max() as f64 / 1e3,
        }
    }

    /// Percentile (as drawn on an axis) and latency, in order.
    pub fn points(&self) -> [(f64, f64); 6] {
        [
            (50.0, self.p50),
            (90.0, self.p90),
            (99.0, self.p99),
            (99.9, self.p999),
            (99.99, self.p9999),
            (99.999, self.max),
        ]
    }
}

/// CPU time over a piece of a run, of the server and of this process.
pub struct CpuMeter {
    server: Option<ServerProcess>,
    server_ns: u64,
    own_ns: u64,
}

impl CpuMeter {
    /// Starts now.
    pub fn start(server: Option<ServerProcess>) -> CpuMeter {
        CpuMeter { server, server_ns: server.map_or(0, ServerProcess::cpu_ns), own_ns: own().cpu_ns() }
    }

    /// CPU ns of the server since the start.
    pub fn server_ns(&self) -> Option<u64> {
        self.server.map(|server| server.cpu_ns().saturating_sub(self.server_ns))
    }

    /// Fills in everything of `outcome` that depends on CPU time, for `threads` generator threads.
    pub fn finish(&self, outcome: &mut Outcome, operations: u64, elapsed: Duration, threads: usize) {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let per_operation = |ns: u64| ns as f64 / 1e3 / operations.max(1) as f64;
        let own_ns = own().cpu_ns().saturating_sub(self.own_ns);
        let server_ns = self.server_ns();
        outcome.operations = operations;
        outcome.seconds = seconds;
        outcome.operations_per_second = operations as f64 / seconds;
        outcome.generator_cpu_us_per_operation = per_operation(own_ns);
        outcome.server_cpu_us_per_operation = server_ns.map(per_operation);
        outcome.server_cpu_percent = server_ns.map(|ns| ns as f64 / 1e7 / seconds);
        outcome.server_resident_bytes = self.server.map(ServerProcess::resident_bytes);
        let is_busy = own_ns as f64 / 1e9 / seconds > BUSY * threads as f64;
        outcome.is_generator_limited =
            is_busy && outcome.server_cpu_percent.is_none_or(|cpu| cpu < 100.0 * BUSY);
    }
}

impl Outcome {
    /// An outcome with nothing measured yet.
    pub fn new(label: String, workload: &str) -> Outcome {
        let tool = concat!("ringkeeper ", env!("CARGO_PKG_VERSION")).to_string();
        Outcome { tool, label, workload: workload.into(), ..Outcome::default() }
    }

    /// Corrects the number of operations after `CpuMeter::finish` was told another one.
    pub fn set_operations(&mut self, operations: u64, elapsed: Duration) {
        let factor = self.operations.max(1) as f64 / operations.max(1) as f64;
        self.operations = operations;
        self.seconds = elapsed.as_secs_f64();
        self.operations_per_second = operations as f64 / self.seconds.max(1e-9);
        self.generator_cpu_us_per_operation *= factor;
        self.server_cpu_us_per_operation = self.server_cpu_us_per_operation.map(|cpu| cpu * factor);
    }

    /// Prints the table and writes the JSON file, if one was asked for.
    pub fn publish(&self, json: Option<&Path>) -> Result<(), String> {
        crate::cli::output::out(format_args!("{}", self.table()));
        let Some(path) = json else { return Ok(()) };
        let text = serde_json::to_string_pretty(self).expect("numbers and strings always serialise");
        std::fs::write(path, text + "\n").map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// That the file of `publish` can be written, before somebody has waited for what goes into it.
    pub fn check_file(path: Option<&Path>) -> Result<(), String> {
        let Some(path) = path else { return Ok(()) };
        let is_new = !path.exists();
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| format!("cannot write {}: {error}; nothing was measured", path.display()))?;
        if is_new {
            // Of no consequence if it stays there, empty.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    fn table(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        let mut line = |text: String| writeln!(out, "{text}").expect("a string takes all that is written");
        line(format!("{} on {}", self.workload, self.label));
        line(format!(
            "  {} operations in {:.2} s: {:.0} per second",
            self.operations, self.seconds, self.operations_per_second
        ));
        line(format!(
            "  {:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "latency, µs", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        ));
        for (name, latency) in &self.latency_us {
            let columns = [latency.p50, latency.p90, latency.p99, latency.p999, latency.p9999, latency.max];
            let columns: String = columns.iter().map(|value| format!("{value:>10.1}")).collect();
            line(format!("  {name:<12}{:>10}{columns}", latency.count));
        }
        if let (Some(cpu), Some(percent)) = (self.server_cpu_us_per_operation, self.server_cpu_percent) {
            line(format!("  server CPU: {cpu:.3} µs per operation, {percent:.0} % of one CPU"));
        }
        if let Some(bytes) = self.server_resident_bytes {
            line(format!("  server memory: {:.1} MB resident", bytes as f64 / 1e6));
        }
        line(format!("  generator CPU: {:.3} µs per operation", self.generator_cpu_us_per_operation));
        for (name, value) in &self.extra {
            line(format!("  {}: {value:.3}", name.replace('_', " ")));
        }
        if self.is_generator_limited {
            line(
                "  NOTE: the generator was the bottleneck, not the server; give it more threads or CPUs"
                    .into(),
            );
        }
        out
    }
}

fn own() -> ServerProcess {
    ServerProcess { pid: std::process::id() }
}

/// A thread that uses so much of its CPU has nothing in reserve.
const BUSY: f64 = 0.9;
