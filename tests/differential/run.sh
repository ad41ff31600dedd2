#!/usr/bin/env bash
# The same requests to Apache ZooKeeper and to the server command in $ZK_SERVER_CMD. run.sh [--seed N] [--operations N]: one random
# history (run.py). run.sh words: the four-letter words (words.py).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
export PEERS_CACHE="${PEERS_CACHE:-$root/target/peers}"
export ZK_APACHE_CMD="${ZK_APACHE_CMD:-$root/scripts/apache {cfg\}}"
export ZK_SERVER_CMD="${ZK_SERVER_CMD:-$root/target/release/ringkeeper start {cfg\} -Dringkeeper.shards=2}"
program=run.py
[ "${1:-}" != words ] || { program=words.py; shift; }
exec "${PYTHON:-python3}" "$here/$program" "$@"
