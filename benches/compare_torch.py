"""Compares nn with PyTorch on five networks, side by side; prints a Markdown table.

Run:   cargo build --release
       python benches/compare_torch.py                 some minutes; first `pip install torch numpy` in a venv
       python benches/compare_torch.py --quick         a rough answer in about a minute
       python benches/compare_torch.py --torch-only    PyTorch alone
       python benches/compare_torch.py --bf16          also both in bf16: nn with --precision bf16, PyTorch by autocast
       python benches/compare_torch.py --avx2          both held to AVX2, as on processors without AVX-512

A step gathers a mini-batch by a random permutation, runs forward and backward, and applies SGD with learning rate 0.1, with
softmax outputs and cross-entropy. PyTorch runs in a separate process for each thread count, started once, so its start-up
time does not count. nn runs as a child process that times itself (`nn bench`).

Machines are noisy and drift. So for each network all contestants run one after another, in an order that rotates every round,
and the tables show medians and minimums over the rounds. Quote ratios rather than times.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from programs import FOLDER

DEFAULT_NN = FOLDER / "nn"
THREADS = (1, 2)
SAMPLES = 60_000
PAUSE = 0.2  # seconds between contestants, until the last one's idle threads stop spinning


@dataclass(frozen=True)
class Shape:
    layers: tuple
    batch: int
    activation: str
    target: float  # the goal for our best step, as a fraction of PyTorch's best
    torch_steps: int
    nn_steps: int

    @property
    def name(self):
        return "-".join(map(str, self.layers)) + " " + self.activation

    @property
    def operations(self):
        """The floating-point operations of a step's matrix products.

        Those are forward, gradient of the weights, and gradient of the inputs, which the first layer does not need.
        """
        pairs = list(zip(self.layers, self.layers[1:]))
        products = 3 * sum(i * o for i, o in pairs) - pairs[0][0] * pairs[0][1]
        return 2 * self.batch * products


SHAPES = (
    Shape((784, 30, 10), 10, "sigmoid", 1 / 20, 2000, 10_000),
    Shape((784, 128, 10), 32, "relu", 1 / 4, 1000, 4000),
    Shape((784, 512, 256, 10), 128, "relu", 0.4, 200, 400),
    Shape((784, 512, 256, 10), 1024, "relu", 0.75, 40, 60),
    Shape((784, 2500, 2000, 1500, 1000, 500, 10), 256, "tanh", 0.65, 5, 6),
)


# --- PyTorch's side: a process that answers requests, one JSON object per line ----------------------------------------


def serve(threads):
    try:
        import torch
    except ImportError as error:
        remedy = "run `pip install torch numpy` in a virtual environment and use its python"
        print(json.dumps({"error": f"{error}; {remedy}"}))
        return
    torch.set_num_threads(threads)
    data = {}
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = torch_product(torch, **request) if "product" in request else torch_steps(torch, data, **request)
        print(json.dumps(answer), flush=True)


def torch_product(torch, product):
    """The speed of a square matrix product, to compare with the peak that nn measures."""
    a, b = torch.randn(product, product), torch.randn(product, product)
    times = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return {"gflops": 2 * product**3 / min(times) / 1e9}


def torch_steps(torch, data, layers, batch, activation, steps, repeats, bf16):
    """The median and minimum time of a step, over `repeats` runs of `steps` steps."""
    nn = torch.nn
    hidden = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    modules = []
    for inputs, outputs in zip(layers, layers[1:]):
        modules += [nn.Linear(inputs, outputs), hidden()]
    model = nn.Sequential(*modules[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cost = nn.CrossEntropyLoss()
    key = (layers[0], layers[-1])
    if key not in data:
        data[key] = torch.rand(SAMPLES, layers[0]), torch.randint(0, layers[-1], (SAMPLES,))
    x, y = data[key]

    def run(count):
        order = torch.randperm(SAMPLES)
        for step in range(count):
            at = step * batch % (SAMPLES - batch)
            index = order[at : at + batch]
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = cost(model(x[index]), y[index])
            loss.backward()
            optimizer.step()

    run(min(20, 2 * steps))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(steps)
        times.append((time.perf_counter() - start) / steps * 1e6)
    return {"step_us": statistics.median(times), "step_us_min": min(times)}


class Torch:
    """The other end of `serve`."""

    def __init__(self, threads, environment):
        command = [sys.executable, __file__, "--serve", str(threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | environment)
        self.version = self.receive()["torch"]

    def receive(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "its process exited; see the messages above"}
        if "error" in answer:
            fail(f"PyTorch: {answer['error']}")
        return answer

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.receive()

    def measure(self, shape, effort, bf16=False):
        return self.ask(
            bf16=bf16,
            layers=shape.layers,
            batch=shape.batch,
            activation=shape.activation,
            steps=effort.scale(shape.torch_steps),
            repeats=effort.repeats,
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# --- our side ---------------------------------------------------------------------------------------------------------


class Nn:
    def __init__(self, path, environment):
        self.environment = os.environ | environment
        if not os.access(path, os.X_OK):
            fail(f"{path} is missing or not executable; run `cargo build --release` or give --nn")
        self.path = path

    def bench(self, wanted, *flags):
        command = [str(self.path), "bench", *map(str, flags), "--json"]
        shown = " ".join(command)
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        if done.returncode != 0:
            fail(f"`{shown}` exited with code {done.returncode}: {done.stderr.strip() or 'no message'}")
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            fail(f"`{shown}` printed no JSON object but: {done.stdout[:200]!r}")
        missing = [key for key in wanted if not isinstance(answer.get(key), (int, float))]
        if missing:
            fail(f"`{shown}` printed no number for {', '.join(missing)}")
        return answer

    def peak(self):
        return self.bench(("peak_gflops_1", "peak_gflops_all"), "--peak")

    def measure(self, shape, effort, threads, shard_size=None, precision="f32"):
        flags = ["--layers", ",".join(map(str, shape.layers)), "--batch-size", shape.batch]
        flags += ["--activation", shape.activation, "--cost", "cross-entropy", "--output", "softmax"]
        flags += ["--steps", effort.scale(shape.nn_steps), "--repeats", effort.repeats, "--threads", threads]
        flags += ["--precision", precision]
        if shard_size is not None:
            flags += ["--shard-size", shard_size]
        return self.bench(("step_us", "step_us_min"), *flags)


# --- the contest ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effort:
    rounds: int
    repeats: int
    divisor: int  # of the steps in a repeat

    def scale(self, steps):
        return max(2, steps // self.divisor)


def contest(shape, effort, contestants, before_round):
    """The step times of each contestant: {name: {"median": µs, "minimum": µs}}."""
    names = list(contestants)
    taken = {name: [] for name in names}
    for number in range(effort.rounds):
        before_round()
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            time.sleep(PAUSE)
            taken[name].append(contestants[name](shape, effort))
        told = ", ".join(f"{name} {taken[name][-1]['step_us']:.5g}" for name in names)
        print(f"{shape.name}, {shape.batch}, round {number + 1}: {told} µs", file=sys.stderr, flush=True)
    return {
        name: {
            "median": statistics.median(t["step_us"] for t in times),
            "minimum": min(t["step_us_min"] for t in times),
        }
        for name, times in taken.items()
    }


def table(results, statistic, peak):
    """A row for each network; times in microseconds a step."""
    names = list(results[0][1])
    ours = [name for name in names if name.startswith("nn") and "bf16" not in name]
    ours_bf16 = [name for name in names if name.startswith("nn bf16")]
    head = ["network", "batch", "Mflop", "limit", *names]
    if ours:
        head += ["best nn / best torch", "target", "price of dividing"]
    if ours_bf16:
        head += ["best nn bf16 / best torch"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for shape, times in results:
        us = {name: times[name][statistic] for name in names}
        limit = time_text(shape.operations / (peak * 1e3)) if peak else "–"
        row = [shape.name, str(shape.batch), f"{shape.operations / 1e6:.4g}", limit]
        row += [time_text(us[name]) for name in names]
        if ours:
            ratio = min(us[name] for name in ours) / min(us[name] for name in names if name.startswith("torch"))
            reached = "reached" if ratio <= shape.target else "missed"
            divided = min(us[name] for name in ours if "whole" not in name)
            whole = min(us[name] for name in ours if "whole" in name)
            row += [f"{ratio:.3f}", f"≤ {shape.target:g} ({reached})", f"{(divided / whole - 1) * 100:+.0f} %"]
        if ours_bf16:
            row += [f"{min(us[name] for name in ours_bf16) / min(us[name] for name in names if name.startswith('torch')):.3f}"]
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def time_text(us):
    return f"{us:.0f}" if us >= 100 else f"{us:.3g}"


def cpu_model():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def fail(message):
    print(f"compare_torch: {message}", file=sys.stderr)
    sys.exit(1)


def arguments():
    parser = argparse.ArgumentParser(description="Compare nn with PyTorch on five networks, side by side.")
    parser.add_argument("--rounds", type=int, help="rounds for each network (default 5; 2 with --quick)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and a fifth of the steps")
    parser.add_argument("--only", metavar="N[,N…]", help=f"only these networks, numbered 1 to {len(SHAPES)}")
    parser.add_argument("--nn", metavar="PATH", type=Path, default=DEFAULT_NN, help="default: target/release/nn")
    parser.add_argument("--torch-only", action="store_true", help="run PyTorch alone")
    parser.add_argument("--bf16", action="store_true", help="also both in bf16")
    parser.add_argument("--avx2", action="store_true", help="hold both to AVX2")
    parser.add_argument("--date", default=datetime.date.today().isoformat(), help="the date to print (default today)")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rounds is not None and given.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        chosen = [int(n) for n in given.only.split(",")] if given.only else range(1, len(SHAPES) + 1)
        if not all(1 <= n <= len(SHAPES) for n in chosen):
            raise ValueError
    except ValueError:
        parser.error(f"--only takes numbers from 1 to {len(SHAPES)}, such as 1,3")
    given.shapes = [SHAPES[n - 1] for n in chosen]
    return given


def main():
    given = arguments()
    if given.serve:
        serve(given.serve)
        return
    effort = Effort(given.rounds or 2, 3, 5) if given.quick else Effort(given.rounds or 5, 3, 1)

    held = {"NN_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"} if given.avx2 else {}
    ours = None if given.torch_only else Nn(given.nn, held)
    torches = {threads: Torch(threads, held) for threads in THREADS}
    contestants = {f"torch, {count(t)}": torches[t].measure for t in THREADS}
    if given.bf16:
        for t in THREADS:
            contestants[f"torch bf16, {count(t)}"] = lambda s, e, t=t: torches[t].measure(s, e, True)
    if ours:
        for t in THREADS:
            contestants[f"nn, {count(t)}"] = lambda s, e, t=t: ours.measure(s, e, t)
        for t in THREADS:
            contestants[f"nn whole, {count(t)}"] = lambda s, e, t=t: ours.measure(s, e, t, s.batch)
        for t in THREADS if given.bf16 else ():
            contestants[f"nn bf16, {count(t)}"] = lambda s, e, t=t: ours.measure(s, e, t, None, "bf16")

    peaks = {"one": 0.0, "all": 0.0}

    def measure_peak():
        if ours:
            found = ours.peak()
            peaks["one"] = max(peaks["one"], found["peak_gflops_1"])
            peaks["all"] = max(peaks["all"], found["peak_gflops_all"])

    results = [(shape, contest(shape, effort, contestants, measure_peak)) for shape in given.shapes]
    products = {t: torches[t].ask(product=2048)["gflops"] for t in THREADS}
    version = torches[THREADS[0]].version
    for process in torches.values():
        process.close()

    # The contestants use at most THREADS[-1] cores, even if the machine has more.
    peak = min(peaks["all"], THREADS[-1] * peaks["one"]) if cores() > THREADS[-1] else peaks["all"]
    machine = f"{cpu_model()}, {count(cores(), 'core')}"
    print(f"{given.date}, {machine}, PyTorch {version}, Python {platform.python_version()}.")
    if held:
        print("Held to AVX2: " + ", ".join(f"{name}={value}" for name, value in held.items()) + ".")
    print(f"{count(effort.rounds, 'round')}. Microseconds a step; softmax and cross-entropy, SGD.")
    speeds = ", ".join(f"{products[t]:.0f} on {count(t)}" for t in THREADS)
    print(f"PyTorch's matrix product of 2048 × 2048 × 2048: {speeds} (GFLOP/s).")
    if ours:
        print(f"Measured peak: {peaks['one']:.0f} GFLOP/s on one core, {peaks['all']:.0f} on all.")
        print(f"limit: the operations at {peak:.0f} GFLOP/s. nn whole: --shard-size is the batch.")
    for statistic in ("median", "minimum"):
        print(f"\n{statistic.capitalize()} of the rounds:\n\n{table(results, statistic, peak)}")


def count(number, noun="thread"):
    return f"{number} {noun}" + ("" if number == 1 else "s")


if __name__ == "__main__":
    main()
