"""The programs, the data and the machines' speed, for the modes of lan.py."""

import gzip
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lan_net import Failed, Unusable, median

HERE = Path(__file__).resolve().parent
FILES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


@dataclass
class Network:
    """A network and its training."""

    name: str
    hidden: str
    activation: str
    batch: int
    reference_ms: float
    rate: float  # for throughput: any that does not diverge
    best: float  # about one machine's best rate with the WSD schedule

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
    "small": Network("784-128-10", "128", "relu", 32, 0.1, 0.1, 0.4),
    "middle": Network("784-512-256-10", "512,256", "relu", 128, 1.3, 0.1, 0.5),
    "large": Network("784-2500-2000-1500-1000-500-10", "2500,2000,1500,1000,500", "tanh", 256, 60.0, 0.02, 0.05),
}

# By replicas: the rate as a multiple of one machine's, and the outer momentum, as the study of rounds found them.
ROUNDS = {2: (1.0, 0.5), 4: (1.25, 0.65), 8: (1.75, 0.7)}


def growing(network, number):
    """Epochs in which the rounds of --rounds auto become longer: up to sequential step 256."""
    return -(-256 * network.batch * number // 60_000)


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

    def coordinator(self, least, data, flags, out, log, threads=0):
        listen = f"{self.lan.address('c')}:7654"
        command = self.command("nn-coord", data, [*flags, "--out", out], "--listen", listen, "--insecure", "--threads", threads)
        return self.lan.start("c", [*command, "--min-workers", least], env=self.environment, stdout=log, stderr=log)

    def cluster(self, number, data, flags, limit):
        """A coordinator and its workers, of which it is itself one with --coordinator-computes; returns the epochs and the summary."""
        out, own = self.out(), int(self.options.coordinator_computes)
        with self.log() as log:
            running = [self.coordinator(number - own, data, flags, out, log, own), *self.workers(number - own, data, log)]
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
                "step_among_busy_ms": step, "reference_ms": reference, "k": k,
                "same_hash": results[0][1]["params_sha256"] == self.reference(data, flags)}
        self.facts.setdefault("calibration", []).append(fact)
        print(f"calibration: {network.name}, mini-batch {network.batch}: a step takes {fact['step_alone_ms']:.2f} ms alone and "
              f"{step:.2f} ms beside {len(machines) - 1} busy machines; the real machine's {reference:.2f} ms; k = {k:.2f}: "
              f"1 Gbit/s becomes {1e3 / k:.0f} Mbit/s", flush=True)
        if abs(fact["step_alone_ms"] / step - 1) > 0.15:
            print("calibration: alone and beside others differ by more than 15 %: gains are against a machine beside others; "
                  "is this machine quiet?", flush=True)
        if not fact["same_hash"]:
            self.wrong.append(f"{network.name}, one machine")
        self.scale[name] = (k, among, step / 1e3)
        return self.scale[name]

    def save(self):
        if self.options.json:
            self.options.json.write_text(json.dumps(self.facts, indent=1) + "\n")
