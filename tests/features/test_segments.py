import numpy as np
import pyarrow as pa

from qianmian.features.segments import Runs, leading, lists, newest_first


def test_runs_reduce_each_stretch_of_equal_keys():
    runs = Runs.of(np.array([1, 1, 1, 2, 2]), np.array([0, 0, 5, 5, 5]))
    values = np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    assert runs.starts.tolist() == [0, 2, 3]
    assert runs.ends.tolist() == [2, 3, 5]
    assert runs.sum(values).tolist() == [3.0, 3.0, 10.0]
    assert runs.minimum(values).tolist() == [1.0, 3.0, 4.0]
    assert runs.maximum(values).tolist() == [2.0, 3.0, 6.0]
    assert runs.median(values).tolist() == [1.5, 3.0, 5.0]


def test_no_rows_make_no_runs():
    runs = Runs.of(np.zeros(0, dtype=np.int32))
    nothing = np.zeros(0)
    assert len(runs) == 0
    for reduced in (runs.sum(nothing), runs.minimum(nothing), runs.median(nothing)):
        assert reduced.tolist() == []
    rows, offsets = newest_first(runs, 3)
    assert (rows.tolist(), offsets.tolist()) == ([], [0])


def test_lists_hold_a_run_from_its_end_or_its_start():
    runs = Runs.of(np.array([7, 7, 7, 8]))
    texts = pa.array(["a", "b", "c", "d"])
    for take, expected in ((newest_first, [["c", "b"], ["d"]]), (leading, [["a", "b"], ["d"]])):
        rows, offsets = take(runs, 2)
        assert lists(offsets, texts.take(pa.array(rows))).to_pylist() == expected
