#!/bin/bash
# large.sh BASE_URL USER PASSWORD : one large file by curl and rclone (Debian: curl, rclone).
#
# SIZE_MB=n (1024). PEAK_OF="PID…" with PEAK_MB=n: the peak memory of these server processes stays below n MB, which is far
# less than the file: nothing on the way holds it.
. "$(dirname "$0")/lib.sh"
need curl rclone
init large "$@"
size_mb=${SIZE_MB:-1024}
seconds=${LARGE_SECONDS:-400}

CURL=(curl -sSf --http1.1 --max-time "$seconds" -u "$DAV_USER:$DAV_PASSWORD" -o /dev/null)
[ -n "${CAFILE:-}" ] && CURL+=(--cacert "$CAFILE") && export RCLONE_CA_CERT=$CAFILE
export RCLONE_CONFIG=$WORK/rclone.conf RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=1 RCLONE_TIMEOUT=120s
rclone config create r webdav url="$BASE" vendor=other user="$DAV_USER" pass="$DAV_PASSWORD" --obscure >/dev/null 2>&1

dv mkcol "$SCRATCH/" || { fail "MKCOL of the scratch collection"; finish; }
file=$WORK/large
# Not zeros, which a file system or a transport could leave out.
openssl enc -aes-128-ctr -pass pass:causeway -nosalt -pbkdf2 < /dev/zero 2>/dev/null | head -c $((size_mb * 1048576)) > "$file"
wanted=$(sha_of "$file")

check "curl: PUT of $size_mb MB" "${CURL[@]}" -T "$file" "$BASE$SCRATCH/by-curl"
is_wanted() { local got; got=$(sha256sum | cut -d' ' -f1); [ "$got" = "$wanted" ] || { echo "sha256 $got, sent $wanted"; return 1; }; }
read_by_rclone() { timeout "$seconds" rclone cat "r:$SCRATCH/by-curl" | is_wanted; }
check "rclone: GET of what curl sent: same bytes" read_by_rclone
check "DELETE" dv rm "$SCRATCH/by-curl"
if [ "${LARGE_BOTH:-1}" = 1 ]; then
  check "rclone: PUT of $size_mb MB" timeout "$seconds" rclone copyto "$file" "r:$SCRATCH/by-rclone"
  rm "$file"
  check "GET of what rclone sent: same bytes" test "$(dv sha "$SCRATCH/by-rclone")" = "$wanted"
  check "DELETE" dv rm "$SCRATCH/by-rclone"
fi
for process in ${PEAK_OF:-}; do
  peak_kb=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$process/status")
  peak_mb=$((${peak_kb:-0} / 1024))
  small_enough() { [ "$peak_mb" -gt 0 ] && [ "$peak_mb" -lt "${PEAK_MB:-256}" ]; }
  check "peak memory of server process $process: $peak_mb MB, below ${PEAK_MB:-256} MB" small_enough
done
finish
