#!/usr/bin/env bash
# Apache's Java client 3.9.5 and Curator 5.9.0 against the server command in $ZK_SERVER_CMD (unset: Apache itself).
#   tests/clients/java/run.sh [part of a test's name]
# Needs a JDK (17 or newer) and Maven; the jars are fetched by their coordinates into $PEERS_CACHE.
# Prints "ok NAME" or "FAIL NAME" for each test, then "N passed, N failed".
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$here/../common/env.sh"
lib="$("$here/../common/get_apache.sh")"
classes="$(mktemp -d)"
trap 'rm -rf "$classes"' EXIT
javac -encoding UTF-8 -nowarn -proc:none -d "$classes" -cp "$lib/*" "$here"/*.java 2> >(grep -v '^Note:' >&2)
# Secret of the super user: super:secret.
super="super:$("$PYTHON" -c 'import base64, hashlib; print(base64.b64encode(hashlib.sha1(b"super:secret").digest()).decode())')"
cat >"$classes/log4j2.properties" <<'LOG'
status=error
rootLogger.level=off
LOG
"$here/../common/server.py" --cfg tickTime=500 --sysprop zookeeper.extendedTypesEnabled=true --sysprop znode.container.checkIntervalMs=200 \
  --sysprop "zookeeper.DigestAuthenticationProvider.superDigest=$super" -- \
  java -Dfile.encoding=UTF-8 -Xmx512m -XX:+UseSerialGC -Dlog4j2.configurationFile="file:$classes/log4j2.properties" -cp "$classes:$lib/*" Main "${1:-}"
