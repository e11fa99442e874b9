"""Made-up districts of any size, for the demo, the tests and the bench: realistic, clean by every rule, the same again
for the same seed.

Tables are as a district would deliver them (every column of the version's header, text, "" for empty), by table name.
A district has elementary, middle and high schools, a homeroom and lessons in every grade, teachers and co-teachers, a
head for each school, some parents and guardians, and terms for the school year of the day that it is made for.
Nobody in it exists: names are drawn from lists, addresses end in example.org.
"""

from __future__ import annotations

import itertools
import random
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from rosters.exporting import manifest, write_table
from rosters.oneroster import VERSIONS
from rosters.oneroster.normal import NORMAL, REFERENCES

#: A district as it would be delivered: table name to frame.
Tables = dict[str, pl.DataFrame]
#: {"users": {"added": [sourcedId, ...], "updated": [...], "removed": [...]}, ...}; only tables that differ.
Differences = dict[str, dict[str, list[str]]]

SMALLEST = 40
CLASS_SIZE = 34
USERS_PER_SCHOOL = 670
GRADES = ("KG", *(f"{grade:02d}" for grade in range(1, 13)))
_FIRST_NUMBER = 1_000_000


# ------------------------------------------------------------------------------------------------- what it is made of


@dataclass(frozen=True, slots=True)
class _Level:
    """A kind of school: its grades, the sessions in which its classes run, and its subjects with the first of their
    five-digit SCED codes; the code of a later grade is so much higher."""

    name: str
    grades: tuple[str, ...]
    sessions: str
    subjects: tuple[tuple[str, int], ...]


_HOMEROOM = ("Homeroom", 0)
_ELEMENTARY = _Level(
    "Elementary",
    GRADES[:6],
    "semester",
    (
        ("Language Arts", 51030),
        ("Mathematics", 52030),
        ("Science", 53230),
        ("Social Studies", 54430),
        ("Visual Arts", 55180),
        ("Physical Education", 58030),
    ),
)
_MIDDLE = _Level(
    "Middle",
    GRADES[6:9],
    "gradingPeriod",
    (
        ("Language Arts", 51036),
        ("Mathematics", 52036),
        ("Science", 53236),
        ("Social Studies", 54436),
        ("Spanish", 56106),
        ("Visual Arts", 55186),
        ("Physical Education", 58036),
    ),
)
_HIGH = _Level(
    "High",
    GRADES[9:],
    "semester",
    (
        ("English", 1001),
        ("Mathematics", 2062),
        ("Science", 3201),
        ("History", 4101),
        ("Spanish", 6101),
        ("Visual Arts", 5154),
        ("Physical Education", 8001),
    ),
)
_LEVELS = (_ELEMENTARY, _MIDDLE, _HIGH)
_LEVEL_OF = {grade: level.name for level in _LEVELS for grade in level.grades}

_GIVEN = (
    "Aaliyah",
    "Ada",
    "Ahmed",
    "Alma",
    "Amelia",
    "Anh",
    "Ava",
    "Björn",
    "Caleb",
    "Chloé",
    "D'Andre",
    "Elena",
    "Elijah",
    "Emeka",
    "Émile",
    "Esme",
    "Fatima",
    "Grace",
    "Hana",
    "Hugo",
    "Imani",
    "Inès",
    "Isla",
    "Jamal",
    "José",
    "Kai",
    "Kenji",
    "Leilani",
    "Liam",
    "Lucía",
    "Malik",
    "María",
    "Mary-Kate",
    "Mateo",
    "Mia",
    "Naomi",
    "Noah",
    "Noémie",
    "Nuria",
    "Oliver",
    "Omar",
    "Owen",
    "Priya",
    "Quinn",
    "Renée",
    "Rosa",
    "Sana",
    "Siobhán",
    "Soren",
    "Talia",
    "Thiago",
    "Uma",
    "Viktor",
    "Wei",
    "Yara",
    "Zoë",
)
_FAMILY = (
    "Abara",
    "Aldersey",
    "Álvarez",
    "Ashgrove",
    "Bellweather",
    "Brightwater",
    "Castañeda",
    "Chen",
    "Clearfield",
    "D'Amico",
    "Dunmore",
    "El-Amin",
    "Elmsworth",
    "Fairbanks",
    "Ferreira",
    "Fernsby",
    "García",
    "Greenhalgh",
    "Harrow",
    "Hollander",
    "Ibáñez",
    "Ivarsson",
    "Jimenez-Cole",
    "Kaplan",
    "Kowalczyk",
    "Larkspur",
    "Lindqvist",
    "Marchetti",
    "McAllister",
    "Müller",
    "Nakamura",
    "Nguyễn",
    "Núñez",
    "O'Brien",
    "O'Neil",
    "Okafor",
    "Patel",
    "Peña",
    "Quimby",
    "Ramírez",
    "Rosewood",
    "Saint-Clair",
    "Sørensen",
    "St. John",
    "Tanaka",
    "Thistlewood",
    "Underhill",
    "Vang",
    "Van der Berg",
    "Villaseñor",
    "Whitlock",
    "Winterbourne",
    "Xiong",
    "Yazzie",
    "Zielinski",
)
_PLACES = (
    "Maple",
    "Cedar",
    "Willow",
    "Juniper",
    "Aspen",
    "Birch",
    "Copper",
    "Eagle",
    "Fox",
    "Granite",
    "Hawthorn",
    "Iron",
    "Jasper",
    "Kestrel",
    "Laurel",
    "Meadow",
    "Northern",
    "Orchard",
    "Pine",
    "Quarry",
    "River",
    "Silver",
    "Spruce",
    "Stone",
    "Sunset",
    "Timber",
    "Union",
    "Valley",
    "Walnut",
    "Winter",
)
_FEATURES = (
    "Hill",
    "Creek",
    "Grove",
    "Ridge",
    "Park",
    "Lake",
    "Point",
    "Heights",
    "Bend",
    "Falls",
    "Crossing",
    "Glen",
    "Springs",
    "Bluff",
    "Hollow",
    "Landing",
    "Prairie",
    "View",
    "Run",
    "Harbor",
)
_CITIES = ("Fairhaven", "Larkfield", "Millbrook", "Port Alder", "San Ysidro Vista", "Winslow Falls")
_STATES = ("AZ", "CA", "CO", "IL", "NM", "TX", "WA")
_RACES = (
    "americanIndianOrAlaskaNative",
    "asian",
    "blackOrAfricanAmerican",
    "nativeHawaiianOrOtherPacificIslander",
    "white",
)
#: What is marked for one person: places in `_RACES`.
_MARKS = ((4,), (4,), (2,), (1,), (0,), (3,), (4,), (1, 4), (2, 4))


