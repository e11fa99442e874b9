"""Modes, cell types and vocabularies (OR-CSV-051 to 056, 080 to 146): every cell judged by itself.

Of all conditions of a table it is asked first whether they are true anywhere, of repeated words once; rows are looked
up only for those that are.

Decisions. A word that differs from the standard's only in case or outer blanks is read as the standard's word and
reported (142, and 106 for booleans), since its meaning is certain. ``NULL`` and the like is reported (053): in an
optional word of the standard it is read as empty, elsewhere it is what it says, and left to the type of its column.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from rosters.findings import Effect, Severity
from rosters.frames import SHORT, Checked
from rosters.oneroster.spec import Column, Table, Vocabulary
from rosters.oneroster.vocabularies import CEDS_COUNTRY, CEDS_GRADES, CEDS_RESIDENCES, CEDS_STATES, GRADE_VARIANTS
from rosters.validating.context import GUID, YEAR, Context, indices, words

# Digits are spelled out: \d would take those of every script.
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
DATE_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3})?Z$"
_NULLS = ("NULL", "null", "Null", "N/A", "n/a", "#N/A", "none", "None", "#REF!", "#VALUE!", "#NAME?")
_INVISIBLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00a0\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffd]"
#: The bytes 80 to 9F as Windows-1252 shows them: what follows "Ã" where a capital was decoded wrongly.
_HIGH_1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MOJIBAKE = rf"Ã[\u0080-\u00bf{_HIGH_1252}]|â€|Â[\u00a0-\u00bf]"
_FORMULA = "=+-@\t"
#: Numbers, grades below zero and phone numbers: they begin like a formula and compute nothing.
_NO_FORMULA = r"^[+-][0-9().,/\-\s]*(?:[eE][+-]?[0-9]+|%|\s*(?:x|ext\.?)\s*[0-9]+)?$"
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
_PHONE = r"^[0-9+()./\-\s]{5,}(?:\s*(?:x|ext\.?)\s*\d+)?$"
_SPREADSHEET = r"^\d(?:\.\d+)?E\+\d+$"
_TWO_YEARS = re.compile(r"([0-9]{4})\s*[-/]\s*([0-9]{4}|[0-9]{2})")

#: The rule of each vocabulary, and of a column where the vocabulary serves several.
OF_VOCABULARY = {
    "sessionType": "OR-CSV-130",
    "classType": "OR-CSV-131",
    "orgType": "OR-CSV-132",
    "userRole": "OR-CSV-133",
    "enrollmentRole": "OR-CSV-134",
    "role": "OR-CSV-135",
    "roleType": "OR-CSV-135",
    "gender": "OR-CSV-136",
    "importance": "OR-CSV-137",
    "scoreStatus": "OR-CSV-138",
    "learningObjectiveSource": "OR-CSV-139",
    "status": "OR-CSV-086",
}


#: So many cells tell whether those of a column repeat.
_SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Test:
    """One condition on the cells of a row, whatever the other rows: true where the rule fires. `suspect`, where it is
    given, is much cheaper to ask and true wherever `bad` is."""

    code: str
    column: str
    bad: pl.Expr
    detail: str = ""
    effect: Effect | None = None
    severity: Severity | None = None
    suspect: pl.Expr | None = None


def check(ctx: Context, name: str) -> None:
    """Judge every cell of the table `name`."""
    table = ctx.table(name)
    _heal(ctx, table)
    _modes(ctx, table)
    private = [Column(c, "string") for c in ctx.frames[name].columns if c.startswith("metadata.")]
    tests = [t for c in table.columns for t in _of_column(ctx, table, c)] + [t for c in private for t in _of_text(c)]
    run(ctx, name, tests + list(_of_row(ctx, table)))
    _grades(ctx, table)
    _lists(ctx, table)


def run(ctx: Context, name: str, tests: list[Test]) -> None:
    """Flag the rows of every test that fires anywhere."""
    tests = [t for t in tests if ctx.applies(t.code)]
    frame = ctx.frames[name]
    if not tests or not len(frame):
        return
    fires = _any(frame, [t.bad if t.suspect is None else t.suspect for t in tests])
    tests = [t for t, fired in zip(tests, fires, strict=True) if fired]
    for test in tests:
        rows = indices(frame.select(test.bad.alias("bad"))["bad"])
        ctx.flag(test.code, name, test.column, rows, detail=test.detail, effect=test.effect, severity=test.severity)


def _any(frame: pl.DataFrame, conditions: list[pl.Expr]) -> list[bool]:
    """Whether each of these conditions is true in any row. Where cells of a column repeat, each word is asked once."""
    if len(frame) <= SHORT:
        return list(frame.select(condition.any().alias(str(n)) for n, condition in enumerate(conditions)).row(0))
    repeating = {column for column in frame.columns if _repeats(frame[column])}
    together: dict[str, list[int]] = defaultdict(list)
    for number, condition in enumerate(conditions):
        about = set(condition.meta.root_names())
        column = about.pop() if len(about) == 1 else ""
        together[column if column in repeating else ""].append(number)
    asked = [
        (words(frame[column]).to_frame() if column else frame)
        .lazy()
        .select(conditions[number].any().alias(str(number)) for number in numbers)
        for column, numbers in together.items()
    ]
    found = pl.concat(pl.collect_all(asked), how="horizontal").row(0, named=True)
    return [found[str(number)] for number in range(len(conditions))]


def _repeats(cells: pl.Series) -> bool:
    """Whether the first cells are words that come again and again: only a guess, and only speed hangs on it."""
    return cells.head(_SAMPLE).n_unique() * 2 < min(len(cells), _SAMPLE)


# ------------------------------------------------------------------------------------------------------------------
# healing


def _heal(ctx: Context, table: Table) -> None:
    """Apply the district's mappings, then read words that differ in case or outer blanks only as what they mean."""
    frame = ctx.frames[table.name]
    for key, meanings in ctx.options.mappings.items():
        name, _, healed = key.partition(".")
        if name == table.name and healed in frame.columns and meanings:
            frame = frame.with_columns(
                _mapped(healed, dict(meanings), listed=bool((c := ctx.column(name, healed)) and c.listed))
            )
    ctx.frames[table.name] = frame
    for column in table.columns:
        vocabulary = _vocabulary(ctx, column)
        if vocabulary is not None and column.kind in ("enum", "boolean") and not column.listed:
            if set(words(ctx.frames[table.name][column.name])) <= {"", *vocabulary.values}:
                continue
            _heal_case(ctx, table, column, vocabulary)
            mild: Severity | None = "warning" if column.name == "status" and ctx.delivered.version == "1.1" else None
            _read_as(ctx, table, column, OF_VOCABULARY.get(vocabulary.name, ""), vocabulary.legacy, mild)
            if not column.required:  # the standard's own words for such a cell are "NULL/blank"
                nothing = dict.fromkeys((word for word in _NULLS if word not in vocabulary.values), "")
                _read_as(ctx, table, column, "OR-CSV-053", nothing)
        elif column.kind == "year":
            _read_as(ctx, table, column, "OR-CSV-105", _closing_years(ctx.frames[table.name][column.name]))


