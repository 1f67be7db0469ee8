#!/bin/bash
# cadaver.sh BASE_URL USER PASSWORD : cadaver (Debian: cadaver), commands as a person types them.
#
# Cadaver exits 0 whatever happened, so every step is judged by what the server then holds.
. "$(dirname "$0")/lib.sh"
need cadaver
init cadaver "$@"

host=${BASE#*://}
host=${host%%/*}
# The netrc reader of cadaver splits at blanks and knows quotes.
printf 'machine %s\nlogin "%s"\npassword "%s"\n' "${host%:*}" "$DAV_USER" "$DAV_PASSWORD" > "$HOME/.netrc"
chmod 600 "$HOME/.netrc"
: > "$HOME/.cadaverrc"

local_tree=$WORK/local
fetched=$WORK/fetched
davlib gen "$local_tree" --large-mb "$LARGE_MB" --names "${NAMES:-full}"
mkdir -p "$fetched"

quote() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }
# below FIND-ARGUMENT… : names in the local tree, in order.
below() { (cd "$local_tree" && find . -mindepth 1 "$@" | sed 's,^\./,,' | LC_ALL=C sort); }
# run NAME < COMMANDS : what cadaver says goes to out.NAME
run() { timeout "${CADAVER_TIMEOUT:-120}" python3 "$HERE/cadaver-tty.py" "$BASE" > "$WORK/out.$1" 2>&1; }
complaints() { grep -aE 'failed|Refus|redirect|Could not|no prompt' "$WORK/out.$1" | indent; }
says() { local text; for text in "${@:2}"; do grep -aqE -- "$text" "$WORK/out.$1" || { echo "no: $text"; cat "$WORK/out.$1"; return 1; }; done; }

# ---- upload a whole tree
{
  echo "mkcol $SCRATCH"; echo "cd $SCRATCH"; echo "lcd $(quote "$local_tree")"
  below -type d | while read -r name; do echo "mkcol $(quote "$name")"; done
  below -type f | while read -r name; do echo "put $(quote "$name") $(quote "$name")"; done
  echo quit
} > "$WORK/in.up"
run up < "$WORK/in.up"
if grep -aqiE 'Username:|Password:|Authentication (failed|aborted)|Could not (connect|access|open)' "$WORK/out.up"; then
  fail "log in"
  indent < "$WORK/out.up"
  finish
fi
check "mkcol and put of a whole tree: same contents" dv verify "$SCRATCH" "$local_tree" || complaints up

# ---- list
printf 'cd %s\nls\nquit\n' "$SCRATCH" | run list
check "ls shows blanks, Unicode and collections" says list 'with space\.txt' '文件名\.txt' 'Coll:.*empty dir'

# ---- download
{
  echo "cd $SCRATCH"; echo "lcd $(quote "$fetched")"
  below -maxdepth 1 -type f | while read -r name; do echo "get $(quote "$name")"; done
  echo quit
} | run get
same_files() {
  local count=0 name
  while read -r name; do cmp "$local_tree/$name" "$fetched/$name" || return 1; count=$((count + 1)); done < <(below -maxdepth 1 -type f)
  [ "$count" -gt 10 ]
}
check "get of every file: same bytes" same_files

# ---- overwrite, copy, move, delete
# Up to 0.25 the target of copy and move is the new name; from 0.26 on it is a collection to put the source into.
case $(cadaver --version 2>&1 | grep -oE '0\.[0-9]+' | head -n 1) in
  0.1? | 0.2[0-5]) into_copy='holder/dir/' into_move='holder/empty dir/' ;;
  *) into_copy=holder/ into_move=holder/ ;;
esac
printf 'second version\n' > "$WORK/v2.txt"
run ops <<COMMANDS
cd $SCRATCH
put $(quote "$WORK/v2.txt") plain.txt
copy plain.txt "copied file.txt"
mkcol holder
copy dir/ $(quote "$into_copy")
move "with space.txt" "renamed é.txt"
move "empty dir/" $(quote "$into_move")
delete 100%.txt
rmcol "holder/dir/nested dïr"
quit
COMMANDS
cp "$WORK/v2.txt" "$local_tree/plain.txt"
cp "$WORK/v2.txt" "$local_tree/copied file.txt"
mkdir "$local_tree/holder"
cp -r "$local_tree/dir" "$local_tree/holder/"
rm -r "$local_tree/holder/dir/nested dïr" "$local_tree/100%.txt"
mv "$local_tree/with space.txt" "$local_tree/renamed é.txt"
mv "$local_tree/empty dir" "$local_tree/holder/"
check "overwrite, copy, move, delete, of files and collections" dv verify "$SCRATCH" "$local_tree" || complaints ops

# ---- collections named without their slash, as a person types them: cadaver follows no redirect
printf 'cd %s\ncopy dir "dir copy 2"\nmove holder "holder 2"\nquit\n' "$SCRATCH" | run noslash
if grep -q 'Refusing' "$WORK/out.noslash"; then
  skip "copy and move of a collection to a new name: this cadaver refuses it by itself"
else
  cp -r "$local_tree/dir" "$local_tree/dir copy 2"
  mv "$local_tree/holder" "$local_tree/holder 2"
  check "copy and move of a collection without its slash" dv verify "$SCRATCH" "$local_tree" || complaints noslash
fi

# ---- lock, write under the lock, unlock; properties
run lock <<COMMANDS
cd $SCRATCH
lock plain.txt
discover plain.txt
put $(quote "$WORK/v2.txt") plain.txt
showlocks
unlock plain.txt
propset plain.txt colour blue
propget plain.txt colour
propnames plain.txt
quit
COMMANDS
check "lock, put under the lock, unlock" says lock 'Locking .plain\.txt.: succeeded' 'bytes succeeded' 'Unlocking .plain\.txt.: succeeded'
check "propset, then propget" says lock 'Setting property.*succeeded' 'Value of colour is: blue|blue'

# ---- a lock that cadaver holds stops others
mkfifo "$WORK/commands"
run held < "$WORK/commands" &
cadaver=$!
exec 7> "$WORK/commands"
printf 'cd %s\nlock plain.txt\n' "$SCRATCH" >&7
for _ in $(seq 100); do grep -aq 'Locking .*succeeded' "$WORK/out.held" && break; sleep 0.1; done
answer=$(dv put "$SCRATCH/plain.txt" "$WORK/v2.txt")
printf 'unlock plain.txt\nquit\n' >&7
exec 7>&-
wait "$cadaver"
check "PUT without the token on a file that cadaver locked: 423" test "$answer" = 423
check "PUT after its unlock" dv put "$SCRATCH/plain.txt" "$WORK/v2.txt"
finish
