"""Rostering semantics (OR-CSV-200 to 234): records that are well formed each by itself, but do not fit together.

Everything compares row numbers and short columns gathered through them; no id is looked up twice. What only the whole
roster can show (a class without a teacher, a user without a role) is asked of bulk files only.
"""

from __future__ import annotations

import polars as pl

from rosters.findings import Effect
from rosters.oneroster.normal import REFERENCES
from rosters.validating.context import YEAR, Context, going, indices

_ORG_LEVEL = {"national": 0, "state": 1, "local": 2, "district": 3, "school": 4}
_SESSION_LEVEL = {"schoolYear": 0, "semester": 1, "term": 1, "gradingPeriod": 2}
_HIGH_ORGS = ("district", "local", "state", "national")
_FAMILY = ("parent", "guardian", "relative")
LEADERS = ("administrator", "principal", "districtAdministrator", "siteAdministrator")
#: Roles of a user (1.1 and 1.2) that go with each role of an enrollment.
_FITTING = {
    "student": ("student",),
    "teacher": ("teacher", "aide", "counselor", *LEADERS),
    "administrator": ("teacher", "systemAdministrator", *LEADERS),
    "proctor": ("proctor", "teacher", "aide", *LEADERS),
}
#: Orgs above one another that are looked at; nobody has more than a handful, except in a circle.
_DEEPEST = 16


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


def whole(ctx: Context, *tables: str) -> bool:
    """These tables are here, and hold everything."""
    return ctx.has(*tables) and all(ctx.mode(table) == "bulk" for table in tables)


def _numbers(rows: int) -> pl.Series:
    return pl.int_range(rows, dtype=pl.UInt32, eager=True).alias("row")


def living(ctx: Context, table: str) -> pl.Series:
    """False for the rows of a delta that only say that their record is gone."""
    return ~ctx.frames[table].select(going()).to_series()


def in_role(ctx: Context, *roles: str) -> pl.Series:
    """For each user, whether this delivery says that they are there and hold one of these roles (1.1: users.role; 1.2:
    roles.csv)."""
    users = ctx.frames["users"]
    if "role" in users.columns:
        return users["role"].is_in(roles) & living(ctx, "users")
    if not ctx.has("roles"):
        return pl.repeat(False, len(users), eager=True)
    holding = ctx.row_of("roles", "userSourcedId").filter(ctx.frames["roles"]["role"].is_in(roles)).drop_nulls()
    return _numbers(len(users)).is_in(holding.implode()) & living(ctx, "users")


def comparable(ctx: Context, table: str, rows: pl.Series, *columns: str) -> pl.Series:
    """Those of `rows` whose cells in `columns` are what they should be; the others have been reported for that."""
    for column in columns:
        for dropped in ctx.drops.get(table, {}).get(column, ()):
            rows = rows.filter(~rows.is_in(dropped.implode()))
    return rows


# --------------------------------------------------------------------------------------------------- orgs and sessions


def _cycles(ctx: Context, table: str, code: str) -> None:
    """200 and 203. After more steps upwards than there are rows one can only be in a circle: these rows are flagged,
    not what hangs below them."""
    steps = ctx.row_of(table, "parentSourcedId")
    for _ in range(len(steps).bit_length()):
        steps = steps.gather(steps)  # twice as many steps at once
    ctx.flag(code, table, "parentSourcedId", steps.drop_nulls().unique().sort(), effect="value")


def _lineage(ctx: Context) -> pl.DataFrame:
    """``org`` and ``above``, row numbers: each org with itself and with every org over it."""
    parent = ctx.row_of("orgs", "parentSourcedId")
    org = above = _numbers(len(parent))
    steps = [pl.DataFrame(schema={"org": pl.UInt32, "above": pl.UInt32})]  # of orgs none of which was read
    while len(org) and len(steps) <= _DEEPEST:
        steps.append(pl.DataFrame({"org": org, "above": above}))
        higher = parent.gather(above)
        org, above = org.filter(higher.is_not_null()), higher.drop_nulls()
    return pl.concat(steps).unique()


def _levels(kinds: pl.Series, levels: dict[str, int]) -> pl.Series:
    """How high each kind stands, 0 the highest; null for a word without a rank."""
    return kinds.replace_strict(levels, default=None, return_dtype=pl.Int8)


