"""The 41 reading operations of OneRoster's rostering service, the same in 1.1 and 1.2 (1.1: tables of section 3; 1.2:
rostering REST binding, section 3.1): where each lies, what it answers, which scope opens it, which records it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from rosters.api.scopes import CORE, DEMOGRAPHICS, ROSTER, V1P1, V1P2
from rosters.serving import STATUS, ServedRoster

#: Where the operations of a version lie, below the address of a district.
STANDARDS: Final = {"1.1": "v1p1/", "1.2": "rostering/v1p2/"}

#: Ids of a path, by their names there: {"classSourcedId": "c-1"}.
Ids = Mapping[str, str]
#: Which records of the operation's own table are meant.
Which = Callable[[ServedRoster, str, Ids], pl.Expr]

_ID: Final = pl.col("sourcedId")


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of record: its table, and what its list is called in an answer (and one alone)."""

    one: str
    many: str

    @property
    def table(self) -> str:
        return self.many


ENTITIES: Final = {
    one: Entity(one, many)
    for one, many in {
        "academicSession": "academicSessions",
        "org": "orgs",
        "course": "courses",
        "class": "classes",
        "user": "users",
        "enrollment": "enrollments",
        "demographics": "demographics",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Operation:
    """`many`: a list, else the one record of which the last id of the path is. `parents`: tables of the other ids of
    the path, in its order; an id that is not there is a 404."""

    name: str
    path: str
    entity: Entity
    many: bool
    opened_by: str
    which: Which
    parents: tuple[str, ...] = ()

    def scopes(self, standard: str) -> tuple[str, ...]:
        """Any of these opens it. `roster.readonly` also opens what the core scope does: 1.2 says so, and clients of 1.1
        ask for that alone."""
        prefix = V1P1 if standard == "1.1" else V1P2
        names = {CORE: (CORE, ROSTER)}.get(self.opened_by, (self.opened_by,))
        return tuple(prefix + name for name in names)


# ---------------------------------------------------------------------------------------------------- which records


def everything(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
    return pl.lit(True)


def _of_type(*types: str) -> Which:
    return lambda roster, standard, ids: pl.col("type").is_in(types)


def _among(ids: pl.LazyFrame) -> pl.Expr:
    return _ID.is_in(ids.collect().to_series().unique().implode())


def _people(role: str) -> Which:
    """People of that role: of 1.1 by the one that it has, of 1.2 by any."""

    def which(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
        principal = pl.col("role") == role
        if standard == "1.1":
            return principal
        held = roster.living("roles").filter(pl.col("role") == role)
        return principal | _among(held.select("userSourcedId"))

    return which


def _people_at_school(role: str) -> Which:
    def which(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
        held = roster.living("roles").filter(pl.col("orgSourcedId") == ids["schoolSourcedId"], pl.col("role") == role)
        return _among(held.select("userSourcedId"))

    return which


def _enrolled(roster: ServedRoster, ids: Ids, role: str = "") -> pl.LazyFrame:
    """Living enrollments of the class, user or school of the path."""
    columns = {
        "classSourcedId": "classSourcedId",
        "schoolSourcedId": "schoolSourcedId",
        "userSourcedId": "userSourcedId",
        "studentSourcedId": "userSourcedId",
        "teacherSourcedId": "userSourcedId",
    }
    found = roster.living("enrollments").filter(pl.col(columns[name]) == value for name, value in ids.items())
    return found.filter(pl.col("role") == role) if role else found


def _people_in_class(role: str) -> Which:
    return lambda roster, standard, ids: _among(_enrolled(roster, ids, role).select("userSourcedId"))


def _classes_of(role: str = "") -> Which:
    return lambda roster, standard, ids: _among(_enrolled(roster, ids, role).select("classSourcedId"))


def _with(**columns: str) -> Which:
    """Records whose cell is the id of the path: ``_with(schoolSourcedId="schoolSourcedId")``."""

    def which(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
        return pl.all_horizontal(pl.col(column) == ids[name] for column, name in columns.items())

    return which


def _held_by(roster: ServedRoster, ids: Ids) -> pl.LazyFrame:
    return roster.living("classes").filter(pl.col("schoolSourcedId") == ids["schoolSourcedId"])


def _courses_of_school(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
    """Those that belong to it, and those of its classes: a district's catalogue often belongs to the district."""
    taught = _among(_held_by(roster, ids).select("courseSourcedId"))
    return (pl.col("orgSourcedId") == ids["schoolSourcedId"]) | taught


def _terms_of_school(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
    terms = _held_by(roster, ids).select(pl.col("termSourcedIds").str.split(",").explode(empty_as_null=False))
    return pl.col("type").is_in(_TERM) & _among(terms)


def _classes_of_term(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
    return pl.col("termSourcedIds").str.split(",").list.contains(ids["termSourcedId"])


def _periods_of_term(roster: ServedRoster, standard: str, ids: Ids) -> pl.Expr:
    return (pl.col("type") == "gradingPeriod") & (pl.col("parentSourcedId") == ids["termSourcedId"])


#: A semester is a term to everybody who asks for terms.
_TERM: Final = ("term", "semester")
_SCHOOLS, _TERMS, _PERIODS = _of_type("school"), _of_type(*_TERM), _of_type("gradingPeriod")

_STUDENTS, _TEACHERS = _people_in_class("student"), _people_in_class("teacher")
_AT_SCHOOL = _with(schoolSourcedId="schoolSourcedId")

#: Collection of the path, its words in names of operations (many, one), the record, which of them, the scope.
_CORE: Final = (
    ("academicSessions", "AcademicSessions", "AcademicSession", "academicSession", everything, CORE),
    ("classes", "Classes", "Class", "class", everything, CORE),
    ("courses", "Courses", "Course", "course", everything, CORE),
    ("gradingPeriods", "GradingPeriods", "GradingPeriod", "academicSession", _PERIODS, CORE),
    ("demographics", "Demographics", "Demographics", "demographics", everything, DEMOGRAPHICS),
    ("enrollments", "Enrollments", "Enrollment", "enrollment", everything, CORE),
    ("orgs", "Orgs", "Org", "org", everything, CORE),
    ("schools", "Schools", "School", "org", _SCHOOLS, CORE),
    ("students", "Students", "Student", "user", _people("student"), CORE),
    ("teachers", "Teachers", "Teacher", "user", _people("teacher"), CORE),
    ("terms", "Terms", "Term", "academicSession", _TERMS, CORE),
    ("users", "Users", "User", "user", everything, CORE),
)

_SCHOOL, _CLASS = "schools/<id:schoolSourcedId>/", "classes/<id:classSourcedId>/"
#: Operation, path, the record, which of them, tables of the ids of the path.
_NESTED: Final = (
    ("getCoursesForSchool", f"{_SCHOOL}courses", "course", _courses_of_school, ("orgs",)),
    (
        "getEnrollmentsForClassInSchool", f"{_SCHOOL}{_CLASS}enrollments", "enrollment",
        _with(schoolSourcedId="schoolSourcedId", classSourcedId="classSourcedId"), ("orgs", "classes"),
    ),
    ("getStudentsForClassInSchool", f"{_SCHOOL}{_CLASS}students", "user", _STUDENTS, ("orgs", "classes")),
    ("getTeachersForClassInSchool", f"{_SCHOOL}{_CLASS}teachers", "user", _TEACHERS, ("orgs", "classes")),
    ("getEnrollmentsForSchool", f"{_SCHOOL}enrollments", "enrollment", _AT_SCHOOL, ("orgs",)),
    ("getStudentsForSchool", f"{_SCHOOL}students", "user", _people_at_school("student"), ("orgs",)),
    ("getTeachersForSchool", f"{_SCHOOL}teachers", "user", _people_at_school("teacher"), ("orgs",)),
    ("getTermsForSchool", f"{_SCHOOL}terms", "academicSession", _terms_of_school, ("orgs",)),
    ("getClassesForSchool", f"{_SCHOOL}classes", "class", _AT_SCHOOL, ("orgs",)),
    ("getClassesForTerm", "terms/<id:termSourcedId>/classes", "class", _classes_of_term, ("academicSessions",)),
    (
        "getGradingPeriodsForTerm", "terms/<id:termSourcedId>/gradingPeriods", "academicSession", _periods_of_term,
        ("academicSessions",),
    ),
    (
        "getClassesForCourse", "courses/<id:courseSourcedId>/classes", "class",
        _with(courseSourcedId="courseSourcedId"), ("courses",),
    ),
    ("getClassesForStudent", "students/<id:studentSourcedId>/classes", "class", _classes_of("student"), ("users",)),
    ("getClassesForTeacher", "teachers/<id:teacherSourcedId>/classes", "class", _classes_of("teacher"), ("users",)),
    ("getClassesForUser", "users/<id:userSourcedId>/classes", "class", _classes_of(), ("users",)),
    ("getStudentsForClass", f"{_CLASS}students", "user", _STUDENTS, ("classes",)),
    ("getTeachersForClass", f"{_CLASS}teachers", "user", _TEACHERS, ("classes",)),
)  # fmt: skip


def _core() -> Iterable[Operation]:
    for path, many, one, entity, which, scope in _CORE:
        record = ENTITIES[entity]
        yield Operation(f"getAll{many}", path, record, True, scope, which)
        yield Operation(f"get{one}", f"{path}/<id:sourcedId>", record, False, scope, which)


OPERATIONS: Final = (
    *_core(),
    *(
        Operation(name, path, ENTITIES[entity], True, ROSTER, which, parents)
        for name, path, entity, which, parents in _NESTED
    ),
)


def parents_of(operation: Operation, ids: Ids) -> Iterable[tuple[str, str]]:
    """(table, id) of what the path leads through."""
    return zip(operation.parents, ids.values(), strict=True)


def exists(roster: ServedRoster, table: str, sourced_id: str) -> bool:
    return not roster.scan(table).filter(sourced_id == _ID).select(STATUS).collect().is_empty()
