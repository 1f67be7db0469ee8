#!/bin/bash
# many.sh BASE_URL USER PASSWORD : rclone sync, check and purge of many small files (Debian: rclone).
#
# FILES=n (2000) files in 20 folders.
. "$(dirname "$0")/lib.sh"
need rclone
init many "$@"
files=${FILES:-2000}

# rclone waits between calls, by 10 ms, so that 2,000 files cost a minute; newer ones can be told not to.
export RCLONE_WEBDAV_PACER_MIN_SLEEP=1ms RCLONE_CONFIG=$WORK/rclone.conf RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=2 RCLONE_CONTIMEOUT=10s RCLONE_TIMEOUT=120s
[ -n "${CAFILE:-}" ] && export RCLONE_CA_CERT=$CAFILE
rclone config create r webdav url="$BASE" vendor=other user="$DAV_USER" pass="$DAV_PASSWORD" --obscure >/dev/null 2>&1
remote=r:$SCRATCH
here=$WORK/local

make_files() {
  python3 - "$here" "$files" <<'PYTHON'
import os, random, sys
folder, count = sys.argv[1], int(sys.argv[2])
chance = random.Random(count)
for number in range(count):
    inside = f'{folder}/folder {number % 20:02}'
    os.makedirs(inside, exist_ok=True)
    with open(f'{inside}/file {number:05} é.bin', 'wb') as file:
        file.write(chance.randbytes(chance.choice((0, 1, 100, 1024, 4096, 20000))))
PYTHON
}
rc() { timeout "${RCLONE_SECONDS:-240}" rclone --transfers 8 --checkers 8 --log-file "$WORK/rclone.log" -v "$@" || { grep -aE 'ERROR|Failed' "$WORK/rclone.log" | tail -n 5; return 1; }; }

make_files
check "sync of $files files" rc sync "$here" "$remote"
check "check --download of $files files" rc check --download "$here" "$remote"
all_listed() { [ "$(rc lsf -R --files-only "$remote" | wc -l)" = "$files" ]; }
check "all $files are listed" all_listed
rm "$here/folder 07/"*7*
echo changed > "$here/folder 03/file 00003 é.bin"
check "sync of the differences" rc sync --checksum "$here" "$remote"
check "check after it" rc check "$here" "$remote"
check "purge" rc purge "$remote"
check "purge: nothing is left" dv absent "$SCRATCH/"
finish
