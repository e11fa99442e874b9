"""Secrets at rest: AES-256-GCM, bound to the row and the field that they belong to.

A sealed text is ``1:<key id>:<nonce and ciphertext>`` (URL-safe base64). `bound_to` goes into the seal: a text that is
copied to another row, or to another field of the same one, does not open there. The key ring is
`settings.PORTAL_ENCRYPTION_KEY`, with which everything is sealed, and `settings.PORTAL_FORMER_ENCRYPTION_KEYS`, which
only open what was sealed before; `manage.py rotate_encryption_key` seals everything anew.
"""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_FORMAT: Final = "1"
_NONCE: Final = 12


class SealBroken(Exception):
    """A secret cannot be opened: its key is not in the ring, or the text is not the one that was sealed here."""


def seal(text: str, *, bound_to: str) -> str:
    """`text`, sealed with the current key."""
    key = _bytes(settings.PORTAL_ENCRYPTION_KEY)
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(key).encrypt(nonce, text.encode(), bound_to.encode())
    return f"{_FORMAT}:{_id(key)}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(sealed: str, *, bound_to: str) -> str:
    """The text that was sealed for `bound_to`. Raises SealBroken."""
    form, _, rest = sealed.partition(":")
    named, _, body = rest.partition(":")
    key = next((key for key in _ring() if _id(key) == named), None)
    if form != _FORMAT or key is None:
        raise SealBroken("The key that sealed this is not among the keys of the environment.")
    try:
        data = base64.urlsafe_b64decode(body)
        return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], bound_to.encode()).decode()
    except (InvalidTag, ValueError):
        raise SealBroken("This is not what was sealed here.") from None


def is_current(sealed: str) -> bool:
    """Whether it was sealed with the key with which everything is sealed now."""
    return sealed.startswith(f"{_FORMAT}:{_id(_bytes(settings.PORTAL_ENCRYPTION_KEY))}:")


def _ring() -> list[bytes]:
    return [_bytes(text) for text in (settings.PORTAL_ENCRYPTION_KEY, *settings.PORTAL_FORMER_ENCRYPTION_KEYS)]


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text)


def _id(key: bytes) -> str:
    return hashlib.sha256(b"key id of the roster portal:" + key).hexdigest()[:8]
