"""One process of PyTorch's DistributedDataParallel over gloo, for lan.py; it needs torch and numpy.

Run by lan.py with MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and GLOO_SOCKET_IFNAME in its environment:

    python benches/ddp_rank.py FOLDER 784,512,256,10 relu BATCH RATE WARMUP STEPS [CGROUP]

It trains with SGD and cross-entropy on the IDX files of a folder, in mini-batches of which each process takes an equal part, and
prints the median time of a step. It joins the control group after loading PyTorch, which takes longer than most measurements.
"""

import json
import os
import statistics
import sys
import time

import numpy
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def idx(path):
    """The array of an IDX file of bytes."""
    with open(path, "rb") as file:
        dimensions = int.from_bytes(file.read(4), "big") & 0xFF
        shape = [int.from_bytes(file.read(4), "big") for _ in range(dimensions)]
        return numpy.frombuffer(file.read(), numpy.uint8).reshape(shape)


def main():
    folder, layers, activation, batch, rate, warmup, steps, *group = sys.argv[1:]
    layers = [int(width) for width in layers.split(",")]
    batch, warmup, steps = int(batch), int(warmup), int(steps)
    torch.set_num_threads(1)
    if group:
        with open(os.path.join(group[0], "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()

    images = idx(os.path.join(folder, "train-images-idx3-ubyte"))
    x = torch.from_numpy(images.reshape(len(images), -1).astype(numpy.float32) / 255)
    y = torch.from_numpy(idx(os.path.join(folder, "train-labels-idx1-ubyte")).astype(numpy.int64))

    torch.manual_seed(1)
    hidden = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[activation]
    modules = []
    for inputs, outputs in zip(layers, layers[1:]):
        modules += [nn.Linear(inputs, outputs), hidden()]
    model = DistributedDataParallel(nn.Sequential(*modules[:-1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=float(rate))
    cost = nn.CrossEntropyLoss()

    part = batch // world
    order, at = torch.randperm(len(x)), len(x)
    times, start, loss = [], 0.0, None
    for step in range(warmup + steps):
        if step == warmup:
            start = time.monotonic()
        begun = time.monotonic()
        if at + batch > len(x):
            order, at = torch.randperm(len(x)), 0
        index = order[at + rank * part : at + (rank + 1) * part]
        at += batch
        optimizer.zero_grad()
        loss = cost(model(x[index]), y[index])
        loss.backward()
        optimizer.step()
        if step >= warmup:
            times.append(time.monotonic() - begun)
    end = time.monotonic()
    if rank == 0:
        answer = {"step_seconds": statistics.median(times), "mean_seconds": (end - start) / steps, "start": start, "end": end}
        print(json.dumps({**answer, "steps": steps, "loss": loss.item(), "torch": torch.__version__}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
