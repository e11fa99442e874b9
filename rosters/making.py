"""Made-up districts of any size, clean by every rule, the same for the same seed; and what may happen to them overnight.

Frames come in the shape of OneRoster 1.1 files. Everything is drawn by hashing row numbers with the seed, so a district of
a million people takes seconds and no generator's state is carried around.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from rosters.oneroster import VERSIONS, manifest_properties

Tables = dict[str, pl.DataFrame]

GIVEN = (
    "Olivia", "Liam", "Emma", "Noah", "Amelia", "Oliver", "Sophia", "Elijah", "José", "Zoë", "Renée", "Mateo", "Lucas", "Mia",
    "Ava", "Isabella", "Muhammad", "Aaliyah", "Björn", "Siobhán", "D'Andre", "Mary-Kate", "Anh", "Wei", "Priya", "Omar",
    "Fatima", "Kenji", "Noémie", "Ana", "Luis", "Grace", "Henry", "Chloe", "Jack", "Leah", "Owen", "Ruby", "Samuel", "Tara",
)  # fmt: skip
FAMILY = (
    "Smith", "Johnson", "Williams", "Brown", "Jones", "García", "Rodríguez", "Martínez", "Hernández", "López", "Wilson",
    "Anderson", "Thomas", "Taylor", "Moore", "Jackson", "Martin", "Lee", "Pérez", "Thompson", "White", "Harris", "Sánchez",
    "Clark", "Ramírez", "Lewis", "Robinson", "O'Neil", "Nguyễn", "Núñez", "Walker", "Young", "Allen", "King", "Wright",
)  # fmt: skip
PLACES = (
    "Cedar", "Lincoln", "Maple", "Riverside", "Franklin", "Oak Hill", "Jefferson", "Lakeview", "Summit", "Willow", "Harbor",
    "Prairie", "Sunrise", "Birch", "Valley", "Granite", "Meadow", "Orchard", "Pioneer", "Stone Creek",
)  # fmt: skip
_LEVELS = (
    ("Elementary", ("KG", "01", "02", "03", "04", "05")), ("Middle", ("06", "07", "08")), ("High", ("09", "10", "11", "12")),
)  # fmt: skip
GRADES = tuple(grade for _, grades in _LEVELS for grade in grades)
_SUBJECTS = (("Mathematics", "02051"), ("English", "01028"), ("Science", "03236"), ("History", "04432"), ("Art", "05154"), ("Music", "05118"))
_STUDENTS_A_CLASS = 24


@dataclass(frozen=True, slots=True)
class _Year:
    """The school year that a day belongs to: August to June."""

    first: int

    @property
    def start(self) -> str:
        return f"{self.first}-08-10"

    @property
    def end(self) -> str:
        return f"{self.first + 1}-06-12"


def _year(today: date) -> _Year:
    return _Year(today.year if today.month >= 7 else today.year - 1)


def _draw(seed: int, salt: str, number: int) -> pl.Expr:
    """A number from 0 to `number` - 1 for each row, from its row number ``i`` and the seed."""
    return pl.concat_str(pl.lit(f"{seed}:{salt}:"), pl.col("i").cast(pl.String)).hash(seed).mod(pl.lit(number, pl.UInt64)).cast(pl.Int64)


def _guid(seed: int, salt: str) -> pl.Expr:
    """A 36-character id for each row."""
    text = pl.concat_str(pl.lit(f"{seed}:{salt}:"), pl.col("i").cast(pl.String))
    digits = pl.concat_str(
        text.hash(seed + 1).cast(pl.String).str.zfill(20), text.hash(seed + 2).cast(pl.String).str.zfill(20)
    )
    return pl.concat_str(
        digits.str.slice(0, 8), digits.str.slice(8, 4), digits.str.slice(12, 4), digits.str.slice(16, 4),
        digits.str.slice(20, 12), separator="-",
    )  # fmt: skip


def _pick(words: tuple[str, ...], index: pl.Expr) -> pl.Expr:
    return pl.lit(pl.Series(words)).gather(index)


def make_roster(*, users: int, seed: int, today: date, name: str = "Cedar Grove", enrollments_each: int = 7) -> Tables:
    """A district of about `users` people: 1.1 files as frames with the standard's columns. At least 60 people."""
    users = max(users, 60)
    year = _year(today)
    students = int(users * 0.92)
    teachers = max(int(users * 0.065), 4)
    others = users - students - teachers
    schools = max(students // 650, 3)
    tables: Tables = {
        "orgs": _orgs(seed, schools, name), "academicSessions": _sessions(year),
        "courses": _courses(year),
    }  # fmt: skip
    pupils, staff = _people(seed, students, teachers, others, schools)
    tables["users"] = _users(pl.concat([staff, pupils]))
    tables["demographics"] = _demographics(seed, pupils, today)
    classes, enrollments = _teaching(seed, pupils, staff, year, enrollments_each)
    tables["classes"], tables["enrollments"] = classes, enrollments
    tables["courses"] = tables["courses"].with_columns(orgSourcedId=pl.lit(tables["orgs"]["sourcedId"][0]))
    return {table: _in_order(table, frame) for table, frame in tables.items()}


def _in_order(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Every column of the standard, in its order."""
    header = VERSIONS["1.1"].tables[table].header
    return frame.select(pl.col(c).cast(pl.String) if c in frame.columns else pl.lit("").alias(c) for c in header)


def _school_id(seed: int, index: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit(f"S{seed % 1000:03d}-"), index.cast(pl.String).str.zfill(4))


def _orgs(seed: int, schools: int, name: str) -> pl.DataFrame:
    district = f"D{seed % 1000:03d}"
    i = pl.DataFrame({"i": range(schools)})
    rows = i.select(
        sourcedId=_school_id(seed, pl.col("i")),
        name=pl.concat_str(
            _pick(PLACES, pl.col("i") % len(PLACES)), pl.lit(" "), _pick(tuple(level for level, _ in _LEVELS), pl.col("i") % 3),
            pl.when(pl.col("i") >= len(PLACES) * 3).then(pl.concat_str(pl.lit(" "), (pl.col("i") // (len(PLACES) * 3) + 1).cast(pl.String))).otherwise(pl.lit("")),
        ),
        type=pl.lit("school"), identifier=pl.concat_str(pl.lit(f"{seed % 90 + 10}"), (pl.col("i") + 1).cast(pl.String).str.zfill(10)),
        parentSourcedId=pl.lit(district),
    )  # fmt: skip
    top = pl.DataFrame({"sourcedId": [district], "name": [f"{name} Schools"], "type": ["district"], "identifier": [f"{seed % 90 + 10:02d}00000"], "parentSourcedId": [""]})
    return pl.concat([top, rows])


def _sessions(year: _Year) -> pl.DataFrame:
    y, n = year.first, year.first + 1
    rows = [
        (f"SY{n}", f"{y}-{n}", "schoolYear", year.start, year.end, "", n), (f"SEM1-{n}", "First semester", "semester", year.start, f"{n}-01-01", f"SY{n}", n),
        (f"SEM2-{n}", "Second semester", "semester", f"{n}-01-01", year.end, f"SY{n}", n),
    ]  # fmt: skip
    names = ("sourcedId", "title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear")
    return pl.DataFrame(rows, schema=names, orient="row")


def _courses(year: _Year) -> pl.DataFrame:
    n = year.first + 1
    rows = [
        (f"CRS-{subject[:3].upper()}-{grade}", f"SY{n}", f"{subject} {grade}", f"{subject[:3].upper()}{grade}", grade, subject, code)
        for subject, code in _SUBJECTS for grade in GRADES
    ]  # fmt: skip
    names = ("sourcedId", "schoolYearSourcedId", "title", "courseCode", "grades", "subjects", "subjectCodes")
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(orgSourcedId=pl.lit(""))


def _people(seed: int, students: int, teachers: int, others: int, schools: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(students, staff): i, sourcedId, role, school index, org, grade, names and numbers."""
    pupils = pl.DataFrame({"i": range(students)}).with_columns(s=_draw(seed, "school", schools), role=pl.lit("student"))
    staff = pl.DataFrame({"i": range(students, students + teachers + others)}).with_columns(
        s=(pl.col("i") - students) % schools,
        role=pl.when(pl.col("i") < students + teachers).then(pl.lit("teacher")).otherwise(pl.lit("administrator")),
    )
    level = pl.col("s") % 3
    offset = pl.when(level == 0).then(0).when(level == 1).then(6).otherwise(9)
    width = pl.when(level == 0).then(6).when(level == 1).then(3).otherwise(4)
    place = (offset + _draw(seed, "grade", 1200) % width).cast(pl.Int64)
    pupils = pupils.with_columns(grade=_pick(GRADES, place), g=place)
    staff = staff.with_columns(grade=pl.lit(""), g=pl.lit(-1, pl.Int64))
    both = pl.concat([pupils.with_columns(pl.col("s").cast(pl.Int64)), staff.with_columns(pl.col("s").cast(pl.Int64))]).with_columns(
        sourcedId=_guid(seed, "user"), org=_school_id(seed, pl.col("s")), givenName=_pick(GIVEN, _draw(seed, "given", len(GIVEN))),
        familyName=_pick(FAMILY, _draw(seed, "family", len(FAMILY))), number=(pl.col("i") + 1_000_000).cast(pl.String),
    )  # fmt: skip
    return both.filter(pl.col("role") == "student"), both.filter(pl.col("role") != "student")


def _users(people: pl.DataFrame) -> pl.DataFrame:
    plain = pl.concat_str(pl.col("role").str.head(1), pl.col("number"))
    return people.select(
        "sourcedId", "role", "givenName", "familyName", enabledUser=pl.lit("true"), orgSourcedIds="org", username=plain,
        userIds=pl.concat_str(pl.lit("{LDAP:"), plain, pl.lit("}")), identifier="number",
        email=pl.concat_str(plain, pl.lit("@district.example.org")), grades="grade",
    )  # fmt: skip


def _demographics(seed: int, pupils: pl.DataFrame, today: date) -> pl.DataFrame:
    birth_year = (_year(today).first - 5 - pl.col("g")).cast(pl.String)
    month = (_draw(seed, "month", 12) + 1).cast(pl.String).str.zfill(2)
    day = (_draw(seed, "day", 28) + 1).cast(pl.String).str.zfill(2)
    race = _draw(seed, "race", 5)
    names = ("americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican", "nativeHawaiianOrOtherPacificIslander", "white")
    yes_no = {n: pl.when(race == k).then(pl.lit("true")).otherwise(pl.lit("false")) for k, n in enumerate(names)}
    return pupils.select(
        "sourcedId", birthDate=pl.concat_str(birth_year, month, day, separator="-"),
        sex=_pick(("female", "male"), _draw(seed, "sex", 2)), **yes_no, demographicRaceTwoOrMoreRaces=pl.lit("false"),
        hispanicOrLatinoEthnicity=_pick(("false", "true"), _draw(seed, "hispanic", 2)), countryOfBirthCode=pl.lit("US"),
        stateOfBirthAbbreviation=pl.lit("TX"), cityOfBirth=pl.lit("Austin"),
    )  # fmt: skip


def _teaching(seed: int, pupils: pl.DataFrame, staff: pl.DataFrame, year: _Year, each: int, tag: str = "") -> tuple[pl.DataFrame, pl.DataFrame]:
    """Classes and enrollments: every student takes `each` subjects with others of the same school and grade."""
    n = year.first + 1
    seats = pupils.with_columns(place=pl.int_range(pl.len()).over("s", "g"), size=pl.len().over("s", "g")).with_columns(
        section=pl.col("place") // _STUDENTS_A_CLASS
    ).select("sourcedId", "s", "g", "grade", "org", "section", "i").join(pl.DataFrame({"k": range(each)}), how="cross")  # fmt: skip
    seats = seats.with_columns(subject=pl.col("k") % len(_SUBJECTS))
    keys = ["s", "g", "section", "k"]
    classes = seats.group_by(keys, maintain_order=True).agg(pl.col("grade").first(), pl.col("org").first(), pl.col("subject").first())
    classes = classes.with_row_index("c").with_columns(pl.col("c").cast(pl.Int64).alias("i")).with_columns(classId=_guid(seed, f"class{tag}"))
    subject = _pick(tuple(s for s, _ in _SUBJECTS), pl.col("subject"))
    code = pl.concat_str(subject.str.head(3).str.to_uppercase(), pl.lit("-"), "grade")
    made = classes.select(
        sourcedId="classId",
        title=pl.concat_str(subject, pl.lit(" "), "grade", pl.lit(" "), (pl.col("section") + 1).cast(pl.String), pl.lit("-"), (pl.col("k") + 1).cast(pl.String)),
        grades="grade", courseSourcedId=pl.concat_str(pl.lit("CRS-"), code), classCode=pl.concat_str(code, pl.lit("-"), pl.col("c").cast(pl.String)),
        classType=pl.when(pl.col("k") == 0).then(pl.lit("homeroom")).otherwise(pl.lit("scheduled")),
        location=pl.concat_str(pl.lit("Room "), (pl.col("c") % 300 + 1).cast(pl.String)), schoolSourcedId="org",
        termSourcedIds=pl.lit(f"SEM1-{n},SEM2-{n}"), subjects=subject, subjectCodes=_pick(tuple(c for _, c in _SUBJECTS), pl.col("subject")),
        periods=(pl.col("k") + 1).cast(pl.String),
    )  # fmt: skip
    learning = seats.join(classes.select(*keys, "classId"), on=keys, how="inner", maintain_order="left").select(
        classSourcedId="classId", schoolSourcedId="org", userSourcedId="sourcedId", role=pl.lit("student"), primary=pl.lit("false")
    )
    teachers = staff.filter(pl.col("role") == "teacher").select("s", teacher="sourcedId", t=pl.int_range(pl.len()).over("s"), many=pl.len().over("s"))
    sizes = teachers.group_by("s").agg(pl.col("many").first())
    taught = classes.join(sizes, on="s", how="inner", maintain_order="left").with_columns(t=(pl.col("c").cast(pl.Int64) % pl.col("many")))
    teaching = taught.join(teachers.select("s", "t", "teacher"), on=["s", "t"], how="inner", maintain_order="left").select(
        classSourcedId="classId", schoolSourcedId="org", userSourcedId="teacher", role=pl.lit("teacher"), primary=pl.lit("true")
    )
    enrollments = pl.concat([teaching, learning]).with_row_index("i").with_columns(pl.col("i").cast(pl.Int64)).select(
        sourcedId=_guid(seed, f"enrollment{tag}"), classSourcedId="classSourcedId", schoolSourcedId="schoolSourcedId",
        userSourcedId="userSourcedId", role="role", primary="primary", beginDate=pl.lit(year.start), endDate=pl.lit(year.end),
    )  # fmt: skip
    return made, enrollments


# ------------------------------------------------------------------------------------------------------- what happens overnight


def next_day(tables: Tables, *, change: float, seed: int) -> tuple[Tables, dict[str, dict[str, list[str]]]]:
    """The district a day later: about `change` of its records are new, changed or gone. Returns also what exactly:
    {table: {"added": ids, "updated": ids, "removed": ids}}."""
    users, enrollments, classes = tables["users"], tables["enrollments"], tables["classes"]
    part = max(int(change / 3 * len(users)), 1)
    students = users.filter(pl.col("role") == "student")
    order = students.with_row_index("i").with_columns(pl.col("i").cast(pl.Int64)).with_columns(d=_draw(seed, "day", 2**40)).sort("d")
    leaving = order["sourcedId"].head(part)
    renamed = order["sourcedId"].slice(part, part)
    models = order.slice(2 * part, part).drop("d")
    coming = models.with_columns(
        sourcedId=_guid(seed, "newcomer"), username=pl.concat_str(pl.lit(f"n{seed}x"), pl.col("i").cast(pl.String)),
        identifier=pl.concat_str(pl.lit(f"9{seed}"), pl.col("i").cast(pl.String)),
    ).with_columns(email=pl.concat_str("username", pl.lit("@district.example.org")), userIds=pl.concat_str(pl.lit("{LDAP:"), "username", pl.lit("}")))  # fmt: skip
    pairs = pl.DataFrame({"old": models["sourcedId"], "new": coming["sourcedId"]})
    new_users = pl.concat([
        users.filter(~pl.col("sourcedId").is_in(leaving.implode())).with_columns(
            familyName=pl.when(pl.col("sourcedId").is_in(renamed.implode())).then(pl.concat_str("familyName", pl.lit("-Lee"))).otherwise(pl.col("familyName"))
        ), coming.select(users.columns),
    ])  # fmt: skip
    demographics = tables["demographics"]
    added_demographics = demographics.join(pairs, left_on="sourcedId", right_on="old", how="inner").with_columns(sourcedId=pl.col("new")).select(demographics.columns)
    new_demographics = pl.concat([demographics.filter(~pl.col("sourcedId").is_in(leaving.implode())), added_demographics])
    staying = enrollments.filter(~pl.col("userSourcedId").is_in(leaving.implode()))
    dropped = staying.filter(pl.col("role") == "student").with_row_index("i").with_columns(pl.col("i").cast(pl.Int64)).with_columns(d=_draw(seed, "drop", 2**40)).sort("d")
    share = max(int(change / 3 * len(enrollments)) - len(enrollments) + len(staying), 1)
    lost = dropped["sourcedId"].head(share)
    moved = dropped["sourcedId"].slice(share, share)
    end = enrollments["endDate"][0]
    earlier = f"{end[:5]}01-15"
    added_enrollments = enrollments.join(pairs, left_on="userSourcedId", right_on="old", how="inner").with_row_index("i").with_columns(
        pl.col("i").cast(pl.Int64)
    ).with_columns(sourcedId=_guid(seed, "arrival"), userSourcedId=pl.col("new")).select(enrollments.columns)  # fmt: skip
    new_enrollments = pl.concat([
        staying.filter(~pl.col("sourcedId").is_in(lost.implode())).with_columns(
            endDate=pl.when(pl.col("sourcedId").is_in(moved.implode())).then(pl.lit(earlier)).otherwise(pl.col("endDate"))
        ), added_enrollments,
    ])  # fmt: skip
    rooms = classes["sourcedId"].head(max(int(change * len(classes)), 1))
    new_classes = classes.with_columns(location=pl.when(pl.col("sourcedId").is_in(rooms.implode())).then(pl.lit("Gym")).otherwise(pl.col("location")))
    after = {**tables, "users": new_users, "demographics": new_demographics, "enrollments": new_enrollments, "classes": new_classes}
    gone = enrollments.join(new_enrollments.select("sourcedId"), on="sourcedId", how="anti")["sourcedId"]
    lists = {
        "users": (coming["sourcedId"], renamed, leaving),
        "demographics": (added_demographics["sourcedId"], [], demographics.filter(pl.col("sourcedId").is_in(leaving.implode()))["sourcedId"]),
        "enrollments": (added_enrollments["sourcedId"], moved, gone), "classes": ([], rooms, []),
    }  # fmt: skip
    return after, {t: dict(zip(("added", "updated", "removed"), map(list, kinds), strict=True)) for t, kinds in lists.items()}


def rollover(tables: Tables, *, seed: int, today: date) -> Tables:
    """The year after: grades rise, the oldest leave, all classes and enrollments are new, and so are the terms."""
    following = _Year(_year(today).first + 1)
    up = dict(zip(GRADES, (*GRADES[1:], ""), strict=True))
    users = tables["users"].filter((pl.col("role") != "student") | (pl.col("grades") != GRADES[-1]))
    users = users.with_columns(grades=pl.when(pl.col("role") == "student").then(pl.col("grades").replace(up)).otherwise(pl.col("grades")))
    place = {s: i for i, s in enumerate(tables["orgs"].filter(pl.col("type") == "school")["sourcedId"])}
    numbered = users.with_row_index("i").with_columns(
        pl.col("i").cast(pl.Int64), s=pl.col("orgSourcedIds").replace_strict(place, default=0, return_dtype=pl.Int64),
        g=pl.col("grades").replace_strict({g: i for i, g in enumerate(GRADES)}, default=-1, return_dtype=pl.Int64), org=pl.col("orgSourcedIds"), grade=pl.col("grades"),
    )  # fmt: skip
    pupils, staff = numbered.filter(pl.col("role") == "student"), numbered.filter(pl.col("role") != "student")
    each = max(round(len(tables["enrollments"].filter(pl.col("role") == "student")) / max(len(pupils), 1)), 1)
    classes, enrollments = _teaching(seed, pupils, staff, following, min(each, 7), tag=f"-{following.first}")
    district = tables["orgs"].filter(pl.col("type") == "district")["sourcedId"][0]
    made = {
        **tables, "users": users, "academicSessions": _sessions(following), "classes": classes, "enrollments": enrollments,
        "courses": _courses(following).with_columns(orgSourcedId=pl.lit(district)),
        "demographics": tables["demographics"].join(users.select("sourcedId"), on="sourcedId", how="semi"),
    }  # fmt: skip
    return {table: _in_order(table, frame) for table, frame in made.items()}


def without_school(tables: Tables, index: int) -> Tables:
    """The district as an export would send it that forgot one school, with everybody and everything of it."""
    school = tables["orgs"].filter(pl.col("type") == "school")["sourcedId"][index]
    users = tables["users"].filter(pl.col("orgSourcedIds") != school)
    classes = tables["classes"].filter(pl.col("schoolSourcedId") != school)
    return {
        **tables, "orgs": tables["orgs"].filter(pl.col("sourcedId") != school), "users": users, "classes": classes,
        "demographics": tables["demographics"].join(users.select("sourcedId"), on="sourcedId", how="semi"),
        "enrollments": tables["enrollments"].filter(pl.col("schoolSourcedId") != school),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- as files


def as_1_2(tables: Tables) -> Tables:
    """The same district in the files of OneRoster 1.2: users without role and orgs, which become roles.csv."""
    users = tables["users"]
    orgs = users.select("sourcedId", "role", org=pl.col("orgSourcedIds").str.split(",").list.first())
    roles = orgs.select(
        sourcedId=pl.concat_str(pl.lit("R-"), "sourcedId"), userSourcedId="sourcedId", roleType=pl.lit("primary"),
        role=pl.col("role").replace({"administrator": "siteAdministrator"}), orgSourcedId="org",
    )  # fmt: skip
    made = {**tables, "users": users.with_columns(primaryOrgSourcedId=orgs["org"]), "roles": roles}
    standard = VERSIONS["1.2"].tables
    return {
        t: f.select(pl.col(c) if c in f.columns else pl.lit("").alias(c) for c in standard[t].header) for t, f in made.items()
    }


def write_zip(path: Path, tables: Tables, *, version: str = "1.1", modes: dict[str, str] | None = None, level: int = 6) -> None:
    """Write frames as a OneRoster zip with its manifest; tables that are not there are declared absent."""
    modes = modes or {}
    lines = ["propertyName,value"]
    for name in manifest_properties(VERSIONS[version]):
        table = name.removeprefix("file.")
        known: dict[str, Any] = {
            "manifest.version": "1.0", "oneroster.version": version, "source.systemName": "Made-up SIS", "source.systemCode": "MADE-UP",
        }  # fmt: skip
        value = known.get(name) or (modes.get(table, "bulk") if table in tables else "absent")
        lines.append(f"{name},{value}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr("manifest.csv", "\r\n".join(lines) + "\r\n")
        for table, frame in tables.items():
            buffer = io.BytesIO()
            frame.write_csv(buffer, line_terminator="\r\n", quote_style="necessary")
            archive.writestr(f"{table}.csv", buffer.getvalue().replace(b',""', b","))
