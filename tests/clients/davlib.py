#!/usr/bin/env python3
"""The independent checker of the drivers (standard library only; shares no code with the clients under test).

  davlib.py gen DIR [--large-mb N] [--names basic|full|nasty]     makes the test tree, always the same
  davlib.py cmptree DIR DIR                                       two local trees are equal: names, sizes, contents
  davlib.py verify BASE USER PASSWORD REMOTE DIR                  a remote tree equals a local one
  davlib.py mkcol|rm|exists|absent|sha BASE USER PASSWORD REMOTE
  davlib.py put BASE USER PASSWORD REMOTE FILE

Exit 0: as asked. A status that was not hoped for is printed alone, so that scripts can compare it. $CAFILE names a private CA."""
import base64
import hashlib
import http.client
import os
import random
import ssl
import sys
import unicodedata
import urllib.parse
import xml.etree.ElementTree as ET

DAV = '{DAV:}'
PIECE_BYTES = 1 << 20
TIMEOUT_SECONDS = 120
LIST_BODY = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/></prop></propfind>'
# Left as they are in a URL; everything else is percent-encoded.
SAFE = "/!$&'()*+,;=:@~-._"


# ---- the test tree

def file_names(kind):
    basic = ['plain.txt', 'with space.txt', 'Grüße ünï.txt', '文件名.txt', '100%.txt', 'a%20b literal.txt', 'zero-byte.bin', '.hidden']
    full = basic + [
        'plus+and&amp=eq.txt', '#hash.txt', "it's (1) [x] {y}.txt", 'semi;comma,at@.txt', 'tilde~bang!.txt', '\U0001F600 emoji.txt',
        'nfd-' + unicodedata.normalize('NFD', 'éü') + '.txt', 'dollar$ caret^ back`tick.txt', 'ends with dot..txt', 'UPPER.TXT',
        'upper.txt-2', 'x' * 200 + '.txt']
    # A client that thinks of Windows refuses these; the others must be able to carry them.
    nasty = full + ['what?.txt', 'pi|pe.txt', 'quo"te.txt', 'lt<gt>.txt', 'st*ar.txt', 'co:lon.txt']
    return {'basic': basic, 'full': full, 'nasty': nasty}[kind]


def content(name, size):
    return random.Random(f'causeway:{name}').randbytes(size)


def write(folder, name, data):
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(data)


def generate(folder, large_mb, kind):
    os.makedirs(folder, exist_ok=True)
    for number, name in enumerate(file_names(kind)):
        write(folder, name, content(name, 0 if name.startswith('zero') else 100 + number * 977))
    for below in ('dir', 'dir/nested dïr', 'dir/nested dïr/deep%41', 'empty dir'):
        os.makedirs(os.path.join(folder, below), exist_ok=True)
    for name in ('dir/a.txt', 'dir/b b.txt', 'dir/nested dïr/c+c.txt', 'dir/nested dïr/deep%41/d.txt'):
        write(folder, name, content(name, 3000))
    if large_mb:
        with open(os.path.join(folder, 'large.bin'), 'wb') as file:
            for piece in range(large_mb):
                file.write(content(f'large{piece}', PIECE_BYTES))


# ---- trees as path → (sha256 or 'folder', size); the path of a folder ends in a slash

FOLDER = ('folder', 0)


def local_tree(folder):
    found = {}
    for inside, folders, files in os.walk(folder):
        start = os.path.relpath(inside, folder)
        start = '' if start == '.' else f'{start}/'
        found.update({f'{start}{name}/': FOLDER for name in folders})
        for name in files:
            path = os.path.join(inside, name)
            with open(path, 'rb') as file:
                data = file.read()
            found[start + name] = (hashlib.sha256(data).hexdigest(), len(data))
    return found


def print_differences(one, other, one_name, other_name):
    """Prints them; returns whether there are none."""
    differing = [path for path in sorted(set(one) | set(other)) if one.get(path) != other.get(path)]
    for path in differing:
        print(f'{path!r}: {one_name} {one.get(path)}, {other_name} {other.get(path)}')
    return not differing


