"""A district's settings: what a person writes, what is kept of it, what is refused, and what they see again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from rosters.admin.district_form import DistrictForm
from rosters.models import AuditEvent, District

if TYPE_CHECKING:
    from django.contrib.auth.models import User as Staff

pytestmark = [pytest.mark.django_db, pytest.mark.looks]

NAMED = {"name": "Cedar Grove", "site_code": "1001", "time_zone": "America/Chicago", "encoding": ""}


@pytest.fixture
def cedar() -> District:
    return District.objects.create(name="Cedar Grove", site_code="1001", time_zone="America/Chicago")


def _form(district: District, **written: str) -> DistrictForm:
    """The form as a person sends it who changed nothing but what is `written` (``_`` in a name stands for ``-``)."""
    client_sees = str(DistrictForm(instance=district))
    sent = {**NAMED, **inputs(client_sees), **{name.replace("__", "-"): value for name, value in written.items()}}
    return DistrictForm(sent, instance=district)


def inputs(page: str) -> dict[str, str]:
    """Name and value of every text input and choice of the settings tables on a page."""
    found = dict(re.findall(r'<input type="text"[^>]* name="([\w-]+-[\w-]+)" value="([^"]*)"', page))
    for name, options in re.findall(r'<select name="([\w-]+-[\w-]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[name] = chosen[1] if chosen else ""
    return found


def _saved(form: DistrictForm) -> District:
    assert form.is_valid(), form.errors
    return form.save()  # type: ignore[no-any-return]


def test_two_people_are_proposed_for_large_removals_where_there_are_two(alice: Staff, rita: Staff) -> None:
    assert DistrictForm().initial["needs_two_people"]
    rita.delete()
    assert not DistrictForm().initial["needs_two_people"]


def test_nobody_is_given_a_time_zone_that_was_not_chosen(cedar: District) -> None:
    new = DistrictForm({**NAMED, "site_code": "1002", "time_zone": ""})
    assert "time_zone" in new.errors
    page = str(DistrictForm())
    assert page.index('value="America/New_York"') < page.index('value="Africa/Abidjan"')
    assert not re.search(r'<option value="[^"]+" selected[^>]*>[^<]*Abidjan', page) and "Factory" not in page
    cedar.time_zone = "US/Eastern"
    cedar.save()
    assert _saved(_form(cedar, time_zone="US/Eastern")).time_zone == "US/Eastern", "what it has may stay"


def test_a_limit_is_written_in_percent_and_kept_as_a_share(cedar: District) -> None:
    saved = _saved(_form(cedar, hold_limits__removed_share="12.5", hold_limits__removed_count="800"))
    assert saved.hold_limits == {"removed_share": 0.125, "removed_count": 800}
    assert inputs(str(DistrictForm(instance=saved)))["hold_limits-removed_share"] == "12.5"


@pytest.mark.parametrize("written", ["5", "5.0", "5 %", ""])
def test_a_limit_that_says_the_usual_is_not_kept(cedar: District, written: str) -> None:
    cedar.hold_limits = {"removed_share": 0.2}
    assert _saved(_form(cedar, hold_limits__removed_share=written)).hold_limits == {}


def test_a_rule_is_switched_off_by_a_choice(cedar: District) -> None:
    assert _saved(_form(cedar, hold_limits__headers_changed="0")).hold_limits == {"headers_changed": 0}


@pytest.mark.parametrize("written", ["many", "-1", "101", "nan", "inf", "1e999", "5,5"])
def test_what_is_no_percentage_is_refused(cedar: District, written: str) -> None:
    form = _form(cedar, hold_limits__removed_share=written)
    assert "Hold if more than this share of a table's records would be removed." in form.errors["hold_limits"][0]


@pytest.mark.parametrize("written", ["1e999999999", "3000000000", "2.5", "-1"])
def test_what_is_no_number_of_people_is_refused(cedar: District, written: str) -> None:
    assert _form(cedar, hold_limits__removed_count=written).errors["hold_limits"]


def test_half_a_person_is_refused_and_every_wrong_line_named_at_once(cedar: District) -> None:
    form = _form(
        cedar, hold_limits__removed_count="2.5", hold_limits__group_floor="x", hold_limits__headers_changed="7"
    )
    assert len(form.errors["hold_limits"]) == 3
    assert 'value="2.5"' in str(form["hold_limits"])  # what was written is there to be mended


def test_a_mapping_is_one_line_and_an_emptied_line_is_gone(cedar: District) -> None:
    line = {"mappings__0__0": "users.grades", "mappings__0__1": "K", "mappings__0__2": "KG"}
    saved = _saved(_form(cedar, **line))
    assert saved.mappings == {"users.grades": {"K": "KG"}}
    more = {"mappings__1__0": "users.grades", "mappings__1__1": "P3", "mappings__1__2": "PK"}
    more |= {"mappings__3__0": "enrollments.role", "mappings__3__1": "pupil", "mappings__3__2": "student"}
    assert _saved(_form(saved, **more)).mappings == {
        "users.grades": {"K": "KG", "P3": "PK"},
        "enrollments.role": {"pupil": "student"},
    }
    assert _saved(_form(saved, **dict.fromkeys(line, ""))).mappings == {
        "users.grades": {"P3": "PK"},
        "enrollments.role": {"pupil": "student"},
    }


def test_a_column_is_called_by_one_name_of_the_districts_own(cedar: District) -> None:
    line = {"column_names__0__0": "users.identifier", "column_names__0__1": " StudentNumber "}
    saved = _saved(_form(cedar, **line))
    assert saved.column_names == {"users.identifier": "StudentNumber"}
    assert _saved(_form(saved, **dict.fromkeys(line, ""))).column_names == {}
    saved = _saved(_form(cedar, **line))
    for wrong in (
        {"column_names__1__0": "users.password", "column_names__1__1": "Secret"},
        {"column_names__1__0": "users.email", "column_names__1__1": " "},
        {"column_names__1__0": "users.email", "column_names__1__1": "Username"},
        {"column_names__1__0": "users.email", "column_names__1__1": "studentnumber"},
        {"column_names__1__0": "users.identifier", "column_names__1__1": "Number"},
    ):
        assert "column_names" in _form(saved, **wrong).errors, wrong
    other = {"column_names__1__0": "orgs.identifier", "column_names__1__1": "StudentNumber"}
    assert len(_saved(_form(saved, **other)).column_names) == 2, "another file may use the same word"


def test_a_word_may_be_read_as_nothing(cedar: District) -> None:
    line = {"mappings__0__0": "users.middleName", "mappings__0__1": "N.N.", "mappings__0__2": "(empty)"}
    assert _saved(_form(cedar, **line)).mappings == {"users.middleName": {"N.N.": ""}}


@pytest.mark.parametrize(
    "line",
    [
        ("", "K", "KG"),
        ("users.grade", "K", "KG"),
        ("users.grades", "", "KG"),
        ("users.grades", "K", " "),
        ("users.sourcedId", "1", "2"),
    ],
)
def test_a_mapping_that_means_nothing_is_refused(cedar: District, line: tuple[str, str, str]) -> None:
    form = _form(cedar, **{f"mappings__0__{place}": cell for place, cell in enumerate(line)})
    assert form.errors["mappings"]


def test_a_word_with_two_meanings_is_refused(cedar: District) -> None:
    lines: dict[str, str] = {}
    for number, meaning in enumerate(("KG", "PK")):
        lines |= {f"mappings__{number}__0": "users.grades", f"mappings__{number}__1": "K"}
        lines[f"mappings__{number}__2"] = meaning
    assert "twice" in _form(cedar, **lines).errors["mappings"][0]


def test_a_rule_counts_as_something_else_here(cedar: District) -> None:
    line = {"rule_overrides__0__0": "OR-CSV-143", "rule_overrides__0__1": "warning"}
    assert _saved(_form(cedar, **line)).rule_overrides == {"OR-CSV-143": "warning"}


@pytest.mark.parametrize(
    ("code", "severity"),
    [("OR-CSV-001", "off"), ("OR-CSV-999", "off"), ("OR-CSV-160", "off"), ("OR-CSV-015", "warning"),
     ("OR-CSV-185", "off"), ("OR-CSV-143", ""), ("OR-CSV-143", "fatal"), ("", "warning")],
)  # fmt: skip
def test_a_rule_that_nothing_stands_without_cannot_be_lowered(cedar: District, code: str, severity: str) -> None:
    form = _form(cedar, rule_overrides__0__0=code, rule_overrides__0__1=severity)
    assert form.errors["rule_overrides"]
    offered = re.findall(r'<option value="([\w-]*)"', str(DistrictForm(instance=cedar)["rule_overrides"]))
    assert code not in offered or code in ("", "OR-CSV-143")


def test_one_rule_with_two_severities_is_refused(cedar: District) -> None:
    lines = {"rule_overrides__0__0": "OR-CSV-143", "rule_overrides__0__1": "warning"}
    lines |= {"rule_overrides__1__0": "OR-CSV-143", "rule_overrides__1__1": "off"}
    assert "twice" in _form(cedar, **lines).errors["rule_overrides"][0]


def test_looking_and_saving_without_a_change_changes_nothing(cedar: District) -> None:
    kept: dict[str, Any] = {
        "hold_limits": {"removed_share": 0.125, "bad_share": 0.0005, "removed_count": 800, "headers_changed": 0},
        "mappings": {"users.grades": {"K": "KG", " 01": "01"}, "demographics.asian": {"Y": "true", "N": ""}},
        "rule_overrides": {"OR-CSV-143": "warning", "OR-CSV-225": "off"},
    }
    for name, value in kept.items():
        setattr(cedar, name, value)
    form = _form(cedar)
    assert form.is_valid(), form.errors
    assert form.changed_data == []
    assert {name: form.cleaned_data[name] for name in kept} == kept


def test_settings_that_a_form_does_not_send_stay_as_they_are(cedar: District) -> None:
    cedar.hold_limits, cedar.mappings = {"removed_share": 0.125}, {"users.grades": {"K": "KG"}}
    saved = _saved(DistrictForm(NAMED, instance=cedar))
    assert (saved.hold_limits, saved.mappings) == ({"removed_share": 0.125}, {"users.grades": {"K": "KG"}})


def test_a_stored_word_that_is_no_longer_offered_is_shown_not_lost(cedar: District) -> None:
    cedar.mappings = {"users.grade": {"K": "KG"}}
    form = _form(cedar)
    assert inputs(str(DistrictForm(instance=cedar)))["mappings-0-0"] == "users.grade"
    assert "K" in form.errors["mappings"][0]


def _logged_in(staff: Staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def test_changed_settings_leave_an_audit_row_with_before_and_after(cedar: District, manu: Staff) -> None:
    client = _logged_in(manu)
    address = f"/admin/rosters/district/{cedar.pk}/change/"
    sent = {**NAMED, "time_zone": "America/Denver", **inputs(client.get(address).text)}
    sent["hold_limits-removed_share"] = "50"
    answer = client.post(address, sent)
    assert answer.status_code == 302, answer.context["errors"]
    event = AuditEvent.objects.get(action="district.changed")
    assert event.by == manu
    assert event.before == {"time_zone": "America/Chicago", "hold_limits": {}}
    assert event.after == {"time_zone": "America/Denver", "hold_limits": {"removed_share": 0.5}}


def test_who_may_only_look_reads_the_settings_in_words(cedar: District, vera: Staff) -> None:
    cedar.hold_limits = {"removed_share": 0.125}
    cedar.column_names = {"users.identifier": "Student Number"}
    cedar.mappings = {"users.grades": {"K": ""}}
    cedar.rule_overrides = {"OR-CSV-143": "off"}
    cedar.products = ["literacy", "math"]
    cedar.save()
    page = _logged_in(vera).get(f"/admin/rosters/district/{cedar.pk}/change/").text
    assert inputs(page) == {}
    for words in (
        "12.5 %",
        "set here",
        "users: identifier",
        "Student Number",
        "users: grades",
        "(empty)",
        "OR-CSV-143",
        "nothing: it is not asked",
        "Literacy, Math",
        "UTF-8 (the standard)",
    ):
        assert words in page
    assert "removed_share" not in re.sub(r'id="[^"]*"', "", page)
    assert "&quot;users.identifier" not in page, "as JSON"


@pytest.mark.parametrize(
    ("history", "left", "kept", "wrong"),
    [
        ("", "", (None, None), []),
        ("200", "30", (200, 30), []),
        ("400", "90", (None, None), []),
        ("89", "29", None, ["keeps_history_days", "keeps_left_days"]),
        ("401", "91", None, ["keeps_history_days", "keeps_left_days"]),
        ("for ever", "60", None, ["keeps_history_days"]),
    ],
)
def test_how_long_it_is_kept_is_within_bounds_and_the_usual_is_not_stored(
    cedar: District, history: str, left: str, kept: tuple[int | None, int | None] | None, wrong: list[str]
) -> None:
    form = _form(cedar, keeps_history_days=history, keeps_left_days=left)
    assert sorted(form.errors) == wrong
    if kept is not None:
        saved = _saved(form)
        assert (saved.keeps_history_days, saved.keeps_left_days) == kept
