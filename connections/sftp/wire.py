"""The line to an SFTP server: a judged address, a confirmed host key, a login, and an end that surely comes.

paramiko speaks the protocol. Added here is what a stranger's server makes necessary: a watch that closes the line when
its time is up, whatever the other side does or leaves undone; listings that can be stopped, with names that need not be
UTF-8; answers of bounded size; and reads that are in flight together without a thread of their own, as large as the
server takes them, and not copied more often than paramiko must.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import paramiko
from paramiko.buffered_pipe import BufferedPipe, PipeTimeout
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_INIT,
    CMD_LSTAT,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_STATUS,
    CMD_VERSION,
    SFTP_FLAG_READ,
    SFTPError,
    int64,
)

from connections.addresses import Network, connect
from connections.exceptions import FetchError
from connections.sftp.keys import HostKey, pinned, private_key
from rosters.reading.limits import Limits as ReadingLimits

#: paramiko's own log repeats what a server sends, and writes a traceback for each that we refuse in words.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

#: CBC (which leaks by its padding), MD5 and SHA-1 are refused, although paramiko still knows them. GCM comes first: it
#: costs a fifth less than CTR with a MAC.
_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_MACS: Final = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
_ALGORITHM: Final = re.compile(rb"[A-Za-z0-9@.,_+/-]{1,64}")
#: An SSH key-exchange packet (RFC 4253, 7.1): the number of the message, and the lists worth telling, by their place.
_KEXINIT: Final = 20
_LISTS: Final = {0: "key exchange", 1: "host key", 3: "cipher", 5: "MAC"}

#: What OpenSSH says in plain text to one connection too many; it is well again later.
_BUSY: Final = (b"Exceeded MaxStartups", b"Not allowed at this time")

#: What is asked for in one read: this much every server gives; larger ones are cut by some, and refused by others.
PIECE: Final = 32 << 10
#: What is asked for of a server that says it takes that much. OpenSSH does; it halves our work.
_LARGE_PIECE: Final = 255 << 10
#: So many bytes are asked for ahead, and may be under way: fewer leave a fast line idle.
_IN_FLIGHT: Final = 8 << 20
#: The longest answer that OpenSSH's server sends or takes.
_LONGEST_ANSWER: Final = 256 << 10
#: The longest packet that OpenSSH may send; others get what is usual, 32 KiB. A stall is seen packet by packet.
_PACKET: Final = 128 << 10
#: By this a server says that it can be asked for its limits (OpenSSH's PROTOCOL, 4.8).
_ASK_LIMITS: Final = b"limits@openssh.com"
#: What a server may add of its own, to attributes or to its greeting; those that do send one or two, or a dozen.
_MOST_EXTENSIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Server:
    """`host_key`: the confirmed fingerprints (see `keys.pinned`), "" if none is confirmed yet. `private_key`: OpenSSH's
    PEM. A server that wants both gets the key first, then the password. `allowed`: see `connections.addresses`."""

    host: str
    port: int
    user: str
    host_key: str = ""
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    allowed: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, entries and bytes. `opening` covers the exchange of keys and the login together, `stall` one answer,
    `listing` one look for the newest delivery, `budget` all that is done after the login."""

    connecting: float = 15
    opening: float = 45
    stall: float = 60
    listing: float = 120
    budget: float = 1800
    entries: int = 5_000
    size: int = ReadingLimits().packed


