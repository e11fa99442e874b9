"""Keys: the server's, by which it is known again, and ours, by which we log in."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from connections.exceptions import FetchError

_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@dataclass(frozen=True, slots=True)
class HostKey:
    """`algorithm` as the key names itself (``ssh-ed25519``, ``ssh-rsa``), `fingerprint` as OpenSSH writes it
    (``SHA256:`` and 43 letters)."""

    algorithm: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.algorithm} {self.fingerprint}"


def pinned(text: str) -> list[HostKey]:
    """The keys that a person confirmed: fingerprints, each perhaps behind its algorithm, parted by blanks, commas or
    lines; other words are passed over. There may be several, so that a district can renew its key when it likes."""
    keys = []
    algorithm = ""
    for word in text.replace(",", " ").split():
        if word.startswith("SHA256:"):
            keys.append(HostKey(algorithm, word.rstrip("=")))
            algorithm = ""
        elif word.startswith(("ssh-", "ecdsa-")):
            algorithm = word
    return keys


def new_key_pair(comment: str) -> tuple[str, str]:
    """A fresh Ed25519 pair: the private half in OpenSSH's PEM, the public half as a line of authorized_keys."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {' '.join(comment.split())}".strip()


def private_key(text: str) -> Any:
    """paramiko's form of an Ed25519, ECDSA or RSA key. Raises FetchError SFTP-KEY, which says what the text seems to
    be instead, and quotes none of it."""
    if text.lstrip().startswith("PuTTY-User-Key-File"):
        raise FetchError("SFTP-KEY", "It is in PuTTY's form (.ppk), not in OpenSSH's.")
    if text.lstrip().startswith(("ssh-", "ecdsa-")):
        raise FetchError("SFTP-KEY", "It is a public key.")
    for kind in _KINDS:
        try:
            return kind.from_private_key(io.StringIO(text.strip() + "\n"))
        except paramiko.PasswordRequiredException:
            raise FetchError("SFTP-KEY", "It is locked with a passphrase.") from None
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise FetchError("SFTP-KEY")
