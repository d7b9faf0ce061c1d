"""The ranker's graph: what each of its outputs says, and that torch says the same."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.ranker import Ranker
from qianmian.features.memory import TYPES
from qianmian.releases.bundle import HORIZON_OUTPUT, PROBABILITIES_OUTPUT, RANKER_FILE
from tests.training.made import made, remembering
from training.export import (
    RANKER_OUTPUTS,
    TOLERANCE,
    RankerExport,
    export_ranker,
    ranker_inputs,
    top_agreement,
)
from training.quiet import quiet_libraries

CLICK, ORDER, ORDER_ON_PAGE = 0, 1, 2


def asked(rng, *, items=9, groups=4):
    """Groups of five candidates, and up to five items that each user remembers."""
    rows = 5 * groups
    return made(
        rng.normal(size=(rows, 3)).astype(np.float32),
        np.zeros((rows, 2), dtype=np.float32),
        size=5,
        items=rng.integers(1, items + 1, rows).astype(np.int32),
        memory=remembering(
            np.sort(rng.integers(0, items + 1, (groups, 5)))[:, ::-1],
            days=rng.random((groups, 5)),
            types=rng.integers(1, TYPES, (groups, 5)),
        ),
    )


def graph(ranker, folder, examples=None):
    examples = asked(np.random.default_rng(0)) if examples is None else examples
    with quiet_libraries():
        export_ranker(ranker, examples, folder)
    return ort.InferenceSession(folder / RANKER_FILE, providers=["CPUExecutionProvider"])


def test_pages_and_the_horizon_are_outputs_of_their_own(tmp_path):
    torch.manual_seed(3)
    ranker = Ranker(
        features=3, actions=2, hidden=(4,), target=ORDER, leaning=[CLICK, 2], target_on_page=True
    ).eval()
    with torch.no_grad():
        ranker.members[0].differing.wide.bias[ORDER_ON_PAGE] = 1.5
    session = graph(ranker, tmp_path)
    features = np.random.default_rng(1).normal(size=(1, 20, 3)).astype(np.float32)
    on_page, expected = session.run([PROBABILITIES_OUTPUT, HORIZON_OUTPUT], {"features": features})
    np.testing.assert_array_equal(on_page[..., CLICK], expected[..., CLICK])
    assert (on_page[..., ORDER] > expected[..., ORDER] + 0.1).all()


@pytest.mark.parametrize("members", [1, 2])
def test_the_graph_computes_what_torch_computes(members, tmp_path):
    torch.manual_seed(4)
    ranker = Ranker(
        features=3,
        actions=2,
        hidden=(4,),
        target=ORDER,
        leaning=[CLICK, ORDER_ON_PAGE],
        target_on_page=True,
        members=members,
    ).eval()
    ranker.standardize.fit(2.0 + 3.0 * torch.randn(50, 3))
    ranker.calibrate.scale[:], ranker.calibrate.shift[:] = 0.7, -0.4
    with torch.no_grad():
        for member in ranker.members:
            member.differing.wide.weight.normal_()
            member.slope.uniform_(0.5, 1.5)
    session = graph(ranker, tmp_path)
    for users, items in ((1, 1), (1, 37), (5, 20)):
        x_BNF = 2.0 + 3.0 * torch.randn(users, items, 3)
        with torch.no_grad():
            mean = sum(member(ranker.standardize(x_BNF)) for member in ranker.members) / members
            p = torch.sigmoid(0.7 * mean - 0.4).numpy()
        given = session.run(list(RANKER_OUTPUTS), {"features": x_BNF.numpy()})
        for heads, said in zip(([CLICK, ORDER_ON_PAGE], [CLICK, ORDER]), given, strict=True):
            np.testing.assert_allclose(said, p[..., heads], rtol=0, atol=TOLERANCE)


def test_a_graph_that_attends_names_what_it_reads_and_computes_what_torch_computes(tmp_path):
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    codes = np.concatenate([np.zeros((1, 2)), rng.integers(1, 4, (9, 2))]).astype(np.int32)
    ranker = Ranker(
        features=3,
        actions=2,
        hidden=(4,),
        target=ORDER,
        repeat=2,
        members=2,
        interest=4,
        codes=torch.from_numpy(codes),
        types=TYPES,
    ).eval()
    with torch.no_grad():
        for member in ranker.members:
            member.interest.out.head.weight.normal_()
    examples = asked(rng)
    session = graph(ranker, tmp_path, examples)
    names = [node.name for node in session.get_inputs()]
    assert names == ["features", "candidate_items", "memory_items", "memory_days", "memory_types"]
    for users, items in ((1, 1), (1, 37), (6, 20)):
        inputs = ranker_inputs(ranker, examples, users, items)
        with torch.no_grad():
            wanted = RankerExport(ranker)(*map(torch.from_numpy, inputs.values()))
        for given, expected in zip(session.run(list(RANKER_OUTPUTS), inputs), wanted, strict=True):
            np.testing.assert_allclose(given, expected.numpy(), rtol=0, atol=TOLERANCE)


def test_scores_that_differ_by_rounding_may_swap_at_the_edge():
    ours = np.array([[3.0, 2.0, 2.0 + 2e-7, 1.0]])
    theirs = np.array([[3.0, 2.0 + 2e-7, 2.0, 1.0]])
    assert top_agreement(ours, theirs, 2) == 1.0


def test_another_order_is_no_agreement():
    ours = np.array([[3.0, 2.0, 2.1, 1.0]])
    theirs = np.array([[3.0, 2.1, 2.0, 1.0]])
    assert top_agreement(ours, theirs, 2) == 0.5
    assert top_agreement(ours, theirs, 3) == 1.0
    assert top_agreement(np.full((1, 4), np.nan), theirs, 2) == 0.0
