#!/usr/bin/env python3
"""sync-replay.py BASE_URL USER PASSWORD : what the desktop windows and the phone apps of Nextcloud and ownCloud send.

BASE_URL is /remote.php/dav/files/USER/ of a home. The requests follow recorded traffic of Nextcloud desktop 3.7 (account set-up by login
flow v2, polls) and the published sources of the Android and iOS apps. The browser's part of the login is in login.py."""
import base64
import json
import re

from replaylib import Replay, text_of

desktop = Replay('sync-replay', 'Mozilla/5.0 (Linux) mirall/3.7.3git (Nextcloud, debian-6.1.0 ClientArchitecture: x86_64 OsArchitecture: x86_64)')
prefix, user = re.fullmatch(r'(.*)/remote\.php/dav/files/([^/]+)/', desktop.root).groups()
top = desktop.scratch
ACCEPT, XML, OCS = ('Accept', '*/*'), ('Content-Type', 'text/xml; charset=utf-8'), ('OCS-APIREQUEST', 'true')
OC = '{http://owncloud.org/ns}'
PHONE = 'Mozilla/5.0 (Android) Nextcloud-android/3.29.0'


def find(*names):
    space = 'xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"'
    return f'<?xml version="1.0" ?><d:propfind {space}><d:prop>{"".join(f"<{name} />" for name in names)}</d:prop></d:propfind>'.encode()


def ask(method, path, headers=(), body=None, known=True, agent=None):
    return desktop.send(method, prefix + path, [ACCEPT, *headers], body, known=known, user_agent=agent)


def ocs(path, known=True, version=1):
    """(HTTP status, the envelope) of a JSON answer."""
    status, _, body = ask('GET', f'/ocs/v{version}.php{path}{"&" if "?" in path else "?"}format=json', [OCS], known=known)
    try:
        return status, json.loads(body)['ocs'], body
    except (ValueError, KeyError):
        return status, {}, body


def account_set_up():
    status, _, body = ask('GET', '/status.php', known=False)
    desktop.want('status.php without credentials', 200, status, body)
    told = json.loads(body) if status == 200 else {}
    desktop.check({'installed', 'maintenance', 'needsDbUpgrade', 'version', 'versionstring', 'edition', 'productname'} <= set(told), 'status.php has every key', told)
    desktop.check(told.get('installed') is True and told.get('maintenance') is False, 'installed and not in maintenance', told)
    major = int(str(told.get('version', '0')).split('.')[0])
    desktop.check(major >= 16, 'a version that no client calls unsupported', told.get('version'))
    status, headers, _ = ask('PROPFIND', f'/remote.php/dav/files/{user}/', known=False)
    desktop.check(status == 401 and 'basic' in headers.get('WWW-Authenticate', '').lower(), 'PROPFIND without credentials, body and Depth offers Basic', status)
    status, envelope, body = ocs('/cloud/capabilities', known=False, version=2)
    desktop.check(status == 200 and envelope.get('meta', {}).get('statuscode') == 200, 'capabilities without credentials', body[:200])
    status, _, body = ask('POST', '/index.php/login/v2', [('Content-Length', '0')], known=False)
    desktop.want('login flow v2 begins', 200, status, body)
    flow = json.loads(body) if status == 200 else {'poll': {'token': '', 'endpoint': ''}, 'login': ''}
    desktop.check(len(flow['poll']['token']) >= 32 and '/login/v2' in flow['login'], 'with a token and an address', sorted(flow))
    path = re.sub(r'^https?://[^/]+', '', flow['poll']['endpoint'])
    form = f'token={flow["poll"]["token"]}'.encode()
    status, _, body = desktop.send('POST', path, [ACCEPT, ('Content-Type', 'application/x-www-form-urlencoded')], form, known=False)
    desktop.want('the poll is 404 while nobody grants', 404, status, body)


