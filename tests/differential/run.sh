#!/usr/bin/env bash
# The same random history against Apache ZooKeeper and against the server command in $ZK_SERVER_CMD: see run.py.
# run.sh [--seed N] [--operations N]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$here/../.."
export PEERS_CACHE="${PEERS_CACHE:-$root/target/peers}"
export ZK_APACHE_CMD="${ZK_APACHE_CMD:-$root/scripts/apache {cfg\}}"
export ZK_SERVER_CMD="${ZK_SERVER_CMD:-$root/target/release/ringkeeper start {cfg\} -Dringkeeper.shards=2}"
exec "${PYTHON:-python3}" "$here/run.py" "$@"
