#!/usr/bin/env python3
"""login.py : login flow v2 as a person goes through it in chromium, and what its app password is good for afterwards.

Ends with "N passed, N failed"."""
import base64
import json
import os
import pathlib
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request

import servers
from davlib import Dav
from webdriver import Browser, BrowserTrouble

AGENT = 'phone <b>of</b> Bob (Nextcloud-android)'
PASSWORD = 'Bob-Pass 2!'
NEEDED = ('chromium', 'chromedriver')
PASSWORD_FIELD, NAME_FIELD, BUTTON = 'input[type=password]', 'input[autocomplete=username]', 'form button[type=submit]'


class Login:
    def __init__(self, folder):
        self.folder, self.passed, self.failed = pathlib.Path(folder), 0, 0
        self.certs = servers.make_certs(self.folder / 'certs')
        self.server = servers.Server('A', self.folder / 'a', self.certs)
        self.context = servers.tls_context(self.certs)

    def check(self, what, good, told=''):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f'{"PASS" if good else "FAIL"} {what}' + ('' if good else f': {told}'))

    def post(self, url, form=None, headers=()):
        """(status, JSON or text)."""
        data = urllib.parse.urlencode(form or {}).encode()
        request = urllib.request.Request(url, data, {'User-Agent': AGENT, **dict(headers)}, method='POST')
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode(errors='replace')
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def go(self):
        self.server.start()
        self.server.cli('user', 'add', 'bob', secret=PASSWORD)
        status, flow = self.post(f'{self.server.url}/index.php/login/v2')
        self.check('a client begins a login', status == 200 and flow['poll']['token'] and flow['login'].startswith(self.server.url), (status, flow))
        poll = (flow['poll']['endpoint'], {'token': flow['poll']['token']})
        self.check('and waits', self.post(*poll)[0] == 404)
        browser = Browser(self.folder / 'browser')
        try:
            self.in_browser(browser, flow, poll)
            self.framed(browser)
        finally:
            browser.close()
        self.check('the server did not panic', 'panicked at' not in self.server.log_path.read_text(errors='replace'))

    def in_browser(self, browser, flow, poll):
        browser.open(flow['login'])
        browser.wait('the name of the client', lambda: 'phone <b>of</b> Bob' in browser.text())
        self.check('the page names the client that asks, as text', not browser.find('b'), browser.text())
        while not browser.find(PASSWORD_FIELD):
            browser.click(BUTTON)
        browser.type(NAME_FIELD, 'bob')
        browser.type(PASSWORD_FIELD, 'wrong')
        browser.click(BUTTON)
        browser.wait('a refusal', lambda: browser.find(PASSWORD_FIELD) and 'wrong' in browser.text().lower())
        self.check('a wrong password is refused on the page', self.post(*poll)[0] == 404)
        browser.type(NAME_FIELD, 'bob')
        browser.type(PASSWORD_FIELD, PASSWORD)
        browser.click(BUTTON)
        browser.wait('the question whether to grant access', lambda: not browser.find(PASSWORD_FIELD) and browser.find(BUTTON))
        self.check('the password alone grants nothing', self.post(*poll)[0] == 404)
        self.screenshot(browser, 'login-grant.png')
        browser.click(BUTTON)
        browser.wait('the end', lambda: not browser.find(BUTTON))
        status, granted = self.post(*poll)
        self.check('the client gets its password', status == 200 and granted.get('loginName') == 'bob' and granted.get('server') == self.server.url,
                   (status, granted))
        self.check('once', self.post(*poll)[0] == 404)
        self.check('the page shows no password', granted['appPassword'] not in browser.script('return document.documentElement.outerHTML'))
        os.environ['CAFILE'] = str(self.certs / 'ca.pem')
        dav = Dav(f'{self.server.url}/remote.php/dav/files/bob/', granted['loginName'], granted['appPassword'])
        self.check('which opens the files', dav.request('PROPFIND', '', headers={'Depth': '0'})[0] == 207)
        listed = servers.json_of(self.server.cli('user', 'app-passwords', 'bob', '--json'))
        self.check('it is listed by the name of the client', len(listed) == 1 and 'phone' in listed[0]['label'], listed)
        self.server.cli('user', 'revoke', 'bob', listed[0]['id'])
        self.check('and can be revoked', dav.request('PROPFIND', '', headers={'Depth': '0'})[0] == 401)

    def framed(self, browser):
        """Another site cannot put the page into a frame."""
        status, flow = self.post(f'{self.server.url}/index.php/login/v2')
        browser.open('data:text/html,<iframe id="f" width="500" height="500"></iframe>')
        browser.script('document.getElementById("f").src = arguments[0]', flow['login'])
        browser.enter_frame('#f')
        browser.wait('the frame', lambda: browser.script('return document.readyState') == 'complete' and browser.script('return location.href') != 'about:blank')
        inside = browser.text() + ' '.join(browser.find('form'))
        browser.leave_frame()
        self.check('another site cannot show the page in a frame', status == 200 and 'phone' not in inside, inside)

    def screenshot(self, browser, name):
        target = servers.CLONE / 'target' / 'screenshots'
        target.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(base64.b64decode(browser.ask('GET', '/screenshot')))


def main():
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing:
        print(f'{"FAIL" if os.environ.get("CLIENTS_REQUIRED") else "SKIP"} {", ".join(missing)} not installed')
        return 1 if os.environ.get('CLIENTS_REQUIRED') else 77
    with servers.Workspace('login') as folder:
        login = Login(folder)
        try:
            login.go()
        except (BrowserTrouble, servers.Trouble, OSError, KeyError, TypeError) as error:
            login.failed += 1
            print(f'FAIL {type(error).__name__}: {error}')
        finally:
            login.server.kill()
            if login.failed:
                print(login.server.log_tail())
    print(f'{login.passed} passed, {login.failed} failed')
    return 1 if login.failed or not login.passed else 0


sys.exit(main())
