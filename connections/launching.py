"""Ready for launch: what a district still lacks before a product can rely on its roster, per product.

Every line is worked out from what is there, above all from the connection doctor's last result and the latest delivery
that was checked; nobody ticks anything off by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from connections.models import Connection
from rosters.models import District, Sync
from rosters.oneroster.products import PRODUCTS


@dataclass(frozen=True, slots=True)
class Item:
    """`words`: what must be so; `next_step`: what to do where it is not."""

    words: str
    done: bool
    next_step: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """`product`: its name, as people call it."""

    product: str
    items: tuple[Item, ...]

    @property
    def done(self) -> int:
        return sum(item.done for item in self.items)

    @property
    def ready(self) -> bool:
        return self.done == len(self.items)

    @property
    def next_item(self) -> Item | None:
        return next((item for item in self.items if not item.done), None)


#: The connection that counts is the one nearest to running by itself.
_NEAREST = (Connection.State.ACTIVE, Connection.State.PAUSED, Connection.State.SETUP)


def checklists(district: District) -> list[Checklist]:
    """One for each product that receives the district's roster; a constant number of queries."""
    connection = min(district.connections.order_by("pk"), key=lambda one: _NEAREST.index(one.state), default=None)
    checkup = connection.checkups.first() if connection else None
    judged = Sync.objects.filter(district=district).judged().order_by("-received_at", "-pk").first()
    tested = {step["name"]: step["outcome"] for step in checkup.steps} if checkup else {}
    fitting = judged is not None and not judged.errors
    return [
        Checklist(
            PRODUCTS[key].name,
            (
                Item(
                    "Somebody looks after the district.",
                    district.owner_id is not None,
                    "Choose an owner in its settings.",
                ),
                Item("A connection is set up.", connection is not None, "Add one below."),
                Item(
                    "The connection was tested, step by step, and works.",
                    bool(checkup and checkup.passed),
                    "Test it on the connection’s page.",
                ),
                Item(
                    f"Its files have what {PRODUCTS[key].name} needs.",
                    fitting or tested.get(fit_name(key)) == "ok",
                    "Look at the findings of the last delivery, or at the test, and ask the district to correct them.",
                ),
                Item(
                    "It runs by itself at agreed times.",
                    connection is not None and connection.next_due_at is not None,
                    _until_it_runs(connection),
                ),
                Item("A first roster is live.", district.version > 0, "Approve the first delivery when it has come."),
            ),
        )
        for key in district.products
        if key in PRODUCTS
    ]


def _until_it_runs(connection: Connection | None) -> str:
    if connection is None or connection.state != Connection.State.PAUSED:
        return "Set days and times, then put it into service."
    until = connection.paused_until
    return f"It is paused until {until.day} {until:%B}, and goes on by itself." if until else "Resume it: it is paused."


def fit_name(product: str) -> str:
    """The doctor's step that tells whether a delivery is fit for this product."""
    return f"Fit for {PRODUCTS[product].name}"
