"""The zip of a pull: as others read it, bounded, and never half."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path

import pytest

from connections.exceptions import FetchError
from connections.rest import pull
from connections.rest.packing import Packer
from rosters import reading
from tests.connections.sis import roster, running


def test_what_was_packed_is_read_byte_for_byte(tmp_path: Path) -> None:
    bodies = {"empty": b"", "one": b"1", "odd": os.urandom(300_000), "even": b'{"users": []}' * 100_000}
    with Packer(tmp_path / "p.zip") as packer:
        for name, body in bodies.items():
            packer.add(name, body)
        packer.finish()
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == bodies


def test_what_is_taken_back_leaves_no_byte(tmp_path: Path) -> None:
    for name, detour in (("straight", False), ("detour", True)):
        with Packer(tmp_path / name) as packer:
            packer.add("kept", b"kept" * 1000)
            mark = packer.mark()
            for number in range(20 * detour):
                packer.add(f"lost-{number}", os.urandom(10_000))
            packer.back_to(mark)
            packer.add("after", b"after" * 1000)
            packer.finish()
    assert (tmp_path / "straight").read_bytes() == (tmp_path / "detour").read_bytes()


def test_the_same_answers_make_the_same_zip_which_our_own_reader_takes(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    with running(roster(25)) as sis:
        for folder in (first, second):
            folder.mkdir()
            pull(sis.api, folder)
    assert (first / "pull.zip").read_bytes() == (second / "pull.zip").read_bytes()
    delivered = reading.read(first / "pull.zip")
    assert delivered.readable
    assert len(delivered.tables["users"].frame) == 25


def test_a_full_disk_is_told_of_before_the_end(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("only Linux has a disk that is always full")
    added = 0
    with pytest.raises(OSError, match="No space left"), Packer(full) as packer:
        for _ in range(100):
            packer.add("page", os.urandom(100_000))
            added += 1
    assert added < 10


def test_more_pages_than_a_zip_can_count_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught, Packer(tmp_path / "p.zip") as packer:
        for _ in range(70_000):
            packer.add("page", b"")
    assert caught.value.code == "CONN-TOO-LARGE"


class _StoppedError(Exception):
    """Somebody ended the worker."""


@pytest.mark.parametrize("at", [1, 10, 20, 34])
def test_a_pull_that_is_stopped_leaves_no_file_and_no_thread(tmp_path: Path, at: int) -> None:
    told = 0

    def progress(*_: object) -> None:
        nonlocal told
        told += 1
        if told == at:
            raise _StoppedError

    with running(roster(100)) as sis, pytest.raises(_StoppedError):
        sis.clamp = 10
        pull(sis.api, tmp_path, progress=progress)
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("packing")]
