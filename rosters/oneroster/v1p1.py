"""OneRoster CSV 1.1: 13 tables. Source: OneRoster CSV Tables 1.1.1 (1EdTech, 2023-08-22)."""

from __future__ import annotations

from rosters.oneroster.spec import (
    ALWAYS,
    HEAD,
    MODE,
    PAIR,
    Column,
    Table,
    Version,
    day,
    flag,
    foreign_id,
    number,
    ref,
    refs,
    text,
    texts,
    word,
    words,
)
from rosters.oneroster.vocabularies import VOCABULARIES_1_1

#: What the row must be that a column points to.
SCHOOL = ("school",)
SCHOOL_YEAR = ("schoolYear",)
TERM = ("term", "semester", "gradingPeriod")

TABLES = (
    Table(
        "academicSessions", "rostering",
        (
            *HEAD,
            text("title", ALWAYS),
            word("type", "sessionType", ALWAYS),
            day("startDate", ALWAYS),
            day("endDate", ALWAYS),
            ref("parentSourcedId", "academicSessions"),
            Column("schoolYear", "year", ALWAYS),
        ),
    ),
    Table(
        "categories", "gradebook",
        (
            *HEAD,
            text("title", ALWAYS),
        ),
    ),
    Table(
        "classes", "rostering",
        (
            *HEAD,
            text("title", ALWAYS),
            texts("grades", vocabulary="grades_ceds"),
            ref("courseSourcedId", "courses", ALWAYS),
            text("classCode"),
            word("classType", "classType", ALWAYS),
            text("location"),
            ref("schoolSourcedId", "orgs", ALWAYS, types=SCHOOL),
            refs("termSourcedIds", "academicSessions", ALWAYS, types=TERM, strict=False),
            texts("subjects"),
            texts("subjectCodes"),
            texts("periods"),
        ),
        depends_on=("academicSessions", "courses", "orgs"),
    ),
    Table(
        "classResources", "resources",
        (
            *HEAD,
            text("title"),
            ref("classSourcedId", "classes", ALWAYS),
            ref("resourceSourcedId", "resources", ALWAYS),
        ),
        depends_on=("classes", "resources"),
    ),
    Table(
        "courses", "rostering",
        (
            *HEAD,
            ref("schoolYearSourcedId", "academicSessions", types=SCHOOL_YEAR),
            text("title", ALWAYS),
            text("courseCode"),
            texts("grades", vocabulary="grades_ceds"),
            ref("orgSourcedId", "orgs", ALWAYS),
            texts("subjects"),
            texts("subjectCodes"),
        ),
        depends_on=("orgs",),
        optionally_depends_on=("academicSessions",),
    ),
    Table(
        "courseResources", "resources",
        (
            *HEAD,
            text("title"),
            ref("courseSourcedId", "courses", ALWAYS),
            ref("resourceSourcedId", "resources", ALWAYS),
        ),
        depends_on=("courses", "resources"),
    ),
    Table(
        "demographics", "rostering",
        (
            Column("sourcedId", "guid", ALWAYS, refers_to="users"),
            *MODE,
            day("birthDate"),
            word("sex", "gender"),
            flag("americanIndianOrAlaskaNative"),
            flag("asian"),
            flag("blackOrAfricanAmerican"),
            flag("nativeHawaiianOrOtherPacificIslander"),
            flag("white"),
            flag("demographicRaceTwoOrMoreRaces"),
            flag("hispanicOrLatinoEthnicity"),
            text("countryOfBirthCode"),
            text("stateOfBirthAbbreviation"),
            text("cityOfBirth"),
            text("publicSchoolResidenceStatus"),
        ),
        depends_on=("users", "orgs"),
    ),
    Table(
        "enrollments", "rostering",
        (
            *HEAD,
            ref("classSourcedId", "classes", ALWAYS),
            ref("schoolSourcedId", "orgs", ALWAYS, types=SCHOOL),
            ref("userSourcedId", "users", ALWAYS),
            word("role", "enrollmentRole", ALWAYS),
            flag("primary"),
            day("beginDate"),
            day("endDate"),
        ),
        depends_on=("classes", "orgs", "users", "courses", "academicSessions"),
    ),
    Table(
        "lineItems", "gradebook",
        (
            *HEAD,
            text("title", ALWAYS),
            text("description"),
            day("assignDate", ALWAYS),
            day("dueDate", ALWAYS),
            ref("classSourcedId", "classes", ALWAYS),
            ref("categorySourcedId", "categories", ALWAYS),
            ref("gradingPeriodSourcedId", "academicSessions", ALWAYS, types=("gradingPeriod",), strict=False),
            number("resultValueMin", ALWAYS),
            number("resultValueMax", ALWAYS),
        ),
        depends_on=("classes", "categories", "academicSessions", "courses", "orgs"),
    ),
    Table(
        "orgs", "rostering",
        (
            *HEAD,
            text("name", ALWAYS),
            word("type", "orgType", ALWAYS),
            text("identifier"),
            ref("parentSourcedId", "orgs"),
        ),
    ),
    Table(
        "resources", "resources",
        (
            *HEAD,
            foreign_id("vendorResourceId", ALWAYS),
            text("title"),
            words("roles", "userRole"),
            word("importance", "importance"),
            foreign_id("vendorId"),
            foreign_id("applicationId"),
        ),
    ),
    Table(
        "results", "gradebook",
        (
            *HEAD,
            ref("lineItemSourcedId", "lineItems", ALWAYS),
            ref("studentSourcedId", "users", ALWAYS, roles=("student",)),
            word("scoreStatus", "scoreStatus", ALWAYS),
            number("score", ALWAYS),
            day("scoreDate", ALWAYS),
            text("comment"),
        ),
        depends_on=("lineItems", "users"),
    ),
    Table(
        "users", "rostering",
        (
            *HEAD,
            flag("enabledUser", ALWAYS),
            refs("orgSourcedIds", "orgs", ALWAYS),
            word("role", "userRole", ALWAYS),
            text("username", ALWAYS),
            texts("userIds", pattern=PAIR),
            text("givenName", ALWAYS),
            text("familyName", ALWAYS),
            text("middleName"),
            text("identifier"),
            text("email"),
            text("sms"),
            text("phone"),
            refs("agentSourcedIds", "users"),
            texts("grades", vocabulary="grades_ceds"),
            text("password"),
        ),
        depends_on=("orgs",),
    ),
)  # fmt: skip

V1P1 = Version(
    number="1.1",
    tables={table.name: table for table in TABLES},
    vocabularies=VOCABULARIES_1_1,
    core=("academicSessions", "classes", "courses", "enrollments", "orgs", "users"),
)
