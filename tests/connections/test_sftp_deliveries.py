"""Finding the newest delivery, seeing that it is at rest, fetching it, putting it aside: on a real OpenSSH server."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from connections.exceptions import FetchError
from connections.sftp import Limits, filled, is_stable, open_session
from connections.sftp.session import Candidate, Session
from rosters.findings import Findings
from rosters.reading.archive import opened
from rosters.reading.limits import Limits as ReadingLimits
from tests.connections.sshd import Sshd

DAY = 86_400
BASE = 1_790_000_000


def put(folder: Path, name: str, data: bytes = b"data", day: int = 0) -> Path:
    """A file, changed on that day."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (BASE + day * DAY,) * 2)
    return path


def newest(district: Sshd, pattern: str, **options: object) -> Candidate:
    with open_session(district.server()) as session:
        return session.newest(pattern, **options)  # type: ignore[arg-type]


def fault_of(district: Sshd, pattern: str, limits: Limits | None = None) -> FetchError:
    with open_session(district.server(), limits=limits) as session, pytest.raises(FetchError) as caught:
        session.newest(pattern)
    return caught.value


def test_the_newest_zip_of_a_folder_is_taken_and_the_last_by_name_of_equals(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "roster-1.zip", day=1)
    put(mailbox, "roster-3.zip", day=3)
    put(mailbox, "roster-2.ZIP", day=3)
    put(mailbox, "notes.txt", day=9)
    put(mailbox, "old/roster-9.zip", day=9)
    found = newest(district, mailbox.name)
    assert (found.name, found.folder, found.mtime, found.older) == ("roster-3.zip", mailbox.name, BASE + 3 * DAY, 2)
    assert newest(district, f"/{mailbox}").folder == str(mailbox)
    assert newest(district, f"./{mailbox.name}/").name == "roster-3.zip"


def test_a_zip_wins_over_newer_loose_files_unless_only_those_are_wanted(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "roster.zip", day=1)
    put(mailbox, "users.csv", b"u" * 5, day=3)
    put(mailbox, "Orgs.CSV", b"o" * 7, day=2)
    assert newest(district, mailbox.name).name == "roster.zip"
    loose = newest(district, mailbox.name, formats=("csv",))
    assert [(file.name, file.size) for file in loose.files] == [("Orgs.CSV", 7), ("users.csv", 5)]
    assert (loose.name, loose.size, loose.mtime) == ("Orgs.CSV and 1 more", 12, BASE + 3 * DAY)


def test_a_path_to_one_file_takes_that_file(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "a.zip", day=1)
    put(mailbox, "b.zip", day=2)
    assert newest(district, f"{mailbox.name}/a.zip").name == "a.zip"
    put(mailbox, "readme.txt")
    assert fault_of(district, f"{mailbox.name}/readme.txt").code == "SFTP-PATH"


def test_a_pattern_leads_through_folders_and_matches_files(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "imagine/1234-springfield/literacy/roster.zip", day=1)
    put(mailbox, "imagine/1234-springfield/literacy/other.txt", day=1)
    put(mailbox, "imagine/1234-Spring-field/Literacy/ROSTER-2.ZIP", day=2)
    put(mailbox, "imagine/9999-shelbyville/literacy/roster.zip", day=9)
    put(mailbox, "imagine/1234-springfield/math/roster.zip", day=9)
    pattern = f"{mailbox.name}/imagine/<site code>-*/<product>/*.zip"
    found = newest(district, filled(pattern, site_code="1234", product="literacy"))
    assert found.folder.endswith("imagine/1234-Spring-field/Literacy") and found.older == 1
    assert found.name == "ROSTER-2.ZIP"
    assert newest(district, f"{mailbox.name}/imagine/9*/*").name == "roster.zip"


def test_hidden_files_are_found_only_when_they_are_meant(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "roster.zip", day=1)
    put(mailbox, "._roster.zip", day=2)
    put(mailbox, ".roster-half.zip", day=3)
    for pattern in (mailbox.name, f"{mailbox.name}/*.zip"):
        found = newest(district, pattern)
        assert (found.name, found.older, found.passed_over) == ("roster.zip", 0, 0)
    assert newest(district, f"{mailbox.name}/.*.zip").name == ".roster-half.zip"


