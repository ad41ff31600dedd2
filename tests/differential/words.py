#!/usr/bin/env python3
"""The 18 four-letter words on Apache ZooKeeper and on Ringkeeper: after the same requests the same lines, but for numbers,
ids, times and what describes the program itself. Servers as for run.py."""

import os
import re
import socket
import struct
import sys

from history import OPEN
from run import Server
from wire import Connection, acls, buffer, string

# What one of them has no word for: said here, line by line, with the reason.
ONLY_APACHE = {
    "envi": {"java.version", "java.vendor", "java.home", "java.class.path", "java.library.path", "java.io.tmpdir", "java.compiler",
             "jvm.memory.free", "jvm.memory.max", "jvm.memory.total"},  # there is no virtual machine
}
# Of mntr, the lines below the ones here describe threads, queues and roles that ZooKeeper has inside and this server has not.
MNTR = re.compile(
    r"zk_((avg|min|max|cnt|sum|p\d+)_(fsynctime|readlatency|updatelatency)|(avg|min|max)_latency|version|server_state|\w*_count|\w*znode\w*|"
    r"ephemerals\w*|num_alive\w*|outstanding_(requests|tls_handshake)|global_sessions|local_sessions|packets_\w+|approximate_data_size|uptime|"
    r"watch_\w+|connection_\w+|sessionless\w+|open_file\w+|max_file\w+|stale_\w+|throttled_ops|large_requests\w*|tls_handshake_exceeded|"
    r"unsuccessful_handshake|dead_watchers_\w+)$")
# fsync_threshold_exceed_count: Apache's admin server has it, its mntr has not. stall_count is ours.
INSIDE = re.compile(r"zk_((avg|min|max|cnt|sum|p\d+)_.*|(proposal|skip_learner_\w+|snapshot_error|restore_error|diff|commit|learner_\w+|looking|quit_\w+|revalidate|snapshot_rate\w*|"
                    r"restore_rate\w*|connection_revalidate|fsync_threshold_exceed|stall)_count)$")


def ask(port, word):
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(word)
        text = b""
        while chunk := connection.recv(1 << 16):
            text += chunk
    return text.decode()


def prepare(server):
    """Two sessions, some nodes, an ephemeral, watches of every kind."""
    first, second = Connection(server.port, server.sessions), Connection(server.port, server.sessions)
    create = lambda path, flags: string(path) + buffer(b"data") + acls(OPEN) + struct.pack(">i", flags)
    requests = [(first, 1, create("/w", 0)), (first, 1, create("/w/e", 1)), (second, 1, create("/w/f", 1)), (second, 4, string("/w") + b"\1"),
                (first, 3, string("/none") + b"\1"), (second, 8, string("/w") + b"\1"), (first, 5, string("/w") + buffer(b"x") + struct.pack(">i", -1)),
                (second, 4, string("/w") + b"\1"), (second, 4, string("/w/e") + b"\1")]
    for xid, (connection, op, body) in enumerate(requests, 1):
        connection.send_frame(struct.pack(">ii", xid, op) + body)
        connection.reply()
    return first, second


def lines(word, text):
    """Lines with every number masked, sorted where the order is that of a table, each kind once."""
    masked = []
    for line in text.splitlines():
        line = re.sub(r"0x[0-9a-f]+|(?<![\w.])-?\d+(\.\d+)*", "N", line)
        line = re.sub(r"/(N|127\.0\.0\.1|localhost)(:N|:\d+)?", "/ADDRESS", line)
        line = re.sub(r"(Zookeeper version|zk_version|zookeeper.version)([=: \t]+).*", r"\1\2VERSION", line)
        line = re.sub(r"(dataDir|dataLogDir)=.*", r"\1=FOLDER", line)
        line = re.sub(r"^[A-Z][a-z]{2} [A-Z][a-z]{2} .*(:)$", "TIME:", line)
        line = re.sub(r"lresp=[^,]*|lop=\w+", lambda match: match[0].split("=")[0] + "=X", line)
        if word in ("envi", "mntr"):
            line = re.split(r"[=\t]", line)[0]
        if word == "mntr" and (not MNTR.match(line) or INSIDE.match(line) and not re.search("fsynctime|latency$", line)):
            continue
        if word == "stmk" or word == "gtmk":
            line = "MASK"
        masked.append(line)
    return sorted(set(masked) - ONLY_APACHE.get(word, set()))


def main():
    servers = [Server(name, os.environ[variable]) for name, variable in (("apache", "ZK_APACHE_CMD"), ("ringkeeper", "ZK_SERVER_CMD"))]
    failed, words = 0, "conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs".split()
    try:
        sessions = [prepare(server) for server in servers]
        for word in words:
            sent = word.encode() + (struct.pack(">q", 306) if word == "stmk" else b"")
            texts = [ask(server.port, sent) for server in servers]
            apache, ours = (lines(word, text) for text in texts)
            missing, extra = sorted(set(apache) - set(ours)), sorted(set(ours) - set(apache))
            verdict = "ok" if not missing and not extra else "DIFFERS"
            print(f"{word}: {verdict}, {len(apache)} kinds of lines")
            failed += verdict != "ok"
            for title, wrong in (("only Apache", missing), ("only Ringkeeper", extra)):
                for line in wrong:
                    print(f"  {title}: {line!r}")
        del sessions
    finally:
        for server in servers:
            server.end()
    print(f"{len(words) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