class _Ear:
    """The socket, with a memory of how the server began to speak: paramiko keeps neither what a web server answers nor
    the algorithms of a server that it cannot agree with."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        if len(self.heard) < 16 << 10:
            self.heard += data
        return data

    def greeted(self) -> bool:
        return self.heard.startswith(b"SSH-") or b"\nSSH-" in self.heard

    def offers(self) -> list[str]:
        """What the server can do, as ``key exchange: a, b``; only algorithms of obsolete servers are ever told."""
        _, _, packet = self.heard[self.heard.find(b"SSH-") :].partition(b"\n")
        if len(packet) < 22 or packet[5] != _KEXINIT:
            return []
        told = []
        place = 22  # length, padding, number and a cookie of 16 bytes
        for number in range(6):
            size = int.from_bytes(packet[place : place + 4], "big")
            names = packet[place + 4 : place + 4 + size].split(b",")
            place += 4 + size
            plain = [name.decode() for name in names[:6] if _ALGORITHM.fullmatch(name)]
            if number in _LISTS and plain:
                told.append(f"{_LISTS[number]}: {', '.join(plain)}")
        return told


class Line:
    """One connection, closed at the end of a `with`. The steps are to be taken in their order."""

    def __init__(self, server: Server, limits: Limits, sock: socket.socket | None = None) -> None:
        """`sock`: a connection that is already open. Raises FetchError CONN-*."""
        self.server = server
        self.limits = limits
        self._ear = _Ear(sock or connect(server.host, server.port, timeout=limits.connecting, allowed=server.allowed))
        self._transport = paramiko.Transport(self._ear)
        # The watch below decides; paramiko's own patience only has to be longer.
        self._transport.banner_timeout = self._transport.handshake_timeout = limits.opening + 1
        self._transport.auth_timeout = limits.opening + 1
        self._choose_algorithms()
        self.expired = False
        self._timer = self._watch(limits.opening)

    def _choose_algorithms(self) -> None:
        """A server with several host keys shows the one that was confirmed, if we ask for its kind first."""
        choice = self._transport.get_security_options()
        choice.ciphers = _CIPHERS
        choice.digests = _MACS
        confirmed = {key.algorithm for key in pinned(self.server.host_key)}
        choice.key_types = tuple(sorted(choice.key_types, key=lambda kind: _kind(kind) not in confirmed))

    def _watch(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer

    def _expire(self) -> None:
        self.expired = True
        self._transport.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._transport.close()
        self._ear.close()

    def host_key(self) -> HostKey:
        """The key exchange; nothing that is secret is sent. Raises FetchError."""
        try:
            self._transport.start_client()
            key = self._transport.get_remote_server_key()
        except Exception as error:  # whatever the server's bytes did to paramiko's thread is raised here
            raise self._no_handshake(error) from None
        return HostKey(key.get_name(), key.fingerprint)

    def _no_handshake(self, error: Exception) -> FetchError:
        if self.expired:
            return FetchError("CONN-TIMEOUT", "It took the connection, and then said nothing more.")
        if isinstance(error, paramiko.IncompatiblePeer) and self._ear.greeted():
            offers = self._ear.offers()
            return FetchError("SFTP-ALGORITHMS", f"It offers {'; '.join(offers)}." if offers else "")
        if self._ear.heard.startswith(_BUSY):
            return FetchError("CONN-CUT", "The server takes no more connections at this time.")
        if self._ear.heard and not self._ear.greeted():
            return FetchError("SFTP-NOT-SFTP", _looks_like(self._ear.heard))
        return FetchError("CONN-CUT")

    def confirm(self, key: HostKey) -> None:
        """Whether `key` is one that a person confirmed. Raises FetchError SFTP-HOSTKEY-*."""
        known = pinned(self.server.host_key)
        if not known:
            raise FetchError("SFTP-HOSTKEY-NEW", f"It is {key}.")
        if not any(pin.fingerprint == key.fingerprint and pin.algorithm in ("", key.algorithm) for pin in known):
            raise FetchError("SFTP-HOSTKEY-CHANGED", f"It is {key}; confirmed is {' or '.join(map(str, known))}.")

    def log_in(self) -> None:
        """Sends the key or the password, each once. Raises FetchError SFTP-LOGIN for whatever is not a welcome, also a
        line cut in answer: some servers refuse like that, and an account must not be locked by our trying again."""
        server = self.server
        wanted = ["publickey" if server.private_key else "password"]
        key = private_key(server.private_key) if server.private_key else None
        try:
            if key is not None:
                wanted = self._transport.auth_publickey(server.user, key)
            if "password" in wanted and server.password:
                wanted = self._transport.auth_password(server.user, server.password)
        except paramiko.BadAuthenticationType as error:
            prompted = key is None and "keyboard-interactive" in error.allowed_types
            raise FetchError(
                "SFTP-LOGIN", "" if prompted else f"It takes only: {_plain(error.allowed_types)}."
            ) from None
        except Exception:  # as above
            if self.expired:
                raise FetchError("CONN-TIMEOUT", "It did not answer to the login.") from None
            raise FetchError("SFTP-LOGIN") from None
        if not self._transport.is_authenticated():
            raise FetchError("SFTP-LOGIN", "" if key is None else f"It also wants: {_plain(wanted)}.")

    def start_sftp(self) -> Client:
        """Raises FetchError. From here on the time is counted against the budget."""
        try:
            channel = self._transport.open_session(
                window_size=_IN_FLIGHT,
                max_packet_size=_PACKET if "OpenSSH" in self._transport.remote_version else None,
                timeout=self.limits.opening + 1,
            )
            channel.settimeout(self.limits.stall)
            channel.in_buffer = _Pipe()  # nothing has come yet: nobody has been asked for anything
            channel.invoke_subsystem("sftp")
            client = Client(channel)
        except Exception:  # as above
            if self.expired:
                raise FetchError("CONN-TIMEOUT", "It did not start SFTP.") from None
            raise FetchError("SFTP-NOT-SFTP", "The account may log in, but gets no SFTP.") from None
        self._timer.cancel()
        self._timer = self._watch(self.limits.budget)
        return client

    @contextmanager
    def spoken(self) -> Iterator[None]:
        """What paramiko raises, as FetchError."""
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException, SFTPError, ValueError, struct.error) as error:
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> FetchError:
        if self.expired:
            return FetchError("CONN-BUDGET")
        if isinstance(error, TimeoutError):
            return FetchError("SFTP-STALLED")
        if isinstance(error, SFTPError | ValueError | struct.error):
            return FetchError("SFTP-HOSTILE", "It answers against the rules of the protocol.")
        if isinstance(error, OSError) and error.errno == errno.EACCES:
            return FetchError("SFTP-FORBIDDEN")
        if isinstance(error, OSError) and error.errno == errno.ENOENT:
            return FetchError("SFTP-FOLDER")
        if isinstance(error, OSError) and self._transport.is_active():
            return FetchError("SFTP-FAILED")
        return FetchError("CONN-CUT")


def _plain(words: list[str]) -> str:
    return ", ".join(word for word in words[:6] if _ALGORITHM.fullmatch(word.encode())) or "nothing"


def _kind(algorithm: str) -> str:
    """The kind of key that an algorithm of signatures belongs to: RSA has several."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _looks_like(heard: bytes) -> str:
    if heard.startswith(b"HTTP/"):
        return "It is a web server."
    if heard.startswith((b"\x15\x03", b"\x16\x03")):
        return "It speaks TLS, as web servers and FTPS do."
    if heard.startswith(b"220"):
        return "It greets like an FTP or a mail server."
    return "It does not begin as SSH does."


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a listing. `name` as it was sent: not to be trusted, and with lone surrogates where it is not UTF-8.
    What the server leaves out is None."""

    name: str
    mode: int | None
    size: int | None
    mtime: int | None


def _entry(name: str, answer: Any) -> Entry:
    """The attributes of a file (draft-ietf-secsh-filexfer-02, 5), which paramiko would read for as long as they say."""
    flags = answer.get_int()
    size = answer.get_int64() if flags & 0x1 else None
    if flags & 0x2:
        answer.get_int64()  # owner and group
    mode = answer.get_int() if flags & 0x4 else None
    _, mtime = (answer.get_int(), answer.get_int()) if flags & 0x8 else (None, None)
    more = answer.get_int() if flags & 0x8000_0000 else 0
    if more > _MOST_EXTENSIONS:
        raise SFTPError("more attributes than a file has")
    for _ in range(2 * more):
        answer.get_binary()
    return Entry(name, mode, size, mtime)


class _Pipe(BufferedPipe):  # type: ignore[misc]  # paramiko has no types
    """What has come through a channel and was not read yet. paramiko's own copies every byte three times, moves all
    that waits for each read, and wakes the reader for each packet: half of what a download costs. This one keeps the
    packets as they came, until there are as many bytes as are wanted."""

    def __init__(self) -> None:
        super().__init__()
        self._packets: deque[bytes | memoryview] = deque()
        self._size = self._wanted = 0

    def feed(self, data: bytes) -> None:
        if not data:
            return  # it uses up nothing of the window: there could be any number
        with self._cv:
            self._packets.append(data)
            self._size += len(data)
            if self._size >= self._wanted:
                self._cv.notify_all()

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """`nbytes`, fewer only where no more will come. Raises PipeTimeout where nothing at all came in `timeout`
        seconds, at the latest after twice that."""
        with self._cv:
            self._wanted = nbytes
            while self._size < nbytes and not self._closed:
                before = self._size
                if not self._cv.wait(timeout) and self._size == before:
                    raise PipeTimeout
            return b"".join(self._taken(min(nbytes, self._size)))

    def _taken(self, size: int) -> Iterator[bytes | memoryview]:
        self._size -= size
        while size > 0:
            packet = self._packets.popleft()
            if len(packet) > size:
                self._packets.appendleft(memoryview(packet)[size:])
            size -= len(packet)
            yield packet[: len(packet) + min(size, 0)]


class Client(paramiko.SFTPClient):  # type: ignore[misc]
    """paramiko's client, for servers that are not friends. Raises what paramiko raises."""

    def __init__(self, channel: Any) -> None:
        self._piece = PIECE
        super().__init__(channel)

    def _send_version(self) -> int:
        """paramiko passes over what else a server says that it can do."""
        self._send_packet(CMD_INIT, paramiko.Message().add_int(3))
        kind, data = self._read_packet()
        if kind != CMD_VERSION:
            raise SFTPError("expected a version")
        answer = paramiko.Message(data)
        version: int = answer.get_int()
        told = [(answer.get_binary(), answer.get_binary())[0] for _ in range(_MOST_EXTENSIONS)]
        if _ASK_LIMITS in told:
            self._ask_limits()
        return version

    def _ask_limits(self) -> None:
        with suppress(OSError):  # it does not know them after all
            kind, answer = self._request(CMD_EXTENDED, _ASK_LIMITS)
            if kind == CMD_EXTENDED_REPLY:
                answer.get_int64()  # the longest packet
                self._piece = min(max(answer.get_int64(), PIECE), _LARGE_PIECE)

    def _read_all(self, n: int) -> bytes:
        if n > _LONGEST_ANSWER:
            raise SFTPError("answer too long")
        data: bytes = self.sock.recv(n)
        if len(data) < n:
            raise EOFError
        return data

    def look(self, path: str) -> Entry:
        """What lies at `path` itself; a link is told as a link."""
        return self._told(CMD_LSTAT, path, path.rpartition("/")[2])

    def state(self, handle: bytes) -> Entry:
        """What an open file is now."""
        return self._told(CMD_FSTAT, handle, "")

    def _told(self, question: int, about: str | bytes, name: str) -> Entry:
        kind, answer = self._request(question, about)
        if kind != CMD_ATTRS:
            raise SFTPError("expected attributes")
        return _entry(name, answer)

    @contextmanager
    def reading(self, path: str) -> Iterator[bytes]:
        """The handle of an open file."""
        with self._handle(CMD_OPEN, path, SFTP_FLAG_READ, paramiko.SFTPAttributes()) as handle:
            yield handle

    @contextmanager
    def _handle(self, question: int, path: str, *way: object) -> Iterator[bytes]:
        kind, answer = self._request(question, path, *way)
        if kind != CMD_HANDLE:
            raise SFTPError("expected a handle")
        handle = answer.get_binary()
        try:
            yield handle
        finally:
            with suppress(OSError, EOFError, paramiko.SSHException):
                self._async_request(type(None), CMD_CLOSE, handle)

    def entries(self, path: str) -> Iterator[Entry]:
        """The folder's entries as they arrive: whoever has enough may stop."""
        with self._handle(CMD_OPENDIR, path) as handle:
            while True:
                try:
                    kind, answer = self._request(CMD_READDIR, handle)
                except EOFError:
                    return
                if kind != CMD_NAME:
                    raise SFTPError("expected names")
                for _ in range(answer.get_int()):
                    if not answer.get_remainder():
                        raise SFTPError("fewer names than announced")
                    name = answer.get_binary().decode("utf-8", "surrogateescape")
                    answer.get_binary()  # the same line in words, for people
                    entry = _entry(name, answer)
                    if name not in (".", ".."):
                        yield entry

    def pieces(self, handle: bytes, size: int) -> Iterator[bytes]:
        """The first `size` bytes of an open file, in order; fewer where it ends earlier."""
        waiting: dict[int, tuple[int, int]] = {}
        arrived: dict[int, bytes] = {}
        asked = given = 0

        def ask(offset: int, length: int) -> None:
            number = self._async_request(type(None), CMD_READ, handle, int64(offset), length)
            waiting[number] = offset, length

        while given < size:
            while asked < size and (len(waiting) + len(arrived)) * self._piece < _IN_FLIGHT:
                length = min(self._piece, size - asked)
                ask(asked, length)
                asked += length
            kind, data = self._read_packet()
            answer = paramiko.Message(data)
            number = answer.get_int()
            self._expecting.pop(number, None)
            if number not in waiting:
                continue  # the belated answer to something closed
            offset, length = waiting.pop(number)
            if kind == CMD_STATUS:
                try:
                    self._convert_status(answer)
                except EOFError:
                    return
            piece = answer.get_binary() if kind == CMD_DATA else b""
            if not 0 < len(piece) <= length:
                raise SFTPError("expected as many bytes as were asked for")
            arrived[offset] = piece
            if len(piece) < length:
                ask(offset + len(piece), length - len(piece))
            while given in arrived:
                piece = arrived.pop(given)
                given += len(piece)
                yield piece
