#!/usr/bin/env python3
"""Runs a command while a standalone server serves: server.py [--cfg k=v]... [--sysprop k=v]... -- COMMAND...

The server is $ZK_SERVER_CMD ({cfg} is the zoo.cfg; unset: Apache ZooKeeper) on a free port of 127.0.0.1. The command
finds it in $ZK_CONNECT, and "{connect}" among its arguments is replaced. SIGUSR1 to this process ($ZK_SUPERVISOR) kills
the server with SIGKILL and starts it again on the same data; its clients see only that their connections broke.
Exit status: the command's, or 3 if the server did not serve or ended by itself."""

import argparse
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20


def receive(connection, length):
    data = b""
    while len(data) < length:
        chunk = connection.recv(length - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def is_serving(port):
    """Opens and closes a session: only a server that grants one serves."""
    try:
        with socket.create_connection(("127.0.0.1", port), 3) as connection:
            body = struct.pack(">iqiq", 0, 0, 10000, 0) + struct.pack(">i", 16) + bytes(16) + b"\0"
            connection.sendall(struct.pack(">i", len(body)) + body)
            reply = receive(connection, struct.unpack(">i", receive(connection, 4))[0])
            connection.sendall(struct.pack(">iii", 8, 1, -11))
            receive(connection, 4)
            return struct.unpack(">i", reply[4:8])[0] > 0
    except (OSError, EOFError, struct.error):
        return False


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    def __init__(self, settings, properties):
        self.folder = tempfile.mkdtemp(prefix="zk-server-")
        self.port = free_port()
        self.config = os.path.join(self.folder, "zoo.cfg")
        self.output = os.path.join(self.folder, "server.out")
        self.command = (os.environ.get("ZK_SERVER_CMD") or os.path.join(HERE, "apache-server.sh") + " {cfg}").replace(
            "{cfg}", self.config)
        flags = " ".join("-D" + each for each in properties)
        self.environment = dict(os.environ, SERVER_JVMFLAGS=(os.environ.get("SERVER_JVMFLAGS", "") + " " + flags).strip())
        self.process = None
        lines = ["tickTime=2000", f"dataDir={self.folder}/data", "clientPortAddress=127.0.0.1", f"clientPort={self.port}",
                 "maxClientCnxns=0", "4lw.commands.whitelist=*", "admin.enableServer=false", *settings]
        names = [line.split("=")[0] for line in lines]
        lines = [line for at, line in enumerate(lines) if names[at] not in names[at + 1:]]
        os.makedirs(os.path.join(self.folder, "data"))
        with open(self.config, "w") as file:
            file.write("\n".join(lines) + "\n")

    def start(self):
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(["bash", "-c", "exec " + self.command], cwd=self.folder, env=self.environment,
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_serving(self.port):
            if not self.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server does not serve; its last words:\n" + self.last_words())
            time.sleep(0.05)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """True: it ended in time when told to."""
        if not self.is_alive():
            return True
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS_MAX)
            return True
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def last_words(self, lines=30):
        words = []
        for name in (self.output, os.path.join(self.folder, "zookeeper.log")):
            if os.path.exists(name):
                with open(name, errors="replace") as file:
                    words += file.readlines()[-lines:]
        return "".join(words)


def parse():
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", action="append", default=[], help="a line of zoo.cfg")
    parser.add_argument("--sysprop", action="append", default=[], help="a system property, without -D")
    options = parser.parse_args(sys.argv[1:split])
    command = sys.argv[split + 1:]
    if not command:
        parser.error("a command is missing, after --")
    return options, command


def run(server, command):
    server.start()
    connect = f"127.0.0.1:{server.port}"
    client = subprocess.Popen([part.replace("{connect}", connect) for part in command],
                              env=dict(os.environ, ZK_CONNECT=connect, ZK_SUPERVISOR=str(os.getpid())))
    restarts = []
    signal.signal(signal.SIGUSR1, lambda *_: restarts.append(1))
    try:
        while client.poll() is None:
            if restarts:
                restarts.clear()
                server.kill()
                server.start()
            elif not server.is_alive():
                raise RuntimeError("the server ended by itself; its last words:\n" + server.last_words())
            time.sleep(0.02)
        return client.returncode
    finally:
        if client.poll() is None:
            client.kill()


def main():
    options, command = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server(options.cfg, options.sysprop)
    status = 3
    try:
        status = run(server, command)
        if not server.stop():
            print(f"FAIL the server did not end within {STOP_SECONDS_MAX} s of SIGTERM")
            status = 3
    except RuntimeError as error:
        print(error)
    finally:
        server.stop()
        if status and os.environ.get("ZK_KEEP"):
            print("kept: " + server.folder)
        else:
            shutil.rmtree(server.folder, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
