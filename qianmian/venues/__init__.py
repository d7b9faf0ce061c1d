"""Venues: pages of a sales event with period, phases, objective and blocks."""

from qianmian.venues.book import load_venues
from qianmian.venues.venue import Block, Phase, Venue

__all__ = ["Block", "Phase", "Venue", "load_venues"]
