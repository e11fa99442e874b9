"""The word lists of OneRoster, per version, and what real exports write instead of them.

Source: OneRoster CSV Tables 1.1.1 and OneRoster CSV Binding 1.2.1; grades: CEDS "Entry Grade Level", version 5.
"""

from __future__ import annotations

from typing import Final

from rosters.oneroster.spec import Vocabulary

CEDS_GRADES = (
    "IT", "PR", "PK", "TK", "KG", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "PS",
    "UG", "Other",
)  # fmt: skip

_GRADE_WORDS = {
    "IT": ("Infant", "Infant/Toddler"),
    "PR": ("Preschool", "Pre-School", "Nursery", "-2"),
    "PK": ("P", "P3", "P4", "PK3", "PK4", "PreK", "Pre-K", "PreKindergarten", "Pre-Kindergarten", "-1"),
    "TK": ("T", "TK4", "Transitional Kindergarten"),
    "KG": ("K", "KK", "KN", "KDG", "Kinder", "Kindergarten", "0", "00"),
    "PS": ("Postsecondary", "Post-Secondary"),
    "UG": ("U", "Ungraded"),
}
_ORDINALS = ("1st", "2nd", "3rd", *(f"{number}th" for number in range(4, 14)))


def _grade_variants() -> dict[str, str]:
    words = {word: code for code, several in _GRADE_WORDS.items() for word in several}
    for number, ordinal in enumerate(_ORDINALS, start=1):
        written = (str(number), ordinal, f"{ordinal} Grade", f"Grade {number}", f"G{number}")
        words.update(dict.fromkeys(written, f"{number:02d}"))
    spelled = {case(word): code for word, code in words.items() for case in (str, str.lower, str.upper, str.title)}
    folded = {case(code): code for code in CEDS_GRADES for case in (str.lower, str.upper, str.title)}
    return {variant: code for variant, code in {**folded, **spelled}.items() if variant not in CEDS_GRADES}


#: What exports write for a grade -> the CEDS code it most likely means. Proposed to a person, never applied unasked: a
#: "-1" is PK in one district and TK in the next. A range such as "9-12" means no single grade and has no proposal.
GRADE_VARIANTS: dict[str, str] = _grade_variants()

#: The same for true and false.
BOOLEAN_VARIANTS: dict[str, str] = {
    case(word): meant
    for meant, words in {"true": ("1", "y", "yes", "t"), "false": ("0", "n", "no", "f")}.items()
    for word in words
    for case in (str, str.upper, str.title)
}

#: demographics.csv, 1.1: the tables name the CEDS option sets without printing them. Countries are two capital letters
#: (ISO 3166-1), states those of the postal service; the residence status is told by five codes of CEDS.
CEDS_COUNTRY = r"^[A-Z]{2}$"
CEDS_STATES = (
    "AA", "AE", "AK", "AL", "AP", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "FM", "GA", "GU", "HI",
    "IA", "ID", "IL", "IN", "KS", "KY", "LA", "MA", "MD", "ME", "MH", "MI", "MN", "MO", "MP", "MS", "MT", "NC",
    "ND", "NE", "NH", "NJ", "NM", "NV", "NY", "OH", "OK", "OR", "PA", "PR", "PW", "RI", "SC", "SD", "TN", "TX",
    "UT", "VA", "VI", "VT", "WA", "WI", "WV", "WY",
)  # fmt: skip

CEDS_RESIDENCES = ("01652", "01653", "01654", "01655", "01656")

#: A word of one's own in 1.2. The text only asks for the prefix; these characters are what conformant readers take.
EXTENSION = r"^ext:[A-Za-z0-9._-]+$"

#: orgs.csv: who may stand above whom, from the top; a department fits anywhere below the first.
ORG_LEVELS = ("national", "state", "local", "district", "school")

#: academicSessions.csv: what may hold what, from the longest; sessions of one rank do not hold each other.
SESSION_LEVELS = {"schoolYear": 0, "semester": 1, "term": 1, "gradingPeriod": 2}

EXTENSION_PREFIX = "ext:"

#: Words of 1.2 that 1.1 has no word for, and what comes nearest without saying too much; words of one's own stay.
ROLES_1_1: Final = {
    "counselor": "aide",
    "districtAdministrator": "administrator",
    "principal": "administrator",
    "siteAdministrator": "administrator",
    "systemAdministrator": "administrator",
}
#: The one word of 1.1 that 1.2 has not.
ROLES_1_2: Final = {"administrator": "siteAdministrator"}

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
