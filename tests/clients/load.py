"""Workers that change a folder over WebDAV without pause and know, at any moment, what the server has acknowledged.

A worker sends one request at a time. Its `model` is what was acknowledged; `pending` is the change that was sent and not yet
answered, which may or may not have happened when the server dies. `verdict` compares that with what is really there.
Standard library only; used by crash.py and powercut.py."""
import base64
import hashlib
import http.client
import os
import random
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET

FOLDER = 'folder'
FILES_MAX = 24
LOCKS_MAX = 5
REQUEST_SECONDS = 60
SIZES = (0, 1, 700, 5_000, 60_000, 300_000, 1_500_000)
SIZE_WEIGHTS = (1, 2, 8, 8, 6, 3, 1)
LOCK_BODY = (b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
             b'<D:locktype><D:write/></D:locktype><D:owner>load</D:owner></D:lockinfo>')
LIST_BODY = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getetag/></prop></propfind>'
LOST = (OSError, http.client.HTTPException)


class Wire:
    """One connection, no retry: an unanswered request stays unanswered."""

    def __init__(self, base, user='', password='', context=None):
        self.base, self.context = urllib.parse.urlsplit(base), context
        self.root = urllib.parse.unquote(self.base.path).rstrip('/')
        self.headers = {}
        if user:
            self.headers['Authorization'] = 'Basic ' + base64.b64encode(f'{user}:{password}'.encode()).decode()
        self.connection = None

    def url(self, name):
        return urllib.parse.quote(f'{self.root}/{name}')

    def send(self, method, name, body=None, headers=(), chunked=False):
        """Returns (status, headers, body)."""
        if self.connection is None:
            kind, options = http.client.HTTPConnection, {}
            if self.base.scheme == 'https':
                kind, options = http.client.HTTPSConnection, {'context': self.context}
            self.connection = kind(self.base.hostname, self.base.port, timeout=REQUEST_SECONDS, **options)
        try:
            given = {**self.headers, **dict(headers)}
            data = (body[at:at + 16384] for at in range(0, len(body), 16384)) if chunked else body
            self.connection.request(method, self.url(name), body=data, headers=given, encode_chunked=chunked)
            answer = self.connection.getresponse()
            content = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, answer.headers, content
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def children(self, name):
        """Name → is it a collection, of one collection; None when it is not there."""
        status, _, body = self.send('PROPFIND', f'{name}/' if name else '', LIST_BODY, {'Depth': '1', 'Content-Type': 'application/xml'})
        if status == 404:
            return None
        if status != 207:
            raise http.client.HTTPException(f'PROPFIND of {name!r} answered {status}')
        found, own = {}, f'{self.root}/{name}'.rstrip('/')
        for response in ET.fromstring(body).findall('{DAV:}response'):
            path = urllib.parse.unquote(urllib.parse.urlsplit(response.findtext('{DAV:}href').strip()).path).rstrip('/')
            if path != own:
                found[path.rsplit('/', 1)[-1]] = response.find('.//{DAV:}resourcetype/{DAV:}collection') is not None
        return found

    def tree(self, name):
        """Everything below a collection: path → FOLDER or the digest of the content; None when it is not there."""
        listed = self.children(name)
        if listed is None:
            return None
        found = {}
        for child, is_folder in listed.items():
            path = f'{name}/{child}'
            if is_folder:
                found[child] = FOLDER
                found.update({f'{child}/{below}': what for below, what in (self.tree(path) or {}).items()})
            else:
                status, _, body = self.send('GET', path)
                found[child] = digest(body) if status == 200 else f'GET answered {status}'
        return found


def digest(data):
    return f'{hashlib.sha256(data).hexdigest()[:16]} of {len(data)} bytes'


def tree_on_disk(folder):
    """The same shape as `Wire.tree`, read from the file system."""
    found = {}
    for inside, folders, files in os.walk(folder):
        start = os.path.relpath(inside, folder)
        start = '' if start == '.' else f'{start}/'
        for name in folders:
            found[start + name] = FOLDER
        for name in files:
            with open(os.path.join(inside, name), 'rb') as file:
                found[start + name] = digest(file.read())
    return found


class Change:
    """A request that was sent: what the tree is if it happened. `partial` is the target that may be there in part."""

    def __init__(self, text, after, partial=None, lock=None):
        self.text, self.after, self.partial, self.lock = text, after, partial, lock


def below(path, top):
    return path == top or path.startswith(f'{top}/')


def moved(tree, source, target, keep_source):
    """The tree after a MOVE or COPY of `source` to `target`."""
    after = {path: what for path, what in tree.items() if not below(path, target) and (keep_source or not below(path, source))}
    after.update({target + path[len(source):]: what for path, what in tree.items() if below(path, source)})
    return after


