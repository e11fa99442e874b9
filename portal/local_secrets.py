"""Secrets of a local run: made once, kept in the data folder, readable by their owner only.

Never used in production, where `portal.checks` demands secrets from the environment.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from pathlib import Path


def local_secret(folder: Path, name: str, *, size: int = 32) -> str:
    """The secret called `name` (URL-safe base64 of `size` random bytes); made on first use, the same ever after.

    Two processes that start at once agree: the first one to link its file into place wins.
    """
    path = folder / "secrets" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(size)).decode())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