def _orgs(ctx: Context) -> None:
    _cycles(ctx, "orgs", "OR-CSV-200")
    types, parent = ctx.frames["orgs"]["type"], ctx.row_of("orgs", "parentSourcedId")
    above = _levels(ctx.value_at("orgs", "type", parent), _ORG_LEVEL)
    ctx.flag("OR-CSV-201", "orgs", "parentSourcedId", indices(_levels(types, _ORG_LEVEL) < above))
    schools = indices(types == "school")
    if not len(schools) and whole(ctx, "orgs"):
        ctx.findings.add("OR-CSV-202", "orgs.csv", "type", detail="There is no school.")
    # Where the way up leaves this file (to an org accepted before, or to none, which is reported), nobody can tell.
    leaving = parent.is_null() & (ctx.frames["orgs"]["parentSourcedId"] != "")
    ends = indices(types.is_in(_HIGH_ORGS) | leaving)
    reaching = _lineage(ctx).filter(pl.col("above").is_in(ends.implode()))["org"]
    ctx.flag("OR-CSV-202", "orgs", "parentSourcedId", schools.filter(~schools.is_in(reaching.implode())))


def _session_dates(ctx: Context) -> pl.DataFrame:
    """``begin`` and ``end`` of every session; null where the cell is no date, which has been reported."""
    return ctx.frames["academicSessions"].select(
        pl.col(column).str.to_date("%Y-%m-%d", strict=False).alias(name)
        for name, column in (("begin", "startDate"), ("end", "endDate"))
    )


def _sessions(ctx: Context) -> None:
    table = "academicSessions"
    _cycles(ctx, table, "OR-CSV-203")
    frame, parent, dates = ctx.frames[table], ctx.row_of(table, "parentSourcedId"), _session_dates(ctx)
    over = dates.select(pl.all().gather(parent))
    ctx.flag("OR-CSV-204", table, "startDate", indices(dates["begin"] < over["begin"]))
    ctx.flag("OR-CSV-204", table, "endDate", indices(dates["end"] > over["end"]))
    level = _levels(frame["type"], _SESSION_LEVEL)
    above = _levels(ctx.value_at(table, "type", parent), _SESSION_LEVEL)
    wide = (level < above) | (level == above) & (level != _SESSION_LEVEL["term"])
    ctx.flag("OR-CSV-205", table, "parentSourcedId", indices(wide))
    years = frame.select(pl.when(pl.col("schoolYear").str.contains(YEAR)).then("schoolYear")).to_series()
    other = years != years.gather(parent)
    ctx.flag("OR-CSV-206", table, "schoolYear", indices(other), detail="It differs from the parent's.")
    # endDate is the first day that is no longer part: a calendar year ends in the year before.
    closing = dates["end"].dt.offset_by("-1d").dt.year().cast(pl.String)
    wrong = (frame["type"] == "schoolYear") & (closing != years)
    ctx.flag("OR-CSV-206", table, "schoolYear", indices(wrong))


# ------------------------------------------------------------------------------------------------- courses and classes


def _wrong_type(ctx: Context, code: str, table: str, column: str, wanted: str, effect: Effect) -> None:
    """207, 208, 214: a reference leads to a record of another type (1.2 lets ``ext:`` types pass)."""
    known = ctx.column(table, column)
    assert known is not None
    if known.refers_to not in ctx.frames:
        return
    types = ctx.frames[known.refers_to]["type"]
    wrong = types != wanted
    if ctx.delivered.version == "1.2":
        wrong &= ~types.str.starts_with("ext:")
    if wrong.any():
        leading = wrong.gather(ctx.row_of(table, column))
        ctx.flag(code, table, column, indices(leading & ~ctx.bad[table]), effect=effect)


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
        whole_years = terms["row"].filter((kinds == "schoolYear").fill_null(False)).unique()
        ctx.flag("OR-CSV-210", "classes", "termSourcedIds", whole_years)
    if ctx.has("courses") and whole(ctx, "orgs"):
        _foreign_courses(ctx)
    if whole(ctx, "classes", "enrollments"):
        _lonely_classes(ctx)


