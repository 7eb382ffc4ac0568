#!/usr/bin/env bash
# The server that a client suite speaks to: Rookeeper, or the real ZooKeeper that judges it.
#
# A suite's `run` sources this file:
#
#   parse_server "$@"     reads `--server rookeeper|zookeeper` into $server; the rest is in "${rest[@]}"
#   need COMMAND PACKAGE  installs Debian's PACKAGE unless COMMAND is there
#   with_server COMMAND…  runs COMMAND with a fresh server on a free port of 127.0.0.1, then ends the
#                         server; returns what COMMAND returned
#
# Tests call it as a program, to stop and start the server under their clients' feet:
#
#   "$COMPAT_CONTROL" start|stop "$COMPAT_DIR"       both return when it is done
#
# COMMAND's environment: COMPAT_SERVER (rookeeper or zookeeper), COMPAT_PORT, COMPAT_DIR,
# COMPAT_CONTROL. Data survives a stop; `with_server` removes everything at the end, and keeps the
# server's log (named on stderr) when COMMAND failed.
set -euo pipefail

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # For the scripts that source this one.
cache=${ROOKEEPER_CACHE:-$HOME/.cache/rookeeper} # What they install and build.

start_timeout_s=60
stop_timeout_s=15
suite_timeout_s=${COMPAT_SUITE_TIMEOUT_S:-300}

# Short ticks make expiry quick to see; sessions of the other tests ask for long time-outs, so that
# a slow machine or a restart never expires them.
settings=(
  tickTime=500
  minSessionTimeout=1000
  maxSessionTimeout=30000
  maxClientCnxns=0
  extendedTypesEnabled=true
  znode.container.checkIntervalMs=1000
  admin.enableServer=false
  '4lw.commands.whitelist=*'
)

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

parse_server() {
  server=
  rest=()
  while [ $# -gt 0 ]; do
    case $1 in
      --server) server=${2:-} && shift ;;
      --server=*) server=${1#*=} ;;
      *) rest+=("$1") ;;
    esac
    shift
  done
  case $server in
    zookeeper) ;;
    rookeeper)
      [ -x "${ROOKEEPER_BIN:-}" ] || fail "set ROOKEEPER_BIN to the built server"
      ROOKEEPER_BIN=$(realpath "$ROOKEEPER_BIN")
      export ROOKEEPER_BIN
      ;;
    *) fail "usage: $0 --server rookeeper|zookeeper" ;;
  esac
}

# need COMMAND PACKAGE…, also where the package lists were never fetched.
need() {
  if command -v "$1" >/dev/null; then return; fi
  shift
  echo "installing $*" >&2
  local root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  export DEBIAN_FRONTEND=noninteractive
  "${root[@]}" apt-get install -y --no-install-recommends "$@" >&2 ||
    { "${root[@]}" apt-get update >&2 &&
      "${root[@]}" apt-get install -y --no-install-recommends "$@" >&2; }
}

# word PORT WORD: what the server on PORT answers to a four-letter word, in at most 2 s.
# shellcheck disable=SC2016 # The inner shell expands.
word() {
  timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf %s "$2" >&3 && cat <&3' - "$1" "$2" \
    2>/dev/null || true
}

# Below the ports that the kernel gives to outgoing connections, so that nobody takes it while the
# server is down.
# shellcheck disable=SC2016 # The inner shell expands.
free_port() {
  local port
  for _ in {1..50}; do
    port=$((10240 + (RANDOM * 32768 + RANDOM) % 22000))
    if ! timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"' - "$port" 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  fail "no free port found"
}

# is_ours PID DIR: whether that process is the Rookeeper that was started in DIR.
is_ours() {
  tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -qxF "$2/zoo.cfg"
}

start_rookeeper() {
  local dir=$1 port=$2 pid deadline
  {
    echo "dataDir=$dir/data"
    echo "clientPort=$port"
    echo "clientPortAddress=127.0.0.1"
    printf '%s\n' "${settings[@]}"
  } >"$dir/zoo.cfg"
  nohup "$ROOKEEPER_BIN" --config "$dir/zoo.cfg" </dev/null >>"$dir/log" 2>&1 &
  pid=$!
  echo "$pid" >"$dir/pid"
  deadline=$((SECONDS + start_timeout_s))
  until [[ $(word "$port" srvr) == "Zookeeper version:"* ]]; do
    kill -0 "$pid" 2>/dev/null || fail "the server ended; its log is $dir/log"
    [ "$SECONDS" -lt "$deadline" ] || fail "no answer in $start_timeout_s s; its log is $dir/log"
    sleep 0.05
  done
}

stop_rookeeper() {
  local dir=$1 pid deadline
  pid=$(cat "$dir/pid")
  if is_ours "$pid" "$dir"; then
    kill "$pid"
    deadline=$((SECONDS + stop_timeout_s))
    while is_ours "$pid" "$dir"; do
      if [ "$SECONDS" -ge "$deadline" ]; then
        kill -KILL "$pid" 2>/dev/null || true
        fail "the server does not heed SIGTERM, killed it; its log is $dir/log"
      fi
      sleep 0.05
    done
  fi
  rm -f "$dir/pid"
}

control() {
  if [ $# != 2 ] || [ ! -e "$2/server" ]; then fail "usage: server.sh start|stop DIR"; fi
  local dir server port
  dir=$(cd "$2" && pwd)
  server=$(cat "$dir/server") port=$(cat "$dir/port")
  case $1-$server in
    start-rookeeper) start_rookeeper "$dir" "$port" ;;
    start-zookeeper) "$lib/../upstream/zookeeper" start "$dir" "$port" "${settings[@]}" >/dev/null ;;
    stop-rookeeper) stop_rookeeper "$dir" ;;
    stop-zookeeper) "$lib/../upstream/zookeeper" stop "$dir" ;;
    *) fail "'$1' is neither start nor stop" ;;
  esac
}

# Ends the server of DIR and removes what it left; after a failure its log stays.
end_server() {
  local dir=$1 status=$2
  if [ -e "$dir/pid" ]; then (control stop "$dir") || status=1; fi
  if [ "$status" = 0 ]; then
    rm -rf "$dir"
  else
    rm -rf "$dir/data"
    echo "the server's log is $dir/log" >&2
    exit "$status"
  fi
}

with_server() (
  dir=$(mktemp -d "${TMPDIR:-/tmp}/compat-tests.XXXXXX")
  status=1
  trap 'end_server "$dir" "$status"' EXIT
  echo "$server" >"$dir/server"
  free_port >"$dir/port"
  COMPAT_PORT=$(cat "$dir/port")
  export COMPAT_PORT COMPAT_SERVER=$server COMPAT_DIR=$dir COMPAT_CONTROL=$lib/server.sh
  (control start "$dir") || exit 1
  timeout --kill-after=5 "$suite_timeout_s" "$@" && status=0 || status=$?
  [ "$status" != 124 ] || echo "${0##*/}: not done within $suite_timeout_s s" >&2
  exit "$status"
)

if [ "${BASH_SOURCE[0]}" = "$0" ]; then control "$@"; fi
