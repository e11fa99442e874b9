"""A worker's lease on a row, renewed while it works: who dies loses it, who is only slow does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def renewed(renew: Callable[[], object], *, every: float, name: str) -> Iterator[None]:
    """Call `renew` all `every` seconds, in a thread called `name` with a database connection of its own."""
    over = threading.Event()

    def beat() -> None:
        try:
            while not over.wait(every):
                renew()
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
