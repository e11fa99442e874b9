"""Best practice (OR-CSV-260 to 275), as far as a machine can tell from one delivery."""

from __future__ import annotations

import polars as pl

from rosters.validating.context import Context, indices
from rosters.validating.semantics import comparable, in_role, whole

LARGE_CLASS = 50


def check(ctx: Context) -> None:
    """What guides and receivers ask beyond the binding; nothing here costs a value."""
    if ctx.has("courses", "orgs") and len(ctx.frames["courses"]):
        _courses(ctx)
    if ctx.has("users") and len(ctx.frames["users"]):
        _users(ctx)
    if ctx.has("orgs"):
        orgs = ctx.frames["orgs"]
        ctx.flag("OR-CSV-266", "orgs", "identifier", indices((orgs["type"] == "school") & (orgs["identifier"] == "")))
    if ctx.has("classes", "academicSessions") and len(ctx.frames["classes"]):
        _terms(ctx)
    if ctx.has("enrollments", "classes") and len(ctx.frames["enrollments"]):
        _sizes(ctx)
    for name in ctx.frames:
        for column in ctx.frames[name].columns:
            if column.startswith("metadata.") and column.count(".") < 2:
                ctx.findings.add("OR-CSV-274", f"{name}.csv", column)


def _courses(ctx: Context) -> None:
    courses = ctx.frames["courses"]
    kind = ctx.value_at("orgs", "type", ctx.row_of("courses", "orgSourcedId"))
    named = courses.select("title", "courseCode", "orgSourcedId").with_columns(kind=kind).with_row_index("row")
    repeated = named.filter((pl.col("kind") == "school") & pl.struct("title", "courseCode").is_duplicated())
    ctx.flag("OR-CSV-262", "courses", "title", repeated["row"])
    if ctx.has("classes") and len(ctx.frames["classes"]) >= 20 and len(courses) >= len(ctx.frames["classes"]):
        ctx.findings.add("OR-CSV-263", "courses.csv")


def _users(ctx: Context) -> None:
    users = ctx.frames["users"]
    ctx.flag("OR-CSV-264", "users", "grades", indices(in_role(ctx, "student") & (users["grades"] == "")))
    if "role" in users.columns:
        several = users.filter(users["username"].is_duplicated() & (users["username"] != ""))
        people = several.group_by("username").agg(roles=pl.col("role").n_unique())
        number = len(people.filter(pl.col("roles") > 1))
        if number:
            ctx.findings.add("OR-CSV-270", "users.csv", "username", count=number)
    if "orgSourcedIds" in users.columns:
        number = int(users["orgSourcedIds"].str.contains(",", literal=True).sum())
        if number:
            ctx.findings.add("OR-CSV-269", "users.csv", "orgSourcedIds", count=number)


def _terms(ctx: Context) -> None:
    """268: classes that lie wholly in the future, and a set in which no term is running today."""
    today = ctx.options.today.isoformat()
    terms = ctx.items("classes", "termSourcedIds")
    to = ctx.rows_named(terms["item"], "academicSessions")
    dated = terms.with_columns(
        begin=ctx.value_at("academicSessions", "startDate", to), end=ctx.value_at("academicSessions", "endDate", to)
    ).filter(pl.col("begin").is_not_null())
    if not len(dated):
        return
    running = (pl.col("begin") <= today) & (pl.col("end") > today)
    all_usable = not ctx.bad["academicSessions"].any()
    if whole(ctx, "classes", "academicSessions") and all_usable and dated.filter(running).is_empty():
        ctx.findings.add("OR-CSV-268", "academicSessions.csv", "startDate", detail="No term is running today.")
    first = dated.group_by("row").agg(pl.col("begin").min())
    later = comparable(ctx, "classes", first.filter(pl.col("begin") > today)["row"].sort(), "termSourcedIds")
    ctx.flag("OR-CSV-268", "classes", "termSourcedIds", later, detail="They begin in the future.")


def _sizes(ctx: Context) -> None:
    row = ctx.row_of("enrollments", "classSourcedId")
    students = pl.DataFrame({"class": row}).filter(
        (ctx.frames["enrollments"]["role"] == "student") & pl.col("class").is_not_null()
    )
    sizes = students.group_by("class").len("size").filter(pl.col("size") > LARGE_CLASS)
    ctx.flag("OR-CSV-272", "classes", "sourcedId", sizes["class"].sort())
