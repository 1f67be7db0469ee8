#!/usr/bin/env python3
"""cadaver-tty.py URL < COMMANDS : runs cadaver on a terminal of its own and hands it one line of commands per prompt.

Cadaver has no option for a private CA: it asks on a terminal whether to accept the certificate, and refuses without one. The
answer given here is yes only when $CAFILE is set; the drivers that can verify the certificate do."""
import os
import pty
import re
import select
import sys
import termios
import time

PROMPT = re.compile(rb'(?:^|[\r\n])dav:[^\r\n]*[>?] $')
QUESTION = b'(y/n) '
PATIENCE_SECONDS = 60


def main():
    os.environ.update(TERM='dumb', COLUMNS='2000')
    child, terminal = pty.fork()
    if child == 0:
        os.execvp('cadaver', ['cadaver', '--tolerant', *sys.argv[1:]])
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)

    seen = b''
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:    # the other end of the terminal is closed: cadaver ended
            data = b''
        if not data:
            break
        sys.stdout.buffer.write(data.replace(b'\r\n', b'\n'))
        sys.stdout.buffer.flush()
        seen = (seen + data)[-8192:]
        if seen.endswith(QUESTION) and os.environ.get('CAFILE'):
            os.write(terminal, b'y\n')
            seen = b''
        elif PROMPT.search(seen):
            os.write(terminal, sys.stdin.buffer.readline() or b'quit\n')
            seen, deadline = b'', time.monotonic() + PATIENCE_SECONDS
    else:
        print('\ncadaver-tty: no prompt in', PATIENCE_SECONDS, 'seconds')
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1


sys.exit(main())
