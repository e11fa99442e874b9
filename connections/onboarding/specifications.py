"""Templates and specifications: zips to start from, and a page for each file that explains its columns.

What is required, allowed and refused comes from the standard, the products and the rules, as data, so that these pages
cannot tell another story than the check does; only the sentences are from `rosters.oneroster.meanings`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from connections.onboarding import example
from connections.onboarding.entering import for_people
from connections.onboarding.faults import of_column, of_property
from connections.onboarding.models import Person
from rosters import making
from rosters.oneroster import VERSIONS, Column, Rule, Table, manifest_properties
from rosters.oneroster.meanings import FILES, MANIFEST, MEANINGS
from rosters.oneroster.plain import listed
from rosters.oneroster.products import PRODUCTS, Basis, Product, Requirement

#: So many rules are shown for a column; the rest hardly ever happens.
_MOST_RULES: Final = 4
_LONGEST_SEARCH: Final = 100
_MANIFEST_HEADER: Final = ("propertyName", "value")

_NEEDS: Final = {
    "always": "filled in every row",
    "delta_only": "filled in files of changes, empty in full ones",
    "optional": "may stay empty",
}
_KINDS: Final = {
    "guid": "Letters, digits and . - _ / @, at most 255 of them",
    "guidref": "A sourcedId",
    "string": "Text on one line, at most 255 characters",
    "id": "Text on one line, at most 255 characters",
    "boolean": "One of these words, in small letters",
    "date": "A date as year-month-day: YYYY-MM-DD",
    "dateTime": "Date and time in UTC: YYYY-MM-DDThh:mm:ss.sssZ",
    "year": "A year of four digits",
    "int": "A whole number",
    "float": "A number with a decimal point",
}
_PATTERNS: Final = {r"^[A-Za-z0-9]+$": "letters and digits only"}
#: Why a product asks more than the standard.
REASONS: Final = {
    ("users", "grades"): "It decides with which content a student starts.",
    ("users", "email"): "Staff sign in with their address.",
    ("users", "username"): "People sign in with it, and no two may open the same door.",
    ("users", "password"): "Shorter ones are refused there; where it is empty, the product makes one.",
    ("classes", "title"): "Teachers choose their class by its name.",
    ("orgs", "name"): "People choose their school by its name.",
}
#: How we know what a product asks.
_SURE: Final[dict[Basis, str]] = {
    "page": "We read it on the product's page.",
    "native": "We read it in the product's own template.",
    "spec+native": "We read it in the product's own template.",
    "legacy": "We read it in an older sample made for the product.",
    "spec": "The standard says so.",
    "inferred": "It is our conclusion: ask us if in doubt.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What products ask of a column beyond the standard: `words`, if anything, and `why`."""

    products: str
    words: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A column as its page explains it. `values`: the words it may hold; `points_to`: the file whose rows it names, and
    `points_at` the address of its page; `anchors`: further names that are explained here."""

    file: str
    name: str
    means: str
    need: str
    required: bool
    allowed: str
    values: tuple[str, ...]
    example: str
    asked: tuple[Asked, ...]
    rules: tuple[Rule, ...]
    points_to: str = ""
    points_at: str = ""
    anchors: tuple[str, ...] = ()

    @property
    def asked_more(self) -> bool:
        return any(asked.words for asked in self.asked)

    def speaks_of(self, words: list[str]) -> bool:
        text = " ".join((f"{self.file}.csv", self.name, self.means, *self.values, *self.anchors)).lower()
        return all(word in text for word in words)


# ------------------------------------------------------------------------------------------------------------ links


def version_of(file: str, column: str = "") -> str:
    """The first version that has this file and column, "" if none has a page here."""
    if file not in FILES:
        return ""
    for number, version in VERSIONS.items():
        if file == MANIFEST or (file in version.tables and (not column or column in version.tables[file].header)):
            return number
    return version_of(file) if column else ""


def spec_link(file: str, column: str = "") -> str:
    """Where a column is explained: ("users.csv" or "users", "email") -> "/district/templates/users/#email". A
    column that the standard does not know leads to its file, a file without a page to the overview."""
    name = file.removesuffix(".csv")
    version = version_of(name, column)
    if not version:
        return reverse("onboarding:templates")
    known = manifest_properties(VERSIONS[version]) if name == MANIFEST else VERSIONS[version].tables[name].header
    return page_of(version, name) + (f"#{column}" if column in known else "")


def page_of(version: str, file: str) -> str:
    """The address of a file's page; the version is said only where it is not the first that has the file."""
    query = "" if version == version_of(file) else f"?version={version}"
    return reverse("onboarding:template-file", args=[file]) + query


# ------------------------------------------------------------------------------------------------------ explaining


