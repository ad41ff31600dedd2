#!/usr/bin/env python3
"""Malformed requests: each opcode in each way of being malformed, and malformed handshakes, against Apache ZooKeeper and
against Ringkeeper. Replies and the fate of the connection must be equal, but where Apache itself errs (OURS).
malformed.py [--only TEXT] [--record FILE]; the servers as for run.py. FILE gets the right answers, which tests/malformed.rs
replays without Java."""

import argparse
import json
import os
import random
import socket
import struct

from history import OPEN
from run import Difference, Server, verdict
from wire import Connection, Reader, acls, buffer, string, strings

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
PROBE_XID = 30_000
NODE = "/m/node"  # of the case; made before it where it must exist
FLAGS, VERSION, WATCH, KIND, MODE = ("flags", "i", 0), ("version", "i", -1), ("watch", "z", 0), ("kind", "i", 2), ("mode", "i", 0)
PATH, PARENT = ("path", "s", NODE), ("path", "s", "/m/parent")
DATA, ACL = ("data", "b", b"data"), ("acl", "a", OPEN)
CREATE = [PATH, DATA, ACL, FLAGS]
LISTS = [(name, "v", ["/m/parent", "/m/none"]) for name in ("data", "exist", "child", "persistent", "recursive")]
# Name and body of every opcode that is a request.
OPCODES = {
    1: ("create", CREATE), 2: ("delete", [PATH, VERSION]), 3: ("exists", [PARENT, WATCH]), 4: ("getData", [PARENT, WATCH]),
    5: ("setData", [PATH, DATA, VERSION]), 6: ("getACL", [PARENT]), 7: ("setACL", [PATH, ACL, VERSION]),
    8: ("getChildren", [PARENT, WATCH]), 9: ("sync", [PARENT]), 11: ("ping", []), 12: ("getChildren2", [PARENT, WATCH]),
    13: ("check", [PARENT, VERSION]), 15: ("create2", CREATE),
    16: ("reconfig", [("joining", "s", ""), ("leaving", "s", ""), ("members", "s", ""), ("config", "l", -1)]),
    17: ("checkWatches", [PARENT, KIND]), 18: ("removeWatches", [PARENT, KIND]), 19: ("createContainer", CREATE[:3] + [("flags", "i", 4)]),
    20: ("deleteContainer", [PATH]), 21: ("createTTL", CREATE[:3] + [("flags", "i", 5), ("ttl", "l", 1_000_000)]),
    100: ("auth", [("type", "i", 0), ("scheme", "s", "digest"), ("auth", "b", b"ann:secret")]),
    101: ("setWatches", [("zxid", "l", 1 << 40)] + LISTS[:3]), 102: ("sasl", [("token", "b", b"token")]),
    103: ("getEphemerals", [("prefix", "s", "/")]), 104: ("getAllChildrenNumber", [PARENT]),
    105: ("setWatches2", [("zxid", "l", 1 << 40)] + LISTS), 106: ("addWatch", [PARENT, MODE]), 107: ("whoAmI", []), -11: ("closeSession", []),
}
# What may stand in a multi, and in a multiRead.
IN_MULTI, IN_MULTI_READ = (1, 2, 5, 13, 15, 19, 21), (4, 8)
NEEDS_NODE = {2, 5, 7, 20}


def integer(value):
    return struct.pack(">i", value)


def encode(kind, value):
    return {"s": string, "b": buffer, "a": acls, "v": strings, "i": integer, "l": lambda value: struct.pack(">q", value),
            "z": lambda value: bytes([value])}[kind](value)


def lengths(whole, size):
    """Wrong lengths in front of bytes."""
    for name, length in (("null", -1), ("-2", -2), ("least", INT_MIN), ("one more", size + 1), ("above jute.maxbuffer", 1 << 20),
                         ("above twice of it", 3 << 20), ("largest", INT_MAX)):
        yield name, integer(length) + (b"" if length < 0 else whole[4:])
    yield "-2, then bytes", integer(-2) + whole[4:]
    yield "empty", integer(0)


def entry(scheme, name, perms=31):
    as_bytes = lambda text: integer(text) if isinstance(text, int) else string(text)
    return integer(perms) + as_bytes(scheme) + as_bytes(name)


