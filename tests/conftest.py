"""What every test may count on: no setting of the caller's shell, and repeatable properties."""

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _no_settings_from_the_shell(monkeypatch):
    for name in ("QIANMIAN_HOME", "QIANMIAN_DATASET"):
        monkeypatch.delenv(name, raising=False)
