"""Something that may be used once: claimed by the first who comes, across all processes that share the data folder."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from datetime import datetime
from pathlib import Path

from django.conf import settings

_HOUR = 3600


def claim_once(name: str, good_until: datetime, now: datetime) -> bool:
    """Whether nobody has claimed `name`; from now on somebody has. `good_until` belongs to the name: after it nobody
    asks for that name any more, and the claim is forgotten.

    A file made with O_EXCL is the claim: atomic where Django's file cache is not, and without any lock of the database.
    Claims lie in a folder for each hour in which they end, which goes as a whole.
    """
    root = Path(settings.PORTAL_DATA_DIR) / "once"
    folder = root / str(int(good_until.timestamp()) // _HOUR)
    if not folder.exists():
        _forget(root, before=int(now.timestamp()) // _HOUR)
        folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / hashlib.sha256(name.encode()).hexdigest()).open("xb").close()
    except FileExistsError:
        return False
    return True


def _forget(root: Path, *, before: int) -> None:
    for folder in root.glob("*"):
        if folder.name.isdecimal() and int(folder.name) < before:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
