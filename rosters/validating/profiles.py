"""What a product asks beyond the standard (PR-001 to PR-020, OR-CSV-092), from `rosters.oneroster.products`."""

from __future__ import annotations

import polars as pl

from rosters.findings import Severity
from rosters.frames import CheckOptions
from rosters.oneroster.products import PRODUCTS, Product, Requirement
from rosters.validating.context import Context, indices
from rosters.validating.semantics import LEADERS, in_role, living

_STRICT = ("OR-CSV-061", "OR-CSV-062", "OR-CSV-063", "OR-CSV-067", "OR-CSV-069", "OR-CSV-070", "OR-CSV-071")


def _products(options: CheckOptions) -> list[Product]:
    return [PRODUCTS[key] for key in options.products if key in PRODUCTS]


def overrides(options: CheckOptions) -> dict[str, str]:
    """The severities that the products give to rules, and over them those of the district: rule code to severity or
    "off"."""
    merged: dict[str, str] = {}
    for product in _products(options):
        merged.update(product.overrides)
    return {**merged, **options.overrides}


def check(ctx: Context) -> None:
    """What each product of the district requires. It is reported, and never costs a value: the roster is right by the
    standard, and other products may use it."""
    for product in _products(ctx.options):
        _check(ctx, product)


def _check(ctx: Context, product: Product) -> None:
    if ctx.delivered.version not in product.versions:
        ctx.findings.add("PR-002", detail=f"{product.name} takes {', '.join(product.versions)}.")
    for name, table in ctx.delivered.tables.items():
        if table.mode not in product.modes:
            ctx.findings.add("OR-CSV-092", f"{name}.csv", detail=f"{product.name} takes {', '.join(product.modes)}.")
    changes = all(table.mode == "delta" for table in ctx.delivered.tables.values())
    for name in product.required_files:
        if name not in ctx.delivered.tables and name not in ctx.base:
            severity: Severity | None = "warning" if changes else None  # it may have come before
            ctx.findings.add("PR-001", f"{name}.csv", detail=f"{product.name} needs it.", severity=severity)
    for name in product.ignored_files:
        if name in ctx.delivered.tables:
            ctx.findings.add("PR-003", f"{name}.csv", detail=_in(product))
    if product.strict_headers:
        for finding in list(ctx.findings):
            # What an API does not send is only an info: there is no header whose order anything could read.
            if finding.code in _STRICT and finding.severity != "info":
                ctx.findings.add("PR-020", finding.file, finding.column, detail=_in(product))
    for requirement in product.requirements:
        if requirement.table in ctx.frames and requirement.column in ctx.frames[requirement.table].columns:
            _requirement(ctx, product, requirement)
    _grades(ctx, product)
    _roles(ctx, product)


def _in(product: Product) -> str:
    """Keeps what two products ask of the same cell apart."""
    return f"In {product.name}."


def _those(ctx: Context, requirement: Requirement) -> pl.Series:
    """The rows of which it is asked; never those that only say that their record is gone."""
    if requirement.roles:
        return in_role(ctx, *requirement.roles)
    return living(ctx, requirement.table)


def _requirement(ctx: Context, product: Product, requirement: Requirement) -> None:
    table, column = requirement.table, requirement.column
    cells, those = ctx.frames[table][column], _those(ctx, requirement)
    given = those & (cells != "")
    if requirement.required:
        ctx.flag(
            "PR-010", table, column, indices(those & (cells == "")), effect="none", detail=f"{product.name} needs it."
        )
    if requirement.pattern:
        ctx.flag(
            "PR-011",
            table,
            column,
            indices(given & ~cells.str.contains(requirement.pattern)),
            effect="none",
            detail=_in(product),
        )
    if requirement.min_length:
        ctx.flag(
            "PR-013",
            table,
            column,
            indices(given & (cells.str.len_chars() < requirement.min_length)),
            effect="none",
            detail=_in(product),
        )
    if requirement.single_valued:
        ctx.flag(
            "PR-015",
            table,
            column,
            indices(given & cells.str.contains(",", literal=True)),
            effect="none",
            detail=_in(product),
        )
    if requirement.unique_in:
        scope = (
            ["schoolSourcedId"]
            if requirement.unique_in == "school" and "schoolSourcedId" in ctx.frames[table].columns
            else []
        )
        shared = ctx.frames[table].select(pl.struct(column, *scope).is_duplicated()).to_series()
        ctx.flag("PR-012", table, column, indices(given & shared), effect="none", detail=_in(product))


def _grades(ctx: Context, product: Product) -> None:
    """014: grades that the product does not have. Several grades in a cell are 015's."""
    if ctx.has("users"):
        cells = ctx.frames["users"]["grades"]
        strange = (cells != "") & ~cells.str.contains(",", literal=True) & ~cells.is_in(list(product.grades))
        ctx.flag(
            "PR-014",
            "users",
            "grades",
            indices(in_role(ctx, "student") & strange),
            effect="none",
            detail=_in(product),
        )


def _roles(ctx: Context, product: Product) -> None:
    """016: how many people the product does not load."""
    if ctx.has("users"):
        # In 1.2 a person may hold several roles: one that is loaded is enough.
        loaded = product.loaded_roles + (LEADERS if "administrator" in product.loaded_roles else ())
        number = int((in_role(ctx, *product.ignored_roles) & ~in_role(ctx, *loaded)).sum())
        if number:
            file = "roles.csv" if ctx.delivered.version == "1.2" else "users.csv"
            ctx.findings.add("PR-016", file, "role", count=number, detail=_in(product))