class Dav:
    """One connection to one base URL. A request is sent again once when a kept connection turns out to be closed."""

    def __init__(self, base, user, password):
        self.base = urllib.parse.urlsplit(base if base.endswith('/') else f'{base}/')
        self.root = urllib.parse.unquote(self.base.path)
        self.headers = {'Authorization': 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()} if user else {}
        self.connection = None

    def connected(self):
        if self.connection is None:
            where = (self.base.hostname, self.base.port)
            if self.base.scheme == 'https':
                context = ssl.create_default_context(cafile=os.environ.get('CAFILE') or None)
                self.connection = http.client.HTTPSConnection(*where, context=context, timeout=TIMEOUT_SECONDS)
            else:
                self.connection = http.client.HTTPConnection(*where, timeout=TIMEOUT_SECONDS)
        return self.connection

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def url(self, name):
        return urllib.parse.quote(self.root + name.lstrip('/'), safe=SAFE)

    def request(self, method, name, body=None, headers=(), take=None):
        """Returns (status, body); with `take`, the body goes there piece by piece."""
        answer = self.answer(method, name, body, {**self.headers, **dict(headers)})
        data = b''
        if take is None:
            data = answer.read()
        else:
            while piece := answer.read(PIECE_BYTES):
                take(piece)
        if answer.will_close:
            self.close()
        return answer.status, data

    def answer(self, method, name, body, headers):
        for last in (False, True):
            try:
                connection = self.connected()
                connection.request(method, self.url(name), body=body, headers=headers)
                return connection.getresponse()
            except (http.client.HTTPException, ConnectionError, ssl.SSLEOFError):
                self.close()
                if last:
                    raise
                if hasattr(body, 'seek'):
                    body.seek(0)
        raise AssertionError('not reached')

    def children(self, name):
        """Name → None for a collection, else the length that PROPFIND says."""
        if name and not name.endswith('/'):
            name += '/'
        status, body = self.request('PROPFIND', name, LIST_BODY, {'Depth': '1', 'Content-Type': 'application/xml'})
        if status != 207:
            raise SystemExit(f'PROPFIND of {name!r} answered {status}')
        own = urllib.parse.unquote(self.url(name)).rstrip('/')
        found = {}
        for response in ET.fromstring(body).findall(f'{DAV}response'):
            path = urllib.parse.unquote(response.findtext(f'{DAV}href').strip()).rstrip('/')
            if path != own:
                is_folder = response.find(f'.//{DAV}resourcetype/{DAV}collection') is not None
                found[path.rsplit('/', 1)[-1]] = None if is_folder else int(response.findtext(f'.//{DAV}getcontentlength') or -1)
        return found

    def sha(self, name):
        """(status, sha256, size) of what GET answers."""
        hasher, size = hashlib.sha256(), 0

        def take(piece):
            nonlocal size
            hasher.update(piece)
            size += len(piece)
        status, _ = self.request('GET', name, take=take)
        return status, hasher.hexdigest(), size

    def tree(self, name):
        found = {}
        for child, length in self.children(name).items():
            path = f'{name.rstrip("/")}/{child}'
            if length is None:
                found[f'{child}/'] = FOLDER
                found.update({f'{child}/{below}': what for below, what in self.tree(path).items()})
                continue
            status, sha, size = self.sha(path)
            if status != 200:
                sha = f'GET answered {status}'
            elif size != length:
                sha += f' (getcontentlength {length}, body {size})'
            found[child] = (sha, size)
        return found


# ---- the command line

def hoped(status, *wanted):
    if status not in wanted:
        print(status)
    return status in wanted


def remote_command(command, dav, name, file=None):
    if command == 'verify':
        here = local_tree(file)
        return print_differences(here, dav.tree(name), 'local', 'remote')
    if command == 'mkcol':
        return hoped(dav.request('MKCOL', name)[0], 201, 405)
    if command == 'put':
        with open(file, 'rb') as body:
            return hoped(dav.request('PUT', name, body, {'Content-Length': str(os.path.getsize(file))})[0], 200, 201, 204)
    if command == 'rm':
        return hoped(dav.request('DELETE', name)[0], 200, 204, 404)
    if command in ('exists', 'absent'):
        return hoped(dav.request('PROPFIND', name, headers={'Depth': '0'})[0], 207 if command == 'exists' else 404)
    if command == 'sha':
        status, sha, _ = dav.sha(name)
        print(sha if status == 200 else status)
        return status == 200
    raise SystemExit(__doc__)


def main(words):
    if len(words) < 2:
        raise SystemExit(__doc__)
    command, *rest = words
    if command == 'gen':
        options = dict(zip(rest[1::2], rest[2::2]))
        generate(rest[0], int(options.get('--large-mb', 16)), options.get('--names', 'full'))
        return 0
    if command == 'cmptree':
        return 0 if print_differences(local_tree(rest[0]), local_tree(rest[1]), 'first', 'second') else 1
    return 0 if remote_command(command, Dav(*rest[:3]), *rest[3:]) else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
