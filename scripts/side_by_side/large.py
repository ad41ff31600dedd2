"""Much of everything: starting with a large tree, snapshots under load, what a further shard needs, and whether an
operation costs the same however many nodes, connections, watches and children there are.

Here a server is started for the purpose, filled, and stopped, so these are scenarios in place of single workloads."""

import re
import shutil
import time

from side_by_side.results import Case, Target, at_most, cpu, latency, rss_mb, times
from side_by_side.servers import read_node, run_measured

FOLDER = "/bench"
NO_SNAPSHOTS = 1_000_000_000
OPEN_RATE = 20_000
GROWTH = 1.2
PILED_UP_US = 1000


class Scenario:
    """What one measurement starts, does and stops, with the cases that it adds to the results."""

    def __init__(self, name, run, cases, full_only=False):
        self.name, self.run, self.cases, self.full_only = name, run, cases, full_only
        for case in cases:
            case.in_scenario = True


class Sizes:
    """How much is much: less in a quick run, and then the name of each row says so."""

    def __init__(self, quick):
        self.quick = quick
        self.nodes = 200_000 if quick else 1_000_000
        self.shard_nodes = [200_000] if quick else [200_000, 1_000_000]
        self.note = " (a full run takes 1,000,000)" if quick else ""

    @property
    def nodes_text(self):
        return f"{self.nodes:,} nodes{self.note}"


def scenarios(quick):
    sizes = Sizes(quick)
    return [restart(sizes), moving(sizes), snapshot(sizes), shards(sizes), *growth(sizes)]


# -- Starting, importing, inspecting


def seconds(run):
    return run.get("seconds")


def restart(sizes):
    def run(session):
        servers = [filled(session, name, sizes.nodes) for name in session.options.servers]
        session.commands.append(f"ringkeeper bench preload --nodes {sizes.nodes}; then stop, start and read, again and again")
        for server in servers:
            # This start does not count: caches are warm afterwards, and Apache has written all into one snapshot.
            timed_start(server, sizes.nodes)
        for _ in range(session.options.rounds):
            for server in servers:
                session.tell("restart", server.name, timed_start(server, sizes.nodes))

    return Scenario("restart", run, [Case("restart", f"a start with {sizes.nodes:,} nodes until a client has read one", targets=[
        Target(f"restart with {sizes.nodes_text} until serving: seconds ≤ 0.5", seconds, at_most(0.5))])])


def timed_start(server, nodes):
    """Start to the first right answer to a client's read."""
    key = nodes - 1
    started = time.monotonic()
    server.launch()
    server.wait_for(lambda: (read_node(server.port, f"{FOLDER}/n{key:08}") or b"").startswith(b"%08d" % key), 0.002)
    run = {"seconds": time.monotonic() - started, "server_cpu_seconds": server.cpu_seconds(),
           "server_resident_bytes": server.resident_bytes()}
    server.stop()
    return run


def filled(session, name, nodes):
    """A stopped server whose folder has a snapshot of so many nodes and little log after it."""
    if name not in session.filled:
        # Apache writes a snapshot of all whenever it starts. Ringkeeper writes one where enough has changed.
        server = session.new_server(name, "-large", "snapCount=1000\n" if name == "ringkeeper" else "")
        fill(session, server, nodes)
        if name == "ringkeeper":
            write_until_snapshots(session, server)
        server.stop()
        server.settings = ""
        session.filled[name] = server
    return session.filled[name]


def write_until_snapshots(session, server):
    """Two of them: the first may have been begun before the writes that must be in one."""
    count = server.metric("zk_snap_count") + 2
    deadline = time.monotonic() + 120
    while server.metric("zk_snap_count") < count:
        if time.monotonic() > deadline:
            raise SystemExit("side-by-side: ringkeeper has not written two snapshots within two minutes")
        session.bench(None, server, "set -c 1 -f 64 --nodes 10 --operations 2500 --rate 5000 --folder /other".split())


def fill(session, server, nodes):
    session.bench(None, server, ["preload", "-c", "8", "-f", "64", "--nodes", str(nodes), "--folder", FOLDER])


