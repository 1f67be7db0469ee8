#!/bin/bash
# crash.sh [ROUNDS] : kill -9 under load; see crash.py.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/crash.py" "$@"