def _mapped(column: str, meanings: dict[str, str], *, listed: bool) -> pl.Expr:
    cell = pl.col(column)
    if not listed:
        return cell.replace(meanings)
    return (
        pl.when(cell == "")
        .then(cell)
        .otherwise(cell.str.split(",").list.eval(pl.element().str.strip_chars().replace(meanings)).list.join(","))
        .alias(column)
    )


def _heal_case(ctx: Context, table: Table, column: Column, vocabulary: Vocabulary) -> None:
    frame = ctx.frames[table.name]
    cells = frame[column.name]
    right = {v.lower(): v for v in vocabulary.values}
    healed = {
        w: right[w.strip().lower()]
        for w in words(cells).to_list()
        if w not in vocabulary.values and w.strip().lower() in right
    }
    if not healed:
        return
    rows = indices(cells.is_in(list(healed)))
    boolean = column.kind == "boolean"
    ctx.flag(
        "OR-CSV-106" if boolean else "OR-CSV-142",
        table.name,
        column.name,
        rows,
        effect="none",
        detail=f"It was read as {', '.join(sorted(set(healed.values())))}.",
    )
    ctx.frames[table.name] = frame.with_columns(pl.col(column.name).replace(healed))


def _read_as(
    ctx: Context,
    table: Table,
    column: Column,
    code: str,
    meanings: Mapping[str, str],
    severity: Severity | None = None,
) -> None:
    """Words that break the standard, but of which everybody knows what they mean: reported, and read as that."""
    cells = ctx.frames[table.name][column.name]
    if meanings and words(cells).is_in(list(meanings)).any():
        rows = indices(cells.is_in(list(meanings)))
        read = sorted({meanings[word] or "empty" for word in cells.gather(rows).unique()})
        detail = f"It was read as {', '.join(read[:6])}."
        ctx.flag(code, table.name, column.name, rows, effect="none", detail=detail, severity=severity)
        ctx.frames[table.name] = ctx.frames[table.name].with_columns(pl.col(column.name).replace(dict(meanings)))