def differences(wanted, got):
    lines = []
    for path in sorted(set(wanted) | set(got)):
        if wanted.get(path) != got.get(path):
            lines.append(f'{path!r}: acknowledged {wanted.get(path, "nothing")}, is {got.get(path, "nothing")}')
    return lines


def verdict(before, pending, actual):
    """The faults of `actual`: none when it is the acknowledged tree, or that with the pending change."""
    if actual is None:
        return ['the folder itself is gone']
    if actual == before or (pending and actual == pending.after):
        return []
    if pending and pending.partial:
        target = pending.partial
        inside = {path: what for path, what in actual.items() if below(path, target)}
        outside = {path: what for path, what in actual.items() if not below(path, target)}
        if outside == {path: what for path, what in before.items() if not below(path, target)}:
            if all(pending.after.get(path) == what for path, what in inside.items()):
                return []
    return differences(before, actual) + ([f'(pending was: {pending.text})'] if pending else [])


class Worker(threading.Thread):
    """Changes `folder` of `wire` until told to stop or until the server is lost."""

    def __init__(self, name, wire, folder, chance, moment, limit_per_second=None):
        super().__init__(name=name, daemon=True)
        self.wire, self.folder, self.chance = wire, folder, chance
        self.model, self.pending, self.locks, self.state = {}, None, {}, threading.Lock()
        self.stuck = set()            # may be locked by a token that nobody was told: left alone
        self.moment = moment          # has .stopping (Event) and .killed_at (time or None)
        self.faults, self.acknowledged, self.serial = [], 0, 0
        self.etags = {}
        self.limit_per_second = limit_per_second

    def again(self):
        """A new thread that goes on where this one ended."""
        other = Worker(self.name, self.wire, self.folder, self.chance, self.moment, self.limit_per_second)
        other.model, other.locks, other.serial, other.etags, other.acknowledged = self.model, self.locks, self.serial, self.etags, self.acknowledged
        other.stuck = self.stuck
        return other

    def run(self):
        while not self.moment.stopping.is_set():
            try:
                self.step()
            except LOST as error:
                if self.moment.killed_at is None:
                    self.faults.append(f'{self.name}: {self.pending.text if self.pending else "a request"} failed before the kill: {error!r}')
                return
            if self.faults:
                return
            if self.limit_per_second:
                time.sleep(1 / self.limit_per_second)
        self.wire.close()

    def snapshot(self):
        with self.state:
            return dict(self.model), self.pending, dict(self.locks)

    def apply(self, change, wanted, method, name, body=None, headers=(), chunked=False):
        """Sends the request of `change`; returns the headers when it was acknowledged, else None."""
        with self.state:
            self.pending = change
        status, answered, content = self.wire.send(method, f'{self.folder}/{name}', body, headers, chunked)
        if status not in wanted:
            # The other server of a mount may have been killed: then nothing is known of the change.
            if self.moment.killed_at is None or status < 500:
                self.faults.append(f'{self.name}: {change.text} answered {status}, wanted {wanted}: {content[:200]!r}')
                return None
            raise http.client.HTTPException(f'{status} after the kill')
        with self.state:
            self.model, self.pending = change.after, None
            if change.lock and method == 'LOCK':
                self.locks[change.lock] = answered['Lock-Token'].strip('<> ')
            elif change.lock:
                del self.locks[change.lock]
            self.acknowledged += 1
        return answered

    # ---- the changes

    def step(self):
        kinds = {'put': 10, 'overwrite': 6, 'mkcol': 3, 'move': 5, 'move_folder': 2, 'copy': 4, 'copy_folder': 1, 'delete': 5,
                 'delete_folder': 1, 'lock': 2, 'unlock': 1}
        if len(self.model) - len(self.locks) - len(self.stuck) > FILES_MAX:
            kinds.update(delete=20, delete_folder=6, put=3, copy=1, copy_folder=0)
        kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
        getattr(self, kind)()

    def fresh(self, prefix):
        self.serial += 1
        inside = self.some(FOLDER, default='')
        if inside.count('/') > 1 or self.chance.random() < 0.4:
            inside = ''
        return f'{inside}/{prefix} {self.serial} é'.lstrip('/')

    def some(self, kind, default=None):
        """A folder, or a file that is not locked."""
        names = sorted(path for path, what in self.model.items()
                       if (what == FOLDER) == (kind == FOLDER) and path not in self.locks and path not in self.stuck)
        return self.chance.choice(names) if names else default

    def some_folder(self):
        """A folder with no locked file in it."""
        name = self.some(FOLDER)
        return name if name and not any(below(path, name) for path in self.locks) else None

    def content(self):
        size = self.chance.choices(SIZES, SIZE_WEIGHTS)[0]
        return self.chance.randbytes(size)

    def put(self):
        self.put_to(self.fresh('file'), 201)

    def overwrite(self):
        name = self.some('file')
        if name:
            self.put_to(name, 204)

    def put_to(self, name, status):
        data, chunked = self.content(), self.chance.random() < 0.3
        change = Change(f'PUT {name!r} of {len(data)} bytes', {**self.model, name: digest(data)})
        answered = self.apply(change, (status,), 'PUT', name, data, chunked=chunked)
        etag = answered and answered['ETag']
        # An etag that comes again for other bytes makes a client keep the wrong ones.
        if etag and self.etags.setdefault((name, etag), digest(data)) != digest(data):
            self.faults.append(f'{self.name}: etag {etag} of {name!r} was used before for other content')

    def mkcol(self):
        name = self.fresh('folder')
        self.apply(Change(f'MKCOL {name!r}', {**self.model, name: FOLDER}), (201,), 'MKCOL', name)

    def relocate(self, method, source, target, statuses, partial=None):
        change = Change(f'{method} {source!r} to {target!r}', moved(self.model, source, target, method == 'COPY'), partial)
        base = self.wire.base
        destination = f'{base.scheme}://{base.netloc}' + self.wire.url(f'{self.folder}/{target}')
        self.apply(change, statuses, method, source, headers={'Destination': destination})

    def move(self):
        source, over = self.some('file'), self.some('file')
        if source and over and over != source and self.chance.random() < 0.4:
            self.relocate('MOVE', source, over, (204,))
        elif source:
            self.relocate('MOVE', source, self.fresh('moved'), (201,))

    def copy(self):
        source, over = self.some('file'), self.some('file')
        if source and over and over != source and self.chance.random() < 0.4:
            self.relocate('COPY', source, over, (204,))
        elif source:
            self.relocate('COPY', source, self.fresh('copy'), (201,))

    def move_folder(self):
        source, target = self.some_folder(), self.fresh('moved')
        if source and not below(target, source):
            self.relocate('MOVE', source, target, (201,))

    def copy_folder(self):
        source, target = self.some_folder(), self.fresh('copied')
        if source and not below(target, source):
            self.relocate('COPY', source, target, (201,), partial=target)

    def delete(self):
        self.delete_of(self.some('file'))

    def delete_folder(self):
        self.delete_of(self.some_folder())

    def delete_of(self, name):
        if name:
            after = {path: what for path, what in self.model.items() if not below(path, name)}
            self.apply(Change(f'DELETE {name!r}', after), (204,), 'DELETE', name)

    def lock(self):
        # Only names of its own, at the top: what a lost LOCK leaves behind stops no other change.
        if len(self.locks) >= LOCKS_MAX:
            self.unlock()
            return
        self.serial += 1
        name = f'locked {self.serial}'
        self.put_to(name, 201)
        if self.model.get(name):
            headers = {'Depth': '0', 'Timeout': 'Second-3600', 'Content-Type': 'application/xml'}
            self.apply(Change(f'LOCK {name!r}', self.model, lock=name), (200, 201), 'LOCK', name, LOCK_BODY, headers)

    def unlock(self):
        if self.locks:
            name = sorted(self.locks)[0]
            self.apply(Change(f'UNLOCK {name!r}', self.model, lock=name), (204,), 'UNLOCK', name, headers={'Lock-Token': f'<{self.locks[name]}>'})

    # ---- after the restart

    def settle(self, actual):
        """Takes what is really there as acknowledged, and forgets the pending change. Returns the locks that must be held."""
        held = dict(self.locks)
        if self.pending and self.pending.lock:
            held.pop(self.pending.lock, None)
            self.stuck.add(self.pending.lock)
        self.model, self.pending, self.locks = dict(actual), None, {}
        return held


def lock_faults(wire, folder, locks):
    """Every acknowledged lock still refuses those without its token, and its token still ends it."""
    faults = []
    for name, token in locks.items():
        status, _, _ = wire.send('PROPPATCH', f'{folder}/{name}', b'<?xml version="1.0"?><propertyupdate xmlns="DAV:"><set><prop>'
                                 b'<x xmlns="urn:x">y</x></prop></set></propertyupdate>', {'Content-Type': 'application/xml'})
        if status != 423:
            faults.append(f'lock of {name!r} is not held: PROPPATCH without its token answered {status}, wanted 423')
        status, _, _ = wire.send('UNLOCK', f'{folder}/{name}', headers={'Lock-Token': f'<{token}>'})
        if status != 204:
            faults.append(f'lock of {name!r}: UNLOCK with its token answered {status}, wanted 204')
    return faults


class Moment:
    """Of one round: when the workers stop, and when the kill was."""

    def __init__(self):
        self.stopping = threading.Event()
        self.killed_at = None


def chance_of(seed, name):
    return random.Random(f'{seed} {name}')
