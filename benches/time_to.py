"""Time to 97 % and to 98 % test accuracy on MNIST; prints a Markdown table.

Run:   cargo build --release
       python3 benches/time_to.py                   fetches MNIST on first use; seconds
       python3 benches/time_to.py --data FOLDER     uses a folder with the four IDX files instead

Seconds run from the start of the process to the end of the epoch whose weights reach the accuracy. They include loading,
training, and testing after each earlier epoch. The accuracies are the same on every machine; the seconds are not.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from programs import FOLDER

DEFAULT_NN = FOLDER / "nn"
COMMON = ["--activation", "relu", "--cost", "cross-entropy"]
RUNS = [
    (97, ["--recipe", "book", "--hidden", "64", "--batch-size", "64", "--optimizer", "adam", "--learning-rate", "0.004", "--schedule", "cosine", "--epochs", "3"]),
    (98, ["--recipe", "book", "--hidden", "128", "--batch-size", "32", "--learning-rate", "0.2", "--epochs", "6"]),
    (98, ["--recipe", "book", "--hidden", "128", "--batch-size", "64", "--optimizer", "nesterov", "--learning-rate", "0.08", "--schedule", "cosine", "--epochs", "4"]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--nn", type=Path, default=DEFAULT_NN)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not options.nn.exists():
        sys.exit(f"there is no {options.nn}; run `cargo build --release` or give --nn")
    print("| goal | options of `nn train --data mnist` | epoch | accuracy | seconds, median (least) |")
    print("| --- | --- | --- | --- | --- |")
    for goal, flags in RUNS:
        times = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as out:
                command = [options.nn, "train", "--data", options.data, "--out", out, "--quiet", *COMMON, *flags]
                subprocess.run(command, check=True)
                lines = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
                rows = [line for line in lines if line["kind"] == "epoch"]
            hit = next((row for row in rows if row["test_accuracy"] * 100 >= goal), None)
            if hit is None:
                sys.exit(f"{flags} reaches only {max(row['test_accuracy'] for row in rows):.4f}")
            times.append(hit["seconds"])
        accuracy = f"{hit['test_accuracy'] * 100:.2f} %"
        print(f"| {goal} % | `{' '.join(COMMON + flags)}` | {hit['epoch']} | {accuracy} | {statistics.median(times):.2f} ({min(times):.2f}) |", flush=True)


if __name__ == "__main__":
    main()
