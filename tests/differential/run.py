#!/usr/bin/env python3
"""One random history against Apache ZooKeeper and against Ringkeeper: every reply, Stat and event must be equal but for
times and ids. run.py --seed 1 --operations 20000; the servers: $ZK_APACHE_CMD and $ZK_SERVER_CMD with {cfg}."""

import argparse
import contextlib
import collections
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from history import History
from wire import Connection, Reader, buffer, decode, stat, string

SESSIONS = 8
WALK_EVERY = 2000
CONFIG = """tickTime=6000
dataDir={folder}/data
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
snapCount=3000
4lw.commands.whitelist=*
"""
SUPER = b"super:test"
PROPERTIES = {"zookeeper.DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
              "zookeeper.extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "3600000", "zookeeper.enforceQuota": "true"}


class Difference(Exception):
    pass


class Server:
    def __init__(self, name, command, data=None):
        self.name, self.command = name, command
        self.folder = tempfile.mkdtemp(prefix=f"zk-{name}-")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.config = os.path.join(self.folder, "zoo.cfg")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(folder=self.folder, port=self.port))
        if data:
            shutil.copytree(data, self.data())
        self.process = None
        self.start()

    def start(self):
        flags = " ".join(f"-D{key}={value}" for key, value in PROPERTIES.items())
        command = [part.replace("{cfg}", self.config) for part in shlex.split(self.command)]
        log = open(os.path.join(self.folder, "out"), "ab")
        self.process = subprocess.Popen(command, env=dict(os.environ, SERVER_JVMFLAGS=flags), stdin=subprocess.DEVNULL, stdout=log,
                                        stderr=log, start_new_session=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                # Only a server that grants a session serves; on both that takes two transactions.
                probe = Connection(self.port, {})
                if probe.answer is not None:
                    probe.send_frame(b"\0\0\0\1" + (-11).to_bytes(4, "big", signed=True))
                    probe.reply()
                    break
            except OSError:
                pass
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended: " + open(log.name).read()[-2000:])
            time.sleep(0.05)
        else:
            raise SystemExit(f"{self.name} does not serve")
        # `sessions` numbers the ids; after a restart the old ones are still known.
        self.sessions = getattr(self, "sessions", {})
        self.connections = [None] * SESSIONS

    def data(self):
        return os.path.join(self.folder, "data")

    def stop(self, how):
        os.killpg(self.process.pid, how)
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Run:
    def __init__(self, servers, seed, quotas=False):
        self.servers, self.seed = servers, seed
        self.history = History(seed, SESSIONS, quotas)
        self.last = collections.deque(maxlen=20)
        self.step = self.operations = 0
        self.ends = set()
        self.xids = [0] * SESSIONS

    def both(self, what, act):
        """`act` on both servers; what it returns must be equal."""
        self.last.append((self.step, what))
        results = []
        for server in self.servers:
            try:
                results.append(act(server))
            except TimeoutError:
                results.append(f"{server.name} does not answer")
        if results[0] != results[-1]:
            names = [server.name for server in self.servers]
            lines = [f"seed {self.seed}, step {self.step}: {what}"] + [f"  {name}: {result!r}" for name, result in zip(names, results)]
            raise Difference("\n".join(lines + ["before that:"] + [f"  {step}: {what!r:.300}" for step, what in self.last]))
        return results[0]

    def connect(self, session):
        def act(server):
            server.connections[session] = Connection(server.port, server.sessions)
            return server.connections[session].answer
        self.xids[session] = 0
        self.both(("connect", session), act)

    def reply(self, server, session, op):
        """What comes back for a request, in comparable form."""
        events, reply = server.connections[session].reply()
        if op == -11 and reply is not None:
            self.ends.add(reply[1])
        # In which order the nodes of an ended session go is nobody's promise (ZooKeeper: that of a hash set).
        events.sort(key=lambda event: (event[0], event) if event[0] in self.ends else (event[0],))
        if reply is None:
            server.connections[session].close()
            return events, None
        xid, zxid, err, body = reply
        return events, (xid, zxid, err, decode(op, body, server.sessions) if err == 0 else body)

    def request(self, session, requests):
        first = self.xids[session] + 1
        self.xids[session] += len(requests)
        for server in self.servers:
            for index, (op, body) in enumerate(requests):
                xid = {11: -2, 100: -4, 101: -8, 105: -8}.get(op, first + index)
                server.connections[session].send_frame(xid.to_bytes(4, "big", signed=True) + op.to_bytes(4, "big", signed=True) + body)
        for op, body in requests:
            self.operations += 1
            _, reply = self.both(("request", session, op, body), lambda server: self.reply(server, session, op))
            if reply is None:
                # Closed: both have said so. What was sent behind it is lost on both.
                self.connect(session)
                return False
        return True

    def reconnect(self, session, is_thief=False):
        def act(server):
            old = server.connections[session]
            password = bytes(15) + b"x" if is_thief else old.password
            new = Connection(server.port, server.sessions, old.session, password, old.seen)
            answer = (new.answer, new.session == old.session)
            # The old connection ends; events that were on their way to it may still come before that.
            while old.frame() is not None:
                pass
            old.close()
            server.connections[session] = new
            return answer
        answer, _ = self.both(("thief" if is_thief else "reconnect", session), act)
        if answer is None or answer[2] is None:
            self.connect(session)

    def run(self, operations):
        for session in range(SESSIONS):
            if any(server.connections[session] is None for server in self.servers):
                self.connect(session)
        for kind, session, *rest in self.history.steps():
            self.step += 1
            if kind == "request":
                self.request(session, [tuple(rest)])
            elif kind == "burst":
                self.request(session, rest[0])
            elif kind == "break":
                self.request(session, [rest[0]])
            elif kind == "end":
                if self.request(session, [(-11, b"")]):
                    self.both(("the stream ends", session), lambda server: server.connections[session].frame())
                    self.connect(session)
            else:
                self.reconnect(session, kind == "thief")
            if self.step % WALK_EVERY == 0:
                self.walk()
            if self.operations >= operations:
                break
        self.walk()

    def walk(self, is_restarted=False):
        """Every node of both trees, as nobody and as the one who may read everything sees it."""
        self.walk_as(None, is_restarted)
        return self.walk_as(SUPER, is_restarted)

    def walk_as(self, user, is_restarted):
        def act(server):
            connection = Connection(server.port, server.sessions)
            if user:
                connection.send_frame((-4).to_bytes(4, "big", signed=True) + struct.pack(">ii", 100, 0) + string("digest") + buffer(user))
                assert connection.reply()[1][2] == 0, "the super user is known"
            nodes, paths = {}, ["/"]
            while paths:
                path = paths.pop()
                connection.send_frame(b"\0\0\0\1\0\0\0\4" + string(path) + b"\0")
                _, (_, _, err, body) = connection.reply()
                data = None if err else (lambda reader: (reader.buffer(), stat(reader, server.sessions)))(Reader(body))
                connection.send_frame(b"\0\0\0\2\0\0\0\6" + string(path))
                _, (_, _, acl_err, body) = connection.reply()
                acl = None if acl_err else decode(6, body, server.sessions)
                if is_restarted and path.endswith("/zookeeper_stats") and data and acl:
                    # Counted anew at the start by one, carried on by the other.
                    data, acl = (b"", data[1][:7] + data[1][8:]), acl[0][0]
                nodes[path] = (err, data, acl_err, acl)
                connection.send_frame(b"\0\0\0\3\0\0\0\x08" + string(path) + b"\0")
                _, (_, _, err, body) = connection.reply()
                if err == 0:
                    paths += [path.rstrip("/") + "/" + name for name in sorted(Reader(body).strings())]
            connection.send_frame(b"\0\0\0\4" + (-11).to_bytes(4, "big", signed=True))
            connection.reply()
            connection.close()
            return nodes
        self.last.append((self.step, f"walk as {user}"))
        results = [act(server) for server in self.servers]
        wrong = [path for path in sorted(set(results[0]) | set(results[-1])) if results[0].get(path) != results[-1].get(path)]
        if wrong:
            lines = [f"seed {self.seed}, step {self.step}: the trees differ at {len(wrong)} paths"]
            for path in wrong[:5]:
                lines += [f"  {path}"] + [f"    {server.name}: {result.get(path)!r}" for server, result in zip(self.servers, results)]
            below = [result for path, result in results[-1].items() if path == "/h" or path.startswith("/h/")]
            lines.append(f"below /h: {len(below)} nodes")
            raise Difference("\n".join(lines))
        return len(results[0])


@contextlib.contextmanager
def verdict():
    """Around a whole run: gives the list its servers go into, ends them, says how it went."""
    servers = []
    try:
        yield servers
        print("1 passed, 0 failed")
    except Difference as difference:
        print(difference)
        print("0 passed, 1 failed")
        sys.exit(1)
    finally:
        for server in servers:
            server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--quotas", action="store_true", help="small quotas everywhere")
    arguments = parser.parse_args()
    with verdict() as servers:
        for name, variable in (("apache", "ZK_APACHE_CMD"), ("ringkeeper", "ZK_SERVER_CMD")):
            servers.append(Server(name, os.environ[variable]))
        run = Run(servers, arguments.seed, arguments.quotas)
        run.run(arguments.operations)
        # Both start again, ours after kill -9; ephemerals live as long as their sessions.
        servers[0].stop(signal.SIGTERM)
        servers[1].stop(signal.SIGKILL)
        for server in servers:
            server.start()
        nodes = run.walk(is_restarted=True)
        print(f"seed {arguments.seed}: {run.operations} operations in {run.step} steps, {nodes} nodes at the end: equal, also after a restart")


if __name__ == "__main__":
    main()
