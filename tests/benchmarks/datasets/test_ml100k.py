"""MovieLens 100K: events alone are a whole data set."""

from __future__ import annotations

from typer.testing import CliRunner

from benchmarks.datasets import ml100k
from qianmian.cli.main import app
from qianmian.data.store import Dataset
from qianmian.workspace import Workspace


def test_the_ratings_import_as_clicks(tmp_path, capsys):
    folder = tmp_path / "ml-100k"
    assert ml100k.main([str(folder)]) == 0
    assert "qianmian data import" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["events.parquet"]

    done = CliRunner().invoke(
        app, ["--home", str(tmp_path / "home"), "data", "import", str(folder)]
    )
    assert done.exit_code == 0, done.output
    movies = Dataset.open(Workspace(tmp_path / "home", "ml-100k"))
    events = movies.events()
    assert (len(events), events["user_id"].nunique(), events["item_id"].nunique()) == (
        *(100_000, 943, 1_682),
    )
    assert movies.spec.target == "click"
    assert str(events["timestamp"].min()) == "1997-09-20 03:05:10+00:00"
    assert len(movies.test_events()) == 10_000


def test_wrong_use_is_told(capsys, tmp_path, monkeypatch):
    assert ml100k.main([]) == 2
    assert "usage" in capsys.readouterr().err
    monkeypatch.setattr(ml100k, "PACKAGE", "no-such-package")
    assert ml100k.main([str(tmp_path)]) == 2
    assert "pip install --no-deps recbole==1.2.1" in capsys.readouterr().err
