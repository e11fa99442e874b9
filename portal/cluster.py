"""What a django-q2 cluster lacks to survive sudden deaths.

Its processes share queues whose locks are semaphores. When a process is killed that holds one (an idle worker always
does), nobody ever releases it: the cluster looks healthy, does nothing and cannot be stopped. Here the locks are file
locks, which the kernel releases when their holder dies. Children die with their parent instead of working on as
orphans, and a supervisor starts the cluster anew when it ends unasked. docs/decisions/0002 tells the story.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from types import FrameType
from typing import Any

import django_q.cluster
from django_q.queues import Queue

PAUSE = 0.01
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class KernelLock:
    """A lock between processes that is free again when its holder dies; within a process it is reentrant."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (open for as long as the lock lives)
        weakref.finalize(self, self._file.close)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._threads = threading.RLock()
        self._depth = 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; False if it was not to be had (within `timeout` seconds)."""
        if self._pid != os.getpid():
            self._begin()  # forked: what threads of the parent held is not ours
        patience = 0.0 if not block else threading.TIMEOUT_MAX if timeout is None else max(timeout, 0.0)
        end = time.monotonic() + patience
        if not self._threads.acquire(block, patience if block else -1):
            return False
        try:
            taken = self._depth > 0 or self._lock_file(end, wait=block and timeout is None)
        except BaseException:
            self._threads.release()
            raise
        if taken:
            self._depth += 1
        else:
            self._threads.release()
        return taken

    def _lock_file(self, end: float, *, wait: bool) -> bool:
        """Lock the file for this process, sleeping in the kernel where we may `wait` for ever."""
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError as error:
                # The kernel looks for circles by process. Two workers that each wait in one thread for what the other
                # one's other thread holds seem to be one, and are not: try again.
                if error.errno not in (errno.EDEADLK, errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE)

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        self._threads.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class RobustQueue(Queue):  # type: ignore[misc]
    """django-q2's queue, its two locks and the lock of its counter dropped by the kernel when their holder dies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rlock = KernelLock()
        self._wlock = KernelLock()
        self.size.count = _robust_value("i", 0)


def _robust_value(typecode: str, value: float) -> Any:
    return multiprocessing.Value(typecode, value, lock=KernelLock())  # type: ignore[call-overload]


def install() -> None:
    """Give every cluster that this process starts the robust locks, and every fork of it its parent's fate."""
    django_q.cluster.Queue = RobustQueue
    django_q.cluster.Value = _robust_value
    os.register_at_fork(after_in_child=die_with_parent)


def die_with_parent(by: int = signal.SIGKILL) -> None:
    """Have the kernel send this process the signal `by` when its parent dies (on Linux only)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, by)


def start(command: Sequence[str], *, when_we_die: int, **options: Any) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own (so that a Ctrl-C reaches us alone), never to outlive us."""
    return subprocess.Popen(
        command,
        start_new_session=True,
        preexec_fn=functools.partial(die_with_parent, when_we_die),  # safe: no threads here
        **options,
    )


def stop(process: subprocess.Popen[bytes], *, grace: float) -> None:
    """Ask `process` to stop; after `grace` seconds kill it, and in any case all that is left of its session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    kill_session(process)


def kill_session(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone already; macOS says it in the second way
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class StopRequest:
    """Becomes true when somebody asks this process to stop, by Ctrl-C or SIGTERM."""

    def __init__(self) -> None:
        self._event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()


def supervise(command: Sequence[str], *, grace: float) -> None:
    """Keep `command` running until this process is asked to stop; start it again when it ends by itself.

    The pause before a new start doubles each time it lived for less than ten seconds, up to half a minute.
    """
    asked = StopRequest()
    pause = 0.5
    while not asked:
        began = time.monotonic()
        process = start(command, when_we_die=signal.SIGKILL)
        while not asked and process.poll() is None:
            time.sleep(0.2)
        if asked:
            stop(process, grace=grace)
            return
        kill_session(process)
        pause = 0.5 if time.monotonic() - began > 10 else min(pause * 2, 30)
        print(f"The cluster ended by itself (code {process.returncode}); starting it again.", file=sys.stderr)  # noqa: T201
        wake = time.monotonic() + pause
        while not asked and time.monotonic() < wake:
            time.sleep(0.1)
