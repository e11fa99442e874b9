"""A very small district as an example: one school, one class, its people. It never existed, and breaks no rule.

The pages of the specification take their examples from it too, so that what they say is what the files hold.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from rosters.making import Tables
from rosters.oneroster import VERSIONS

SYSTEM: Final = ("Example SIS", "example-sis")
#: The school year begins on this day of August, and its second half in January.
_STARTS, _HALF = "08-01", "01-01"

#: A row of a file: column to cell; a column that is not named is empty.
_Row = dict[str, str]

_PEOPLE: Final = (
    ("S-2041", "student", "Ana", "Parker", "aparker41", "41", "04"),
    ("S-2042", "student", "Björn", "O'Neill", "boneill42", "42", "04"),
    ("S-2043", "student", "Chidi", "Okoye", "cokoye43", "43", "04"),
    ("T-0107", "teacher", "Dolores", "Nakamura", "dnakamura", "107", ""),
    ("A-0003", "administrator", "Evan", "Whitfield", "ewhitfield", "3", ""),
)
_SCHOOL, _DISTRICT = "SCH-010", "DST-001"
#: What somebody is called in roles.csv of 1.2.
_ROLES: Final = {"administrator": "principal"}


def example(version: str, today: date) -> Tables:
    """The example district as files of a version, in the school year of this day: every rostering file it has."""
    rows = _rows(today)
    return {
        table.name: pl.DataFrame(
            {column: [row.get(column, "") for row in rows[table.name]] for column in table.header},
            schema=dict.fromkeys(table.header, pl.String),
        )
        for table in VERSIONS[version].tables.values()
        if table.group == "rostering"
    }


def blank(version: str) -> Tables:
    """The same files with nothing but their header."""
    tables = [table for table in VERSIONS[version].tables.values() if table.group == "rostering"]
    return {table.name: pl.DataFrame(schema=dict.fromkeys(table.header, pl.String)) for table in tables}


def _rows(today: date) -> dict[str, list[_Row]]:
    ends = today.year + (today.month >= 8)
    first, half, last = f"{ends - 1}-{_STARTS}", f"{ends}-{_HALF}", f"{ends}-{_STARTS}"
    year, term = {"schoolYear": str(ends)}, {"type": "semester", "parentSourcedId": f"YEAR-{ends}"}
    fall, spring = f"FALL-{ends - 1}", f"SPRING-{ends}"
    in_class = {"classSourcedId": "CLS-0412-1", "schoolSourcedId": _SCHOOL}
    subject = {"grades": "04", "subjects": "Mathematics (grade 4)", "subjectCodes": "52034"}
    return {
        "academicSessions": [
            {"sourcedId": fall, "title": "Fall semester", "startDate": first, "endDate": half, **term, **year},
            {"sourcedId": spring, "title": "Spring semester", "startDate": half, "endDate": last, **term, **year},
            {
                "sourcedId": f"YEAR-{ends}",
                "title": f"{ends - 1}-{ends}",
                "type": "schoolYear",
                "startDate": first,
                "endDate": last,
                **year,
            },
        ],
        "orgs": [
            {
                "sourcedId": _SCHOOL,
                "name": "Willow Creek Elementary School",
                "type": "school",
                "identifier": "080000000010",
                "parentSourcedId": _DISTRICT,
            },
            {
                "sourcedId": _DISTRICT,
                "name": "Willow Creek School District",
                "type": "district",
                "identifier": "0800000",
            },
        ],
        "courses": [
            {
                "sourcedId": "CRS-0412",
                "title": "Mathematics 4",
                "courseCode": "MATH4",
                "orgSourcedId": _DISTRICT,
                "schoolYearSourcedId": f"YEAR-{ends}",
                **subject,
            }
        ],
        "classes": [
            {
                "sourcedId": "CLS-0412-1",
                "title": "Mathematics 4, Nakamura, period 2",
                "courseSourcedId": "CRS-0412",
                "classCode": "MATH4-1",
                "classType": "scheduled",
                "location": "Room 12",
                "schoolSourcedId": _SCHOOL,
                "termSourcedIds": f"{fall},{spring}",
                "periods": "2,3",
                **subject,
            }
        ],
        "users": [
            {
                "sourcedId": key,
                "enabledUser": "true",
                "orgSourcedIds": _SCHOOL,
                "primaryOrgSourcedId": _SCHOOL,
                "role": role,
                "username": username,
                "givenName": given,
                "familyName": family,
                "identifier": identifier,
                "email": f"{username}@willowcreek.example",
                "grades": grade,
            }
            for key, role, given, family, username, identifier, grade in _PEOPLE
        ],
        "enrollments": [
            {
                "sourcedId": f"CLS-0412-1.{key}",
                "userSourcedId": key,
                "role": role,
                "primary": str(role == "teacher").lower(),
                "beginDate": first,
                "endDate": last,
                **in_class,
            }
            for key, role, *_ in _PEOPLE
        ],
        "demographics": [
            {"sourcedId": key, "birthDate": f"{ends - 10}-0{month}-1{month}", "sex": sex}
            for month, (key, sex) in enumerate((("S-2041", "female"), ("S-2042", "male"), ("S-2043", "male")), start=1)
        ],
        "roles": [
            {
                "sourcedId": f"{key}.{_SCHOOL}",
                "userSourcedId": key,
                "roleType": "primary",
                "role": _ROLES.get(role, role),
                "orgSourcedId": _SCHOOL,
                "userProfileSourcedId": "PRF-0107" if role == "teacher" else "",
            }
            for key, role, *_ in _PEOPLE
        ],
        "userProfiles": [
            {
                "sourcedId": "PRF-0107",
                "userSourcedId": "T-0107",
                "profileType": "learning platform",
                "vendorId": "example-vendor",
                "applicationId": "example-app",
                "description": "Sign-in for teachers",
                "credentialType": "username and password",
                "username": "dnakamura",
            }
        ],
    }
