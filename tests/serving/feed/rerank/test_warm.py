"""What is compiled before there is a release serves a release."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from serving.feed.rerank.warm import made_up

ROOT = Path(__file__).parents[4]


def test_a_release_on_disk_needs_nothing_that_was_not_compiled_ahead(tmp_path):
    ahead = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}

    def compiled(*command):
        subprocess.run([sys.executable, *command], check=True, env=ahead, cwd=ROOT)
        return {path.name for path in (tmp_path / "compiled").rglob("*.nbc")}

    before = compiled("-m", "serving.feed.rerank.warm")
    assert before
    np.save(tmp_path / "vectors.npy", np.eye(2, dtype=np.float32))
    of_a_release = (
        "import sys; import numpy as np; import serving.feed.rerank.warm as w\n"
        "book = w.made_up(); vectors = np.load(sys.argv[1], mmap_mode='r')\n"
        "w.warm(w.RuleBook(book._table, vectors, np.arange(2, dtype=np.uint32)))\n"
    )
    assert compiled("-c", of_a_release, str(tmp_path / "vectors.npy")) == before


def test_nobody_writes_into_the_vectors_of_a_release():
    assert not made_up().vectors.flags.writeable
