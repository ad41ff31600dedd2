#!/usr/bin/env bash
# The same requests to Apache ZooKeeper and to the server command in $ZK_SERVER_CMD. run.sh [--seed N] [--operations N] [--quotas]: one random
# history (run.py). run.sh words: the four-letter words (words.py). run.sh roundtrip [--seed N]: to Ringkeeper and back (roundtrip.py).
# run.sh malformed [--record FILE]: malformed requests (malformed.py).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
export PEERS_CACHE="${PEERS_CACHE:-$root/target/peers}"
export ZK_APACHE_CMD="${ZK_APACHE_CMD:-$root/scripts/apache {cfg\}}"
export ZK_SERVER_CMD="${ZK_SERVER_CMD:-$root/target/release/ringkeeper start {cfg\} -Dringkeeper.shards=2}"
program=run.py
case "${1:-}" in words | roundtrip | malformed) program="$1.py"; shift ;; esac
export ZK_EXPORT_CMD="${ZK_EXPORT_CMD:-$root/target/release/ringkeeper export {from\} {to\} -Dzookeeper.extendedTypesEnabled=true}"
exec "${PYTHON:-python3}" "$here/$program" "$@"
