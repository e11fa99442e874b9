"""The word lists of OneRoster, per version, and what real exports write instead of them.

Source: OneRoster CSV Tables 1.1.1 and OneRoster CSV Binding 1.2.1; grades: CEDS "Entry Grade Level", version 5.
"""

from __future__ import annotations

from rosters.oneroster.spec import Vocabulary

CEDS_GRADES = (
    "IT", "PR", "PK", "TK", "KG", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "PS",
    "UG", "Other",
)  # fmt: skip

#: What exports write for a grade -> the CEDS code it most likely means. Proposed to a person, never applied unasked.
GRADE_VARIANTS: dict[str, str] = {
    "K": "KG", "KK": "KG", "0": "KG", "00": "KG", "Kindergarten": "KG", "KDG": "KG", "KN": "KG",
    "-1": "PK", "PreK": "PK", "Pre-K": "PK", "PREK": "PK", "P": "PK", "P3": "PK", "P4": "PK", "PK3": "PK", "PK4": "PK",
    "-2": "PR", "T": "TK", "TK4": "TK", **{str(n): f"{n:02d}" for n in range(1, 10)},
    **{f"{n}{'st' if n == 1 else 'nd' if n == 2 else 'rd' if n == 3 else 'th'}": f"{n:02d}" for n in range(1, 13)},
    **{f"Grade {n}": f"{n:02d}" for n in range(1, 13)}, "Ungraded": "UG", "other": "Other", "OTHER": "Other",
}  # fmt: skip

EXTENSION_PREFIX = "ext:"

_STATUS = Vocabulary("status", ("active", "tobedeleted"), legacy={"inactive": "tobedeleted"})
_SESSION_TYPE = ("gradingPeriod", "semester", "schoolYear", "term")
_CLASS_TYPE = ("homeroom", "scheduled")
_ORG_TYPE = ("department", "school", "district", "local", "state", "national")
_ENROLLMENT_ROLE = ("administrator", "proctor", "student", "teacher")
_USER_ROLE = ("administrator", "aide", "guardian", "parent", "proctor", "relative", "student", "teacher")
_SCORE_STATUS = ("exempt", "fully graded", "not submitted", "partially graded", "submitted")
_IMPORTANCE = Vocabulary("importance", ("primary", "secondary"))


def _by_name(*vocabularies: Vocabulary) -> dict[str, Vocabulary]:
    return {vocabulary.name: vocabulary for vocabulary in vocabularies}


VOCABULARIES_1_1 = _by_name(
    _STATUS,
    Vocabulary("boolean", ("true", "false")),
    Vocabulary("sessionType", _SESSION_TYPE),
    Vocabulary("classType", _CLASS_TYPE),
    Vocabulary("orgType", _ORG_TYPE),
    Vocabulary("enrollmentRole", _ENROLLMENT_ROLE),
    Vocabulary("gender", ("male", "female")),
    _IMPORTANCE,
    Vocabulary("scoreStatus", _SCORE_STATUS),
    Vocabulary("userRole", _USER_ROLE),
    Vocabulary("grades_ceds", CEDS_GRADES),
)

VOCABULARIES_1_2 = _by_name(
    _STATUS,
    Vocabulary("boolean", ("true", "false")),
    Vocabulary("sessionType", _SESSION_TYPE, extensible=True),
    Vocabulary("classType", _CLASS_TYPE, extensible=True),
    Vocabulary("orgType", _ORG_TYPE, extensible=True),
    Vocabulary("enrollmentRole", _ENROLLMENT_ROLE, extensible=True),
    Vocabulary("gender", ("male", "female", "unspecified", "other"), extensible=True),
    _IMPORTANCE,
    Vocabulary("scoreStatus", _SCORE_STATUS, extensible=True),
    Vocabulary("userRole", _USER_ROLE, extensible=True),
    Vocabulary("grades_ceds", CEDS_GRADES),
    Vocabulary(
        "role",
        (
            "aide", "counselor", "districtAdministrator", "guardian", "parent", "principal", "proctor", "relative",
            "siteAdministrator", "student", "systemAdministrator", "teacher",
        ),
        extensible=True,
    ),
    Vocabulary("roleType", ("primary", "secondary")),
    Vocabulary("learningObjectiveSource", ("case", "unknown"), extensible=True),
)  # fmt: skip
