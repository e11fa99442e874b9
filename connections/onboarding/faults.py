"""Which rules speak of a column, so that its page can say what goes wrong there.

Words and references are known to the check itself; the rest is listed here, and only rules that the check looks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rosters.oneroster import Column, Rule
from rosters.oneroster.products import Product
from rosters.oneroster.rules import RULES
from rosters.validating.cells import OF_VOCABULARY
from rosters.validating.references import of_reference

#: What else may be wrong with a column, beside what its type, words and references allow; the likeliest first.
_OF_COLUMN = {
    ("academicSessions", "startDate"): ("OR-CSV-204", "OR-CSV-268", "OR-CSV-119"),
    ("academicSessions", "endDate"): ("OR-CSV-116", "OR-CSV-119"),
    ("academicSessions", "parentSourcedId"): ("OR-CSV-203", "OR-CSV-205"),
    ("academicSessions", "schoolYear"): ("OR-CSV-206",),
    ("orgs", "type"): ("OR-CSV-202",),
    ("orgs", "identifier"): ("OR-CSV-266",),
    ("orgs", "parentSourcedId"): ("OR-CSV-202", "OR-CSV-201", "OR-CSV-200"),
    ("courses", "schoolYearSourcedId"): ("OR-CSV-207",),
    ("courses", "title"): ("OR-CSV-262",),
    ("courses", "subjectCodes"): ("OR-CSV-212", "OR-CSV-213", "OR-CSV-145"),
    ("classes", "sourcedId"): ("OR-CSV-222", "OR-CSV-272"),
    ("classes", "courseSourcedId"): ("OR-CSV-211",),
    ("classes", "schoolSourcedId"): ("OR-CSV-208",),
    ("classes", "termSourcedIds"): ("OR-CSV-210", "OR-CSV-209"),
    ("classes", "subjectCodes"): ("OR-CSV-212", "OR-CSV-213", "OR-CSV-145"),
    ("users", "sourcedId"): ("OR-CSV-227",),
    ("users", "enabledUser"): ("OR-CSV-234",),
    ("users", "orgSourcedIds"): ("OR-CSV-223", "OR-CSV-269"),
    ("users", "username"): ("OR-CSV-225", "OR-CSV-270"),
    ("users", "userIds"): ("OR-CSV-112",),
    ("users", "identifier"): ("OR-CSV-226",),
    ("users", "email"): ("OR-CSV-226", "OR-CSV-118"),
    ("users", "sms"): ("OR-CSV-118",),
    ("users", "phone"): ("OR-CSV-118",),
    ("users", "agentSourcedIds"): ("OR-CSV-224",),
    ("users", "grades"): ("OR-CSV-264",),
    ("users", "password"): ("OR-CSV-273",),
    ("users", "userMasterIdentifier"): ("OR-CSV-231",),
    ("users", "primaryOrgSourcedId"): ("OR-CSV-229",),
    ("enrollments", "schoolSourcedId"): ("OR-CSV-215", "OR-CSV-216", "OR-CSV-214"),
    ("enrollments", "userSourcedId"): ("OR-CSV-220",),
    ("enrollments", "role"): ("OR-CSV-217",),
    ("enrollments", "primary"): ("OR-CSV-219", "OR-CSV-218"),
    ("enrollments", "beginDate"): ("OR-CSV-221",),
    ("enrollments", "endDate"): ("OR-CSV-117", "OR-CSV-221"),
    ("demographics", "birthDate"): ("OR-CSV-119",),
    ("demographics", "demographicRaceTwoOrMoreRaces"): ("OR-CSV-232",),
    ("demographics", "countryOfBirthCode"): ("OR-CSV-146",),
    ("demographics", "stateOfBirthAbbreviation"): ("OR-CSV-146",),
    ("demographics", "publicSchoolResidenceStatus"): ("OR-CSV-146",),
    ("roles", "roleType"): ("OR-CSV-228",),
    ("roles", "endDate"): ("OR-CSV-117",),
    ("roles", "userProfileSourcedId"): ("OR-CSV-230",),
    ("userProfiles", "password"): ("OR-CSV-273",),
}
_OF_MODE = {
    "status": ("OR-CSV-080", "OR-CSV-082", "OR-CSV-084", "OR-CSV-085"),
    "dateLastModified": ("OR-CSV-081", "OR-CSV-083", "OR-CSV-104", "OR-CSV-088"),
}
_OF_KIND = {
    "guid": ("OR-CSV-160", "OR-CSV-162", "OR-CSV-161", "OR-CSV-115", "OR-CSV-101", "OR-CSV-102"),
    "guidref": ("OR-CSV-184", "OR-CSV-115", "OR-CSV-101"),
    "date": ("OR-CSV-103",),
    "boolean": ("OR-CSV-106",),
    "year": ("OR-CSV-105",),
    "int": ("OR-CSV-107",),
    "float": ("OR-CSV-108",),
}
_OF_PROPERTY = {
    "manifest.version": ("OR-CSV-024",),
    "oneroster.version": ("OR-CSV-025", "OR-CSV-032"),
    "file.": ("OR-CSV-028", "OR-CSV-029", "OR-CSV-030", "OR-CSV-026", "OR-CSV-027", "OR-CSV-031"),
    "source.systemName": ("OR-CSV-034",),
    "source.systemCode": ("OR-CSV-034",),
    "propertyName": ("OR-CSV-020", "OR-CSV-023", "OR-CSV-022"),
    "value": ("OR-CSV-021",),
}


def of_property(name: str) -> tuple[Rule, ...]:
    """What may be wrong with a property of the manifest ("file." for every row of a file), or with a column of it."""
    return tuple(RULES[code] for code in _OF_PROPERTY[name])


def of_column(version: str, table: str, column: Column, products: Sequence[Product] = ()) -> tuple[Rule, ...]:
    """What may be wrong with a column of a version, the likeliest first: for these products, in itself, and with
    what it points to."""
    codes = [code for product in products for code in _of_product(product, table, column.name)]
    codes += ["OR-CSV-100"] if column.required else []
    codes += _OF_MODE.get(column.name, ())
    codes += [of_reference(table, column.name)] if column.refers_to else []
    codes += _OF_COLUMN.get((table, column.name), ())
    if column.kind == "enum":
        codes += [OF_VOCABULARY[column.vocabulary], "OR-CSV-142"]
    if column.name == "grades":
        codes += ["OR-CSV-143", "OR-CSV-144"]
    codes += _OF_KIND.get(column.kind, ())
    codes += ["OR-CSV-109", "OR-CSV-111"] if column.listed else []
    return tuple(RULES[code] for code in dict.fromkeys(codes) if version in RULES[code].versions)


def _of_product(product: Product, table: str, column: str) -> Iterator[str]:
    for each in product.requirements:
        if (each.table, each.column) == (table, column):
            yield from ("PR-010",) if each.required else ()
            yield from ("PR-011",) if each.pattern else ()
            yield from ("PR-012",) if each.unique_in else ()
            yield from ("PR-013",) if each.min_length else ()
            yield from ("PR-015",) if each.single_valued else ()
    if table == "users":
        yield from ("PR-014",) if column == "grades" else ("PR-016",) if column == "role" else ()
