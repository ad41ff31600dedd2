#!/usr/bin/env bash
# In place of ZooKeeper's zkServer.sh: the same commands, arguments, environment, files and outputs, for `ringkeeper`.
#
#   zkServer.sh [--config FOLDER] {start|start-foreground|stop|version|restart|status|print-cmd} [ZOO.CFG]
#
# ZOOCFGDIR (../conf, else ../etc/zookeeper), ZOOCFG (zoo.cfg), zookeeper-env.sh and java.env in ZOOCFGDIR, ZOO_LOG_DIR
# (../logs), ZOOPIDFILE (zookeeper_server.pid in dataDir), ZOO_DATADIR_AUTOCREATE_DISABLE, SERVER_JVMFLAGS, JVMFLAGS (their -D
# count) mean what they mean there; JMX and JAVA_HOME mean nothing here. RINGKEEPER names the program; without it: beside
# this script, ../target/release, the PATH. Unlike ZooKeeper's, `start` waits until the server serves or has ended, `stop`
# until it has ended, at most ZOO_WAIT_SECONDS (30) each; `start` appends to the .out file, and moves one of more than
# ZOO_OUT_BYTES (10 MiB) aside to .out.1, that to .out.2, up to .out.5.

script="$(readlink -f "${BASH_SOURCE[0]}")"
ZOOBINDIR="${ZOOBINDIR:-$(cd "$(dirname "$script")" && pwd)}"
prefix="$ZOOBINDIR/.."

