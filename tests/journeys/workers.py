"""Real worker processes on the test's own database: told what to do line by line, at the moment a test chooses."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

SCRIPT = """
import os, signal, sys
import django
django.setup()
from django.contrib.auth.models import User, update_last_login
from django.db import connection
from rosters import syncs
from rosters.models import District, Sync

def kill(point, after):
    def wrapper(execute, sql, params, many, context):
        if point not in sql:
            return execute(sql, params, many, context)
        if after:
            execute(sql, params, many, context)
        os.kill(os.getpid(), signal.SIGKILL)
    return wrapper

def prepare(pk):
    done = syncs.prepare(int(pk))
    return done.status if done else "none"

def apply(pk):
    done = syncs.apply(int(pk))
    return done.status if done else "none"

def decide(verb, pk, digest=""):
    sync, by = Sync.objects.get(pk=pk), User.objects.get(username="alice")
    try:
        if verb == "approve":
            syncs.approve(sync, by=by, plan_digest=digest)
        else:
            syncs.decline(sync, by=by, reason="no")
    except syncs.DecisionRefused as refused:
        return type(refused).__name__
    return Sync.objects.get(pk=pk).status

def killed(verb, pk, when, *point):
    with connection.execute_wrapper(kill(" ".join(point), when == "after")):
        return {"apply": apply, "prepare": prepare}[verb](pk)

def read():
    from rosters.models import User
    return f"{District.objects.get().version} {User.objects.filter(status='active').count()}"

def few_are_many(number):
    from rosters.applying import indexes
    indexes._MANY = int(number)
    return "done"

def pull(pk):
    from connections import attempts
    sync = attempts.run(int(pk))
    return sync.pk if sync else "none"

def short_lease(seconds):
    from datetime import timedelta
    from connections import attempts, models
    models.ATTEMPT_LEASE = timedelta(seconds=float(seconds))
    attempts.BEAT = float(seconds) / 5
    return "done"

def login():
    update_last_login(None, User.objects.get(username="alice"))
    return "done"

print("ready", flush=True)
for line in sys.stdin:
    verb, *rest = line.split()
    print({"prepare": prepare, "apply": apply, "approve": lambda *a: decide("approve", *a), "killed": killed,
           "decline": lambda *a: decide("decline", *a), "read": read, "login": login,
           "few_are_many": few_are_many, "pull": pull, "short_lease": short_lease}[verb](*rest), flush=True)
"""


class Worker:
    """One process. `tell` returns at once; `answer` waits for what came of it ("" if it died)."""

    def __init__(self) -> None:
        name = connection.settings_dict["NAME"]
        url = f"sqlite:///{name}"
        if connection.vendor == "postgresql":
            url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
        environment = {**os.environ, "DATABASE_URL": url, "PORTAL_DATA_DIR": str(settings.PORTAL_DATA_DIR)}
        environment["PORTAL_ENCRYPTION_KEY"] = settings.PORTAL_ENCRYPTION_KEY
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=settings.BASE_DIR,
            env={**environment, "SECRET_KEY": settings.SECRET_KEY, "LOG_LEVEL": "CRITICAL"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Worker:
        assert self.answer() == "ready"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self.process.kill()
        self.process.communicate(timeout=60)

    def tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def race(first: Worker, second: Worker, *words: str) -> list[str]:
    """Both do theirs at the same moment; what came of it, sorted."""
    for worker, told in zip((first, second), words, strict=True):
        worker.tell(told)
    return sorted([first.answer(), second.answer()])