def entries(version: str, file: str, today: date) -> list[Entry]:
    """Every column of a file in a version, in its order; of the manifest every property."""
    if file == MANIFEST:
        return list(_of_manifest(version))
    table = VERSIONS[version].tables[file]
    rows = example.example(version, today)[file]
    return [_of(version, table, column, next(filter(None, rows[column.name]), "")) for column in table.columns]


def _of(version: str, table: Table, column: Column, shown: str) -> Entry:
    meaning = MEANINGS[table.name][column.name]
    vocabulary = VERSIONS[version].vocabularies.get("boolean" if column.kind == "boolean" else column.vocabulary)
    return Entry(
        file=table.name,
        name=column.name,
        means=meaning.words,
        need=_NEEDS[column.need],
        required=column.required,
        allowed=_allowed(column, extensible=bool(vocabulary and vocabulary.extensible), words=bool(vocabulary)),
        values=vocabulary.values if vocabulary else (),
        example=shown or meaning.example,
        asked=_together(_asked(product, table.name, column) for product in _taking(version)),
        rules=of_column(version, table.name, column, _taking(version))[:_MOST_RULES],
        points_to=column.refers_to,
        points_at=page_of(version, column.refers_to) if column.refers_to else "",
    )


def _allowed(column: Column, *, extensible: bool, words: bool) -> str:
    if column.pattern:
        said = "A pair in braces: {kind:id}"
    elif words and column.kind != "boolean":
        said = "One of these words, exactly so" + (", or one of your own that begins with ext:" if extensible else "")
    elif column.refers_to:
        types = f" whose type is {' or '.join(t for t in column.target_types if t != 'ext:*')}"
        said = f"A sourcedId of {column.refers_to}.csv" + (types if column.target_types else "")
    else:
        said = _KINDS[column.kind]
    return (
        f"{said}. Several: with commas between, no blanks, the cell in quotation marks."
        if column.listed
        else f"{said}."
    )


def _taking(version: str) -> list[Product]:
    return [product for product in PRODUCTS.values() if version in product.versions]


def _asked(product: Product, table: str, column: Column) -> Asked:
    """What a product asks of a column, in one sentence."""
    if (table, column.name) == ("users", "role"):
        loaded = f"Loads every {listed(list(product.loaded_roles))}; people in other roles are left out."
        return Asked(product.name, loaded, _SURE[product.roles_basis])
    wanted = [each for each in product.requirements if (each.table, each.column) == (table, column.name)]
    if not wanted:
        return Asked(product.name)
    said = "; ".join(_sentence(each) for each in wanted)
    if column.name == "grades":
        said += f"; one of {listed(list(product.grades))}"
    known = " ".join(dict.fromkeys(_SURE[each.basis] for each in wanted))
    return Asked(product.name, f"{said[0].upper()}{said[1:]}.", f"{REASONS[table, column.name]} {known}")


def _together(asked: Iterable[Asked]) -> tuple[Asked, ...]:
    """Products that ask the same, in one."""
    products: dict[tuple[str, str], list[str]] = {}
    for each in asked:
        products.setdefault((each.words, each.why), []).append(each.products)
    return tuple(Asked(listed(names), words, why) for (words, why), names in products.items())


def _sentence(each: Requirement) -> str:
    parts = [
        "filled" if each.required else "",
        "one value only" if each.single_valued else "",
        _PATTERNS[each.pattern] if each.pattern else "",
        f"no two alike in one {each.unique_in}" if each.unique_in else "",
        f"if filled, at least {each.min_length} characters" if each.min_length else "",
    ]
    whose = f" for every {' and '.join(each.roles)}" if each.roles else ""
    return listed([part for part in parts if part]) + whose


def _of_manifest(version: str) -> Iterator[Entry]:
    files = tuple(name for name in manifest_properties(VERSIONS[version]) if name.startswith("file."))
    samples = {"manifest.version": "1.0", "oneroster.version": version, "file.": "bulk"}
    samples |= {"source.systemName": example.SYSTEM[0], "source.systemCode": example.SYSTEM[1]}
    allowed = {
        "propertyName": "One of the names below, exactly so.",
        "value": "What is said below for each name.",
        "manifest.version": "This number, exactly so.",
        "oneroster.version": "This number, exactly so.",
        "file.": "One of these words, in small letters.",
    }
    values = {"manifest.version": ("1.0",), "oneroster.version": (version,), "file.": ("absent", "bulk", "delta")}
    for name, meaning in MEANINGS[MANIFEST].items():
        free = name.startswith("source.")
        yield Entry(
            file=MANIFEST,
            name="file. and the name of a file" if name == "file." else name,
            means=meaning.words,
            need="may be left out" if free else "has to be there" if "." in name else "filled in every row",
            required=not free,
            allowed=allowed.get(name, _KINDS["string"] + "."),
            values=values.get(name, ()),
            example=samples.get(name, meaning.example),
            asked=_together(_asked_of_files(p, files) for p in _taking(version)) if name == "file." else (),
            rules=of_property(name)[:_MOST_RULES],
            anchors=files if name == "file." else (),
        )


