"""Every run, what is read from it, the targets, and the page that tells it."""

import json
import os
import statistics
import subprocess
from pathlib import Path

from side_by_side.servers import JVM_FLAGS, LOAD_CPU, SERVER_CPU

ROOT = Path(__file__).resolve().parent.parent.parent


class Results:
    """Every run: case, server, what `--json` wrote."""

    def __init__(self):
        self.runs = []

    def add(self, case, server, run):
        self.runs.append({"case": case, "server": server, **run})

    def of(self, case, server):
        return [run for run in self.runs if run["case"] == case and run["server"] == server]

    def values(self, case, server, metric):
        values = [metric(run) for run in self.of(case, server)]
        return [value for value in values if value is not None]

    def median(self, case, server, metric):
        values = self.values(case, server, metric)
        return statistics.median(values) if values else None

    def median_run(self, case, server):
        runs = [run for run in self.of(case, server) if "operations_per_second" in run]
        runs.sort(key=lambda run: run["operations_per_second"])
        return runs[len(runs) // 2] if runs else None


class Case:
    """One workload: its arguments for `ringkeeper bench`. `limit`: also run it against the echo server. `fresh`: needs an
    empty, new server. Scenarios run theirs themselves."""

    def __init__(self, name, args, kind=None, limit=True, timed=True, fresh=False, full_only=False, rounds=None, targets=()):
        self.name, self.what, self.args, self.kind = name, args, args.split(), kind
        self.limit, self.timed, self.fresh, self.full_only, self.rounds = limit, timed, fresh, full_only, rounds
        self.targets, self.in_scenario = targets, False

    def label(self, server):
        """In the plots, where the ends of a growth pair stand beside the single workload of the same shape."""
        return f"{server}, {self.name}" if self.in_scenario else server


class Target:
    """A line of the table of targets: `bound` yields the largest value allowed, or None if it cannot be known. A bound that is
    a figure of its own was set where Apache needed `apache_then`: a machine that is slower for both is told from a slow server."""

    def __init__(self, text, metric, bound, apache_then=None):
        self.text, self.metric, self.bound, self.apache_then = text, metric, bound, apache_then

    def verdict(self, value, bound, apache):
        if value is None or bound is None:
            return "not measured"
        if value <= bound:
            return "met"
        if self.apache_then and apache and value / apache <= bound / self.apache_then:
            return "met as a ratio"
        return "MISSED"


def at_most(limit):
    return lambda all: limit


def cpu(run):
    return run.get("server_cpu_us_per_operation")


def rss_mb(run):
    return (run.get("server_resident_bytes") or 0) / 1e6 or None


def latency(kind, field, factor=1.0):
    return lambda run: run["latency_us"][kind][field] * factor if kind in run["latency_us"] else None


def times(factor, case, server, metric):
    """`factor` times what another server needs for a case."""
    def bound(all):
        value = all.median(case, server, metric)
        return None if value is None else factor * value
    return bound


def output_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def machine(data):
    fields = dict(line.split(":", 1) for line in output_of("lscpu").splitlines() if ":" in line)
    field = lambda name: fields.get(name, "?").strip()
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    file_system = output_of("findmnt", "-no", "FSTYPE,OPTIONS", "-T", str(data))
    return [f"{field('Model name')}, {field('CPU(s)')} CPUs, {field('Hypervisor vendor')} virtual machine"
            if "Hypervisor vendor" in fields else f"{field('Model name')}, {field('CPU(s)')} CPUs",
            f"{memory_kib / 2**20:.0f} GiB memory, Linux {os.uname().release}", f"data on {file_system}",
            f"load average at the end {os.getloadavg()[0]:.2f}"]


def spread(values):
    if not values:
        return "–"
    middle = statistics.median(values)
    digits = 0 if middle >= 1000 else 1 if middle >= 10 else 3
    text = f"{middle:,.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def figures(session, cases):
    lines = ["| Case | Server | per second | p50 µs | p99 µs | p99.9 µs | CPU µs/op | resident MB |", "|---|---|---|---|---|---|---|---|"]
    for case in cases:
        for server in [*session.options.servers, "echo"]:
            values = lambda metric: spread(session.results.values(case.name, server, metric))
            runs = session.results.of(case.name, server)
            if runs and "operations_per_second" in runs[0]:
                mark = " *" if any(run["is_generator_limited"] for run in runs) else ""
                columns = [values(lambda run: run["operations_per_second"]) + mark,
                           *(values(latency(case.kind, field)) for field in ("p50", "p99", "p999")), values(cpu), values(rss_mb)]
                lines.append(f"| {case.name} | {server} | " + " | ".join(columns) + " |")
    if session.results.of("disk", "disk"):
        lines.append(f"| disk, 4 KiB durable | – | {spread(session.results.values('disk', 'disk', lambda run: run['operations_per_second']))} | "
                     + " | ".join(spread(session.results.values("disk", "disk", latency("write", field))) for field in ("p50", "p99", "p999"))
                     + " | – | – |")
    return lines


def once(session, cases):
    """What is not an operation of a load: starting, importing, inspecting."""
    lines = []
    for case in cases:
        for server in session.options.servers:
            runs = session.results.of(case.name, server)
            if runs and "operations_per_second" not in runs[0]:
                columns = [spread([run[key] * factor for run in runs if key in run]) for key, factor in
                           [("seconds", 1), ("server_cpu_seconds", 1), ("server_resident_bytes", 1e-6)]]
                lines.append(f"| {case.name} | {server} | " + " | ".join(columns) + f" | {case.what} |")
    return ["", "| Case | Server | seconds | CPU seconds | resident MB, at most | what |", "|---|---|---|---|---|---|", *lines] if lines else []


def ratios(session, cases):
    lines = ["| Case | per second | p50 | p99 | CPU per operation |", "|---|---|---|---|---|"]
    for case in cases:
        if session.results.median_run(case.name, "ringkeeper") is None:
            continue

        def ratio(metric, is_more_better):
            mine, theirs = (session.results.median(case.name, name, metric) for name in ("ringkeeper", "apache"))
            if not mine or not theirs:
                return "–"
            return f"{mine / theirs if is_more_better else theirs / mine:.1f} ×"
        columns = [ratio(lambda run: run["operations_per_second"], True), ratio(latency(case.kind, "p50"), False),
                   ratio(latency(case.kind, "p99"), False), ratio(cpu, False)]
        if any(column != "–" for column in columns):
            lines.append(f"| {case.name} | " + " | ".join(columns) + " |")
    return lines


def judge(session, cases):
    """(verdict, target, value, bound) for every target."""
    rows = []
    for case in cases:
        for target in case.targets:
            value = session.results.median(case.name, "ringkeeper", target.metric)
            bound = target.bound(session.results) if value is not None else None
            apache = session.results.median(case.name, "apache", target.metric)
            show = lambda number: "–" if number is None else f"{number:,.3f}" if number < 10 else f"{number:,.1f}"
            rows.append((target.verdict(value, bound, apache), target.text, show(value), show(bound), show(apache), show(target.apache_then)))
    return rows


def show_verdicts(verdicts):
    print()
    for verdict, target, value, bound, apache, then in verdicts:
        print(f"{verdict:<14} {target:<100} {value:>10}  bound {bound:>10}  Apache {apache:>10}" + (f", {then} then" if then != "–" else ""))


def write_results(session, cases, folder):
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = judge(session, cases)
    options = session.options
    commit = output_of("git", "rev-parse", "--short=12", "HEAD")
    dirty = " with local changes" if output_of("git", "status", "--porcelain", "-uno") else ""
    text = [f"# Side by side, {folder.name}", "",
            *[f"- {line}" for line in machine(session.data)],
            f"- commit {commit}{dirty}; " + ", ".join(f"{name} {version}" for name, version in session.versions.items()),
            f"- servers pinned to CPU {SERVER_CPU}, load to CPU {LOAD_CPU}; sync on; Apache's JVM: "
            + os.environ.get("SERVER_JVMFLAGS", JVM_FLAGS),
            f"- {options.rounds} interleaved rounds of {options.seconds} s after {options.warm_up} s of warm-up, a JVM after 15 s of each kind of request before the first; median (least–most)",
            f"- made by `{options.command}`", *[f"- failed: {failure}" for failure in session.failures], "",
            "## Targets", "", "| | Target | Ringkeeper | Bound | Apache | Apache then |", "|---|---|---|---|---|---|",
            *[f"| {' | '.join(row)} |" for row in verdicts], "",
            "A bound in µs was set on a machine where Apache needed what stands under \"Apache then\". \"Met as a ratio\": above the bound here,",
            "where Apache needs more as well, and within it by the share of Apache's time.", "",
            "## Times better than Apache", "", *ratios(session, cases), "",
            "## Figures", "", *figures(session, cases), *once(session, cases), "",
            "`*`: the generator was the bottleneck, so the server could do more. `echo` and `disk` are the physical limit in the same session:",
            "a server that only answers, and a loop of durable writes.", "",
            "## Commands", "", "```", *session.commands, "```", ""]
    (folder / "summary.md").write_text("\n".join(text))
    (folder / "runs.json").write_text("[\n" + ",\n".join(json.dumps(run) for run in session.results.runs) + "\n]\n")
    medians = []
    for case in cases:
        for server in [*options.servers, "echo"]:
            run = session.results.median_run(case.name, server)
            if run:
                path = folder / f"{case.name}.{server}.json"
                kept = {key: run[key] for key in run if key not in ("case", "server")} | {"label": case.label(server)}
                path.write_text(json.dumps(kept, indent=1) + "\n")
                medians.append(str(path))
    if medians:
        subprocess.run([str(session.binary), "bench", "report", *medians, "-o", str(folder / "report.html")],
                       check=True, stdout=subprocess.DEVNULL)
    return verdicts
