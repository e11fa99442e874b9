"""What the database itself holds: decisions whole or not at all, one writer per district, an audit trail that stays."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from rosters.models import AuditEvent, Delivery, District, Sync

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def cedar() -> District:
    return District.objects.create(name="Cedar Grove", site_code="1001")


def _sync(district: District, **values: object) -> Sync:
    delivery = Delivery.objects.create(district=district, sha256="0" * 64, size=1, name="x.zip", origin="staff")
    return Sync.objects.create(district=district, delivery=delivery, **values)


def test_the_database_refuses_to_change_or_delete_an_audit_event(cedar: District) -> None:
    if connection.vendor == "sqlite":
        for statement in import_module("rosters.migrations.0002_audit_is_append_only").SQLITE:
            with connection.cursor() as cursor:
                cursor.execute(statement)
    event = AuditEvent.objects.create(action="district.added", district=cedar)
    for change in (
        lambda: AuditEvent.objects.filter(pk=event.pk).update(action="nothing"),
        lambda: AuditEvent.objects.filter(pk=event.pk).delete(),
    ):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            change()
    assert AuditEvent.objects.get(pk=event.pk).action == "district.added"


def test_an_audit_event_has_no_way_to_be_saved_again(cedar: District) -> None:
    event = AuditEvent.objects.create(action="district.added", district=cedar)
    with pytest.raises(TypeError):
        event.save()
    with pytest.raises(TypeError):
        event.delete()


def test_a_decision_has_who_and_when_or_is_none(cedar: District) -> None:
    for half in ({"decision": "approved"}, {"decided_at": timezone.now()}, {"decided_automatically": True}):
        with pytest.raises(IntegrityError), transaction.atomic():
            _sync(cedar, **half)


def test_one_district_has_one_writer(cedar: District, alice: Staff) -> None:
    decided = {"decision": "approved", "decided_by": alice, "decided_at": timezone.now()}
    _sync(cedar, status="approved", **decided)
    with pytest.raises(IntegrityError), transaction.atomic():
        _sync(cedar, status="applying", **decided)


def test_two_workers_want_one_sync_and_one_gets_it(cedar: District) -> None:
    sync = _sync(cedar)
    other = Sync.objects.get(pk=sync.pk)
    now = timezone.now()
    assert sync.start_preparing(now)
    assert not other.start_preparing(now)
    assert sync.beat(now, "reading", 0.5, 10)
    Sync.objects.filter(pk=sync.pk).update(claim=None)
    assert not sync.beat(now, "reading", 0.6, 20)


def test_two_people_approve_and_one_decides(cedar: District, alice: Staff, rita: Staff) -> None:
    sync = _sync(cedar, status="awaiting_review", plan_digest="a" * 64)
    now = timezone.now()
    assert not sync.mark_approved(now, "b" * 64, alice)
    assert sync.mark_approved(now, "a" * 64, alice)
    assert not Sync.objects.get(pk=sync.pk).mark_approved(now, "a" * 64, rita)
    sync.refresh_from_db()
    assert sync.decided_by == alice
