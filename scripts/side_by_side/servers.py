"""The servers under test: configuration, start, stop, what their processes used, and a first read like a client's."""

import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

SERVER_CPU, LOAD_CPU = 0, 1
JVM_FLAGS = "-Xmx1000m"  # the heap of ZooKeeper's own start script


class Server:
    """A server process on the server CPU. `settings` are further lines of its zoo.cfg."""

    def __init__(self, name, command, folder, port, settings=""):
        self.name, self.command, self.folder, self.port, self.settings = name, command, folder, port, settings
        self.process = None

    def launch(self):
        """Starts the process and returns at once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "zoo.cfg"
        config.write_text(f"tickTime=2000\ndataDir={self.folder / 'data'}\nclientPort={self.port}\nmaxClientCnxns=0\n"
                          f"admin.enableServer=false\n4lw.commands.whitelist=srvr,mntr\n{self.settings}")
        command = [part.replace("ZOO.CFG", str(config)) for part in self.command]
        log = open(self.folder / "out.log", "ab")
        environment = dict(os.environ)
        if self.name == "apache":
            environment.setdefault("SERVER_JVMFLAGS", JVM_FLAGS)
        self.process = subprocess.Popen(["taskset", "-c", str(SERVER_CPU), *command], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, start_new_session=True, env=environment)

    def start(self):
        """Starts the process and waits until it serves."""
        self.launch()
        self.wait_for(self.is_serving, 0.1)
        return self

    def wait_for(self, is_done, pause):
        deadline = time.monotonic() + 180
        while not is_done():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "out.log").read_text(errors="replace")[-1500:]
                raise SystemExit(f"side-by-side: {self.name} does not serve; its last words:\n{tail}")
            time.sleep(pause)

    def is_serving(self):
        if self.name == "echo":
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        return "version" in self.four_letters("srvr")

    def four_letters(self, word):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                s.sendall(word.encode())
                chunks = iter(lambda: s.recv(65536), b"")
                return b"".join(chunks).decode(errors="replace")
        except OSError:
            return ""

    def metric(self, name):
        """A number that `mntr` tells, or 0."""
        lines = [line.split() for line in self.four_letters("mntr").splitlines()]
        return next((float(line[1]) for line in lines if len(line) == 2 and line[0] == name), 0.0)

    def version(self):
        first = self.four_letters("srvr").splitlines()[:1]
        return first[0].split("version:")[-1].split(",")[0].strip() if first else "unknown"

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    def stop(self):
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


def read_node(port, path):
    """The data of a node, over a session opened for it and closed afterwards; None while the server does not serve."""
    def send(s, body):
        s.sendall(struct.pack(">i", len(body)) + body)

    def receive(s):
        length = struct.unpack(">i", receive_exactly(s, 4))[0]
        return receive_exactly(s, length)

    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            send(s, struct.pack(">iqiqi16s?", 0, 0, 10_000, 0, 16, b"", False))
            receive(s)
            name = path.encode()
            send(s, struct.pack(f">iii{len(name)}s?", 1, 4, len(name), name, False))
            reply = receive(s)
            xid, _, error = struct.unpack_from(">iqi", reply)
            if (xid, error) != (1, 0):
                return None
            length = struct.unpack_from(">i", reply, 16)[0]
            send(s, struct.pack(">ii", 2, -11))
            receive(s)
            return reply[20:20 + length]
    except OSError:
        return None


def receive_exactly(s, count):
    data = b""
    while len(data) < count:
        part = s.recv(count - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return data


def run_measured(command, log):
    """Runs a program on the server CPU: its wall time, CPU time and peak memory."""
    with open(log, "wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(["taskset", "-c", str(SERVER_CPU), *command], stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"side-by-side: {' '.join(command)} failed: {Path(log).read_text(errors='replace')[-1500:]}")
    return {"seconds": seconds, "server_cpu_seconds": usage.ru_utime + usage.ru_stime,
            "server_resident_bytes": usage.ru_maxrss * 1024}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
