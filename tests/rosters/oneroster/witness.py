"""The witness: the standard and the products as they were read from public sources, kept apart from our tables.

tests/spec/*.json was compiled from the published texts before the tables were written. Where the two
disagree, one of them is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPEC = Path(__file__).parents[2] / "spec"


def witness(name: str) -> dict[str, Any]:
    """The content of tests/spec/`name`.json."""
    content: dict[str, Any] = json.loads((SPEC / f"{name}.json").read_text(encoding="utf-8"))
    return content


def stem(file: str) -> str:
    """ "users.csv" -> "users"."""
    return file.removesuffix(".csv")


STANDARD = {"1.1": witness("oneroster_1_1"), "1.2": witness("oneroster_1_2")}
