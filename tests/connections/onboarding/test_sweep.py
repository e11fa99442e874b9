"""Every address of the district's pages, from the URL conf: who is not let in sees the door, and who belongs to
another district sees no page, file, name or number of this one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone

from connections.models import Connection
from connections.onboarding.models import Person, Upload
from connections.onboarding.urls import urlpatterns
from rosters import making
from rosters.models import District
from tests.queue import work_off

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db

ComeIn = Callable[[Person], Client]
#: The door itself, and what belongs to nobody.
OPEN = {"enter", "again", "leave", "standing"}
COMMON = {"template-zip": {"product": "literacy", "version": "1.1"}, "template-file": {"file": "users"}}


@pytest.fixture
def busy(cedar: District, dana: Person, come_in: ComeIn, data_dir: Path) -> dict[str, Any]:
    """Cedar Grove with a delivery that was sent by hand, and a connection: what each address is asked for."""
    zipped = io.BytesIO()
    making.write_zip(zipped, making.make_roster(users=60, seed=4, today=timezone.localdate(), name="Cedar Grove"))
    file = SimpleUploadedFile("cedar-export.zip", zipped.getvalue())
    assert come_in(dana).post("/district/send/", {"files": file}).status_code == 302
    work_off()
    upload = Upload.objects.get()
    connection = Connection.objects.create(
        district=cedar, kind="sftp", host="sftp.cedar.test", username="cedar", path="*.zip"
    )
    return {"uid": connection.uid, "key": str(upload.uid), "offset": 0}


def _address(pattern: URLPattern, values: dict[str, Any]) -> str:
    name = str(pattern.name)
    arguments = COMMON.get(name) or {each: values[each] for each in pattern.pattern.converters}
    if name == "piece":
        arguments["uid"] = values["key"]
    return reverse(f"onboarding:{name}", kwargs=arguments)


def _shown(answer: Any) -> bytes:
    if not answer.streaming:
        return bytes(answer.content)
    content = b"".join(answer.streaming_content)
    for close in answer._resource_closers:  # not `answer.close`, which would close the test's database too
        close()
    return content


def test_who_is_not_let_in_sees_the_door(busy: dict[str, Any]) -> None:
    for pattern in urlpatterns:
        if pattern.name in OPEN:
            continue
        for method in ("get", "post", "put", "delete"):
            answer = getattr(Client(), method)(_address(pattern, busy))
            led_to_the_door = answer.status_code == 302 and answer.headers["Location"] == "/district/enter/"
            assert led_to_the_door or answer.status_code == 405, (pattern.name, method, answer.status_code)


def test_who_belongs_to_another_district_sees_nothing_of_this_one(
    busy: dict[str, Any], maple: District, come_in: ComeIn
) -> None:
    theirs = maple.people.create(name="Mo Lind", email="mo@maple.test", role="owner")
    client = come_in(theirs)
    words = (b"Cedar", b"cedar", b"Dana", busy["key"].encode(), str(busy["uid"]).encode())
    for pattern in urlpatterns:
        if pattern.name in OPEN:
            continue
        for method in ("get", "post", "put"):
            answer = getattr(client, method)(_address(pattern, busy))
            content = _shown(answer)
            assert not any(word in content for word in words), (pattern.name, method)
            belongs = bool(pattern.pattern.converters) and pattern.name not in COMMON
            allowed = (404, 405) if belongs else (200, 302, 400, 405, 422)
            assert answer.status_code in allowed, (pattern.name, method, answer.status_code)


def test_the_one_that_it_belongs_to_sees_it(busy: dict[str, Any], dana: Person, come_in: ComeIn) -> None:
    client = come_in(dana)
    for name in ("receipt", "original", "findings", "changes", "changes_file", "change_settings", "history", "home"):
        pattern = next(each for each in urlpatterns if each.name == name)
        answer = client.get(_address(pattern, busy))
        assert (answer.status_code, bool(_shown(answer))) == (200, True), name
    assert b"cedar-export.zip" in client.get("/district/sent/").content


def test_who_belongs_to_another_district_finds_nobody_of_this_one(
    busy: dict[str, Any], maple: District, dana: Person, come_in: ComeIn
) -> None:
    """By whatever is known of somebody, and with the key of the file in hand."""
    tables = making.make_roster(users=60, seed=4, today=timezone.localdate(), name="Cedar Grove")
    who = tables["users"].row(9, named=True)
    theirs = come_in(maple.people.create(name="Mo Lind", email="mo@maple.test", role="owner"))
    form = {"who": who["username"], "file": busy["key"]}
    for client, found in ((theirs, False), (come_in(dana), True)):
        page = _shown(client.get(client.post("/district/somebody/", form).headers["Location"]))
        assert (who["familyName"].encode() in page) == found
