"""Workers, their guardian and their supervisor die suddenly; the work is done all the same. With real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django_q.tasks import async_task

from portal.cluster import KernelLock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's (PR_SET_PDEATHSIG)")


def wait_for(what: Callable[[], object], *, seconds: float = 20) -> None:
    """Return as soon as `what` is true. Raises TimeoutError if it does not become so."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def forked(work: Callable[[], None]) -> int:
    """The pid of a new process that does `work` and ends."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return pid


class TestTheLock:
    def test_a_dead_holder_no_longer_holds_it(self, tmp_path: Path) -> None:
        lock = KernelLock()

        def hold_for_ever() -> None:
            lock.acquire()
            (tmp_path / "held").touch()
            time.sleep(60)

        holder = forked(hold_for_ever)
        wait_for((tmp_path / "held").exists)
        assert lock.acquire(timeout=0.1) is False

        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)

        assert lock.acquire(timeout=1) is True
        lock.release()

    def test_the_thread_that_has_it_may_take_it_again(self) -> None:
        lock = KernelLock()
        with lock, lock:
            assert _from_another_thread(lock) is False
        assert _from_another_thread(lock) is True

    def test_what_only_looks_like_a_deadlock_to_the_kernel_is_none(self, tmp_path: Path) -> None:
        """Two processes, each waiting in one thread for what another thread of the other one will give back soon."""
        first, second = KernelLock(), KernelLock()

        def take(mine: KernelLock, theirs: KernelLock, name: str) -> None:
            def hold_a_while() -> None:
                with mine:
                    (tmp_path / f"{name} holds").touch()
                    time.sleep(0.5)

            holder = threading.Thread(target=hold_a_while)
            holder.start()
            wait_for(lambda: len(list(tmp_path.glob("* holds"))) == 2)
            with theirs:
                (tmp_path / f"{name} went on").touch()
            holder.join()

        children = [forked(lambda: take(first, second, "one")), forked(lambda: take(second, first, "two"))]
        for child in children:
            os.waitpid(child, 0)

        assert len(list(tmp_path.glob("* went on"))) == 2


def _from_another_thread(lock: KernelLock) -> bool:
    answers: list[bool] = []

    def ask() -> None:
        answers.append(lock.acquire(block=False))
        if answers[0]:
            lock.release()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return answers[0]


class RunningCluster:
    """`manage.py qcluster` with one worker, on the test's own database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.asked = 0
        url = f"sqlite:///{connection.settings_dict['NAME']}"
        if connection.vendor == "postgresql":
            url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, settings.BASE_DIR / "manage.py", "qcluster", "--grace", "5"],
                env={**os.environ, "DATABASE_URL": url, "SECRET_KEY": settings.SECRET_KEY, "WORKERS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pids(self, doing: str) -> list[int]:
        """The processes that said that they do this, in order."""
        return [int(pid) for pid in re.findall(rf"{doing} at (\d+)", self.log.read_text())]

    def cluster_pids(self) -> list[int]:
        """The cluster's main process and its guardian, as the supervisor's children and grandchildren."""
        main = _children(self.process.pid)
        return [*main, *(pid for parent in main for pid in _children(parent))]

    def ready(self, *, workers: int = 1) -> None:
        wait_for(lambda: len(self.pids("ready for work")) >= workers)
        time.sleep(0.3)  # the worker has said so, and now takes the queue's lock to wait for work

    def ask(self, tasks: int) -> None:
        for _ in range(tasks):
            self.asked += 1
            async_task("os.mkdir", str(self.folder / f"done-{self.asked}"))

    def done(self) -> bool:
        return len(list(self.folder.glob("done-*"))) == self.asked


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def cluster(transactional_db: None, tmp_path: Path) -> Iterator[RunningCluster]:
    running = RunningCluster(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(10)


def test_killed_while_idle_a_worker_takes_no_work_with_it(cluster: RunningCluster) -> None:
    cluster.ready()
    os.kill(cluster.pids("ready for work")[-1], signal.SIGKILL)

    cluster.ask(tasks=3)
    wait_for(cluster.done)

    began = time.monotonic()
    cluster.process.terminate()
    assert cluster.process.wait(10) == 0
    assert time.monotonic() - began < 8


@pytest.mark.alike
def test_when_the_guardian_is_killed_the_supervisor_starts_a_new_cluster(cluster: RunningCluster) -> None:
    cluster.ready()
    before = cluster.pids("ready for work")
    main, guardian = cluster.cluster_pids()[:2]
    os.kill(guardian, signal.SIGKILL)

    cluster.ask(tasks=2)
    wait_for(cluster.done)

    assert not any(map(_alive, [main, *before]))


@pytest.mark.alike
def test_nothing_outlives_a_killed_supervisor(cluster: RunningCluster) -> None:
    cluster.ready()
    others = [*cluster.cluster_pids(), *cluster.pids("ready for work"), *cluster.pids("pushing tasks")]
    cluster.process.kill()
    cluster.process.wait()

    wait_for(lambda: not any(map(_alive, others)), seconds=5)
