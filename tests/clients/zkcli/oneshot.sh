#!/usr/bin/env bash
# oneshot.sh OUT COMMAND...: every line of oneshot.txt as the command of a shell of its own; what it prints to standard
# output and error and its exit code, one block each, go to OUT. COMMAND is the shell up to its -server.
set -uo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
out="$1"
shift
run() { # run ARGUMENT...
  local status=0
  timeout 60 "$@" >"$out.1" 2>"$out.2" </dev/null || status=$?
  printf '$ %s\n' "${*:$words_at}"
  # The Java trace below an exception is noise.
  cat "$out.1" <(grep -v $'^\tat \|^Caused by\|^\t\.\.\. ' "$out.2")
  printf '= %s\n' "$status"
}
words_at=$(($# + 3))
{
  while read -r line; do
    # shellcheck disable=SC2086 # the words of the command
    run "$@" -server "$ZK_CONNECT" $line
  done <"$here/oneshot.txt"
  run "$@" -server "$ZK_CONNECT/one" create /below x
  run "$@" -server "$ZK_CONNECT/one" ls -R /
  run "$@" -server "$ZK_CONNECT/one" get /absent
  run "$@" -server "$ZK_CONNECT" get /one/below
  run "$@" -server "$ZK_CONNECT" -timeout 5000 -r -waitforconnection ls /one
  run "$@" -server "$ZK_CONNECT" -unknown ls /one
  run "$@" -server "127.0.0.1:1" ls /
  run "$@" -server "127.0.0.1:1" sync /
} >"$out"
rm -f "$out.1" "$out.2"
