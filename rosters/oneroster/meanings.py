"""What every column of a roster is for, in our own words, for the people at a district who have to fill it.

The facts (order, type, words, references) are in `v1p1` and `v1p2`; here stands only what a table cannot say. The
tables of the gradebook and of resources are not here, since no product reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MANIFEST: Final = "manifest"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column means; `example` where the example rows leave it empty."""

    words: str
    example: str = ""


#: What one row of each file stands for.
FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        MANIFEST: "The list of what is in the zip: one row for each file of the standard, and which version it is.",
        "academicSessions": "The calendar: one row for each school year, and for each semester, term or grading "
        "period in it.",
        "orgs": "The district and its schools: one row for each.",
        "courses": "The catalogue of what is taught: one row for each course, however many classes take it.",
        "classes": "The sections: one row for each group of students that meets, with its course, school and terms.",
        "users": "Students and staff, and parents if you send them: one row for each person.",
        "enrollments": "Who is in which class: one row for each person and class.",
        "demographics": "What is kept about a student for reports: at most one row for each person.",
        "roles": "What a person is at which school: one row for each person and school. It is new in OneRoster 1.2.",
        "userProfiles": "Logins of a person at other systems: one row for each. It is new in OneRoster 1.2.",
    }
)

_ID = (
    "The permanent key of this {} in your system. It may never change and never be given to another one: everything "
    "that we know hangs on it."
)
_STATUS = Meaning("Only in files of changes: whether the record is there or is to go. Empty in a full file.", "active")
_MODIFIED = Meaning(
    "Only in files of changes: when the record last changed, in UTC. Empty in a full file.", "2025-09-01T06:30:00.000Z"
)


def _head(record: str) -> dict[str, Meaning]:
    return {"sourcedId": Meaning(_ID.format(record)), "status": _STATUS, "dateLastModified": _MODIFIED}


def _race(words: str) -> Meaning:
    return Meaning(f"Whether the person counts themselves as {words}. Empty if nobody has said.", "false")


_CLASSIFIED = "Codes for the subjects, one for each subject and in the same order. SCED codes are best."

