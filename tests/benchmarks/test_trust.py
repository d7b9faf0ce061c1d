import json

from tests.benchmarks.simulator.conftest import shop_data  # noqa: F401 - a fixture


def test_planted_fraud_is_found_and_little_else(shop_data, capsys, monkeypatch):  # noqa: F811
    from benchmarks import trust
    from qianmian.trust.kinds import KINDS

    home = str(shop_data.folder.parent.parent)
    scale = ["--sessions", "200", "--cases", "12"]
    monkeypatch.setattr("sys.argv", ["trust", "--home", home, "--dataset", "small-shop", *scale])
    trust.main()
    report = json.loads(capsys.readouterr().out)
    assert report["stream_agrees"]
    assert report["simulation"]
    for kind in KINDS:
        assert report[kind]["planted"] >= 12
        assert report[kind]["recall"] > 0.5
    assert report["overall"]["precision"] > 0.85
    assert report["overall"]["recall"] > 0.8
