"""Shared by finder-replay.py and windows-replay.py: sends requests with exactly the given headers, in order, and judges the answers."""
import base64
import http.client
import os
import ssl
import sys
import urllib.parse
import xml.etree.ElementTree as ET

TIMEOUT_SECONDS = 60
CHUNK_BYTES = 65536


class Replay:
    """One client with its own user agent, in a scratch collection of its own."""

    def __init__(self, name, user_agent):
        if len(sys.argv) < 4:
            print(f'usage: {sys.argv[0]} BASE_URL USER PASSWORD')
            sys.exit(2)
        base, user, password = sys.argv[1:4]
        self.name, self.user_agent = name, user_agent
        self.base = urllib.parse.urlsplit(base if base.endswith('/') else f'{base}/')
        self.root = urllib.parse.unquote(self.base.path)
        self.authorization = 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()
        self.scratch = f't-{name}-{os.getpid()}'
        self.passed = self.failed = 0
        self.connection = None

    # ---- requests

    def url(self, name):
        return urllib.parse.quote(self.root + name, safe="/!$&'()*+,;=:@~-._")

    def absolute(self, name):
        return f'{self.base.scheme}://{self.base.netloc}{self.url(name)}'

    def connected(self):
        if self.connection is None:
            where = (self.base.hostname, self.base.port)
            if self.base.scheme == 'https':
                context = ssl.create_default_context(cafile=os.environ.get('CAFILE') or None)
                self.connection = http.client.HTTPSConnection(*where, context=context, timeout=TIMEOUT_SECONDS)
            else:
                self.connection = http.client.HTTPConnection(*where, timeout=TIMEOUT_SECONDS)
        return self.connection

    def send(self, method, path, headers=(), body=None, chunked=False, known=True, user_agent=None):
        """`path` is absolute and encoded; without `known` no credentials are sent. Returns (status, headers, body)."""
        for last in (False, True):
            try:
                answer = self.sent(method, path, headers, body, chunked, known, user_agent)
                data = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                self.connection = None
                if last:
                    raise
        if answer.will_close:
            self.connection.close()
            self.connection = None
        return answer.status, answer.headers, data

    def sent(self, method, path, headers, body, chunked, known, user_agent):
        connection = self.connected()
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader('Host', self.base.netloc)
        connection.putheader('User-Agent', user_agent or self.user_agent)
        for key, value in headers:
            connection.putheader(key, value)
        if known:
            connection.putheader('Authorization', self.authorization)
        if chunked:
            connection.putheader('Transfer-Encoding', 'chunked')
        elif body is not None:
            connection.putheader('Content-Length', str(len(body)))
        connection.endheaders()
        if chunked:
            for at in range(0, len(body), CHUNK_BYTES):
                piece = body[at:at + CHUNK_BYTES]
                connection.send(b'%x\r\n%b\r\n' % (len(piece), piece))
            connection.send(b'0\r\n\r\n')
        elif body:
            connection.send(body)
        return connection.getresponse()

    def get(self, name):
        return self.send('GET', self.url(name), [('Accept', '*/*')])

    # ---- answers

    def check(self, good, label, seen=''):
        if good:
            self.passed += 1
            print(f'PASS {self.name}: {label}')
        else:
            self.failed += 1
            print(f'FAIL {self.name}: {label}: {seen}')
        return bool(good)

    def want(self, label, wanted, status, body=b''):
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        return self.check(status in wanted, label, f'status {status}, wanted {wanted} {body[:160]!r}')

    def properties(self, body):
        """Path → {name: element} of the properties that were found."""
        found = {}
        for response in ET.fromstring(body).findall('{DAV:}response'):
            elements = {}
            for part in response.findall('{DAV:}propstat'):
                if ' 200' in part.findtext('{DAV:}status', ''):
                    elements.update({element.tag: element for element in part.find('{DAV:}prop')})
            href = response.findtext('{DAV:}href').strip()
            found[urllib.parse.unquote(urllib.parse.urlsplit(href).path).rstrip('/')] = elements
        return found

    def only(self, status, body):
        """The properties of the one member of an answer."""
        return next(iter(self.properties(body).values()), {}) if status == 207 else {}

    def token(self, body):
        try:
            return ET.fromstring(body).findtext('.//{DAV:}locktoken/{DAV:}href').strip()
        except (ET.ParseError, AttributeError):
            return None

    def finish(self):
        self.send('DELETE', self.url(f'{self.scratch}/'), [('Accept', '*/*')])
        print(f'# {self.name}: {self.passed} passed, {self.failed} failed')
        sys.exit(1 if self.failed or not self.passed else 0)


def text_of(element):
    return None if element is None else element.text
