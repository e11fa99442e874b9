"""Servers and lines that misbehave: each ends in time, with its own code, and nothing half-received stays."""

from __future__ import annotations

import os
import stat
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
import pytest

from connections.exceptions import FAULTS, FetchError
from connections.sftp import Limits, Server, open_session
from tests.connections import stranger as strangers
from tests.connections.proxy import Proxy
from tests.connections.sshd import Sshd
from tests.connections.stranger import Endless, Stranger, entry, serving

SHORT = Limits(opening=20, stall=2, listing=20, budget=20)


def fetched(server: Server, path: str, inbox: Path, limits: Limits = SHORT) -> FetchError:
    """The fault of fetching the newest delivery, after which nothing may be left."""
    with pytest.raises(FetchError) as caught, open_session(server, limits=limits) as session:
        session.download(session.newest(path), inbox)
    assert list(inbox.iterdir()) == []
    assert caught.value.permanent == FAULTS[caught.value.code].permanent
    return caught.value


@pytest.fixture
def large(mailbox: Path) -> str:
    """The folder of a zip that does not fit into the buffers on the way."""
    (mailbox / "roster.zip").write_bytes(os.urandom(16 << 20))
    return mailbox.name


def test_a_line_that_stalls_in_the_middle(district: Sshd, large: str, inbox: Path) -> None:
    with Proxy(district.port, stall_after=6 << 20) as proxy:
        fault = fetched(district.server(port=proxy.port), large, inbox)
    assert (fault.code, fault.permanent) == ("SFTP-STALLED", False)


def test_a_line_that_is_cut_in_the_middle(district: Sshd, large: str, inbox: Path) -> None:
    with Proxy(district.port, cut_after=6 << 20) as proxy:
        fault = fetched(district.server(port=proxy.port), large, inbox)
    assert (fault.code, fault.permanent) == ("CONN-CUT", False)


def test_a_line_that_is_too_slow_for_our_patience(district: Sshd, large: str, inbox: Path) -> None:
    with Proxy(district.port, rate=2 << 20) as proxy:
        fault = fetched(district.server(port=proxy.port), large, inbox, Limits(opening=20, budget=2))
    assert (fault.code, fault.permanent) == ("CONN-BUDGET", False)


def test_a_slow_line_within_our_patience_brings_everything(district: Sshd, large: str, inbox: Path) -> None:
    with Proxy(district.port, rate=20 << 20) as proxy, open_session(district.server(port=proxy.port)) as session:
        path = session.download(session.newest(large), inbox)
    assert path.read_bytes() == (district.data / large / "roster.zip").read_bytes()


def test_an_answer_that_takes_longer_than_a_stall_is_no_stall(district: Sshd, large: str, inbox: Path) -> None:
    """A piece takes five seconds here; that nothing comes for four is what a stall is."""
    small = district.data / large / "roster.zip"
    small.write_bytes(small.read_bytes()[: 255 << 10])
    with Proxy(district.port) as proxy:
        limits = Limits(opening=20, stall=4)
        with open_session(district.server(port=proxy.port), limits=limits) as session:
            candidate = session.newest(large)
            proxy.rate = 48 << 10
            assert session.download(candidate, inbox).read_bytes() == small.read_bytes()


def test_a_line_that_stalls_before_a_listing(district: Sshd, large: str, inbox: Path) -> None:
    with Proxy(district.port) as proxy, open_session(district.server(port=proxy.port), limits=SHORT) as session:
        proxy.stall_after = 0
        with pytest.raises(FetchError) as caught:
            session.newest(large)
    assert caught.value.code == "SFTP-STALLED"


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/roster.zip", "/etc/roster.zip", "..\\roster.zip", "a\x1b[2J.zip", ""]
)
def test_a_name_that_is_a_path_never_becomes_one(inbox: Path, name: str) -> None:
    with serving(Stranger(listing=[entry(name), entry("..", mode=stat.S_IFDIR | 0o755)])) as stranger:
        fault = fetched(stranger.server(), "", inbox)
        assert fault.code == ("SFTP-HOSTILE" if name else "SFTP-NOTHING")
        assert stranger.opened == []
        stranger.listing = [entry(name), entry("roster.zip")]
        with open_session(stranger.server()) as session:
            assert session.newest("*").name == "roster.zip"


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, 0], ids=lambda kind: oct(kind)
)
def test_only_what_is_said_to_be_a_regular_file_is_opened(inbox: Path, kind: int) -> None:
    with serving(Stranger(listing=[entry("roster.zip", mode=kind | 0o644)])) as stranger:
        assert fetched(stranger.server(), "", inbox).code == "SFTP-HOSTILE"
        assert fetched(stranger.server(), "roster.zip", inbox).code == "SFTP-HOSTILE"
    assert stranger.opened == []


def test_a_listing_without_attributes_is_completed_by_asking(inbox: Path) -> None:
    bare = paramiko.SFTPAttributes()
    bare.filename = bare.longname = "roster.zip"
    known = entry("roster.zip")
    with serving(Stranger(listing=[bare])) as stranger:
        stranger.attributes = lambda path: known if path.endswith("zip") else entry("/", mode=stat.S_IFDIR)
        stranger.read = lambda offset, length: b"abc"[offset : offset + length] or paramiko.SFTP_EOF
        with open_session(stranger.server()) as session:
            assert session.download(session.newest(""), inbox).read_bytes() == b"abc"


