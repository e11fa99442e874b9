"""The engine: a delivery's way from bytes to a live roster (docs/decisions/0008)."""

import os

# Read by polars' allocator when polars is first imported. What is free goes back to the system after half a second at
# the latest, and is not kept as pages that the system might take: some 300 MB less for 600,000 people, for up to 3 % of
# the time (docs/decisions/0013).
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:500,muzzy_decay_ms:0")
