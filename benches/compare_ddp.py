"""Compares two processes of nn over gRPC with two of PyTorch's DistributedDataParallel over gloo.

Run:   cargo build --release -p nn-net --example loopback
       python benches/compare_ddp.py                   some minutes; first `pip install torch numpy` in a venv
       python benches/compare_ddp.py --nn-only         nn alone

Of nn, one process is a coordinator that computes too (`nn-coord --threads 1`), the other a worker. Both sides use one
compute thread a process, on one machine, over the loopback interface. A training step has softmax outputs,
cross-entropy, and SGD with learning rate 0.1. For each network both run one after the other, round by round; the tables,
in Markdown, show medians over the rounds:

1. the time of a step, and the ratio; and, for comparison, the time of two workers with a coordinator that only
   coordinates, which is three processes;
2. the bytes that a step sends to and from the worker, against the lower bound: all parameters, 4 bytes each, both ways,
   as in a ring of two. A worker that the planner leaves idle returns less than the bound, and one that returns several
   nodes more;
3. where a step's time goes: the slowest worker computes; the coordinator checks, reduces, steps and builds messages; nobody
   can begin; the rest is the wire, and waking threads;
4. the coordinator, which only coordinates, with 2, 8 and 64 workers.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from compare_torch import SHAPES, count, cpu_model, cores, time_text
from programs import FOLDER

EXAMPLE = FOLDER / "examples" / "loopback"
TARGETS = (0.10, 0.15, 0.5, 0.8, 0.8)
OUR_STEPS = (4000, 2000, 600, 200, 80)
THEIR_STEPS = (500, 500, 100, 30, 5)
SAMPLES = 60_000


def ddp(layers, batch, activation, steps):
    """One process of torchrun. The first prints the median of five runs of `steps` steps."""
    import time

    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    hidden = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    modules = []
    for inputs, outputs in zip(layers, layers[1:]):
        modules += [nn.Linear(inputs, outputs), hidden()]
    model = DistributedDataParallel(nn.Sequential(*modules[:-1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cost = nn.CrossEntropyLoss()
    x, y = torch.rand(SAMPLES, layers[0]), torch.randint(0, layers[-1], (SAMPLES,))
    part = batch // dist.get_world_size()

    def run(n):
        order = torch.randperm(SAMPLES)
        for step in range(n):
            at = step * part % (SAMPLES - part)
            index = order[at : at + part]
            optimizer.zero_grad()
            cost(model(x[index]), y[index]).backward()
            optimizer.step()

    run(20)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run(steps)
        times.append((time.perf_counter() - start) / steps * 1e6)
    if dist.get_rank() == 0:
        print(json.dumps({"step_us": statistics.median(times), "torch": torch.__version__}), flush=True)
    dist.destroy_process_group()


def last_object(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        shown = " ".join(map(str, command))
        sys.exit(f"compare_ddp: `{shown}` exited with code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(lines[-1])


def torch_step(shape, steps):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__]
    request = json.dumps([shape.layers, shape.batch, shape.activation, steps])
    return last_object([*command, "--ddp", request], env={**os.environ, "OMP_NUM_THREADS": "1"})


def our_step(example, shape, steps, workers=1, own_threads=1, alone=True):
    command = [example, "--widths", "-".join(map(str, shape.layers)), "--batch", shape.batch]
    command += ["--activation", shape.activation, "--workers", workers, "--own-threads", own_threads, "--steps", steps]
    answer = last_object([*map(str, command), *(["--alone"] if alone else [])])
    if alone and not answer["same_weights"]:
        sys.exit(f"compare_ddp: {shape.name}: the cluster's weights differ from those of one process")
    return answer


def markdown(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description="Compare nn over gRPC with PyTorch DDP over gloo.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds for each network (default 3)")
    parser.add_argument("--nn-only", action="store_true", help="run nn alone")
    parser.add_argument("--example", type=Path, default=EXAMPLE, help="default: target/release/examples/loopback")
    parser.add_argument("--no-scaling", action="store_true", help="skip the coordinator with 2, 8 and 64 workers")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of steps, such as 0.05 for a trial")
    parser.add_argument("--ddp", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ddp:
        ddp(*json.loads(given.ddp))
        return
    if not os.access(given.example, os.X_OK):
        sys.exit(f"compare_ddp: {given.example} is missing; run `cargo build --release -p nn-net --example loopback`")

    def scaled(steps):
        return max(10, round(steps * given.scale))

    results, version = [], ""
    for shape, target, ours, theirs in zip(SHAPES, TARGETS, OUR_STEPS, THEIR_STEPS):
        rounds = []
        for number in range(given.rounds):
            mine = our_step(given.example, shape, scaled(ours))
            mine["apart_us"] = our_step(given.example, shape, scaled(ours), workers=2, own_threads=0, alone=False)["step_us"]
            other = {} if given.nn_only else torch_step(shape, scaled(theirs))
            version = other.get("torch", version)
            rounds.append((mine, other.get("step_us")))
            print(f"{shape.name}, {shape.batch}, round {number + 1}: nn {mine['step_us']:.0f}, "
                  f"DDP {other.get('step_us', float('nan')):.0f} µs", file=sys.stderr, flush=True)
        results.append((shape, target, rounds))

    def middle(rounds, key):
        return statistics.median(mine[key] for mine, _ in rounds)

    print(f"{datetime.date.today().isoformat()}, {cpu_model()}, {count(cores(), 'core')}"
          + (f", PyTorch {version}." if version else "."))
    print(f"{count(given.rounds, 'round')}; medians; microseconds a step.\n")
    rows = []
    for shape, target, rounds in results:
        keys = ("alone_us", "apart_us", "step_us")
        row = [shape.name, shape.batch, *(time_text(middle(rounds, key)) for key in keys)]
        if not given.nn_only:
            theirs = statistics.median(other for _, other in rounds)
            ratio = statistics.median(mine["step_us"] / other for mine, other in rounds)
            row += [time_text(theirs), f"{ratio:.2f}", f"≤ {target:.2g} ({'reached' if ratio <= target else 'missed'})"]
        rows.append(row)
    head = ["network", "batch", "nn, one process, 2 threads", "nn, 2 workers and a coordinator", "nn, 2 processes"]
    print(markdown(head if given.nn_only else [*head, "DDP, 2 processes", "nn / DDP", "target"], rows))

    rows = [[shape.name, shape.batch, middle(rounds, "parameter_bytes"),
             f"{middle(rounds, 'bytes_to_a_worker'):.0f}", f"{middle(rounds, 'bytes_from_a_worker'):.0f}"]
            for shape, _, rounds in results]
    print("\n" + markdown(["network", "batch", "lower bound, each way", "to the worker", "from the worker"], rows))

    rows = [[shape.name, shape.batch, *(time_text(middle(rounds, key))
             for key in ("compute_us", "wire_us", "reduce_us", "wait_us"))] for shape, _, rounds in results]
    print("\n" + markdown(["network", "batch", "compute", "wire", "reduce", "wait"], rows))

    if not given.no_scaling:
        shape = SHAPES[2]
        rows = []
        for workers, steps in ((2, 400), (8, 200), (64, 60)):
            answer = our_step(given.example, shape, scaled(steps), workers, own_threads=0, alone=False)
            rows.append([workers, time_text(answer["step_us"]), time_text(answer["coordinator_cpu_us"]),
                         f"{answer['coordinator_peak_mib']:.0f}"])
        print(f"\nThe coordinator, {shape.name}, mini-batch {shape.batch}:\n")
        print(markdown(["workers", "step", "its processor time a step", "its peak memory, MiB"], rows))


if __name__ == "__main__":
    main()