def _foreign_courses(ctx: Context) -> None:
    """211: courses of an org that is neither the school of the class nor above it."""
    owner = ctx.row_of("courses", "orgSourcedId").gather(ctx.row_of("classes", "courseSourcedId"))
    pairs = pl.DataFrame({"org": ctx.row_of("classes", "schoolSourcedId"), "above": owner}).with_row_index("row")
    foreign = pairs.drop_nulls().join(_lineage(ctx), on=["org", "above"], how="anti")
    ctx.flag("OR-CSV-211", "classes", "courseSourcedId", foreign["row"].sort())


def _lonely_classes(ctx: Context) -> None:
    """222: classes without a teacher, and without a student."""
    of_class, roles = ctx.row_of("enrollments", "classSourcedId"), ctx.frames["enrollments"]["role"]
    every = _numbers(len(ctx.frames["classes"]))
    for role in ("teacher", "student"):
        having = of_class.filter((roles == role) & of_class.is_not_null()).unique()
        ctx.flag(
            "OR-CSV-222", "classes", "sourcedId", every.filter(~every.is_in(having.implode())), detail=f"No {role}."
        )


# --------------------------------------------------------------------------------------------------------------- users


def _shared(ctx: Context, column: str, *also: str) -> pl.Series:
    """Users whose `column` is given and shared, in whatever case, with one who differs in one of `also`."""
    frame = ctx.frames["users"]
    key = frame[column].str.to_lowercase()
    given = key.filter(key != "")
    if given.hash().n_unique() == len(given):
        return pl.Series("row", [], dtype=pl.UInt32)
    named = frame.select(who=pl.concat_str(*also, separator="\n")).with_columns(key=key).with_row_index("row")
    counted = named.filter(pl.col("key") != "").with_columns(people=pl.col("who").n_unique().over("key"))
    return counted.filter(pl.col("people") > 1)["row"]


def _users(ctx: Context) -> None:
    frame = ctx.frames["users"]
    if ctx.delivered.version == "1.1":
        empty = (frame["orgSourcedIds"].str.strip_chars(" ,") == "") & (frame["orgSourcedIds"] != "")
        ctx.flag("OR-CSV-223", "users", "orgSourcedIds", indices(empty), effect="row")
    if (frame["agentSourcedIds"] != "").any():
        _agents(ctx)
    for code, column in (("OR-CSV-225", "username"), ("OR-CSV-226", "email"), ("OR-CSV-226", "identifier")):
        ctx.flag(code, "users", column, _shared(ctx, column, "givenName", "familyName"))
    if ctx.delivered.version == "1.2":
        ctx.flag("OR-CSV-231", "users", "userMasterIdentifier", _shared(ctx, "userMasterIdentifier", "sourcedId"))


def _agents(ctx: Context) -> None:
    """224: a user as an agent of their own, and a student with an agent who is known to be something else than family
    (1.2 says who is what in roles.csv)."""
    items = ctx.items("users", "agentSourcedIds")
    links = items.select("row", agent=ctx.rows_named(items["item"], "users")).drop_nulls()
    own = links.filter(pl.col("agent") == pl.col("row"))["row"]
    ctx.flag("OR-CSV-224", "users", "agentSourcedIds", own.unique().sort(), detail="It is the user itself.")
    held = _held_roles(ctx)
    if held is None:
        return
    students = held.filter(pl.col("role") == "student")["user"].implode()
    family = held.filter(pl.col("role").is_in(_FAMILY))["user"].implode()
    odd = links.filter(pl.col("row").is_in(students) & ~pl.col("agent").is_in(family))
    ctx.flag("OR-CSV-224", "users", "agentSourcedIds", odd["row"].unique().sort())


def _held_roles(ctx: Context) -> pl.DataFrame | None:
    """``user`` (row number) and ``role`` of everybody; None where this delivery does not tell all of them."""
    if ctx.delivered.version == "1.1":
        return ctx.frames["users"].select("role").with_row_index("user")
    if not whole(ctx, "roles"):
        return None
    return ctx.frames["roles"].select("role", user=ctx.row_of("roles", "userSourcedId")).drop_nulls().unique()


def _held_orgs(ctx: Context) -> pl.DataFrame | None:
    """``user`` and ``org`` (row numbers) of everybody; None where this delivery does not tell all of them."""
    if ctx.delivered.version == "1.1":
        items = ctx.items("users", "orgSourcedIds")
        return items.select(user="row", org=ctx.rows_named(items["item"], "orgs")).drop_nulls().unique()
    if not whole(ctx, "roles"):
        return None
    org, user = ctx.row_of("roles", "orgSourcedId"), ctx.row_of("roles", "userSourcedId")
    return pl.DataFrame({"user": user, "org": org}).drop_nulls().unique()


