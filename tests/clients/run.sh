#!/bin/bash
# run.sh [--full] [--only DRIVER] [--root ROOT] : real clients against two real servers; see run.py.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
