#!/usr/bin/env python3
"""From Apache ZooKeeper to Ringkeeper and back, with sessions and their ephemerals alive all the way: a random history on
Apache, kill -9; the folder is taken over here and compared with a restarted Apache; more of the history here; export, and
Apache starts on that. roundtrip.py [--seed N]. Servers as for run.py; $ZK_EXPORT_CMD exports {from} to {to}."""

import argparse
import os
import shlex
import signal
import subprocess
import tempfile

from run import Difference, Run, Server, verdict
from wire import Connection


def move_sessions(run, known, seen):
    """All sessions go on, on every server of the run: same id, same password, same timeout."""
    for index, (session, password) in enumerate(known):
        def act(server):
            server.connections[index] = Connection(server.port, server.sessions, session, password, seen)
            return server.connections[index].answer, server.connections[index].session == session
        answer, is_same = run.both(("session moves", index), act)
        if not is_same:
            raise Difference(f"session {index} was lost: {answer}")


def known(server):
    return [(connection.session, connection.password) for connection in server.connections]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    apache, ours = os.environ["ZK_APACHE_CMD"], os.environ["ZK_SERVER_CMD"]
    with verdict() as servers:
        def start(*place):
            servers.append(Server(*place))
            return servers[-1]

        first = start("apache", apache)
        run = Run([first], arguments.seed)
        run.run(20_000)
        sessions, seen = known(first), max(connection.seen for connection in first.connections)
        first.stop(signal.SIGKILL)

        moved = [start("apache", apache, first.data()), start("ringkeeper", ours, first.data())]
        for server in moved:
            server.sessions = dict(first.sessions)
        run.servers = moved
        move_sessions(run, sessions, seen)
        nodes = run.walk(is_restarted=True)
        print(f"moved in: {nodes} nodes and {len(sessions)} sessions equal to a restarted Apache's")

        here = moved[1]
        run.servers, run.operations = [here], 0
        run.run(10_000)
        sessions, seen = known(here), max(connection.seen for connection in here.connections)
        here.stop(signal.SIGKILL)
        with tempfile.TemporaryDirectory(prefix="zk-export-") as folder:
            target = os.path.join(folder, "data")
            command = [part.replace("{from}", here.data()).replace("{to}", target) for part in shlex.split(os.environ["ZK_EXPORT_CMD"])]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            back = start("apache", apache, target)
        back.sessions = dict(here.sessions)
        here.start()
        run.servers = [back, here]
        move_sessions(run, sessions, seen)
        nodes = run.walk(is_restarted=True)
        print(f"and back: {nodes} nodes and {len(sessions)} sessions equal on Apache")
        # Both go on from there alike.
        run.operations = 0
        run.run(2_000)


if __name__ == "__main__":
    main()
