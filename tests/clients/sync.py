#!/usr/bin/env python3
"""sync.py [--client owncloudcmd|nextcloudcmd]… [--scenario NAME]… [--rounds N] [--files N] [--seed N] [--jobs N]

The command line twins of the ownCloud and Nextcloud desktop clients against real servers. Scenarios:
  home      1,000 files in 60 folders up, down to an empty folder, then rounds of changes and conflicts on both sides
  mount     the same in a writable mount; the other side is the owner's home on the server that shares
  crash     the rounds with kill -9 of the server while the client works
  offline   the rounds in a mount whose server is killed and started again in the middle; and what must not happen while it is away
  readonly  a read-only mount keeps what was added to it locally, and brings back what was changed or deleted there
  resume    an upload of 300 MB whose client and server are killed goes on where it was; resume_mount the same into a mount
  refused   a full quota, a lock, maintenance
After each round both sides must be what `synctree` says, byte for byte. Ends with "N passed, N failed"."""
import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request

import servers
from davlib import Dav, local_tree
from synctree import BOTH, LOST, Local, Remote, Tree, compare

CLIENTS = ('owncloudcmd', 'nextcloudcmd')
SYNC_SECONDS = 300
SETTLE_RUNS = 4
CRASH_SETTLE_SECONDS = 100
CHANGES = 10
FOLDERS = 60
LARGE_BYTES = 300_000_000
CHUNK_BYTES = 10_000_000
SEEN_SECONDS = 5
QUIET_SECONDS = 4
# A listing in a mount may be so old; a client that has seen an old one takes its own changes for the only ones.
STALE_SECONDS = 2.5
# How both clients log what becomes of a request. A job of these two kinds sends none.
STARTED = re.compile(r'Starting \S+ propagation of "(.*)" by OCC::(\w+)\(')
COMPLETED = re.compile(r'Completed propagation of "(.*)" by OCC::(\w+)\(')
FAILED = re.compile(r'Could not complete propagation of "(.*)" by OCC::(\w+)\(')
SILENT_JOBS = ('PropagateIgnoreJob', 'PropagateDirectory')
MOVED = re.compile(r'remotemove.*\]:\t"([^"]*)" "([^"]*)"$', re.M)
GIVE_UP_SECONDS = 20
EXCLUDE = '*~\n]*.part\n.sync_*.db*\n._sync_*.db*\n.csync_journal.db*\n.owncloudsync.log*\n.nextcloudsync.log*\n'


class Failed(Exception):
    """A check failed; the text says which."""


