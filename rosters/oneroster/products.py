"""What our products ask of a roster beyond the standard, each requirement with the basis on which we believe it.

The publisher's pages are cut short in every public copy, so some of this is read from its older templates or
concluded; staff must be able to tell one from the other (`Basis`). A column that is not named here is needed as the
standard says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from rosters.oneroster.spec import Severity

#: Where a requirement comes from, the surest first: read on the product's page; from the product's own (not OneRoster)
#: template; from a public 1.0 sample made for it; the flag of the standard; our conclusion. "+" joins two.
Basis = Literal["page", "native", "legacy", "spec", "spec+native", "inferred"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a product asks of a column. `roles`: only of users in these roles; () is everyone.

    `unique_in`: "" or the scope, "district" or "school". `pattern` is a regular expression of the whole value.
    """

    table: str
    column: str
    basis: Basis
    roles: tuple[str, ...] = ()
    required: bool = False
    pattern: str = ""
    unique_in: Literal["", "school", "district"] = ""
    min_length: int = 0
    single_valued: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """A requirement profile. `grades` maps CEDS grades to the product's own; a CEDS grade that is missing there has no
    counterpart. `strict_headers`: read by position and exact case. `overrides`: rule code -> severity, or "off".
    `extensions`: what the product wants to know that OneRoster has no column for."""

    key: str
    name: str
    versions: tuple[str, ...]
    versions_basis: Basis
    modes: tuple[str, ...]
    modes_basis: Basis
    required_files: tuple[str, ...]
    ignored_files: tuple[str, ...]
    files_basis: Basis
    requirements: tuple[Requirement, ...]
    grades: Mapping[str, str]
    grades_basis: Basis
    loaded_roles: tuple[str, ...]
    ignored_roles: tuple[str, ...]
    roles_basis: Basis
    strict_headers: bool = True
    headers_basis: Basis = "page"
    overrides: Mapping[str, Severity | Literal["off"]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    path_pattern: str = "imagine/<site code>-<district name>/<product>"
    notes: tuple[str, ...] = ()


_FILES = ("academicSessions", "classes", "courses", "demographics", "enrollments", "orgs", "users")
_NOT_READ = ("categories", "classResources", "courseResources", "lineItems", "resources", "results")
_STAFF = ("teacher", "administrator")
_LOADED = ("student", *_STAFF)
_IGNORED = ("aide", "guardian", "parent", "proctor", "relative")
_COMMON = (
    Requirement("users", "grades", "native", roles=("student",), required=True, single_valued=True),
    Requirement("users", "email", "native", roles=_STAFF, required=True),
    Requirement("users", "username", "native", unique_in="district"),
    Requirement("classes", "title", "spec+native", unique_in="school"),
    Requirement("orgs", "name", "spec+native", unique_in="district"),
)
_TO_EIGHT = {"PK": "PK", "KG": "K", **{f"{grade:02d}": str(grade) for grade in range(1, 9)}}
_TO_TWELVE = {**_TO_EIGHT, **{f"{grade:02d}": str(grade) for grade in range(9, 13)}}

LITERACY = Product(
    key="literacy",
    name="Literacy",
    versions=("1.1",),
    versions_basis="page",
    modes=("bulk", "delta"),
    modes_basis="page",
    required_files=_FILES,
    ignored_files=_NOT_READ,
    files_basis="page",
    requirements=(
        *_COMMON,
        Requirement("users", "password", "native", roles=("student",), min_length=4),
    ),
    grades=MappingProxyType(_TO_TWELVE),
    grades_basis="native",
    loaded_roles=_LOADED,
    ignored_roles=_IGNORED,
    roles_basis="inferred",
    extensions=("language",),
    notes=(
        "OneRoster has no column for a student's audio language: a metadata column or a default has to be agreed on.",
    ),
)

MATH = Product(
    key="math",
    name="Math",
    versions=("1.1",),
    versions_basis="page",
    modes=("bulk", "delta"),
    modes_basis="page",
    required_files=_FILES,
    ignored_files=_NOT_READ,
    files_basis="page",
    requirements=(
        *_COMMON,
        Requirement("users", "username", "native", roles=("student",), pattern=r"^[A-Za-z0-9]+$"),
        Requirement("users", "password", "native", roles=("student",), min_length=8),
    ),
    grades=MappingProxyType(_TO_EIGHT),
    grades_basis="native",
    loaded_roles=_LOADED,
    ignored_roles=_IGNORED,
    roles_basis="inferred",
    extensions=("language",),
    notes=("Math has no grades 9 to 12: high school students are placed by course, and how has to be agreed on.",),
)


def needed_by(products: Iterable[str], table: str, column: str) -> list[Product]:
    """The products of these keys that cannot do without a column."""
    chosen = [PRODUCTS[key] for key in products if key in PRODUCTS]
    asked = [(product, each) for product in chosen for each in product.requirements if each.required]
    return [product for product, each in asked if (each.table, each.column) == (table, column)]


PRODUCTS: Mapping[str, Product] = MappingProxyType({product.key: product for product in (LITERACY, MATH)})
