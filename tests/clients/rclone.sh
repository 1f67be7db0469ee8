#!/bin/bash
# rclone.sh BASE_URL USER PASSWORD : rclone (Debian: rclone).
#
# VENDOR=other|owncloud|nextcloud (other): what rclone takes the server for. The URL is …/remote.php/webdav/ for owncloud and
# …/remote.php/dav/files/USER/ for nextcloud (for links the public twins of these).  RCLONE=FILE takes another binary,
# MOUNT=1 tests `rclone mount` too (needs /dev/fuse and fuse3).
. "$(dirname "$0")/lib.sh"
RCLONE=${RCLONE:-rclone}
VENDOR=${VENDOR:-other}
need "$RCLONE"
init "rclone-$VENDOR" "$@"

export RCLONE_CONFIG=$WORK/rclone.conf RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=2 RCLONE_CONTIMEOUT=10s RCLONE_TIMEOUT=120s
[ -n "${CAFILE:-}" ] && export RCLONE_CA_CERT=$CAFILE
"$RCLONE" config create r webdav url="$BASE" vendor="$VENDOR" user="$DAV_USER" pass="$DAV_PASSWORD" --obscure > "$WORK/created" 2>&1 \
  || { fail "config create"; indent < "$WORK/created"; finish; }
version=$("$RCLONE" version 2>/dev/null | sed -n '1s/^rclone v1\.\([0-9]*\).*/\1/p')
# From 1.63 on rclone uploads in chunks below /dav/uploads to what it takes for a Nextcloud; that is another protocol.
[ "$VENDOR" = nextcloud ] && [ "${version:-0}" -ge 63 ] && export RCLONE_WEBDAV_NEXTCLOUD_CHUNK_SIZE=0

mountpoint_=
cleanup() { [ -z "$mountpoint_" ] || fusermount3 -u "$mountpoint_" 2>/dev/null || umount -l "$mountpoint_"; }
rc() {
  local code
  timeout "${RCLONE_SECONDS:-120}" "$RCLONE" --log-file "$WORK/rclone.log" -v "$@" && return 0
  code=$?
  grep -aE 'ERROR|CRITICAL|Failed' "$WORK/rclone.log" | tail -n 5
  return "$code"
}
# idle ARGUMENT… : the command succeeds and transfers nothing.
idle() {
  : > "$WORK/rclone.log"
  rc "$@" && ! grep -E ': (Copied|Deleted|Updated|Set directory)' "$WORK/rclone.log"
}
same_names() { diff <(rc lsf -R --files-only "$remote" | LC_ALL=C sort) <(cd "$here" && find . -type f | sed 's,^\./,,' | LC_ALL=C sort); }
# rclone keeps no empty folder unless asked to: these are left out on both sides.
same_but_empty() { find "$here" -mindepth 1 -type d -empty -delete; rc rmdirs --leave-root "$remote"; dv verify "$SCRATCH" "$here"; }

remote=r:$SCRATCH
here=$WORK/local
davlib gen "$here" --large-mb "$LARGE_MB" --names "${NAMES:-full}"

check "lsd of the root" rc lsd r: || finish
check "mkdir" rc mkdir "$remote"
check "copy up" rc copy --create-empty-src-dirs "$here" "$remote"
check "copy up: same contents" dv verify "$SCRATCH" "$here"
check "check --download" rc check --download "$here" "$remote"
[ "$VENDOR" = other ] || check "check by the server's checksums" rc check "$here" "$remote"
check "lsf -R: same names" same_names
check "copy down" rc copy --create-empty-src-dirs "$remote" "$WORK/down"
check "copy down: same tree" davlib cmptree "$here" "$WORK/down"
check "second sync transfers nothing" idle sync --size-only "$here" "$remote"
[ "$VENDOR" = other ] || check "times kept: sync by time transfers nothing" idle sync "$here" "$remote"