def moving(sizes):
    def run(session):
        if "apache" not in session.options.servers:
            return
        apache = filled(session, "apache", sizes.nodes)
        session.commands.extend(["ringkeeper import APACHES-FOLDER IMPORTED", "ringkeeper inspect snapshot IMPORTED"])
        for _ in range(session.options.rounds):
            timed_start(apache, sizes.nodes)
            log = "".join(path.read_text(errors="replace") for path in apache.folder.glob("*.log"))
            loads = re.findall(r"Snapshot loaded in (\d+) ms", log)
            if loads:
                session.tell("import", "apache", {"seconds": int(loads[-1]) / 1e3})
            shutil.rmtree(session.data / "imported", ignore_errors=True)
            target = session.data / "imported/data"
            target.parent.mkdir(parents=True)
            for case, arguments in [("import", ["import", apache.folder / "data", target]),
                                    ("inspect", ["inspect", "snapshot", target])]:
                command = [str(session.binary), *map(str, arguments)]
                session.tell(case, "ringkeeper", run_measured(command, session.data / f"{case}.log"))
            server = session.server_on("ringkeeper", target.parent)
            session.tell("imported", "ringkeeper", timed_start(server, sizes.nodes))
        shutil.rmtree(session.data / "imported", ignore_errors=True)

    return Scenario("moving", run, [
        Case("import", "`ringkeeper import` of Apache's folder; for Apache, how long its log says loading it took", targets=[
            Target(f"import of {sizes.nodes_text}: seconds ≤ 1/4 of Apache's loading", seconds,
                   times(1 / 4, "import", "apache", seconds)),
            Target(f"import of {sizes.nodes_text}: peak MB ≤ the running server's", rss_mb,
                   times(1, "imported", "ringkeeper", rss_mb))]),
        Case("inspect", "`ringkeeper inspect snapshot` of what was imported", targets=[
            Target(f"inspect of a snapshot of {sizes.nodes_text}: seconds ≤ 1", seconds, at_most(1.0))]),
        Case("imported", "a start on what was imported until a client has read a node")])


# -- Snapshots under load


def snapshot(sizes):
    workload = f"mixed -c 64 -f 64 --read-percent 50 --rate {2 * OPEN_RATE} --reuse --keep --nodes {sizes.nodes} -d 6 --warm-up 1"
    settings = {"snapshots-all-the-time": f"snapCount={OPEN_RATE // 4}\n", "snapshots-never": f"snapCount={NO_SNAPSHOTS}\n"}

    def if_written(metric):
        return lambda run: metric(run) if run["extra"]["snapshots"] > 0 else None

    def run(session):
        servers = {case: session.new_server("ringkeeper", f"-{case}", line) for case, line in settings.items()}
        try:
            for server in servers.values():
                fill(session, server, sizes.nodes)
            session.commands.append(f"ringkeeper bench {workload}   # with " + " and ".join(settings.values()).replace("\n", ""))
            for _ in range(min(session.options.rounds, 2) if sizes.quick else session.options.rounds):
                for case, server in servers.items():
                    before = server.metric("zk_snap_count")
                    result = session.bench(None, server, workload.split())
                    result["extra"]["snapshots"] = server.metric("zk_snap_count") - before
                    session.tell(case, "ringkeeper", result, "get")
        finally:
            for server in servers.values():
                server.stop()
                shutil.rmtree(server.folder, ignore_errors=True)

    targets = [Target(f"snapshots of {sizes.nodes_text} under {OPEN_RATE:,} set/s: p99.9 µs of {kind} ≤ 2 × without",
                      if_written(latency(kind, "p999")), times(2, "snapshots-never", "ringkeeper", latency(kind, "p999")))
               for kind in ("get", "set")]
    return Scenario("snapshot", run, [
        Case("snapshots-all-the-time", workload, "get", targets=targets), Case("snapshots-never", workload, "get")])


# -- Memory of further shards


def shards(sizes):
    def case_name(nodes, count):
        return f"{nodes // 1000}k-nodes-{count}-shards"

    def run(session):
        for nodes in sizes.shard_nodes:
            workload = f"preload -c 8 -f 64 --nodes {nodes}"
            session.commands.append(f"ringkeeper bench {workload}   # with ringkeeper.shards=1, 2, 3")
            resident = {}
            for count in (1, 2, 3):
                # On one CPU: what counts here is memory, not speed.
                server = session.new_server("ringkeeper", "-shards", f"ringkeeper.shards={count}\nringkeeper.pin=false\n")
                try:
                    result = session.bench(None, server, workload.split())
                finally:
                    server.stop()
                resident[count] = result["server_resident_bytes"]
                if count > 1:
                    result["extra"]["resident_bytes_per_further_shard"] = (resident[count] - resident[1]) / (count - 1)
                session.tell(case_name(nodes, count), "ringkeeper", result, "create")

    def further(run):
        return run["extra"]["resident_bytes_per_further_shard"] / 1e6

    limits = {200_000: 15.0, 1_000_000: 70.0}
    cases = []
    for nodes in sizes.shard_nodes:
        for count in (1, 2, 3):
            text = f"{nodes:,} nodes of 100 B, {count} shards: resident MB of each further one ≤ {limits[nodes]:.0f}"
            targets = [Target(text, further, at_most(limits[nodes]))] if count > 1 else []
            cases.append(Case(case_name(nodes, count), "", "create", targets=targets))
    return Scenario("shards", run, cases)


