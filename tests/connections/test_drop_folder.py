"""Files that a district drops on our own server: taken whole, and never by a link."""

from __future__ import annotations

import os
import pwd
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connections import sftp
from connections.exceptions import FetchError

if TYPE_CHECKING:
    from pytest_django import Settings

    from connections.models import Connection
    from rosters import making
    from rosters.models import District


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop" / "1001"
    (folder / "in").mkdir(parents=True)
    return folder


def _code(drop: Path, pattern: str) -> str:
    with pytest.raises(FetchError) as stopped:
        sftp.open_folder(drop).newest(pattern)
    return stopped.value.code


def _aged(path: Path, content: bytes, seconds: int) -> Path:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    return path


class TestTaking:
    def test_the_newest_zip_is_taken_byte_for_byte(self, drop: Path, inbox: Path) -> None:
        _aged(drop / "in" / "old.zip", b"old", 1_700_000_000)
        _aged(drop / "in" / "new.zip", b"new one", 1_700_000_900)
        session = sftp.open_folder(drop)
        candidate = session.newest("in/*.zip")
        assert (candidate.name, candidate.older) == ("new.zip", 1)
        assert session.download(candidate, inbox).read_bytes() == b"new one"

    def test_loose_files_become_one_zip(self, drop: Path, inbox: Path) -> None:
        _aged(drop / "in" / "users.csv", b"sourcedId\r\n1\r\n", 1_700_000_000)
        _aged(drop / "in" / "orgs.csv", b"sourcedId\r\n2\r\n", 1_700_000_000)
        session = sftp.open_folder(drop)
        with zipfile.ZipFile(session.download(session.newest("in"), inbox)) as archive:
            assert archive.read("users.csv") == b"sourcedId\r\n1\r\n"
            assert sorted(archive.namelist()) == ["orgs.csv", "users.csv"]

    def test_a_file_that_still_grows_is_left_alone(self, drop: Path) -> None:
        path = _aged(drop / "in" / "new.zip", b"half", 1_700_000_000)
        session = sftp.open_folder(drop)
        candidate = session.newest("in/*.zip")
        _aged(path, b"half and more", 1_700_000_001)
        with pytest.raises(FetchError) as stopped:
            session.settled(candidate, wait=0)
        assert stopped.value.code == "SFTP-STILL-WRITING"

    def test_what_was_taken_is_moved_and_never_replaces_anything(self, drop: Path) -> None:
        (drop / "done").mkdir()
        _aged(drop / "in" / "new.zip", b"first", 1_700_000_000)
        session = sftp.open_folder(drop)
        assert session.after(session.newest("in/*.zip"), "move", "/done") is None
        assert not list((drop / "in").iterdir())
        _aged(drop / "in" / "new.zip", b"other", 1_700_000_000)
        trouble = session.after(session.newest("in/*.zip"), "move", "/done")
        assert trouble is not None and trouble.code == "SFTP-AFTER"
        (kept,) = (drop / "done").iterdir()
        assert kept.read_bytes() == b"first"

    def test_what_was_put_aside_long_ago_is_deleted_and_nothing_else(self, drop: Path, tmp_path: Path) -> None:
        (drop / "done").mkdir()
        names = (
            "a.zip.20260101-020000.taken", "b.zip.20260301-020000.taken", "c.zip.20260101-020000.take",
            "d.zip", ".20260101-020000.taken", "e.zip.20261301-020000.taken",
        )  # fmt: skip
        for name in names:
            (drop / "done" / name).write_bytes(b"roster")
        (drop / "done" / "f.zip.20260101-020000.taken").mkdir()
        (drop / "done" / "g.zip.20260101-020000.taken").symlink_to(drop / "done" / "d.zip")
        session = sftp.open_folder(drop)
        before = datetime(2026, 2, 1, tzinfo=UTC)
        assert session.tidy("in", "leave", "/done", before) is None
        assert session.tidy("in", "rename", "/done", before) is None
        assert len(list((drop / "done").iterdir())) == 8, "neither folder is the one that was agreed"
        assert session.tidy("", "move", "done", before) is None
        assert names[0] not in {path.name for path in (drop / "done").iterdir()}
        assert len(list((drop / "done").iterdir())) == 7
        trouble = session.tidy("in", "move", "/no such folder", before)
        assert trouble is not None and trouble.code == "SFTP-TIDY"


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder of somebody who is bound by the modes of files, and we are that one: root is not."""
    with tempfile.TemporaryDirectory(prefix="drop-") as folder:
        here = Path(folder)
        if os.geteuid():
            yield here
            return
        nobody = pwd.getpwnam("nobody").pw_uid
        os.chown(here, nobody, -1)
        os.seteuid(nobody)
        try:
            yield here
        finally:
            os.seteuid(0)


class TestEmptying:
    def test_every_file_goes_however_deep_and_no_link_is_followed(self, drop: Path, tmp_path: Path) -> None:
        elsewhere = _aged(tmp_path / "elsewhere.zip", b"another's", 1_700_000_000)
        deep = drop
        for _ in range(1_200):  # deeper than Python's own ways through folders go
            deep /= "d"
            deep.mkdir()
        (deep / "deep.zip").write_bytes(b"roster")
        (drop / "in" / "new.zip").write_bytes(b"roster")
        (drop / "in" / "file").symlink_to(elsewhere)
        (drop / "in" / "folder").symlink_to(tmp_path)
        assert sftp.emptied(drop) == (4, 0)
        assert elsewhere.exists() and deep.is_dir() and not list((drop / "in").iterdir())
        assert sftp.emptied(drop) == (0, 0)
        os.removedirs(deep)
        assert sftp.emptied(tmp_path / "nobody's") == (0, 0)

    def test_a_folder_that_we_may_not_open_and_one_in_which_we_may_not_delete_are_told(self) -> None:
        with without_privileges() as drop:
            for name, mode in (("open", 0o700), ("shut", 0o000), ("kept", 0o500)):
                (drop / name).mkdir()
                (drop / name / "roster.zip").write_bytes(b"roster")
                (drop / name).chmod(mode)
            assert sftp.emptied(drop) == (1, 2)
            drop.chmod(0o000)
            assert sftp.emptied(drop) == (0, 1)
            for folder in (drop, drop / "shut", drop / "kept"):
                folder.chmod(0o700)
            assert [len(list((drop / name).iterdir())) for name in ("open", "shut", "kept")] == [0, 1, 1]


class TestStrangers:
    @pytest.fixture(autouse=True)
    def secret(self, tmp_path: Path) -> Path:
        (tmp_path / "secret").mkdir()
        return _aged(tmp_path / "secret" / "other.zip", b"somebody else's", 1_700_000_000)

    def test_a_link_in_the_place_of_a_file_is_not_followed(self, drop: Path, secret: Path) -> None:
        (drop / "in" / "new.zip").symlink_to(secret)
        assert _code(drop, "in/*.zip") == "SFTP-HOSTILE"
        assert _code(drop, "in/new.zip") == "SFTP-HOSTILE"

    def test_a_link_on_the_way_is_not_followed(self, drop: Path, secret: Path) -> None:
        (drop / "away").symlink_to(secret.parent)
        assert _code(drop, "away/*.zip") == "SFTP-HOSTILE"
        assert _code(drop, "away/other.zip") == "SFTP-HOSTILE"

    @pytest.mark.parametrize("pattern", ["../secret/*.zip", "in/../../secret/*.zip"])
    def test_nothing_leads_out(self, drop: Path, pattern: str) -> None:
        assert _code(drop, pattern) == "SFTP-PATH"

    def test_a_slash_in_front_is_the_districts_own_top(self, drop: Path) -> None:
        assert _code(drop, "/etc") == "SFTP-FOLDER"
        assert _code(drop, "/in") == "SFTP-NOTHING"

    def test_a_pipe_is_passed_over_and_makes_nobody_wait(self, drop: Path) -> None:
        os.mkfifo(drop / "in" / "new.zip")
        assert _code(drop, "in/*.zip") == "SFTP-HOSTILE"

    def test_a_file_that_becomes_a_link_after_it_was_found_is_not_opened(
        self, drop: Path, inbox: Path, secret: Path
    ) -> None:
        path = _aged(drop / "in" / "new.zip", b"mine", 1_700_000_000)
        session = sftp.open_folder(drop)
        candidate = session.newest("in/*.zip")
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(FetchError):
            session.download(candidate, inbox)
        assert not list(inbox.iterdir())

    def test_a_file_that_changes_while_it_is_read_is_not_taken(self, drop: Path, inbox: Path) -> None:
        path = _aged(drop / "in" / "new.zip", b"x" * 3_000_000, 1_700_000_000)
        session = sftp.open_folder(drop)
        candidate = session.newest("in/*.zip")
        seen: Iterator[int] = iter([1])

        def meddle(done: int, in_all: int) -> None:
            if next(seen, None):
                with path.open("ab") as file:
                    file.write(b"more")

        with pytest.raises(FetchError) as stopped:
            session.download(candidate, inbox, meddle)
        assert stopped.value.code == "SFTP-CHANGED"
        assert not list(inbox.iterdir())


@pytest.mark.django_db
def test_a_district_that_drops_files_is_fetched_without_any_login(
    cedar: District, tables: making.Tables, data_dir: Path, settings: Settings, tmp_path: Path
) -> None:
    from connections import attempts, tasks
    from connections.models import Attempt, Checkup, Connection
    from rosters import making

    settings.PORTAL_DROP_DIR, settings.PORTAL_SFTP_WAIT = tmp_path / "drop", 0.01
    connection: Connection = Connection.objects.create(district=cedar, kind="sftp", side="ours", path="in/*.zip")
    checkup = attempts.check(Checkup.objects.create(connection=connection).pk)
    assert [step["code"] for step in checkup.steps] == ["SFTP-DROP"]
    (tmp_path / "drop" / "1001" / "in").mkdir(parents=True)
    making.write_zip(tmp_path / "drop" / "1001" / "in" / "roster.zip", tables)
    checkup = attempts.check(Checkup.objects.create(connection=connection).pk)
    assert checkup.passed, checkup.steps
    attempt = attempts.ask(connection, Attempt.Why.NOW)
    tasks.pull(attempt_id=attempt.pk)
    attempt.refresh_from_db()
    assert (attempt.status, attempt.code) == ("delivered", "")