def _roles(ctx: Context) -> None:
    """227 to 230, of 1.2: everyone has a role, at most one primary per org, and uses only their own profiles."""
    users, roles = ctx.frames["users"], ctx.frames["roles"]
    if whole(ctx, "users", "roles"):
        every, having = _numbers(len(users)), ctx.row_of("roles", "userSourcedId").drop_nulls().unique()
        ctx.flag("OR-CSV-227", "users", "sourcedId", every.filter(~every.is_in(having.implode())), effect="none")
    primary = roles.with_row_index("row").filter((pl.col("roleType") == "primary") & living(ctx, "roles"))
    twice = primary.filter(pl.struct("userSourcedId", "orgSourcedId").is_duplicated())
    ctx.flag("OR-CSV-228", "roles", "roleType", twice["row"], effect="none")
    if whole(ctx, "roles"):
        named = users.with_row_index("row").filter(pl.col("primaryOrgSourcedId") != "")
        held = roles.select(sourcedId="userSourcedId", primaryOrgSourcedId="orgSourcedId")
        nowhere = named.join(held, on=["sourcedId", "primaryOrgSourcedId"], how="anti")
        ctx.flag("OR-CSV-229", "users", "primaryOrgSourcedId", nowhere["row"])
    if ctx.has("userProfiles"):
        whose = ctx.value_at("userProfiles", "userSourcedId", ctx.row_of("roles", "userProfileSourcedId"))
        others = indices(whose != roles["userSourcedId"])
        ctx.flag("OR-CSV-230", "roles", "userProfileSourcedId", others, effect="value")


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


# --------------------------------------------------------------------------------------------------------- enrollments


def _enrollments(ctx: Context) -> None:
    frame = ctx.frames["enrollments"]
    _wrong_type(ctx, "OR-CSV-214", "enrollments", "schoolSourcedId", "school", "row")
    leading = (frame["primary"] == "true") & (frame["role"] != "teacher") & ~ctx.bad["enrollments"]
    ctx.flag("OR-CSV-218", "enrollments", "primary", indices(leading), effect="value")
    if ctx.has("classes"):
        of_class = ctx.row_of("enrollments", "classSourcedId")
        _school_of_class(ctx, of_class)
        if ctx.has("academicSessions"):
            _within_terms(ctx, of_class)
        _teachers(ctx, of_class)
    if ctx.has("users"):
        user = ctx.row_of("enrollments", "userSourcedId")
        _own_school(ctx, user)
        _own_role(ctx, user)
        _switched_off(ctx, user)
        if ctx.has("classes"):
            _twice(ctx, user)


def _school_of_class(ctx: Context, of_class: pl.Series) -> None:
    """215: enrolled at the school of the class. Where both are known, their rows say it; elsewhere their ids. Rows set
    aside, mostly for a school that is none, are not compared."""
    there = ctx.row_of("classes", "schoolSourcedId").gather(of_class)
    same = (there == ctx.row_of("enrollments", "schoolSourcedId")).fill_null(False)
    rows = indices(of_class.is_not_null() & ~same & ~ctx.bad["enrollments"])
    rows = rows.filter(~ctx.bad["classes"].gather(of_class.gather(rows)))
    school = ctx.value_at("classes", "schoolSourcedId", of_class.gather(rows))
    other = rows.filter(school != ctx.frames["enrollments"]["schoolSourcedId"].gather(rows))
    ctx.flag("OR-CSV-215", "enrollments", "schoolSourcedId", other)


