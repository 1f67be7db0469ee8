#!/usr/bin/env python3
"""powercut.py [ROUNDS] [--seed N] [--control] : what a power cut leaves (ROUNDS: 20).

With root and loop devices: davroot lies on an ext4 image. Workers PUT, MOVE, COPY, DELETE, MKCOL and LOCK. At the moment of an
acknowledgement the server is stopped (SIGSTOP) and the image file copied: what the kernel had not yet written is not in it. The copy
is mounted, a server started on it, and every change acknowledged before the copy must be there, with no file torn.
Also, wherever strace works: a PUT that creates a file and one that overwrites it must show, in this order, fsync(staged file) <
fdatasync(rows) < rename < answer, and rename < fsync(folder) < the next fdatasync(rows).  --control runs with durability "process", which must lose something: it shows that
the test can fail.  Ends with "N passed, N failed"."""
import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import servers
from load import LOST, Moment, Wire, Worker, chance_of, lock_faults, tree_on_disk, differences, verdict

IMAGE_MB = 512
WORKERS = 4
ROUND_SECONDS = (0.5, 2.0)
PASSWORD = 'Alice-Pass 1!'
# A cut is copied again where the image changed meanwhile, at most so often.
COPIES_MAX = 20
CALLS = 'fsync,fdatasync,sync_file_range,rename,renameat,renameat2,write,writev,sendto,sendmsg,sendfile,openat,openat2'


def loop_devices_work():
    return os.geteuid() == 0 and os.path.exists('/dev/loop-control') and all(map(shutil.which, ('mkfs.ext4', 'mount', 'umount')))


