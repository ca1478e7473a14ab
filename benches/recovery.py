"""Measures how long a run stalls when something breaks, and what precautions cost; prints Markdown tables.

Run:   cargo build --release --bins
       python3 benches/recovery.py                  some minutes
       python3 benches/recovery.py --repeats 3 --only pauses

It runs the real programs on this machine: a coordinator and three workers, one of them behind a proxy, and polls
`nn status --json` for the step. A stall is the longest time between two observed steps, from just before the fault until twenty
steps after it; without a fault it is the duration of a step. For the coordinator it is the time from SIGKILL to the first step
of its successor. The tests, not this script, check that the weights stay the same.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from programs import FOLDER

TRAINING = "--recipe book --hidden 1000,500 --batch-size 720 --shard-size 30 --eval-every 100000 --threads 0 --quiet --learning-rate 0.01".split()
ASIDE = 20  # steps to watch after a fault


class Proxy:
    """Forwards bytes to the coordinator, until `held` is set."""

    def __init__(self, target):
        self.target, self.held = target, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        try:
            while data := one.recv(1 << 20):
                while self.held.is_set():
                    time.sleep(0.002)
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Cluster:
    """A coordinator and the workers that dial it."""

    def __init__(self, folder, out, *options):
        self.folder, self.out = folder, out
        with socket.create_server(("127.0.0.1", random.randrange(20000, 30000))) as probe:
            self.port = probe.getsockname()[1]
        self.options = [*TRAINING, "--epochs", "100000", "--out", out, *options]
        self.workers, self.proxy = [], Proxy(self.port)
        self.coordinate()
        for number in range(3):
            self.work(number)
        self.until(30)

    def start(self, program, *arguments):
        environment = {**os.environ, "NN_CACHE_DIR": f"{self.out}/cache"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([self.folder / program, *arguments], env=environment, **quiet)

    def coordinate(self, *more):
        self.coordinator = self.start("nn-coord", "--listen", f"127.0.0.1:{self.port}", *self.options, *more)

    def work(self, number):
        port = self.proxy.port if number == 0 else self.port
        worker = self.start("nn-worker", "--coordinator", f"http://127.0.0.1:{port}", "--threads", "1")
        self.workers[number:number + 1] = [worker]

    def status(self):
        command = [self.folder / "nn", "status", "--json", "--coordinator", f"http://127.0.0.1:{self.port}"]
        asked = subprocess.run(command, capture_output=True, check=False)
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def step(self):
        status = self.status()
        return -1 if status is None else status["step"]

    def until(self, step):
        """Polls until this step is done; returns the times at which a new step was seen."""
        seen, last, limit = [], None, time.monotonic() + 120
        while last is None or last < step:
            now = self.step()
            if now != last and now >= 0:
                seen.append(time.monotonic())
                last = now
            if time.monotonic() > limit:
                sys.exit(f"the run is stuck at step {now}, before step {step}")
        return seen

    def pause(self, fault):
        """The longest stall around a fault."""
        before = self.step()
        seen = self.until(before + 2)
        fault()
        seen += self.until(before + 2 + ASIDE)
        return max(after - before for before, after in zip(seen, seen[1:]))

    def end(self):
        for process in [self.coordinator, *self.workers]:
            process.kill()
            process.wait()
        self.proxy.listener.close()


def nothing(cluster):
    return cluster.pause(lambda: None)


def killed(cluster):
    time_of = cluster.pause(cluster.workers[0].kill)
    cluster.workers[0].wait()
    cluster.work(0)
    return time_of


def stalled(cluster):
    time_of = cluster.pause(lambda: cluster.workers[0].send_signal(signal.SIGSTOP))
    cluster.workers[0].send_signal(signal.SIGCONT)
    return time_of


def held(cluster):
    time_of = cluster.pause(cluster.proxy.held.set)
    cluster.proxy.held.clear()
    return time_of


def resumed(after):
    def measure(cluster):
        begun = time.monotonic() + after
        cluster.coordinator.kill()
        cluster.coordinator.wait()
        time.sleep(after)
        cluster.coordinate("--resume")
        first, limit = None, time.monotonic() + 120
        while time.monotonic() < limit:
            step = cluster.step()
            if step >= 0 and first is None:
                first = step
            if first is not None and step > first:
                return time.monotonic() - begun
        sys.exit("the resumed run is stuck")

    return measure


def pauses(options):
    rows = [
        ("none: an ordinary step", nothing, options.repeats),
        ("a worker is killed (SIGKILL)", killed, options.repeats),
        ("a worker is suspended (SIGSTOP)", stalled, options.repeats),
        ("a worker's network drops everything", held, options.repeats),
        ("the coordinator is killed, and resumed at once", resumed(0.0), options.repeats),
        ("the coordinator is killed, and resumed after 20 s; counted from then", resumed(20.0), max(1, options.repeats // 3)),
    ]
    print("| fault | seconds without a finished step: median | worst | of |")
    print("| --- | ---: | ---: | ---: |")
    for name, measure, repeats in rows:
        times = []
        with tempfile.TemporaryDirectory() as out:
            cluster = Cluster(options.programs, out, "--checkpoint-steps", "10")
            try:
                for _ in range(repeats):
                    # Wait until all three have joined.
                    limit = time.monotonic() + 60
                    while sum(w["state"] != "loading" for w in (cluster.status() or {"workers": []})["workers"]) < 3:
                        if time.monotonic() > limit:
                            sys.exit("a worker has not rejoined")
                        time.sleep(0.02)
                    cluster.until(cluster.step() + 25)
                    times.append(measure(cluster))
            finally:
                cluster.end()
        print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} | {len(times)} |", flush=True)


def costs(options):
    rows = [
        ("no checkpoints, no audits", "--checkpoint-seconds 0"),
        ("a checkpoint every second", "--checkpoint-seconds 1"),
        ("a checkpoint every 10 steps", "--checkpoint-steps 10"),
        ("a checkpoint after every step", "--checkpoint-steps 1"),
        ("`--audit 0.05`: every twentieth node twice", "--checkpoint-seconds 0 --audit 0.05"),
        ("`--audit 1`: everything twice", "--checkpoint-seconds 0 --audit 1"),
        ("no hashes of steps (`--log-steps 0`)", "--checkpoint-seconds 0 --log-steps 0"),
    ]
    speeds = {name: [] for name, _ in rows}
    for _ in range(options.repeats):
        for name, flags in rows:
            with tempfile.TemporaryDirectory() as out:
                command = [options.programs / "nn-coord", "--listen", "127.0.0.1:0", "--spawn", "2", "--min-workers", "2"]
                command += [*TRAINING, "--epochs", "30", "--out", out, *flags.split()]
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, "NN_CACHE_DIR": f"{out}/cache"})
                speeds[name].append(json.loads((Path(out) / "summary.json").read_text())["samples_per_second"])
    base = statistics.median(speeds[rows[0][0]])
    print("| two workers | samples a second, median | relative to the first line |")
    print("| --- | ---: | ---: |")
    for name, _ in rows:
        speed = statistics.median(speeds[name])
        print(f"| {name} | {speed:,.0f} | {speed / base * 100:.0f} % |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=FOLDER, help="the folder of nn, nn-coord and nn-worker")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--only", choices=["pauses", "costs"])
    options = parser.parse_args()
    if not (options.programs / "nn-coord").exists():
        sys.exit(f"there is no nn-coord in {options.programs}; run `cargo build --release` or give --programs")
    for name, table in (("pauses", pauses), ("costs", costs)):
        if options.only in (None, name):
            table(options)
            print()


if __name__ == "__main__":
    main()
