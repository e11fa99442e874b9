"""A worker at hand: what lies in the queue is done here and now, as a worker would, until nothing is left."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django_q.models import OrmQ


def work_off() -> int:
    """Run every queued task, and those that they enqueue. Returns how many there were."""
    done = 0
    while row := OrmQ.objects.order_by("id").first():
        task: dict[str, Any] = row.task
        row.delete()
        room, _, name = task["func"].rpartition(".")
        getattr(import_module(room), name)(**task["kwargs"])
        done += 1
    return done
