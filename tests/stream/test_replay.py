"""The stream and the batch path compute the same features of the same events."""

import pyarrow.compute as pc
import pytest

from benchmarks.replay import replay
from qianmian.contracts import features as f
from qianmian.data.store import Dataset
from qianmian.features import snapshots
from qianmian.features.store import FeatureRepo
from qianmian.workspace import Workspace


def test_the_stream_equals_the_batch(built_shop):
    report = replay(built_shop, events=300, steps=4)
    assert report.events >= 300
    assert report.subjects >= 30
    assert report.items >= 20
    assert report.values > 2_000
    assert report.mismatches == 0, report.examples


def test_the_comparison_can_fail(built_shop, monkeypatch):
    push = FeatureRepo.push

    def yesterday(self, view, rows):
        if view == f.USER_LEDGER:
            place = rows.column_names.index(f.LEDGER_AS_OF)
            rows = rows.set_column(place, f.LEDGER_AS_OF, pc.subtract(rows[place], 86_400.0))
        push(self, view, rows)

    monkeypatch.setattr(FeatureRepo, "push", yesterday)
    report = replay(built_shop, events=50, steps=1)
    assert report.mismatches > 0
    assert {one.partition(" ")[0] for one in report.examples} == {"user_ledger.ledger_as_of"}


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_a_hundred_thousand_real_events(tmp_path):
    from typer.testing import CliRunner

    from qianmian.cli.main import app

    done = CliRunner().invoke(app, ["--home", str(tmp_path), "data", "import", "complete-journey"])
    assert done.exit_code == 0, done.output
    workspace = Workspace(tmp_path, "complete-journey")
    dataset = Dataset.open(workspace)
    snapshots.build(workspace, dataset, [dataset.spec.split.train_end.timestamp()])
    report = replay(workspace, events=100_000, steps=25)
    assert report.events >= 100_000
    assert report.mismatches == 0, report.examples
