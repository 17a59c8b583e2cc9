"""``make serve``: the built book on this machine's port 8000, or on ``PORT=...``."""

from __future__ import annotations

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from stages import ROOT


def main(port: str) -> int:
    """Serve ``_build/html`` until Ctrl-C; return 1, with one line, if the port cannot be had."""
    if not port.isdigit() or not 0 < int(port) < 65536:
        print(f"serve: PORT is {port!r}; expected a number from 1 to 65535", file=sys.stderr)
        return 1
    handler = functools.partial(SimpleHTTPRequestHandler, directory=ROOT / "_build" / "html")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", int(port)), handler)
    except OSError as error:
        print(f"serve: no port {port} here ({error.strerror}); take another: make serve PORT=8001", file=sys.stderr)
        return 1
    print(f"serve: http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
