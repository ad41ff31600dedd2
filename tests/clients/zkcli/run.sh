#!/usr/bin/env bash
# Apache's command line client (zkCli, ZooKeeperMain) runs commands.txt against Apache's server and against the server
# command in $ZK_SERVER_CMD (unset: Apache again); what it prints must be the same. $ZKCLI_OUT keeps both.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../common/env.sh"
lib="$("$here/../common/get_apache.sh")"
out="${ZKCLI_OUT:-$(mktemp -d)}"
[ -n "${ZKCLI_OUT:-}" ] || trap 'rm -rf "$out"' EXIT
printf 'status=error\nrootLogger.level=off\n' >"$out/log4j2.properties"
cli() { # cli FOLDER: the client against the server that is in ZK_SERVER_CMD now
  mkdir -p "$out/$1"
  "$here/../common/server.py" --sysprop zookeeper.extendedTypesEnabled=true --sysprop znode.container.checkIntervalMs=3600000 -- \
    bash -c 'timeout 120 java -XX:TieredStopAtLevel=1 -Duser.timezone=UTC -cp "$1/*" -Dlog4j2.configurationFile="file:$2/log4j2.properties" \
      org.apache.zookeeper.ZooKeeperMain -server "$ZK_CONNECT" <"$3" >"$2/$4/out" 2>"$2/$4/err"' - "$lib" "$out" "$here/commands.txt" "$1"
}
( unset ZK_SERVER_CMD; cli apache ) & oracle=$!
cli ours || { echo "FAIL zkCli ends with an error"; cat "$out/ours/err"; exit 1; }
wait "$oracle" || { echo "FAIL zkCli on Apache ends with an error"; cat "$out/apache/err"; exit 1; }
"$PYTHON" "$here/compare.py" "$out/apache" "$out/ours"