def _closing_years(cells: pl.Series) -> dict[str, str]:
    """School years written as both of their years ("2026-2027", "2026/27"), with the one that the standard wants."""
    years = {}
    for cell in words(cells).to_list():
        if match := _TWO_YEARS.fullmatch(cell.strip()):
            closing = str(int(match[1]) + 1)
            if match[2] in (closing, closing[2:]):
                years[cell] = closing
    return years


def _vocabulary(ctx: Context, column: Column) -> Vocabulary | None:
    if column.kind == "boolean":
        return ctx.version.vocabularies["boolean"]
    return ctx.version.vocabularies.get(column.vocabulary)


# --------------------------------------------------------------------------------------------------------------------
# modes


def _modes(ctx: Context, table: Table) -> None:
    name = table.name
    frame = ctx.frames[name]
    status, modified = pl.col("status") != "", pl.col("dateLastModified") != ""
    facts = frame.select(
        s=status.sum(), m=modified.sum(), one=(status != modified).sum(), both=(status & modified).sum()
    ).row(0)
    if not len(frame) or (ctx.mode(name) == "bulk" and not any(facts[:2])):
        return
    none: Effect = "none"
    if ctx.mode(name) == "bulk":
        run(
            ctx,
            name,
            [
                Test("OR-CSV-080", "status", status, effect=none),
                Test("OR-CSV-081", "dateLastModified", modified, effect=none),
            ],
        )
    else:
        run(
            ctx,
            name,
            [
                Test("OR-CSV-082", "status", ~status, effect="row"),
                Test("OR-CSV-083", "dateLastModified", ~modified, effect=none),
            ],
        )
    run(ctx, name, [Test("OR-CSV-084", "status", status != modified, effect=none)])
    if 0 < facts[3] < len(frame) and facts[2] < len(frame) - facts[3]:
        ctx.findings.add(
            "OR-CSV-085", table.file, "status", detail=f"{facts[3]:,} of {len(frame):,} rows are written as delta."
        )
    # The cells are in UTC, where it is tomorrow on an American evening. What is no date has been reported for that.
    moment, latest = pl.col("dateLastModified"), (ctx.options.today + timedelta(days=1)).isoformat()
    if str(frame["dateLastModified"].max() or "") > latest:
        future = (moment.str.head(10) > latest) & moment.str.contains(DATE_TIME)
        run(ctx, name, [Test("OR-CSV-088", "dateLastModified", future)])


def newest_change(checked: Checked, now: datetime) -> str:
    """The newest dateLastModified of a delivery, as it came; "" without one. Words, and moments still to come, do not
    count: after them every later delivery would look stale."""
    moment, latest = pl.col("dateLastModified"), now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    past = moment.filter((moment != "") & (moment.str.head(19) <= latest) & moment.str.contains(DATE_TIME))
    return max((str(t.frame.select(past.max()).item() or "") for t in checked.tables.values()), default="")


# --------------------------------------------------------------------------------------------------------------------
# cells


