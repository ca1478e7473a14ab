"""Compares nn with scikit-learn's MLP on public tables as people have them; prints a Markdown table.

Run:   cargo build --release
       python3 benches/compare_sklearn.py                      some minutes; the first time it makes a virtual environment
       python3 benches/compare_sklearn.py --program PATH       another nn
       python3 benches/compare_sklearn.py --only iris,mpg      some of the tables

nn gets a folder with train.csv and test.csv, and no option but --label-column. scikit-learn gets the best usual pipeline:
identifiers and free text left out by hand, dates taken apart by hand, medians and StandardScaler for numbers, one-hot for
text, a standardised target for regression, and MLPClassifier or MLPRegressor with its default options and up to 1,000
passes. Both see the same five splits. The score is the accuracy in percent, or R². The times are the best of the splits:
of nn the whole process with the reading of its files, of scikit-learn fit and score alone, without the second that its
imports take. Both compute with one thread; --threads 0 leaves that to each.

The exit code is 1 if nn is more than 1.5 points, or 0.03 R², worse on any table, or not better on the mean of all. One
table can carry that mean, so the means of the classes and of the numbers are printed beside it.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from pathlib import Path

from programs import FOLDER, ROOT

REQUIREMENTS = Path(__file__).resolve().parent / "sklearn_requirements.txt"
INSIDE = "NN_COMPARE_SKLEARN"  # set to the digest of the requirements in the process that runs in the environment
WORST_POINTS, WORST_R2 = 1.5, 0.03
LONGEST = 600  # seconds of one training


def enter_environment(threads):
    """Runs this script again in a virtual environment with the pinned packages, which it makes if there is none."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    if os.environ.get(INSIDE) == digest:
        return
    folder = ROOT / "target" / f"compare-sklearn-{digest}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "complete"
    if not done.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", REQUIREMENTS], check=True
        )
        done.touch()
    environment = {**os.environ, INSIDE: digest}
    if threads:
        # BLAS reads these when it is loaded.
        environment |= {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
    sys.exit(subprocess.run([python, *sys.argv], env=environment).returncode)


# --- scikit-learn's side ----------------------------------------------------------------------------------------------


def features(table, rows):
    """The columns that a careful person keeps, dates as numbers."""
    import pandas as pd

    rows = rows.drop(columns=[table.label, *table.left_out])
    for name in table.dates:
        when = pd.to_datetime(rows.pop(name))
        rows[f"{name} year"] = when.dt.year
        rows[f"{name} month"] = when.dt.month
        rows[f"{name} day"] = when.dt.dayofyear
    return rows


def pipeline(table, columns):
    from pandas.api.types import is_numeric_dtype
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in columns if is_numeric_dtype(columns[name])]
    text = [name for name in columns if name not in numbers]
    prepared = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            (
                "text",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                text,
            ),
        ]
    )
    if table.classes:
        model = MLPClassifier(max_iter=1000, random_state=0)
    else:
        model = TransformedTargetRegressor(
            MLPRegressor(max_iter=1000, random_state=0), transformer=StandardScaler()
        )
    return make_pipeline(prepared, model)


def of_sklearn(table, train, test):
    columns = features(table, train)
    start = time.perf_counter()
    fitted = pipeline(table, columns).fit(columns, train[table.label])
    score = fitted.score(features(table, test), test[table.label])
    return score, time.perf_counter() - start


# --- nn's side --------------------------------------------------------------------------------------------------------


def of_nn(program, table, folder, threads):
    """The score and the seconds of one run; raises `RuntimeError` with nn's own words if it refuses the table."""
    out = folder.parent / f"{folder.name}-run"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NN_")}
    if threads:
        environment["NN_THREADS"] = str(threads)  # never changes a result, only its time
    command = [program, "train", "--data", folder, "--out", out, "--label-column", table.label]
    start = time.perf_counter()
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST)
    seconds = time.perf_counter() - start
    if run.returncode:
        raise RuntimeError(" ".join(run.stderr.split()) or f"exit code {run.returncode}")
    summary = json.loads((out / "summary.json").read_text())
    score = summary.get("test_accuracy" if table.classes else "test_r2")
    if score is None:
        raise RuntimeError("learnt numbers where classes were due" if table.classes else "learnt classes, or has no R²")
    return score, seconds


# --- the comparison ---------------------------------------------------------------------------------------------------


def measure(table, options, scratch):
    """The scores and seconds of both on all splits, or nn's refusal in place of its part."""
    from tables import split, write

    ours, theirs, refusal = [], [], None
    for seed in range(options.splits):
        folder = scratch / f"{table.name}-{seed}"
        write(table, seed, folder)
        theirs.append(of_sklearn(table, *split(table, seed)))
        if refusal is None:
            try:
                ours.append(of_nn(options.program, table, folder, options.threads))
            except RuntimeError as error:
                refusal = str(error)
    return ours, theirs, refusal


def mean_score(runs):
    return statistics.mean(score for score, _ in runs)


def shown(table, value, signed=False):
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if table.classes else f"{value:{sign}.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=FOLDER / "nn")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of both; 0 for what each takes by itself")
    parser.add_argument("--only", default="", help="names of tables, separated by commas")
    options = parser.parse_args()
    if not options.program.exists():
        sys.exit(f"there is no {options.program}; run `cargo build --release` or give --program")
    enter_environment(options.threads)
    options.program = options.program.resolve()

    from tables import tables

    # A mini-batch run that has not converged after 1,000 passes, and a category that only the test part has, are no faults.
    warnings.filterwarnings("ignore", module="sklearn")
    chosen = tables()
    if options.only:
        names = options.only.split(",")
        if unknown := set(names) - {table.name for table in chosen}:
            sys.exit(f"no table is called {', '.join(sorted(unknown))}; there are: " + "; ".join(t.name for t in chosen))
        chosen = [table for table in chosen if table.name in names]

    failures = []
    differences = {True: [], False: []}
    seconds = []
    print("| data | rows | `nn` | scikit-learn | difference | `nn`, seconds | scikit-learn, seconds |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for table in chosen:
            ours, theirs, refusal = measure(table, options, Path(scratch))
            name = table.name if table.classes else f"{table.name}, R²"
            start = f"| {name} | {len(table.rows):,} |"
            their_score, their_time = mean_score(theirs), min(time for _, time in theirs)
            if refusal:
                failures.append(f"{table.name}: {refusal}")
                print(f"{start} refused | {shown(table, their_score)} | | | {their_time:.2f} |", flush=True)
                continue
            our_score, our_time = mean_score(ours), min(time for _, time in ours)
            difference = our_score - their_score
            differences[table.classes].append(difference)
            seconds.append((our_time, their_time))
            if difference < -(WORST_POINTS / 100 if table.classes else WORST_R2):
                failures.append(f"{table.name}: worse by {shown(table, -difference)}")
            print(
                f"{start} {shown(table, our_score)} | {shown(table, their_score)} |"
                f" {shown(table, difference, signed=True)} | {our_time:.2f} | {their_time:.2f} |",
                flush=True,
            )
    print()
    for kind, values in (
        ("the classes", differences[True]),
        ("the numbers", differences[False]),
        ("all", differences[True] + differences[False]),
    ):
        if values:
            print(f"Mean difference of {kind}: {100 * statistics.mean(values):+.2f} points (hundredths of R²).")
            if kind == "all" and statistics.mean(values) <= 0:
                failures.append("not better on the mean of all")
    if seconds:
        ours, theirs = (statistics.mean(times) for times in zip(*seconds))
        print(f"Mean time: nn {ours:.2f} s, scikit-learn {theirs:.2f} s.")
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
