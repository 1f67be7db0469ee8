"""A browser for the drivers: Debian's chromium, spoken to by chromedriver's WebDriver protocol (W3C). Standard library only."""
import json
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'
START_SECONDS = 60
WAIT_SECONDS = 20


class BrowserTrouble(Exception):
    """The browser does not do what it is asked."""


class Browser:
    """One window of a fresh profile, which speaks to loopback alone; `phone` is the width and height of one."""

    def __init__(self, folder, width=1100, height=900, phone=None, scripts=True):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.log = open(folder / 'chromedriver.log', 'wb')
        self.driver = subprocess.Popen(['chromedriver', '--port=0'], stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
                                       env={'PATH': '/usr/bin:/bin', 'HOME': str(folder)})
        self.base, self.session = f'http://127.0.0.1:{self.port()}', None
        arguments = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
                     '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', f'--user-data-dir={folder / "profile"}',
                     f'--window-size={width},{height}', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1']
        options = {'args': arguments, 'prefs': {'intl.accept_languages': 'en'}}
        if phone:
            options['mobileEmulation'] = {'deviceMetrics': {'width': phone[0], 'height': phone[1], 'pixelRatio': 2, 'touch': True}}
        wanted = {'browserName': 'chrome', 'acceptInsecureCerts': True, 'goog:chromeOptions': options}
        self.session = self.ask('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']
        if not scripts:
            # Those of pages: what the driver asks is answered all the same.
            self.ask('POST', '/goog/cdp/execute', {'cmd': 'Emulation.setScriptExecutionDisabled', 'params': {'value': True}})

    def port(self):
        """chromedriver says which port it was given."""
        deadline = time.monotonic() + START_SECONDS
        for line in iter(self.driver.stdout.readline, b''):
            found = re.search(rb'successfully on port (\d+)', line)
            if found:
                return int(found[1])
            if time.monotonic() > deadline:
                break
        raise BrowserTrouble('chromedriver does not start')

    def ask(self, method, path, body=None):
        if self.session:
            path = f'/session/{self.session}{path}'
        data = None if body is None and method != 'POST' else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, {'Content-Type': 'application/json'}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            said = json.load(error).get('value', {})
            raise BrowserTrouble(f'{method} {path.split("/", 3)[-1]}: {said.get("error")}: {said.get("message", "")[:300]}') from None

    def open(self, url):
        self.ask('POST', '/url', {'url': url})

    def text(self):
        return self.script('return document.body ? document.body.innerText : ""')

    def script(self, code, *arguments):
        return self.ask('POST', '/execute/sync', {'script': code, 'args': list(arguments)})

    def find(self, selector):
        """The elements of a CSS selector."""
        return [found[ELEMENT] for found in self.ask('POST', '/elements', {'using': 'css selector', 'value': selector})]

    def wait(self, what, condition):
        """Asks until `condition` is true; returns what it said."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise BrowserTrouble(f'{what} did not come; the page says {self.text()[:400]!r}')
            time.sleep(0.05)

    def one(self, selector):
        return self.wait(f'{selector!r}', lambda: self.find(selector))[0]

    def type(self, selector, text):
        element = self.one(selector)
        self.ask('POST', f'/element/{element}/clear')
        self.ask('POST', f'/element/{element}/value', {'text': text})

    def click(self, selector):
        self.ask('POST', f'/element/{self.one(selector)}/click')

    def enter_frame(self, selector):
        self.ask('POST', '/frame', {'id': {ELEMENT: self.one(selector)}})

    def leave_frame(self):
        self.ask('POST', '/frame', {'id': None})

    def close(self):
        try:
            if self.session:
                self.ask('DELETE', '')
        except (OSError, BrowserTrouble):
            pass
        self.driver.kill()
        self.driver.wait()
        self.driver.stdout.close()
        self.log.close()
