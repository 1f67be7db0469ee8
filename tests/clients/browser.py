#!/usr/bin/env python3
"""browser.py : "Add to your server" as a person clicks through it in chromium, between two servers: on a desktop and on a phone, without JavaScript,
and by the fragment that ownCloud makes of it.

Ends with "N passed, N failed"."""
import base64
import os
import shutil
import sys
import urllib.parse

import servers
from davlib import Dav
from webdriver import Browser, BrowserTrouble

NEEDED = ('chromium', 'chromedriver')
ALICE, BOB, LINK = 'Alice-Pass 1!', 'Bob-Pass 2!', 'Link-Pass 3!'
PASSWORD_FIELD, NAME_FIELD, ADDRESS_FIELD, BUTTON = 'input[type=password]', 'input[name=user]', 'input[name=address]', 'main button.main'
PHONE = (390, 844)
# A finger's width, in CSS pixels (WCAG 2.5.8 asks for 24).
TARGET_PIXELS_MIN = 40


class Walk:
    def __init__(self, folder):
        self.folder, self.passed, self.failed, self.mounted = folder, 0, 0, 0
        self.a, self.b = servers.Server('A', folder / 'a'), servers.Server('B', folder / 'b')

    def check(self, what, good, told=''):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f'{"PASS" if good else "FAIL"} {what}' + ('' if good else f': {told}'))

    def prepare(self):
        for server, user, password in ((self.a, 'alice', ALICE), (self.b, 'bob', BOB)):
            server.start()
            server.cli('user', 'add', user, secret=password)
        self.a.cli('remote', 'allow-private', self.b.host)
        self.b.cli('remote', 'allow-private', self.a.host)
        for name in ('Open', 'Closed'):
            (self.a.data / 'alice' / name).mkdir(parents=True)
            (self.a.data / 'alice' / name / 'a.txt').write_text(f'{name} of alice')
        self.a.cli('scan', 'alice')
        self.dav = Dav(f'{self.b.url}/remote.php/dav/files/bob/', 'bob', BOB)
        self.open = f'{self.a.url}/s/{servers.token_in(self.a.cli("link", "create", "alice", "/Open"))}'
        self.closed = f'{self.a.url}/s/{servers.token_in(self.a.cli("link", "create", "alice", "/Closed", secret=LINK))}'

    def content(self, folder):
        """What is in the file of a mounted folder."""
        answer = self.dav.request('GET', f'{folder}/a.txt')
        return answer[0], (answer[-1] or b'').decode(errors='replace')

    def log_in(self, browser):
        browser.type(NAME_FIELD, 'bob')
        browser.type(PASSWORD_FIELD, BOB)
        browser.click(BUTTON)

    def to_own_server(self, browser, link):
        """From the page of a link to one's own server."""
        browser.open(link)
        browser.click('a[href$="/add"]')
        browser.type(ADDRESS_FIELD, self.b.host)
        self.looks(browser, 'address')
        browser.click(BUTTON)
        browser.wait('the own server', lambda: browser.ask('GET', '/url').startswith(self.b.url))

    def question(self, browser, name):
        text = browser.wait('the dialogue', lambda: browser.find('.question') and browser.text())
        wanted = f'Do you want to add the remote share {name} from alice@{self.a.host}?'
        self.check('the dialogue asks in the words of the manual', wanted in text, text)

    def added(self, browser, folder, name):
        text = browser.wait('the folder', lambda: browser.find('[role=status]') and browser.text())
        self.check('the page says where the folder hangs', f'/{folder}' in text, text)
        self.check('it is there by WebDAV', self.content(folder) == (200, f'{name} of alice'), self.content(folder))

    def looks(self, browser, page):
        """What a phone and a keyboard need of every page."""
        wide = browser.script('return document.documentElement.scrollWidth > document.documentElement.clientWidth')
        small = browser.script('return [...document.querySelectorAll("button, .button, main input:not([type=hidden])")]'
                               '.filter((element) => element.getBoundingClientRect().height < arguments[0]).map((element) => element.outerHTML)', TARGET_PIXELS_MIN)
        bare = browser.script('return [...document.querySelectorAll("input:not([type=hidden])")].filter((element) => !element.labels.length)'
                              '.map((element) => element.outerHTML)')
        styled = browser.script('return getComputedStyle(document.querySelector("main")).maxWidth !== "none"')
        landmarks = browser.script('return [document.querySelectorAll("main").length, document.querySelectorAll("h1").length, document.documentElement.lang]')
        good = not wide and not small and not bare and styled and landmarks == [1, 1, 'en']
        self.check(f'the page "{page}" fits, can be pressed and is labelled', good, (wide, small, bare, styled, landmarks))
        target = servers.CLONE / 'target' / 'screenshots'
        target.mkdir(parents=True, exist_ok=True)
        (target / f'{browser.name}-{page}.png').write_bytes(base64.b64decode(browser.ask('GET', '/screenshot')))

    def window(self, name, **settings):
        browser = Browser(self.folder / f'browser-{name}', **settings)
        browser.name = name
        return browser

    def desktop(self):
        """A protected link, a wrong password first, and the fragment."""
        browser = self.window('desktop')
        try:
            browser.open(self.closed)
            browser.type(PASSWORD_FIELD, LINK)
            browser.click('form button')
            browser.wait('the link', lambda: 'a.txt' in browser.text())
            self.to_own_server(browser, self.closed)
            browser.wait('the login', lambda: browser.find(NAME_FIELD))
            self.looks(browser, 'login')
            self.log_in(browser)
            self.question(browser, 'Closed')
            browser.type(PASSWORD_FIELD, 'wrong')
            self.looks(browser, 'dialogue')
            browser.click(BUTTON)
            browser.wait('the refusal', lambda: 'password is wrong' in browser.text())
            self.check('nothing is added by a wrong password', self.content('Closed')[0] == 404)
            browser.type(PASSWORD_FIELD, LINK)
            browser.click(BUTTON)
            self.added(browser, 'Closed', 'Closed')
            self.looks(browser, 'start')
            self.fragment(browser)
            self.framed(browser)
            browser.open(f'{self.b.url}/')
            browser.click('header button')
            browser.wait('the login', lambda: browser.find(NAME_FIELD))
            browser.open(f'{self.b.url}/')
            self.check('who logged out is asked again', browser.wait('the login', lambda: browser.find(NAME_FIELD)))
            self.fragment_login(browser)
        finally:
            browser.close()

    def handed(self, name, separator):
        fields = {'remote': self.a.url, 'token': self.open.rsplit('/', 1)[1], 'owner': 'alice', 'ownerDisplayName': 'alice', 'name': name, 'protected': '0'}
        return f'{self.b.url}/index.php/apps/files{separator}{urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)}'

    def fragment(self, browser):
        """As ownCloud hands a share over, to somebody who is logged in."""
        browser.open(self.handed('Sommer & Söhne', '#'))
        self.question(browser, 'Sommer & Söhne')
        browser.click(BUTTON)
        self.added(browser, 'Sommer & Söhne', 'Open')
        # On a page that is open already, only what stands behind the # changes.
        browser.open(f'{self.b.url}/index.php/apps/files')
        browser.script('location.hash = arguments[0]', self.handed('Second', '#').split('#', 1)[1])
        self.question(browser, 'Second')
        browser.click('main a.button')
        browser.wait('the start page', lambda: browser.find('#mounts'))
        self.check('cancel adds nothing', self.content('Second')[0] == 404)

    def fragment_login(self, browser):
        """And to somebody who is not."""
        browser.open(self.handed('After login', '#'))
        browser.wait('the login', lambda: 'login?to=' in browser.ask('GET', '/url') and 'remote' in browser.ask('GET', '/url') and browser.find(NAME_FIELD))
        self.log_in(browser)
        self.question(browser, 'After login')
        browser.click(BUTTON)
        self.added(browser, 'After login', 'Open')

    def framed(self, browser):
        """Another site cannot put the dialogue into a frame."""
        browser.open('data:text/html,<iframe id="f" width="500" height="500"></iframe>')
        browser.script('document.getElementById("f").src = arguments[0]', self.handed('Framed', '?'))
        browser.enter_frame('#f')
        browser.wait('the frame', lambda: browser.script('return document.readyState') == 'complete' and browser.script('return location.href') != 'about:blank')
        inside = browser.text()
        browser.leave_frame()
        self.check('another site cannot show the dialogue in a frame', 'Framed' not in inside, inside)

    def phone(self):
        browser = self.window('phone', phone=PHONE)
        try:
            self.to_own_server(browser, self.open)
            browser.wait('the login', lambda: browser.find(NAME_FIELD))
            self.check('the window is that of a phone', browser.script('return innerWidth') == PHONE[0], browser.script('return innerWidth'))
            self.looks(browser, 'login')
            self.log_in(browser)
            self.question(browser, 'Open')
            self.looks(browser, 'dialogue')
            browser.click(BUTTON)
            self.added(browser, 'Open', 'Open')
            self.looks(browser, 'start')
            # The server is remembered, and the session lives on.
            browser.open(f'{self.open}/add')
            remembered = browser.script('return document.querySelector("input[name=address]").value')
            self.check('the own server is remembered', remembered == self.b.host, remembered)
        finally:
            browser.close()

    def without_scripts(self):
        browser = self.window('plain', scripts=False)
        try:
            self.to_own_server(browser, self.open)
            browser.wait('the login', lambda: browser.find(NAME_FIELD))
            self.log_in(browser)
            self.question(browser, 'Open')
            browser.click(BUTTON)
            self.added(browser, 'Open (2)', 'Open')
            browser.open(self.handed('Hash', '#'))
            text = browser.wait('the start page', lambda: browser.find('#mounts') and browser.text())
            self.check('without JavaScript what stands behind # is not read, and the page says so', 'needs JavaScript' in text and not browser.find('.question'), text)
        finally:
            browser.close()

    def go(self):
        self.prepare()
        self.desktop()
        self.phone()
        self.without_scripts()
        for server in (self.a, self.b):
            log = server.log_path.read_text(errors='replace')
            self.check(f'server {server.name} did not panic', 'panicked at' not in log)
            secrets = [self.open.rsplit('/', 1)[1], self.closed.rsplit('/', 1)[1], BOB, LINK]
            self.check(f'f6 no secret stands in the log of server {server.name}', not any(secret in log for secret in secrets))


def main():
    missing = [program for program in NEEDED if not shutil.which(program)]
    if missing:
        print(f'{"FAIL" if os.environ.get("CLIENTS_REQUIRED") else "SKIP"} {", ".join(missing)} not installed')
        return 1 if os.environ.get('CLIENTS_REQUIRED') else 77
    with servers.Workspace('browser') as folder:
        walk = Walk(folder)
        try:
            walk.go()
        except (BrowserTrouble, servers.Trouble, OSError, KeyError, TypeError) as error:
            walk.failed += 1
            print(f'FAIL {type(error).__name__}: {error}')
        finally:
            walk.a.kill()
            walk.b.kill()
            if walk.failed:
                print(walk.a.log_tail(), walk.b.log_tail(), sep='\n')
    print(f'{walk.passed} passed, {walk.failed} failed')
    return 1 if walk.failed or not walk.passed else 0


sys.exit(main())