def test_placeholders_are_taken_literally_and_none_is_left() -> None:
    assert filled("in/<Site Code>-<district name>/<product>", site_code="7", name="a", product="math") == "in/7-a/math"
    assert filled("in/<name>/*.zip", name="[x]*") == "in/[[]x][*]/*.zip"
    for pattern, name in (("in/<name>", ""), ("in/<name>", "a/b"), ("in/<name>", ".."), ("in/<vendor>", "x")):
        with pytest.raises(FetchError) as caught:
            filled(pattern, name=name)
        assert caught.value.code == "SFTP-PATH"


def test_a_name_with_brackets_finds_its_folder(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "[x]*/roster.zip")
    put(mailbox, "xy/roster.zip")
    assert newest(district, filled(f"{mailbox.name}/<name>/*.zip", name="[x]*")).folder == f"{mailbox.name}/[x]*"


@pytest.mark.parametrize(
    ("pattern", "code", "permanent"),
    [
        ("{box}", "SFTP-NOTHING", False),
        ("{box}/roster.zip", "SFTP-NOTHING", False),
        ("{box}/*.zip", "SFTP-NOTHING", False),
        ("{box}/none", "SFTP-FOLDER", True),
        ("{box}/none/roster.zip", "SFTP-FOLDER", True),
        ("{box}/none/*.zip", "SFTP-FOLDER", True),
        ("{box}/1*/math/*.zip", "SFTP-FOLDER", True),
        ("{box}/../*.zip", "SFTP-PATH", True),
        ("{box}/a\nb", "SFTP-PATH", True),
    ],
)
def test_nothing_there_is_not_the_same_as_no_folder_there(
    district: Sshd, mailbox: Path, pattern: str, code: str, permanent: bool
) -> None:
    fault = fault_of(district, pattern.format(box=mailbox.name))
    assert (fault.code, fault.permanent) == (code, permanent)


def test_links_and_pipes_are_never_opened(district: Sshd, mailbox: Path, inbox: Path) -> None:
    secret = put(mailbox, "elsewhere/roster.zip")
    box = mailbox / "box"
    box.mkdir()
    (box / "link.zip").symlink_to(secret)
    os.mkfifo(box / "pipe.zip")
    (box / "folder.zip").mkdir()
    (box / "out").symlink_to(secret.parent)
    name = f"{mailbox.name}/box"
    for pattern in (name, f"{name}/*.zip", f"{name}/link.zip", f"{name}/pipe.zip", f"{name}/out", f"{name}/out/*.zip"):
        fault = fault_of(district, pattern)
        assert (fault.code, fault.permanent) == ("SFTP-HOSTILE", True), pattern
    put(box, "inner/good.zip")
    assert newest(district, f"{name}/*").folder == f"{name}/inner"
    put(box, "good.zip")
    found = newest(district, name)
    assert (found.name, found.passed_over) == ("good.zip", 2)
    # A link that takes the file's place after we looked:
    (box / "good.zip").unlink()
    (box / "good.zip").symlink_to(secret)
    with open_session(district.server()) as session, pytest.raises(FetchError) as caught:
        session.download(found, inbox)
    assert caught.value.code == "SFTP-HOSTILE"
    assert not list(inbox.iterdir())


def test_odd_names_are_passed_over_and_counted_and_the_good_one_is_found(district: Sshd, mailbox: Path) -> None:
    for name in (b"two\nlines.zip", b"latin-\xe9.zip", b"\xe2\x80\xaegnp.zip", b"back\\slash.zip", b"bell\x07.zip"):
        (Path(os.fsdecode(bytes(mailbox) + b"/" + name))).write_bytes(b"x")
    assert fault_of(district, mailbox.name).code == "SFTP-HOSTILE"
    put(mailbox, "Schüler (1) & co.zip")
    found = newest(district, mailbox.name)
    assert (found.name, found.passed_over) == ("Schüler (1) & co.zip", 5)


