"""What populate adds to each key: reserving, looking at what is left, telling how far it is.

python benchmarks/populate_overhead.py [--keys 200] [--rounds 5] [--json]

A computed table that computes nothing is filled by populate, as it fills every table, and by
calling make() for each key, each in a transaction of its own. Both take turns, a few keys at a
time, on a private server that writes to disk as safely as the one people use.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.database.opening import open_database
from pipeline.database.settings import Settings
from pipeline.workers import populate, queues
from schemas.base import dj

BAR = 10.0  # ms that populate may add to a key


def declare(connection: Any) -> tuple[Any, Any]:
    """A table of numbers, and one that is computed from it in no time."""
    schema = dj.Schema("overhead", connection=connection)

    class Number(dj.Manual):
        definition = """
            number : int32
        """

    class Square(dj.Computed):
        definition = """
            -> Number
            ---
            square : int64
        """

        def make(self, key: dict[str, Any]) -> None:
            self.insert1({**key, "square": key["number"] ** 2})

    context = {"Number": Number}
    return schema(Number, context=context), schema(Square, context=context)


def fill_by_populate(number: Any, square: Any) -> None:
    with populate.working() as lease:
        populate.populate_table(
            queues.Wanted(square(), (number.proj(),)),
            populate.PopulateResult(),
            lambda progress: None,
            lambda: True,
            lease,
        )


def fill_by_make(number: Any, square: Any) -> None:
    table = square()
    square._allow_insert = True  # DataJoint sets it while populate runs
    for key in (table.key_source - table.proj()).keys():  # noqa: SIM118 - a query, not a dict
        with table.connection.transaction:
            table.make(key)
    square._allow_insert = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=200, help="for each of both, in every round")
    parser.add_argument("--rounds", type=int, default=5, help="besides one that does not count")
    parser.add_argument("--json", action="store_true", help="print a JSON object last")
    args = parser.parse_args()

    root = Path(tempfile.mkdtemp(prefix="neuroteach-benchmark-"))
    settings = Settings(
        home=root, database=f"embedded:{root / 'database'}", store=root / "store", device="cpu"
    )
    runs = {"make": fill_by_make, "populate": fill_by_populate}
    ms_per_key: dict[str, list[float]] = {name: [] for name in runs}
    try:
        with open_database(settings) as database:
            number, square = declare(database.connection)
            next_number = 0
            for turn in range(args.rounds + 1):
                for name, fill in runs.items():
                    numbers = range(next_number, next_number + args.keys)
                    next_number = numbers.stop
                    number.insert({"number": i} for i in numbers)
                    start = time.perf_counter()
                    fill(number, square)
                    seconds = time.perf_counter() - start
                    assert len(square()) == next_number
                    if turn:
                        ms_per_key[name].append(1e3 * seconds / args.keys)
    finally:
        from pipeline.database.opening import embedded_server

        server = embedded_server(settings)
        if server is not None:
            server.stop(force=True)
        shutil.rmtree(root)

    medians = {name: statistics.median(values) for name, values in ms_per_key.items()}
    pairs = list(zip(ms_per_key["populate"], ms_per_key["make"], strict=True))
    own = statistics.median(ours - plain for ours, plain in pairs)
    title = f"populate and make() of a table that computes nothing, {args.keys} keys a turn"
    table = Table("run", "median ms per key", "fastest", "slowest", title=title)
    for name, values in ms_per_key.items():
        table.add_row(name, *(f"{v:.2f}" for v in (medians[name], min(values), max(values))))
    console = Console()
    console.print(table)
    console.print(f"populate's own cost: {own:.2f} ms per key, expected at most {BAR:g}")
    if args.json:
        result = {
            "title": title,
            "compared": "populate",
            "baseline": "make",
            "median_ms_per_key": medians,
            "ms_per_key": own,
            "bar": BAR,
            "ratio": statistics.median(ours / plain for ours, plain in pairs),
            "keys": args.keys,
            "rounds": args.rounds,
            "datajoint": dj.__version__,
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()
