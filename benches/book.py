"""The results of Nielsen's book, chapters 1 and 3, three seeds each; prints a Markdown table.

Run:   cargo build --release
       python3 benches/book.py                      fetches MNIST on first use; a minute or two
       python3 benches/book.py --data FOLDER        uses a folder with the four IDX files instead

The accuracies are the same on every machine, with any number of threads.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from programs import FOLDER

DEFAULT_NN = FOLDER / "nn"
SGD = ["--activation", "sigmoid", "--output", "sigmoid", "--optimizer", "sgd", "--batch-size", "10", "--epochs", "30"]
RUNS = [
    ("784-30-10, MSE, η = 3, N(0, 1)", 95.4, ["--recipe", "book", "--hidden", "30", "--cost", "mse", "--learning-rate", "3", "--init", "normal"]),
    ("784-100-10, MSE, η = 3, N(0, 1)", 96.6, ["--recipe", "book", "--hidden", "100", "--cost", "mse", "--learning-rate", "3", "--init", "normal"]),
    ("784-30-10, cross-entropy, η = 0.5, N(0, 1)", 95.5, ["--recipe", "book", "--hidden", "30", "--cost", "cross-entropy", "--learning-rate", "0.5", "--init", "normal"]),
    ("784-100-10, cross-entropy, η = 0.5, λ = 5, N(0, 1/n)", 97.9, ["--recipe", "book", "--hidden", "100", "--cost", "cross-entropy", "--learning-rate", "0.5", "--l2", "5", "--init", "scaled"]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--nn", type=Path, default=DEFAULT_NN)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="further options of nn train; must come last")
    options = parser.parse_args()
    if not options.nn.exists():
        sys.exit(f"there is no {options.nn}; run `cargo build --release` or give --nn")
    print("| network | book | " + " | ".join(f"seed {s + 1}: best / last" for s in range(options.seeds)) + " | mean of the last | seconds a run |")
    print("| --- | --- |" + " --- |" * (options.seeds + 2))
    for name, book, flags in RUNS:
        cells, last, seconds = [], [], []
        for seed in range(1, options.seeds + 1):
            with tempfile.TemporaryDirectory() as out:
                command = [options.nn, "train", "--data", options.data, "--seed", str(seed), "--out", out, "--quiet"]
                subprocess.run(command + SGD + flags + options.extra, check=True)
                summary = json.loads((Path(out) / "summary.json").read_text())
                lines = map(json.loads, (Path(out) / "metrics.jsonl").read_text().splitlines())
                accuracies = [line["test_accuracy"] for line in lines if line["kind"] == "epoch"]
            # The book quotes its best epoch on the test samples, which is a leak; the last epoch is the honest figure.
            best, end = max(accuracies) * 100, summary["test_accuracy"] * 100
            cells.append(f"{best:.2f} / {end:.2f}")
            last.append(end)
            seconds.append(summary["wall_seconds"])
        mean = sum(last) / len(last)
        print(f"| {name} | {book} | " + " | ".join(cells) + f" | {mean:.2f} | {sum(seconds) / len(seconds):.1f} |", flush=True)


if __name__ == "__main__":
    main()