def test_a_folder_with_too_many_entries_is_not_read_to_its_end(district: Sshd, mailbox: Path) -> None:
    for number in range(300):
        (mailbox / f"{number}.txt").touch()
    fault = fault_of(district, mailbox.name, Limits(entries=250))
    assert (fault.code, fault.permanent) == ("CONN-TOO-LARGE", True)


def settled(session: Session, pattern: str, **options: object) -> Candidate:
    return session.settled(session.newest(pattern), **options)  # type: ignore[arg-type]


def test_a_file_that_grows_between_two_looks_is_not_taken(district: Sshd, mailbox: Path) -> None:
    growing = put(mailbox, "roster.zip")
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.02):
            with growing.open("ab") as file:
                file.write(b"more")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open_session(district.server()) as session, pytest.raises(FetchError) as caught:
            settled(session, mailbox.name, wait=0.2)
    finally:
        over.set()
        writer.join()
    assert (caught.value.code, caught.value.permanent) == ("SFTP-STILL-WRITING", False)
    with open_session(district.server()) as session:
        assert settled(session, mailbox.name, wait=0.05).size == growing.stat().st_size


def test_a_set_that_is_joined_by_another_file_is_still_being_written(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "orgs.csv")
    with open_session(district.server()) as session:
        first = session.newest(mailbox.name)
        assert is_stable(first, session.newest(mailbox.name))
        put(mailbox, "users.csv")
        assert not is_stable(first, session.newest(mailbox.name))


def test_a_marker_says_that_the_delivery_is_whole(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "roster.zip", day=2)
    with open_session(district.server()) as session:
        for marker in ("<file>.done", "complete.txt"):
            with pytest.raises(FetchError) as caught:
                settled(session, mailbox.name, marker=marker)
            assert caught.value.code == "SFTP-STILL-WRITING"
            path = put(mailbox, marker.replace("<file>", "roster.zip"), day=1)
            with pytest.raises(FetchError, match="older"):
                settled(session, mailbox.name, marker=marker)
            os.utime(path, (BASE + 2 * DAY,) * 2)
            assert settled(session, mailbox.name, marker=marker).name == "roster.zip"
        with pytest.raises(FetchError) as caught:
            settled(session, mailbox.name, marker="../other.done")
        assert caught.value.code == "SFTP-PATH"


def test_a_zip_arrives_byte_for_byte_and_tells_how_far_it_is(district: Sshd, mailbox: Path, inbox: Path) -> None:
    data = os.urandom((9 << 20) + 12_345)
    put(mailbox, "roster.zip", data)
    told: list[tuple[int, int]] = []
    with open_session(district.server()) as session:
        path = session.download(session.newest(mailbox.name), inbox, lambda done, total: told.append((done, total)))
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
    assert list(inbox.iterdir()) == [path]
    assert told == sorted(told) and told[-1] == (len(data), len(data))


def test_an_empty_file_arrives_empty(district: Sshd, mailbox: Path, inbox: Path) -> None:
    put(mailbox, "roster.zip", b"")
    with open_session(district.server()) as session:
        assert session.download(session.newest(mailbox.name), inbox).read_bytes() == b""


def test_loose_files_become_one_zip_that_is_the_same_each_night(
    district: Sshd, mailbox: Path, inbox: Path, tmp_path: Path
) -> None:
    contents = {"users.csv": os.urandom(100_000), "orgs.csv": b"sourcedId\r\n1\r\n", "empty.csv": b""}
    for name, data in contents.items():
        put(mailbox, name, data)
    again = tmp_path / "again"
    again.mkdir()
    with open_session(district.server()) as session:
        path = session.download(session.newest(mailbox.name), inbox)
        for name, data in contents.items():
            put(mailbox, name, data, day=1)
        second = session.download(session.newest(mailbox.name), again)
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert path.read_bytes() == second.read_bytes()
    findings = Findings()
    with opened(path, ReadingLimits(), findings) as members:
        assert {member.name: b"".join(member.pieces()) for member in members} == contents


def test_what_is_larger_than_a_roster_can_be_is_not_begun(district: Sshd, mailbox: Path, inbox: Path) -> None:
    with (mailbox / "roster.zip").open("wb") as sparse:
        sparse.truncate(500 << 30)
    with open_session(district.server()) as session, pytest.raises(FetchError) as caught:
        session.download(session.newest(mailbox.name), inbox)
    assert (caught.value.code, caught.value.permanent) == ("CONN-TOO-LARGE", True)
    assert not list(inbox.iterdir())