def _of_column(ctx: Context, table: Table, column: Column) -> Iterator[Test]:
    name, cell, given = column.name, pl.col(column.name), pl.col(column.name) != ""
    if name in ("status", "dateLastModified"):
        if name == "status":
            effect: Effect = "row" if ctx.mode(table.name) == "delta" else "none"
            yield from _of_closed_words(ctx, "OR-CSV-086", name, ["active", "tobedeleted"], effect)
        else:
            day = cell.str.head(10).str.to_date("%Y-%m-%d", strict=False)
            right = cell.str.contains(DATE_TIME) & day.is_not_null()
            yield Test("OR-CSV-104", name, given & ~right, effect="none")
            short = given & right & (cell.str.len_bytes() == len("2026-11-24T10:00:00Z"))
            yield Test("OR-CSV-104", name, short, "It has no milliseconds.", "none", "warning")
        return
    if column.required:
        yield Test("OR-CSV-100", name, ~given)
    if column.kind in ("guid", "guidref") and not column.listed:
        yield Test("OR-CSV-101", name, given & ~cell.str.contains(GUID))
        yield Test("OR-CSV-102", name, cell.str.len_bytes() > 255)
        if column.kind == "guid":
            yield Test("OR-CSV-115", name, cell.str.contains(_SPREADSHEET), suspect=_holding(cell, "E+"))
            # What an id may not hold at all is 101's; these are legal in one; a reference only repeats it.
            yield Test("OR-CSV-053", name, cell.is_in([w for w in _NULLS if "#" not in w]))
            leading = _leading(cell, "-@")
            yield Test("OR-CSV-056", name, leading & ~cell.str.contains(_NO_FORMULA), suspect=leading)
    elif column.kind == "date":
        # The form by itself: the parser also takes blanks and signs in place of digits.
        right = cell.str.contains(_DATE) & cell.str.to_date("%Y-%m-%d", strict=False).is_not_null()
        yield Test("OR-CSV-103", name, given & ~right)
    elif column.kind == "year":
        yield Test("OR-CSV-105", name, given & ~cell.str.contains(YEAR))
    elif column.kind == "int":
        yield Test("OR-CSV-107", name, given & ~cell.str.contains(r"^(?:100|[1-9]?[0-9])$"))
    elif column.kind == "float":
        yield Test("OR-CSV-108", name, given & ~cell.str.contains(r"^[+-]?[0-9]+(?:\.[0-9]+)?$"))
    elif column.kind == "boolean":
        yield from _of_closed_words(ctx, "OR-CSV-106", name, ["true", "false"])
    elif column.kind == "enum" and not column.listed:
        yield from _of_vocabulary(ctx, column)
    if column.kind in ("string", "id"):
        yield from _of_text(column)


def _of_closed_words(
    ctx: Context, code: str, name: str, allowed: list[str], effect: Effect | None = None
) -> Iterator[Test]:
    """Words to which nobody may add own ones; in 1.2, which lets other vocabularies grow, trying to is 141."""
    cell = pl.col(name)
    wrong, own = (cell != "") & ~cell.is_in(allowed), cell.str.starts_with("ext:")
    if ctx.delivered.version == "1.2":
        yield Test("OR-CSV-141", name, own, effect=effect)
        wrong &= ~own
    yield Test(code, name, wrong, effect=effect)


def _of_vocabulary(ctx: Context, column: Column) -> Iterator[Test]:
    vocabulary = _vocabulary(ctx, column)
    if vocabulary is None:
        return
    cell = pl.col(column.name)
    known = (cell == "") | cell.is_in(list(vocabulary.values))
    extended = cell.str.starts_with("ext:")
    code = OF_VOCABULARY[vocabulary.name]
    if vocabulary.extensible:
        formed = cell.str.contains(r"^ext:[A-Za-z0-9._\-]+$")
        yield Test(code, column.name, ~known & ~extended)
        yield Test("OR-CSV-141", column.name, extended & ~formed)
    elif ctx.delivered.version == "1.2":
        yield Test(code, column.name, ~known & ~extended)
        yield Test("OR-CSV-141", column.name, extended)
    else:
        yield Test(code, column.name, ~known & ~extended)
        yield Test("OR-CSV-140", column.name, extended)


