"""A random history of requests: a seed decides all of it. Each step is one request of one of several sessions, or
something else that clients do (a new session, a lost connection, a burst)."""

import random
import struct

from wire import acls, buffer, string, strings

OPEN = [(31, "world", "anyone")]
EPHEMERAL, SEQUENTIAL, CONTAINER, TTL, TTL_SEQUENTIAL = 1, 2, 4, 5, 6
# Paths of every kind of badness; what is wrong with each is for the servers to agree on.
BAD_PATHS = ["", "a", "//", "/a//b", "/a/", "/.", "/..", "/a/./b", "/a/../b", "/a\u0001", "/a\u007f", "/a\u009f", "/\ufff0",
             "/\ud800", "/\uf8ff", "/a\u0000b", "/...", "/.a", "/a b", "/\u00e9\u4e2d", "/zookeeper", "/zookeeper/config",
             "/zookeeper/quota", "/zookeeper/none", "/h" + "/x" * 50]
BAD_ACLS = [[], [(31, "world", "nobody")], [(31, "none", "x")], [(31, "digest", "no-colon")], [(31, "ip", "300.1.1.1")],
            [(31, "ip", "127.0.0.1/99")], [(0, "world", "anyone")], [(31, "", "")], [(99, "world", "anyone")]]
GOOD_ACLS = [OPEN, OPEN, [(1, "world", "anyone")], [(31, "digest", "ann:HASH")], [(31, "auth", "")], [(31, "ip", "127.0.0.1")],
             [(31, "ip", "10.0.0.0/8")], [(30, "world", "anyone"), (1, "ip", "127.0.0.0/24")], OPEN + OPEN]
USERS = [b"ann:secret", b"bob:secret", b"eve", b":", b"a:b:c"]


