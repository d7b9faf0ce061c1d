"""The ranker's graph: what each of its outputs says, and that torch says the same."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from models.ranker import Ranker
from qianmian.releases.bundle import HORIZON_OUTPUT, PROBABILITIES_OUTPUT, RANKER_FILE
from training.export import RANKER_OUTPUTS, TOLERANCE, export_ranker
from training.quiet import quiet_libraries

CLICK, ORDER, ORDER_ON_PAGE = 0, 1, 2


def graph(ranker, folder):
    with quiet_libraries():
        export_ranker(ranker, 3, folder)
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
