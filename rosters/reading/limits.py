"""How much a delivery may be: beyond these a file is an attack or an accident, never a roster."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, unless the name says otherwise.

    `ratio` (unpacked to packed) is judged only above `ratio_from`: short files of equal rows pack well and harm
    nobody; real rosters stay below 50. `entries` counts files, without folders, what operating systems leave behind and
    pages of a pull, which `pages` counts; `all_entries` counts all but pages. `cell` is in characters, `line` in bytes
    of one physical line, `page` in bytes of one page.
    """

    packed: int = 1024 * MEGABYTE
    unpacked: int = 4096 * MEGABYTE
    ratio: int = 100
    ratio_from: int = MEGABYTE
    entries: int = 40
    all_entries: int = 1_000
    pages: int = 20_000
    name: int = 255
    cell: int = 10_000
    line: int = MEGABYTE
    columns: int = 500
    manifest: int = MEGABYTE
    page: int = 64 * MEGABYTE
