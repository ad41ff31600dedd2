#!/usr/bin/env bash
# ZooKeeper's C client, as Debian packages it, against the server command in $ZK_SERVER_CMD (unset: Apache itself).
# The library: installed (libzookeeper-mt-dev), or unpacked from Debian's packages into $PEERS_CACHE, for which no root is needed.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../common/env.sh"
build="$(mktemp -d)"
trap 'rm -rf "$build"' EXIT
flags=()
if ! echo '#include <zookeeper/zookeeper.h>' | cc -E - >/dev/null 2>&1; then
  peers_debs "$PEERS_CACHE/libzookeeper" libzookeeper-mt2 libzookeeper-mt-dev
  library="$(dirname "$(find "$PEERS_CACHE/libzookeeper/tree" -name libzookeeper_mt.so)")"
  flags=("-I$PEERS_CACHE/libzookeeper/tree/usr/include" "-L$library" "-Wl,-rpath,$library")
fi
cc -std=c11 -Wall -Wextra -Werror -DTHREADED -O1 -o "$build/main" "$here/main.c" "${flags[@]}" -lzookeeper_mt -lpthread
if [ -z "${ZK_SERVER_CMD:-}" ]; then "$here/../common/get_apache.sh" >/dev/null; fi
"$here/../common/server.py" --cfg tickTime=500 --sysprop zookeeper.extendedTypesEnabled=true \
  --sysprop znode.container.checkIntervalMs=200 -- "$build/main"
