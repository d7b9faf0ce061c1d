"""Searches a training profile's knobs on held-out time: `training.tuning.search` is the entry."""
