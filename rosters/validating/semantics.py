"""Rostering semantics (OR-CSV-200 to 234): records that are well formed each by itself, but do not fit together.

Everything compares row numbers and short columns gathered through them; no id is looked up twice.
"""

from __future__ import annotations

import polars as pl

from rosters.findings import Effect
from rosters.oneroster.normal import REFERENCES
from rosters.validating.context import Context, indices

_ORG_LEVEL = {"national": 0, "state": 1, "local": 2, "district": 3, "school": 4}
_SESSION_LEVEL = {"schoolYear": 0, "semester": 1, "term": 1, "gradingPeriod": 2}
_AGENTS = ("parent", "guardian", "relative")
#: Roles of a user (1.1 and 1.2) that go with each role of an enrollment.
_FITTING = {
    "student": ("student",),
    "teacher": (
        "teacher",
        "aide",
        "administrator",
        "principal",
        "districtAdministrator",
        "siteAdministrator",
        "counselor",
    ),
    "administrator": (
        "administrator",
        "principal",
        "districtAdministrator",
        "siteAdministrator",
        "systemAdministrator",
        "teacher",
    ),
    "proctor": (
        "proctor",
        "teacher",
        "aide",
        "administrator",
        "principal",
        "siteAdministrator",
        "districtAdministrator",
    ),
}


def check(ctx: Context) -> None:
    """Every rule whose tables were delivered."""
    for tables, rule in (
        (("orgs",), _orgs),
        (("academicSessions",), _sessions),
        (("courses",), _courses),
        (("classes",), _classes),
        (("users",), _users),
        (("users", "roles"), _roles),
        (("demographics",), _demographics),
        (("enrollments",), _enrollments),
    ):
        if ctx.has(*tables) and all(len(ctx.frames[t]) for t in tables):
            rule(ctx)
    _unreferenced(ctx)


# --------------------------------------------------------------------------------------------------------- orgs and
# sessions


def _cycles(ctx: Context, table: str, code: str) -> None:
    """Follow every parent until it ends; whoever is still going after as many steps as there are rows goes in
    circles."""
    parent = ctx.row_of(table, "parentSourcedId")
    start = pl.Series("row", range(len(parent)), dtype=pl.UInt32)
    here, steps = start, 0
    going = start
    while len(going) and steps <= min(len(parent), 64):
        here = parent.gather(here)
        keep = here.is_not_null()
        here, going, steps = here.filter(keep), going.filter(keep), steps + 1
    if len(going):
        ctx.flag(code, table, "parentSourcedId", going, effect="value")


def _parents(ctx: Context, table: str, kind: str) -> pl.DataFrame:
    """``row``, ``own``, ``parent_row``, ``above``: each record with a parent here, and the kinds of both."""
    parent = ctx.row_of(table, "parentSourcedId")
    return (
        pl.DataFrame({"own": ctx.frames[table][kind], "parent_row": parent, "above": ctx.value_at(table, kind, parent)})
        .with_row_index("row")
        .filter(pl.col("parent_row").is_not_null())
    )


def _orgs(ctx: Context) -> None:
    _cycles(ctx, "orgs", "OR-CSV-200")
    pairs = _parents(ctx, "orgs", "type")
    level = {k: str(v) for k, v in _ORG_LEVEL.items()}
    ranked = pairs.with_columns(
        a=pl.col("own").replace_strict(level, default=None).cast(pl.Int8, strict=False),
        b=pl.col("above").replace_strict(level, default=None).cast(pl.Int8, strict=False),
    )
    ctx.flag("OR-CSV-201", "orgs", "parentSourcedId", ranked.filter(pl.col("a") < pl.col("b"))["row"])
    types = ctx.frames["orgs"]["type"]
    if not (types == "school").any() and ctx.mode("orgs") == "bulk":
        ctx.findings.add("OR-CSV-202", "orgs.csv", "type", detail="There is no school.")
        return
    parent = ctx.row_of("orgs", "parentSourcedId")
    row = pl.Series("row", range(len(types)), dtype=pl.UInt32)
    reached = types.is_in(["district", "local", "state", "national"])
    above = parent
    for _ in range(6):
        reached |= (
            ctx.value_at("orgs", "type", above).is_in(["district", "local", "state", "national"]).fill_null(False)
        )
        above = parent.gather(above.fill_null(0)).zip_with(above.is_not_null(), above)
    ctx.flag("OR-CSV-202", "orgs", "parentSourcedId", row.filter((types == "school") & ~reached))