def test_a_folder_without_end_is_left(inbox: Path) -> None:
    with serving(Stranger(listing=Endless())) as stranger:
        assert fetched(stranger.server(), "", inbox).code == "CONN-TOO-LARGE"
        assert stranger.listing.seen < 10_000
        assert fetched(stranger.server(), "*.zip", inbox).code == "CONN-TOO-LARGE"


class Dripping(Endless):
    def __getitem__(self, part: Any) -> Any:
        time.sleep(0.2)
        return super().__getitem__(part)


def test_a_listing_that_drips_ends_in_time(inbox: Path) -> None:
    limits = Limits(opening=20, stall=10, listing=1)
    with serving(Stranger(listing=Dripping())) as stranger:
        assert fetched(stranger.server(), "", inbox, limits).code == "CONN-BUDGET"


def read_nothing(offset: int, length: int) -> bytes | int:
    return b""


def read_too_much(offset: int, length: int) -> bytes | int:
    return b"x" * (length + 1)


def read_far_too_much(offset: int, length: int) -> bytes | int:
    return b"x" * (1 << 20)


def read_half(offset: int, length: int) -> bytes | int:
    return b"x" * min(length, 50_000 - offset) if offset < 50_000 else int(paramiko.SFTP_EOF)


def read_fails(offset: int, length: int) -> bytes | int:
    return int(paramiko.SFTP_FAILURE)


def read_is_forbidden(offset: int, length: int) -> bytes | int:
    return int(paramiko.SFTP_PERMISSION_DENIED)


def read_never(offset: int, length: int) -> bytes | int:
    threading.Event().wait(3)
    return b""


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (read_nothing, "SFTP-CHANGED"),
        (read_too_much, "SFTP-HOSTILE"),
        (read_far_too_much, "SFTP-HOSTILE"),
        (read_half, "SFTP-CHANGED"),
        (read_fails, "SFTP-FAILED"),
        (read_is_forbidden, "SFTP-FORBIDDEN"),
        (read_never, "SFTP-STALLED"),
    ],
)
def test_a_file_that_lies_about_itself(inbox: Path, read: Callable[[int, int], bytes | int], code: str) -> None:
    with serving(Stranger(listing=[entry("roster.zip", size=100_000)], read=read)) as stranger:
        assert fetched(stranger.server(), "", inbox).code == code


def test_a_file_without_end_is_read_as_far_as_it_said(inbox: Path) -> None:
    listing = [entry("roster.zip", size=100_000)]
    with serving(Stranger(listing=listing, read=lambda offset, length: b"x" * length)) as stranger:
        with open_session(stranger.server()) as session:
            path = session.download(session.newest(""), inbox)
        assert path.stat().st_size == 100_000
        path.unlink()
        listing[0].st_size = 1 << 62
        assert fetched(stranger.server(), "", inbox).code == "CONN-TOO-LARGE"