def _asked_of_files(product: Product, files: tuple[str, ...]) -> Asked:
    absent = [name for name in files if name.removeprefix("file.") not in product.required_files]
    words = f"bulk or delta for {listed(list(product.required_files))}; absent for the other {len(absent)}."
    return Asked(product.name, words, f"It cannot be set up without these files. {_SURE[product.files_basis]}")


# ------------------------------------------------------------------------------------------------------------ pages


@require_GET
@for_people
def overview(request: HttpRequest, person: Person) -> HttpResponse:
    """Products, their files and columns; with ?q= the columns that the words are about."""
    asked = request.GET.get("q", "").strip()[:_LONGEST_SEARCH]
    found = _about(asked.lower().split(), _today(person)) if asked else []
    return render(
        request,
        "onboarding/templates.html",
        {
            "asked": asked,
            "found": found,
            "products": [
                {"product": product, "version": version, "files": [_listed(version, f) for f in _needed(product)]}
                for product in PRODUCTS.values()
                for version in product.versions
            ],
            "not_taken": [
                {"version": version, "files": [_listed(version, f) for f in _files(version)]}
                for version in VERSIONS
                if not _taking(version)
            ],
        },
    )


def _about(words: list[str], today: date) -> list[dict[str, object]]:
    """Every column that is about these words, once, as the first version that has it explains it."""
    first = {
        (entry.file, entry.name): entry
        for version in reversed(list(VERSIONS))
        for file in _files(version)
        for entry in entries(version, file, today)
    }
    return [
        {"entry": entry, "link": spec_link(file, entry.anchors[0] if entry.anchors else name)}
        for (file, name), entry in first.items()
        if entry.speaks_of(words)
    ]


@require_GET
@for_people
def file_page(request: HttpRequest, person: Person, file: str) -> HttpResponse:
    """One file, column by column."""
    version = request.GET.get("version", version_of(file))
    if version not in VERSIONS or file not in _files(version):
        raise Http404
    table = VERSIONS[version].tables.get(file)
    return render(
        request,
        "onboarding/template_file.html",
        {
            "file": file,
            "is_manifest": table is None,
            "about": FILES[file],
            "version": version,
            "others": [other for other in VERSIONS if other != version and file in _files(other)],
            "entries": entries(version, file, _today(person)),
            "header": ",".join(table.header if table else _MANIFEST_HEADER),
            "depends_on": [(name, page_of(version, name)) for name in table.depends_on] if table else [],
            "products": listed([product.name for product in _taking(version)]),
        },
    )


@require_GET
@for_people
def download(request: HttpRequest, person: Person, product: str, version: str) -> FileResponse:
    """The template of a product as a zip: header rows, or with ?examples=1 the example district."""
    if product not in PRODUCTS or version not in PRODUCTS[product].versions:
        raise Http404
    with_rows = request.GET.get("examples") == "1"
    name = f"{product}-oneroster-{version}-{'example' if with_rows else 'template'}.zip"
    content = template(PRODUCTS[product], version, _today(person) if with_rows else None)
    return FileResponse(io.BytesIO(content), as_attachment=True, filename=name, content_type="application/zip")


def template(product: Product, version: str, today: date | None = None) -> bytes:
    """The files that the product needs as a zip, with the example rows for this day, or without any."""
    tables = example.example(version, today) if today else example.blank(version)
    chosen = {name: frame for name, frame in tables.items() if name in product.required_files}
    content = io.BytesIO()
    making.write_zip(content, chosen, version=version, system=example.SYSTEM if today else ("", ""))
    return content.getvalue()


def _today(person: Person) -> date:
    return person.district.local_date(timezone.now())


def _files(version: str) -> list[str]:
    """Every file of the version that has a page, the manifest first."""
    return [file for file in FILES if file == MANIFEST or file in VERSIONS[version].tables]


def _needed(product: Product) -> list[str]:
    return [file for file in FILES if file == MANIFEST or file in product.required_files]


def _listed(version: str, file: str) -> dict[str, object]:
    """A file in a list of files: its address and its columns with theirs."""
    table = VERSIONS[version].tables.get(file)
    link = page_of(version, file)
    names = table.header if table else _MANIFEST_HEADER
    return {"name": file, "link": link, "about": FILES[file], "columns": [(name, f"{link}#{name}") for name in names]}