if [ $# -gt 1 ] && [ "$1" = "--config" ]; then
  ZOOCFGDIR="$2"
  shift 2
fi
if [ -z "${ZOOCFGDIR:-}" ]; then
  if [ -e "$prefix/conf" ]; then ZOOCFGDIR="$prefix/conf"; else ZOOCFGDIR="$prefix/etc/zookeeper"; fi
fi
# shellcheck disable=SC1091 # the operator's own files
[ ! -f "$ZOOCFGDIR/zookeeper-env.sh" ] || . "$ZOOCFGDIR/zookeeper-env.sh"
ZOOCFG="$ZOOCFGDIR/${ZOOCFG:-zoo.cfg}"
# shellcheck disable=SC1091
[ ! -f "$ZOOCFGDIR/java.env" ] || . "$ZOOCFGDIR/java.env"
# A file given by name is looked for in ZOOCFGDIR, one given with its folder is taken as it is.
if [ -n "${2:-}" ]; then
  ZOOCFG="$ZOOCFGDIR/$2"
  [ "$(dirname "$ZOOCFG")" = "$ZOOCFGDIR" ] || ZOOCFG="$2"
fi
ZOO_LOG_DIR="${ZOO_LOG_DIR:-$prefix/logs}"
wait_seconds="${ZOO_WAIT_SECONDS:-30}"
export SERVER_JVMFLAGS="${SERVER_JVMFLAGS:-}" JVMFLAGS="${JVMFLAGS:-}"

find_program() {
  local candidate
  for candidate in "${RINGKEEPER:-}" "$ZOOBINDIR/ringkeeper" "$prefix/bin/ringkeeper" "$prefix/target/release/ringkeeper" "$(command -v ringkeeper)"; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then program="$candidate"; return 0; fi
  done
  echo "Error: ringkeeper is neither beside $0 nor in ../target/release nor in the PATH; RINGKEEPER=/path/to/ringkeeper names it." >&2
  return 1
}
setting() { # setting KEY: its value in zoo.cfg
  sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*//p" "$ZOOCFG" 2>/dev/null | sed 's/[[:space:]]*$//' | tail -n 1
}
is_running() { kill -0 "$1" 2>/dev/null; }
# A pid file may outlive its server, and the number belong to another program by now, or to the server of another
# configuration. Ours holds the lock in our dataDir, or was started with our configuration.
is_server() {
  is_running "$1" && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q 'ringkeeper\|QuorumPeerMain' || return 1
  holds_lock "$1" || was_started_with "$1" "$ZOOCFG"
}
holds_lock() { # holds_lock PID
  local file lock="$ZOO_DATADIR/ringkeeper.lock"
  [ -n "$ZOO_DATADIR" ] && [ -e "$lock" ] || return 1
  for file in "/proc/$1/fd/"*; do [ "$file" -ef "$lock" ] && return 0; done
  return 1
}
was_started_with() { # was_started_with PID FILE
  local word
  while IFS= read -r -d '' word; do
    # A relative name begins in the folder of that process.
    case "$word" in /*) ;; *) word="/proc/$1/cwd/$word" ;; esac
    [ "$word" -ef "$2" ] && return 0
  done <"/proc/$1/cmdline"
  return 1
}

# Sets client_port and client_address, as ZooKeeper's own script looks for them.
find_client_port() {
  client_address="$(setting clientPortAddress)"
  client_address="${client_address:-localhost}"
  client_port="$(setting clientPort)"
  if ! [[ "$client_port" =~ ^[0-9]+$ ]]; then
    client_port=""
    local myid line dynamic
    myid="$(cat "$(setting dataDir)/myid" 2>/dev/null)"
    if ! [[ "$myid" =~ ^[0-9]+$ ]]; then
      echo "myid could not be determined, will not able to locate clientPort in the server configs."
    else
      line="$(sed -n "s/^[[:space:]]*server\.$myid=.*;//p" "$ZOOCFG" | tail -n 1)"
      if [ -z "$line" ]; then
        echo "Client port not found in static config file. Looking in dynamic config file."
        dynamic="$(setting dynamicConfigFile)"
        [ -z "$dynamic" ] || line="$(sed -n "s/^[[:space:]]*server\.$myid=.*;//p" "$dynamic" | tail -n 1)"
      fi
      if [ -z "$line" ]; then
        echo "Client port not found in the server configs"
      else
        client_port="${line##*:}"
        [ "$line" = "$client_port" ] || client_address="${line%:*}"
        client_address="${client_address#[}"
        client_address="${client_address%]}"
      fi
    fi
  fi
  if [ -z "$client_port" ]; then
    echo "Client port not found. Looking for secureClientPort in the static config."
    if [ -n "$(setting secureClientPort)" ]; then
      echo "This script cannot ask a server that serves only TLS. Terminating."
    else
      echo "Unable to find either secure or unsecure client port in any configs. Terminating."
    fi
    return 1
  fi
}
# What the server says to `srvr`; nothing if it does not answer. The wildcard address is asked on loopback.
ask() {
  local host="${client_address#[}"
  host="${host%]}"
  case "$host" in 0.0.0.0) host=127.0.0.1 ;; :: | 0:0:0:0:0:0:0:0) host=::1 ;; esac
  # Bash itself connects; a server that does not answer is given up after ten seconds.
  timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf srvr >&3 && cat <&3' - "$host" "$client_port" 2>/dev/null
}

command="${1:-}"
case "$command" in start | start-foreground | stop | version | restart | status | print-cmd) ;; *)
  echo "Usage: $0 [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}" >&2
  exit 0 ;;
esac
echo "Using config: $ZOOCFG" >&2
if [ ! -r "$ZOOCFG" ] && [ "$command" != version ]; then
  echo "Error: $ZOOCFG cannot be read; --config FOLDER, ZOOCFGDIR or ZOOCFG name another." >&2
  exit 1
fi
ZOO_DATADIR="$(setting dataDir)"
ZOO_DATALOGDIR="$(setting dataLogDir)"
if [ -n "${ZOO_DATADIR_AUTOCREATE_DISABLE:-}" ]; then
  # Either program's data will do.
  has_data() { [ -d "$1/version-2" ] || [ -d "$1/ringkeeper" ]; }
  if ! has_data "$ZOO_DATADIR"; then
    echo "ZooKeeper data directory is missing at $ZOO_DATADIR fix the path or run initialize"
    exit 1
  fi
  if [ -n "$ZOO_DATALOGDIR" ] && ! has_data "$ZOO_DATALOGDIR"; then
    echo "ZooKeeper txnlog directory is missing at $ZOO_DATALOGDIR fix the path or run initialize"
    exit 1
  fi
fi
pid_file="${ZOOPIDFILE:-${ZOO_DATADIR:-$ZOO_LOG_DIR}/zookeeper_server.pid}"
daemon_out="$ZOO_LOG_DIR/zookeeper-${USER:-$(id -un 2>/dev/null || id -u)}-server-${HOSTNAME:-$(hostname)}.out"

# What nobody could read or end later is not started.
refuse() { # refuse WHAT REASON
  # Perhaps it was made a moment ago; a device is not touched.
  [ ! -f "$pid_file" ] || [ -s "$pid_file" ] || rm -f "$pid_file"
  echo "$1"
  echo "$2" >&2
  exit 1
}
move_out_aside() {
  [ -f "$daemon_out" ] && [ ! -L "$daemon_out" ] || return 0
  [ "$(stat -c %s "$daemon_out")" -gt "${ZOO_OUT_BYTES:-10485760}" ] || return 0
  local number
  for number in 4 3 2 1; do
    [ ! -f "$daemon_out.$number" ] || mv -f "$daemon_out.$number" "$daemon_out.$((number + 1))"
  done
  mv -f "$daemon_out" "$daemon_out.1"
}
start() {
  find_program || exit 1
  echo -n "Starting zookeeper ... "
  if [ -f "$pid_file" ] && is_server "$(cat "$pid_file")"; then
    echo "already running as process $(cat "$pid_file")."
    exit 1
  fi
  local why
  why="$(mkdir -p "$(dirname "$pid_file")" 2>&1 && { : >>"$pid_file"; } 2>&1)" ||
    refuse "FAILED TO WRITE PID" "$why. ZOOPIDFILE names another file; nothing was started."
  why="$(mkdir -p "$ZOO_LOG_DIR" 2>&1 && { : >>"$daemon_out"; } 2>&1)" ||
    refuse "FAILED TO START" "$why. ZOO_LOG_DIR names another folder for logs; nothing was started."
  move_out_aside
  local before
  before="$(stat -c %s "$daemon_out" 2>/dev/null || echo 0)"
  nohup "$program" start "$ZOOCFG" >>"$daemon_out" 2>&1 </dev/null &
  local pid=$!
  if ! echo -n "$pid" >"$pid_file"; then
    kill "$pid" 2>/dev/null
    wait "$pid"
    refuse "FAILED TO WRITE PID" "The server that could not be ended later was stopped again. ZOOPIDFILE names another file."
  fi
  local deadline=$((SECONDS + wait_seconds))
  find_client_port >/dev/null || deadline=$((SECONDS + 1))
  while is_running "$pid" && [ "$SECONDS" -lt "$deadline" ]; do
    # It serves, and it is this very process that does: another one on its port would have made it end.
    if [ -n "${client_port:-}" ] && ask | grep -q Mode && is_running "$pid"; then break; fi
    sleep 0.1
  done
  if is_running "$pid"; then
    echo STARTED
  else
    rm -f "$pid_file"
    echo "FAILED TO START"
    tail -c +"$((before + 1))" "$daemon_out" | tail -n 5 >&2
    exit 1
  fi
}

stop() {
  echo -n "Stopping zookeeper ... "
  if [ ! -f "$pid_file" ]; then
    echo "no zookeeper to stop (could not find file $pid_file)"
    return 0
  fi
  local pid deadline=$((SECONDS + wait_seconds))
  pid="$(cat "$pid_file")"
  if ! is_server "$pid"; then
    rm -f "$pid_file"
    if is_running "$pid"; then
      echo "no zookeeper to stop (process $pid of $pid_file is no server of this configuration)"
    else
      echo "no zookeeper to stop (process $pid of $pid_file has ended)"
    fi
    return 0
  fi
  kill "$pid" 2>/dev/null
  while is_running "$pid" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
  rm -f "$pid_file"
  if is_running "$pid"; then
    echo "STILL RUNNING as process $pid after $wait_seconds s"
    return 1
  fi
  echo STOPPED
}

case "$command" in
start) start ;;
start-foreground)
  find_program || exit 1
  if [ -n "${ZOO_NOEXEC:-}" ]; then "$program" start "$ZOOCFG"; else exec "$program" start "$ZOOCFG"; fi
  ;;
print-cmd)
  find_program || exit 1
  echo "SERVER_JVMFLAGS=\"$SERVER_JVMFLAGS\" JVMFLAGS=\"$JVMFLAGS\" \"$program\" start \"$ZOOCFG\" >> \"$daemon_out\" 2>&1 < /dev/null"
  ;;
stop) stop ;;
version)
  find_program || exit 1
  version="$("$program" version)" || exit 1
  echo "ZooKeeper, version 3.9.5-${version/ /-}"
  ;;
restart)
  stop || exit 1
  start
  ;;
status)
  find_client_port || exit 1
  echo "Client port found: $client_port. Client address: $client_address. Client SSL: false."
  mode="$(ask | grep Mode)"
  if [ -z "$mode" ]; then
    echo "Error contacting service. It is probably not running."
    exit 1
  fi
  echo "$mode"
  ;;
esac
