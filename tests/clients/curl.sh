#!/bin/bash
# curl.sh BASE_URL USER PASSWORD : curl and wget2 (Debian: curl, wget2).
#
# Uploads with and without length, resumed downloads, ranges, conditional requests, Expect: 100-continue, statuses, empty files,
# and over TLS HTTP/2.
. "$(dirname "$0")/lib.sh"
need curl wget2
init curl "$@"

CURL=(command curl -sS --max-time 120)
[ -n "${CAFILE:-}" ] && CURL+=(--cacert "$CAFILE")
curl() { "${CURL[@]}" --http1.1 -u "$DAV_USER:$DAV_PASSWORD" "$@"; }
URL=$BASE$SCRATCH

# answers "STATUS…" CURL-ARGUMENT… : the status is one of those.
answers() {
  local wanted=$1 got
  shift
  got=$(curl -o "$WORK/body" -D "$WORK/head" -w '%{http_code}' "$@")
  [[ " $wanted " == *" $got "* ]] && return 0
  echo "status $got, wanted $wanted"
  head -c 300 "$WORK/body"
  return 1
}
# reads FILE CURL-ARGUMENT… : the body is that file.
reads() { local file=$1; shift; cmp <(curl -f "$@") "$file"; }
piped() { local file=$1; shift; curl -f -o /dev/null "$@" < "$file"; }
slice() { tail -c +$(($2 + 1)) "$1" | head -c "$3"; }

big=$WORK/big
small=$WORK/small
head -c $((LARGE_MB * 1048576)) /dev/urandom > "$big"
echo small > "$small"
: > "$WORK/empty"

check "MKCOL" answers 201 -X MKCOL "$URL"
check "PUT of a new file: 201" answers 201 -T "$small" "$URL/s.txt"
check "PUT over it: 204" answers 204 -T "$small" "$URL/s.txt"
check "PUT with Expect: 100-continue" answers 201 -H 'Expect: 100-continue' -T "$big" "$URL/big.bin"
check "PUT with Expect: its bytes" holds big.bin "$big"
check "PUT from a pipe (chunked)" piped "$big" -T - "$URL/chunked.bin"
check "PUT from a pipe: its bytes" holds chunked.bin "$big"
check "PUT of an empty file" answers 201 -T "$WORK/empty" "$URL/empty"
check "PUT of an empty pipe" piped /dev/null -T - "$URL/empty-chunked"
check "empty file: GET is 200 with no byte" answers 200 "$URL/empty"
check "empty file: body" cmp "$WORK/body" "$WORK/empty"
check "empty file from a pipe" holds empty-chunked "$WORK/empty"

check "GET" reads "$big" "$URL/big.bin"
slice "$big" 1000 1000 > "$WORK/part"
check "GET Range: first-last" reads "$WORK/part" -r 1000-1999 "$URL/big.bin"
tail -c 500 "$big" > "$WORK/part"
check "GET Range: the last 500" reads "$WORK/part" -r -500 "$URL/big.bin"
head -c 500000 "$big" > "$WORK/resumed"
check "GET resumed (-C -)" curl -f -C - -o "$WORK/resumed" "$URL/big.bin"
check "GET resumed: same bytes" cmp "$big" "$WORK/resumed"
check "GET Range past the end: 416" answers 416 -r 99999999999- "$URL/s.txt"

etag=$(curl -I "$URL/s.txt" | tr -d '\r' | sed -n 's/^[Ee][Tt][Aa][Gg]: //p')
strong_etag() { [[ $etag =~ ^\"[^\"]+\"$ ]] || { echo "ETag is: $etag"; return 1; }; }
check "HEAD has a strong, quoted ETag" strong_etag
check "If-None-Match on GET: 304" answers 304 -H "If-None-Match: $etag" "$URL/s.txt"
check "If-Match, wrong, on PUT: 412" answers 412 -H 'If-Match: "nope"' -T "$big" "$URL/s.txt"
check "If-Match, wrong, on DELETE: 412" answers 412 -H 'If-Match: "nope"' -X DELETE "$URL/s.txt"
check "If-None-Match: * on PUT of a file that is there: 412" answers 412 -H 'If-None-Match: *' -T "$small" "$URL/s.txt"
check "refused PUTs left the old bytes" holds s.txt "$small"
check "If-Match, right, on PUT: 204" answers 204 -H "If-Match: $etag" -T "$small" "$URL/s.txt"

check "MKCOL again: 405" answers 405 -X MKCOL "$URL"
check "MKCOL without parent: 409" answers 409 -X MKCOL "$URL/no/such"
check "PUT without parent: 409" answers 409 -T "$small" "$URL/no/such.txt"
check "PUT with Content-Range: refused" answers "400 501" -H 'Content-Range: bytes 0-5/6' -T "$small" "$URL/s.txt"
check "PATCH: refused" answers "405 501" -X PATCH --data-binary @"$small" "$URL/s.txt"
check "GET of what is not there: 404" answers 404 "$URL/none"
check "DELETE: 204" answers 204 -X DELETE "$URL/s.txt"
check "DELETE again: 404" answers 404 -X DELETE "$URL/s.txt"

wrong_password() {
  local got
  got=$("${CURL[@]}" -u "$DAV_USER:wrong $DAV_PASSWORD" -o /dev/null -D "$WORK/head" -w '%{http_code}' "$URL/")
  [ "$got" = 401 ] || { echo "status $got"; return 1; }
  grep -qi '^www-authenticate: *basic' "$WORK/head"
}
check "wrong password: 401 and WWW-Authenticate: Basic" wrong_password

if [[ $BASE == https* ]]; then
  is_http2() { [ "$(curl --http2 -o /dev/null -w '%{http_version}' "$URL/big.bin")" = 2 ]; }
  check "HTTP/2 GET" is_http2
  check "HTTP/2 GET: same bytes" reads "$big" --http2 "$URL/big.bin"
  check "HTTP/2 PUT" answers 201 --http2 -T "$big" "$URL/h2.bin"
  check "HTTP/2 PUT: its bytes" holds h2.bin "$big"
  check "HTTP/2 PUT refused early: a status, not a stream error" answers 412 --http2 -H 'If-None-Match: *' -T "$small" "$URL/big.bin"
fi

with_wget2() {
  cd "$WORK" && wget2 -q --http-user="$DAV_USER" --http-password="$DAV_PASSWORD" ${CAFILE:+--ca-certificate="$CAFILE"} \
    -O wget.bin "$URL/big.bin" && cmp wget.bin big
}
check "wget2 download" with_wget2
finish
