#!/bin/bash
# litmus.sh BASE_URL USER PASSWORD : the WebDAV conformance suite (Debian: litmus).
#
# Passes when no test fails and none is skipped, and when the WARNING lines are exactly those of litmus-warnings.txt, where each
# has its reason.  SUITES="basic copymove props locks http" chooses; WARNINGS=FILE takes another list.
. "$(dirname "$0")/lib.sh"
need litmus
init litmus "$@"
cd "$WORK" || exit 1

warnings=${WARNINGS:-$HERE/litmus-warnings.txt}
suites=${SUITES:-basic copymove props locks http}
# Litmus makes its collection "litmus" below the URL: it gets the scratch collection, so that two runs do not meet.
dv mkcol "$SCRATCH/" || { fail "MKCOL of the scratch collection"; finish; }

for suite in $suites; do
  TESTS=$suite timeout "${LITMUS_TIMEOUT:-120}" litmus -k "$BASE$SCRATCH/" "$DAV_USER" "$DAV_PASSWORD" > "$suite.out" 2>&1
  tr '\r' '\n' < "$suite.out" > "$suite.txt"
  summary=$(grep -a 'summary for' "$suite.txt" | tail -n 1)
  # expect100 speaks to a bare socket, so litmus itself leaves it out over TLS.
  skipped=$(grep -a 'SKIPPED' "$suite.txt" | grep -avc 'skipping for SSL server')
  if [[ $summary != *' 0 failed'* ]]; then
    fail "$suite: ${summary:-no summary: litmus ended early}"
    grep -aE 'FAIL' "$suite.txt" | grep -av 'summary' | indent
    [ -n "$summary" ] || tail -n 5 "$suite.txt" | indent
  elif [ "$skipped" -gt 0 ]; then
    fail "$suite: $skipped tests skipped by litmus"
    grep -a 'SKIPPED' "$suite.txt" | indent
  else
    pass "$suite ${summary#*: }"
  fi
  # " 5. delete_null........... WARNING: text" becomes "basic: text"
  grep -a 'WARNING' "$suite.txt" | sed -E "s/^.*WARNING: */$suite: /; s/ +\$//" >> warnings.seen
  if [ -n "${KEEP:-}" ]; then cp -f debug.log "debug.$suite.log" 2>/dev/null; fi
done

# Only the suites that ran are compared.
grep -E "^(${suites// /|}): " "$warnings" | sort -u > warnings.wanted
sort -u warnings.seen > warnings.sorted
check "WARNING lines are those of $(basename "$warnings")" diff warnings.wanted warnings.sorted
finish
