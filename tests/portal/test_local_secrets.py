"""The secrets of a local run are made once and are nobody else's business."""

from __future__ import annotations

import base64
from pathlib import Path

from portal.local_secrets import local_secret


def test_a_secret_is_made_once_and_stays(tmp_path: Path) -> None:
    first = local_secret(tmp_path, "secret-key")

    assert len(base64.urlsafe_b64decode(first)) == 32
    assert local_secret(tmp_path, "secret-key") == first
    assert local_secret(tmp_path, "encryption-key") != first


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    local_secret(tmp_path, "secret-key")

    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert (tmp_path / "secrets" / "secret-key").stat().st_mode & 0o077 == 0


def test_no_draft_is_left_behind(tmp_path: Path) -> None:
    local_secret(tmp_path, "secret-key")

    assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["secret-key"]
