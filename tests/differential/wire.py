"""A small client of the ZooKeeper protocol: bytes in, decoded answers out. Shares nothing with the server's code."""

import socket
import struct

STAT = struct.Struct(">qqqqiiiqiiq")


def string(text):
    return buffer(text.encode("utf-8", "surrogatepass"))


def buffer(data):
    return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data


def strings(items):
    return struct.pack(">i", len(items)) + b"".join(string(item) for item in items)


def acls(entries):
    return struct.pack(">i", len(entries)) + b"".join(
        struct.pack(">i", perms) + string(scheme) + string(name) for perms, scheme, name in entries)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError(f"{count} bytes wanted, {len(self.data) - self.at} left")
        self.at += count
        return self.data[self.at - count:self.at]

    def int(self):
        return struct.unpack(">i", self.take(4))[0]

    def long(self):
        return struct.unpack(">q", self.take(8))[0]

    def bool(self):
        return self.take(1) != b"\0"

    def buffer(self):
        length = self.int()
        return None if length < 0 else self.take(length)

    def string(self):
        data = self.buffer()
        return None if data is None else data.decode("utf-8", "replace")

    def strings(self):
        return [self.string() for _ in range(self.int())]

    def rest(self):
        return self.take(len(self.data) - self.at)


class Connection:
    """One socket with one session. `sessions` numbers session ids in the order of their creation."""

    def __init__(self, port, sessions, session=0, password=bytes(16), seen=0, timeout=100_000):
        self.sessions, self.seen, self.events = sessions, seen, []
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inbox = b""
        self.send_frame(struct.pack(">iqiq", 0, seen, timeout, session) + buffer(password) + b"\0")
        frame = self.frame()
        self.session, self.password = 0, b""
        self.answer = None
        if frame is not None:
            reader = Reader(frame)
            version, negotiated, self.session = reader.int(), reader.int(), reader.long()
            self.password = reader.buffer()
            if self.session:
                sessions.setdefault(self.session, len(sessions))
            self.answer = (version, negotiated, sessions.get(self.session), len(self.password), reader.rest())

    def send_frame(self, body):
        self.send_raw(struct.pack(">i", len(body)) + body)

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # closed: the next read says so

    def frame(self):
        """The next frame; None at the end of the stream."""
        while True:
            if len(self.inbox) >= 4:
                length = struct.unpack(">i", self.inbox[:4])[0]
                if len(self.inbox) >= 4 + length:
                    frame, self.inbox = self.inbox[4:4 + length], self.inbox[4 + length:]
                    return frame
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self.inbox += data

    def reply(self):
        """The events before the next reply, and the reply: (xid, zxid, err, body); None at the end of the stream."""
        events = []
        while True:
            frame = self.frame()
            if frame is None:
                return events, None
            reader = Reader(frame)
            xid, zxid, err = reader.int(), reader.long(), reader.int()
            if xid != -1:
                self.seen = max(self.seen, zxid)
                return events, (xid, zxid, err, reader.rest())
            events.append((zxid, err, reader.int(), reader.int(), reader.string(), reader.rest()))

    def close(self):
        self.socket.close()


def stat(reader, sessions):
    """Times become their relation, session ids their number."""
    czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid = STAT.unpack(reader.take(STAT.size))
    owner = ("session", sessions[owner]) if owner in sessions else owner
    # A create and a setData of one burst may fall into one millisecond or not.
    times = "no later" if mzxid != czxid and ctime <= mtime else (ctime > mtime) - (ctime < mtime)
    return (czxid, mzxid, times, version, cversion, aversion, owner, length, children, pzxid)


def multi(reader, sessions):
    results = []
    while True:
        kind, done, err = reader.int(), reader.bool(), reader.int()
        if done:
            return results + [("end", kind, err)]
        body = {
            -1: lambda: reader.int(),
            1: lambda: reader.string(),
            15: lambda: (reader.string(), stat(reader, sessions)),
            5: lambda: stat(reader, sessions),
            4: lambda: (reader.buffer(), stat(reader, sessions)),
            8: lambda: sorted(reader.strings()),
        }.get(kind, lambda: None)()
        results.append((kind, err, body))


def decode(op, body, sessions):
    """The body of a reply in a form that two servers must agree on."""
    reader = Reader(body)
    decoders = {
        1: lambda: reader.string(),
        15: lambda: (reader.string(), stat(reader, sessions)),
        19: lambda: (reader.string(), stat(reader, sessions)),
        21: lambda: (reader.string(), stat(reader, sessions)),
        3: lambda: stat(reader, sessions),
        4: lambda: (reader.buffer(), stat(reader, sessions)),
        5: lambda: stat(reader, sessions),
        6: lambda: ([(reader.int(), reader.string(), reader.string()) for _ in range(reader.int())], stat(reader, sessions)),
        7: lambda: stat(reader, sessions),
        8: lambda: sorted(reader.strings()),
        12: lambda: (sorted(reader.strings()), stat(reader, sessions)),
        14: lambda: multi(reader, sessions),
        22: lambda: multi(reader, sessions),
        103: lambda: sorted(reader.strings()),
        107: lambda: sorted((reader.string(), reader.string()) for _ in range(reader.int())),
    }
    if op not in decoders or not body:
        return body
    value = decoders[op]()
    return value, reader.rest()
