#!/usr/bin/env python3
"""sync.py [--rounds N] [--files N] [--only propfind] : what a sync client waits for, and what it costs the server. Run by `scripts/bench sync`.

For owncloudcmd and nextcloudcmd, wherever they are installed: the first sync of 2,000 small files up, the first sync down to an empty
folder, and a sync with nothing to do, in wall time and in processor time of the server. And PROPFIND Depth 1 of 1,000 files with the
property sets of both clients beside the plain set of other clients, in processor time of the server for each request.
Medians of the rounds. The program is $CAUSEWAY; plain http on loopback."""
import argparse
import base64
import http.client
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'tests/clients'))
import servers  # noqa: E402

CLIENTS = ('owncloudcmd', 'nextcloudcmd')
FOLDERS = 40
IDLE_RUNS = 5
SYNC_SECONDS = 600
LISTED = 1000
LISTINGS = 1000
PASSWORD = 'Bench-Pass 1!'
TICK = os.sysconf('SC_CLK_TCK')
OC = 'xmlns:oc="http://owncloud.org/ns"'
PLAIN = '<d:resourcetype/><d:getlastmodified/><d:getcontentlength/><d:getetag/>'
SETS = {
    'plain (of scripts/bench)': PLAIN + '<d:getcontenttype/>',
    'owncloudcmd': PLAIN + '<oc:id/><oc:downloadURL/><oc:dDC/><oc:permissions/><oc:checksums/>',
    'nextcloudcmd': PLAIN + '<oc:size/><oc:id/><oc:fileid/><oc:downloadURL/><oc:dDC/><oc:permissions/><oc:checksums/><oc:share-types/>',
}


def processor_seconds(server):
    fields = pathlib.Path(f'/proc/{server.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Measured:
    """Wall time, and processor time of the server, of what runs inside."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.wall, self.processor = time.monotonic(), processor_seconds(self.server)
        return self

    def __exit__(self, *_):
        self.wall, self.processor = time.monotonic() - self.wall, processor_seconds(self.server) - self.processor


def sync(client, folder, local, server, remote):
    home = folder / 'home'
    home.mkdir(exist_ok=True)
    exclude = folder / 'exclude.lst'
    exclude.write_text('.sync_*.db*\n._sync_*.db*\n')
    local.mkdir(exist_ok=True)
    command = [client, '--silent', '--non-interactive', '--trust', '--exclude', str(exclude), '-u', 'bob', '-p', PASSWORD]
    if client == 'nextcloudcmd':
        command += ['--path', f'/{remote}', str(local), server.url]
    else:
        command += [str(local), f'{server.url}/remote.php/webdav/{urllib.parse.quote(remote)}']
    environment = {'PATH': os.environ['PATH'], 'HOME': str(home), 'XDG_RUNTIME_DIR': str(home), 'QT_QPA_PLATFORM': 'offscreen', 'LC_ALL': 'C.UTF-8'}
    done = subprocess.run(command, env=environment, timeout=SYNC_SECONDS, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode:
        raise servers.Trouble(f'{client} ended with {done.returncode}')


def plant(local, files, serial):
    chance = random.Random(serial)
    for number in range(files):
        folder = local / f'folder {number % FOLDERS}'
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f'file {number}.txt'
        path.write_bytes(chance.randbytes(chance.randint(200, 4000)))
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))


def count(local):
    return sum(1 for path in local.rglob('*.txt'))


def one_round(client, folder, server, files, serial, results):
    remote = f'{client} {serial}'
    (server.data / 'bob' / remote).mkdir(parents=True)
    server.cli('scan', 'bob')
    here, there = folder / 'here', folder / 'there'
    plant(here, files, serial)

    def measure(what, local):
        with Measured(server) as measured:
            sync(client, folder, local, server, remote)
        results.setdefault((client, what), []).append((measured.wall, measured.processor))
    measure('first sync up', here)
    if count(server.data / 'bob' / remote) != files:
        raise servers.Trouble(f'{client} did not bring everything up')
    measure('first sync down', there)
    if count(there) != files:
        raise servers.Trouble(f'{client} did not bring everything down')
    for _ in range(IDLE_RUNS):
        measure('sync with nothing to do', here)


def listings(server, rounds):
    """Milliseconds of the server's processor for one PROPFIND, by property set; the sets alternate."""
    folder = server.data / 'bob' / 'listed'
    folder.mkdir()
    for number in range(LISTED):
        (folder / f'file {number}.txt').write_text(f'{number}\n')
    server.cli('scan', 'bob')
    address = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    headers = {'Authorization': 'Basic ' + base64.b64encode(f'bob:{PASSWORD}'.encode()).decode(), 'Depth': '1', 'Content-Type': 'application/xml'}
    # A file that was only adopted has no checksum; one that was uploaded has.
    for number in range(LISTED):
        connection.request('PUT', f'/remote.php/webdav/listed/file%20{number}.txt', b'%d, written\n' % number, headers)
        connection.getresponse().read()
    spent, sizes = {name: [] for name in SETS}, {}
    for _ in range(rounds):
        for name, properties in SETS.items():
            body = f'<?xml version="1.0"?><d:propfind xmlns:d="DAV:" {OC}><d:prop>{properties}</d:prop></d:propfind>'.encode()
            with Measured(server) as measured:
                for _ in range(LISTINGS):
                    connection.request('PROPFIND', '/remote.php/webdav/listed/', body, headers)
                    answer = connection.getresponse()
                    text = answer.read()
                    if answer.status != 207 or text.count(b'<d:response>') != LISTED + 1:
                        raise servers.Trouble(f'PROPFIND answered {answer.status}')
            spent[name].append(measured.processor / LISTINGS * 1000)
            sizes[name] = len(text)
    return {name: (statistics.median(times), sizes[name]) for name, times in spent.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--files', type=int, default=2000)
    parser.add_argument('--only', choices=['propfind'], help='leave the clients out')
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix='causeway-bench-sync.', dir=os.environ.get('BENCH_DIR')))
    server, results = servers.Server('bench', work / 'data'), {}
    try:
        server.start()
        server.cli('user', 'add', 'bob', secret=PASSWORD)
        for serial in range(0 if options.only else options.rounds):
            for client in CLIENTS:
                if shutil.which(client):
                    folder = work / f'{client} {serial}'
                    folder.mkdir()
                    one_round(client, folder, server, options.files, serial, results)
        if results:
            print(f'| {options.files} small files | wall time | processor of the server |\n|---|---|---|')
        for (client, what), times in sorted(results.items()):
            wall, processor = (statistics.median(column) for column in zip(*times))
            print(f'| {client}: {what} | {wall:.2f} s | {processor * 1000:.0f} ms |')
        listed = listings(server, options.rounds)
        print(f'\n| PROPFIND Depth 1 of {LISTED} | processor of the server | x plain | bytes |\n|---|---|---|---|')
        for name, (spent, size) in listed.items():
            print(f'| {name} | {spent:.2f} ms | {spent / listed["plain (of scripts/bench)"][0]:.2f} | {size} |')
        print(f'\nVmHWM of the server: {server.peak_kb() / 1024:.1f} MiB')
    finally:
        server.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    main()
