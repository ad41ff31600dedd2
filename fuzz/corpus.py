#!/usr/bin/env python3
"""Writes the first inputs of every fuzz target from the recorded vectors and folders: corpus.py FOLDER."""

import hashlib
import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
OUT = Path(sys.argv[1])
CONNECT = bytes.fromhex("0000002d" + "00000000" + "00" * 8 + "00007530" + "00" * 8 + "00000010" + "00" * 16 + "00")
CONFIGS = [
    b"tickTime=2000\ndataDir=/tmp/x\nclientPort=2181\ninitLimit=5\nsyncLimit=2\nserver.1=a:2888:3888\n4lw.commands.whitelist=*\n"
    b"autopurge.snapRetainCount=3\nmaxClientCnxns=60\nadmin.enableServer=false\n",
    b"-Xmx1g -Dzookeeper.snapCount=10 '-Da=b c' -Dflag",
    b"dataDir = /tmp/\\u0041 \\\n  b\n! comment\nkey:value\n\\ key=1",
]


def add(target, data):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)


for name in ("client.json", "disk.json"):
    for vector in json.loads((TESTS / "vectors" / name).read_text()):
        data = bytes.fromhex(vector.get("hex") or "")
        add("connection", b"\xff" + data)
        add("connection", b"\xff" + CONNECT + data)
        for op in (1, 2, 4, 5, 7, 14, 22, 26, 27, 31, 32):
            add("requests", bytes([op]) + data[8:])
        add("txns", data)
        add("log", b"\x01" + data)
        add("snapshot", b"\x00" + data)
        add("apache_log", data)
for path in sorted((TESTS / "datadirs").rglob("*")):
    if not path.is_file():
        continue
    data, kind = path.read_bytes()[:64 << 10], path.name.split(".")[0]
    if kind == "snapshot":
        add("snapshot", bytes([{".gz": 1, ".snappy": 2}.get(path.suffix, 0)]) + data)
        add("snapshot", b"\x03" + data[16:])
    elif kind == "log":
        add("apache_log", data.rstrip(b"\0"))
for config in CONFIGS:
    add("config", config)