def after_login():
    status, _, body = ask('PROPFIND', f'/remote.php/dav/files/{user}/', [XML, ('Depth', '0')], find('d:getlastmodified'))
    desktop.want('the credentials are tried', 207, status, body)
    status, envelope, body = ocs('/cloud/capabilities')
    desktop.check(b'": ' not in body, 'the JSON is compact', body[:80])
    capabilities = envelope.get('data', {}).get('capabilities', {})
    desktop.check(status == 200 and envelope.get('meta', {}).get('statuscode') == 100, 'capabilities of an account', body[:200])
    desktop.check(capabilities.get('dav', {}).get('chunking') == '1.0', 'chunking 1.0', capabilities.get('dav'))
    desktop.check('tus_support' not in capabilities.get('files', {}), 'no TUS', capabilities.get('files'))
    status, envelope, body = ocs('/cloud/user')
    desktop.check(envelope.get('data', {}).get('id') == user, 'the account says its name', body[:200])
    desktop.want('no picture', 404, ask('GET', f'/remote.php/dav/avatars/{user}/128.png')[0])
    status, envelope, body = ocs('/core/navigation/apps?absolute=true', version=2)
    desktop.check(status == 200 and isinstance(envelope.get('data'), list), 'apps: a list', body[:200])
    for path in ('/apps/user_status/api/v1/user_status', '/apps/notifications/api/v2/notifications'):
        status, envelope, body = ocs(path, version=2)
        desktop.check(status in (404, 200) and envelope.get('meta'), f'{path}: an envelope', body[:200])
    status, _, body = ask('GET', '/ocs/v1.php/cloud/user', [OCS])
    desktop.check(status == 200 and b'<statuscode>100</statuscode>' in body, 'XML where no format is asked for', body[:200])
    status, _, body = ask('GET', '/index.php/ocs/v2.php/cloud/user?format=json', [OCS])
    desktop.check(status == 200 and b'"statuscode":200' in body, 'below index.php, too', body[:200])
    for path in ('/.well-known/caldav', '/.well-known/carddav'):
        desktop.want(f'{path} is answered cleanly', (404, 301, 308), ask('PROPFIND', path, [('Depth', '0')])[0])


def syncs():
    root = [XML, ('Depth', '1')]
    asked = find('d:resourcetype', 'd:getlastmodified', 'd:getcontentlength', 'd:getetag', 'oc:size', 'oc:id', 'oc:fileid', 'oc:downloadURL', 'oc:dDC',
                 'oc:permissions', 'oc:checksums', 'oc:data-fingerprint', 'oc:share-types')
    desktop.want('MKCOL', 201, desktop.send('MKCOL', desktop.url(top), [ACCEPT])[0])
    status, headers, body = desktop.send('PROPFIND', desktop.url(top), root, asked)
    desktop.want('the listing', 207, status, body)
    desktop.check('application/xml' in headers.get('Content-Type', ''), 'is application/xml', headers.get('Content-Type'))
    own = desktop.only(status, body)
    desktop.check('G' in (text_of(own.get(f'{OC}permissions')) or '') and own.get(f'{OC}id') is not None, 'has letters with G, and an id', body[:300])
    before = desktop.send('PROPFIND', desktop.url(''), [XML, ('Depth', '0')], find('d:getetag'))[2]
    name = f'{top}/a.txt'
    put = [ACCEPT, ('Content-Type', 'application/octet-stream'), ('OC-Checksum', 'SHA1:0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33'), ('OC-Total-Length', '3'),
           ('OC-Chunk-Size', '10000000'), ('X-OC-Mtime', '1600000000')]
    status, headers, body = desktop.send('PUT', desktop.url(name), put, b'foo')
    desktop.want('PUT as the desktop sends it', 201, status, body)
    desktop.check(headers.get('OC-FileId') and headers.get('OC-ETag', headers.get('ETag', '')).startswith('"'), 'answers id and etag', dict(headers))
    desktop.check(headers.get('X-OC-MTime') == 'accepted', 'and takes the time', dict(headers))
    after = desktop.send('PROPFIND', desktop.url(''), [XML, ('Depth', '0')], find('d:getetag'))[2]
    desktop.check(desktop.properties(before) != desktop.properties(after), 'the etag of the root tells of it')
    status, _, body = desktop.send('PUT', desktop.url(name), [*put, ('If-Match', '"stale"')], b'foo')
    desktop.want('an edit of what is stale', 412, status, body)
    status, headers, _ = desktop.send('GET', desktop.url(name), [ACCEPT])
    desktop.check(status == 200 and headers.get('ETag', '').startswith('"') and headers.get('OC-Checksum', '').startswith('SHA1:'), 'GET has etag and checksum', dict(headers))


