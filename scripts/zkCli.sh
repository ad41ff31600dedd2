#!/usr/bin/env bash
# In place of ZooKeeper's zkCli.sh: the same arguments, by `ringkeeper shell`. CLIENT_JVMFLAGS and JVMFLAGS are without
# effect, unless they ask for TLS, which is refused. RINGKEEPER names the program; without it: beside this script, ../target/release, the PATH.
here="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
case "${CLIENT_JVMFLAGS:-} ${JVMFLAGS:-}" in *-Dzookeeper.client.secure=true*)
  echo "Error: CLIENT_JVMFLAGS asks for TLS (-Dzookeeper.client.secure=true), which this shell does not speak yet." >&2
  exit 2 ;;
esac
for program in "${RINGKEEPER:-}" "$here/ringkeeper" "$here/../bin/ringkeeper" "$here/../target/release/ringkeeper" "$(command -v ringkeeper)"; do
  [ -n "$program" ] && [ -x "$program" ] && exec "$program" shell "$@"
done
echo "Error: ringkeeper is neither beside $0 nor in ../target/release nor in the PATH; RINGKEEPER=/path/to/ringkeeper names it." >&2
exit 1
