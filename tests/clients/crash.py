#!/usr/bin/env python3
"""crash.py [ROUNDS] [--seed N] [--http] : kill -9 under load (ROUNDS: 15).

Two servers; workers PUT, MOVE, COPY, DELETE, MKCOL, LOCK and UNLOCK in homes, through a public link and through a mount, and
another makes and removes links and mounts on the command line. At a random moment one server, or both, are killed and started
again (now and then killed once more while they start). Then every acknowledged change must be there, every file be one that
was sent whole, every lock, link and mount be held, and the files under davroot be what PROPFIND and GET show.
Ends with "N passed, N failed"."""
import argparse
import random
import subprocess
import sys
import threading
import time
import urllib.parse

import servers
from load import LOST, Moment, Wire, Worker, chance_of, differences, lock_faults, tree_on_disk, verdict

LOAD_SECONDS = (0.3, 2.5)
BACK_SECONDS = 90
LINKS_MAX = 6
LINK_FOLDERS = 400
GONE_LINKS_ASKED = 1


class Commands(threading.Thread):
    """Makes and removes links on A and mounts on B, with the command line, and remembers what was acknowledged."""

    def __init__(self, pair, chance, moment, before=None):
        super().__init__(name='commands', daemon=True)
        self.pair, self.chance, self.moment = pair, chance, moment
        self.links = before.links if before else {}          # path → token
        self.mounts = before.mounts if before else set()     # names in Bob's root
        self.doubtful = before.doubtful if before else set()
        self.gone_links = before.gone_links if before else set()
        self.gone_mounts = before.gone_mounts if before else set()
        self.pending, self.serial, self.faults = None, before.serial if before else 0, []
        self.lost = False        # one command had no answer: what the next did could not be told from what that one did
        self.acknowledged = before.acknowledged if before else 0

    def run(self):
        while not self.moment.stopping.is_set() and not self.faults and not self.lost:
            self.chance.choice((self.make_link, self.make_link, self.remove_link, self.make_mount, self.make_mount, self.remove_mount))()

    def command(self, server, *words):
        """Output of an acknowledged command, else None."""
        try:
            code, out, err = server.run(*words)
        except subprocess.TimeoutExpired:
            code, out, err = None, '', 'no end'
        if code == 0:
            self.acknowledged += 1
            return out
        self.lost = True
        if self.moment.killed_at is None:
            self.faults.append(f'commands: `causeway {" ".join(map(str, words))}` exited {code} before the kill: {err.strip()[:300]}')
        return None

    def make_link(self):
        if len(self.links) >= LINKS_MAX:
            return self.remove_link()
        self.serial += 1
        path = f'/for-links/{self.serial % LINK_FOLDERS}'
        if path in self.links or path in self.doubtful:
            return None
        self.pending = path
        out = self.command(self.pair.a, 'link', 'create', 'alice', path, '--permissions', 'read')
        if out is not None:
            self.links[path] = servers.token_in(out)
            self.pending = None
        return None

    def remove_link(self):
        for path in list(self.links)[:1]:
            self.pending = path
            token = self.links[path]
            if self.command(self.pair.a, 'link', 'remove', f'alice:{path}') is not None:
                del self.links[path]
                self.gone_links.add(token)
                self.pending = None

    def make_mount(self):
        if len(self.mounts) >= LINKS_MAX:
            return self.remove_mount()
        self.serial += 1
        name = f'Mount {self.serial}'
        self.pending = name
        url = f'{self.pair.a.url}/s/{self.pair.tokens["open"]}'
        if self.command(self.pair.b, 'mount', 'add', 'bob', url, '--name', name) is not None:
            self.mounts.add(name)
            self.pending = None
        return None

    def remove_mount(self):
        for name in sorted(self.mounts)[:1]:
            self.pending = name
            if self.command(self.pair.b, 'mount', 'remove', f'bob:/{name}') is not None:
                self.mounts.discard(name)
                self.gone_mounts.add(name)
                self.pending = None

    def check(self, context):
        """The faults after the restart."""
        faults = []
        for path, token in list(self.links.items()):
            status = self.link_status(token, context)
            if status != 207:
                if path != self.pending:
                    faults.append(f'link on {path} was acknowledged, and PROPFIND of it answers {status}')
                del self.links[path]
        if self.pending and self.pending.startswith('/'):
            # It may have been made, and its token is not known: the path gets no other link.
            self.links.pop(self.pending, None)
            self.doubtful.add(self.pending)
        # Few, and each once: asking for what is not there counts as guessing.
        asked, self.gone_links = sorted(self.gone_links)[:GONE_LINKS_ASKED], set()
        for token in asked:
            status = self.link_status(token, context)
            if status not in (401, 404):
                faults.append(f'a removed link is back: PROPFIND answers {status}')
        bob = Wire(f'{self.pair.b.url}/webdav/', 'bob', self.pair.BOB, context)
        listed = set(bob.children('') or {})
        faults += [f'mount {name!r} was acknowledged and is not listed' for name in self.mounts - listed if name != self.pending]
        faults += [f'removed mount {name!r} is back' for name in self.gone_mounts & listed if name != self.pending]
        if self.pending and not self.pending.startswith('/'):
            if self.pending in listed:
                self.mounts.add(self.pending)
            else:
                self.mounts.discard(self.pending)
        return faults

    def link_status(self, token, context):
        return Wire(f'{self.pair.a.url}/public.php/dav/files/{token}/', context=context).send('PROPFIND', '', headers={'Depth': '0'})[0]