def _sessions(ctx: Context) -> None:
    _cycles(ctx, "academicSessions", "OR-CSV-203")
    frame = ctx.frames["academicSessions"]
    pairs = _parents(ctx, "academicSessions", "type")
    if len(pairs):
        dates = pairs.with_columns(
            begin=frame["startDate"].gather(pairs["row"]),
            end=frame["endDate"].gather(pairs["row"]),
            parent_begin=frame["startDate"].gather(pairs["parent_row"]),
            parent_end=frame["endDate"].gather(pairs["parent_row"]),
            year=frame["schoolYear"].gather(pairs["row"]),
            parent_year=frame["schoolYear"].gather(pairs["parent_row"]),
            a=pairs["own"]
            .replace_strict({k: str(v) for k, v in _SESSION_LEVEL.items()}, default=None)
            .cast(pl.Int8, strict=False),
            b=pairs["above"]
            .replace_strict({k: str(v) for k, v in _SESSION_LEVEL.items()}, default=None)
            .cast(pl.Int8, strict=False),
        )
        outside = (pl.col("begin") < pl.col("parent_begin")) | (pl.col("end") > pl.col("parent_end"))
        ctx.flag("OR-CSV-204", "academicSessions", "startDate", dates.filter(outside)["row"])
        ctx.flag(
            "OR-CSV-205",
            "academicSessions",
            "parentSourcedId",
            dates.filter((pl.col("a") < pl.col("b")) | (pl.col("a") == pl.col("b")) & (pl.col("a") != 1))["row"],
        )
        ctx.flag(
            "OR-CSV-206",
            "academicSessions",
            "schoolYear",
            dates.filter(pl.col("year") != pl.col("parent_year"))["row"],
            detail="It differs from the parent's.",
        )
    year = frame["type"] == "schoolYear"
    ctx.flag(
        "OR-CSV-206",
        "academicSessions",
        "schoolYear",
        indices(year & (frame["endDate"] != "") & (frame["endDate"].str.head(4) != frame["schoolYear"])),
    )


# -------------------------------------------------------------------------------------------------------- courses and
# classes


def _wrong_type(ctx: Context, code: str, table: str, column: str, wanted: str, effect: Effect) -> None:
    """207, 208, 214: a reference leads to a record of another type (1.2 lets ``ext:`` types pass)."""
    known = ctx.column(table, column)
    assert known is not None
    if known.refers_to not in ctx.frames:
        return
    found = ctx.value_at(known.refers_to, "type", ctx.row_of(table, column))
    wrong = found.is_not_null() & (found != wanted)
    if ctx.delivered.version == "1.2":
        wrong &= ~found.str.starts_with("ext:")
    ctx.flag(code, table, column, indices(wrong & ~ctx.bad[table]), effect=effect)


def _courses(ctx: Context) -> None:
    _wrong_type(ctx, "OR-CSV-207", "courses", "schoolYearSourcedId", "schoolYear", "value")


def _classes(ctx: Context) -> None:
    frame = ctx.frames["classes"]
    _wrong_type(ctx, "OR-CSV-208", "classes", "schoolSourcedId", "school", "row")
    bare = (frame["termSourcedIds"].str.strip_chars(" ,") == "") & (frame["termSourcedIds"] != "")
    ctx.flag("OR-CSV-209", "classes", "termSourcedIds", indices(bare), effect="row")
    if ctx.has("academicSessions"):
        terms = ctx.items("classes", "termSourcedIds")
        kinds = ctx.value_at("academicSessions", "type", ctx.rows_named(terms["item"], "academicSessions"))
        ctx.flag(
            "OR-CSV-210",
            "classes",
            "termSourcedIds",
            terms["row"].filter((kinds == "schoolYear").fill_null(False)).unique(),
        )
    if ctx.has("courses", "orgs"):
        course = ctx.row_of("classes", "courseSourcedId")
        org_of_course = ctx.value_at("courses", "orgSourcedId", course)
        kind = ctx.value_at("orgs", "type", ctx.rows_named(org_of_course.fill_null(""), "orgs"))
        ctx.flag(
            "OR-CSV-211",
            "classes",
            "courseSourcedId",
            indices((kind == "school") & (org_of_course != frame["schoolSourcedId"])),
        )
    if ctx.has("enrollments") and ctx.mode("classes") == ctx.mode("enrollments") == "bulk":
        row = ctx.row_of("enrollments", "classSourcedId")
        roles = ctx.frames["enrollments"]["role"]
        all_rows = pl.Series("row", range(len(frame)), dtype=pl.UInt32)
        for role in ("teacher", "student"):
            having = row.filter((roles == role) & row.is_not_null()).unique()
            ctx.flag(
                "OR-CSV-222",
                "classes",
                "sourcedId",
                all_rows.filter(~all_rows.is_in(having.implode())),
                detail=f"No {role}.",
            )


