#!/usr/bin/env python3
"""windows-replay.py BASE_URL USER PASSWORD : what the WebClient service of Windows (Explorer, "Map network drive") sends.

Order and headers follow public traces (mar10/wsgidav #112, 9001/copyparty #910, swisspol/GCDWebServer #319, nextcloud/server #2986).
Windows itself sends Basic only over TLS."""
import email.utils
import os
import re

from replaylib import Replay, text_of

windows = Replay('windows', 'Microsoft-WebDAV-MiniRedir/10.0.19045')
top = windows.scratch
KEEP, TRANSLATE = ('Connection', 'Keep-Alive'), ('translate', 'f')
BASE = [KEEP, ('Cache-Control', 'no-cache'), ('Pragma', 'no-cache'), TRANSLATE]
XML = ('Content-Type', 'text/xml; charset="utf-8"')
STORED = (200, 201, 204)
MICROSOFT = '{urn:schemas-microsoft-com:}'
LOCK = (b'<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
        b'<D:locktype><D:write/></D:locktype><D:owner><D:href>DESKTOP\\alice</D:href></D:owner></D:lockinfo>')
OLD, NOW = 'Sun, 02 Feb 2020 03:04:05 GMT', email.utils.formatdate(usegmt=True)


def update(**properties):
    inner = ''.join(f'<Z:{name}>{value}</Z:{name}>' for name, value in properties.items())
    return ('<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
            f'<D:set><D:prop>{inner}</D:prop></D:set></D:propertyupdate>').encode()


FIRST = update(Win32CreationTime=OLD, Win32LastAccessTime=NOW, Win32LastModifiedTime=OLD, Win32FileAttributes='00000000')
FINAL = update(Win32LastModifiedTime=OLD, Win32FileAttributes='00000020')


def send(method, name, *headers, body=b''):
    return windows.send(method, windows.url(name), [*BASE, *headers], body)


def propfind(name, depth='0'):
    """An empty body asks for allprop; no slash at the end."""
    return windows.send('PROPFIND', windows.url(name).rstrip('/') or '/', [*BASE, ('Depth', depth)], b'')


def move(name, target):
    return send('MOVE', name, ('Destination', windows.absolute(target)), ('Overwrite', 'F'))[0]


def updated(answer, label):
    status, _, body = answer
    names = [name for properties in (windows.properties(body).values() if status == 207 else ()) for name in properties]
    windows.check(names and all(name.startswith(MICROSOFT) for name in names), f'{label}: 207, each property 200, namespaces intact',
                  f'{status} {body[:300]!r}')


def connect():
    own = windows.url('').rstrip('/') or '/'
    # The redirector asks the root of the server first, before it has credentials.
    status, headers, _ = windows.send('OPTIONS', '/', [KEEP, TRANSLATE], known=False, user_agent='DavClnt')
    windows.want('OPTIONS / by DavClnt: 200 or 401', (200, 401), status)
    if status == 200:
        windows.check(headers.get('DAV') and headers.get('MS-Author-Via'), 'OPTIONS / tells DAV and MS-Author-Via', headers.items())
    status, headers, _ = windows.send('OPTIONS', own, [KEEP, TRANSLATE], known=False)
    windows.want('OPTIONS without credentials: 200 or 401, no redirect', (200, 401), status)
    if status == 401:
        challenge = headers.get('WWW-Authenticate') or ''
        windows.check(re.search(r'\bbasic\b.*realm', challenge, re.I), '401 offers Basic with a realm', challenge)
    status, headers, _ = windows.send('OPTIONS', own, [KEEP, TRANSLATE])
    windows.want('OPTIONS', 200, status)
    levels = {level.strip() for level in ','.join(headers.get_all('DAV') or []).split(',')}
    windows.check({'1', '2'} <= levels, 'DAV: 1, 2', levels)
    windows.check((headers.get('MS-Author-Via') or '').upper().startswith('DAV'), 'MS-Author-Via: DAV', headers.get('MS-Author-Via'))
    allowed = {method.strip() for method in ','.join((headers.get_all('Allow') or []) + (headers.get_all('Public') or [])).split(',')}
    windows.check({'PROPFIND', 'PROPPATCH', 'LOCK', 'UNLOCK', 'MOVE', 'DELETE'} <= allowed, 'Allow lists the methods', allowed)
    status, _, body = propfind('')
    windows.want('PROPFIND Depth 0, empty body, no slash', 207, status, body)
    root = windows.only(status, body)
    windows.check('{DAV:}resourcetype' in root and '{DAV:}getlastmodified' in root, 'allprop has resourcetype and getlastmodified', list(root))
    windows.check('{DAV:}creationdate' in root, 'allprop has creationdate (Explorer shows 1601 without)', list(root))
    for name in ('desktop.ini', 'Thumbs.db', 'AutoRun.inf', 'folder.jpg'):
        windows.want(f'probe of {name}: 404 or 207', (404, 207), propfind(name)[0])