def _within_terms(ctx: Context, of_class: pl.Series) -> None:
    """221: dates within the span of all terms of the class, where all of them are known."""
    terms = ctx.items("classes", "termSourcedIds")
    to = ctx.rows_named(terms["item"], "academicSessions")
    dates = _session_dates(ctx).select(pl.all().dt.to_string("%Y-%m-%d").gather(to))
    dates = dates.with_columns(pl.when(~ctx.bad["academicSessions"].gather(to)).then(pl.all()))
    known = pl.all_horizontal(pl.col("begin", "end").is_not_null()).all()
    spans = terms.with_columns(dates.get_columns()).group_by("row").agg(pl.min("begin"), pl.max("end"), known=known)
    told = comparable(ctx, "classes", spans.filter("known")["row"], "termSourcedIds").to_frame()
    every = _numbers(len(ctx.frames["classes"])).to_frame()
    span = every.join(told.join(spans, on="row"), on="row", how="left", maintain_order="left")
    first, last = span["begin"].gather(of_class), span["end"].gather(of_class)
    frame = ctx.frames["enrollments"]
    for column in ("beginDate", "endDate"):
        cells = frame[column]
        outside = indices((cells != "") & ((cells < first) | (cells > last)))
        ctx.flag("OR-CSV-221", "enrollments", column, comparable(ctx, "enrollments", outside, column))


def _overlapping(rows: pl.DataFrame, *key: str) -> pl.Series:
    """``row`` of those that begin before an earlier one of the same `key` has ended. ``begin`` and ``end`` are dates as
    text; without a date, that side is open."""
    until = pl.when(pl.col("end") == "").then(pl.lit("9999")).otherwise(pl.col("end"))
    ordered = rows.filter(pl.struct(key).is_duplicated()).sort(*key, "begin")
    return ordered.filter(until.cum_max().shift(1).over(key) > pl.col("begin"))["row"].sort()


def _teachers(ctx: Context, of_class: pl.Series) -> None:
    """219: one primary teacher at a time."""
    frame = ctx.frames["enrollments"]
    rows = indices((frame["role"] == "teacher") & of_class.is_not_null() & living(ctx, "enrollments"))
    teaching = frame.select(primary=pl.col("primary") == "true", begin="beginDate", end="endDate")
    teaching = teaching.with_columns(of_class.alias("class")).with_row_index("row").select(pl.all().gather(rows))
    several = _overlapping(teaching.filter("primary"), "class")
    ctx.flag("OR-CSV-219", "enrollments", "primary", comparable(ctx, "enrollments", several, "beginDate", "endDate"))
    if whole(ctx, "enrollments"):
        together = teaching.filter(pl.col("class").is_duplicated())
        unmarked = together.filter((~pl.col("primary").any()).over("class"))["row"]
        ctx.flag("OR-CSV-219", "enrollments", "primary", unmarked, detail="No teacher is marked.")


def _own_school(ctx: Context, user: pl.Series) -> None:
    """216: enrolled at a school of one's own: the school, an org above it, or a department of it."""
    held = _held_orgs(ctx)
    if held is None or not whole(ctx, "orgs"):
        return
    asked = pl.DataFrame({"user": user, "school": ctx.row_of("enrollments", "schoolSourcedId")}).with_row_index("row")
    user_and = pl.col("user").cast(pl.UInt64) * 2**32  # both as one number, which is looked up faster than two
    at_home = held.select(user_and + pl.col("org")).to_series().implode()
    strangers = asked.drop_nulls().filter(~(user_and + pl.col("school")).is_in(at_home))
    strangers = strangers.filter(~ctx.bad["enrollments"].gather(strangers["row"]))
    strangers = strangers.filter(pl.col("user").is_in(_placed(ctx, held["user"]).implode()))
    if not len(strangers):
        return
    lineage, pairs = _lineage(ctx), strangers.join(held, on="user")
    over = pairs.join(lineage, left_on=["school", "org"], right_on=["org", "above"], how="semi")
    under = pairs.join(lineage, left_on=["org", "school"], right_on=["org", "above"], how="semi")
    own = pl.concat([over["row"], under["row"]]).implode()
    ctx.flag(
        "OR-CSV-216", "enrollments", "schoolSourcedId", strangers["row"].filter(~strangers["row"].is_in(own)).sort()
    )


def _placed(ctx: Context, users: pl.Series) -> pl.Series:
    """Those of the `users` who have an org, of whom this delivery's orgs can all be used: elsewhere it cannot be said
    where they belong, and why has been reported."""
    if ctx.delivered.version == "1.1":
        return comparable(ctx, "users", users, "orgSourcedIds")
    aside = ctx.row_of("roles", "userSourcedId").filter(ctx.bad["roles"])
    return users.filter(~users.is_in(aside.implode()))


