#!/usr/bin/env python3
"""compare.py APACHE OURS: two folders of what zkCli wrote (out, err), compared after taking out what differs by nature.

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
]


def normalise(text):
    """(lines, watch events)"""
    lines, events, first = [], [], None
    for line in text.splitlines():
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
    # Among the deletes of one multi, the order is that of getChildren, which is unspecified.
    grouped = itertools.groupby(events, key=lambda event: event.rsplit("zxid: ", 1)[1])
    return lines, [event for zxid, group in grouped for event in (group if zxid == "-1" else sorted(group))]


def main():
    folders = [Path(argument) for argument in sys.argv[1:3]]
    commands = sum(1 for line in (Path(__file__).parent / "commands.txt").read_text().splitlines() if line)
    parts = {"output": [], "watch events": [], "errors": []}
    for folder in folders:
        lines, events = normalise((folder / "out").read_text())
        parts["output"].append(lines)
        parts["watch events"].append(events)
        parts["errors"].append(normalise((folder / "err").read_text())[0])
    failed = 0
    for name, (apache, ours) in parts.items():
        difference = list(difflib.unified_diff(apache, ours, "on Apache", "on this server", lineterm="", n=4))
        is_same = not difference and (len(apache) > 5)
        failed += not is_same
        print(f"{'ok' if is_same else 'FAIL'} {name}: {len(apache)} lines of {commands} commands")
        print("\n".join(difference), end="\n" if difference else "")
    print(f"{3 - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