def wrong(kind, value):
    """(what is wrong, bytes) of a field."""
    whole = encode(kind, value)
    if kind in "sb":
        yield from lengths(whole, len(whole) - 4)
        if kind == "s":
            for name, text in (("not UTF-8", b"/m/\xff\xc3("), ("NUL", b"/m/a\0b"), ("relative", b"m"), ("a blank", b" "), ("a surrogate", b"/m/\xed\xa0\x80"),
                               ("beyond the basic plane", "/m/\U0001f600".encode()), ("a slash at the end", b"/m/parent/"), ("the root", b"/")):
                yield name, buffer(text)
    elif kind in "av":
        for name, count in (("null", -1), ("-2", -2), ("least", INT_MIN), ("none", 0), ("one more", len(value) + 1), ("largest", INT_MAX)):
            yield name + " entries", integer(count) + (b"" if count <= 0 else whole[4:])
        yield "-2 entries, then entries", integer(-2) + whole[4:]
        if kind == "v":
            for name, element in (("null", integer(-1)), ("-2", integer(-2)), ("largest", integer(INT_MAX)), ("empty", integer(0)), ("relative", string("m")),
                                  ("NUL", string("/m/a\0b")), ("not UTF-8", buffer(b"/m/\xff"))):
                yield name + " as an entry", integer(1) + element
                yield name + " behind an entry", integer(2) + string("/m/none") + element
        else:
            for scheme in ("world", "auth", "digest", "ip", "sasl", "x509", "super", "none", "", -1, -2, INT_MAX):
                for name in (-1, -2, INT_MAX, "", "x", "anyone"):
                    if isinstance(scheme, int) and scheme != -1 and name != "anyone":
                        continue
                    yield f"entry {scheme!r}:{name!r}", integer(1) + entry(scheme, name)
            yield "null id behind an entry", integer(2) + entry("world", "anyone") + entry("digest", -1)
            yield "null scheme behind an entry", integer(2) + entry("world", "anyone") + entry(-1, "anyone")
            yield "null id twice", integer(2) + entry("ip", -1) + entry("ip", -1)
            yield "all nulls before an entry", integer(2) + entry(-1, -1) + entry("world", "anyone")
            for perms in (0, -1, 32, INT_MIN):
                yield f"permissions {perms}", integer(1) + entry("world", "anyone", perms)
    elif kind == "z":
        for number in (1, 2, 255):
            yield str(number), bytes([number])
    else:
        numbers = (*range(-3, 8), 99, INT_MIN, INT_MAX) if kind == "i" else (-2, -1, 0, 1, -(1 << 63), (1 << 63) - 1)
        for number in numbers:
            yield str(number), encode(kind, number)


