"""Measures nn on a LAN: one machine, synchronous, with rounds, and PyTorch's DDP over gloo, on shaped links inside this machine.

Run:   cargo build --release --bins
       sudo python3 benches/lan.py --quick                   two minutes, to try it
       sudo python3 benches/lan.py --python VENV/bin/python  samples a second, and bytes a sample; about an hour
       sudo python3 benches/lan.py --choose CHOICE.json      rates and epochs for --to, chosen on validation samples
       sudo python3 benches/lan.py --to 98 --choice CHOICE.json   seconds to a test accuracy
       sudo python3 benches/lan.py --faults                  what a killed worker, and a killed coordinator, cost
       sudo python3 benches/lan.py --sweep                   32 runs on four workers against one
       sudo python3 benches/lan.py --check                   what the links and the quotas really do

It needs Linux, root, `ip`, `tc`, a CPU controller of control groups, and MNIST (--data: a folder with its four IDX files, or
mnist). PyTorch's rows need an interpreter with the packages of ddp_requirements.txt (--python). lan_net.py says how the network
and the machines are made; they are gone at the end, also after Ctrl-C.

Equivalent machines. Five machines share the cores of this one, so each gets a quota (--share, of one core), whether it works alone or
beside four, and computes k times as slowly as the real machine that it stands for. Its links are k times as slow too: then computing
and wire have the ratio of real machines, and all times are k times too long. k is measured for each network (the calibration):
the step of one machine at its quota, while the others are as busy, over the step of the real machine. That is by default
the step that shared studies assume (0.1, 1.3 and 60 ms: this machine with all its cores when quiet); --reference machine or core
measures it now. Samples a second are given as those of the real machine: multiplied by k.

Every row of nn must end with the weights of `nn train` with the same options; if one does not, the exit code is 1.
"""

import argparse
import datetime
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from lan_faults import faults, sweep
from lan_net import Failed, Lan, Unusable, check, median
from programs import FOLDER

HERE = Path(__file__).resolve().parent
FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


@dataclass
class Network:
    """A network, its training, and what the study of rounds says of it."""

    name: str
    hidden: str
    activation: str
    batch: int
    reference_ms: float
    rate: float  # for throughput: any that does not diverge
    best: float  # one machine's best rate with the WSD schedule
    rounds: dict = field(default_factory=dict)  # replicas: (rate, outer momentum)

    @property
    def layers(self):
        return [784, *map(int, self.hidden.split(",")), 10]

    @property
    def parameters(self):
        return sum((inputs + 1) * outputs for inputs, outputs in zip(self.layers, self.layers[1:]))

    def flags(self, epochs, rate, batch=None):
        return ["--recipe", "book", "--hidden", self.hidden, "--activation", self.activation, "--cost", "cross-entropy",
                "--batch-size", batch or self.batch, "--learning-rate", rate, "--epochs", epochs,
                "--log-steps", 0, "--eval-every", 1000000, "--checkpoint-seconds", 0]


NETWORKS = {
    "small": Network("784-128-10", "128", "relu", 32, 0.1, 0.1, 0.4, {2: (0.4, 0.5), 4: (0.5, 0.65), 8: (0.7, 0.7)}),
    "middle": Network("784-512-256-10", "512,256", "relu", 128, 1.3, 0.1, 0.5, {2: (0.5, 0.5), 4: (0.6, 0.65), 8: (0.8, 0.7)}),
    "large": Network("784-2500-2000-1500-1000-500-10", "2500,2000,1500,1000,500", "tanh", 256, 60.0, 0.02, 0.05,
                     {2: (0.05, 0.5), 4: (0.0625, 0.65), 8: (0.0875, 0.7)}),
}
ROWS = ["one", "sync", "sync-wide", "rounds", "rounds4", "ddp", "ddp-wide"]
TITLES = {
    "one": "one machine", "sync": "nn, synchronous", "sync-wide": "nn, synchronous, N × the mini-batch", "rounds": "nn, rounds",
    "rounds4": "nn, rounds, 4 bits", "ddp": "PyTorch DDP", "ddp-wide": "PyTorch DDP, N × the mini-batch",
}

