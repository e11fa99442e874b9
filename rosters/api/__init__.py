"""The API: live rosters in OneRoster's own shapes, and syncs as objects, for the tools of the house."""
