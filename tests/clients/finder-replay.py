#!/usr/bin/env python3
"""finder-replay.py BASE_URL USER PASSWORD : what macOS Finder (WebDAVFS, webdavfs_agent) sends.

Bodies and headers follow Apple's published sources (webdavfs, mount.tproj/webdav_network.c); the order of a copy follows public
server logs."""
import os
import re

from replaylib import Replay, text_of

finder = Replay('finder', 'WebDAVFS/3.0.0 (03008000) Darwin/23.6.0 (arm64)')
top = finder.scratch
ACCEPT, XML = ('Accept', '*/*'), ('Content-Type', 'text/xml')
STORED = (200, 201, 204)


def find(names, namespaces=''):
    asked = ''.join(f'<{name}/>\n' for name in names)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop{namespaces}>\n{asked}</D:prop>\n</D:propfind>\n'.encode()


STAT = find(['D:getlastmodified', 'D:getcontentlength', 'D:creationdate', 'D:resourcetype'])
READDIR = find(['D:getlastmodified', 'D:getcontentlength', 'D:creationdate', 'D:resourcetype', 'A:appledoubleheader'],
               ' xmlns:A="http://www.apple.com/webdav_fs/props/"')
QUOTA = find(['D:quota-available-bytes', 'D:quota-used-bytes', 'D:quota', 'D:quotaused'])
EMPTY = find(['D:resourcetype'])
LOCK = (b'<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">\n<D:lockscope><D:exclusive/></D:lockscope>\n'
        b'<D:locktype><D:write/></D:locktype>\n<D:owner>\n<D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>\n</D:lockinfo>\n')
DOUBLE = b'\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ' + bytes(4070)


def propfind(name, body=STAT, depth='0', path=None):
    return finder.send('PROPFIND', path or finder.url(name), [ACCEPT, XML, ('Depth', depth)], body)


def lock(name):
    headers = [ACCEPT, ('Depth', '0'), ('Timeout', 'Second-600'), ('Content-Type', 'text/xml; charset="utf-8"')]
    return finder.send('LOCK', finder.url(name), headers, LOCK)


def unlock(name, token):
    return finder.send('UNLOCK', finder.url(name), [ACCEPT, ('Lock-Token', f'<{token}>')])


def put(name, data, token=None, streamed=False):
    headers = [ACCEPT]
    if streamed and data:
        headers.append(('X-Expected-Entity-Length', str(len(data))))
    if token:
        headers.append(('If', f'(<{token}>)'))
    return finder.send('PUT', finder.url(name), headers, data, chunked=streamed)


def simple(method, name, *headers):
    return finder.send(method, finder.url(name), [ACCEPT, *headers])


def move(name, target):
    return simple('MOVE', name, ('Destination', finder.absolute(target)))


def connect():
    status, headers, _ = finder.send('OPTIONS', finder.url(''), [ACCEPT], known=False)
    if status == 401:
        finder.check('basic' in (headers.get('WWW-Authenticate') or '').lower(), 'OPTIONS without credentials: 401 offers Basic')
    else:
        finder.want('OPTIONS without credentials: 200 or 401', 200, status)
    status, headers, _ = simple('OPTIONS', '')
    finder.want('OPTIONS', 200, status)
    levels = [level.strip() for level in ','.join(headers.get_all('DAV') or []).split(',')]
    finder.check('2' in levels, 'DAV header has token 2 (without it Finder mounts read-only)', levels)
    status, _, body = propfind('')
    finder.want('PROPFIND Depth 0 of the root', 207, status, body)
    kind = finder.only(status, body).get('{DAV:}resourcetype')
    finder.check(kind is not None and len(kind) == 1, 'the root is one collection', body[:300])
    status, _, body = propfind('', QUOTA)
    finder.want('PROPFIND of the quota (statfs)', 207, status, body)
    for name in ('.hidden', '._.', '.DS_Store', '.metadata_never_index', '.Spotlight-V100', 'mach_kernel', '.ql_disablethumbnails'):
        finder.want(f'probe of {name}: 404 or 207', (404, 207), propfind(name)[0])


def make_folder():
    finder.want('MKCOL without its slash', 201, simple('MKCOL', top)[0])
    finder.want('PROPFIND of a collection without its slash is answered, not redirected', 207, propfind(top)[0])
    finder.want('readdir Depth 1', 207, propfind(top, READDIR, '1', finder.url(top) + '/')[0])