# -- Growth


class Pair:
    """One load over little and over much; what it costs per operation must stay the same."""

    def __init__(self, name, what, little, much, args, kind, full_only=False, metric=cpu, limit=False):
        """`little` and `much` are (label, further arguments). `limit`: also against the echo server."""
        self.ends = [(f"{name}-{label}", f"{args} {more}".strip()) for label, more in (little, much)]
        self.text = f"growth: {what}, {little[0]} to {much[0]}: CPU µs/op ≤ {GROWTH} × (within 20 %)"
        self.kind, self.full_only, self.metric, self.limit = kind, full_only, metric, limit

    def cases(self):
        (small, small_args), (large, large_args) = self.ends
        return [Case(small, small_args, self.kind),
                Case(large, large_args, self.kind, targets=[
                    Target(self.text, self.metric, times(GROWTH, small, "ringkeeper", self.metric))])]


def cpu_unless_piled_up(kind):
    """Where a server or the load waited for its CPU, requests piled up and came together: that is cheap on one connection and
    says nothing about many."""
    return lambda run: cpu(run) if run["latency_us"][kind]["p50"] < PILED_UP_US else None


def growth(sizes):
    def thousands(count):
        return f"{count // 1_000_000}M" if count >= 1_000_000 else f"{count // 1000}k"

    few, many = ("1k", "--nodes 1000"), (thousands(sizes.nodes), f"--nodes {sizes.nodes}")
    kept = "--reuse --keep"
    nodes = [Pair("nodes-get-64x1", "get 64×1, nodes", few, many, f"get -c 64 -f 1 {kept}", "get"),
             Pair("nodes-get-16x32", "get 16×32, nodes", few, many, f"get -c 16 -f 32 {kept}", "get", full_only=True),
             Pair("nodes-set-64x8", "set 64×8, nodes", few, many, f"set -c 64 -f 8 {kept}", "set")]
    # One connection must carry the rate alone, so there is room for many requests in flight.
    one, crowd = ("1", "-c 1"), ("10k", "-c 10000")
    connections = [Pair("connections-get", f"get at {OPEN_RATE:,}/s, connections", one, crowd,
                        f"get -f 256 --rate {OPEN_RATE}", "get", metric=cpu_unless_piled_up("get"), limit=True),
                   Pair("connections-set", f"set at {OPEN_RATE:,}/s, connections", one, crowd,
                        f"set -f 256 --rate {OPEN_RATE}", "set", full_only=True, metric=cpu_unless_piled_up("set"))]
    watches = [Pair("watches-set-64x8", "set 64×8, watches elsewhere", ("1", "--watches 1"), ("100k", "--watches 100000"),
                    "set -c 64 -f 8", "set")]
    few, many = ("10", "--nodes 10"), ("100k", "--nodes 100000")
    children = [Pair("children-create-delete-16x8", "create and delete 16×8, siblings", few, many, "create-delete -c 16 -f 8", "create"),
                Pair("children-exists-64x1", "exists 64×1, siblings", few, many, "exists -c 64 -f 1", "exists", full_only=True)]
    return [pairs_scenario("growth-nodes", nodes, sizes, [1000, sizes.nodes]),
            pairs_scenario("growth-connections", connections, sizes),
            pairs_scenario("growth-watches", watches, sizes),
            pairs_scenario("growth-children", children, sizes)]


def pairs_scenario(name, pairs, sizes, fills=None):
    """Both ends of every pair in turn, on one new server; with `fills`, on one each that has so many nodes."""
    chosen = [pair for pair in pairs if not (sizes.quick and pair.full_only)]

    def run(session):
        servers, echo = [], session.new_server("echo", f"-{name}")
        try:
            for nodes in fills or [None]:
                servers.append(session.new_server("ringkeeper", f"-{name}-{nodes}"))
                if nodes:
                    fill(session, servers[-1], nodes)
            timed = f" -d {min(session.options.seconds, 3)} --warm-up {min(session.options.warm_up, 1)}"
            for pair in chosen:
                session.commands.extend(f"ringkeeper bench {args}{timed}" for _, args in pair.ends)
                for _ in range(min(session.options.rounds, 2) if sizes.quick else session.options.rounds):
                    for (case, args), server in zip(pair.ends, [servers[0], servers[-1]]):
                        for one in [server, echo] if pair.limit else [server]:
                            session.tell(case, one.name, session.bench(None, one, (args + timed).split()), pair.kind)
        finally:
            for server in [*servers, echo]:
                server.stop()
                shutil.rmtree(server.folder, ignore_errors=True)

    return Scenario(name, run, [case for pair in chosen for case in pair.cases()])
