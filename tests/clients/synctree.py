"""What a sync client is measured against: a tree that is changed on two sides at once, and what both sides must be afterwards.

Every content is written once only, so that a hash tells which edit of which file it is. In a round each side changes what belongs to it
alone, and both change a few files of the folder `both`; so what must come of it is known exactly. Standard library only."""
import hashlib
import http.client
import os
import pathlib
import re
import shutil
import time

from davlib import FOLDER, local_tree

BOTH = 'both'
# The client's own files, and its copies of what lost a conflict.
PRIVATE = re.compile(r'(^|/)(\._sync_|\.sync_|\._?owncloudsync|\.nextcloudsync|\.owncloudsync)')
CONFLICT = re.compile(r'(\(conflicted copy [^)]*\)|_conflict-[^/]*)')
HOSTILE = ['with space', 'Grüße ünï', '文件', '100%', 'a%20b', '#hash', "it's (1) [x] {y}", 'semi;comma,at@', 'plus+and&amp=', '\U0001F600 emoji',
           'dollar$ caret^ back`tick', 'tilde~bang!', 'ends with dot.', 'UPPER', 'x' * 120, '.hidden']
SIZES = (0, 1, 700, 5_000, 40_000, 200_000)


def folder_of(path):
    return path.rsplit('/', 1)[0] + '/' if '/' in path.rstrip('/') else ''