# --------------------------------------------------------------------------------------------------------------------
# users


def _shared(ctx: Context, table: str, column: str, *also: str) -> pl.Series:
    """Rows whose `column` is given and shared with a record that differs in one of `also`."""
    frame = ctx.frames[table]
    cells = frame[column]
    given = cells != ""
    if cells.filter(given).hash().n_unique() == int(given.sum()):
        return pl.Series("row", [], dtype=pl.UInt32)
    named = frame.select(
        key=pl.col(column).str.to_lowercase(), who=pl.concat_str(*also, separator="\n") if also else pl.col("sourcedId")
    ).with_row_index("row")
    counted = named.filter(pl.col("key") != "").with_columns(people=pl.col("who").n_unique().over("key"))
    return counted.filter(pl.col("people") > 1)["row"]


def _users(ctx: Context) -> None:
    frame = ctx.frames["users"]
    if ctx.delivered.version == "1.1":
        empty = (frame["orgSourcedIds"].str.strip_chars(" ,") == "") & (frame["orgSourcedIds"] != "")
        ctx.flag("OR-CSV-223", "users", "orgSourcedIds", indices(empty), effect="row")
    if (frame["agentSourcedIds"] != "").any():
        links = ctx.items("users", "agentSourcedIds")
        to = ctx.rows_named(links["item"], "users")
        ctx.flag(
            "OR-CSV-224",
            "users",
            "agentSourcedIds",
            links["row"].filter((to == links["row"]).fill_null(False)).unique(),
            detail="It is the user itself.",
        )
        if "role" in frame.columns:
            student = frame["role"].gather(links["row"]) == "student"
            odd = student & ~ctx.value_at("users", "role", to).is_in(list(_AGENTS)) & to.is_not_null()
            ctx.flag("OR-CSV-224", "users", "agentSourcedIds", links["row"].filter(odd.fill_null(False)).unique())
    ctx.flag("OR-CSV-225", "users", "username", _shared(ctx, "users", "username", "givenName", "familyName"))
    for column in ("email", "identifier"):
        ctx.flag("OR-CSV-226", "users", column, _shared(ctx, "users", column, "givenName", "familyName"))
    if ctx.delivered.version == "1.2":
        ctx.flag("OR-CSV-231", "users", "userMasterIdentifier", _shared(ctx, "users", "userMasterIdentifier"))


def _roles(ctx: Context) -> None:
    """227 to 230, of 1.2: everyone has a role, at most one primary per org, and uses only their own profiles."""
    users, roles = ctx.frames["users"], ctx.frames["roles"]
    owner = ctx.row_of("roles", "userSourcedId")
    if ctx.mode("users") == ctx.mode("roles") == "bulk":
        everyone = pl.Series("row", range(len(users)), dtype=pl.UInt32)
        ctx.flag(
            "OR-CSV-227",
            "users",
            "sourcedId",
            everyone.filter(~everyone.is_in(owner.drop_nulls().unique().implode())),
            effect="none",
        )
    primary = roles.with_row_index("row").filter(pl.col("roleType") == "primary")
    twice = primary.filter(pl.struct("userSourcedId", "orgSourcedId").is_duplicated())
    ctx.flag("OR-CSV-228", "roles", "roleType", twice["row"], effect="none")
    named = (
        users.select("sourcedId", "primaryOrgSourcedId")
        .with_row_index("row")
        .filter(pl.col("primaryOrgSourcedId") != "")
    )
    held = roles.select(sourcedId="userSourcedId", primaryOrgSourcedId="orgSourcedId").unique()
    if ctx.mode("roles") == "bulk":
        ctx.flag(
            "OR-CSV-229",
            "users",
            "primaryOrgSourcedId",
            named.join(held, on=["sourcedId", "primaryOrgSourcedId"], how="anti")["row"],
        )
    if ctx.has("userProfiles"):
        whose = ctx.value_at("userProfiles", "userSourcedId", ctx.row_of("roles", "userProfileSourcedId"))
        ctx.flag(
            "OR-CSV-230", "roles", "userProfileSourcedId", indices(whose != roles["userSourcedId"]), effect="value"
        )


_RACES = (
    "americanIndianOrAlaskaNative",
    "asian",
    "blackOrAfricanAmerican",
    "nativeHawaiianOrOtherPacificIslander",
    "white",
)