class Client:
    """One of the programs, with one local folder and one folder on the server."""

    def __init__(self, program, folder, local, server, user, password, remote):
        self.program, self.local, self.folder = program, pathlib.Path(local), pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.local.mkdir(parents=True, exist_ok=True)
        exclude = self.folder / 'exclude.lst'
        exclude.write_text(EXCLUDE)
        home = self.folder / 'home'
        for name in ('.config', '.local/share', '.cache'):
            (home / name).mkdir(parents=True, exist_ok=True)
        chunk = str(CHUNK_BYTES)
        self.environment = {
            'PATH': os.environ['PATH'], 'HOME': str(home), 'XDG_CONFIG_HOME': str(home / '.config'), 'XDG_DATA_HOME': str(home / '.local/share'),
            'XDG_CACHE_HOME': str(home / '.cache'), 'XDG_RUNTIME_DIR': str(home), 'QT_QPA_PLATFORM': 'offscreen', 'LC_ALL': 'C.UTF-8', 'LANG': 'C.UTF-8',
            # What failed is tried again after seconds, not after half a minute and more.
            'OWNCLOUD_BLACKLIST_TIME_MIN': '1', 'OWNCLOUD_BLACKLIST_TIME_MAX': '2',
            'OWNCLOUD_CHUNK_SIZE': chunk, 'OWNCLOUD_MIN_CHUNK_SIZE': chunk, 'OWNCLOUD_MAX_CHUNK_SIZE': chunk}
        self.command = [program, '--non-interactive', '--trust', '--max-sync-retries', '1', '-h', '--exclude', str(exclude), '--logdebug',
                        '-u', user, '-p', password]
        if program == 'nextcloudcmd':
            self.command += ['--path', f'/{remote}', str(local), server]
        else:
            self.command += [str(local), f'{server}/remote.php/webdav/{urllib.parse.quote(remote)}']
        self.runs = 0

    @property
    def log(self):
        return self.folder / f'run {self.runs}.log'

    def start(self):
        self.runs += 1
        self.out = open(self.log, 'wb')
        return subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT)

    def run(self):
        """Returns the exit code; contents are what counts."""
        process = self.start()
        try:
            return process.wait(SYNC_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed(f'{self.program} did not end within {SYNC_SECONDS} s\n{self.tail()}') from None
        finally:
            self.out.close()

    def refused(self, log):
        """Paths of which a run says that a request about them had no success; of a rename both."""
        text = log.read_text(errors='replace')
        failed = set(FAILED.findall(text)) | set(STARTED.findall(text)) - set(COMPLETED.findall(text))
        paths = {path for path, job in failed if job not in SILENT_JOBS}
        return paths | {source for source, target in MOVED.findall(text) if target in paths}

    def drop_logs(self):
        for log in self.folder.glob('run *.log'):
            log.unlink()

    def text(self):
        return self.log.read_text(errors='replace')

    def tail(self, lines=14):
        words = re.compile(r'warning|critical|fatal|rror|onflict', re.I)
        noise = re.compile(r'QSsl|qt\.|Hunspell|mapping|plugin|sync\.database|discovery.*rror string:? *$', re.I)
        told = [line for line in self.text().splitlines() if words.search(line) and not noise.search(line)]
        return '\n'.join(f'    client | {line[:400]}' for line in told[-lines:])


class Scenario:
    """Two servers, Bob's account, one client. A is the server that shares, B the one that Bob's client speaks to."""

    def __init__(self, name, program, folder, certs, options):
        self.name, self.program, self.options = name, program, options
        self.folder = pathlib.Path(folder)
        self.pair = servers.Pair(self.folder / 'servers', certs)
        self.seed = options.seed
        self.chance = random.Random(f'{self.seed} {name} {program}')
        self.certs, self.passed, self.lines, self.measured = certs, 0, [], {}
        self.taken_back, self.left_behind = 0, 0

    # ---- what scenarios are made from

    def note(self, text):
        self.passed += 1
        self.lines.append(f'PASS {self.program} {self.name}: {text}')

    def set_up(self, remote, edited):
        """`remote` is the folder in Bob's tree; `edited` is (base URL, user, password, folder) of whoever changes the other side."""
        self.client = Client(self.program, self.folder / 'client', self.folder / 'here', self.pair.b.url, 'bob', self.pair.BOB, remote)
        self.local = Local(self.client.local)
        self.dav = Dav(*edited[:3])
        self.remote = Remote(self.dav, edited[3])
        self.tree = Tree(self.chance, self.local)
        self.disk = self.pair.a.data / 'alice' / 'mounted' / 'sync' if remote.startswith(self.pair.MOUNTED) else self.pair.b.data / 'bob' / remote
        self.dav.request('MKCOL', edited[3])
        if not self.disk.is_dir():
            raise Failed(f'{self.disk} was not made')

    def in_home(self):
        self.set_up('sync', (f'{self.pair.b.url}/webdav/', 'bob', self.pair.BOB, 'sync'))

    def in_mount(self):
        self.set_up(f'{self.pair.MOUNTED}/sync', (f'{self.pair.a.url}/webdav/mounted/', 'alice', self.pair.ALICE, 'sync'))
        self.wait_for_etag(None)

    def bob(self):
        return Dav(f'{self.pair.b.url}/remote.php/webdav/', 'bob', self.pair.BOB)

    def root_etag(self):
        body = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
        status, text = self.bob().request('PROPFIND', '', body, {'Depth': '0'})
        found = re.search(rb'getetag>([^<]+)<', text)
        if status != 207 or not found:
            raise Failed(f'PROPFIND of the root answered {status}: {text[:200]!r}')
        return found[1]

    def wait_for_etag(self, old):
        """Until the folder shows (`old` is None) or Bob's root has another etag than `old`; seconds."""
        started = time.monotonic()
        while time.monotonic() - started < 30:
            if old is None:
                if self.bob().request('PROPFIND', self.pair.MOUNTED + '/sync/', headers={'Depth': '0'})[0] == 207:
                    return time.monotonic() - started
            elif self.root_etag() != old:
                return time.monotonic() - started
            time.sleep(0.1)
        raise Failed('a change on the other server did not show in the etag of the root within 30 s')

    def settle(self, what, seconds=None, disturbed=False):
        """Runs the client until both sides are as they must be; returns how often."""
        deadline, faults, codes = time.monotonic() + (seconds or 0), ['never ran'], []
        judge = self.tree.losses if disturbed else self.tree.faults
        while faults and (len(codes) < SETTLE_RUNS or (seconds and time.monotonic() < deadline)):
            if len(codes) >= SETTLE_RUNS:
                time.sleep(1)
            codes.append(self.client.run())
            here, copies = self.local.tree()
            faults = judge(here, copies, local_tree(self.disk))
        if faults and disturbed and self.show_left_behind(here, local_tree(self.disk)):
            return self.settle(what, seconds, disturbed)
        if faults:
            shown = '\n'.join(f'    {fault}' for fault in faults[:15])
            raise Failed(f'{what}: {len(faults)} faults after {len(codes)} runs (last exit codes {codes[-5:]})\n{shown}\n    changes: {self.tree.log}\n{self.client.tail()}')
        if disturbed and here != self.tree.expected:
            self.taken_back += 1
            self.judge_taken_back(what, here)
            self.tree.expected = here
        self.local.drop_copies()
        self.client.drop_logs()
        self.tree.losers = {}
        return len(codes)

    def show_left_behind(self, here, there):
        """Nextcloud's client forgets what it failed to move or delete in a folder that it renamed in the same run, and keeps the etag of what is around it:
        from then on it takes that folder for seen, and the server holds what it does not look for, until something else changes there. So
        something does: the other side gives what was left behind another name. Says whether that is all that is wrong."""
        left = sorted(path for path in there if path not in here)
        below = all(any(path.startswith(f"{at.rstrip('/')}/") for at in self.tree.renamed) for path in left)
        if not left or not below or any(here.get(path) != there.get(path) for path in here):
            return False
        tops = [path.rstrip('/') for path in left if not any(path != other and path.startswith(f"{other.rstrip('/')}/") for other in left)]
        if any(top.endswith(' left') for top in tops):
            return False
        for top in tops:
            (self.disk / top).rename(self.disk / f'{top} left')
        self.left_behind += 1
        return True

    def judge_taken_back(self, what, here):
        """What a client may take back when a request fails, without any server being able to help it:
        - Nextcloud's renames the local file or folder back when its MOVE is not answered with success ("Could not MOVE file … and successfully restored
          it" in its log), instead of trying again.
        - Both carry the rows of their journal from the old to the new place of a renamed folder only for what succeeded in the same run. What else is
          below it they do not know any more: what had been deleted comes back, and what had been edited becomes a conflict, its edit in a copy.
        How many rounds this happens in depends on the machine alone: in 2 of 20 on an idle one and in 16 at a load of 20, since it is more the later
        the client is with its renames when the server is killed. So rounds are not counted, but each change is judged: its request failed in the run
        that was disturbed, or it lies below a folder that was renamed in this round."""
        changed = compare('here', here, self.tree.expected)
        paths = [path for path in set(here) | set(self.tree.expected) if here.get(path) != self.tree.expected.get(path)]
        excused = {path.rstrip('/') for path in self.client.refused(self.disturbed) | self.tree.renamed}
        strange = [path for path in paths if not any(path.rstrip('/') == at or path.startswith(f'{at}/') for at in excused)]
        if os.environ.get('KEEP'):
            folder = self.folder / 'taken back' / what
            folder.mkdir(parents=True)
            for log in self.client.folder.glob('run *.log'):
                shutil.copy(log, folder)
            (folder / 'changes').write_text('\n'.join([*changed, *self.tree.log, '']))
        if strange:
            shown = '\n'.join(f'    {change}' for change in changed[:15])
            raise Failed(f'{what}: the client took back what no request of it failed for: {sorted(strange)}\n{shown}\n    changes: {self.tree.log}\n{self.client.tail()}')

    def first_sync(self):
        started = time.monotonic()
        self.tree.plant(self.options.files, FOLDERS)
        for number in range(6):
            self.tree.put(self.local, f'{BOTH}/known {number}.txt', self.tree.content('known'))
        self.settle('first sync up')
        self.note(f'first sync up of {self.options.files} files in {FOLDERS} folders ({time.monotonic() - started:.0f} s)')
        listed = Dav(f'{self.pair.b.url}/remote.php/webdav/', 'bob', self.pair.BOB).tree(self.where_of_bob())
        faults = compare('over WebDAV', listed, self.tree.expected)
        if faults:
            raise Failed('what WebDAV shows after the first sync:\n' + '\n'.join(faults[:10]))
        self.note('WebDAV shows the same tree')

    def where_of_bob(self):
        return 'sync' if self.disk.is_relative_to(self.pair.b.data) else f'{self.pair.MOUNTED}/sync'

    def keep_conflicting(self, number):
        """Files for the conflicts of the next round, known to both sides."""
        have = [path for path in self.tree.expected if path.startswith(f'{BOTH}/')]
        for path in have[40:]:
            self.local.remove(path)
            del self.tree.expected[path]
        for at in range(3):
            self.tree.put(self.local, f'{BOTH}/known {number}-{at}.txt', self.tree.content('known'))

    def rounds(self, disturb=None, seconds=None):
        mounted = self.where_of_bob() != 'sync'
        if mounted and not seconds:
            seconds = 2 * SEEN_SECONDS
        for number in range(1, self.options.rounds + 1):
            self.tree.round(number, (self.local, self.remote), CHANGES)
            if mounted:
                time.sleep(STALE_SECONDS)
            if disturb:
                disturb()
            elif mounted and number % 7 == 1:
                self.measured.setdefault('seen', []).append(self.time_until_seen(number))
            runs = self.settle(f'round {number}', seconds, disturb is not None)
            self.keep_conflicting(number)
            self.settle(f'after round {number}', seconds)
            self.note(f'round {number} of {CHANGES} changes on each side and conflicts ({runs} runs)')
        if disturb:
            if self.left_behind:
                self.note(f'in {self.left_behind} rounds the client did not look for what it had left behind in a folder that it renamed')
            self.note(f'in {self.taken_back} of {self.options.rounds} rounds the client took back changes, each of them one whose request had failed')

    def time_until_seen(self, number):
        """Seconds until one more change on the other server shows in the etag of Bob's root, when all before it are seen."""
        etag, since = self.root_etag(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            now = self.root_etag()
            if now != etag:
                etag, since = now, time.monotonic()
            time.sleep(0.2)
        self.tree.put(self.remote, f'{BOTH}/seen {number}.txt', self.tree.content('seen'))
        return self.wait_for_etag(etag)

    def second_device(self):
        """Everything down to an empty folder."""
        other = Client(self.program, self.folder / 'other client', self.folder / 'there', self.pair.b.url, 'bob', self.pair.BOB, self.where_of_bob())
        self.settle('before the second device')
        other.run()
        faults = compare('on the second device', Local(other.local).tree()[0], self.tree.expected)
        if faults:
            raise Failed('second device:\n' + '\n'.join(faults[:10]) + other.tail())
        self.note(f'{len(self.tree.expected)} files and folders down to an empty folder')

    # ---- the scenarios

    def home(self):
        self.in_home()
        self.first_sync()
        self.second_device()
        self.rounds()
        self.second_device_again()

    def second_device_again(self):
        shutil.rmtree(self.folder / 'there', ignore_errors=True)
        shutil.rmtree(self.folder / 'other client', ignore_errors=True)
        self.second_device()

    def mount(self):
        self.in_mount()
        self.first_sync()
        self.rounds()
        self.second_device()
        slowest = max(self.measured['seen'])
        if slowest > SEEN_SECONDS:
            raise Failed(f'a change on the other server took {slowest:.1f} s to show in the etag of the root, more than {SEEN_SECONDS}')
        self.note(f'changes on the other server showed in the etag of the root within {slowest:.1f} s')

    def crash(self):
        self.in_home()
        self.first_sync()
        self.rounds(self.kill_while_syncing, CRASH_SETTLE_SECONDS)
        self.second_device()

    def kill_while_syncing(self, server=None, away=False):
        """The client works; kill -9; the server starts again, with `away` only when the client has given up. A client that waits for ever is ended, too:
        owncloudcmd 2.11 does at times when requests fail."""
        server = server or self.pair.b
        process = self.client.start()
        self.disturbed = self.client.log
        try:
            time.sleep(self.chance.uniform(0.05, 2.0))
            server.kill()
            if away:
                self.ended(process)
            server.start()
            self.ended(process)
        finally:
            process.kill()
            process.wait()
            self.client.out.close()
        self.dav.close()

    def ended(self, process):
        try:
            process.wait(GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def offline(self):
        self.in_mount()
        self.first_sync()
        self.rounds(lambda: self.kill_while_syncing(self.pair.a, away=True), CRASH_SETTLE_SECONDS)
        self.stays_while_away()

    def stays_while_away(self):
        """The other server is away: nothing that lies in the mount goes, here or there, and what is beside it syncs."""
        whole = Client(self.program, self.folder / 'whole client', self.folder / 'whole', self.pair.b.url, 'bob', self.pair.BOB, '')
        whole.run()
        before = Local(whole.local).tree()[0]
        if f'{self.pair.MOUNTED}/sync/{BOTH}/' not in before:
            raise Failed(f'the mount was not synced with the whole account\n{whole.tail()}')
        self.pair.a.kill()
        (whole.local / 'beside.txt').write_text('beside the mount\n')
        os.utime(whole.local / 'beside.txt', (1_600_000_000, 1_600_000_000))
        self.bob().request('PUT', 'made on the server.txt', b'made there\n')
        for _ in range(2):
            whole.run()
        after = Local(whole.local).tree()[0]
        missing = sorted(set(before) - set(after))
        if missing:
            raise Failed(f'with the other server away {len(missing)} local files vanished: {missing[:5]}\n{whole.tail()}')
        if 'made on the server.txt' not in after or not (self.pair.b.data / 'bob/beside.txt').is_file():
            raise Failed(f'with the other server away the rest does not sync\n{whole.tail()}')
        self.note('with the other server away nothing vanishes, and the rest syncs')
        self.pair.a.start()
        faults = compare('on the other server', local_tree(self.disk), self.tree.expected)
        if faults:
            raise Failed('after the other server came back:\n' + '\n'.join(faults[:10]))
        self.settle('after the other server came back', CRASH_SETTLE_SECONDS)
        self.note('nothing is missing on either side after it came back')

    def readonly(self):
        shown = self.pair.a.data / 'alice' / 'shown'
        (shown / 'inner').mkdir(parents=True)
        for name in ('stays.txt', 'edited.txt', 'deleted.txt', 'inner/below.txt'):
            (shown / name).write_text(f'by alice: {name}\n')
        token = servers.token_in(self.pair.a.cli('link', 'create', 'alice', '/shown', '--permissions', 'read'))
        self.pair.b.cli('mount', 'add', 'bob', f'{self.pair.a.url}/s/{token}', '--name', 'Read only')
        client = Client(self.program, self.folder / 'client', self.folder / 'here', self.pair.b.url, 'bob', self.pair.BOB, '')
        client.run()
        owned = local_tree(shown)
        mine = client.local / 'Read only'
        faults = compare('here', local_tree(mine), owned) if mine.is_dir() else ['the mount was not synced']
        if faults:
            raise Failed('first sync of a read-only mount:\n' + '\n'.join(faults) + client.tail())
        self.note('a read-only mount comes down')
        old = (1_600_000_000, 1_600_000_000)
        for name, text in (('added.txt', 'added by bob\n'), ('edited.txt', 'edited by bob\n')):
            (mine / name).write_text(text)
            os.utime(mine / name, old)
        (mine / 'new folder').mkdir()
        (mine / 'deleted.txt').unlink()
        for _ in range(3):
            client.run()
        if local_tree(shown) != owned:
            raise Failed(f'a read-only mount was changed at its owner: {compare("there", local_tree(shown), owned)}')
        self.note('nothing changes at the owner')
        texts = {path.read_text() for path in client.local.rglob('*.txt')}
        for text in ('added by bob\n', 'edited by bob\n'):
            if text not in texts:
                raise Failed(f'{text!r} was lost\n{client.tail()}')
        self.note('what was added and edited locally is kept')
        faults = [fault for fault in compare('here', local_tree(mine), owned) if ', must be absent' not in fault]
        if faults:
            raise Failed('what is read-only was not brought back:\n' + '\n'.join(faults) + client.tail())
        self.note('what was edited and deleted locally comes back as it is')

    def refused(self):
        """A full quota, a lock and maintenance: what is refused stays as it is here, the rest syncs, and afterwards all of it does."""
        self.in_home()
        self.tree.make_folder(self.local, f'{BOTH}/')
        self.tree.put(self.local, f'{BOTH}/locked.txt', self.tree.content('first'))
        self.settle('first sync')
        self.pair.b.cli('user', 'quota', 'bob', '2MB')
        self.tree.put(self.local, f'{BOTH}/large.bin', self.tree.content('large', 3_000_000))
        self.tree.put(self.local, f'{BOTH}/small.txt', self.tree.content('small', 100))
        self.client.run()
        told = self.client.text()
        if not (self.disk / BOTH / 'small.txt').is_file() or (self.disk / BOTH / 'large.bin').exists():
            raise Failed(f'over the quota: a small file does not sync, or a large one does\n{self.client.tail()}')
        if not re.search('quota|enough space|insufficient', told, re.I):
            raise Failed(f'the client does not say why\n{self.client.tail()}')
        self.note('a full quota refuses what does not fit, the client says so, and the rest syncs')
        self.pair.b.cli('user', 'quota', 'bob', 'none')
        self.settle('with room again', CRASH_SETTLE_SECONDS)
        self.note('with room again everything syncs')
        lock = (b'<?xml version="1.0"?><d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockinfo>')
        status, text = self.dav.request('LOCK', f'sync/{BOTH}/locked.txt', lock, {'Timeout': 'Second-600'})
        token = re.search(rb'urn:uuid:[0-9a-f-]+', text)
        if status != 200 or not token:
            raise Failed(f'LOCK answered {status}: {text[:200]!r}')
        old = (self.disk / BOTH / 'locked.txt').read_bytes()
        self.tree.put(self.local, f'{BOTH}/locked.txt', self.tree.content('edited under a lock'))
        self.tree.put(self.local, f'{BOTH}/beside.txt', self.tree.content('beside'))
        self.client.run()
        if (self.disk / BOTH / 'locked.txt').read_bytes() != old or not (self.disk / BOTH / 'beside.txt').is_file():
            raise Failed(f'a locked file was overwritten, or what is beside it does not sync\n{self.client.tail()}')
        self.note('a locked file keeps its content, and the rest syncs')
        self.dav.request('UNLOCK', f'sync/{BOTH}/locked.txt', None, {'Lock-Token': f'<{token[0].decode()}>'})
        self.settle('after the lock', CRASH_SETTLE_SECONDS)
        self.note('without the lock the edit comes up')
        self.pair.b.cli('maintenance', 'on')
        self.tree.put(self.local, f'{BOTH}/meanwhile.txt', self.tree.content('meanwhile'))
        self.client.run()
        gone = sorted(set(self.tree.expected) - set(self.local.tree()[0]))
        if gone:
            raise Failed(f'in maintenance local files vanished: {gone}\n{self.client.tail()}')
        self.pair.b.cli('maintenance', 'off')
        self.settle('after maintenance', CRASH_SETTLE_SECONDS)
        self.note('maintenance costs nothing but time')

    def resume_mount(self):
        self.resume(self.in_mount)

    def resume(self, place=None):
        (place or self.in_home)()
        size = self.options.large
        piece = random.Random(self.seed).randbytes(1 << 20)
        with open(self.client.local / 'large.bin', 'wb') as file:
            for number in range(size // len(piece)):
                file.write(number.to_bytes(8, 'big') + piece[8:])
        os.utime(self.client.local / 'large.bin', (1_600_000_000, 1_600_000_000))
        process = self.client.start()
        deadline = time.monotonic() + SYNC_SECONDS
        while self.chunks_received() * CHUNK_BYTES < size // 2:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f'half of the upload was never there; the client ended with {process.poll()}\n{self.client.tail()}')
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.client.out.close()
        if (self.disk / 'large.bin').exists():
            raise Failed('the upload was over before it was cut off')
        self.pair.b.kill()
        self.pair.b.start()
        code = self.client.run()
        again = self.chunks_received() * CHUNK_BYTES
        if local_tree(self.disk) != self.local.tree()[0]:
            raise Failed(f'after the second run (exit code {code}) the file is not whole\n{self.client.tail()}')
        if again > size * 3 // 4:
            raise Failed(f'the second run sent chunks of {again} bytes in all, of {size}: it began again\n{self.client.tail()}')
        self.note(f'an upload of {size} bytes that was cut off with its server killed, too, goes on: the second run sent {again // CHUNK_BYTES} chunks of {CHUNK_BYTES} bytes')

    def chunks_received(self):
        """Chunks that the server has taken since it started."""
        with urllib.request.urlopen(f'{self.pair.b.url}/metrics', context=servers.tls_context(self.certs), timeout=30) as answer:
            text = answer.read().decode()
        counted = re.findall(r'^causeway_requests_total\{([^}]*)\} (\d+)$', text, re.M)
        return sum(int(number) for labels, number in counted if 'route="user-uploads"' in labels and 'method="PUT"' in labels and 'status="201"' in labels)

    def go(self):
        """Returns (passed, failed, text)."""
        started, failed = time.monotonic(), 0
        try:
            self.pair.start()
            getattr(self, self.name)()
            for server in (self.pair.b, self.pair.a):
                if 'panicked at' in server.log_path.read_text(errors='replace'):
                    raise Failed(f'server {server.name} panicked')
        except (Failed, AssertionError, servers.Trouble, *LOST) as error:
            failed = 1
            self.lines.append(f'FAIL {self.program} {self.name}: {error}')
            if not isinstance(error, Failed):
                self.lines.append(traceback.format_exc(limit=4))
            self.lines.append(self.pair.log_tail())
        finally:
            self.pair.kill()
        head = f'== {self.program}, {self.name}: {self.passed} passed, {failed} failed in {time.monotonic() - started:.0f} s'
        return self.passed, failed, '\n'.join([head, *self.lines])


SCENARIOS = ('offline', 'mount', 'crash', 'home', 'resume', 'resume_mount', 'readonly', 'refused')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--client', action='append', choices=CLIENTS)
    parser.add_argument('--scenario', action='append', choices=SCENARIOS)
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--files', type=int, default=1000)
    parser.add_argument('--large', type=int, default=LARGE_BYTES, help='bytes of the upload that is resumed')
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument('--jobs', type=int, default=3, help='scenarios at the same time (3)')
    parser.add_argument('--verbose', action='store_true', help='show what passed, too')
    options = parser.parse_args()
    clients = options.client or CLIENTS
    missing = [client for client in clients if not shutil.which(client)]
    if missing and not os.environ.get('CLIENTS_REQUIRED'):
        clients = [client for client in clients if client not in missing]
    print(f'# seed {options.seed}' + ''.join(f'; {client} is not installed' for client in missing))
    passed, failed = 0, 0
    with servers.Workspace('sync') as folder:
        certs = servers.make_certs(folder / 'certs')
        os.environ['CAFILE'] = str(certs / 'ca.pem')
        work = [Scenario(name, client, folder / f'{client} {name}', certs, options)
                for name in options.scenario or SCENARIOS for client in clients if client not in missing]
        if missing and os.environ.get('CLIENTS_REQUIRED'):
            failed += len(missing)
        lock = threading.Lock()
        with concurrent.futures.ThreadPoolExecutor(max_workers=options.jobs) as pool:
            for done in concurrent.futures.as_completed([pool.submit(scenario.go) for scenario in work]):
                good, bad, text = done.result()
                with lock:
                    passed, failed = passed + good, failed + bad
                    print(text if bad or options.verbose else text.splitlines()[0])
                    sys.stdout.flush()
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


sys.exit(main())