class Local:
    """The folder on the user's disk. Times are set in the past, one second apart: a client leaves alone what changed just now."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.time = int(time.time()) - 1_000_000

    def write(self, path, data):
        self.time += 1
        with open(self.root / path, 'wb') as file:
            file.write(data)
        os.utime(self.root / path, (self.time, self.time))

    def mkdir(self, path):
        (self.root / path).mkdir()

    def move(self, source, target):
        (self.root / source).rename(self.root / target)

    def remove(self, path):
        where = self.root / path
        shutil.rmtree(where) if path.endswith('/') else where.unlink()

    def tree(self):
        """Contents, without what the client keeps for itself; and the contents of conflict copies."""
        found = {path: what for path, what in local_tree(self.root).items() if not PRIVATE.search(path)}
        copies = {path: what for path, what in found.items() if CONFLICT.search(path)}
        return {path: what for path, what in found.items() if path not in copies}, copies

    def drop_copies(self):
        for path in self.tree()[1]:
            if not path.endswith('/'):
                (self.root / path).unlink()


class Remote:
    """The same tree on the server, changed by another client over WebDAV."""

    def __init__(self, dav, root):
        self.dav, self.root = dav, root.rstrip('/')

    def send(self, method, path, wanted, body=None, headers=()):
        for last in (False, True):
            status, text = self.dav.request(method, f'{self.root}/{path}', body, headers)
            if status in wanted:
                return
            if last or status != 503:
                raise AssertionError(f'{method} of {path!r} on the server answered {status}: {text[:200]!r}')
            time.sleep(1)

    def write(self, path, data):
        self.send('PUT', path, (201, 204), data)

    def mkdir(self, path):
        self.send('MKCOL', path.rstrip('/') + '/', (201,))

    def move(self, source, target):
        to = self.dav.url(f'{self.root}/{target}')
        self.send('MOVE', source, (201, 204), headers={'Destination': to, 'Overwrite': 'F'})

    def remove(self, path):
        self.send('DELETE', path, (204,))


class Tree:
    """What everybody agreed on last, and the changes of a round."""

    def __init__(self, chance, local):
        self.chance, self.local = chance, local
        self.expected = {}       # path → (sha256 or 'folder', size)
        self.serial = 0
        self.losers = {}         # sha256 → which edit lost a conflict: it must be kept in a copy
        self.renamed = set()     # folders that were renamed in this round, by their new names
        self.log = []

    # ---- making

    def content(self, what, size=None):
        self.serial += 1
        size = self.chance.choice(SIZES) if size is None else size
        head = f'{self.serial} {what} {self.chance.random()}\n'.encode()
        return head + self.chance.randbytes(size)

    def put(self, side, path, data):
        side.write(path, data)
        self.expected[path] = (hashlib.sha256(data).hexdigest(), len(data))

    def plant(self, files, folders):
        """The first tree, on the local side: hostile names in folders up to four deep."""
        self.make_folder(self.local, f'{BOTH}/')
        made = []
        for number in range(folders):
            parent = self.chance.choice([path for path in made if path.count('/') < 4]) if made and self.chance.random() < 0.5 else ''
            path = f'{parent}{self.name("d", number)}/'
            self.make_folder(self.local, path)
            made.append(path)
        for number in range(files):
            self.put(self.local, self.chance.choice(made) + self.name('f', number) + '.txt', self.content('first'))

    def make_folder(self, side, path):
        side.mkdir(path)
        self.expected[path] = FOLDER

    def name(self, letter, number):
        hostile = self.chance.choice(HOSTILE) if self.chance.random() < 0.4 else 'plain'
        # A leading dot stays one; two names never differ only in case.
        return f'{hostile} {letter}{number}'

    # ---- a round

    def round(self, number, sides, changes):
        """Changes by both sides, each in top folders of its own, and conflicts."""
        self.losers, self.renamed, self.log = {}, set(), []
        tops = sorted(path for path in self.expected if path.count('/') == 1 and path.endswith('/') and path != f'{BOTH}/')
        self.chance.shuffle(tops)
        half = len(tops) // 2
        for side, own in zip(sides, (tops[:half], tops[half:])):
            mine = set(own)
            for count in range(changes):
                self.change(side, mine, f'{number}-{count}')
        self.conflicts(sides, number)

    def below(self, tops, folders):
        return [path for path in self.expected if path.endswith('/') == folders and any(path.startswith(top) for top in tops)]

    def change(self, side, tops, tag):
        folders, files = sorted(self.below(tops, True)), sorted(self.below(tops, False))
        who = type(side).__name__
        kind = self.chance.choice(['edit', 'edit', 'edit', 'new', 'new', 'rename', 'rename', 'move', 'delete', 'new folder', 'rename folder', 'delete folder'])
        self.log.append(f'{who}: {kind}')
        if kind == 'edit' and files:
            path = self.chance.choice(files)
            self.put(side, path, self.content(f'{who} {tag}'))
        elif kind == 'new' and folders:
            self.put(side, self.chance.choice(folders) + self.name(f'{who}-n', tag) + '.txt', self.content(f'{who} {tag}'))
        elif kind in ('rename', 'move') and files and folders:
            path = self.chance.choice(files)
            parent = folder_of(path) if kind == 'rename' else self.chance.choice(folders)
            self.relocate(side, path, parent + self.name(f'{who}-r', tag) + '.txt')
        elif kind == 'delete' and files:
            path = self.chance.choice(files)
            side.remove(path)
            del self.expected[path]
        elif kind == 'new folder' and folders:
            path = self.chance.choice([path for path in folders if path.count('/') < 6] or [min(folders)]) + self.name(f'{who}-d', tag) + '/'
            self.make_folder(side, path)
            self.put(side, path + 'in a new folder.txt', self.content(f'{who} {tag}'))
        elif kind == 'rename folder' and folders:
            path = self.chance.choice(folders)
            target = folder_of(path.rstrip('/')) + self.name(f'{who}-m', tag) + '/'
            self.relocate(side, path, target)
            if path in tops:
                tops.discard(path)
                tops.add(target)
        elif kind == 'delete folder' and folders:
            # A small one, and never the last.
            small = [path for path in folders if path not in tops and len(self.below({path}, False)) <= 10]
            if small:
                path = self.chance.choice(small)
                side.remove(path)
                for gone in [at for at in self.expected if at.startswith(path)]:
                    del self.expected[gone]

    def relocate(self, side, source, target):
        side.move(source.rstrip('/'), target.rstrip('/'))
        for path in [at for at in self.expected if at == source or (source.endswith('/') and at.startswith(source))]:
            self.expected[target + path[len(source):]] = self.expected.pop(path)
        if source.endswith('/'):
            self.renamed = {target + at[len(source):] if at.startswith(source) else at for at in self.renamed} | {target}

    def conflicts(self, sides, number):
        """Both change the same file. What is on the server stays in place; what was edited is never lost."""
        local, remote = sides
        known = [path for path in sorted(self.expected) if path.startswith(f'{BOTH}/') and not path.endswith('/')]
        self.chance.shuffle(known)
        for at, kind in enumerate(('edit', 'local edit', 'remote edit')):
            if len(known) <= at:
                break
            path = known[at]
            self.log.append(f'both: {kind}')
            if kind == 'edit':
                self.lose(local, path, number)
                self.put(remote, path, self.content(f'remote wins {number}'))
            elif kind == 'local edit':
                remote.remove(path)
                self.put(local, path, self.content(f'edited, deleted there {number}'))
            else:
                local.remove(path)
                self.put(remote, path, self.content(f'edited, deleted here {number}'))
        path = f'{BOTH}/made twice {number}.txt'
        self.lose(local, path, number)
        self.put(remote, path, self.content(f'remote made {number}'))

    def lose(self, local, path, number):
        data = self.content(f'local loses {number}')
        local.write(path, data)
        self.losers[hashlib.sha256(data).hexdigest()] = path

    # ---- judging

    def faults(self, here, copies, there):
        """What is wrong with both sides after a sync."""
        found = compare('here', here, self.expected) + compare('on the server', there, self.expected)
        kept = {what[0] for what in copies.values()}
        return found + [f'the local edit of {path!r} is in no conflict copy' for sha, path in self.losers.items() if sha not in kept]

    def losses(self, here, copies, there):
        """What is wrong after a sync that was disturbed. A client whose request had no answer does not know whether its rename or deletion was done, and
        may take it back: but both sides are the same, and no content is missing."""
        found = [] if here == there else compare('on the server, and not as here', there, here)
        contents = {what[0] for what in [*here.values(), *copies.values()]}
        wanted = {what[0]: path for path, what in self.expected.items()} | self.losers
        return found + [f'the content of {path!r} is lost' for sha, path in wanted.items() if sha not in contents]


def compare(where, found, expected):
    faults = []
    for path in sorted(set(found) | set(expected)):
        got, want = found.get(path), expected.get(path)
        if got != want:
            faults.append(f'{where}: {path!r} is {text(got)}, must be {text(want)}')
    return faults


def text(what):
    return 'absent' if what is None else what[0] if what == FOLDER else f'{what[0][:8]} of {what[1]} bytes'


LOST = (OSError, http.client.HTTPException)