def _of_text(column: Column) -> Iterator[Test]:
    cell = pl.col(column.name)
    yield Test("OR-CSV-055", column.name, cell.str.len_bytes() > 255)
    tabbed = cell.str.ends_with("\t") & ~cell.str.starts_with("\t")  # a tab at the beginning is 056's
    yield Test("OR-CSV-052", column.name, cell.str.starts_with(" ") | cell.str.ends_with(" ") | tabbed)
    yield Test("OR-CSV-053", column.name, cell.is_in(list(_NULLS)))
    phone = column.name in ("phone", "sms")
    leading = _leading(cell, _FORMULA)
    yield Test("OR-CSV-056", column.name, leading & ~cell.str.contains(_NO_FORMULA), suspect=leading)
    yield Test("OR-CSV-051", column.name, cell.str.contains(_INVISIBLE))
    odd = cell.str.len_bytes() != cell.str.len_chars()
    yield Test("OR-CSV-054", column.name, cell.str.contains(_MOJIBAKE), suspect=odd)
    if column.name == "email":
        yield Test("OR-CSV-118", column.name, (cell != "") & ~cell.str.contains(_EMAIL))
    elif phone:
        yield Test("OR-CSV-118", column.name, (cell != "") & ~cell.str.contains(_PHONE))


def _holding(cell: pl.Expr, text: str) -> pl.Expr:
    return cell.str.contains(text, literal=True)


def _leading(cell: pl.Expr, marks: str) -> pl.Expr:
    """The cell begins with one of these characters."""
    return pl.any_horizontal(cell.str.starts_with(mark) for mark in marks)


def _of_row(ctx: Context, table: Table) -> Iterator[Test]:
    """Rules on two cells of one row, and on plausible dates."""
    year = ctx.options.today.year
    if table.name == "academicSessions":
        yield _not_before("OR-CSV-116", "startDate", "row")
        for name in ("startDate", "endDate"):
            yield Test("OR-CSV-119", name, _far(pl.col(name), year - 10, year + 10), effect="none")
    if table.name in ("enrollments", "roles"):
        yield _not_before("OR-CSV-117", "beginDate", "value")
    if table.name == "demographics":
        birth = pl.col("birthDate")
        yield Test("OR-CSV-119", "birthDate", _far(birth, year - 110, year - 1), effect="none")
    if table.name in ("classes", "courses"):
        subjects, codes = pl.col("subjects"), pl.col("subjectCodes")
        both = (subjects != "") & (codes != "")
        uneven = subjects.str.count_matches(",", literal=True) != codes.str.count_matches(",", literal=True)
        yield Test("OR-CSV-212", "subjectCodes", both & uneven, effect="value")
        yield Test("OR-CSV-213", "subjectCodes", (subjects != "") != (codes != ""))
        yield Test(
            "OR-CSV-145",
            "subjectCodes",
            (codes != "") & ~codes.str.contains(r"^\s*\d{2}[0-9A-Z]{0,10}(?:\s*,\s*\d{2}[0-9A-Z]{0,10})*$"),
        )
    if table.name == "users":
        yield Test("OR-CSV-273", "password", pl.col("password") != "")
    if table.name == "userProfiles":
        yield Test("OR-CSV-273", "password", pl.col("password") != "")
    if table.name == "demographics" and ctx.delivered.version == "1.1":
        country, state = pl.col("countryOfBirthCode"), pl.col("stateOfBirthAbbreviation")
        residence = pl.col("publicSchoolResidenceStatus")
        yield Test("OR-CSV-146", "countryOfBirthCode", (country != "") & ~country.str.contains(CEDS_COUNTRY))
        yield Test("OR-CSV-146", "stateOfBirthAbbreviation", (state != "") & ~state.is_in(list(CEDS_STATES)))
        strange = (residence != "") & ~residence.is_in(list(CEDS_RESIDENCES))
        yield Test("OR-CSV-146", "publicSchoolResidenceStatus", strange)
    if table.name in ("lineItemLearningObjectiveIds", "resultLearningObjectiveIds") and ctx.delivered.version == "1.2":
        urn = pl.col("learningObjectiveId").str.contains(r"^urn:uuid:[0-9a-fA-F-]{36}$")
        yield Test("OR-CSV-114", "learningObjectiveId", (pl.col("source") == "case") & ~urn)


