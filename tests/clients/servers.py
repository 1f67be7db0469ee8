"""Real causeway servers for the drivers: start, kill, command line, and two of them with users, a link and a mount.

Standard library only. The program is $CAUSEWAY, or target/debug/causeway of the clone."""
import json
import os
import pathlib
import re
import selectors
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

CLONE = pathlib.Path(__file__).resolve().parents[2]
READY_SECONDS = 60
STOP_SECONDS = 30
COMMAND_SECONDS = 60
LOG_TAIL_LINES = 20
READY = re.compile(r'listening on (https?)://(\S+):(\d+)')
TOKEN = re.compile(r'/s/([A-Za-z0-9_-]{8,})')


class Trouble(Exception):
    """The harness itself cannot go on: a server does not start, a command fails."""


def program():
    """The binary under test."""
    named = os.environ.get('CAUSEWAY')
    path = pathlib.Path(named) if named else pathlib.Path(os.environ.get('CARGO_TARGET_DIR', CLONE / 'target')) / 'debug/causeway'
    if not path.is_file():
        raise Trouble(f'{path} is not there: run `cargo build`, or set CAUSEWAY')
    return str(path.resolve())


def environment():
    """For the program under test: no settings of whoever runs this, and no proxy."""
    return {key: value for key, value in os.environ.items() if key in ('PATH', 'HOME', 'TMPDIR', 'LANG', 'RUST_BACKTRACE')}


def make_certs(folder):
    """A private CA and a server certificate; returns their folder."""
    subprocess.run([CLONE / 'scripts/dev-certs', folder], check=True, stdout=subprocess.DEVNULL)
    return pathlib.Path(folder)


class Server:
    """One server process on its own data folder. It listens where the kernel puts it, and there again after a restart."""

    def __init__(self, name, data, certs=None, config=None, wrapper=()):
        self.name, self.data, self.certs, self.config, self.wrapper = name, pathlib.Path(data), certs, config, list(wrapper)
        self.data.mkdir(parents=True, exist_ok=True)
        self.log_path = self.data.parent / f'{self.data.name}.log'
        self.process = None
        self.port = 0
        self.starts = 0

    @property
    def scheme(self):
        return 'https' if self.certs else 'http'

    @property
    def host(self):
        return f'127.0.0.1:{self.port}'

    @property
    def url(self):
        return f'{self.scheme}://{self.host}'

    def start(self):
        """Starts the process and waits for the line that says where it listens."""
        command = [*self.wrapper, program(), '--data', str(self.data), 'serve', '--listen', f'127.0.0.1:{self.port}']
        if self.certs:
            command += ['--tls-cert', str(self.certs / 'server.pem'), '--tls-key', str(self.certs / 'server.key')]
        if self.config:
            command += ['--config', str(self.config)]
        log = open(self.log_path, 'ab')
        self.starts += 1
        log.write(f'---- start {self.starts}: {" ".join(command)}\n'.encode())
        log.flush()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment())
        log.close()
        self.port = self._wait_until_ready()
        return self

    def _wait_until_ready(self):
        out, text, deadline = self.process.stdout, b'', time.monotonic() + READY_SECONDS
        os.set_blocking(out.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                selector.select(timeout=0.5)
                data = out.read()
                text += data or b''
                found = READY.search(text.decode(errors='replace'))
                if found and found[1] == self.scheme:
                    return int(found[3])
                if data == b'' or self.process.poll() is not None:
                    break
        code = self.process.poll()
        self.kill()
        raise Trouble(f'{self.name} did not get ready (exit {code}); it said {text.decode(errors="replace")!r}\n{self.log_tail()}')

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill_now(self):
        """kill -9, from any thread."""
        if self.running():
            self.process.send_signal(signal.SIGKILL)

    def kill(self):
        """kill -9, as a crash."""
        self.kill_now()
        self._reap()

    def stop(self):
        """Asks it to stop; returns whether it did so in time and with exit code 0."""
        if not self.running():
            return False
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            return False
        finally:
            self._reap()

    def _reap(self):
        if self.process is not None:
            self.process.wait()
            self.process.stdout.close()

    def log_tail(self, lines=LOG_TAIL_LINES):
        """The end of the log, without the requests that went well."""
        try:
            text = [line for line in self.log_path.read_text(errors='replace').splitlines() if ' status=2' not in line]
        except OSError:
            text = []
        return '\n'.join(f'    {self.name} | {line}' for line in text[-lines:])

    def run(self, *words, secret=None, seconds=COMMAND_SECONDS):
        """Runs a command of the command line on this server's data folder; returns (exit code, stdout, stderr)."""
        if secret is not None:
            words += ('--password-stdin',)
        done = subprocess.run([program(), '--data', str(self.data), *map(str, words)], capture_output=True, text=True, timeout=seconds, env=environment(),
                              stdin=subprocess.DEVNULL if secret is None else None, input=None if secret is None else secret + '\n')
        return done.returncode, done.stdout, done.stderr

    def cli(self, *words, secret=None):
        """As `run`, but must succeed; returns stdout."""
        code, out, err = self.run(*words, secret=secret)
        if code != 0:
            raise Trouble(f'{self.name}: `causeway {" ".join(map(str, words))}` exited {code}: {err.strip() or out.strip()}')
        return out

    def peak_kb(self):
        """VmHWM of the process."""
        status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+)', status)[1])


