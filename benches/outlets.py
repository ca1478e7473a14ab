#!/usr/bin/env python3
"""What it costs a run to be watched: python3 benches/outlets.py [PROGRAM] [--times N]

Trains 784-512-256-10 on MNIST for ten epochs, N times without and N times with --dashboard, --tensorboard and --metrics-listen together,
in turn, while a reader follows the page's events and asks for its network and another asks for the figures every second. It prints medians and minima
of the wall-clock time and of the processor's time, and fails if the weights differ.

Two runs of the same kind differ by more than all this costs, so it also says what the watched runs themselves know of it: how long the run waited for
those whom it tells (outlets_seconds in summary.json), and how long the threads of page and figures computed. If no core were idle, the run would be later
by the sum.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

RUN = "--data mnist --hidden 512,256 --epochs 10"
WATCHERS = ("nn-metrics", "nn-dashboard", "nn-page")
WATCHED = "--dashboard 127.0.0.1:0 --tensorboard --metrics-listen 127.0.0.1:0"


def read(address, path, over):
    """Reads an answer that may never end."""
    try:
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        while not over.is_set() and answer.read1(65536):
            pass
    except (OSError, http.client.HTTPException):
        pass  # the run is over


def watch(log, over):
    """A page that is open, and a Prometheus."""
    found = {}
    while not over.is_set() and len(found) < 2:
        text = pathlib.Path(log).read_text()
        found = dict(re.findall(r"(look|figures)[^\n]*http://(127\.0\.0\.1:\d+)", text))
        time.sleep(0.05)
    if over.is_set():
        return
    threading.Thread(target=read, args=(found["look"], "/events", over), daemon=True).start()
    while not over.wait(1):
        read(found["figures"], "/metrics", over)
        read(found["look"], "/runs/0/network", over)


def threads(pid, over, found):
    """The processor's seconds of each thread that a run has only because it is watched."""
    while not over.wait(0.1):
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
            try:
                name = (task / "comm").read_text().strip()
                if name in WATCHERS:
                    found[task.name, name] = int((task / "schedstat").read_text().split()[0]) / 1e9
            except (OSError, ValueError):
                pass  # it is over


def train(nn, folder, options):
    """Wall-clock and processor's seconds of a run, the seconds that it waited for its outlets, those of their threads, and the hash of its weights."""
    out, log = folder / "run", folder / "log"
    over = threading.Event()
    before, began = os.times(), time.monotonic()
    with open(log, "w") as file:
        process = subprocess.Popen([nn, "train", *options.split(), "--out", out, "--overwrite"], stdout=file, stderr=file)
        watcher = threading.Thread(target=watch, args=(log, over), daemon=True)
        found = {}
        if "--dashboard" in options:
            watcher.start()
            threading.Thread(target=threads, args=(process.pid, over, found), daemon=True).start()
        if process.wait() != 0:
            sys.exit(log.read_text())
    wall = time.monotonic() - began
    after = os.times()
    over.set()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    summary = json.loads((out / "summary.json").read_text())
    if "--dashboard" in options and not {name for _, name in found} >= {"nn-metrics", "nn-dashboard"}:
        sys.exit(f"the threads of a watched run have other names now; seen: {sorted(found)}")
    return wall, busy, summary.get("outlets_seconds", 0.0), sum(found.values()), summary["params_sha256"]


def main():
    parser = argparse.ArgumentParser(description="What it costs a run to be watched.")
    parser.add_argument("nn", nargs="?", default="target/release/nn")
    parser.add_argument("--times", type=int, default=6, help="runs of each kind (6)")
    parser.add_argument("--run", default=RUN, help=f"what is trained ({RUN})")
    options = parser.parse_args()
    nn = pathlib.Path(options.nn).resolve()
    results = {"alone": [], "watched": []}
    with tempfile.TemporaryDirectory(prefix="nn-outlets-") as folder:
        for _ in range(options.times):
            results["alone"].append(train(nn, pathlib.Path(folder), options.run))
            results["watched"].append(train(nn, pathlib.Path(folder), f"{options.run} {WATCHED}"))
    if len({hash for runs in results.values() for *_, hash in runs}) != 1:
        sys.exit("the weights differ")
    for place, what in enumerate(["wall-clock", "processor"]):
        times = {kind: [run[place] for run in runs] for kind, runs in results.items()}
        for name, of in [("median", statistics.median), ("minimum", min)]:
            alone, watched = of(times["alone"]), of(times["watched"])
            print(f"{what} time, {name} of {options.times}: {alone:.2f} s alone, {watched:.2f} s watched, {100 * (watched / alone - 1):+.2f} %")
    wall, _, waited, served, _ = (statistics.median(part) for part in zip(*(run[:4] + (0,) for run in results["watched"])))
    print(f"of the watched runs, medians: waited {waited:.3f} s for outlets, {100 * waited / wall:.2f} %; their threads computed {served:.3f} s; "
          f"together {100 * (waited + served) / wall:.2f} % of the wall-clock time")
    print("the weights are the same")


if __name__ == "__main__":
    main()
