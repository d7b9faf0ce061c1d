"""Two processes with sharded tables learn what one process learns."""

import multiprocessing
import os

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


def _part(rank, world, store, root, dataset, profile, queue):
    import torch.distributed as dist

    from qianmian.workspace import Workspace
    from training.distributed import learn_together
    from training.profile import TrainingProfile

    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world)}
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    workspace = Workspace(root, dataset)
    found = learn_together(workspace, TrainingProfile.model_validate(profile), weeks=3)
    if rank == 0:
        queue.put(found)
    dist.barrier()
    dist.destroy_process_group()


def _together(world, shop, profile, place):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [
        context.Process(
            target=_part,
            args=(rank, world, place / f"store-{world}", shop.root, shop.dataset, profile, queue),
        )
        for rank in range(world)
    ]
    for worker in workers:
        worker.start()
    found = queue.get(timeout=240)
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return found


def test_two_sharded_workers_follow_the_loss_of_one(small_shop, tmp_path):
    from tests.conftest import SMALL

    profile = {**SMALL, "two_tower": {**SMALL["two_tower"], "epochs": 6}}
    one = _together(1, small_shop, profile, tmp_path)
    two = _together(2, small_shop, profile, tmp_path)
    assert two["held_out"][0] == pytest.approx(one["held_out"][0], rel=1e-4)
    fall = one["held_out"][0] - one["held_out"][-1]
    assert fall > 0.1 * one["held_out"][0]
    assert two["held_out"][-1] == pytest.approx(one["held_out"][-1], abs=0.3 * fall)
    sharded = [rows for rows in two["placement"].values() if sum(rows) > 0]
    assert all(len(rows) == 2 for rows in sharded)
    assert sum(rows[0] for rows in sharded) > 0
    assert sum(rows[1] for rows in sharded) > 0
    whole = {name: sum(rows) for name, rows in one["placement"].items()}
    assert {name: sum(rows) for name, rows in two["placement"].items()} == whole