def make_folder():
    windows.want('PROPFIND of what is not there: 404', 404, propfind(top)[0])
    windows.want('MKCOL (Content-Length: 0, no slash)', 201, send('MKCOL', top)[0])
    updated(send('PROPPATCH', top, XML, body=update(Win32FileAttributes='00000010')), 'PROPPATCH of a collection')


def copy_in(name, data):
    file = f'{top}/{name}'
    windows.want(f'{name}: PROPFIND: 404', 404, propfind(file)[0])
    windows.want(f'{name}: PUT of 0 bytes first', 201, send('PUT', file)[0])
    status, headers, body = send('LOCK', file, XML, ('Timeout', 'Second-3600'), body=LOCK)
    windows.want(f'{name}: LOCK (no Depth)', (200, 201), status, body)
    token = (headers.get('Lock-Token') or '').strip('<> ')
    windows.check(token and windows.token(body) == token, f'{name}: the same token in Lock-Token and in the body', body[:200])
    condition = ('If', f'(<{token}>)')
    updated(send('PROPPATCH', file, XML, condition, body=FIRST), f'{name}: PROPPATCH of the four Win32 properties')
    windows.want(f'{name}: HEAD', 200, windows.send('HEAD', windows.url(file), BASE)[0])
    windows.want(f'{name}: PUT under the lock', STORED, send('PUT', file, condition, body=data)[0])
    windows.want(f'{name}: PUT without the token: 423', 423, send('PUT', file, body=b'intruder')[0])
    updated(send('PROPPATCH', file, XML, condition, body=FINAL), f'{name}: last PROPPATCH')
    windows.want(f'{name}: UNLOCK', 204, send('UNLOCK', file, ('Lock-Token', f'<{token}>'))[0])
    status, _, body = windows.send('GET', windows.url(file), BASE)
    windows.check(status == 200 and body == data, f'{name}: bytes read back', f'{status}, {len(body)} bytes')
    status, _, body = propfind(file)
    kept = windows.only(status, body)
    length = text_of(kept.get('{DAV:}getcontentlength'))
    windows.check(length == str(len(data)), f'{name}: getcontentlength', length)
    times = text_of(kept.get('{DAV:}getlastmodified')), text_of(kept.get(f'{MICROSOFT}Win32LastModifiedTime'))
    windows.check(OLD in times, f'{name}: Win32LastModifiedTime is kept, as getlastmodified or as the property', times)


def list_folder():
    status, _, body = propfind(top, '1')
    names = {path.rsplit('/', 1)[-1] for path in windows.properties(body)} - {top} if status == 207 else set()
    windows.check(names == {'Bericht.docx', 'Grüße & 100% +#.txt', 'leer.txt'}, 'PROPFIND Depth 1 without the slash lists all', f'{status} {names}')


def rename_and_remove():
    windows.want('MOVE, Overwrite: F, to a free name', 201, move(f'{top}/leer.txt', f'{top}/neu é.txt'))
    windows.want('MOVE, Overwrite: F, onto a file: 412', 412, move(f'{top}/neu é.txt', f'{top}/Bericht.docx'))
    send('MKCOL', f'{top}/Neuer Ordner')
    windows.want('MOVE of a new folder to its name', 201, move(f'{top}/Neuer Ordner', f'{top}/Ordner'))
    target = ('Destination', windows.absolute(f'{top}/Ordner/Kopie.docx'))
    windows.want('COPY', 201, send('COPY', f'{top}/Bericht.docx', target, ('Overwrite', 'F'), ('Depth', 'infinity'))[0])
    windows.want('DELETE of a collection that is not empty, no slash', 204, send('DELETE', f'{top}/Ordner')[0])
    windows.want('it is gone', 404, propfind(f'{top}/Ordner')[0])
    # Office writes a file that tells who has the document open.
    windows.want('PUT of an owner file ~$', 201, send('PUT', f'{top}/~$richt.docx', body=b'\x05alice' + bytes(156))[0])
    windows.want('DELETE of it', 204, send('DELETE', f'{top}/~$richt.docx')[0])


connect()
make_folder()
copy_in('Bericht.docx', os.urandom(70000))
copy_in('Grüße & 100% +#.txt', b'windows\r\n')
copy_in('leer.txt', b'')
list_folder()
rename_and_remove()
windows.finish()
