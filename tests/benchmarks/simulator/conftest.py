import pytest


@pytest.fixture(scope="session")
def shop_data(tmp_path_factory):
    """The small shop, imported and no more."""
    from qianmian.data.importing import import_source
    from qianmian.data.source import find_source
    from qianmian.data.store import Dataset
    from qianmian.workspace import Workspace
    from tests.small_shop import write_shop

    home = tmp_path_factory.mktemp("simulated")
    workspace = Workspace(home, "small-shop")
    source = find_source(str(write_shop(home / "source")), "small-shop")
    import_source(source, workspace, lambda _: None)
    return Dataset.open(workspace)


@pytest.fixture
def shoppers(shop_data):
    from benchmarks.simulator.shoppers import Shoppers

    return Shoppers.fit(shop_data, cut=shop_data.spec.split.train_end.timestamp(), seed=3)
