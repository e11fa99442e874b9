"""What `bench_roster` measures, each in a process of its own: our trip, a plain Django importer, the bare limits."""
