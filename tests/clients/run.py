#!/usr/bin/env python3
"""run.py [--full] [--only DRIVER]… [--root home|link|mount]… [--scheme https|http]

Starts two servers over TLS with a private CA, and two over plain http; on each, users, writable links and a mount. Runs every
driver of this folder on a home, a link and a mount over TLS, and on the home over http; with --full every combination. Ends
with "N passed, N failed" and exits 0 when nothing failed. CLIENTS_REQUIRED=1 makes a missing client a failure."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

import servers

HERE = pathlib.Path(__file__).resolve().parent
SUMMARY = re.compile(r'^# \S+: (\d+) passed, (\d+) failed', re.M)
DRIVER_SECONDS = 600
# The 1 GiB file is written and read on one root only: through the mount, which is the longest way.
LARGE_ROOT = 'mount'


class Driver:
    """A program of this folder, with what it is given beside URL, user and password."""

    def __init__(self, name, file, vendor='other', weight=1, roots=('home', 'link', 'mount'), **settings):
        self.name, self.file, self.vendor, self.weight, self.roots, self.settings = name, file, vendor, weight, roots, settings


DRIVERS = [
    Driver('many', 'many.sh', weight=9),
    Driver('rclone', 'rclone.sh', NAMES='nasty', weight=5),
    Driver('rclone-owncloud', 'rclone.sh', vendor='owncloud', VENDOR='owncloud', weight=5),
    Driver('rclone-nextcloud', 'rclone.sh', vendor='nextcloud', VENDOR='nextcloud', weight=5),
    Driver('cadaver', 'cadaver.sh', NAMES='nasty', weight=4),
    Driver('litmus', 'litmus.sh', weight=3),
    Driver('curl', 'curl.sh', weight=2),
    Driver('finder', 'finder-replay.py', NAMES='nasty'),
    Driver('windows', 'windows-replay.py', NAMES='nasty'),
    Driver('sync-replay', 'sync-replay.py', vendor='nextcloud', roots=('home',)),
]
LARGE = Driver('large', 'large.sh')


def run_driver(driver, pair, root, extra):
    """Returns (label, passed, failed, text)."""
    label = f'{driver.name} on the {root.name} over {pair.a.scheme}'
    environment = {**os.environ, **driver.settings, **extra}
    if pair.certs:
        environment['CAFILE'] = str(pair.certs / 'ca.pem')
    started = time.monotonic()
    command = ['timeout', '--kill-after=10', str(DRIVER_SECONDS), str(HERE / driver.file), root.urls[driver.vendor], root.user, root.password]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    found = SUMMARY.findall(done.stdout)
    passed, failed = map(int, found[-1]) if found else (0, 0)
    text = done.stdout
    if done.returncode not in (0, 77) and failed == 0:
        failed = 1
        text += f'FAIL {driver.name}: ended with exit code {done.returncode}\n'
    for server in (pair.a, pair.b):
        if not server.running():
            failed += 1
            text += f'FAIL {driver.name}: server {server.name} is gone\n'
    return label, passed, failed, f'== {label}: {passed} passed, {failed} failed in {time.monotonic() - started:.0f} s\n{text}'


def wanted(driver, root, scheme, options):
    if options.only and driver.name not in options.only:
        return False
    if root.name not in driver.roots or (options.root and root.name not in options.root):
        return False
    if options.scheme and scheme not in options.scheme:
        return False
    return options.full or bool(options.root) or scheme == 'https' or root.name == 'home'


class Run:
    def __init__(self, options):
        self.options = options
        self.passed = self.failed = 0
        self.bad = []

    def take(self, pair, result):
        label, passed, failed, text = result
        self.passed += passed
        self.failed += failed
        if failed:
            self.bad.append(label)
            print(text)
            print(pair.log_tail())
        else:
            print(text if self.options.verbose else text.splitlines()[0])
        sys.stdout.flush()

    def all(self, pairs):
        """Every wanted driver on the roots of the pairs, `options.jobs` at a time; then the large file, alone, since it measures memory."""
        roots = {pair: pair.start().roots() for pair in pairs}
        jobs = [(driver, pair, root) for pair in pairs for root in roots[pair] for driver in DRIVERS
                if wanted(driver, root, pair.a.scheme, self.options)]
        jobs.sort(key=lambda job: -job[0].weight)
        with concurrent.futures.ThreadPoolExecutor(max_workers=self.options.jobs) as pool:
            running = {pool.submit(run_driver, driver, pair, root, {}): pair for driver, pair, root in jobs}
            for done in concurrent.futures.as_completed(running):
                self.take(running[done], done.result())
        for pair in pairs:
            for root in roots[pair]:
                if wanted(LARGE, root, pair.a.scheme, self.options) and self.wants_large(root, pair):
                    self.take(pair, run_driver(LARGE, pair, root, {'PEAK_OF': f'{pair.a.process.pid} {pair.b.process.pid}'}))
            self.stopped(pair)

    def wants_large(self, root, pair):
        return self.options.full or bool(self.options.root) or (root.name == LARGE_ROOT and pair.a.scheme == 'https')

    def stopped(self, pair):
        """Both servers end cleanly when asked to, and said nothing of a panic."""
        for server in (pair.b, pair.a):
            good = server.stop()
            log = server.log_path.read_text(errors='replace')
            panicked = 'panicked at' in log
            text = f'{"PASS" if good else "FAIL"} {server.name} stops when asked to\n{"FAIL" if panicked else "PASS"} {server.name} did not panic'
            self.take(pair, (f'end of {server.name}', 2 - (not good) - panicked, (not good) + panicked, text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--full', action='store_true', help='every driver on every root over both schemes')
    parser.add_argument('--only', action='append', help='only this driver')
    parser.add_argument('--root', action='append', choices=('home', 'link', 'mount'))
    parser.add_argument('--scheme', action='append', choices=('https', 'http'))
    parser.add_argument('--jobs', type=int, default=4, help='drivers at the same time (4)')
    parser.add_argument('--verbose', action='store_true', help='show what passed, too')
    options = parser.parse_args()
    with servers.Workspace('clients') as folder:
        run = Run(options)
        certs = servers.make_certs(folder / 'certs')
        schemes = options.scheme or ('https', 'http')
        pairs = [servers.Pair(folder / scheme, certs if scheme == 'https' else None) for scheme in schemes]
        try:
            run.all(pairs)
        except servers.Trouble as trouble:
            run.failed += 1
            run.bad.append('the servers')
            print(f'FAIL {trouble}')
        finally:
            for pair in pairs:
                pair.kill()
    if run.passed == 0:
        run.failed += 1
    if run.bad:
        print('failed:', *run.bad, sep='\n  ')
    print(f'{run.passed} passed, {run.failed} failed')
    return 1 if run.failed else 0


sys.exit(main())