# Quotas so small that they are met all the time, written as tools write them and as they do not.
SMALL_LIMITS = [b"count=-1,bytes=-1=;byteHardLimit=300;countHardLimit=6", b"count=2,bytes=50", b"count=-1,bytes=-1=;byteHardLimit=0",
                b"count=1,bytes=1=;countHardLimit=3", b"byteHardLimit=1000;countHardLimit=12", b"countHardLimit=0", b"bytes=5,byteHardLimit=2500", b"",
                b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=-1", b"count==4;;,byteHardLimit=+700", b"count=4,count=9,countHardLimit=1,countHardLimit=9"]
# What a usage may be said to be; only what can be read.
USAGES = [b"count=1,bytes=2", b"count=-5,bytes=-7=;byteHardLimit=-1;zzz=4;aaa=-9", b"bytes=5", b"", b"count=9223372036854775807,bytes=9223372036854775800",
          b"count=-9223372036854775808,bytes=-9223372036854775808", b"bytes==1,count=+3", b"count=1000000,bytes=1000000"]
QUOTA_ROOT = "/zookeeper/quota"


class History:
    """With `quotas` small ones come and go everywhere, also in multis. Nothing is then sent in bursts: ZooKeeper compares with the
    usage that has been applied by then."""

    def __init__(self, seed, sessions, quotas=False):
        self.random = random.Random(seed)
        self.sessions, self.quotas = sessions, quotas

    def path(self):
        draw = self.random
        if draw.random() < 0.04:
            return draw.choice(BAD_PATHS)
        parts = [draw.choice("abcd") for _ in range(draw.choice([1, 1, 2, 2, 2, 3]))]
        return "/h/" + "/".join(parts) if draw.random() < 0.95 else "/h"

    def data(self):
        draw = self.random
        return draw.choice([None, b"", b"x", bytes(draw.randrange(200)), b"\xff" * draw.randrange(3000)])

    def version(self):
        return self.random.choice([-1, -1, -1, 0, 1, 2, 7, -2])

    def acl(self):
        return self.random.choice(BAD_ACLS if self.random.random() < 0.1 else GOOD_ACLS)

    def watch(self):
        return b"\1" if self.random.random() < 0.3 else b"\0"

    def create(self, in_multi=False):
        """Operation and body. Inside a multi the operation does not say what the flags must be."""
        draw = self.random
        flags = draw.choice([0, 0, 0, EPHEMERAL, SEQUENTIAL, EPHEMERAL | SEQUENTIAL] if draw.random() < 0.9 else [7, -1, 99])
        op = draw.choice([1, 1, 15])
        body = string(self.path()) + buffer(self.data()) + acls(self.acl())
        kind = draw.random()
        if kind < 0.08:
            return 19, body + struct.pack(">i", CONTAINER)
        if kind < 0.16 and not in_multi:
            return 21, body + struct.pack(">iq", draw.choice([TTL, TTL_SEQUENTIAL]), draw.choice([1_000_000_000, 5_000_000_000]))
        return op, body + struct.pack(">i", flags)

    def write(self, in_multi=False):
        if self.quotas and self.random.random() < 0.15:
            return self.small_quota()
        draw = self.random.random()
        if draw < 0.45:
            return self.create(in_multi)
        if draw < 0.65:
            return 2, string(self.path()) + struct.pack(">i", self.version())
        if draw < 0.9 or in_multi:
            return 5, string(self.path()) + buffer(self.data()) + struct.pack(">i", self.version())
        return 7, string(self.path()) + acls(self.acl()) + struct.pack(">i", self.version())

    def multi(self):
        body = b""
        for _ in range(self.random.choice([0, 1, 2, 3, 5])):
            if self.random.random() < 0.2:
                op, inner = 13, string(self.path()) + struct.pack(">i", self.version())
            else:
                op, inner = self.write(True)
            body += struct.pack(">i?i", op, False, -1) + inner
        return 14, body + struct.pack(">i?i", -1, True, -1)

    def multi_read(self):
        body = b""
        for _ in range(self.random.choice([0, 1, 3])):
            body += struct.pack(">i?i", self.random.choice([4, 8]), False, -1) + string(self.path()) + b"\0"
        return 22, body + struct.pack(">i?i", -1, True, -1)

    def set_watches(self):
        paths = lambda: strings([self.path() for _ in range(self.random.randrange(3))])
        relative = struct.pack(">q", self.random.choice([0, 50, 1 << 40]))
        if self.random.random() < 0.5:
            return 101, relative + paths() + paths() + paths()
        return 105, relative + paths() + paths() + paths() + paths() + paths()

    def small_quota(self):
        draw = self.random
        limited = draw.choice(["/h", "/h/a", "/h/a", "/h/b", "/h/b/c", "/h/a/b/c", "/zookeeper"])
        parts = limited.split("/")
        kind = draw.random()
        if kind < 0.25:
            # The nodes above the two that matter.
            path = QUOTA_ROOT + "/".join(parts[:draw.randrange(2, len(parts) + 1)])
            return 1, string(path) + buffer(b"") + acls(OPEN) + struct.pack(">i", 0)
        is_usage = draw.random() < 0.4
        path = QUOTA_ROOT + limited + ("/zookeeper_stats" if is_usage else "/zookeeper_limits")
        text = draw.choice(USAGES if is_usage else SMALL_LIMITS)
        if kind < 0.6:
            return 1, string(path) + buffer(text) + acls(OPEN) + struct.pack(">i", 0)
        if kind < 0.8:
            return 2, string(path) + struct.pack(">i", -1)
        return 5, string(path) + buffer(text) + struct.pack(">i", self.version())

    def quota(self):
        """Quota nodes are ordinary nodes at extraordinary places."""
        top = "/zookeeper/quota/h"
        path = self.random.choice([top, top + "/zookeeper_limits", top + "/zookeeper_stats"])
        limits = self.random.choice([b"count=5,bytes=100", b"count=-1,bytes=-1=;byteHardLimit=100000;countHardLimit=400", b"count=1000,bytes=1000"])
        if self.random.random() < 0.7:
            return 1, string(path) + buffer(limits) + acls(OPEN) + struct.pack(">i", 0)
        if self.random.random() < 0.5:
            return 2, string(path) + struct.pack(">i", -1)
        return 4, string(path) + b"\0"

    def request(self, session):
        draw = self.random.random()
        path = string(self.path())
        table = [
            (0.30, self.write),
            (0.42, lambda: (4, path + self.watch())),
            (0.50, lambda: (3, path + self.watch())),
            (0.56, lambda: (8, path + self.watch())),
            (0.62, lambda: (12, path + self.watch())),
            (0.66, lambda: (6, path)),
            (0.75, self.multi),
            (0.77, self.multi_read),
            (0.79, lambda: (9, path)),
            (0.81, lambda: (11, b"")),
            (0.83, lambda: (103, string(self.random.choice(["/", "/h", "/h/a", ""])))),
            (0.85, lambda: (104, path)),
            (0.87, lambda: (106, path + struct.pack(">i", self.random.choice([0, 1, 0, 1, 2])))),
            (0.89, lambda: (18, path + struct.pack(">i", self.random.choice([1, 2, 3, 4, 5, 9])))),
            (0.91, lambda: (17, path + struct.pack(">i", self.random.choice([1, 2, 3, 4, 5, 9])))),
            (0.93, self.set_watches),
            (0.96, self.quota),
            (0.97, lambda: (107, b"")),
            (0.98, lambda: self.auth(session)),
            (0.985, lambda: (16, string("") + string("") + string("") + struct.pack(">q", -1))),
            (1.0, self.write),
        ]
        return next(make for bound, make in table if draw < bound)()

    def auth(self, session):
        # One user a session: in which order several stand in an ACL made of "auth" is that of a hash set.
        return 100, struct.pack(">i", 0) + string("digest") + buffer(USERS[session % len(USERS)])

    def burst(self, session):
        """Requests that are sent without waiting for answers. auth comes first: it is answered at once, ahead of what is still on
        its way. Behind setACLs, each of another node, come only reads: ZooKeeper judges writes by the old list until the new one
        is applied."""
        draw = self.random
        middle = [self.request(session) for _ in range(draw.randrange(2, 30))]
        middle = [request for request in middle if request[0] not in (7, 100)]
        paths = sorted({self.path() for _ in range(draw.randrange(5))})
        lists = [(7, string(path) + acls(self.acl()) + struct.pack(">i", self.version())) for path in paths]
        reads = [draw.choice([(4, string(self.path()) + self.watch()), (6, string(self.path())), (12, string(self.path()) + b"\0")])
                 for _ in range(draw.randrange(6))]
        return [self.auth(session)] * draw.randrange(2) + middle + lists + reads

    def steps(self):
        """Yields (kind, session, ...) without end."""
        draw = self.random
        yield ("request", 0, 1, string("/h") + buffer(b"") + acls(OPEN) + struct.pack(">i", 0))
        while True:
            session, chance = draw.randrange(self.sessions), draw.random()
            if chance < 0.004:
                yield ("end", session)
            elif chance < 0.010:
                yield ("reconnect", session)
            elif chance < 0.012:
                yield ("thief", session)
            elif chance < 0.014:
                yield ("break", session, draw.choice([
                    (999, b""), (11, b"extra"), (100, struct.pack(">i", 0) + string("none") + buffer(b"")), (1, b"\0"), (4, b"\xff"),
                    (14, struct.pack(">i?i", 1, False, -1)), (5, string("/h")), (101, b"")]))
            elif chance < 0.02 and not self.quotas:
                yield ("burst", session, self.burst(session))
            else:
                op, body = self.request(session)
                yield ("request", session, op, body)
