"""The page's words for what the configuration names."""

from __future__ import annotations

import re

import yaml

from qianmian.workspace import CONFIGS, PROJECT_ROOT

WORDS = (PROJECT_ROOT / "web" / "js" / "words.js").read_text(encoding="utf-8")


def test_every_phase_of_a_shipped_venue_has_its_chinese_word() -> None:
    table = WORDS.partition("const PHASES = new Map([")[2].partition("]);")[0]
    words = dict(re.findall(r'\["([^"]+)", "([^"]+)"\]', table))
    venues = [yaml.safe_load(path.read_text("utf-8")) for path in CONFIGS.glob("venues/*/*.yaml")]
    phases = {phase["name"] for venue in venues for phase in venue.get("phases", ())}
    assert phases
    assert phases - words.keys() == set()