def _demographics(ctx: Context) -> None:
    frame = ctx.frames["demographics"]
    named = frame.select(pl.sum_horizontal((pl.col(c) == "true").cast(pl.Int8) for c in _RACES)).to_series()
    several = frame["demographicRaceTwoOrMoreRaces"]
    ctx.flag(
        "OR-CSV-232",
        "demographics",
        "demographicRaceTwoOrMoreRaces",
        indices((several == "false") & (named > 1) | (several == "true") & (named == 1)),
    )


# --------------------------------------------------------------------------------------------------------------
# enrollments


def _enrollments(ctx: Context) -> None:
    frame = ctx.frames["enrollments"]
    _wrong_type(ctx, "OR-CSV-214", "enrollments", "schoolSourcedId", "school", "row")
    role, primary = frame["role"], frame["primary"]
    ctx.flag("OR-CSV-218", "enrollments", "primary", indices((primary == "true") & (role != "teacher")), effect="value")
    if ctx.has("classes"):
        of_class = ctx.row_of("enrollments", "classSourcedId")
        school = ctx.value_at("classes", "schoolSourcedId", of_class)
        ctx.flag("OR-CSV-215", "enrollments", "schoolSourcedId", indices(school != frame["schoolSourcedId"]))
        if ctx.has("academicSessions"):
            _within_terms(ctx, of_class)
        _teachers(ctx, of_class)
    if ctx.has("users"):
        user = ctx.row_of("enrollments", "userSourcedId")
        _belonging(ctx, user)
        _twice(ctx, user)
        enabled = ctx.value_at("users", "enabledUser", user)
        off = user.filter((enabled == "false").fill_null(False)).unique()
        ctx.flag("OR-CSV-234", "users", "enabledUser", off)


def _within_terms(ctx: Context, of_class: pl.Series) -> None:
    """221: dates within the span of all terms of the class."""
    terms = ctx.items("classes", "termSourcedIds")
    to = ctx.rows_named(terms["item"], "academicSessions")
    spans = (
        terms.with_columns(
            begin=ctx.value_at("academicSessions", "startDate", to), end=ctx.value_at("academicSessions", "endDate", to)
        )
        .group_by("row")
        .agg(pl.col("begin").min(), pl.col("end").max())
    )
    place = pl.DataFrame({"row": pl.Series(range(len(ctx.frames["classes"])), dtype=pl.UInt32)}).join(
        spans, on="row", how="left", maintain_order="left"
    )
    safe = of_class.fill_null(0)
    first, last = place["begin"].gather(safe), place["end"].gather(safe)
    frame = ctx.frames["enrollments"]
    begin, end = frame["beginDate"], frame["endDate"]
    early = (begin != "") & (begin < first)
    late = (end != "") & (end > last)
    ctx.flag("OR-CSV-221", "enrollments", "beginDate", indices((early | late) & of_class.is_not_null()))


def _teachers(ctx: Context, of_class: pl.Series) -> None:
    """219: one primary teacher at a time."""
    frame = ctx.frames["enrollments"]
    teaching = (
        pl.DataFrame(
            {
                "class": of_class,
                "primary": frame["primary"] == "true",
                "begin": frame["beginDate"],
                "end": frame["endDate"],
                "role": frame["role"],
            }
        )
        .with_row_index("row")
        .filter((pl.col("role") == "teacher") & pl.col("class").is_not_null())
    )
    per_class = teaching.group_by("class").agg(n=pl.len(), p=pl.col("primary").sum())
    many = per_class.filter(pl.col("p") > 1)["class"]
    if len(many):
        rows = teaching.filter(pl.col("primary") & pl.col("class").is_in(many.implode())).sort("class", "begin")
        after = (
            pl.when(pl.col("end").shift(1).over("class") == "")
            .then(pl.lit("9999"))
            .otherwise(pl.col("end").shift(1).over("class"))
        )
        ctx.flag("OR-CSV-219", "enrollments", "primary", rows.filter(after > pl.col("begin"))["row"])
    nobody = per_class.filter((pl.col("p") == 0) & (pl.col("n") > 1))["class"]
    if len(nobody):
        ctx.flag(
            "OR-CSV-219",
            "enrollments",
            "primary",
            teaching.filter(pl.col("class").is_in(nobody.implode()))["row"],
            detail="No teacher is marked.",
        )