def rounds_flags(replicas, bits=8, momentum=None, length="auto"):
    flags = ["--rounds", length, "--replicas", replicas, "--delta-bits", bits]
    return flags if momentum is None else [*flags, "--outer-learning-rate", 1, "--outer-momentum", momentum]


class Bench:
    """The programs, the data, and the LAN."""

    def __init__(self, options, lan, folder):
        self.options, self.lan, self.folder = options, lan, Path(folder)
        self.count, self.hashes, self.subsets = 0, {}, {}
        self.wrong, self.facts = [], {"rows": []}
        self.scale = {}  # network: (k, samples a second among busy machines, alone)
        listed = subprocess.run([options.programs / "nn", "train", "--help"], capture_output=True, text=True).stdout
        self.has_rounds = "--rounds" in listed
        self.environment = {**os.environ, "NN_CACHE_DIR": str(self.folder / "cache")}
        # Torch's threads are one each.
        self.environment["OMP_NUM_THREADS"] = "1"
        self.source = self.unpack()

    def unpack(self):
        """A folder with MNIST's four files, not compressed: a machine at a third of a core should not unpack them each time."""
        out = self.folder / "mnist"
        out.mkdir()
        source = Path(self.options.data)
        if not source.is_dir():
            subprocess.run([self.options.programs / "nn", "fetch", self.options.data], check=True, env=self.environment)
            source = next((self.folder / "cache").rglob(FILES[0] + "*")).parent
        for name in FILES:
            if (source / name).exists():
                shutil.copy(source / name, out / name)
            elif (source / f"{name}.gz").exists():
                (out / name).write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
            else:
                raise Unusable(f"{source} has neither {name} nor {name}.gz; give --data a folder with MNIST's four IDX files")
        return out

    def data(self, samples):
        """A folder with the first training samples, so that an epoch is short, and few test samples."""
        samples = min(samples, 60_000)
        if samples not in self.subsets:
            out = self.folder / f"first-{samples}"
            out.mkdir()
            for name in FILES:
                whole = (self.source / name).read_bytes()
                keep = samples if name.startswith("train") else 1000
                header, size = (16, 784) if "images" in name else (8, 1)
                (out / name).write_bytes(whole[:4] + keep.to_bytes(4, "big") + whole[8:header] + whole[header : header + keep * size])
            self.subsets[samples] = out
        return self.subsets[samples], samples

    def out(self):
        self.count += 1
        return self.folder / f"out-{self.count}"

    def finish(self, process, out, limit, on_line=None):
        """Follows a run to its end; returns its epochs, each with the time and the bytes sent when it was seen, and its summary."""
        metrics, seen, rest, begun = out / "metrics.jsonl", [], "", time.monotonic()
        file = None
        while True:
            ended = process.poll() is not None
            if file is None and metrics.exists():
                file = open(metrics)
            if file:
                rest += file.read()
                *lines, rest = rest.split("\n")
                for line in map(json.loads, lines):
                    line["seen"], line["sent"] = time.monotonic(), self.lan.sent()
                    seen.append(line)
                    if on_line:
                        on_line(line)
            if ended:
                break
            if time.monotonic() - begun > limit:
                raise Failed(f"not done after {limit:.0f} s")
            time.sleep(0.02)
        if file:
            file.close()
        if process.returncode != 0:
            raise Failed(f"exit code {process.returncode}: {(self.folder / 'log').read_text()[-600:].strip()}")
        return [line for line in seen if line["kind"] == "epoch"], json.loads((out / "summary.json").read_text())

    def log(self):
        return open(self.folder / "log", "w")

    def command(self, program, data, flags, *more):
        return [self.options.programs / program, *more, "--data", data, "--quiet", *flags]

    def reference(self, data, flags):
        """The hash of `nn train` at full speed."""
        key = (str(data), *map(str, flags))
        if key not in self.hashes:
            out = self.out()
            command = self.command("nn", data, [*flags, "--out", out], "train")
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=self.environment)
            if done.returncode != 0:
                raise Failed(f"nn train: {done.stderr.strip()[-600:]}")
            self.hashes[key] = json.loads((out / "summary.json").read_text())["params_sha256"]
        return self.hashes[key]

    def alone(self, data, flags, machines, limit):
        """nn train on some machines at once; returns the epochs and the summary of each."""
        runs = []
        with self.log() as log:
            for machine in machines:
                out = self.out()
                command = self.command("nn", data, [*flags, "--threads", 1, "--out", out], "train")
                runs.append((self.lan.start(machine, command, env=self.environment, stdout=log, stderr=log), out))
        try:
            return [self.finish(process, out, limit) for process, out in runs]
        finally:
            self.lan.kill(*(process for process, _ in runs))

    def workers(self, number, data, log, *more):
        """Workers that have the data themselves: sending them is no part of a row."""
        flags = ["--threads", 1, "--coordinator", f"http://{self.lan.address('c')}:7654", *more]
        command = self.command("nn-worker", data, flags)
        return [self.lan.start(f"w{at}", [*command, "--name", f"w{at}"], env=self.environment, stdout=log, stderr=log) for at in range(number)]

    def coordinator(self, least, data, flags, out, log):
        command = self.command("nn-coord", data, [*flags, "--out", out], "--listen", f"{self.lan.address('c')}:7654", "--insecure")
        return self.lan.start("c", [*command, "--min-workers", least], env=self.environment, stdout=log, stderr=log)

    def cluster(self, number, data, flags, limit):
        """A coordinator and its workers; returns the epochs and the summary."""
        out = self.out()
        with self.log() as log:
            running = [self.coordinator(number, data, flags, out, log), *self.workers(number, data, log)]
        try:
            return self.finish(running[0], out, limit)
        finally:
            self.lan.kill(*running)

    def ddp(self, number, network, data, batch, warmup, steps, limit):
        ranks = []
        with self.log() as log:
            for rank in range(number):
                machine = f"w{rank}"
                environment = {**self.environment, "MASTER_ADDR": self.lan.address("w0"), "MASTER_PORT": "29400", "RANK": str(rank),
                               "WORLD_SIZE": str(number), "GLOO_SOCKET_IFNAME": "eth0"}
                command = [self.options.python, HERE / "ddp_rank.py", data, ",".join(map(str, network.layers)), network.activation, batch,
                           network.rate, warmup, steps, self.lan.groups[machine]]
                ranks.append(self.lan.start(machine, command, slow=False, env=environment, stdout=subprocess.PIPE, stderr=log, text=True))
        # Bytes by the clock, because only the processes know when the measured part begins.
        begun, series = time.monotonic(), []
        try:
            while ranks[0].poll() is None:
                series.append((time.monotonic(), self.lan.sent()))
                if time.monotonic() - begun > limit:
                    raise Failed(f"not done after {limit:.0f} s")
                time.sleep(0.02)
            text = ranks[0].stdout.read()
            if ranks[0].returncode != 0 or "{" not in text:
                raise Failed(f"exit code {ranks[0].returncode}: {(self.folder / 'log').read_text()[-600:].strip()}")
        finally:
            self.lan.kill(*ranks)
        answer = json.loads(text[text.index("{"):])
        at = lambda moment: min(series, key=lambda pair: abs(pair[0] - moment))[1]
        answer["bytes"] = at(answer["end"]) - at(answer["start"])
        return answer

    # -- the calibration ------------------------------------------------------------------------------------------------------

    def calibrate(self, name):
        """Finds how many times slower than the real one a machine of this LAN is."""
        if name in self.scale:
            return self.scale[name]
        network, share = NETWORKS[name], self.lan.share
        guess = network.reference_ms / 1e3 / share * 1.8
        steps = max(3, round(self.options.budget / 4 / guess))
        data, samples = self.data(steps * network.batch)
        flags = network.flags(max(4, round(self.options.budget / (samples / network.batch * guess))), network.rate)
        machines = [machine for machine in self.lan.machines if machine != "c"]
        limit = 20 * self.options.budget + 120
        speed = lambda result: median(epoch["samples_per_second"] for epoch in result[0][1:])
        alone = speed(self.alone(data, flags, machines[:1], limit)[0])
        results = self.alone(data, flags, machines, limit)
        among = median(map(speed, results))
        if self.options.reference == "table":
            reference = network.reference_ms
        else:
            threads = 1 if self.options.reference == "core" else os.cpu_count()
            out = self.out()
            command = self.command("nn", data, [*flags, "--threads", threads, "--out", out], "train")
            subprocess.run(list(map(str, command)), check=True, capture_output=True, env=self.environment)
            epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            reference = 1e3 * network.batch / median(epoch["samples_per_second"] for epoch in epochs[1:])
        step = 1e3 * network.batch / among
        k = step / reference
        fact = {"network": network.name, "batch": network.batch, "share": share, "step_alone_ms": 1e3 * network.batch / alone,
                "step_among_busy_ms": step, "reference_ms": reference, "k": k, "same_hash": results[0][1]["params_sha256"] == self.reference(data, flags)}
        self.facts.setdefault("calibration", []).append(fact)
        print(f"calibration: {network.name}, mini-batch {network.batch}: a step takes {fact['step_alone_ms']:.2f} ms alone and {step:.2f} ms beside "
              f"{len(machines) - 1} busy machines; the real machine's {reference:.2f} ms; k = {k:.2f}: 1 Gbit/s becomes {1e3 / k:.0f} Mbit/s", flush=True)
        if abs(fact["step_alone_ms"] / step - 1) > 0.15:
            print("calibration: alone and beside others differ by more than 15 %: gains are against a machine beside others; is this machine quiet?", flush=True)
        if not fact["same_hash"]:
            self.wrong.append(f"{network.name}, one machine")
        self.scale[name] = (k, among, step / 1e3)
        return self.scale[name]

    # -- samples a second -----------------------------------------------------------------------------------------------------

    def plan(self, network, row, number, step, rate):
        """Mini-batch, epochs and samples of a row that takes about the budget."""
        budget, batch = self.options.budget, network.batch * (number if row.endswith("-wide") else 1)
        if row.startswith("rounds"):
            # Whole epochs, as in real life: the last round of an epoch is short, and H follows the run.
            bits = 4 if row == "rounds4" else 8
            rounds = max(1, 60_000 / (number * 64 * batch))
            epoch = 60_000 / batch / number * step + rounds * 2 * number * network.parameters * bits / rate
            return batch, max(4, min(60, round(budget / epoch))), 60_000
        wire = 2 * number * network.parameters * 32 / rate
        if row.startswith("ddp"):
            wire = 2 * (number - 1) / number * network.parameters * 32 / rate
        local = step * batch / network.batch / number
        steps = max(6, min(4000, budget / (local + wire)))
        return batch, 3, max(2, min(60_000 // batch, round(steps / 3))) * batch

    def measure(self, name, row, number, gigabit):
        """A row of the table."""
        network = NETWORKS[name]
        k, among, step = self.calibrate(name)
        fact = {"network": network.name, "row": row, "workers": number, "link_gbit": gigabit, "k": k, "link_mbit_here": 1e3 * gigabit / k}
        if row == "one":
            return {**fact, "workers": 1, "batch": network.batch, "samples_per_second_here": among, "bytes_per_sample": 0, "same_hash": True}
        rate = gigabit * 1e9 / k
        self.lan.shape(rate)
        batch, epochs, samples = self.plan(network, row, number, step, rate)
        data, samples = self.data(samples)
        limit = 20 * self.options.budget + 180
        fact["batch"] = batch
        if row.startswith("ddp"):
            steps = max(4, samples // batch * 2)
            answer = self.ddp(number, network, data, batch, max(2, steps // 4), steps, limit)
            return {**fact, "samples_per_second_here": batch / answer["step_seconds"], "samples_per_second_mean": batch / answer["mean_seconds"],
                    "bytes_per_sample": answer["bytes"] / (steps * batch), "torch": answer["torch"]}
        flags = network.flags(epochs, network.rate, batch)
        if row.startswith("rounds"):
            flags += rounds_flags(number, 4 if row == "rounds4" else 8)
        lines, summary = self.cluster(number, data, flags, limit)
        # The first epoch warms up; with rounds, H still grows in the first third of the run.
        skip = max(1, len(lines) // 3) if row.startswith("rounds") else 1
        speeds = [line["samples_per_second"] for line in lines]
        fact |= {
            "samples_per_second_here": median(speeds[skip:]),
            "samples_per_second_mean": len(speeds) / sum(1 / speed for speed in speeds),
            "bytes_per_sample": (lines[-1]["sent"] - lines[skip - 1]["sent"]) / (samples * (len(lines) - skip)),
            "epochs": epochs, "samples": samples, "steps": summary["steps"], "params_sha256": summary["params_sha256"],
        }
        fact["same_hash"] = summary["params_sha256"] == self.reference(data, flags)
        return fact

    def table(self):
        options = self.options
        print("\n| network | mini-batch | link | machines | | samples/s | × one machine | whole run | bytes a sample | × DDP | same weights |")
        print("| --- | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
        for name in options.networks:
            self.calibrate(name)
            for gigabit in options.links:
                for number in options.workers:
                    facts = {}
                    for row in options.rows:
                        if row == "one" and (gigabit, number) != (options.links[0], options.workers[0]):
                            continue
                        reason = self.impossible(row)
                        try:
                            facts[row] = self.measure(name, row, number, gigabit) if not reason else {"row": row, "failed": reason}
                        except Failed as error:
                            facts[row] = {"row": row, "network": NETWORKS[name].name, "workers": number, "link_gbit": gigabit, "failed": str(error)}
                    for row, fact in facts.items():
                        self.facts["rows"].append(fact)
                        self.print_row(NETWORKS[name], number, gigabit, row, fact, facts.get("ddp", {}), name)
                    self.save()

    def impossible(self, row):
        if row.startswith("rounds") and not self.has_rounds:
            return "this nn has no --rounds"
        if row.startswith("ddp") and not self.options.python:
            return "no --python"
        return None

    def print_row(self, network, number, gigabit, row, fact, ddp, name):
        machines = 1 if row == "one" else number
        link = "" if row == "one" else f"{gigabit:g} Gbit/s" if gigabit >= 1 else f"{gigabit * 1e3:g} Mbit/s"
        start = f"| {network.name} | {fact.get('batch', network.batch)} | {link} | {machines} | {TITLES[row]} |"
        if "failed" in fact:
            print(f"{start} {fact['failed'].splitlines()[-1][:120] if fact['failed'] else 'failed'} | | | | | |", flush=True)
            return
        k, among, _ = self.scale[name]
        speed = fact["samples_per_second_here"]
        mean = fact.get("samples_per_second_mean")
        against = speed / ddp["samples_per_second_here"] if row != "one" and not row.startswith("ddp") and "samples_per_second_here" in ddp else None
        same = {True: "yes", False: "**no**", None: ""}[fact.get("same_hash")]
        if fact.get("same_hash") is False:
            self.wrong.append(f"{network.name}, {TITLES[row]}, {number} workers")
        print(f"{start} {speed * k:,.0f} | {speed / among:.2f} | {'' if mean is None else f'{mean / among:.2f}'} | {fact['bytes_per_sample']:,.0f} | "
              f"{'' if against is None else f'{against:.1f}'} | {same} |", flush=True)

    # -- time to an accuracy --------------------------------------------------------------------------------------------------

    def arm(self, name, replicas, rate, momentum, epochs, seed):
        flags = NETWORKS[name].flags(epochs, rate) + ["--schedule", "wsd", "--warmup-steps", 60, "--seed", seed]
        return flags + (rounds_flags(replicas, self.options.bits, momentum) if replicas > 1 else [])

    def validated(self, name, replicas, rate, momentum, epochs):
        """The accuracy on validation samples, the mean of the seeds, in percent."""
        accuracies = []
        for seed in self.options.seeds:
            out = self.out()
            flags = [*self.arm(name, replicas, rate, momentum, epochs, seed), "--validation-fraction", 0.1, "--out", out]
            command = self.command("nn", self.source, flags, "train")
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=self.environment)
            if done.returncode == 1:
                return 0.0  # it diverged
            if done.returncode != 0:
                raise Unusable(f"nn train: {done.stderr.strip()[-600:]}")
            last = (out / "metrics.jsonl").read_text().splitlines()[-1]
            accuracies.append(json.loads(last)["validation_accuracy"] * 100)
            shutil.rmtree(out)
        return sum(accuracies) / len(accuracies)

    def choose(self, target):
        """Rates and epochs of each arm: the shortest run that reaches the target on validation samples, at full speed."""
        chosen = {}
        for name in self.options.networks:
            network = NETWORKS[name]
            for replicas in [1, *self.options.workers]:
                best, momentum = (network.best, None) if replicas == 1 else network.rounds[replicas]
                for epochs in range(1, self.options.most_epochs + 1):
                    # Three rates, and further ones while the best is at an edge.
                    tried, queue = {}, [-1, 0, 1]
                    while queue:
                        for power in queue:
                            tried[power] = self.validated(name, replicas, round(best * 1.4**power, 4), momentum, epochs)
                        top = max(tried, key=tried.get)
                        queue = [power for power in (top - 1, top + 1) if power not in tried and abs(power) < 5]
                    accuracy, rate = tried[top], round(best * 1.4**top, 4)
                    print(f"{network.name}, {replicas} replicas, {epochs} epochs: {accuracy:.2f} % of the validation samples at {rate}", flush=True)
                    if accuracy >= target:
                        chosen.setdefault(name, {})[str(replicas)] = {"rate": rate, "momentum": momentum, "epochs": epochs, "validation": accuracy}
                        break
                    best *= 1.4**top
        Path(self.options.choose).write_text(json.dumps({"target": target, "chosen": chosen}, indent=1) + "\n")
        self.facts["chosen"] = chosen

    def time_to(self, target):
        choice = json.loads(Path(self.options.choice).read_text())
        if choice["target"] != target:
            raise Unusable(f"{self.options.choice} was chosen for {choice['target']} %, not {target} %")
        print("\n| network | link | machines | rate | epochs | test accuracy of each seed | reached | seconds | × sooner | same weights |")
        print("| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- |", flush=True)
        for name, arms in choice["chosen"].items():
            if name not in self.options.networks:
                continue
            network, base = NETWORKS[name], None
            k, _, step = self.calibrate(name)
            for gigabit in self.options.links:
                self.lan.shape(gigabit * 1e9 / k)
                for replicas, arm in sorted((int(key), value) for key, value in arms.items()):
                    if replicas == 1 and base or replicas > len(self.lan.machines) - 1 or replicas > 1 and not self.has_rounds:
                        continue
                    times, accuracies, same = [], [], True
                    for seed in self.options.seeds:
                        flags = self.arm(name, replicas, arm["rate"], arm["momentum"], arm["epochs"], seed)
                        limit = 600 + 5 * arm["epochs"] * 60_000 / network.batch * step
                        lines, summary = (self.cluster(replicas, self.source, flags, limit) if replicas > 1
                                          else self.busy(flags, limit))
                        # The final test is not counted: it is the same for all.
                        times.append(sum(60_000 / line["samples_per_second"] for line in lines) / k)
                        accuracies.append(summary["test_accuracy"] * 100)
                        same &= summary["params_sha256"] == self.reference(self.source, flags)
                    took = median(times)
                    base = base or took
                    reached = sum(accuracy >= target for accuracy in accuracies)
                    self.facts["rows"].append({"network": network.name, "target": target, "link_gbit": gigabit, "replicas": replicas, **arm, "seconds": times,
                                               "test_accuracy": accuracies, "same_hash": same, "times_sooner": base / took})
                    if not same:
                        self.wrong.append(f"{network.name}, {replicas} replicas")
                    print(f"| {network.name} | {'' if replicas == 1 else f'{gigabit * 1e3:g} Mbit/s'} | {replicas} | {arm['rate']} | {arm['epochs']} | "
                          f"{', '.join(f'{accuracy:.2f}' for accuracy in accuracies)} | {reached} of {len(times)} | {took:.2f} | {base / took:.2f} | "
                          f"{'yes' if same else '**no**'} |", flush=True)
                    self.save()

    def busy(self, flags, limit):
        """nn train on one machine while the others are as busy."""
        machines = [machine for machine in self.lan.machines if machine != "c"]
        return self.alone(self.source, flags, machines, limit)[0]

    def save(self):
        if self.options.json:
            self.options.json.write_text(json.dumps(self.facts, indent=1) + "\n")


def comma(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def links(text):
    """Gbit/s from words such as 1gbit or 100mbit."""
    units = {"gbit": 1.0, "mbit": 1e-3}
    try:
        return [float(word[:-4]) * units[word[-4:]] for word in text.lower().split(",")]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"`{text}` is not like 1gbit,100mbit") from None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--to", type=float, metavar="ACCURACY", help="time to this test accuracy, in percent; needs --choice")
    mode.add_argument("--choose", metavar="FILE", help="choose rates and epochs for --target on validation samples; not shaped")
    mode.add_argument("--faults", action="store_true", help="kill a worker and the coordinator in mid-round")
    mode.add_argument("--sweep", action="store_true", help="32 runs on all workers against one")
    mode.add_argument("--check", action="store_true", help="measure the links and the quotas, and end")
    parser.add_argument("--quick", action="store_true", help="two networks, four workers, 1 Gbit/s, and few seconds a row")
    parser.add_argument("--networks", type=comma(str), help=f"of {','.join(NETWORKS)} (default: all)")
    parser.add_argument("--rows", type=comma(str), help=f"of {','.join(ROWS)} (default: all)")
    parser.add_argument("--workers", type=comma(int), help="default 2,4")
    parser.add_argument("--links", type=links, help="of the real machines; default 1gbit,100mbit")
    parser.add_argument("--budget", type=float, help="seconds to measure a row, about (default 30; 4 with --quick)")
    parser.add_argument("--share", type=float, default=0.35, help="of a core, for each machine (default 0.35)")
    parser.add_argument("--reference", choices=["table", "machine", "core"], default="table",
                        help="the real machine: as the study assumes (default), this one with all cores, or with one")
    parser.add_argument("--target", type=float, default=98.0, help="accuracy that --choose aims at, in percent (default 98)")
    parser.add_argument("--choice", metavar="FILE", help="the file that --choose wrote")
    parser.add_argument("--most-epochs", type=int, default=15, help="of --choose (default 15)")
    parser.add_argument("--seeds", type=comma(int), default=[1, 2, 3], help="of --choose and --to (default 1,2,3)")
    parser.add_argument("--bits", type=int, default=8, help="--delta-bits of --choose and --to (default 8)")
    parser.add_argument("--repeats", type=int, help="of --faults (default 5; 2 with --quick)")
    parser.add_argument("--sweep-config", type=Path, help="another file for --sweep")
    parser.add_argument("--programs", type=Path, default=FOLDER, help="the folder of nn, nn-coord and nn-worker")
    parser.add_argument("--python", help="an interpreter with ddp_requirements.txt; without it PyTorch's rows stay empty")
    parser.add_argument("--data", default="mnist", help="a folder with MNIST's four IDX files (default: mnist, fetched)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    quick = options.quick
    options.networks = options.networks or (["small", "middle"] if quick else list(NETWORKS))
    options.rows = options.rows or (["one", "sync", "rounds", "ddp"] if quick else ROWS)
    options.workers = options.workers or ([4] if quick else [2, 4])
    options.links = options.links or ([1.0] if quick else [1.0, 0.1])
    options.budget = options.budget or (4.0 if quick else 30.0)
    options.repeats = options.repeats or (2 if quick else 5)
    options.programs = options.programs.resolve()
    if quick:
        options.seeds = options.seeds[:1]
    for what, given, known in (("network", options.networks, NETWORKS), ("row", options.rows, ROWS)):
        for word in given:
            if word not in known:
                parser.error(f"{what} `{word}` is not one of {', '.join(known)}")
    if (max(options.workers) + 1) * options.share > (os.cpu_count() or 1):
        parser.error(f"{max(options.workers) + 1} machines of {options.share} cores do not fit into {os.cpu_count()} cores; lower --share or --workers")
    if options.to and not options.choice:
        parser.error("--to needs --choice FILE; --choose FILE makes it")
    for program in ("nn", "nn-coord", "nn-worker"):
        if not os.access(options.programs / program, os.X_OK):
            parser.error(f"there is no {options.programs / program}; run `cargo build --release --bins` or give --programs")
    return options


def checked(lan, options):
    """What the links and quotas do, in two sentences."""
    rates = [1e9 * gigabit / 4 for gigabit in options.links]
    facts = check(lan, rates, 0.5 if options.quick else 2.0)
    for link in facts[0]:
        print(f"link: asked {link['asked_mbit']:.1f} Mbit/s; one connection carries {link['up_mbit']:.1f} up and {link['down_mbit']:.1f} down, without headers")
    for burst in facts[1]:
        print(f"quota: {burst['computing_ms']} ms of computing should take {burst['expected_ms']:.1f} ms at {lan.share} of a core, and takes {burst['took_ms']:.1f}")
    sys.stdout.flush()
    return {"links": facts[0], "quotas": facts[1]}


def busy_share(seconds=1.0):
    """The share of this machine's cores that others use."""
    read = lambda: [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    before = read()
    time.sleep(seconds)
    spent = [after - start for start, after in zip(before, read())]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))


def main():
    options = arguments()
    busy = busy_share()
    if busy > 0.1 and not options.choose:
        print(f"lan: other programs use {busy:.0%} of this machine; do not believe the figures", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="nn-lan-") as folder, Lan(max(options.workers), options.share) as lan:
            bench = Bench(options, lan, folder)
            bench.facts |= {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "share": options.share, "reference": options.reference, "busy_before": round(busy, 3)}
            if not options.choose:
                bench.facts["check"] = checked(lan, options)
            if options.choose:
                bench.choose(options.target)
            elif options.to:
                bench.time_to(options.to)
            elif options.faults:
                faults(bench, NETWORKS, rounds_flags)
            elif options.sweep:
                sweep(bench, NETWORKS["small"])
            elif not options.check:
                bench.table()
            bench.save()
    except (Unusable, Failed) as error:
        sys.exit(f"lan: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if bench.wrong:
        sys.exit("lan: weights differ from those of nn train: " + "; ".join(bench.wrong))


if __name__ == "__main__":
    main()
