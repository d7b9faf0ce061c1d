"""What training sees of the past: the very snapshot of a moment, even within a second."""

import numpy as np
import pytest

from tests.small_shop import TRAIN_END, write_shop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_a_split_within_a_second_reads_its_own_snapshot(tmp_path):
    from qianmian.contracts import features as f
    from qianmian.data.importing import import_source
    from qianmian.data.source import find_source
    from qianmian.data.store import Dataset
    from qianmian.features import snapshots
    from qianmian.features.store import FeatureRepo
    from qianmian.workspace import Workspace
    from training.history import History

    source = write_shop(tmp_path / "source")
    declared = source / "dataset.yaml"
    moment = TRAIN_END.replace(microsecond=416_000)  # as a float of seconds it lies below
    text = declared.read_text().replace(TRAIN_END.isoformat(), moment.isoformat())
    declared.write_text(text)
    workspace = Workspace(tmp_path / "home", "within")
    import_source(find_source(str(source), "within"), workspace, lambda _: None)
    dataset = Dataset.open(workspace)
    cut = dataset.spec.split.train_end.timestamp()
    assert cut % 1 == pytest.approx(0.416)
    snapshots.build(workspace, dataset, [cut])
    history = History(dataset, FeatureRepo.open(workspace), moments=(cut,), cut=cut)
    users = history.known_users(cut)
    sizes = [len(state.ledger.items) for state in history.states(f.RANKER_SERVICE, users, cut)]
    orders = history.targets
    distinct = len(np.unique(orders.users.astype(np.int64) * 1_000_000 + orders.items))
    assert sum(sizes) == distinct
