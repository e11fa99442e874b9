"""The normal form: one shape in which every accepted roster is kept, whether it came as 1.1, 1.2 or by REST.

It is 1.2's shape (the younger version can say everything the older one can), with four differences:

* ``status`` and ``dateLastModified`` are left out: a snapshot holds the records that live, and the receiver
  keeps its own dates (OneRoster CSV, record life cycle).
* ``password`` is left out of users and userProfiles: secrets of children are not ours to keep (docs/decisions).
* users carry ``role``, the person's principal role, so that a change of role is a change one can see.
* every table ends with ``metadata``: the file's ``metadata.*`` cells as one JSON object with sorted keys and
  without the prefix, "" where there are none.

1.1 keeps orgs and role of a person in users.csv; `rosters.normalising` turns them into rows of ``roles``.
"""

from __future__ import annotations

from collections.abc import Collection

METADATA = "metadata"

#: Words of a delivered ``status`` that take a record out of the roster; "inactive" is 1.0's and still sent.
GONE: tuple[str, ...] = ("tobedeleted", "inactive")

#: Columns of each table, in order. The first is always the key, ``sourcedId``. The order of the tables is the order of
#: references: every table refers only to itself and to tables above it.
NORMAL: dict[str, tuple[str, ...]] = {
    "orgs": ("sourcedId", "name", "type", "identifier", "parentSourcedId", METADATA),
    "academicSessions": (
        "sourcedId",
        "title",
        "type",
        "startDate",
        "endDate",
        "parentSourcedId",
        "schoolYear",
        METADATA,
    ),
    "courses": (
        "sourcedId",
        "schoolYearSourcedId",
        "title",
        "courseCode",
        "grades",
        "orgSourcedId",
        "subjects",
        "subjectCodes",
        METADATA,
    ),
    "classes": (
        "sourcedId",
        "title",
        "grades",
        "courseSourcedId",
        "classCode",
        "classType",
        "location",
        "schoolSourcedId",
        "termSourcedIds",
        "subjects",
        "subjectCodes",
        "periods",
        METADATA,
    ),
    "users": (
        "sourcedId",
        "enabledUser",
        "username",
        "userIds",
        "givenName",
        "familyName",
        "middleName",
        "identifier",
        "email",
        "sms",
        "phone",
        "agentSourcedIds",
        "grades",
        "userMasterIdentifier",
        "preferredGivenName",
        "preferredMiddleName",
        "preferredFamilyName",
        "primaryOrgSourcedId",
        "pronouns",
        "role",
        METADATA,
    ),
    "userProfiles": (
        "sourcedId",
        "userSourcedId",
        "profileType",
        "vendorId",
        "applicationId",
        "description",
        "credentialType",
        "username",
        METADATA,
    ),
    "roles": (
        "sourcedId",
        "userSourcedId",
        "roleType",
        "role",
        "beginDate",
        "endDate",
        "orgSourcedId",
        "userProfileSourcedId",
        METADATA,
    ),
    "demographics": (
        "sourcedId",
        "birthDate",
        "sex",
        "americanIndianOrAlaskaNative",
        "asian",
        "blackOrAfricanAmerican",
        "nativeHawaiianOrOtherPacificIslander",
        "white",
        "demographicRaceTwoOrMoreRaces",
        "hispanicOrLatinoEthnicity",
        "countryOfBirthCode",
        "stateOfBirthAbbreviation",
        "cityOfBirth",
        "publicSchoolResidenceStatus",
        METADATA,
    ),
    "enrollments": (
        "sourcedId",
        "classSourcedId",
        "schoolSourcedId",
        "userSourcedId",
        "role",
        "primary",
        "beginDate",
        "endDate",
        METADATA,
    ),
}

#: Single references that the database keeps as foreign keys: table -> column -> table it points to.
REFERENCES: dict[str, dict[str, str]] = {
    "orgs": {"parentSourcedId": "orgs"},
    "academicSessions": {"parentSourcedId": "academicSessions"},
    "courses": {"schoolYearSourcedId": "academicSessions", "orgSourcedId": "orgs"},
    "classes": {"courseSourcedId": "courses", "schoolSourcedId": "orgs"},
    "users": {"primaryOrgSourcedId": "orgs"},
    "userProfiles": {"userSourcedId": "users"},
    "roles": {"userSourcedId": "users", "orgSourcedId": "orgs", "userProfileSourcedId": "userProfiles"},
    "demographics": {"sourcedId": "users"},
    "enrollments": {"classSourcedId": "classes", "schoolSourcedId": "orgs", "userSourcedId": "users"},
}

#: The same for cells that name several records, separated by commas.
LISTED_REFERENCES: dict[str, dict[str, str]] = {
    "classes": {"termSourcedIds": "academicSessions"},
    "users": {"agentSourcedIds": "users"},
}

TABLES: tuple[str, ...] = tuple(NORMAL)

#: What a roster can do without of its people, as "table.column": no record is named, referred to or told apart by it.
MAY_BE_LEFT_OUT: tuple[str, ...] = (
    *(
        f"users.{column}"
        for column in (
            "middleName", "preferredGivenName", "preferredMiddleName", "preferredFamilyName", "pronouns", "email",
            "sms", "phone", "identifier", "userIds", "userMasterIdentifier", "agentSourcedIds", METADATA,
        )
    ),
    *(f"demographics.{column}" for column in NORMAL["demographics"][1:]),
    *(f"userProfiles.{column}" for column in ("username", "credentialType", "description", METADATA)),
)  # fmt: skip


def is_left_out(table: str, column: str, left_out: Collection[str]) -> bool:
    """Whether a column, as a file writes it, is one of `left_out` (of `MAY_BE_LEFT_OUT`)."""
    name = METADATA if column.lower().startswith(f"{METADATA}.") else column
    return f"{table}.{name}".lower() in {each.lower() for each in left_out}


def is_wholly_left_out(table: str, left_out: Collection[str]) -> bool:
    """Whether of `table` nothing but ids is kept."""
    return all(f"{table}.{column}" in left_out for column in NORMAL[table][1:])
