"""Reaching a district's server: whom we talk to, what we send, and what we refuse."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import paramiko
import pytest

from connections.exceptions import FAULTS, FetchError
from connections.sftp import HostKey, Limits, Server, host_key, new_key_pair, open_session
from tests.connections import sshd
from tests.connections.proxy import Proxy
from tests.connections.stranger import Stranger, saying, serving

PATIENT = Limits(opening=20, stall=20)
SHORT = Limits(opening=1.5)


def refused(server: Server, limits: Limits = PATIENT) -> FetchError:
    with pytest.raises(FetchError) as caught, open_session(server, limits=limits):
        pytest.fail("it should not have been let in")
    return caught.value


def attempts(district: sshd.Sshd) -> int:
    """How many credentials the server has been shown, by its own log."""
    return sum(district.log.count(word) for word in ("Accepted ", "Failed ", "Postponed ", "Invalid user"))


def test_the_first_contact_shows_the_host_key_and_sends_no_credential(district: sshd.Sshd) -> None:
    before = attempts(district)
    assert host_key(district.server(host_key="")) == HostKey("ssh-ed25519", district.host_key)
    fault = refused(district.server(host_key=""))
    assert (fault.code, fault.permanent) == ("SFTP-HOSTKEY-NEW", True)
    assert district.host_key in fault.message
    assert attempts(district) == before


def test_a_confirmed_key_is_known_with_or_without_its_algorithm_and_among_others(district: sshd.Sshd) -> None:
    other = "SHA256:" + "A" * 43
    for text in (district.host_key, f"ssh-ed25519 {district.host_key}", f"{other}\nssh-ed25519 {district.host_key}"):
        with open_session(district.server(host_key=text)):
            pass


def test_a_changed_host_key_gets_neither_key_nor_password(district: sshd.Sshd) -> None:
    before = attempts(district)
    other = "SHA256:" + "A" * 43
    fault = refused(district.server(host_key=other, password="secret"))
    assert (fault.code, fault.permanent) == ("SFTP-HOSTKEY-CHANGED", True)
    assert district.host_key in fault.message and other in fault.message
    assert attempts(district) == before


def test_a_right_fingerprint_of_another_algorithm_is_another_key(district: sshd.Sshd) -> None:
    assert refused(district.server(host_key=f"ssh-rsa {district.host_key}")).code == "SFTP-HOSTKEY-CHANGED"


def test_of_a_server_with_several_keys_the_confirmed_kind_is_asked_for(tmp_path: Path) -> None:
    second = tmp_path / "second"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "rsa", "-b", "2048", "-f", second], check=True)
    told = subprocess.run(["ssh-keygen", "-lf", second], check=True, capture_output=True, text=True)
    running = sshd.start(tmp_path / "sshd", more=f"HostKey {second}")
    try:
        with open_session(running.server(host_key=f"ssh-rsa {told.stdout.split()[1]}")):
            pass
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("kind", "more", "offer"),
    [
        ("rsa", "HostKeyAlgorithms ssh-rsa", "host key: ssh-rsa"),
        ("ed25519", "KexAlgorithms diffie-hellman-group14-sha1", "key exchange: diffie-hellman-group14-sha1"),
        ("ed25519", "Ciphers aes128-cbc", "cipher: aes128-cbc"),
        ("ed25519", "MACs hmac-sha1\nCiphers aes128-ctr", "MAC: hmac-sha1"),
    ],
)
def test_obsolete_algorithms_are_refused_and_named(tmp_path: Path, kind: str, more: str, offer: str) -> None:
    running = sshd.start(tmp_path / "sshd", host_key=(kind,), more=more)
    try:
        fault = refused(running.server())
        assert (fault.code, fault.permanent) == ("SFTP-ALGORITHMS", True)
        assert offer in fault.message
    finally:
        running.stop()


def test_a_wrong_password_is_tried_once_and_never_again_by_itself() -> None:
    with serving(Stranger()) as stranger:
        fault = refused(stranger.server(password="wrong-secret"))
    assert (fault.code, fault.permanent) == ("SFTP-LOGIN", True)
    assert stranger.logins == [("password", "district")]
    assert "wrong-secret" not in fault.message


def test_a_right_password_lets_us_in() -> None:
    with serving(Stranger()) as stranger, open_session(stranger.server()):
        pass
    assert stranger.logins == [("password", "district")]


def test_a_server_that_takes_no_keys_says_what_it_takes() -> None:
    with serving(Stranger()) as stranger:
        fault = refused(stranger.server(private_key=new_key_pair("x")[0], password=""))
    assert (fault.code, fault.permanent) == ("SFTP-LOGIN", True)
    assert "password" in fault.message


def test_a_key_that_the_district_has_not_entered_is_refused_for_good(district: sshd.Sshd) -> None:
    fault = refused(district.server(private_key=new_key_pair("x")[0]))
    assert (fault.code, fault.permanent) == ("SFTP-LOGIN", True)


def test_a_password_that_is_asked_for_by_a_prompt_is_given_once() -> None:
    with serving(Stranger(auths="keyboard-interactive")) as stranger:
        with open_session(stranger.server()):
            pass
        fault = refused(stranger.server(password="wrong"))
    assert (fault.code, fault.detail) == ("SFTP-LOGIN", "")
    assert stranger.logins == [("interactive", "")] * 2


def test_a_server_that_wants_key_and_password_gets_both_in_this_order() -> None:
    private = new_key_pair("x")[0]
    with serving(Stranger(auths="publickey,password", after_key=paramiko.AUTH_PARTIALLY_SUCCESSFUL)) as stranger:
        with open_session(stranger.server(private_key=private)):
            pass
        assert stranger.logins == [("publickey", "district"), ("password", "district")]
        fault = refused(stranger.server(private_key=private, password=""))
    assert fault.code == "SFTP-LOGIN" and "also wants: publickey, password" in fault.message


def test_a_login_without_key_and_password_is_not_tried() -> None:
    with serving(Stranger()) as stranger:
        assert refused(stranger.server(password="")).code == "SFTP-LOGIN"
    assert stranger.logins == []


class Hanging(list[tuple[str, str]]):
    """A server that hangs up on whoever tries to log in."""

    def append(self, attempt: tuple[str, str]) -> None:
        super().append(attempt)
        raise ConnectionResetError


def test_a_line_cut_in_answer_to_the_login_is_no_reason_to_try_again() -> None:
    with serving(Stranger(logins=Hanging())) as stranger:
        fault = refused(stranger.server())
    assert (fault.code, fault.permanent) == ("SFTP-LOGIN", True)
    assert len(stranger.logins) == 1


def test_a_login_that_is_never_answered_ends_in_time() -> None:
    with serving(Stranger(answers_login=False)) as stranger:
        assert refused(stranger.server(), SHORT).code == "CONN-TIMEOUT"


@pytest.mark.parametrize("kind", [("ed25519",), ("ecdsa",), ("rsa", "-b", "2048", "-m", "PEM")])
def test_every_usual_private_key_of_openssh_is_taken(
    district: sshd.Sshd, tmp_path: Path, kind: tuple[str, ...]
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", *kind, "-f", key], check=True)
    with (district.home / "authorized_keys").open("a") as entered:
        entered.write((tmp_path / "key.pub").read_text())
    with open_session(district.server(private_key=key.read_text())):
        pass


def test_a_new_pair_is_what_openssh_calls_a_pair(tmp_path: Path) -> None:
    private, public = new_key_pair("Roster portal,\nSpringfield")
    (tmp_path / "key").write_text(private)
    (tmp_path / "key").chmod(0o600)
    derived = subprocess.run(["ssh-keygen", "-yf", tmp_path / "key"], check=True, capture_output=True, text=True)
    assert derived.stdout.split()[:2] == public.split()[:2]
    assert public.endswith(" Roster portal, Springfield")


def test_a_private_key_that_cannot_be_read_is_not_sent_anywhere_and_not_quoted(
    district: sshd.Sshd, tmp_path: Path
) -> None:
    private, public = new_key_pair("x")
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-N", "a passphrase", "-t", "ed25519", "-f", locked], check=True)
    before = attempts(district)
    for text, words in (
        (private[:120] + private[140:], ""),
        (private.replace("OPENSSH", "RSA"), ""),
        ("no key at all", ""),
        (public, "public key"),
        (locked.read_text(), "passphrase"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "PuTTY"),
    ):
        fault = refused(district.server(private_key=text))
        assert (fault.code, fault.permanent) == ("SFTP-KEY", True)
        assert words in fault.message
        assert text[40:80] not in fault.message or not text[40:80]
    assert attempts(district) == before


def test_secrets_are_not_in_the_words_for_a_server() -> None:
    server = Server("sftp.example.com", 22, "district", password="hunter2", private_key="-----BEGIN")
    assert "hunter2" not in repr(server) and "BEGIN" not in repr(server)


@pytest.mark.parametrize(
    ("greeting", "code", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "SFTP-NOT-SFTP", "web server"),
        (b"220 FTP server ready\r\n", "SFTP-NOT-SFTP", "FTP"),
        (b"\x15\x03\x03\x00\x02\x02\x0a", "SFTP-NOT-SFTP", "TLS"),
        (b"\x00\xff\xfe nonsense \r\n", "SFTP-NOT-SFTP", "does not begin"),
        (b"Exceeded MaxStartups\r\n", "CONN-CUT", "no more connections"),
        (b"Not allowed at this time\r\n", "CONN-CUT", "no more connections"),
        (b"", "CONN-CUT", ""),
        (b"SSH-2.0-Torn\r\n", "CONN-CUT", ""),
        (b"SSH-2.0-Torn\r\n\x00\x00\xff\xff\xff garbage", "CONN-CUT", ""),
        (b"SSH-2.0-Torn\r\n" + struct.pack(">IBB", 12, 4, 20) + b"\xff" * 40, "SFTP-ALGORITHMS", ""),
        (b"SSH-2.0-Torn\r\n" + struct.pack(">IBB", 12, 4, 99) + b"\xff" * 40, "CONN-CUT", ""),
        (b"SSH-1.5-Ancient\r\n", "SFTP-ALGORITHMS", ""),
    ],
)
def test_what_answers_otherwise_is_named(greeting: bytes, code: str, words: str) -> None:
    with saying(greeting, hang_up=True) as port:
        fault = refused(Server("127.0.0.1", port, "district", "SHA256:x", "secret", allowed=sshd.LOOPBACK))
    assert fault.code == code and words in fault.message
    assert fault.permanent == FAULTS[code].permanent


def test_a_port_that_takes_the_connection_and_is_silent_ends_in_time() -> None:
    with saying(b"") as port:
        fault = refused(Server("127.0.0.1", port, "district", allowed=sshd.LOOPBACK), SHORT)
    assert (fault.code, fault.permanent) == ("CONN-TIMEOUT", False)


def test_a_line_that_stalls_in_the_exchange_of_keys_ends_in_time(district: sshd.Sshd) -> None:
    with Proxy(district.port, stall_after=200) as proxy:
        assert refused(district.server(port=proxy.port), SHORT).code == "CONN-TIMEOUT"


def test_an_account_without_sftp_is_named(tmp_path: Path) -> None:
    with serving(Stranger(sftp=False)) as stranger:
        assert refused(stranger.server()).code == "SFTP-NOT-SFTP"
    running = sshd.start(tmp_path / "sshd", more="ForceCommand echo This account is not available.")
    try:
        fault = refused(running.server())
        assert (fault.code, fault.permanent) == ("SFTP-NOT-SFTP", True)
    finally:
        running.stop()


def test_an_address_that_may_not_be_contacted_is_not_contacted(district: sshd.Sshd) -> None:
    assert refused(district.server(allowed=())).code == "CONN-ADDRESS"


def test_nobody_at_the_port() -> None:
    server = Server("127.0.0.1", sshd.free_port(), "district", allowed=sshd.LOOPBACK)
    assert refused(server).code == "CONN-REFUSED"
