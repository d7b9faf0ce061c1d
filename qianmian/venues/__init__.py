"""Venues: pages of a sales event with period, phases, objective and blocks."""

from qianmian.venues.book import Sources, VenueBook
from qianmian.venues.venue import Block, Phase, Venue

__all__ = ["Block", "Phase", "Sources", "Venue", "VenueBook"]
