"""Further real data sets in the contract's form, for tests and benchmarks only."""