printf 'second version\n' > "$here/plain.txt"
echo new > "$here/new file é.txt"
rm "$here/100%.txt"
mv "$here/with space.txt" "$here/renamed ü.txt"
check "sync of overwrite, new, delete and rename" rc sync --checksum "$here" "$remote"
check "sync: same contents" same_but_empty

check "moveto (MOVE)" rc moveto "$remote/renamed ü.txt" "$remote/dir/moved again.txt"
mv "$here/renamed ü.txt" "$here/dir/moved again.txt"
check "copyto (COPY)" rc copyto "$remote/plain.txt" "$remote/dir/copied.txt"
cp "$here/plain.txt" "$here/dir/copied.txt"
check "moveto of a collection" rc moveto "$remote/dir" "$remote/dir renamed"
mv "$here/dir" "$here/dir renamed"
head -c 3000000 /dev/zero > "$here/streamed.bin"
streamed() { rc --streaming-upload-cutoff 10k rcat "$remote/streamed.bin" < "$here/streamed.bin"; }
check "rcat (PUT of unknown length)" streamed
check "after moves, copies and streaming: same contents" same_but_empty

if [ -s "$here/large.bin" ]; then
  part() { cmp <("$RCLONE" cat --offset 1048570 --count 100000 "$remote/large.bin") <(tail -c +1048571 "$here/large.bin" | head -c 100000); }
  check "cat --offset --count (Range)" part
  check "download in four streams" rc copyto --multi-thread-streams 4 --multi-thread-cutoff 1M "$remote/large.bin" "$WORK/large"
  check "download in four streams: same bytes" cmp "$here/large.bin" "$WORK/large"
fi
check "about (RFC 4331 quota)" rc about r:

# ---- bisync: a change on each side arrives on the other
if [ "$VENDOR" = other ] && [ "${version:-0}" -lt 66 ]; then
  skip "bisync: this rclone needs a vendor with times"
else
  bisync() { rc bisync --workdir "$WORK/bisync" "$@" "$WORK/both" "$remote/both"; }
  compare=()
  [ "$VENDOR" = other ] && compare=(--compare size)
  mkdir "$WORK/both"
  cp -r "$here/dir renamed" "$WORK/both/"
  echo remote > "$WORK/r.txt"
  rc mkdir "$remote/both"
  check "bisync --resync" bisync "${compare[@]}" --resync
  echo local > "$WORK/both/from local.txt"
  rc copyto "$WORK/r.txt" "$remote/both/from remote.txt"
  check "bisync" bisync "${compare[@]}"
  check "bisync: both sides equal" dv verify "$SCRATCH/both" "$WORK/both"
  check "bisync: both changes are there" test -f "$WORK/both/from remote.txt" -a -f "$WORK/both/from local.txt"
fi

if [ -n "${MOUNT:-}" ]; then
  need fusermount3
  mountpoint_=$WORK/mount
  mkdir -p "$mountpoint_"
  "$RCLONE" mount "$remote" "$mountpoint_" --vfs-cache-mode writes --vfs-write-back 0s --dir-cache-time 1s \
    --log-file "$WORK/mount.log" >/dev/null 2>&1 </dev/null &
  mounter=$!
  for _ in $(seq 100); do mountpoint -q "$mountpoint_" && break; sleep 0.1; done
  if check "mount" mountpoint -q "$mountpoint_"; then
    rc purge "$remote/both"
    check "mount: same tree" davlib cmptree "$here" "$mountpoint_"
    cp "$here/plain.txt" "$mountpoint_/via mount é.txt"
    cp "$here/plain.txt" "$here/via mount é.txt"
    mv "$mountpoint_/plain.txt" "$mountpoint_/plain2.txt"
    mv "$here/plain.txt" "$here/plain2.txt"
    rm "$mountpoint_/streamed.bin" "$here/streamed.bin"
    fusermount3 -u "$mountpoint_" && mountpoint_=
    wait "$mounter"   # it ends when what was written has been uploaded
    check "mount: write, rename and delete arrived" same_but_empty
  fi
fi

check "purge" rc purge "$remote"
check "purge: nothing is left" dv absent "$SCRATCH/"
finish
