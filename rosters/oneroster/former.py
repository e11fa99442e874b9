"""What columns were called before, or are called privately: names that still arrive, and what they stand for."""

from __future__ import annotations

from collections.abc import Mapping

#: Names of OneRoster 1.0, per table -> the name since 1.1.
OLD_NAMES: Mapping[str, Mapping[str, str]] = {
    "academicSessions": {"academicSessionType": "type"},
    "classes": {"grade": "grades", "termSourcedId": "termSourcedIds"},
    "courses": {"grade": "grades", "schoolYearId": "schoolYearSourcedId"},
    "demographics": {"userSourcedId": "sourcedId", "birthdate": "birthDate"},
    "users": {"agents": "agentSourcedIds", "grade": "grades", "orgSourcedId": "orgSourcedIds", "userId": "userIds"},
}

#: How private columns begin where the prefix ``metadata.`` was forgotten, or not yet known.
PRIVATE_PREFIXES = ("ext_", "ext.", "x_")

#: Private columns that are known by name, per table: what Imagine Learning's 1.0 arrangement asked for, and a column
#: that a widespread sample generator puts where it does not belong.
PRIVATE_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "classes": ("ext_imagineLearning_databaseId",),
    "enrollments": ("courseSourcedId",),
    "orgs": ("ext_imagineLearning_databaseId",),
    "users": (
        "ext_imagineLearning_databaseId",
        "ext_imagineLearning_ssoId",
        "ext_imagineLearning_studentPassword",
        "ext_imagineLearning_studentGrade",
        "ext_imagineLearning_Language",
    ),
}