def token_in(text):
    """The token of a link in what `link create` printed."""
    found = TOKEN.search(text)
    if not found:
        raise Trouble(f'no link in {text!r}')
    return found[1]


class Root:
    """One place that a driver works on."""

    def __init__(self, name, user, password, plain, owncloud, nextcloud):
        self.name, self.user, self.password = name, user, password
        self.urls = {'other': plain, 'owncloud': owncloud, 'nextcloud': nextcloud}


class Pair:
    """Servers A and B. Alice of A shares two folders by writable links; Bob of B has one of them mounted as `From Alice`."""

    ALICE, BOB, LINK = 'Alice-Pass 1!', 'Bob-Pass 2!', 'Link-Pass 3!'
    MOUNTED = 'From Alice'

    def __init__(self, folder, certs=None, config=None):
        self.folder = pathlib.Path(folder)
        self.certs = certs
        self.a = Server('A', self.folder / 'a', certs, config)
        self.b = Server('B', self.folder / 'b', certs, config)
        self.tokens = {}

    def start(self):
        for server, user, password in ((self.a, 'alice', self.ALICE), (self.b, 'bob', self.BOB)):
            server.start()
            server.cli('user', 'add', user, secret=password)
        for name in ('linked', 'mounted'):
            (self.a.data / 'alice' / name).mkdir(parents=True, exist_ok=True)
        self.a.cli('scan', 'alice')
        self.tokens['linked'] = self.link('/linked')
        self.tokens['mounted'] = self.link('/mounted')
        if self.certs:
            self.b.cli('remote', 'trust', self.a.host, '--ca', self.certs / 'ca.pem')
        self.b.cli('remote', 'allow-private', self.a.host)
        self.b.cli('mount', 'add', 'bob', f'{self.a.url}/s/{self.tokens["mounted"]}', '--name', self.MOUNTED, secret=self.LINK)
        return self

    def link(self, path):
        return token_in(self.a.cli('link', 'create', 'alice', path, '--permissions', 'edit', secret=self.LINK))

    def roots(self):
        """Home, link and mount, as the URLs that each kind of client is given."""
        quoted = urllib.parse.quote(self.MOUNTED)
        bob, link = self.b.url, self.a.url
        token = self.tokens['linked']
        return [
            Root('home', 'bob', self.BOB, f'{bob}/webdav/', f'{bob}/remote.php/webdav/', f'{bob}/remote.php/dav/files/bob/'),
            Root('link', token, self.LINK, f'{link}/public.php/webdav/', f'{link}/public.php/webdav/', f'{link}/public.php/dav/files/{token}/'),
            Root('mount', 'bob', self.BOB, f'{bob}/webdav/{quoted}/', f'{bob}/remote.php/webdav/{quoted}/',
                 f'{bob}/remote.php/dav/files/bob/{quoted}/'),
        ]

    def kill(self):
        self.a.kill()
        self.b.kill()

    def log_tail(self):
        return f'{self.a.log_tail()}\n{self.b.log_tail()}'


class Workspace:
    """A temporary folder that goes away on every exit path, unless KEEP=1."""

    def __init__(self, name):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f'causeway-{name}.'))

    def __enter__(self):
        # A terminated run unwinds like an interrupted one, so that servers and mounts are ended.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self.path

    def __exit__(self, *_):
        if os.environ.get('KEEP'):
            print(f'# kept {self.path}')
        else:
            shutil.rmtree(self.path, ignore_errors=True)


def tls_context(certs):
    """Trusts the private CA only."""
    return ssl.create_default_context(cafile=str(certs / 'ca.pem')) if certs else None


def json_of(text):
    """A `--json` listing."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Trouble(f'not JSON: {text!r}') from error
