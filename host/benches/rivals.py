"""The rivals of diff.rs: the same rows, the same changes, in DuckDB, Polars, pyarrow and Python's sets.

    python3 -m venv /tmp/rivals && /tmp/rivals/bin/pip install duckdb polars pyarrow
    /tmp/rivals/bin/python host/benches/rivals.py            # 10,000 and 1,000,000 rows
    /tmp/rivals/bin/python host/benches/rivals.py 10000      # one size

All of them start from tables in their own memory and keep nothing between two states: they have no form that does. Two
threads each, but for Python. Medians, in ms; the counts of rows added and removed are asserted. Not run by CI.
"""

import os
import pickle
import statistics
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "2"

import duckdb
import polars as pl
import pyarrow as pa

pa.set_cpu_count(2)

MASK = (1 << 64) - 1
STATUSES = ["new", "queued", "running", "paused", "done", "failed", "retried", "cancelled"]
NAMES = ["id", "name", "status", "value", "at"]


def xorshift(state):
    while True:
        state ^= state << 13 & MASK
        state ^= state >> 7
        state ^= state << 17 & MASK
        yield state


def rows(count):
    """As `rows` in diff.rs: of each 200 rows two are changed, one is gone and one is new."""
    random = xorshift(0x9E37_79B9_7F4A_7C15)

    def row(id):
        a, b = next(random), next(random)
        name = f"{a:016x}{b:04x}"[: 12 + b % 9]
        return (id, name, STATUSES[(b >> 32) % 8], (a >> 11) / 1e9, 1_750_000_000_000_000 + id * 1_000_003)

    old = [row(id) for id in range(count)]
    new = []
    for i, (id, name, status, value, at) in enumerate(old):
        if i % 200 in (17, 117):
            new.append((id, name, status, value + 1.0, at))
        elif i % 200 == 167:
            new += [old[i], row(count + i)]
        elif i % 200 != 67:
            new.append(old[i])
    return old, new


def shuffled(rows):
    random = xorshift(0x2545_F491_4F6C_DD1D)
    rows = list(rows)
    for i in range(len(rows) - 1, 0, -1):
        j = next(random) % (i + 1)
        rows[i], rows[j] = rows[j], rows[i]
    return rows


def table(rows):
    kinds = [pa.int64(), pa.string(), pa.string(), pa.float64(), pa.timestamp("us")]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows), kinds)]
    return pa.Table.from_arrays(columns, NAMES)


def contenders(old, new):
    """Each answers how many rows came and went. What it makes of them is made: both results are whole tables."""
    one, other = table(old), table(new)

    duck = duckdb.connect(config={"threads": 2})
    for name, rows in (("old", one), ("new", other)):
        duck.register("given", rows)
        duck.execute(f"create table {name} as from given")
        duck.unregister("given")

    def except_both(kind):
        def run():
            made = [
                duck.execute(f"create or replace temp table made{i} as from {a} {kind} from {b}") and f"made{i}"
                for i, (a, b) in enumerate((("new", "old"), ("old", "new")))
            ]
            return tuple(duck.execute(f"select count(*) from {name}").fetchone()[0] for name in made)

        return run

    polars_old, polars_new = pl.from_arrow(one), pl.from_arrow(other)

    def polars_anti():
        return tuple(
            len(a.join(b, on=NAMES, how="anti")) for a, b in ((polars_new, polars_old), (polars_old, polars_new))
        )

    def polars_hash():
        a, b = (t.with_columns(hash=t.hash_rows()) for t in (polars_new, polars_old))
        return len(a.join(b, on="hash", how="anti")), len(b.join(a, on="hash", how="anti"))

    def arrow_anti():
        return (
            len(other.join(one, NAMES, join_type="left anti")),
            len(one.join(other, NAMES, join_type="left anti")),
        )

    held = set(old)
    packed = pickle.dumps(new)

    def fresh():
        # As another poll makes them: new objects, whose hashes are not known yet.
        given[:] = pickle.loads(packed)

    given = []

    def sets():
        rows = set(given)
        return len(rows - held), len(held - rows)

    sets.before = fresh

    return {
        "DuckDB EXCEPT, both ways": except_both("except"),
        "DuckDB EXCEPT ALL, both ways": except_both("except all"),
        "Polars anti join of all columns, both ways": polars_anti,
        "Polars hash_rows and anti join, both ways (64 bits, unchecked)": polars_hash,
        "pyarrow left anti join, both ways": arrow_anti,
        "Python: set of the new rows, two differences": sets,
    }


def main():
    for count in [int(argument) for argument in sys.argv[1:]] or [10_000, 1_000_000]:
        old, new = rows(count)
        for order, other in (("shuffled", shuffled(new)), ("in order", new)):
            print(f"{count} rows, {order}; ms; load {os.getloadavg()[0]:.1f}", flush=True)
            expected = (count // 200 * 3, count // 200 * 3)
            runs = contenders(old, other)
            times = {name: [] for name in runs}
            for turn in range(8 if count >= 1_000_000 else 32):
                for name, run in runs.items():
                    getattr(run, "before", lambda: None)()
                    began = time.perf_counter()
                    found = run()
                    took = time.perf_counter() - began
                    assert found == expected, (name, found, expected)
                    if turn:
                        times[name].append(took * 1e3)
            for name, took in times.items():
                print(f"  {statistics.median(took):9.2f}  {name}", flush=True)


main()
