"""How long a pull takes, beside a loop that only downloads the same pages from the same server.

    python -m tests.connections.pull_speed [USERS [ROUNDS]]

Not a test: it takes minutes, and what it says depends on the machine. Both sides take turns, each time in a process of
their own, at a server that has every page ready; so the ratio is that of the clients.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from connections.demo.api_server import COLLECTIONS, records
from connections.demo.days import Day
from connections.rest import Api, pull
from rosters import making
from tests.connections.sis import LOOPBACK

LIMIT = 1000
DAY = date(2026, 11, 20)


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    ready: dict[tuple[str, int], bytes] = {}
    totals: dict[str, int] = {}

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        collection, query = parts.path.removeprefix("/"), parse_qs(parts.query)
        body = self.ready.get((collection, int(query["offset"][0])), b'{"%s": []}' % collection.encode())
        self.send_response_only(200)
        self.send_header("X-Total-Count", str(self.totals[collection]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def prepare(users: int) -> None:
    tables = making.make_roster(users=users, seed=1, today=DAY, name="Cedar Grove")
    for collection, rows in records(Day(DAY, DAY, tables, {}), "https://sis.example.org/ims/oneroster/v1p1").items():
        _Pages.totals[collection] = len(rows)
        for offset in range(0, len(rows), LIMIT):
            _Pages.ready[collection, offset] = json.dumps({collection: rows[offset : offset + LIMIT]}).encode()


def bare(url: str) -> int:
    size = 0
    with requests.Session() as session:
        for collection in COLLECTIONS:
            offset, total = 0, 1
            while offset < total:
                answer = session.get(f"{url}/{collection}", params={"limit": LIMIT, "offset": offset}, timeout=60)
                size += len(answer.content)
                total = int(answer.headers["X-Total-Count"])
                offset += LIMIT
    return size


def ours(url: str) -> int:
    api = Api(url, auth="oauth1", key="key", secret="secret", page_size=LIMIT, allowed=LOOPBACK)
    with tempfile.TemporaryDirectory() as folder:
        return pull(api, Path(folder)).received


def measured(side: str, url: str) -> dict[str, float]:
    """Run in a process of its own: seconds, CPU seconds and peak memory in MB."""
    command = [sys.executable, "-m", "tests.connections.pull_speed", side, url]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    print(f"{side:5} {found['seconds']:6.2f} s  {found['cpu']:6.2f} CPU s  {found['peak']:4.0f} MB", flush=True)
    return found


def compare(users: int, rounds: int) -> None:
    prepare(users)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{sum(_Pages.totals.values()):,} records, {sum(map(len, _Pages.ready.values())) >> 20:,} MB")
    url = f"http://127.0.0.1:{server.server_port}"
    taken = [(measured("bare", url), measured("ours", url)) for _ in range(rounds)]
    for what in ("seconds", "cpu"):
        a, b = (median(side[what] for side in sides) for sides in zip(*taken, strict=True))
        print(f"{what}: {b:.2f} against {a:.2f}, {b / a:.2f}x")


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["ours"]):
        began, before = time.perf_counter(), time.process_time()
        {"bare": bare, "ours": ours}[sys.argv[1]](sys.argv[2])
        taken = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - before}
        (peak,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        print(json.dumps(taken | {"peak": int(peak) / 1024}))
    else:
        numbers = [int(argument) for argument in sys.argv[1:]]
        compare(*(numbers + [100_000, 3][len(numbers) :]))