def _not_before(code: str, begin: str, effect: Effect) -> Test:
    """The first of two dates is not before the second. What is no date has been reported as that."""
    first, second = pl.col(begin), pl.col("endDate")
    late = (first != "") & (second != "") & (first >= second)
    dates = first.str.contains(_DATE) & second.str.contains(_DATE)
    return Test(code, "endDate", late & dates, effect=effect, suspect=late)


def _far(cell: pl.Expr, first: int, last: int) -> pl.Expr:
    return (cell != "") & ((cell < f"{first:04d}") | (cell > f"{last + 1:04d}"))


# --------------------------------------------------------------------------------------------------------------------
# lists


def _grades(ctx: Context, table: Table) -> None:
    """143 and 144: every grade a CEDS code; what it probably means is proposed as a mapping."""
    if "grades" not in table.header:
        return
    code = "OR-CSV-143" if ctx.delivered.version == "1.1" else "OR-CSV-144"
    cells = ctx.frames[table.name]["grades"]
    wrong: list[str] = []
    for cell in words(cells).to_list():
        if any(grade.strip() not in CEDS_GRADES for grade in cell.split(",") if cell):
            wrong.append(cell)
    if not wrong:
        return
    proposals = {
        g.strip(): GRADE_VARIANTS[g.strip()] for cell in wrong for g in cell.split(",") if g.strip() in GRADE_VARIANTS
    }
    shown = ", ".join(f"{old} as {new}" for old, new in sorted(proposals.items())[:6])
    detail = f"A mapping could read {shown}." if shown else ""
    ctx.flag(code, table.name, "grades", indices(cells.is_in(wrong)), detail=detail)


def _lists(ctx: Context, table: Table) -> None:
    """109 to 113: the form of lists and of their items."""
    frame = ctx.frames[table.name]
    tests: list[Test] = []
    for column in table.columns:
        if not column.listed:
            continue
        cell = pl.col(column.name)
        hollow = cell.str.contains(r"^\s*,|,\s*,|,\s*$")
        reference = column.kind == "guidref"
        separators = cell.str.contains(r"[;|\[\]]") if not column.pattern else pl.lit(False)
        tests.append(Test("OR-CSV-109", column.name, hollow | separators, effect="none" if column.required else None))
        tests.append(Test("OR-CSV-110", column.name, cell.str.contains(r"\s,|,\s")))
        repeated = cell.str.contains(",", literal=True) & (
            cell.str.split(",").list.eval(pl.element().str.strip_chars()).list.n_unique()
            < cell.str.split(",").list.len()
        )
        tests.append(Test("OR-CSV-111", column.name, repeated))
        if reference:
            tests.append(Test("OR-CSV-101", column.name, (cell != "") & ~cell.str.contains(r"^[0-9A-Za-z.\-_/@,\s]+$")))
            # Blanks of other kinds, or inside an item: if it leads nowhere for that, its own rule says what it costs.
            blanks = cell.str.contains(r"[^\S ]|[^,\s]\s+[^,\s]")
            tests.append(Test("OR-CSV-101", column.name, blanks, "It holds blanks.", effect="none"))
        elif column.pattern:
            item = column.pattern.removeprefix("^").removesuffix("$")
            code = "OR-CSV-113" if column.name == "scoreScaleValue" else "OR-CSV-112"
            tests.append(
                Test(code, column.name, (cell != "") & ~cell.str.contains(rf"^\s*{item}(?:\s*,\s*{item})*\s*$"))
            )
        vocabulary = _vocabulary(ctx, column)
        if vocabulary is not None and column.kind == "enum":
            known = "|".join(vocabulary.values) + (r"|ext:[A-Za-z0-9._\-]+" if vocabulary.extensible else "")
            tests.append(
                Test(
                    OF_VOCABULARY["importance"],
                    column.name,
                    (cell != "") & ~cell.str.contains(rf"^\s*(?:{known})(?:\s*,\s*(?:{known}))*\s*$"),
                )
            )
    if len(frame):
        run(ctx, table.name, tests)