class Crash:
    def __init__(self, folder, certs, seed):
        self.certs, self.seed, self.chance = certs, seed, random.Random(seed)
        self.context = servers.tls_context(certs)
        self.pair = servers.Pair(folder, certs)
        self.workers, self.commands, self.kills = [], None, 0

    def prepare(self):
        for name in [f'for-links/{number}' for number in range(LINK_FOLDERS)] + ['open']:
            (self.pair.a.data / 'alice' / name).mkdir(parents=True)
        self.pair.start()
        self.pair.tokens['open'] = servers.token_in(self.pair.a.cli('link', 'create', 'alice', '/open', '--permissions', 'read'))
        roots = {root.name: root for root in self.pair.roots()}
        alice = (f'{self.pair.a.url}/webdav/', 'alice', self.pair.ALICE)
        link = (roots['link'].urls['other'], roots['link'].user, roots['link'].password)
        bob = (roots['home'].urls['other'], 'bob', self.pair.BOB)
        mount = (roots['mount'].urls['other'], 'bob', self.pair.BOB)
        # name, server of it, how to reach it, where its files are
        self.places = [('home 1 on A', alice, 'alice/home 1 on A'), ('home 2 on A', alice, 'alice/home 2 on A'),
                       ('link on A', link, 'alice/linked/link on A'), ('home on B', bob, 'bob/home on B'),
                       ('mount 1 on B', mount, 'alice/mounted/mount 1 on B'), ('mount 2 on B', mount, 'alice/mounted/mount 2 on B')]
        moment = Moment()
        for name, reach, _ in self.places:
            wire = Wire(*reach, self.context)
            status, _, body = wire.send('MKCOL', name)
            if status != 201:
                raise servers.Trouble(f'MKCOL of {name} answered {status}: {body[:200]!r}')
            self.workers.append(Worker(name, wire, name, chance_of(self.seed, name), moment))
        self.commands = Commands(self.pair, chance_of(self.seed, 'commands'), moment)

    def round(self, number):
        """Load, kill, start, check; returns (what was killed, faults)."""
        moment = Moment()
        for worker in self.workers:
            worker.moment = moment
        self.workers = [worker.again() for worker in self.workers]
        self.commands = Commands(self.pair, self.commands.chance, moment, self.commands)
        threads = [*self.workers, self.commands]
        for thread in threads:
            thread.start()
        time.sleep(self.chance.uniform(*LOAD_SECONDS))
        victims = self.chance.choice(([self.pair.a], [self.pair.b], [self.pair.a, self.pair.b]))
        moment.killed_at = time.monotonic()
        for server in victims:
            server.kill()
            self.kills += 1
        time.sleep(0.05)
        moment.stopping.set()
        for thread in threads:
            thread.join(timeout=120)
        faults = [f'{thread.name} did not end' for thread in threads if thread.is_alive()]
        faults += [fault for thread in threads for fault in thread.faults]
        for server in victims:
            if self.chance.random() < 0.25:
                self.kill_while_starting(server)
            server.start()
        faults += self.check()
        return '+'.join(server.name for server in victims), faults

    def kill_while_starting(self, server):
        waiting = self.chance.uniform(0.0, 0.4)
        timer = threading.Timer(waiting, server.kill_now)
        timer.start()
        try:
            server.start()
            timer.join()
        except servers.Trouble:
            timer.cancel()
        server.kill()
        self.kills += 1

    def check(self):
        faults = []
        for worker, (name, _, where) in zip(self.workers, self.places):
            server = self.pair.a if where.startswith('alice') else self.pair.b
            faults += [f'{name}: {fault}' for fault in self.check_place(worker, server.data / where)]
        if not faults:
            faults += self.commands.check(self.context)
        return faults

    def check_place(self, worker, where):
        """What DAV shows, what is on disk and what was acknowledged agree; locks are held."""
        actual = self.eventually(worker)
        if isinstance(actual, str):
            return [actual]
        faults = verdict(worker.model, worker.pending, actual)
        if not faults:
            disk = tree_on_disk(where)
            faults = [f'files and listing differ: {line.replace("acknowledged", "on disk").replace("is ", "listed ")}' for line in differences(disk, actual)]
        held = worker.settle(actual)
        if not faults:
            faults = lock_faults(worker.wire, worker.folder, held)
        worker.wire.close()      # while the other places are looked at the server may end an idle connection
        return faults

    def eventually(self, worker):
        """The tree as the worker's own way shows it; a mount may need a while until it sees its remote again."""
        deadline, last = time.monotonic() + BACK_SECONDS, ''
        while time.monotonic() < deadline:
            try:
                worker.wire.close()
                actual = worker.wire.tree(worker.folder)
                if not verdict(worker.model, worker.pending, actual) or time.monotonic() > deadline - BACK_SECONDS + 15:
                    return actual
            except LOST as error:
                last = repr(error)
            time.sleep(0.3)
        return f'cannot be read {BACK_SECONDS} s after the restart: {last}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rounds', nargs='?', type=int, default=15)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument('--http', action='store_true', help='without TLS')
    options = parser.parse_args()
    print(f'# seed {options.seed}')
    passed, failed = 0, 0
    with servers.Workspace('crash') as folder:
        certs = None if options.http else servers.make_certs(folder / 'certs')
        crash = Crash(folder, certs, options.seed)
        try:
            crash.prepare()
            for number in range(1, options.rounds + 1):
                killed, faults = crash.round(number)
                print(f'{"FAIL" if faults else "PASS"} round {number}: killed {killed}')
                for fault in faults[:20]:
                    print(f'    {fault}')
                sys.stdout.flush()
                passed, failed = passed + (not faults), failed + bool(faults)
                if faults:
                    break      # what the next rounds would compare with is not known any more
            acknowledged = sum(worker.acknowledged for worker in crash.workers)
            print(f'# {crash.kills} kills, {acknowledged} acknowledged requests, {crash.commands.acknowledged} acknowledged commands')
        except (servers.Trouble, *LOST) as trouble:
            failed += 1
            print(f'FAIL {trouble}')
        finally:
            crash.pair.kill()
            if failed:
                print(crash.pair.log_tail())
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


sys.exit(main())
