"""The catalogue of rules (to be filled)."""

from rosters.oneroster.spec import Rule

RULES: dict[str, Rule] = {}
