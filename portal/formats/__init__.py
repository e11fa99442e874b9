"""How dates and times are written on staff's pages: the same everywhere, and always with their zone."""
