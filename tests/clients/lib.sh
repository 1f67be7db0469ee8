#!/bin/bash
# What every driver here shares.  Usage:  . lib.sh; need PROGRAM…; init NAME "$@"; check …; finish
#
# A driver is called with BASE_URL USER PASSWORD, works in a scratch collection of its own below BASE_URL, removes it,
# prints PASS, FAIL and SKIP lines and a last line "# NAME: n passed, n failed, n skipped in n s", and exits 0 when nothing
# failed. Contents are compared through davlib.py, which shares no code with the client under test.
#
# Environment: CAFILE (a private CA), CLIENTS_REQUIRED=1 (a missing program is a failure), KEEP=1 (keep the work folder),
# LARGE_MB (16), NAMES (which file names: basic, full, nasty), DIAG (15: lines shown of a failed step).

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PASSED=0
FAILED=0
SKIPPED=0
LARGE_MB=${LARGE_MB:-16}

# need PROGRAM… : ends the driver when one is not installed.
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    if [ "${CLIENTS_REQUIRED:-}" = 1 ]; then
      echo "FAIL $program is not installed"
      echo "# $program: 0 passed, 1 failed, 0 skipped in 0 s"
      exit 1
    fi
    echo "SKIP $program is not installed"
    echo "# $program: 0 passed, 0 failed, 1 skipped in 0 s"
    exit 77
  done
}

# init NAME BASE_URL USER PASSWORD
init() {
  DRIVER=$1 BASE=${2:?usage: $0 BASE_URL USER PASSWORD} DAV_USER=${3:-} DAV_PASSWORD=${4:-}
  BASE=${BASE%/}/
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/$DRIVER.XXXXXX")
  SCRATCH="t-$DRIVER-$$"      # the scratch collection, relative to BASE
  STARTED=$SECONDS
  trap leave EXIT
  # No client reads or writes the settings of whoever runs this.
  export HOME=$WORK/home LC_ALL=C.UTF-8
  mkdir -p "$HOME"
}

cleanup() { :; }
# shellcheck disable=SC2317 # called by the trap
leave() {
  local code=$?
  cleanup
  dv rm "$SCRATCH/" >/dev/null 2>&1
  if [ -n "${KEEP:-}" ]; then echo "# kept $WORK"; else rm -rf "$WORK"; fi
  exit "$code"
}

pass() { PASSED=$((PASSED + 1)); printf 'PASS %s: %s\n' "$DRIVER" "$1"; }
fail() { FAILED=$((FAILED + 1)); printf 'FAIL %s: %s\n' "$DRIVER" "$1"; }
skip() { SKIPPED=$((SKIPPED + 1)); printf 'SKIP %s: %s\n' "$DRIVER" "$1"; }
indent() { head -n "${DIAG:-15}" | sed 's/^/    | /'; }

# check LABEL COMMAND… : passes when the command exits 0; its output is shown only when it does not.
check() {
  local label=$1 output
  shift
  if output=$("$@" 2>&1); then pass "$label"; return 0; fi
  fail "$label"
  printf '%s\n' "$output" | indent
  return 1
}

# dv COMMAND … : the independent checker, on BASE.
dv() {
  local command=$1
  shift
  python3 "$HERE/davlib.py" "$command" "$BASE" "$DAV_USER" "$DAV_PASSWORD" "$@"
}
davlib() { python3 "$HERE/davlib.py" "$@"; }
sha_of() { sha256sum < "$1" | cut -d' ' -f1; }
# holds NAME FILE : the remote file NAME (in SCRATCH) has the bytes of FILE.
holds() {
  local got want
  got=$(dv sha "$SCRATCH/$1") || { echo "GET $1 failed"; return 1; }
  want=$(sha_of "$2")
  [ "$got" = "$want" ] || { echo "sha256 $got, sent $want"; return 1; }
}

finish() {
  printf '# %s: %d passed, %d failed, %d skipped in %d s\n' "$DRIVER" "$PASSED" "$FAILED" "$SKIPPED" $((SECONDS - STARTED))
  [ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]
  exit $?
}
