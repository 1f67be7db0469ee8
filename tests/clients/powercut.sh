#!/bin/bash
# powercut.sh [ROUNDS] : what a power cut leaves; see powercut.py.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/powercut.py" "$@"