#: Table -> column -> what it means, over both versions. Of the manifest: property -> what its value means, with
#: "file." for every row that speaks of a file.
MEANINGS: Final[Mapping[str, Mapping[str, Meaning]]] = MappingProxyType(
    {
        MANIFEST: {
            "propertyName": Meaning("What the row is about: one of the names below, spelled just so.", "file.users"),
            "value": Meaning("What is said about it. No row has a third cell.", "bulk"),
            "manifest.version": Meaning("The version of the manifest itself. It is always 1.0, never 1."),
            "oneroster.version": Meaning("The version of OneRoster in which all files of this zip are written."),
            "file.": Meaning(
                "Whether this file is in the zip: absent if not, bulk if it holds everything, delta if it holds only "
                "what changed. Files that you never send have their row, too."
            ),
            "source.systemName": Meaning("The name of the system that made the export."),
            "source.systemCode": Meaning("A short code for the same system; you may choose it, but then keep it."),
        },
        "academicSessions": {
            **_head("year or term"),
            "title": Meaning("What people call it."),
            "type": Meaning(
                "How long it is: a school year holds semesters or terms, and these hold grading periods. Classes "
                "run in semesters, terms or grading periods."
            ),
            "startDate": Meaning("The first day of it."),
            "endDate": Meaning("The first day after it, so that one term may end on the day on which the next starts."),
            "parentSourcedId": Meaning("The longer session that this one is a part of. The school year has none."),
            "schoolYear": Meaning("The calendar year in which the school year ends, the same for all its terms."),
        },
        "orgs": {
            **_head("district or school"),
            "name": Meaning("The name as teachers and families know it."),
            "type": Meaning("What it is. Classes and enrollments may only point to a school."),
            "identifier": Meaning("A number that others know it by: for a school in the USA, its NCES number."),
            "parentSourcedId": Meaning("What it belongs to: the district of a school. The one at the top has none."),
        },
        "courses": {
            **_head("course"),
            "schoolYearSourcedId": Meaning("The school year in which the course is offered."),
            "title": Meaning("The name in the catalogue."),
            "courseCode": Meaning("The short code in the catalogue."),
            "grades": Meaning("The grades that the course is meant for, several of them with commas between."),
            "orgSourcedId": Meaning("Who offers the course: best the district, so that schools share one entry."),
            "subjects": Meaning("The subjects in words, several of them with commas between."),
            "subjectCodes": Meaning(_CLASSIFIED),
        },
        "classes": {
            **_head("class"),
            "title": Meaning("What teachers and students see as the name of the class. Make it easy to tell apart."),
            "grades": Meaning("The grades of the students in it, several of them with commas between."),
            "courseSourcedId": Meaning("The course that is taught."),
            "classCode": Meaning("A short code for the class, often the course code and a section number."),
            "classType": Meaning("homeroom for the group with which a student begins the day, scheduled for lessons."),
            "location": Meaning("Where it meets, such as a room."),
            "schoolSourcedId": Meaning("The school at which it meets: a row of type school."),
            "termSourcedIds": Meaning(
                "The terms in which it meets, several of them with commas between. Name terms, not the whole year."
            ),
            "subjects": Meaning("The subjects in words, several of them with commas between."),
            "subjectCodes": Meaning(_CLASSIFIED),
            "periods": Meaning("The periods of the day in which it meets, several of them with commas between."),
        },
        "users": {
            **_head("person"),
            "enabledUser": Meaning("Whether the person may use systems at present."),
            "orgSourcedIds": Meaning("The schools that the person belongs to, several of them with commas between."),
            "role": Meaning("What the person is at the district. Somebody with two roles has two rows."),
            "username": Meaning("The name with which the person signs in, as your sign-on system knows it."),
            "userIds": Meaning(
                "Ids of the same person in other systems, each in braces with its kind before it.", "{LDAP:aparker}"
            ),
            "givenName": Meaning("The first name."),
            "familyName": Meaning("The last name."),
            "middleName": Meaning("Further given names, with blanks between.", "Rose"),
            "identifier": Meaning("A number that people know the person by, such as the student or staff number."),
            "email": Meaning("The person's own address at school; never one that several people share."),
            "sms": Meaning("A number that takes text messages.", "+1 555 0100"),
            "phone": Meaning("A telephone number.", "+1 555 0101"),
            "agentSourcedIds": Meaning(
                "For a student, the people who answer for them; for a parent, the children. They need rows of "
                "their own in this file.",
                "P-4001",
            ),
            "grades": Meaning("The grade in which a student is at present. Leave it empty for staff."),
            "password": Meaning(
                "A first password, readable by everybody who holds the file. Best left empty: we drop it and never "
                "show it.",
                "(leave it empty)",
            ),
            "userMasterIdentifier": Meaning(
                "One identifier for the person over all systems of the district, if there is one.", "MF-2041"
            ),
            "preferredGivenName": Meaning("The first name that the person wants to be called by.", "Ana"),
            "preferredMiddleName": Meaning("The middle name that the person wants to be called by.", "Rose"),
            "preferredFamilyName": Meaning("The last name that the person wants to be called by.", "Parker"),
            "primaryOrgSourcedId": Meaning("The main school of somebody who belongs to several."),
            "pronouns": Meaning("The pronouns that the person uses.", "she/her"),
        },
        "enrollments": {
            **_head("enrollment"),
            "classSourcedId": Meaning("The class."),
            "schoolSourcedId": Meaning("The school of that class, the same as in its row."),
            "userSourcedId": Meaning("The person."),
            "role": Meaning("What the person is in this class, which has fewer words than the role of a user."),
            "primary": Meaning("true for the one teacher who answers for the class, false or empty for all others."),
            "beginDate": Meaning("The first day in the class, if it is not simply the first day of its terms."),
            "endDate": Meaning("The first day on which the person is no longer in the class."),
        },
        "demographics": {
            **_head("person"),
            "sourcedId": Meaning("The person: the same sourcedId as in users.csv."),
            "birthDate": Meaning("The day of birth."),
            "sex": Meaning("The sex on record, as a whole word."),
            "americanIndianOrAlaskaNative": _race("American Indian or Alaska Native"),
            "asian": _race("Asian"),
            "blackOrAfricanAmerican": _race("Black or African American"),
            "nativeHawaiianOrOtherPacificIslander": _race("Native Hawaiian or Other Pacific Islander"),
            "white": _race("White"),
            "demographicRaceTwoOrMoreRaces": Meaning("true only if at least two of the races before it are.", "false"),
            "hispanicOrLatinoEthnicity": _race("Hispanic or Latino, whatever the race"),
            "countryOfBirthCode": Meaning("The country of birth in two letters.", "US"),
            "stateOfBirthAbbreviation": Meaning("The state of birth in the two letters of the postal service.", "CO"),
            "cityOfBirth": Meaning("The city of birth.", "Denver"),
            "publicSchoolResidenceStatus": Meaning(
                "Where the student lives, seen from the school's area: a CEDS code of five digits.", "01652"
            ),
        },
        "roles": {
            **_head("role"),
            "userSourcedId": Meaning("The person."),
            "roleType": Meaning("primary for the main role at this school, of which there is one; else secondary."),
            "role": Meaning("What the person is there. There are more words for staff than in OneRoster 1.1."),
            "beginDate": Meaning("The first day in this role.", "2025-08-01"),
            "endDate": Meaning("The first day on which the person no longer has the role.", "2026-07-01"),
            "orgSourcedId": Meaning("The school or district at which the person has the role."),
            "userProfileSourcedId": Meaning("The login that the person uses in this role, a row of userProfiles.csv."),
        },
        "userProfiles": {
            **_head("login"),
            "userSourcedId": Meaning("The person whose login it is."),
            "profileType": Meaning("What kind of login it is; a word of your own."),
            "vendorId": Meaning("The company whose system it opens."),
            "applicationId": Meaning("Which system of that company, if there are several."),
            "description": Meaning("What else should be known about it."),
            "credentialType": Meaning("How one signs in, such as a name and password."),
            "username": Meaning("The name with which the person signs in there."),
            "password": Meaning(
                "The password there. Best left empty: we drop it and never show it.", "(leave it empty)"
            ),
        },
    }
)