def rewrite(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replace(path: Path) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(os.urandom(path.stat().st_size))
    fresh.rename(path)


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("roster.zip", rewrite),
        ("roster.zip", append),
        ("roster.zip", replace),
        ("roster.zip", truncate),
        ("roster.zip", remove),
        ("users.csv", rewrite),
    ],
)
def test_what_changes_while_it_is_fetched_is_not_taken(
    district: Sshd, mailbox: Path, inbox: Path, name: str, change: Callable[[Path], None]
) -> None:
    path = put(mailbox, name, os.urandom(12 << 20))
    done = False

    def meddle(received: int, total: int) -> None:
        nonlocal done
        if not done:
            done = True
            change(path)

    with open_session(district.server()) as session:
        with pytest.raises(FetchError) as caught:
            session.download(session.newest(mailbox.name), inbox, meddle)
        assert (caught.value.code, caught.value.permanent) == ("SFTP-CHANGED", False)
        assert not list(inbox.iterdir())
        if change is not remove:  # and the session is as good as before
            session.download(session.newest(mailbox.name), inbox)


def test_what_changed_since_the_look_is_not_taken(district: Sshd, mailbox: Path, inbox: Path) -> None:
    path = put(mailbox, "roster.zip")
    with open_session(district.server()) as session:
        found = session.newest(mailbox.name)
        append(path)
        with pytest.raises(FetchError) as caught:
            session.download(found, inbox)
    assert caught.value.code == "SFTP-CHANGED"
    assert not list(inbox.iterdir())


def test_nothing_is_left_when_our_own_side_stops(district: Sshd, mailbox: Path, inbox: Path) -> None:
    put(mailbox, "roster.zip", os.urandom(5 << 20))

    def stop(received: int, total: int) -> None:
        raise KeyboardInterrupt

    with open_session(district.server()) as session, pytest.raises(KeyboardInterrupt):
        session.download(session.newest(mailbox.name), inbox, stop)
    assert not list(inbox.iterdir())


def test_a_taken_delivery_is_left_renamed_or_moved(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "roster.zip")
    (mailbox / "archive").mkdir()
    with open_session(district.server()) as session:
        assert session.after(session.newest(mailbox.name), "leave") is None
        assert session.after(session.newest(mailbox.name), "rename") is None
        assert [path.name for path in mailbox.iterdir() if path.is_file()] == ["roster.zip.20260921-141320.taken"]
        put(mailbox, "users.csv")
        put(mailbox, "orgs.csv")
        assert session.after(session.newest(mailbox.name), "move", "archive") is None
        moved = sorted(path.name for path in (mailbox / "archive").iterdir())
        assert moved == ["orgs.csv.20260921-141320.taken", "users.csv.20260921-141320.taken"]
        for pattern in (mailbox.name, f"{mailbox.name}/*", f"{mailbox.name}/*/*"):
            with pytest.raises(FetchError) as caught:
                session.newest(pattern)
            assert caught.value.code == "SFTP-NOTHING"


def test_a_delivery_that_cannot_be_put_aside_is_taken_all_the_same(district: Sshd, mailbox: Path) -> None:
    put(mailbox, "roster.zip")
    with open_session(district.server()) as session:
        for folder in ("no such folder", "", "/", "../elsewhere"):
            fault = session.after(session.newest(mailbox.name), "move", folder)
            assert fault is not None and fault.code == "SFTP-AFTER"
    assert [path.name for path in mailbox.iterdir()] == ["roster.zip"]


def test_a_delivery_that_came_meanwhile_is_not_put_aside(district: Sshd, mailbox: Path) -> None:
    path = put(mailbox, "roster.zip")
    with open_session(district.server()) as session:
        taken = session.newest(mailbox.name)
        put(mailbox, "roster.zip", b"the next one", day=1)
        fault = session.after(taken, "rename")
    assert fault is not None and fault.code == "SFTP-CHANGED"
    assert path.read_bytes() == b"the next one"
