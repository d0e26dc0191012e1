"""A stand-in for vLLM's server: real processes and a real socket, without an engine.

It records how it was started in $STAND_IN_RECORD and starts a process that would outlive it. Flags of its own
control its behaviour; they reach it because the launcher passes on flags that it does not know.
"""

import argparse
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int)
    parser.add_argument("--exit-at-start", type=int)
    parser.add_argument("--exit-when-ready", type=int)
    parser.add_argument("--exit-on-sigterm", type=int, default=0)
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--never-listen", action="store_true")
    args, _ = parser.parse_known_args()
    if args.exit_at_start is not None:
        sys.exit(args.exit_at_start)
    grandchild = subprocess.Popen(["sleep", "1000"])
    if args.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(args.exit_on_sigterm))
    child_path = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps(sys.path))"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=240,
    )
    record = {
        "argv": sys.argv,
        "environment": dict(os.environ),
        "pids": [os.getpid(), grandchild.pid],
        "path": sys.path,
        "child_path": json.loads(child_path.stdout),
    }
    Path(os.environ["STAND_IN_RECORD"]).write_text(json.dumps(record))
    if args.never_listen:
        signal.pause()
    server = http.server.HTTPServer(("127.0.0.1", args.port), Handler)
    if args.exit_when_ready is not None:
        threading.Timer(1.0, os._exit, [args.exit_when_ready]).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
