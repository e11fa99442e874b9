"""One measurement in a process of its own: prints one line of JSON with its seconds, and the CPU seconds and peak
memory (MB) of the whole process.

Usage: python -m rosters.management.benchmarks WHAT [ARGUMENT ...]
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


def measures() -> dict[str, Callable[..., Any]]:
    """What can be measured: each a function of texts. A dictionary that one returns is told with the rest."""
    from django.core.management import call_command

    from rosters.management.benchmarks import districts, limits, ours, plain

    def prepare() -> None:
        call_command("migrate", verbosity=0)
        plain.create_tables()

    def load_plain(path: str, district: str) -> None:
        plain.load(Path(path), district=int(district))

    return {
        "zips": lambda folder, users: districts.make_zips(Path(folder), int(users)),
        "prepare": prepare,
        "ours": lambda path, district: ours.load(Path(path), site_code=district),
        "plain": load_plain,
        "pages": lambda sync: ours.pages(sync_id=int(sync)),
        "reads": lambda sync: ours.reads(sync_id=int(sync)),
        "sha256": lambda path: limits.sha256(Path(path)),
        "parse": lambda path: limits.parse(Path(path)),
        "insert": lambda path: limits.insert(Path(path)),
    }


def main(what: str, *arguments: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    measure = measures()[what]
    started = time.perf_counter()
    told = measure(*arguments) or {}
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    facts = {"total": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}
    sys.stdout.write(json.dumps(facts | told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
