#!/usr/bin/env python3
"""compare.py NAME:FOLDER NAME:FOLDER...: what shells wrote (out, err, and oneshot, the codes of single commands), each
compared with the first folder after taking out what differs by nature (RULES) or on purpose (DIFFERENCES).

Times and session ids are replaced; zxids count from the first one seen. Watch events are compared as a list of their
own, since another thread of zkCli prints them between the lines of any command."""

import difflib
import itertools
import re
import sys
from pathlib import Path

ZXID = re.compile(r"((?:cZxid|mZxid|pZxid) = 0x)([0-9a-f]+)")
RULES = [
    (re.compile(r"(ctime|mtime) = .*"), r"\1 = TIME"),
    (re.compile(r"(ctime|mtime) = TIME.*1970.*"), r"\1 = EPOCH"),
    (re.compile(r"ephemeralOwner = 0x[0-9a-f]{2,}"), "ephemeralOwner = SESSION"),
    (re.compile(r"127\.0\.0\.1:\d+"), "SERVER"),
    (re.compile(r"(ZooKeeper CLI version: 3\.9)\..*"), r"\1"),
]
# What our shell does on purpose: lines that only one of the two prints.
OURS = "edit|exit|export|find|help|import|tree|values|watch"
DIFFERENCES = {
    "advice beside an error": re.compile(r"  hint: .*"),
    "commands that zkCli does not have": re.compile(rf"\t({OURS}) .*"),
    "zkCli's library for line editing": re.compile(r"JLine support is (en|dis)abled"),
}
# The identities of a session are a set without an order.
IDENTITY = re.compile(r"(ip|digest|super): ")


def is_named(line):
    return any(pattern.fullmatch(line) for pattern in DIFFERENCES.values())


def normalise(text):
    """(lines, watch events)"""
    lines, events, first = [], [], None
    for line in text.splitlines():
        if is_named(line):
            continue
        for pattern, replacement in RULES:
            line = pattern.sub(replacement, line)
        found = ZXID.search(line)
        if found and int(found[2], 16):
            first = int(found[2], 16) if first is None else first
            line = ZXID.sub(f"{found[1]}first+{int(found[2], 16) - first}", line)
        if "WatchedEvent" in line:
            events.append(re.sub(r"zxid: \d+", lambda match: f"zxid: first+{int(match[0][6:]) - (first or 0)}", line))
        elif line and line != "WATCHER::":
            lines.append(line)
    grouped = itertools.groupby(lines, key=lambda line: bool(IDENTITY.match(line)))
    lines = [line for is_identity, group in grouped for line in (sorted(group) if is_identity else group)]
    # Among the deletes of one multi, the order is that of getChildren, which is unspecified.
    grouped = itertools.groupby(events, key=lambda event: event.rsplit("zxid: ", 1)[1])
    return lines, [event for zxid, group in grouped for event in (group if zxid == "-1" else sorted(group))]


def parts(folder):
    lines, events = normalise((folder / "out").read_text())
    found = {"output": lines, "watch events": events, "errors": normalise((folder / "err").read_text())[0]}
    if (folder / "oneshot").exists():
        # Whether the first event is printed before a command fails depends on who is faster; and zxids differ, because
        # our shell ends a session that owns no node, while zkCli leaves every one to its timeout.
        lines, _ = normalise((folder / "oneshot").read_text())
        found["single commands"] = [ZXID.sub(r"\1ZXID", re.sub(r"first\+\d+", "0", line)) for line in lines]
    return found


def main():
    named = [argument.split(":", 1) for argument in sys.argv[1:]]
    commands = sum(1 for line in (Path(__file__).parent / "commands.txt").read_text().splitlines() if line)
    (first, expected), *others = [(name, parts(Path(folder))) for name, folder in named]
    passed = failed = 0
    for name, found in others:
        for part in found:
            one, other = expected[part], found[part]
            difference = list(difflib.unified_diff(one, other, first, name, lineterm="", n=4))
            is_same = not difference and len(one) > 5
            passed, failed = passed + is_same, failed + (not is_same)
            print(f"{'ok' if is_same else 'FAIL'} {name}: {part}: {len(one)} lines, {commands} commands")
            print("\n".join(difference), end="\n" if difference else "")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or not others


if __name__ == "__main__":
    sys.exit(main())
