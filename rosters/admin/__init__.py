"""The staff's pages of rosters: districts, syncs, the live roster, the audit trail.

A page costs queries, not work: everything it shows was computed when the sync was prepared.
"""

from rosters.admin import audit, districts, live, syncs

__all__ = ["audit", "districts", "live", "syncs"]
