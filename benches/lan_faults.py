"""Faults under rounds, and many runs at once, on the LAN of lan.py: its modes --faults and --sweep."""

import json
import shutil
import subprocess
import time

from lan_bench import NETWORKS, rounds_flags
from lan_net import Failed, median

ROUND_STEPS = 32

SWEEP = """\
# 32 runs of 784-128-10: eight rates, four seeds.
data = "{data}"
recipe = "book"
hidden = [128]
activation = "relu"
cost = "cross-entropy"
batch-size = 32
epochs = {epochs}

[grid]
learning-rate = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]

[sweep]
seeds = 4
"""


class Rounds:
    """A run that is watched through its log: when which round ended."""

    def __init__(self, bench, number, data, flags):
        self.bench, self.number, self.data, self.flags = bench, number, data, flags
        self.out, self.log = bench.out(), bench.log()
        self.path = self.out / "metrics.jsonl"
        self.workers = bench.workers(number, data, self.log)
        self.running = bench.coordinator(1, data, flags, self.out, self.log)
        self.seen = []  # (time, step after the round)
        self.file, self.rest = None, ""

    def look(self):
        """Takes up the rounds that the log has got; returns their number."""
        if self.file is None:
            if not self.path.exists():
                return 0
            self.file = open(self.path)
        self.rest += self.file.read()
        *lines, self.rest = self.rest.split("\n")
        fresh = [line["step"] for line in map(json.loads, lines) if line["kind"] != "epoch" and "step" in line]
        self.seen.extend((time.monotonic(), step) for step in fresh)
        return len(fresh)

    def stuck(self, limit):
        if self.running.poll() is not None:
            raise Failed(f"the run ended after {len(self.seen)} rounds, code {self.running.returncode}; more are needed: {self.tail()}")
        if time.monotonic() > limit:
            raise Failed(f"the run is stuck after {len(self.seen)} rounds: {self.tail()}")

    def tail(self):
        return (self.bench.folder / "log").read_text()[-600:].strip()

    def all_joined(self):
        """Waits until all workers take part."""
        limit = time.monotonic() + 180
        address = f"http://{self.bench.lan.address('c')}:7654"
        while True:
            asked = self.bench.lan.start("c", [self.bench.options.programs / "nn", "status", "--json", "--coordinator", address], slow=False,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            text = asked.communicate()[0]
            self.bench.lan.kill(asked)
            if text and sum(worker["state"] != "loading" for worker in json.loads(text)["workers"]) >= self.number:
                return
            self.look()
            self.stuck(limit)
            time.sleep(0.1)

    def wait(self, rounds):
        limit = time.monotonic() + 180
        while rounds > 0:
            rounds -= self.look()
            self.stuck(limit)
            time.sleep(0.002)

    def gaps(self, first):
        times = [moment for moment, _ in self.seen[first:]]
        return [after - before for before, after in zip(times, times[1:])]

    def middle(self):
        """Waits until all workers are in the middle of a round; returns the usual duration of one."""
        self.all_joined()
        self.wait(10)
        usual = median(self.gaps(-9))
        time.sleep(usual / 2)
        return usual

    def kill_worker(self):
        """Returns the seconds that the round lost, and a usual round with and without the worker."""
        usual = self.middle()
        at = len(self.seen) - 1
        self.bench.lan.kill(self.workers[0])
        self.wait(4)
        struck, *later = self.gaps(at)[:4]
        self.workers[:1] = self.bench.workers(1, self.data, self.log)
        return struck - usual, usual, median(later)

    def kill_coordinator(self):
        """Returns the seconds from SIGKILL to the first round that had not been done, and the rounds done twice."""
        self.middle()
        killed = time.monotonic()
        self.bench.lan.kill(self.running)
        self.look()
        before = sorted({step for _, step in self.seen})
        self.running = self.bench.coordinator(1, self.data, [*self.flags, "--resume"], self.out, self.log)
        # A resumed run cuts the lines of the steps that it repeats from the log.
        least, newest, limit = before[-1], 0, time.monotonic() + 180
        while newest <= before[-1]:
            steps = []
            for line in self.path.read_text().split("\n")[:-1]:
                if '"step"' in line and '"epoch"' not in line:
                    steps.append(json.loads(line)["step"])
            newest = steps[-1] if steps else 0
            least = min(least, newest)
            self.stuck(limit)
            time.sleep(0.003)
        took = time.monotonic() - killed
        self.file.close()
        self.file, self.rest = open(self.path), ""
        self.file.seek(0, 2)
        self.seen = [(time.monotonic(), newest)]
        return took, sum(step > least for step in before)


def faults(bench):
    """SIGKILL of a worker and of the coordinator in mid-round."""
    # Without rounds this mode only shows that it works; the bytes of a step would take seconds for the larger network.
    name = "middle" if bench.has_rounds else "small"
    network, number, repeats = NETWORKS[name], max(bench.options.workers), bench.options.repeats
    k = bench.calibrate(name)[0]
    bench.lan.shape(bench.options.links[0] * 1e9 / k)
    if bench.has_rounds:
        a_round, word = ROUND_STEPS * network.batch * number, "round"
    else:
        a_round, word = network.batch, "step"
        print("faults: this nn has no --rounds, so a step takes the place of a round")
    data, samples = bench.data(a_round * 3)
    wanted = 40 + repeats * 60
    flags = network.flags(-(-wanted * a_round // samples), network.rate)
    at = flags.index("--log-steps")
    flags[at + 1] = 1
    flags += ["--checkpoint-steps", 1] + (rounds_flags(number, length=ROUND_STEPS) if bench.has_rounds else [])
    run = Rounds(bench, number, data, flags)
    try:
        workers = [run.kill_worker() for _ in range(repeats)]
        coordinators = [run.kill_coordinator() for _ in range(repeats)]
        limit = time.monotonic() + 1800
        while run.running.poll() is None and time.monotonic() < limit:
            time.sleep(0.05)
        if run.running.returncode != 0:
            raise Failed(f"the run ended with code {run.running.returncode}: {run.tail()}")
        summary = json.loads((run.out / "summary.json").read_text())
    finally:
        bench.lan.kill(run.running, *run.workers)
    same = summary["params_sha256"] == bench.reference(data, flags)
    if not same:
        bench.wrong.append("faults")
    bench.facts["faults"] = {
        "k": k, "unit": word, "workers": number, "same_hash": same,
        "worker": [{"lost_s": lost, "usual_s": usual, "without_it_s": without} for lost, usual, without in workers],
        "coordinator": [{"seconds": took, "repeated": again} for took, again in coordinators],
    }
    usual = median(usual for _, usual, _ in workers)
    print(f"\nSeconds here, and of the real machines (k = {k:.2f}); {repeats} times each; a usual {word}: {usual:.3f} / {usual / k:.3f}\n")
    print(f"| fault in the middle of a {word} | seconds here: median | worst | of real machines: median | {word}s repeated, at most | same weights |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    lost, took = [lost for lost, _, _ in workers], [took for took, _ in coordinators]
    shown = "yes" if same else "**no**"
    print(f"| a worker is killed: the {word} takes longer by | {median(lost):.3f} | {max(lost):.3f} | {median(lost) / k:.3f} "
          f"| | {shown} |")
    print(f"| the coordinator is killed, and resumed at once: until the next new {word} | {median(took):.3f} | {max(took):.3f} "
          f"| {median(took) / k:.3f} | {max(again for _, again in coordinators)} | {shown} |", flush=True)


def sweep(bench):
    """32 whole runs on all workers against one."""
    options = bench.options
    listed = subprocess.run([options.programs / "nn", "sweep", "--help"], capture_output=True, text=True)
    if listed.returncode != 0:
        raise Failed("this nn has no `nn sweep`")
    k, among, _ = bench.calibrate("small")
    bench.lan.shape(options.links[0] * 1e9 / k)
    # Runs that take about the budget on all workers together, and not less than three seconds each.
    data, samples = bench.data(60_000 if not options.quick else 6_000)
    epochs = max(2, round(max(3.0, options.budget * 4 / 32) * among / samples))
    config = bench.folder / "sweep.toml"
    config.write_text(options.sweep_config.read_text() if options.sweep_config else SWEEP.format(data=data, epochs=epochs))
    times, out = {}, None
    for number in (1, max(options.workers)):
        if out:
            shutil.rmtree(out)
        out = bench.out()
        with bench.log() as log:
            workers = bench.workers(number, data, log, "--stay")
            command = [options.programs / "nn", "sweep", "--config", config, "--out", out, "--insecure", "--listen",
                       f"{bench.lan.address('c')}:7654"]
            begun = time.monotonic()
            running = bench.lan.start("c", command, env=bench.environment, stdout=log, stderr=log)
            try:
                limit = begun + 60 + 40 * options.budget * 4 / number
                while running.poll() is None:
                    if time.monotonic() > limit:
                        raise Failed(f"the sweep with {number} workers is not done after {limit - begun:.0f} s")
                    time.sleep(0.01)
            finally:
                bench.lan.kill(running, *workers)
        if running.returncode != 0:
            raise Failed(f"nn sweep: code {running.returncode}: {(bench.folder / 'log').read_text()[-600:].strip()}")
        times[number] = time.monotonic() - begun
    # Every run's folder has its options and its summary.
    runs, wrong = sorted(path.parent for path in out.glob("**/summary.json")), 0
    for folder in runs:
        again = bench.out()
        command = [options.programs / "nn", "train", "--config", folder / "run.toml", "--out", again, "--quiet"]
        subprocess.run(command, check=True, env=bench.environment)
        first, second = (json.loads((one / "summary.json").read_text())["params_sha256"] for one in (folder, again))
        wrong += first != second
        shutil.rmtree(again)
    if wrong or len(runs) != 32:
        bench.wrong.append(f"{wrong} of {len(runs)} runs of the sweep (32 expected)")
    one, many = times[1], times[max(options.workers)]
    bench.facts["sweep"] = {"k": k, "runs": len(runs), "epochs": epochs, "samples": samples, "seconds": times,
                            "times_as_fast": one / many, "wrong": wrong}
    print("\n| runs | epochs each | 1 worker | " + f"{max(options.workers)} workers | × as fast | runs with the weights of nn train |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    print(f"| {len(runs)} | {epochs} | {one / k:.1f} s | {many / k:.1f} s | {one / many:.2f} | {len(runs) - wrong} |", flush=True)
