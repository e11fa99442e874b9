"""What our products ask of a roster beyond the standard, each requirement with its basis.

Basis: "page" is read on the product's help page, "native" follows from its own templates, "spec" is the standard's own
flag, "inferred" is our conclusion. A rule that is not "page" is a warning to staff as much as to the district.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a product asks of a column. `roles`: only of users in these roles; () is everyone.

    `unique_in`: "" or the scope, "district" or "school". `pattern` is a regular expression of the whole value.
    """

    table: str
    column: str
    basis: str
    roles: tuple[str, ...] = ()
    required: bool = False
    pattern: str = ""
    unique_in: str = ""
    min_length: int = 0
    single_valued: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """A requirement profile. `grades` maps CEDS grades to the product's own; a CEDS grade that is missing there has no
    counterpart. `strict_headers`: read by position and exact case."""

    key: str
    name: str
    versions: tuple[str, ...]
    versions_basis: str
    required_files: tuple[str, ...]
    ignored_files: tuple[str, ...]
    files_basis: str
    requirements: tuple[Requirement, ...]
    grades: Mapping[str, str]
    grades_basis: str
    loaded_roles: tuple[str, ...]
    roles_basis: str
    strict_headers: bool = True
    headers_basis: str = "page"
    notes: tuple[str, ...] = field(default=())


_FILES = ("academicSessions", "classes", "courses", "demographics", "enrollments", "orgs", "users")
_NOT_READ = ("categories", "classResources", "courseResources", "lineItems", "resources", "results")
_STAFF = ("teacher", "administrator")
_COMMON = (
    Requirement("users", "grades", "native", roles=("student",), required=True, single_valued=True),
    Requirement("users", "email", "native", roles=_STAFF, required=True),
    Requirement("classes", "title", "spec+native", unique_in="school"),
    Requirement("orgs", "name", "spec+native", unique_in="district"),
)
_TO_EIGHT = {"PK": "PK", "KG": "K", **{f"{n:02d}": str(n) for n in range(1, 9)}}

LITERACY = Product(
    key="literacy",
    name="Literacy",
    versions=("1.1",),
    versions_basis="page",
    required_files=_FILES,
    ignored_files=_NOT_READ,
    files_basis="page",
    requirements=(
        *_COMMON,
        Requirement("users", "username", "native", unique_in="district"),
        Requirement("users", "password", "native", roles=("student",), min_length=4),
    ),
    grades=MappingProxyType({**_TO_EIGHT, **{f"{n:02d}": str(n) for n in range(9, 13)}}),
    grades_basis="native",
    loaded_roles=("student", *_STAFF),
    roles_basis="inferred",
)

MATH = Product(
    key="math",
    name="Math",
    versions=("1.1",),
    versions_basis="page",
    required_files=_FILES,
    ignored_files=_NOT_READ,
    files_basis="page",
    requirements=(
        *_COMMON,
        Requirement("users", "username", "native", roles=("student",), unique_in="district", pattern=r"^[A-Za-z0-9]+$"),
        Requirement("users", "password", "native", roles=("student",), min_length=8),
    ),
    grades=MappingProxyType(_TO_EIGHT),
    grades_basis="native",
    loaded_roles=("student", *_STAFF),
    roles_basis="inferred",
    notes=("Grades 9 to 12 have no counterpart: high school takes courses, so a decision per district is needed.",),
)

PRODUCTS: Mapping[str, Product] = MappingProxyType({"literacy": LITERACY, "math": MATH})
