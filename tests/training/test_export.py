"""The ranker's graph: what each of its outputs says."""

import numpy as np
import onnxruntime as ort
import torch

from models.ranker import Ranker
from qianmian.releases.bundle import HORIZON_OUTPUT, PROBABILITIES_OUTPUT, RANKER_FILE
from training.export import export_ranker
from training.quiet import quiet_libraries

CLICK, ORDER, ORDER_ON_PAGE = 0, 1, 2


def test_pages_and_the_horizon_are_outputs_of_their_own(tmp_path):
    torch.manual_seed(3)
    ranker = Ranker(
        features=3, actions=2, hidden=(4,), target=ORDER, leaning=[CLICK, 2], target_on_page=True
    ).eval()
    with torch.no_grad():
        ranker.differing.wide.bias[ORDER_ON_PAGE] = 1.5
    with quiet_libraries():
        export_ranker(ranker, 3, tmp_path)
    session = ort.InferenceSession(tmp_path / RANKER_FILE, providers=["CPUExecutionProvider"])
    features = np.random.default_rng(1).normal(size=(1, 20, 3)).astype(np.float32)
    on_page, expected = session.run([PROBABILITIES_OUTPUT, HORIZON_OUTPUT], {"features": features})
    np.testing.assert_array_equal(on_page[..., CLICK], expected[..., CLICK])
    assert (on_page[..., ORDER] > expected[..., ORDER] + 0.1).all()