@contextlib.contextmanager
def mounted(image, where):
    """The image as a file system; unmounted on every exit path."""
    where.mkdir(exist_ok=True)
    # Seldom commits by the kernel itself: what the server did not sync is then really missing in the copy.
    done = subprocess.run(['mount', '-o', 'loop,commit=600', str(image), str(where)], capture_output=True, text=True)
    if done.returncode != 0:
        raise servers.Trouble(f'mount of {image}: {done.stderr.strip()}')
    try:
        yield where
    finally:
        for _ in range(50):
            if subprocess.run(['umount', str(where)], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(['umount', '-l', str(where)])


@contextlib.contextmanager
def serving(name, data, config=None):
    server = servers.Server(name, data, config=config)
    try:
        yield server.start()
    finally:
        server.kill()


def make_image(path):
    with open(path, 'wb') as file:
        file.truncate(IMAGE_MB << 20)
    subprocess.run(['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', str(path)], check=True)


def wait_until_stopped(pid):
    """A process of many threads stops one by one, and each only when its call to the kernel is done."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = [task.joinpath('stat').read_text().rpartition(')')[2].split()[0] for task in pathlib.Path(f'/proc/{pid}/task').iterdir()]
        if all(state == 'T' for state in states):
            return
        time.sleep(0.001)
    raise servers.Trouble('the server does not stop')


def cut(server, image, copy, workers, moment):
    """Stops the server at an acknowledgement, copies the image, lets it go on; returns what each worker knew then."""
    before = sum(worker.acknowledged for worker in workers)
    deadline = time.monotonic() + 30
    while sum(worker.acknowledged for worker in workers) == before and time.monotonic() < deadline:
        time.sleep(0.0002)
    server.process.send_signal(signal.SIGSTOP)
    try:
        wait_until_stopped(server.process.pid)
        known = [worker.snapshot() for worker in workers]
        # Calls that were under way end in the kernel: a copy that was written meanwhile is of no one moment, and is made again.
        for _ in range(COPIES_MAX):
            written = image.stat().st_mtime_ns
            subprocess.run(['cp', '--sparse=always', str(image), str(copy)], check=True)
            if image.stat().st_mtime_ns == written:
                break
        else:
            raise servers.Trouble('the image never stood still')
    finally:
        server.process.send_signal(signal.SIGCONT)
    return known


def check_copy(copy, where, workers, known, config):
    """The faults of the server that starts on the copy."""
    faults = []
    with mounted(copy, where), serving('copy', where / 'davroot', config) as server:
        for worker, (model, pending, locks) in zip(workers, known):
            wire = Wire(f'{server.url}/webdav/', 'alice', PASSWORD)
            actual = wire.tree(worker.folder)
            found = verdict(model, pending, actual)
            if not found:
                found = differences(tree_on_disk(server.data / 'alice' / worker.folder), actual)
            if not found:
                held = {name: token for name, token in locks.items() if not (pending and pending.lock == name)}
                found = lock_faults(wire, worker.folder, held)
            wire.close()
            faults += [f'{worker.folder}: {fault}' for fault in found]
        if 'panicked at' in server.log_path.read_text(errors='replace'):
            faults.append('the server panicked')
        if faults:
            print(server.log_tail())
    return faults


def on_image(folder, rounds, seed, config):
    """All rounds; yields the faults of each."""
    image, copy = folder / 'image', folder / 'copy'
    make_image(image)
    chance = random.Random(seed)
    with mounted(image, folder / 'disk') as disk, serving('original', disk / 'davroot', config) as server:
        server.cli('user', 'add', 'alice', secret=PASSWORD)
        moment, workers = Moment(), []
        for number in range(WORKERS):
            name = f'worker {number}'
            wire = Wire(f'{server.url}/webdav/', 'alice', PASSWORD)
            status, _, body = wire.send('MKCOL', name)
            if status != 201:
                raise servers.Trouble(f'MKCOL answered {status}: {body[:200]!r}')
            workers.append(Worker(name, wire, name, chance_of(seed, name), moment))
        for worker in workers:
            worker.start()
        try:
            for _ in range(rounds):
                time.sleep(chance.uniform(*ROUND_SECONDS))
                known = cut(server, image, copy, workers, moment)
                faults = [fault for worker in workers for fault in worker.faults]
                try:
                    faults += check_copy(copy, folder / 'seen', workers, known, config)
                except (servers.Trouble, *LOST) as trouble:
                    faults.append(str(trouble))
                copy.unlink()
                yield faults
        finally:
            moment.stopping.set()
            for worker in workers:
                worker.join(timeout=60)
            print(f'# {sum(worker.acknowledged for worker in workers)} acknowledged requests')


# ---- the order of system calls

def calls_of(trace):
    """(start line, end line, text) of each finished call, in order of its start."""
    open_calls, finished = {}, []
    for number, line in enumerate(trace.read_text(errors='replace').splitlines()):
        found = re.match(r'(\d+)\s+(.*)', line)
        if not found:
            continue
        thread, text = found.groups()
        if text.endswith('<unfinished ...>'):
            open_calls[thread] = (number, text[:-len('<unfinished ...>')])
        elif text.startswith('<... '):
            start, head = open_calls.pop(thread, (None, ''))
            if start is not None:
                finished.append((start, number, head + re.sub(r'^<\.\.\. \w+ resumed>', '', text)))
        elif '(' in text:
            finished.append((number, number, text))
    return sorted(finished)


def order_faults(calls, data, target):
    """The faults in the order of one PUT of `target`.

    The folder may be synced after the answer: until then the placement record, durable with the rows, and the staged file
    stand in for it (they are redone at start). So it must be synced before the rows are written again without that record."""
    state, staging, parent = f'{data}/.causeway', f'{data}/.causeway/staging', os.path.dirname(target)
    sync = re.compile(r'f(data)?sync\(')

    def is_rows(text):
        return sync.match(text) and f'<{state}/store/' in text

    steps = [
        ('fsync of the staged file', lambda text: sync.match(text) and f'<{staging}/' in text),
        ('fdatasync of the rows', is_rows),
        ('rename to the target', lambda text: text.startswith('rename') and f'{os.path.basename(target)}"' in text),
        ('answer', lambda text: re.match(r'(write|writev|sendto|sendmsg)\(', text) and '"HTTP/1.1 20' in text),
    ]
    told = [f'    {text[:160]}' for _, _, text in calls if sync.match(text) or text.startswith('rename') or 'HTTP/1.1' in text]
    # From the answer backwards: the last of each before the next, so that other work in the background does not disturb.
    at, renamed = None, 0
    for name, matches in reversed(steps):
        fitting = [call for call in calls if matches(call[2]) and (at is None or call[1] < at)]
        if not fitting:
            return [f'no {name} before what must follow it', *told]
        at, end = fitting[-1][0], fitting[-1][1]
        if name.startswith('rename'):
            renamed = end
    rows = [call for call in calls if call[0] > renamed and is_rows(call[2])]
    # What was overwritten goes to the old versions, in the same placement.
    kept = any(text.startswith('rename') and f'<{state}/versions/' in text for _, _, text in calls)
    for changed in [f'<{parent}>'] + [f'<{state}/versions/'] * kept:
        folder = [call for call in calls if call[0] > renamed and call[2].startswith('fsync(') and changed in call[2]]
        if not folder or (rows and rows[0][0] < folder[0][1]):
            return [f'the folder {changed} is not synced before the rows are written again', *told]
    return []


def wait_for_rows(trace, data):
    """Until the placement record is dropped, but not for long: the verdict is that of `order_faults`."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        after = trace.read_text(errors='replace').rpartition('rename')[2]
        if re.search(rf'fdatasync\(\d+<{re.escape(data)}/\.causeway/', after):
            return
        time.sleep(0.05)


def by_trace(folder):
    """Yields (label, faults) of a PUT that creates and one that overwrites."""
    with serving('traced', folder / 'traced') as server:
        server.cli('user', 'add', 'alice', secret=PASSWORD)
        wire = Wire(f'{server.url}/webdav/', 'alice', PASSWORD)
        wire.send('MKCOL', 'inner')
        wire.send('PUT', 'inner/warm up', b'x')
        data = str(server.data.resolve())
        for label in ('creates', 'overwrites'):
            trace = folder / f'trace.{label}'
            tracer = subprocess.Popen(['strace', '-f', '-y', '-s', '64', '-e', f'trace={CALLS}', '-o', str(trace), '-p', str(server.process.pid)],
                                      stderr=subprocess.PIPE, text=True)
            try:
                said = tracer.stderr.readline()
                if 'attached' not in said:
                    raise servers.Trouble(f'strace: {said.strip()}')
                status, _, _ = wire.send('PUT', 'inner/traced.bin', os.urandom(100_000))
                wait_for_rows(trace, data)
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.communicate()
            faults = [] if status in (201, 204) else [f'PUT answered {status}']
            yield f'order of system calls of a PUT that {label}', faults or order_faults(calls_of(trace), data, f'{data}/alice/inner/traced.bin')


def results(options, folder):
    """Yields (label, faults)."""
    config = folder / 'control.toml' if options.control else None
    if config:
        config.write_text('durability = "process"\n')
    tried = False
    if loop_devices_work():
        tried = True
        for number, faults in enumerate(on_image(folder, options.rounds, options.seed, config), 1):
            yield f'power cut {number}', faults
    else:
        print('# no root or no loop devices: no image is cut')
    if options.control:
        return
    if shutil.which('strace'):
        try:
            yield from by_trace(folder)
            tried = True
        except servers.Trouble as trouble:
            if 'strace' not in str(trouble):
                raise
            print(f'# {trouble}')
    if not tried:
        yield 'neither loop devices nor strace work here', ['nothing was tested']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rounds', nargs='?', type=int, default=20)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument('--control', action='store_true', help='without fsync; must fail')
    options = parser.parse_args()
    print(f'# seed {options.seed}')
    passed = failed = 0
    with servers.Workspace('powercut') as folder:
        try:
            for label, faults in results(options, pathlib.Path(folder)):
                print(f'{"FAIL" if faults else "PASS"} {label}')
                for fault in faults[:20]:
                    print(f'    {fault}')
                sys.stdout.flush()
                passed, failed = passed + (not faults), failed + bool(faults)
        except (servers.Trouble, *LOST) as trouble:
            failed += 1
            print(f'FAIL {trouble}')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


sys.exit(main())