def _own_role(ctx: Context, user: pl.Series) -> None:
    """217: enrolled in a role that goes with one's own. Words of one's own (``ext:``) are not judged."""
    held = _held_roles(ctx)
    if held is None:
        return
    words = ctx.version.vocabularies["userRole" if ctx.delivered.version == "1.1" else "role"].values
    roles, every = ctx.frames["enrollments"]["role"], _numbers(len(ctx.frames["users"]))
    someone = every.is_in(held["user"].implode())  # who has no role at all is 227's
    odd = pl.repeat(False, len(roles), eager=True)
    for role, own in _FITTING.items():
        free = held.filter(pl.col("role").is_in(own) | ~pl.col("role").is_in(words))["user"]
        bound = someone & ~every.is_in(free.implode())
        odd |= (roles == role) & bound.gather(user).fill_null(False)
    ctx.flag("OR-CSV-217", "enrollments", "role", indices(odd & living(ctx, "enrollments")))


def _switched_off(ctx: Context, user: pl.Series) -> None:
    """234: users who may not log in, though an enrollment of theirs has not ended."""
    disabled = indices(ctx.frames["users"]["enabledUser"] == "false")
    if not len(disabled):
        return
    end = ctx.frames["enrollments"]["endDate"]
    lasting = ((end == "") | (end > ctx.options.today.isoformat())) & living(ctx, "enrollments")
    enrolled = user.filter(lasting & user.is_not_null()).unique()
    ctx.flag("OR-CSV-234", "users", "enabledUser", disabled.filter(disabled.is_in(enrolled.implode())))


def _twice(ctx: Context, user: pl.Series) -> None:
    """220: the same user, class and role with overlapping dates."""
    frame, of_class = ctx.frames["enrollments"], ctx.row_of("enrollments", "classSourcedId")
    keyed = pl.DataFrame({"user": user, "class": of_class, "role": frame["role"]})
    if keyed.hash_rows().n_unique() == len(keyed):
        return
    rows = keyed.with_columns(begin=frame["beginDate"], end=frame["endDate"]).with_row_index("row")
    rows = rows.filter(user.is_not_null() & of_class.is_not_null() & living(ctx, "enrollments"))
    again = _overlapping(rows, "user", "class", "role")
    again = comparable(ctx, "enrollments", again, "beginDate", "endDate")
    ctx.flag("OR-CSV-220", "enrollments", "userSourcedId", again)


# -------------------------------------------------------------------------------------------------------- unreferenced


#: The files that use the records of each; without one of them, being unused means nothing.
_USED_BY = {
    "orgs": ("classes", "courses", "users", "enrollments", "roles"),
    "courses": ("classes",),
    "classes": ("enrollments",),
    "academicSessions": ("classes", "courses"),
    "users": ("enrollments",),
}
_LISTS = (("classes", "termSourcedIds"), ("users", "orgSourcedIds"), ("users", "agentSourcedIds"))


def _unreferenced(ctx: Context) -> None:
    """233: how many records nothing refers to; counted for support, without places."""
    if not ctx.applies("OR-CSV-233"):
        return
    for name, users in _USED_BY.items():
        if whole(ctx, name) and any(ctx.has(table) for table in users):
            used = [rows.drop_nulls().unique() for rows in _uses(ctx, name)]
            using = pl.concat(used).unique() if used else pl.Series("row", [], dtype=pl.UInt32)
            aside = indices(ctx.bad[name])  # why nothing uses these has been reported
            idle = len(ctx.frames[name]) - len(using) - int((~aside.is_in(using.implode())).sum())
            if idle:
                ctx.findings.add("OR-CSV-233", f"{name}.csv", "sourcedId", count=idle, severity="info")


def _uses(ctx: Context, name: str) -> list[pl.Series]:
    """Row numbers of `name` to which something refers; demographics are a part of their user, not a use of it."""
    single = [(table, column) for table, columns in REFERENCES.items() for column in columns if table != "demographics"]
    uses = []
    for table, column in [*single, *_LISTS]:
        known = ctx.column(table, column) if ctx.has(table) else None
        if known is not None and known.refers_to == name:
            listed = known.listed
            uses.append(ctx.rows_named(ctx.items(table, column)["item"], name) if listed else ctx.row_of(table, column))
    return uses
