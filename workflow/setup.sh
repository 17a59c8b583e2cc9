#!/bin/sh
# Finds a Python that is new enough and hands over to make_environment.py, which makes .venv; both need nothing installed.
here=$(cd "$(dirname "$0")" && pwd)
for python in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    # A name on the PATH may be a shim that runs nothing, so each one is asked.
    if "$python" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$python" "$here/make_environment.py" "$@"
    fi
done
echo "set-up: no Python 3.11 or newer found (tried ${PYTHON:-}python3, python3.13, python3.12, python3.11)." >&2
echo "set-up: on Debian 12 or newer and Ubuntu 24.04: apt install python3 python3-venv; else set PYTHON=/path/to/python" >&2
exit 1