def copy_in(name, data):
    """A file and its AppleDouble twin."""
    file, twin = f'{top}/{name}', f'{top}/._{name}'
    finder.want(f'{name}: PROPFIND before: 404', 404, propfind(file)[0])
    finder.want(f'{name}: PUT of 0 bytes creates', 201, put(file, b'')[0])
    finder.want(f'{name}: is there now', 207, propfind(file)[0])
    status, _, body = lock(file)
    token = finder.token(body)
    finder.want(f'{name}: LOCK', (200, 201), status, body)
    finder.check(token, f'{name}: the token is in the body (Finder does not read the header)', body[:200])
    put(twin, b'')
    twin_token = finder.token(lock(twin)[2])
    status, _, body = put(twin, DOUBLE, twin_token)
    finder.want(f'{name}: PUT of its twin under a lock', STORED, status, body)
    unlock(twin, twin_token)
    status, headers, body = put(file, data, token, streamed=True)
    finder.want(f'{name}: chunked PUT with X-Expected-Entity-Length and If', STORED, status, body)
    finder.check(headers.get('ETag') or headers.get('Last-Modified'), f'{name}: PUT answers ETag or Last-Modified (else one more PROPFIND for each file)')
    status, _, body = propfind(file)
    length = text_of(finder.only(status, body).get('{DAV:}getcontentlength'))
    finder.check(length == str(len(data)), f'{name}: getcontentlength right after the PUT', length)
    finder.want(f'{name}: PUT without the token: 423', 423, put(file, b'intruder')[0])
    finder.want(f'{name}: UNLOCK', 204, unlock(file, token)[0])
    status, _, body = finder.get(file)
    finder.check(status == 200 and body == data, f'{name}: bytes read back', f'{status}, {len(body)} bytes')
    status, _, body = finder.get(twin)
    finder.check(status == 200 and body == DOUBLE, f'._{name}: bytes read back', f'{status}, {len(body)} bytes')


def empty_file():
    name = f'{top}/zero'
    put(name, b'')
    token = finder.token(lock(name)[2])
    finder.want('chunked PUT of 0 bytes', STORED, put(name, b'', token, streamed=True)[0])
    unlock(name, token)
    status, _, body = finder.get(name)
    finder.check(status == 200 and body == b'', 'a file of 0 bytes is empty', f'{status}, {len(body)} bytes')


def rewrite():
    name = f'{top}/Report.txt'
    token = finder.token(lock(name)[2])
    finder.want('PUT with Content-Length under a lock', STORED, put(name, b'second version', token)[0])
    status, _, body = simple('LOCK', name, ('Depth', '0'), ('Timeout', 'Second-600'), XML, ('If', f'(<{token}>)'))
    finder.want('refresh of the lock (no body, If)', 200, status, body)
    finder.check(finder.token(body) == token, 'refresh keeps the token', body[:200])
    unlock(name, token)


def list_folder():
    status, _, body = propfind(top, READDIR, '1', finder.url(top) + '/')
    found = finder.properties(body) if status == 207 else {}
    names = {path.rsplit('/', 1)[-1] for path in found if path != (finder.root + top).rstrip('/')}
    wanted = {'Report.txt', '._Report.txt', 'Grüße 文件 100%.bin', '._Grüße 文件 100%.bin', 'zero'}
    finder.check(names == wanted, 'readdir shows exactly the five files', names)
    report = next((properties for path, properties in found.items() if path.endswith('/Report.txt')), {})
    changed = text_of(report.get('{DAV:}getlastmodified')) or ''
    finder.check(re.match(r'^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$', changed), 'getlastmodified is a date of RFC 1123', changed)
    created = text_of(report.get('{DAV:}creationdate'))
    finder.check(created is None or re.match(r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$', created),
                 'creationdate is absent or of ISO 8601', created)


def read():
    name = f'{top}/Report.txt'
    status, _, body = simple('GET', name, ('Range', 'bytes=0-5'))
    finder.check(status == 206 and body == b'second', 'GET with Range', f'{status} {body[:20]!r}')
    changed = finder.get(name)[1].get('Last-Modified')
    finder.check(changed, 'GET has Last-Modified')
    finder.want('If-Modified-Since: 304', 304, simple('GET', name, ('If-Modified-Since', changed or ''))[0])


def rename_and_remove():
    finder.want('MOVE (no Overwrite header)', (201, 204), move(f'{top}/zero', f'{top}/zéro moved')[0])
    simple('MKCOL', f'{top}/folder')
    put(f'{top}/folder/in', b'x')
    finder.want('MOVE of a collection without its slash', (201, 204), move(f'{top}/folder', f'{top}/folder renamed')[0])
    finder.check(finder.get(f'{top}/folder renamed/in')[2] == b'x', 'a moved collection keeps what is in it')
    finder.want('MOVE onto a file overwrites (204)', 204, move(f'{top}/zéro moved', f'{top}/Report.txt')[0])
    # Finder looks by itself whether a folder is empty, then deletes it.
    status, _, body = propfind('', EMPTY, '1', finder.url(f'{top}/folder renamed') + '/')
    finder.check(status == 207 and len(finder.properties(body)) == 2, 'look whether a folder is empty', status)
    finder.want('DELETE of a file', 204, simple('DELETE', f'{top}/folder renamed/in')[0])
    finder.want('DELETE of a collection without its slash', 204, simple('DELETE', f'{top}/folder renamed')[0])


connect()
make_folder()
copy_in('Report.txt', b'finder says hello\n' * 100)
copy_in('Grüße 文件 100%.bin', os.urandom(3 << 20))
empty_file()
rewrite()
list_folder()
read()
rename_and_remove()
finder.finish()