def _belonging(ctx: Context, user: pl.Series) -> None:
    """216 and 217: at a school, and in a role, that are the user's own."""
    frame = ctx.frames["enrollments"]
    if ctx.delivered.version == "1.1":
        orgs = ctx.items("users", "orgSourcedIds").rename({"row": "user", "item": "org"})
        roles = ctx.frames["users"]["role"].to_frame("role").with_row_index("user")
    elif ctx.has("roles"):
        owner = ctx.row_of("roles", "userSourcedId")
        held = (
            ctx.frames["roles"]
            .select("role", org="orgSourcedId")
            .with_columns(owner.alias("user"))
            .filter(pl.col("user").is_not_null())
        )
        orgs, roles = held.select("user", "org"), held.select("user", "role")
    else:
        return
    asked = (
        pl.DataFrame({"user": user, "org": frame["schoolSourcedId"], "role": frame["role"]})
        .with_row_index("row")
        .filter(pl.col("user").is_not_null())
    )
    school = ctx.rows_named(orgs["org"], "orgs") if ctx.has("orgs") else None
    above = (
        orgs.filter((ctx.value_at("orgs", "type", school) != "school").fill_null(False))["user"].unique()
        if school is not None
        else None
    )
    strangers = asked.join(orgs.unique(), on=["user", "org"], how="anti")
    if above is not None and len(above):
        strangers = strangers.filter(~pl.col("user").is_in(above.implode()))
    ctx.flag("OR-CSV-216", "enrollments", "schoolSourcedId", strangers["row"])
    fitting = pl.DataFrame(
        [(own, enrolled) for enrolled, owns in _FITTING.items() for own in owns], schema=["own", "role"], orient="row"
    )
    allowed = (
        roles.unique().join(fitting, left_on="role", right_on="own", how="inner").select("user", role="role_right")
    )
    odd = asked.filter(pl.col("role").is_in(list(_FITTING))).join(allowed.unique(), on=["user", "role"], how="anti")
    ctx.flag("OR-CSV-217", "enrollments", "role", odd["row"])


def _twice(ctx: Context, user: pl.Series) -> None:
    """220: the same user, class and role with overlapping dates."""
    frame = ctx.frames["enrollments"]
    if not ctx.has("classes"):
        return
    keyed = pl.DataFrame({"u": user, "c": ctx.row_of("enrollments", "classSourcedId"), "r": frame["role"]})
    if keyed.hash_rows().n_unique() == len(keyed):
        return
    rows = (
        keyed.with_columns(begin=frame["beginDate"], end=frame["endDate"])
        .with_row_index("row")
        .filter(pl.col("u").is_not_null() & pl.col("c").is_not_null())
    )
    again = rows.filter(pl.struct("u", "c", "r").is_duplicated()).sort("u", "c", "r", "begin")
    before = pl.col("end").shift(1).over("u", "c", "r")
    overlap = again.filter(pl.when(before == "").then(pl.lit("9999")).otherwise(before) > pl.col("begin"))
    ctx.flag("OR-CSV-220", "enrollments", "userSourcedId", overlap["row"])


# ------------------------------------------------------------------------------------------------------------
# unreferenced


_USED_BY = {
    "orgs": ("classes", "courses", "users", "enrollments", "roles"),
    "courses": ("classes",),
    "classes": ("enrollments",),
    "academicSessions": ("classes", "courses"),
    "users": ("enrollments",),
}


def _unreferenced(ctx: Context) -> None:
    """233: how many records nothing refers to; counted for support, without places."""
    if not ctx.applies("OR-CSV-233"):
        return
    for name, users in _USED_BY.items():
        if name not in ctx.frames or not any(u in ctx.frames for u in users) or ctx.mode(name) != "bulk":
            continue
        used: list[pl.Series] = []
        for other, columns in {**{t: dict(c) for t, c in REFERENCES.items()}}.items():
            if other not in ctx.frames:
                continue
            for column, target in columns.items():
                known = ctx.column(other, column)
                if target == name and known is not None and known.refers_to and other != "demographics":
                    used.append(ctx.row_of(other, column).drop_nulls().unique())
        for other, column in (("classes", "termSourcedIds"), ("users", "orgSourcedIds"), ("users", "agentSourcedIds")):
            known = ctx.column(other, column) if other in ctx.frames else None
            if known is not None and known.refers_to == name:
                used.append(ctx.rows_named(ctx.items(other, column)["item"], name).drop_nulls().unique())
        seen = pl.concat(used).n_unique() if used else 0
        idle = len(ctx.frames[name]) - seen
        if idle and (name != "users" or "enrollments" in ctx.frames):
            ctx.findings.add("OR-CSV-233", f"{name}.csv", "sourcedId", count=idle, severity="info")