def test_short_answers_are_completed_and_kept_in_order(inbox: Path) -> None:
    data = os.urandom(300_000)
    listing = [entry("roster.zip", size=len(data))]
    with (
        serving(
            Stranger(listing=listing, read=lambda offset, length: data[offset : offset + max(1, length // 3)])
        ) as stranger,
        open_session(stranger.server()) as session,
    ):
        assert session.download(session.newest(""), inbox).read_bytes() == data


def with_limits(answer: bytes, asked: list[int]) -> Any:
    """An sftp server that says it can be asked for its limits, and answers so; `asked`: the lengths of its reads."""

    class Limited(paramiko.SFTPServer):  # type: ignore[misc]
        def _send_server_version(self) -> int:
            self._read_packet()
            told = (b"posix-rename@openssh.com", b"1", b"limits@openssh.com", b"1")
            message = paramiko.Message().add_int(3)
            for word in told:
                message.add_string(word)
            self._send_packet(paramiko.sftp.CMD_VERSION, message)
            return 3

        def _process(self, t: int, request_number: int, msg: Any) -> None:
            if t == paramiko.sftp.CMD_EXTENDED:
                packet = answer[:1] + struct.pack(">I", request_number) + answer[1:]
                self._write_all(struct.pack(">I", len(packet)) + packet)
                return
            if t == paramiko.sftp.CMD_READ:
                asked.append(int.from_bytes(msg.asbytes()[-4:], "big"))
            super()._process(t, request_number, msg)

    return Limited


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (b"\xc9" + struct.pack(">4Q", 1 << 18, 100_000, 100_000, 0), 100_000),
        (b"\xc9" + struct.pack(">4Q", 1 << 63, 1 << 63, 1 << 63, 0), 255 << 10),
        (b"\xc9" + struct.pack(">4Q", 0, 0, 0, 0), 32 << 10),
        (b"\xc9", 32 << 10),
        (b"\x65" + struct.pack(">I", int(paramiko.SFTP_OP_UNSUPPORTED)) + b"\0\0\0\2no\0\0\0\0", 32 << 10),
        (b"\x67" + b"\xff" * 32, 32 << 10),
    ],
    ids=["less", "far more", "none", "empty", "refused", "nonsense"],
)
def test_as_much_is_asked_for_at_once_as_a_server_says_it_takes_and_we_do(
    monkeypatch: pytest.MonkeyPatch, inbox: Path, answer: bytes, length: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(strangers, "SFTP", with_limits(answer, asked))
    data = os.urandom(700_000)
    listing = [entry("roster.zip", size=len(data))]
    read = lambda offset, length: data[offset : offset + min(length, 60_000)]  # noqa: E731
    with serving(Stranger(listing=listing, read=read)) as stranger, open_session(stranger.server()) as session:
        assert session.download(session.newest(""), inbox).read_bytes() == data
    assert max(asked) == length


def test_of_openssh_large_pieces_are_asked_for(district: Sshd, large: str, inbox: Path) -> None:
    """Else a download takes twice our time."""
    with open_session(district.server()) as session:
        path = session.download(session.newest(large), inbox)
        assert session._client._piece == 255 << 10  # type: ignore[attr-defined]
    assert path.read_bytes() == (district.data / large / "roster.zip").read_bytes()


def test_a_folder_that_may_not_be_read_is_forbidden(inbox: Path) -> None:
    with serving(Stranger(listing=paramiko.SFTP_PERMISSION_DENIED)) as stranger:
        assert fetched(stranger.server(), "", inbox).code == "SFTP-FORBIDDEN"


def test_a_server_that_forbids_renaming_still_delivers() -> None:
    stranger = Stranger(listing=[entry("roster.zip")], rename=paramiko.SFTP_PERMISSION_DENIED)
    with serving(stranger), open_session(stranger.server()) as session:
        fault = session.after(session.newest(""), "rename")
    assert fault is not None and fault.code == "SFTP-AFTER"


def test_a_name_that_is_listed_twice_is_taken_once(inbox: Path) -> None:
    stranger = Stranger(listing=[entry("orgs.csv"), entry("orgs.csv", size=5)])
    with serving(stranger), open_session(stranger.server()) as session:
        found = session.newest("")
    assert ([file.size for file in found.files], found.passed_over) == ([3], 1)


def test_an_answer_that_is_longer_than_any_need_be_is_not_taken_in(inbox: Path) -> None:
    wordy = entry("roster.zip")
    wordy.attr = {b"note@example.com": b"x" * (300 << 10)}
    with serving(Stranger(listing=[wordy])) as stranger:
        assert fetched(stranger.server(), "", inbox).code == "SFTP-HOSTILE"


def told(answer: bytes) -> Any:
    """An sftp server that answers every question after the greeting with `answer`, behind the question's number."""

    class Liar(paramiko.SFTPServer):  # type: ignore[misc]
        def _process(self, t: int, request_number: int, msg: Any) -> None:
            kind, rest = answer[:1], answer[1:]
            packet = kind + struct.pack(">I", request_number) + rest
            self._write_all(struct.pack(">I", len(packet)) + packet)

    return Liar


COUNT = struct.pack(">I", 0xFFFF_FFFF)
NAME, ATTRS, HANDLE, DATA = (bytes([kind]) for kind in (104, 105, 102, 103))


@pytest.mark.parametrize(
    "answer",
    [
        HANDLE + b"\x00\x00\x00\x01h",
        DATA + b"\x00\x00\x00\x01h",
        ATTRS + b"\x80\x00\x00\x00" + COUNT,
        ATTRS + b"\x00\x00\x00\x04",
        NAME + COUNT,
        b"\xff",
        b"\x65" + struct.pack(">I", 0) + b"\x00\x00\x00\x02\xff\xfe",
        b"x" * (300 << 10),
    ],
    ids=["handle", "data", "attributes", "nameless", "names", "unknown", "status", "long"],
)
def test_answers_against_the_protocol_are_not_believed(
    monkeypatch: pytest.MonkeyPatch, inbox: Path, answer: bytes
) -> None:
    monkeypatch.setattr(strangers, "SFTP", told(answer))
    with serving(Stranger()) as stranger:
        start = time.monotonic()
        for path in ("", "*.zip", "roster.zip"):
            assert fetched(stranger.server(), path, inbox).code == "SFTP-HOSTILE"
        assert time.monotonic() - start < 20


def test_a_listing_that_announces_more_names_than_it_sends(monkeypatch: pytest.MonkeyPatch, inbox: Path) -> None:
    class Announcing(paramiko.SFTPServer):  # type: ignore[misc]
        def _read_folder(self, request_number: int, folder: Any) -> None:
            packet = NAME + struct.pack(">I", request_number) + COUNT
            self._write_all(struct.pack(">I", len(packet)) + packet)

    monkeypatch.setattr(strangers, "SFTP", Announcing)
    with serving(Stranger(listing=[])) as stranger:
        assert fetched(stranger.server(), "", inbox).code == "SFTP-HOSTILE"