class _Dice:
    """Chance that can be repeated. Every purpose has a stream of its own, so that one more draw here changes nothing
    there; the streams of two districts differ."""

    def __init__(self, *seeds: object) -> None:
        self._seed = "/".join(map(str, seeds))

    def _stream(self, purpose: str) -> random.Random:
        return random.Random(f"{self._seed}/{purpose}")

    def guids(self, purpose: str, count: int) -> pl.Series:
        """`count` ids in the form of a GUID."""
        text = self._stream(purpose).randbytes(16 * count).hex()
        digits = pl.Series("sourcedId", [text[at : at + 32] for at in range(0, len(text), 32)], dtype=pl.String)
        parts = [digits.str.slice(*part) for part in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
        return pl.select(pl.concat_str(map(pl.lit, parts), separator="-").alias("sourcedId")).to_series()

    def pick(self, purpose: str, values: Sequence[str], count: int) -> pl.Series:
        """`count` of the values, with repetition."""
        return pl.Series(purpose, self._stream(purpose).choices(values, k=count), dtype=pl.String)

    def number(self, purpose: str, below: int, count: int) -> pl.Series:
        """`count` numbers from 0."""
        return pl.Series(purpose, self._stream(purpose).choices(range(below), k=count), dtype=pl.Int64)

    def sample(self, purpose: str, frame: pl.DataFrame, count: int) -> pl.DataFrame:
        """`count` different rows, or all if there are fewer."""
        return frame[self._stream(purpose).sample(range(len(frame)), min(count, len(frame)))]


# -------------------------------------------------------------------------------------------------------- a district


def make_roster(
    *, users: int, seed: int, today: date, name: str = "Cedar Grove Schools", version: str = "1.1"
) -> Tables:
    """A whole district with exactly `users` people, in the school year of `today` (1 July to 30 June), about seven
    enrollments a person. Two districts of different seed or name share no id. ValueError below `SMALLEST` people."""
    if users < SMALLEST:
        raise ValueError(f"A district needs at least {SMALLEST} people.")
    dice = _Dice(seed, name)
    year = today.year + (today.month >= 7)
    orgs = _orgs(dice, name, schools=max(3, users // USERS_PER_SCHOOL))
    pupils, others = _people(dice, orgs, users)
    people = pl.concat([others, pupils])
    made = {"orgs": orgs, "users": people, "demographics": _demographics(dice, pupils, year)}
    return _as(version, made | _timetable(dice, orgs, people, year))


def _orgs(dice: _Dice, name: str, *, schools: int) -> pl.DataFrame:
    """The district and its schools, at least one of each level, with NCES-like numbers of 7 and 12 digits."""
    high, middle = max(1, schools * 2 // 13), max(1, schools * 3 // 13)
    levels = [_ELEMENTARY.name] * (schools - middle - high) + [_MIDDLE.name] * middle + [_HIGH.name] * high
    ids = dice.guids("orgs", schools + 1)
    number = 4_800_000 + dice.number("nces", 90_000, 1)[0]
    return pl.DataFrame(
        {
            "sourcedId": ids,
            "name": [name, *(f"{_place(place)} {level} School" for place, level in enumerate(levels))],
            "type": ["district"] + ["school"] * schools,
            "identifier": [f"{number}", *(f"{number}{school:05d}" for school in range(1, schools + 1))],
            "parentSourcedId": [""] + [ids[0]] * schools,
        }
    )


def _place(number: int) -> str:
    """A name of two words, different for each of the first 600 numbers; then they are numbered."""
    rounds, within = divmod(number, len(_PLACES) * len(_FEATURES))
    words = f"{_PLACES[within % len(_PLACES)]} {_FEATURES[(within + within // len(_PLACES)) % len(_FEATURES)]}"
    return f"{words} {rounds + 1}" if rounds else words


def _schools(orgs: pl.DataFrame) -> pl.DataFrame:
    """``school`` (sourcedId), ``level``, ``place``: its number among the schools of its level."""
    schools = orgs.filter(type="school").select(school="sourcedId", level=pl.col("name").str.extract(r"(\w+) School$"))
    return schools.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64).over("level"))


def _people(dice: _Dice, orgs: pl.DataFrame, count: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pupils, and everybody else: rows of users.csv of 1.1, `count` in all."""
    schools = _schools(orgs)
    staff = _staff(dice, orgs["sourcedId"], teachers=max(2 * len(schools), count * 6 // 100))
    contacts = max(2, count // 50)
    number = count - len(staff) - contacts
    turns = pl.int_range(number, eager=True)
    grades = pl.Series(GRADES).gather(turns % len(GRADES))
    pupils = _persons(
        dice, "student", _school_for(schools, grades, turns // len(GRADES)), grades=grades, first=len(staff)
    )
    pupils, parents = _with_contacts(dice, pupils, contacts, first=count - contacts)
    return pupils, pl.concat([staff, parents])


def _school_for(schools: pl.DataFrame, grades: pl.Series, turns: pl.Series) -> pl.Series:
    """The school of each pupil: one of the level of the grade; the schools of a level take turns."""
    many = schools.group_by("level").agg(many=pl.len())
    return (
        pl.DataFrame({"grade": grades, "turn": turns})
        .with_columns(level=pl.col("grade").replace_strict(_LEVEL_OF))
        .join(many, on="level", how="left", maintain_order="left")
        .with_columns(place=pl.col("turn") % pl.col("many"))
        .join(schools, on=["level", "place"], how="left", maintain_order="left")
    )["school"]


def _persons(
    dice: _Dice, role: str, orgs: pl.Series, *, grades: pl.Series | None = None, first: int = 0
) -> pl.DataFrame:
    """One person for each of `orgs`, with names and logins; `first` is the number of people made before."""
    count = len(orgs)
    number = pl.int_range(_FIRST_NUMBER + first, _FIRST_NUMBER + first + count, eager=True).cast(pl.String)
    return (
        pl.DataFrame(
            {
                "sourcedId": dice.guids(f"{role} ids", count),
                "orgSourcedIds": orgs,
                "givenName": dice.pick(f"{role} given", _GIVEN, count),
                "familyName": dice.pick(f"{role} family", _FAMILY, count),
                "middleName": dice.pick(f"{role} middle", ("", "", *_GIVEN), count),
                "identifier": number,
                "grades": pl.Series([""] * count, dtype=pl.String) if grades is None else grades,
            }
        )
        .with_columns(
            enabledUser=pl.lit("true"),
            role=pl.lit(role),
            phone=pl.lit(""),
            agentSourcedIds=pl.lit(""),
            username=_plain_letters("givenName").str.head(1) + _plain_letters("familyName") + pl.col("identifier"),
        )
        .with_columns(
            email=pl.col("username") + "@example.org",
            userIds=pl.concat_str(pl.lit("{LDAP:"), "username", pl.lit("}")),
        )
    )


def _plain_letters(column: str) -> pl.Expr:
    """A name of our lists in the letters a to z, as logins have it."""
    return pl.col(column).replace_strict({name: _without_accents(name) for name in (*_GIVEN, *_FAMILY)})


def _without_accents(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.lower().replace("ø", "o"))
    return "".join(letter for letter in letters if "a" <= letter <= "z")


def _staff(dice: _Dice, orgs: pl.Series, *, teachers: int) -> pl.DataFrame:
    """Teachers, the schools taking turns, and an administrator for the district and for each school. Every 25th teacher
    also belongs to the next one's school."""
    schools = orgs[1:]
    taught_at = schools.gather(pl.int_range(teachers, eager=True) % len(schools))
    staff = pl.concat([_persons(dice, "teacher", taught_at), _persons(dice, "administrator", orgs, first=teachers)])
    second = pl.col("orgSourcedIds").shift(-1)
    shared = (pl.col("role") == "teacher") & (pl.int_range(pl.len()) % 25 == 7) & (second != pl.col("orgSourcedIds"))
    both = pl.concat_str("orgSourcedIds", second, separator=",")
    return staff.with_columns(orgSourcedIds=pl.when(shared).then(both).otherwise("orgSourcedIds"), phone=_telephone())


def _telephone() -> pl.Expr:
    """A number that is kept for fiction."""
    return "555-01" + pl.col("identifier").str.tail(2)


def _with_contacts(dice: _Dice, pupils: pl.DataFrame, count: int, *, first: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pupils, some of them now naming a parent and a guardian, and those `count` contacts themselves."""
    families = (count + 1) // 2
    children = pupils.gather_every(len(pupils) // families).head(families)
    children = pl.concat([children, children]).head(count)
    contacts = _persons(dice, "parent", children["orgSourcedIds"], first=first).with_columns(
        familyName=children["familyName"],
        role=pl.when(pl.int_range(pl.len()) < families).then(pl.lit("parent")).otherwise(pl.lit("guardian")),
        phone=_telephone(),
    )
    named = pl.DataFrame({"sourcedId": children["sourcedId"], "agents": contacts["sourcedId"]})
    agents = named.group_by("sourcedId", maintain_order=True).agg(pl.col("agents").str.join(","))
    pupils = pupils.join(agents, on="sourcedId", how="left", maintain_order="left")
    return pupils.with_columns(agentSourcedIds=pl.col("agents").fill_null("")).drop("agents"), contacts


def _demographics(dice: _Dice, pupils: pl.DataFrame, year: int) -> pl.DataFrame:
    """Birth dates that fit the grades of the school year that ends in `year`, and the rest by chance."""
    count = len(pupils)
    marks = pl.DataFrame(
        [
            {race: at in marked for at, race in enumerate(_RACES)} | {"demographicRaceTwoOrMoreRaces": len(marked) > 1}
            for marked in _MARKS
        ]
    )
    september = pl.col("grades").replace_strict({grade: year - 7 - older for older, grade in enumerate(GRADES)})
    return (
        pupils.select("sourcedId", "grades")
        .with_columns(
            dice.number("birthdays", 365, count),
            *marks[dice.number("races", len(_MARKS), count)],
            hispanicOrLatinoEthnicity=dice.number("ethnicity", 4, count) == 0,
            sex=dice.pick("sex", ("female", "male"), count),
            countryOfBirthCode=pl.lit("US"),
            stateOfBirthAbbreviation=dice.pick("state", _STATES, count),
            cityOfBirth=dice.pick("city", _CITIES, count),
        )
        .with_columns(
            pl.selectors.boolean().cast(pl.String),
            birthDate=(pl.date(september, 9, 1) + pl.duration(days="birthdays")).dt.to_string("%Y-%m-%d"),
        )
    )


# ---------------------------------------------------------------------------------------------------- a school year


def _timetable(dice: _Dice, orgs: pl.DataFrame, people: pl.DataFrame, year: int) -> Tables:
    """Sessions, courses, classes and enrollments of the school year that ends in `year`: every pupil has a homeroom and
    one class of each subject of their grade, in changing company."""
    sessions = _sessions(dice, year)
    lessons = _lessons(orgs["sourcedId"][0])
    places = _places(people.filter(role="student"), lessons)
    classes = _classes(dice, places, lessons, sessions, year)
    enrollments = pl.concat([_taught(classes, people), _attended(classes, places)])
    return {
        "academicSessions": sessions,
        "courses": _courses(lessons, classes, district=orgs["sourcedId"][0], school_year=sessions["sourcedId"][0]),
        "classes": classes,
        "enrollments": enrollments.sort("classSourcedId", maintain_order=True).with_columns(
            dice.guids(f"enrollments {year}", len(enrollments)),
            beginDate=pl.lit(sessions["startDate"][0]),
            endDate=pl.lit(sessions["endDate"][0]),
        ),
    }


def _sessions(dice: _Dice, year: int) -> pl.DataFrame:
    """A school year, its two semesters and their four quarters, without a gap. An endDate is the day after."""
    dates = (f"{year - 1}-07-01", f"{year - 1}-10-15", f"{year}-01-10", f"{year}-03-25", f"{year}-07-01")
    whole, *parts = dice.guids(f"sessions {year}", 7)
    rows = [(whole, f"{year - 1}-{year}", "schoolYear", dates[0], dates[4], "")]
    for number, semester in enumerate(parts[:2]):
        begin, end = dates[2 * number], dates[2 * number + 2]
        rows.append((semester, f"Semester {number + 1}", "semester", begin, end, whole))
    for number, quarter in enumerate(parts[2:]):
        begin, end = dates[number], dates[number + 1]
        rows.append((quarter, f"Quarter {number + 1}", "gradingPeriod", begin, end, parts[number // 2]))
    columns = ["sourcedId", "title", "type", "startDate", "endDate", "parentSourcedId"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(schoolYear=pl.lit(f"{year}"))


def _lessons(district: str) -> pl.DataFrame:
    """What is taught in each grade: one row for each lesson, lesson 0 being the homeroom. The ids of courses depend on
    the district alone, so that a course lives on from year to year."""
    rows = [
        (level.name, grade, lesson, subject, f"{code + years:05d}" if code else "")
        for level in _LEVELS
        for years, grade in enumerate(level.grades)
        for lesson, (subject, code) in enumerate((_HOMEROOM, *level.subjects))
    ]
    lessons = pl.DataFrame(rows, schema=["level", "grades", "lesson", "subject", "subjectCodes"], orient="row")
    is_homeroom = pl.col("lesson") == 0
    return lessons.with_columns(
        _Dice(district).guids("courses", len(lessons)).alias("courseSourcedId"),
        course=pl.concat_str("subject", pl.col("grades").replace("KG", "K").str.strip_prefix("0"), separator=" "),
        courseCode=pl.concat_str(pl.col("subject").str.head(4).str.to_uppercase(), "grades", separator="-"),
        subjects=pl.when(is_homeroom).then(pl.lit("")).otherwise("subject"),
        classType=pl.when(is_homeroom).then(pl.lit("homeroom")).otherwise(pl.lit("scheduled")),
    )


def _places(pupils: pl.DataFrame, lessons: pl.DataFrame) -> pl.DataFrame:
    """Which pupil sits in which section of which lesson: ``user``, ``school``, ``grades``, ``lesson``, ``section``.

    The pupils of a grade are dealt out to its sections one after the other; after each round the dealer moves on by the
    number of the lesson. So sections differ by one pupil at most, and company changes from lesson to lesson.
    """
    of_grade = ["school", "grades"]
    pupil, sections = pl.col("pupil"), pl.col("sections")
    return (
        pupils.select("grades", user="sourcedId", school=_first_org())
        .with_columns(
            pupil=pl.int_range(pl.len(), dtype=pl.Int64).over(of_grade),
            sections=(pl.len().cast(pl.Int64).over(of_grade) + CLASS_SIZE - 1) // CLASS_SIZE,
        )
        .join(lessons.select("grades", "lesson"), on="grades", maintain_order="left")
        .with_columns(section=(pupil + pl.col("lesson") * (pupil // sections)) % sections + 1)
    )


def _first_org() -> pl.Expr:
    return pl.col("orgSourcedIds").str.split(",").list.first()


def _classes(
    dice: _Dice, places: pl.DataFrame, lessons: pl.DataFrame, sessions: pl.DataFrame, year: int
) -> pl.DataFrame:
    """One class for each section that has a pupil, in the order in which teachers take them: in elementary schools by
    grade and section, elsewhere by subject. Beside the columns of classes.csv: ``lesson``, ``section``."""
    terms = {level.name: ",".join(sessions.filter(type=level.sessions)["sourcedId"]) for level in _LEVELS}
    subject_first = pl.when(level=_ELEMENTARY.name).then(0).otherwise("lesson")
    section = pl.col("section").cast(pl.String)
    classes = (
        places.select("grades", "lesson", "section", schoolSourcedId="school")
        .unique()
        .join(lessons, on=["grades", "lesson"])
        .sort("schoolSourcedId", subject_first, "grades", "section", "lesson")
    )
    return classes.with_columns(
        dice.guids(f"classes {year}", len(classes)),
        title=pl.concat_str("course", section, separator=" - Section "),
        classCode=pl.concat_str("courseCode", section, separator="-"),
        location="Room " + (101 + pl.int_range(pl.len()).over("schoolSourcedId") % 90).cast(pl.String),
        termSourcedIds=pl.col("level").replace_strict(terms),
        periods=pl.col("lesson").cast(pl.String),
    )


def _courses(lessons: pl.DataFrame, classes: pl.DataFrame, *, district: str, school_year: str) -> pl.DataFrame:
    """The lessons that are really held, as courses of the district."""
    held = lessons.join(classes, on="courseSourcedId", how="semi", maintain_order="left")
    return held.with_columns(
        sourcedId="courseSourcedId",
        title="course",
        orgSourcedId=pl.lit(district),
        schoolYearSourcedId=pl.lit(school_year),
    )


def _taught(classes: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Enrollments of teachers: the classes of a school, in order, are shared out evenly; every twelfth has a second
    teacher who is not primary."""
    school = "schoolSourcedId"
    teachers = (
        people.filter(role="teacher")
        .select(
            _first_org().alias(school),
            userSourcedId="sourcedId",
        )
        .with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64).over(school))
    )
    turn, staff = pl.col("turn"), pl.col("staff")
    shared = (
        classes.select(school, classSourcedId="sourcedId")
        .join(teachers.group_by(school).agg(staff=pl.len().cast(pl.Int64)), on=school, maintain_order="left")
        .with_columns(turn=pl.int_range(pl.len(), dtype=pl.Int64).over(school))
        .with_columns(number=turn * staff // pl.len().over(school), primary=pl.lit("true"))
    )
    second = shared.filter(turn % 12 == 5, staff > 1).with_columns(
        number=(pl.col("number") + 1) % staff, primary=pl.lit("false")
    )
    both = pl.concat([shared, second]).join(teachers, on=[school, "number"], maintain_order="left")
    return both.select("classSourcedId", school, "userSourcedId", "primary", role=pl.lit("teacher"))


def _attended(classes: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Enrollments of pupils."""
    of_class = ["schoolSourcedId", "grades", "lesson", "section"]
    found = places.rename({"school": "schoolSourcedId", "user": "userSourcedId"}).join(
        classes.select(*of_class, classSourcedId="sourcedId"), on=of_class, maintain_order="left"
    )
    return found.select(
        "classSourcedId", "schoolSourcedId", "userSourcedId", primary=pl.lit("false"), role=pl.lit("student")
    )


# ------------------------------------------------------------------------------------------------------ another day


def next_day(tables: Tables, *, change: float, seed: int) -> tuple[Tables, Differences]:
    """The same district a day later, about `change` of its rows different, and what is.

    Pupils leave, come (into the classes of another) and change their name; some move to the next section of a course,
    some leave a class early; rooms change. Every class keeps its first pupil, so none is left empty.
    """
    before = _as_1_1(tables)
    dice = _Dice(before["orgs"]["sourcedId"][0], "day", seed)
    leaving, renamed, copied = _chosen(dice, before, change)
    after = _without_people(_with_newcomers(dice, before, copied), leaving)
    after["users"] = _renamed(dice, after["users"], renamed)
    after["enrollments"] = _moved(dice, after, change / 6)
    after["classes"] = _with_other_rooms(dice, after["classes"], change)
    return _and_differences(tables, after)


def _chosen(dice: _Dice, tables: Tables, change: float) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Three equal, separate samples of pupils whom no class and no family needs."""
    kept = tables["enrollments"].filter(role="student").unique("classSourcedId", keep="first")
    pupils = tables["users"].filter(role="student", agentSourcedIds="")
    free = pupils.join(kept, left_on="sourcedId", right_on="userSourcedId", how="anti", maintain_order="left")
    sample = dice.sample("pupils", free, 3 * max(1, round(change * len(tables["users"]) / 3)))
    third = len(sample) // 3
    return sample[:third], sample[third : 2 * third], sample[2 * third : 3 * third]


def _without_people(tables: Tables, people: pl.DataFrame) -> Tables:
    """The tables without these people and all that hangs on them."""
    keys = {"users": "sourcedId", "demographics": "sourcedId", "enrollments": "userSourcedId"}
    return tables | {
        table: tables[table].join(people, left_on=key, right_on="sourcedId", how="anti", maintain_order="left")
        for table, key in keys.items()
    }


def _with_newcomers(dice: _Dice, tables: Tables, models: pl.DataFrame) -> Tables:
    """A new pupil for each of `models`, of the same school and grade, in the same classes."""
    newcomers = _persons(dice, "student", models["orgSourcedIds"], grades=models["grades"], first=_numbers_used(tables))
    ids = pl.DataFrame({"model": models["sourcedId"], "newcomer": newcomers["sourcedId"]})
    described = tables["demographics"].join(ids, left_on="sourcedId", right_on="model", maintain_order="left")
    attended = tables["enrollments"].join(ids, left_on="userSourcedId", right_on="model", maintain_order="left")
    attended = attended.with_columns(dice.guids("arrivals", len(attended)), userSourcedId="newcomer")
    return tables | {
        "users": _below(tables["users"], newcomers),
        "demographics": _below(tables["demographics"], described.with_columns(sourcedId="newcomer")),
        "enrollments": _below(tables["enrollments"], attended),
    }


def _numbers_used(tables: Tables) -> int:
    """How many numbers have been given to people; a number is never given twice."""
    return 1 + max(map(int, tables["users"]["identifier"])) - _FIRST_NUMBER


def _below(frame: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """`more` rows at the end; columns that they lack are empty."""
    return pl.concat([frame, _with_columns(more, frame.columns)])


def _renamed(dice: _Dice, users: pl.DataFrame, who: pl.DataFrame) -> pl.DataFrame:
    """A hyphenated family name, and another address."""
    names = who.select("sourcedId").with_columns(dice.pick("name", _FAMILY, len(who)))
    renamed = pl.col("name").is_not_null()
    return (
        users.join(names, on="sourcedId", how="left", maintain_order="left")
        .with_columns(
            familyName=pl.when(renamed)
            .then(pl.concat_str("familyName", "name", separator="-"))
            .otherwise("familyName"),
            email=pl.when(renamed).then("x." + pl.col("email")).otherwise("email"),
        )
        .drop("name")
    )


def _moved(dice: _Dice, tables: Tables, share: float) -> pl.DataFrame:
    """Enrollments, a `share` of them moved to the next section of the course (another record then), and as many ended
    with the first semester."""
    enrollments, sessions = tables["enrollments"], tables["academicSessions"]
    of_course = ["schoolSourcedId", "courseSourcedId"]
    following = tables["classes"].select(classSourcedId="sourcedId", next=pl.col("sourcedId").shift(-1).over(of_course))
    pupils = enrollments.filter(role="student")
    movable = pupils.join(
        pupils.unique("classSourcedId", keep="first"), on="sourcedId", how="anti", maintain_order="left"
    )
    count = max(1, round(share * len(enrollments)))
    chosen = dice.sample("moves", movable, 2 * count)
    leaving = chosen[:count].join(following, on="classSourcedId", maintain_order="left").drop_nulls("next")
    arriving = leaving.with_columns(dice.guids("moves", len(leaving)), classSourcedId="next")
    ended = pl.col("sourcedId").is_in(chosen[count:]["sourcedId"].implode())
    end = sessions.filter(title="Semester 1")["endDate"][0]
    staying = enrollments.join(leaving, on="sourcedId", how="anti", maintain_order="left").with_columns(
        endDate=pl.when(ended).then(pl.lit(end)).otherwise("endDate")
    )
    return _below(staying, arriving)


def _with_other_rooms(dice: _Dice, classes: pl.DataFrame, share: float) -> pl.DataFrame:
    moving = dice.sample("rooms", classes, max(1, round(share * len(classes))))
    chosen = pl.col("sourcedId").is_in(moving["sourcedId"].implode())
    return classes.with_columns(location=pl.when(chosen).then(pl.col("location") + "B").otherwise("location"))


def rollover(tables: Tables, *, seed: int) -> tuple[Tables, Differences]:
    """The same district in the next school year, and the differences: pupils are a grade higher, those of the last
    grade have left with their contacts, as many start in kindergarten; sessions, classes and enrollments are new."""
    before = _as_1_1(tables)
    orgs, users = before["orgs"], before["users"]
    dice = _Dice(orgs["sourcedId"][0], "year", seed)
    year = int(before["academicSessions"]["schoolYear"][0]) + 1
    schools = _schools(orgs)
    graduates = users.filter(role="student", grades=GRADES[-1])
    beginners = pl.Series([GRADES[0]] * len(graduates), dtype=pl.String)
    at = _school_for(schools, beginners, pl.int_range(len(graduates), eager=True))
    newcomers = _persons(dice, "student", at, grades=beginners, first=_numbers_used(before))
    after = _without_people(before, graduates)
    after["users"] = _below(_with_contacts_of_pupils(_promoted(after["users"], schools)), newcomers)
    after["demographics"] = _below(after["demographics"], _demographics(dice, newcomers, year))
    return _and_differences(tables, after | _timetable(dice, orgs, after["users"], year))


def _promoted(users: pl.DataFrame, schools: pl.DataFrame) -> pl.DataFrame:
    """Pupils a grade higher; those who outgrow their school all go on to the same one."""
    is_pupil = pl.col("role") == "student"
    higher = pl.col("grades").replace(dict(itertools.pairwise(GRADES)))
    known = users.with_columns(grades=pl.when(is_pupil).then(higher).otherwise("grades"), school=_first_org()).join(
        schools, on="school", how="left", maintain_order="left"
    )
    onward = _school_for(schools, known["grades"].replace("", GRADES[0]), known["place"].fill_null(0))
    outgrown = is_pupil & (pl.col("level") != pl.col("grades").replace(_LEVEL_OF))
    moved = known.with_columns(orgSourcedIds=pl.when(outgrown).then(onward).otherwise("orgSourcedIds"))
    return moved.select(users.columns)


def _with_contacts_of_pupils(users: pl.DataFrame) -> pl.DataFrame:
    """Parents and guardians follow their child to its school, and leave with it."""
    children = users.filter(pl.col("agentSourcedIds") != "")
    schools = children.select(sourcedId=pl.col("agentSourcedIds").str.split(","), school="orgSourcedIds")
    schools = schools.explode("sourcedId").unique("sourcedId", keep="first")
    return (
        users.join(schools, on="sourcedId", how="left", maintain_order="left")
        .filter(~pl.col("role").is_in(["parent", "guardian"]) | pl.col("school").is_not_null())
        .with_columns(orgSourcedIds=pl.coalesce("school", "orgSourcedIds"))
        .drop("school")
    )


def without_school(tables: Tables, index: int) -> Tables:
    """The delivery with one school forgotten: the org, its people, their demographics, its classes and enrollments.
    `index` counts the schools in the order of orgs.csv."""
    known = _as_1_1(tables)
    school = known["orgs"].filter(type="school")["sourcedId"][index]
    others = pl.col("orgSourcedIds").str.split(",").list.set_difference([school]).list.join(",")
    users = known["users"].with_columns(orgSourcedIds=others)
    left = _without_people(known | {"users": users}, users.filter(orgSourcedIds=""))
    elsewhere = pl.col("schoolSourcedId") != school
    left["orgs"] = left["orgs"].filter(pl.col("sourcedId") != school)
    left["classes"] = left["classes"].filter(elsewhere)
    left["enrollments"] = left["enrollments"].filter(elsewhere)
    return _like(tables, left)


def _other_id(sourced_id: pl.Expr) -> pl.Expr:
    """The id that another SIS gives: nothing of the one before can be seen in it."""
    return pl.lit("N-") + sourced_id.str.replace_all(r"[^0-9a-zA-Z]", "").str.reverse()


def under_other_ids(
    tables: Tables, *, of: Collection[str] = tuple(NORMAL), make: Callable[[pl.Expr], pl.Expr] = _other_id
) -> Tables:
    """The same district from another SIS: the ids `of` these tables are made anew, wherever a cell names one."""
    return {table: frame.with_columns(_renamed_ids(table, frame.columns, of, make)) for table, frame in tables.items()}


def _renamed_ids(
    table: str, columns: Iterable[str], of: Collection[str], make: Callable[[pl.Expr], pl.Expr]
) -> Iterator[pl.Expr]:
    own = REFERENCES[table].get("sourcedId", table)
    item = pl.when(pl.element() != "").then(make(pl.element())).otherwise(pl.element())
    for name in columns:
        if (own if name == "sourcedId" else _NAMED.get(name)) in of:
            yield pl.col(name).str.split(",").list.eval(item).list.join(",").alias(name)


#: Column, of whatever table, to the table whose records it names.
_NAMED: Final = {
    column.name: column.refers_to
    for version in VERSIONS.values()
    for table in version.tables.values()
    for column in table.columns
    if column.refers_to and column.name != "sourcedId"
}


def differences(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> Differences:
    """Which records differ between two deliveries of the same shape, by sourcedId."""
    found: Differences = {}
    for table, old in before.items():
        new = after[table]
        kinds = {
            "added": new.join(old, on="sourcedId", how="anti"),
            "updated": new.join(old, on="sourcedId", how="semi").join(old, on=old.columns, how="anti"),
            "removed": old.join(new, on="sourcedId", how="anti"),
        }
        if any(map(len, kinds.values())):
            found[table] = {kind: sorted(rows["sourcedId"]) for kind, rows in kinds.items()}
    return found


def _and_differences(before: Tables, after: Tables) -> tuple[Tables, Differences]:
    delivered = _like(before, after)
    return delivered, differences(before, delivered)


# --------------------------------------------------------------------------------------------------------- versions


def _as(version: str, tables: Tables) -> Tables:
    """Our tables in the shape of a version: its columns, in its order."""
    if version == "1.2":
        users = tables["users"].with_columns(primaryOrgSourcedId=_first_org())
        tables = tables | {"users": users, "roles": _roles(tables)}
    standard = VERSIONS[version].tables
    return {name: _with_columns(tables[name], table.header) for name, table in standard.items() if name in tables}


def _with_columns(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Exactly these columns; those that `frame` lacks are empty."""
    return frame.select(pl.col(name) if name in frame.columns else pl.lit("").alias(name) for name in columns)


_HEAD_OF_SCHOOL, _HEAD_OF_DISTRICT = "principal", "districtAdministrator"


def _roles(tables: Tables) -> pl.DataFrame:
    """roles.csv of 1.2 from the role and the orgs of each person in 1.1; the first org is the primary one."""
    district = tables["orgs"]["sourcedId"][0]
    orgs = pl.col("orgSourcedIds").str.split(",")
    head = pl.when(orgSourcedId=district).then(pl.lit(_HEAD_OF_DISTRICT)).otherwise(pl.lit(_HEAD_OF_SCHOOL))
    number = pl.int_range(pl.len()).over("userSourcedId")
    return (
        tables["users"]
        .select("role", userSourcedId="sourcedId", orgSourcedId=orgs)
        .explode("orgSourcedId")
        .with_columns(
            sourcedId=pl.concat_str("userSourcedId", number.cast(pl.String), separator="-"),
            roleType=pl.when(number == 0).then(pl.lit("primary")).otherwise(pl.lit("secondary")),
            role=pl.when(role="administrator").then(head).otherwise("role"),
        )
    )


def _as_1_1(tables: Tables) -> Tables:
    """The tables of either version with roles.csv folded into users, as 1.1 has it; `_like` undoes it."""
    if "roles" not in tables:
        return dict(tables)
    heads = dict.fromkeys((_HEAD_OF_SCHOOL, _HEAD_OF_DISTRICT), "administrator")
    roles = (
        tables["roles"]
        .group_by("userSourcedId", maintain_order=True)
        .agg(pl.col("role").first().replace(heads), orgSourcedIds=pl.col("orgSourcedId").str.join(","))
    )
    users = tables["users"].join(
        roles, left_on="sourcedId", right_on="userSourcedId", how="left", maintain_order="left"
    )
    return {name: frame for name, frame in tables.items() if name != "roles"} | {"users": users}


def _like(tables: Tables, changed: Tables) -> Tables:
    """`changed` in the version of `tables`."""
    return _as("1.2" if "roles" in tables else "1.1", changed)


# ------------------------------------------------------------------------------------------------------------ files


def write_zip(
    to: Path | BinaryIO,
    tables: Mapping[str, pl.DataFrame],
    *,
    version: str = "1.1",
    system: tuple[str, str] = ("Made-up SIS", "made-up"),
) -> None:
    """A delivery as a zip: these tables in full, the others absent, as the manifest says. The same tables give the same
    bytes. `system`: name and code of what the manifest calls its maker."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        write_table(archive, "manifest.csv", manifest(tables, version, system).lazy())
        for name, frame in tables.items():
            write_table(archive, f"{name}.csv", frame.lazy())
