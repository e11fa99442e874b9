"""Whatever is sent, reading it takes bounded memory and time: each of these is read in a process that may not have more
than a gigabyte beside what Python and polars take at rest, nor more than a minute of processor time."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from rosters.reading import read
from tests.rosters.reading.sets import ORG, ids, manifest, orgs_set, table

SCRIPT = """
import json, resource, sys
from pathlib import Path
from rosters.reading import read
import polars
polars.DataFrame({"a": ["b"]}).select(polars.col("a").str.len_bytes())
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + (1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
delivered = read(Path(sys.argv[1]))
print(json.dumps([delivered.readable, sorted({finding.code for finding in delivered.findings})]))
"""


def read_bounded(path: Path) -> tuple[bool, list[str]]:
    """Whether it is readable, and the codes of what was found."""
    # glibc reserves 64 MB of addresses for each thread that allocates: they are no memory, but count against the limit.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    readable, codes = json.loads(done.stdout)
    return readable, codes


def _with_orgs(path: Path, write: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.csv", manifest("orgs"))
        write(archive)
    return path


HEADER = table("orgs")


def _bomb(archive: zipfile.ZipFile) -> None:
    """Two gigabytes of blanks."""
    with archive.open("orgs.csv", "w", force_zip64=True) as member:
        member.write(HEADER.encode())
        for _ in range(2048):
            member.write(b" " * (1 << 20))


def _many(archive: zipfile.ZipFile) -> None:
    for number in range(20_000):
        archive.writestr(f"{number}.csv", "")


def _nested(archive: zipfile.ZipFile) -> None:
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED) as inner:
        inner.writestr("orgs.csv", HEADER + " " * (64 << 20))
    archive.writestr("orgs.zip", inside.getvalue())


def _one_cell(archive: zipfile.ZipFile) -> None:
    """A cell of 50 MB that no packer shrinks to a hundredth."""
    letters = base64.b64encode(random.Random(8).randbytes(37_500_000)).decode()
    archive.writestr("orgs.csv", HEADER + ",".join(ORG) + "\r\n" + f"x,,,{letters},school,,\r\n")


def _open_quotes(archive: zipfile.ZipFile) -> None:
    """A million short lines, each with a quote that nothing closes."""
    lines = "".join(f'id{number},,,"n{number * 31 % 997}\r\n' for number in range(1_000_000))
    archive.writestr("orgs.csv", HEADER + lines)


def _with_page(path: Path, body: bytes) -> Path:
    """A pull of orgs with this page."""
    told = {"pages": 1, "rows": 1, "total": None, "complete": True}
    pull = {"format": "oneroster-rest-pull/1", "version": "1.1", "mode": "bulk", "collections": {"orgs": told}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("pull.json", json.dumps(pull))
        archive.writestr("orgs-000001.json", body)
    return path


def _scattered(*items: bytes) -> bytes:
    """A page of 10 MB of these items in no order that a packer could use."""
    return b'{"orgs":[' + b",".join(random.Random(8).choices(items, k=10_000_000 // (1 + len(items[0])))) + b"]}"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="a system whose processes do not tell their size")
@pytest.mark.parametrize(
    ("write", "code"),
    [
        (_bomb, "OR-CSV-005"), (_many, "OR-CSV-005"), (_nested, "OR-CSV-011"), (_one_cell, "OR-CSV-055"),
        (_open_quotes, "OR-CSV-043"),
    ],
    ids=["a bomb", "many entries", "a zip in a zip", "one huge cell", "open quotes"],
)  # fmt: skip
def test_what_is_meant_to_exhaust_us_ends_as_a_finding(
    tmp_path: Path, write: Callable[[zipfile.ZipFile], None], code: str
) -> None:
    _, codes = read_bounded(_with_orgs(tmp_path / "sent.zip", write))
    assert code in codes


def test_a_zip64_archive_is_read(tmp_path: Path) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        with archive.open("orgs.csv", "w", force_zip64=True) as member:
            member.write(table("orgs", ORG).encode())

    delivered = read(_with_orgs(tmp_path / "sent.zip", write))
    assert delivered.readable
    assert ids(delivered) == ids(read(orgs_set(tmp_path, table("orgs", ORG))))
    assert not any(finding.code < "OR-CSV-010" for finding in delivered.findings)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="a system whose processes do not tell their size")
@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([b"{}", b"[]", b"12"], "OR-CSV-005"),
        ([b'[["' + b"%018d" % number + b'"]]' for number in range(50)], "OR-REST-003"),
        ([b'{"sourcedId":"%018d"}' % number for number in range(50)], "OR-REST-001"),
    ],
    ids=["a page of specks", "a page of lists", "a page of the same records"],
)
def test_a_page_that_is_meant_to_exhaust_us_ends_as_a_finding(tmp_path: Path, items: list[bytes], code: str) -> None:
    readable, codes = read_bounded(_with_page(tmp_path / "pull.zip", _scattered(*items)))
    assert not readable and code in codes