def phones():
    desktop.want('index.php/204', 204, ask('GET', '/index.php/204', known=False, agent=PHONE)[0])
    for path in ('/.well-known/webfinger?resource=x', '/.well-known/openid-configuration'):
        desktop.want(f'{path.split("?")[0]} is not there', 404, ask('GET', path, known=False, agent=PHONE)[0])
    status, envelope, body = ocs(f'/cloud/users/{user}', version=2)
    desktop.check(status == 200 and envelope.get('data', {}).get('id') == user, 'the account by its name', body[:200])
    status, _, body = ask('GET', '/ocs/v2.php/core/getapppassword?format=json', [OCS], agent=PHONE)
    desktop.check(status == 200 and b'"apppassword":"' in body, 'an app password for the account password', body[:80])
    made = json.loads(body)['ocs']['data']['apppassword'] if status == 200 else ''

    login = ('Authorization', 'Basic ' + base64.b64encode(f'{user}:{made}'.encode()).decode())
    desktop.want('it works', 207, ask('PROPFIND', f'/remote.php/dav/files/{user}/', [login, ('Depth', '0')], known=False, agent=PHONE)[0])
    desktop.want('it gives no other', 403, ask('GET', '/ocs/v2.php/core/getapppassword?format=json', [OCS, login], known=False, agent=PHONE)[0])
    desktop.want('and is given back', 200, ask('DELETE', '/ocs/v2.php/core/apppassword?format=json', [OCS, login], known=False, agent=PHONE)[0])
    desktop.want('then it is of no use', 401, ask('PROPFIND', f'/remote.php/dav/files/{user}/', [login, ('Depth', '0')], known=False, agent=PHONE)[0])
    photo = f'{top}/made on the way/photo.jpg'
    headers = [ACCEPT, ('X-OC-Mtime', '1600000000'), ('X-OC-CTime', '1600000000.25'), ('Overwrite', 'true'), ('X-NC-WebDAV-Auto-Mkcol', '1')]
    status, answered, body = desktop.send('PUT', desktop.url(photo), headers, b'jpeg', user_agent='Nextcloud-iOS/6.0')
    desktop.want('an upload of the iOS app makes its folders', 201, status, body)
    desktop.want('HEAD finds it', 200, desktop.send('HEAD', desktop.url(photo), [ACCEPT], user_agent=PHONE)[0])
    target = ('Destination', desktop.absolute(f'{top}/a.txt'))
    desktop.want('a move onto what is there is refused', 412, desktop.send('MOVE', desktop.url(photo), [ACCEPT, target, ('Overwrite', 'F')], user_agent=PHONE)[0])
    favourite = b'<?xml version="1.0"?><d:propertyupdate xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:set><d:prop><oc:favorite>1</oc:favorite></d:prop></d:set></d:propertyupdate>'
    desktop.want('a favourite is set', 207, desktop.send('PROPPATCH', desktop.url(photo), [XML], favourite, user_agent=PHONE)[0])
    status, _, body = desktop.send('PROPFIND', desktop.url(photo), [XML, ('Depth', '0')], find('oc:favorite'), user_agent=PHONE)
    desktop.check(text_of(desktop.only(status, body).get(f'{OC}favorite')) == '1', 'and stays', body[:300])


account_set_up()
after_login()
syncs()
phones()
desktop.finish()