def bodies(fields):
    """(what is wrong, bytes) of a whole record."""
    parts = [encode(kind, value) for _, kind, value in fields]
    yield "right", b"".join(parts)
    for index, (name, kind, value) in enumerate(fields):
        before, after = b"".join(parts[:index]), b"".join(parts[index + 1:])
        for what, part in wrong(kind, value):
            yield f"{name}: {what}", before + part + after
        for at in sorted({0, 1, len(parts[index]) // 2, len(parts[index]) - 1}):
            yield f"cut in {name} at {at}", before + parts[index][:at]
        if kind == "s":
            yield f"{name}: null, and cut", before + integer(-1)
    yield "a byte behind it", b"".join(parts) + b"\0"
    yield "bytes behind it", b"".join(parts) + b"\xff" * 40


def header(op, done=0, err=-1):
    return struct.pack(">iBi", op, done, err)


END = header(-1, 1)


def multis(ops, others):
    """(what is wrong, bytes) of a multi or multiRead."""
    right = lambda op: b"".join(encode(kind, value) for _, kind, value in OPCODES[op][1])
    first = header(ops[0]) + right(ops[0])
    good = header(13) + string("/m/parent") + integer(-1) if 13 in ops else first
    yield "empty", END
    yield "no bytes", b""
    for op in ops:
        for what, body in bodies(OPCODES[op][1]):
            yield f"{OPCODES[op][0]}, {what}", header(op) + body + END
            if "null" in what:
                yield f"{OPCODES[op][0]}, {what}, behind a right one", good + header(op) + body + END
        yield f"{OPCODES[op][0]}, no end", header(op) + right(op)
    for op in (0, -1, -11, 3, 6, 7, 9, 11, 12, 14, 16, 20, 22, 23, 99, 100, INT_MIN, INT_MAX) + others:
        body = right(op) if op in OPCODES else b""
        yield f"type {op}", header(op) + body + END
        yield f"type {op} behind a right one", first + header(op) + body + END
    for op, done, err in ((-1, 0, -1), (1, 1, -1), (-1, 2, -1), (-1, 1, 0), (5, 255, 7), (-2, 1, INT_MIN)):
        yield f"end of type {op}, done {done}, err {err}", first + header(op, done, err)
        yield f"only the end, of type {op}, done {done}, err {err}", header(op, done, err)
    yield "err of 7 in front", header(ops[0], 0, 7) + right(ops[0]) + END
    yield "bytes behind the end", first + END + b"\0" * 7
    yield "two ends", first + END + END
    for at in range(9):
        yield f"cut in the end at {at}", first + END[:at]
        yield f"only {at} bytes of the end", END[:at]


def requests():
    """(name, opcode, xid, body, whether the node must be there) of every case after the handshake."""
    for op, (name, fields) in OPCODES.items():
        for what, body in bodies(fields):
            yield f"{name}, {what}", op, 7, body, op in NEEDS_NODE
        for xid in (0, -1, -2, -4, -8, INT_MIN, INT_MAX):
            yield f"{name}, xid {xid}", op, xid, b"".join(encode(kind, value) for _, kind, value in fields), op in NEEDS_NODE
    for op, ops, others, name in ((14, IN_MULTI, IN_MULTI_READ, "multi"), (22, IN_MULTI_READ, IN_MULTI, "multiRead")):
        for what, body in multis(ops, others):
            yield f"{name}, {what}", op, 7, body, any(f"{OPCODES[inner][0]}, " in what for inner in NEEDS_NODE)
    for op in (0, -1, -2, -10, 10, 23, 24, 99, 108, 1000, INT_MIN, INT_MAX):
        for body in (b"", b"\0", string("/m/parent") + b"\0", integer(-1), integer(20_000)):
            yield f"opcode {op}, {len(body)} bytes {body[:4].hex()}", op, 7, body, False
    for number, flags in ((5, "ttl"), (6, "sequential ttl"), (4, "container"), (1, "ephemeral"), (3, "sequential ephemeral")):
        for ttl in (-(1 << 63), -1, 0, 1, 1 << 39, 1 << 40, (1 << 63) - 1):
            yield f"createTTL, {flags} for {ttl}", 21, 7, string(NODE) + buffer(b"") + acls(OPEN) + struct.pack(">iq", number, ttl), False


def frames():
    """(name, bytes) of frames that are no requests, after the handshake."""
    for length in range(8):
        yield f"a frame of {length} bytes", buffer(b"\0\0\0\7\0\0\0\3"[:length])
    for length in (-1, -2, INT_MIN, INT_MAX, 1 << 20, 1 << 24):
        yield f"a frame of length {length}", integer(length)
    for word in (b"ruok", b"srvr", b"GET "):
        yield f"the word {word.decode()}", word


def handshakes():
    """(name, bytes) of what begins a connection."""
    right = struct.pack(">iqiq", 0, 0, 10_000, 0) + buffer(bytes(16)) + b"\0"
    for length in range(len(right) + 1):
        yield f"a connect request of {length} bytes", buffer(right[:length])
    yield "bytes behind it", buffer(right + b"\0" * 9)
    for length in (-1, -2, INT_MIN, 0, 1, 15, 17, 18, 1 << 20, INT_MAX):
        yield f"a password of length {length}", buffer(right[:24] + integer(length) + right[28:])
        yield f"a password of length {length} and no bytes", buffer(right[:24] + integer(length))
    for password in (-1, 0, 3, 15, 17):
        body = integer(-1) if password < 0 else buffer(bytes(password))
        yield f"a password of {password} bytes", buffer(right[:24] + body + b"\0")
        yield f"a password of {password} bytes for a session that is none", buffer(struct.pack(">iqiq", 0, 0, 10_000, 77) + body + b"\0")
    for version in (1, -1, INT_MIN, INT_MAX):
        yield f"version {version}", buffer(integer(version) + right[4:])
    for zxid in (-1, -(1 << 63), 1 << 40, (1 << 63) - 1):
        yield f"last zxid {zxid}", buffer(struct.pack(">iqiq", 0, zxid, 10_000, 0) + buffer(bytes(16)) + b"\0")
    for timeout in (0, -1, INT_MIN, INT_MAX):
        yield f"timeout {timeout}", buffer(struct.pack(">iqiq", 0, 0, timeout, 0) + buffer(bytes(16)) + b"\0")
    for session in (-1, 1, -(1 << 63), (1 << 63) - 1):
        yield f"session {session}", buffer(struct.pack(">iqiq", 0, 0, 10_000, session) + buffer(bytes(16)) + b"\0")
    for flag in (1, 2, 255):
        yield f"readOnly {flag}", buffer(right[:-1] + bytes([flag]))
    for length in (-1, -2, INT_MIN, INT_MAX, 1 << 20):
        yield f"a first frame of length {length}", integer(length)
    for name, op, body in (("exists", 3, string("/") + b"\0"), ("ping", 11, b""), ("auth", 100, integer(0) + string("digest") + buffer(b"a:b")), ("closeSession", -11, b"")):
        yield f"{name} as the first frame", buffer(struct.pack(">ii", 1, op) + body)


# Where Apache errs, ours answers cleanly: what the names begin with, and why.
OURS = {
    "opcode -10, ": "a client's createSession makes a session that nobody asked for",
}


# What only ours is asked.
ONLY_OURS = {f"createTTL, {flags} for {ttl}" for flags in ("container", "ephemeral", "sequential ephemeral") for ttl in (-1, -(1 << 63))}


def cases():
    for name, data in handshakes():
        yield {"name": "handshake: " + name, "send": data}
    for name, data in frames():
        yield {"name": name, "op": 0, "send": data}
    for name, op, xid, body, needs_node in requests():
        node = {"node": True} if needs_node else {}
        yield {"name": name, "op": op, **node, "send": buffer(struct.pack(">ii", xid, op) + body)}


def random_cases(seed, count):
    """Right bodies with a few random changes."""
    draw = random.Random(seed)
    # A createTTL with any numbers is asked of ours only (above).
    right = [(op, b"".join(encode(kind, value) for _, kind, value in fields)) for op, (_, fields) in OPCODES.items() if op != 21 and fields]
    right += [(op, body) for op, ops, others in ((14, IN_MULTI, IN_MULTI_READ), (22, IN_MULTI_READ, IN_MULTI))
              for what, body in multis(ops, others) if "right" in what and "cut" not in what]
    numbers = [integer(number) for number in (-1, -2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 255, INT_MIN, INT_MAX, 1 << 20)]
    for index in range(count):
        op, body = draw.choice(right)
        for _ in range(draw.choice((1, 1, 2, 3, 5))):
            at, size = draw.randrange(len(body) + 1), draw.choice((1, 2, 4, 4, 8))
            body = draw.choice((
                lambda: body[:at] + bytes([draw.randrange(256)]) + body[at + 1:],
                lambda: body[:at] + draw.choice(numbers) + body[at + 4:],
                lambda: body[:at] + draw.choice(numbers) + body[at:],
                lambda: body[:at] + body[at + size:],
                lambda: body[:at] + body[max(0, at - size):],
                lambda: body[:at],
            ))()
        yield {"name": f"random {seed}, {index}: opcode {op}", "op": op, "node": True, "send": buffer(struct.pack(">ii", 7, op) + body)}


def call(connection, op, body):
    connection.send_frame(struct.pack(">ii", PROBE_XID, op) + body)
    return connection.reply()[1]


def normal(op, body):
    """A reply's body without times, ids and zxids, lists in one order; of a multi's results only their length."""
    if op == 14 or op == 22:
        return f"{len(body)} bytes"
    node = b""
    if op in (3, 4, 5, 6, 7, 12, 15, 19, 21) and len(body) >= 68:
        # Of a Stat version, cversion, aversion; dataLength, numChildren.
        body, node = body[:-68], body[-36:-24] + body[-16:-8]
    if op in (8, 12, 103) and body:
        body = b"".join(sorted(string(name) for name in Reader(body).strings()))
    return (body + node).hex()


def replies(connection, op, base):
    """What came up to the answer to the probe, a line each, and the fate of the connection."""
    found = []
    while True:
        frame = connection.frame()
        if frame is None:
            return found + ["closed"]
        reader = Reader(frame)
        if len(frame) < 16:
            found.append("not a reply: " + frame.hex())
            continue
        xid, zxid, err = reader.int(), reader.long(), reader.int()
        if xid == PROBE_XID:
            # An answer may have been on its way when the end was decided.
            if call(connection, 3, string("/") + b"\0") is None:
                return found + ["closed"]
            return found + [f"open zxid +{zxid - base}"]
        zxid = f"+{zxid - base}" if zxid > 0 else str(zxid)
        found.append(f"xid {xid} zxid {zxid} err {err} {normal(op, reader.rest())}".strip())


def handshake(server, case):
    """The length of the answer, what it grants, and whether a request is answered then."""
    connection = Connection.__new__(Connection)
    connection.socket, connection.inbox, connection.seen = socket.create_connection(("127.0.0.1", server.port), 30), b"", 0
    connection.send_raw(case["send"])
    try:
        frame = connection.frame()
        if frame is None:
            return ["closed"]
        _, timeout, session = struct.unpack(">iiq", frame[:16])
        granted = f"{len(frame)} bytes, {timeout} ms, " + ("a session" if session else "none")
        is_open = call(connection, 3, string("/") + b"\0") is not None
        if session:
            call(connection, -11, b"")
        return [granted, "open" if is_open else "closed"]
    finally:
        connection.close()


def play(server, case):
    if "op" not in case:
        return handshake(server, case)
    if case.get("node"):
        # What asks for the end of a container finds one.
        op, flags = (19, 4) if case["op"] == 20 else (1, 0)
        call(server.helper, op, string(NODE) + buffer(b"data") + acls(OPEN) + integer(flags))
    connection = Connection(server.port, server.sessions, timeout=10_000)
    _, base, _, _ = call(connection, 3, string("/") + b"\0")
    # The probe is read behind the case: its answer says that the connection lives.
    connection.send_raw(case["send"])
    connection.send_frame(struct.pack(">ii", PROBE_XID, 3) + string("/") + b"\0")
    try:
        found = replies(connection, case["op"], base)
    except TimeoutError:
        found = ["no answer"]
    connection.close()
    again = Connection(server.port, server.sessions, connection.session, connection.password)
    if again.session:
        call(again, -11, b"")
    again.close()
    clear(server)
    return found


def clear(server):
    """Only what `prepare` has made is left."""
    children = Reader(call(server.helper, 8, string("/m") + b"\0")[3]).strings()
    for name in children:
        if name != "parent":
            call(server.helper, 2, string("/m/" + name) + integer(-1))


def prepare(server):
    server.helper = Connection(server.port, server.sessions)
    for path in ("/m", "/m/parent", "/m/parent/child"):
        assert call(server.helper, 1, string(path) + buffer(b"data") + acls(OPEN) + integer(0))[2] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only cases whose name has this text")
    parser.add_argument("--record", help="the file for the right answers")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N cases with random changes instead")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    right, differences, exceptions, names = [], [], 0, set()
    with verdict() as servers:
        for name, variable in (("apache", "ZK_APACHE_CMD"), ("ringkeeper", "ZK_SERVER_CMD")):
            servers.append(Server(name, os.environ[variable]))
        for server in servers:
            prepare(server)
        for case in random_cases(arguments.seed, arguments.random) if arguments.random else cases():
            assert case["name"] not in names, case["name"]
            names.add(case["name"])
            if arguments.only and arguments.only not in case["name"]:
                continue
            try:
                answers = [play(server, case) for server in servers[case["name"] in ONLY_OURS:]]
            except OSError as error:
                raise Difference(f"{case['name']}: {error}; ended: {[server.name for server in servers if server.process.poll() is not None]}")
            is_ours = next((reason for start, reason in OURS.items() if case["name"].startswith(start)), None)
            if answers[0] == answers[-1] or is_ours:
                exceptions += answers[0] != answers[-1]
                right.append({**case, "send": case["send"].hex(), "right": answers[-1]})
            else:
                differences.append(f"{case['name']}: {case['send'].hex()[:200]}\n  apache:     {answers[0]}\n  ringkeeper: {answers[-1]}")
        print(f"{len(right) + len(differences)} cases, {len(differences)} answered otherwise, {exceptions} where Apache errs")
        if differences:
            raise Difference("\n".join(differences))
    if arguments.record:
        with open(arguments.record, "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(case) for case in right) + "\n]\n")


if __name__ == "__main__":
    main()
