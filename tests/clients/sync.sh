#!/bin/bash
# sync.sh [--client NAME]… [--scenario NAME]… : the sync clients; see sync.py.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/sync.py" "$@"
