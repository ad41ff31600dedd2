#!/usr/bin/env bash
# Three times the same command lines: Apache's command line client (zkCli) against Apache's server, zkCli against the
# server command in $ZK_SERVER_CMD, and the shell command in $ZK_SHELL_CMD (unset: left out) against that server. First as
# one script (commands.txt), then each line as a command of its own with its exit code (oneshot.txt). What they print must be
# the same but for what compare.py names. $ZKCLI_OUT keeps all of it.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../common/env.sh"
lib="$("$here/../common/get_apache.sh")"
out="${ZKCLI_OUT:-$(mktemp -d)}"
[ -n "${ZKCLI_OUT:-}" ] || trap 'rm -rf "$out"' EXIT
mkdir -p "$out"
printf 'status=error\nrootLogger.level=off\n' >"$out/log4j2.properties"
zkcli=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Duser.timezone=UTC -cp "$lib/*"
  -Dlog4j2.configurationFile="file:$out/log4j2.properties" org.apache.zookeeper.ZooKeeperMain)
script() { # script FOLDER COMMAND...: the shell COMMAND against the server that is in ZK_SERVER_CMD now
  local folder="$out/$1"
  shift
  mkdir -p "$folder"
  TZ=UTC "$here/../common/server.py" --sysprop zookeeper.extendedTypesEnabled=true --sysprop znode.container.checkIntervalMs=3600000 -- \
    bash -c 'timeout 120 "${@:3}" -server "$ZK_CONNECT" <"$1" >"$2/out" 2>"$2/err"' - "$here/commands.txt" "$folder" "$@"
}
single() { # single FOLDER COMMAND...: the same, one process for each line
  local folder="$out/$1"
  shift
  TZ=UTC "$here/../common/server.py" -- "$here/oneshot.sh" "$folder/oneshot" "$@"
}
both() { script "$@" && single "$@"; }
broken() { echo "FAIL $1 ends with an error"; cat "$out/$2/err"; exit 1; }
( unset ZK_SERVER_CMD; both apache "${zkcli[@]}" ) & oracle=$!
both ours "${zkcli[@]}" || broken "zkCli on this server" ours
folders=("zkCli-on-Apache:$out/apache" "zkCli-on-this-server:$out/ours")
if [ -n "${ZK_SHELL_CMD:-}" ]; then
  # shellcheck disable=SC2206 # the words of the command
  shell=($ZK_SHELL_CMD)
  both shell "${shell[@]}" || broken "the shell" shell
  folders+=("shell-on-this-server:$out/shell")
fi
wait "$oracle" || broken "zkCli on Apache" apache
"$PYTHON" "$here/compare.py" "${folders[@]}"
