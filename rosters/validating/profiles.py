"""What a product asks beyond the standard (PR-001 to PR-020), from `rosters.oneroster.products`."""

from __future__ import annotations

import polars as pl

from rosters.oneroster.products import PRODUCTS, Product, Requirement
from rosters.validating.context import Context, indices

_STRICT = ("OR-CSV-061", "OR-CSV-062", "OR-CSV-063", "OR-CSV-071")


def check(ctx: Context) -> None:
    """The chosen product's requirements; nothing without one. They are reported, and never cost a value: the roster
    is right
    by the standard, and other products may use it."""
    product = PRODUCTS.get(ctx.options.product)
    if product is None:
        return
    if ctx.delivered.version not in product.versions:
        ctx.findings.add("PR-002", detail=f"{product.name} takes {', '.join(product.versions)}.")
    for name in product.required_files:
        if name not in ctx.delivered.tables and name not in ctx.base:
            ctx.findings.add("PR-001", f"{name}.csv", detail=f"{product.name} needs it.")
    for name in product.ignored_files:
        if name in ctx.delivered.tables:
            ctx.findings.add("PR-003", f"{name}.csv")
    if product.strict_headers:
        for finding in list(ctx.findings):
            if finding.code in _STRICT:
                ctx.findings.add("PR-020", finding.file, finding.column)
    for requirement in product.requirements:
        if requirement.table in ctx.frames and requirement.column in ctx.frames[requirement.table].columns:
            _requirement(ctx, product, requirement)
    _grades(ctx, product)
    _roles(ctx, product)


def _those(ctx: Context, requirement: Requirement) -> pl.Series:
    frame = ctx.frames[requirement.table]
    everyone = pl.Series(values=[True]).new_from_index(0, len(frame))
    return frame["role"].is_in(list(requirement.roles)) if requirement.roles and "role" in frame.columns else everyone


def _requirement(ctx: Context, product: Product, requirement: Requirement) -> None:
    table, column = requirement.table, requirement.column
    cells, those = ctx.frames[table][column], _those(ctx, requirement)
    given = those & (cells != "")
    if requirement.required:
        ctx.flag(
            "PR-010", table, column, indices(those & (cells == "")), effect="none", detail=f"{product.name} needs it."
        )
    if requirement.pattern:
        ctx.flag("PR-011", table, column, indices(given & ~cells.str.contains(requirement.pattern)), effect="none")
    if requirement.min_length:
        ctx.flag(
            "PR-013", table, column, indices(given & (cells.str.len_chars() < requirement.min_length)), effect="none"
        )
    if requirement.single_valued:
        ctx.flag("PR-015", table, column, indices(given & cells.str.contains(",", literal=True)), effect="none")
    if requirement.unique_in:
        scope = (
            ["schoolSourcedId"]
            if requirement.unique_in == "school" and "schoolSourcedId" in ctx.frames[table].columns
            else []
        )
        shared = ctx.frames[table].select(pl.struct(column, *scope).is_duplicated()).to_series()
        ctx.flag("PR-012", table, column, indices(given & shared), effect="none")


def _grades(ctx: Context, product: Product) -> None:
    if "users" not in ctx.frames or "role" not in ctx.frames["users"].columns:
        return
    users = ctx.frames["users"]
    odd = (users["role"] == "student") & (users["grades"] != "") & ~users["grades"].is_in(list(product.grades))
    single = odd & ~users["grades"].str.contains(",", literal=True)
    ctx.flag("PR-014", "users", "grades", indices(single), effect="none", detail=f"In {product.name}.")


def _roles(ctx: Context, product: Product) -> None:
    if "users" in ctx.frames and "role" in ctx.frames["users"].columns:
        others = ~ctx.frames["users"]["role"].is_in(list(product.loaded_roles)) & (ctx.frames["users"]["role"] != "")
        number = int(others.sum())
        if number:
            ctx.findings.add("PR-016", "users.csv", "role", count=number)
