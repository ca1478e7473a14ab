"""Golden values for the tests of nn-core: losses, gradients, optimizer paths and learning-rate multipliers.

Run:   python make_golden.py            writes golden.json beside this file
       python make_golden.py --check    compares the values with golden.json, and writes nothing

The values were computed with Python 3.11, PyTorch 2.15.0 and NumPy 2.4 (`pip install torch numpy` in a virtual
environment).

All values are computed in float64, by autograd and torch.optim, from inputs that are rounded to float32. So the tests
can load the inputs exactly, and the golden values are far more accurate than float32. The inputs come from Python's own
generator, whose sequence does not change between versions of PyTorch. README.md describes the file.
"""

import argparse
import json
import math
import random
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel

OUT = Path(__file__).with_name("golden.json")
SEED = 20261123
DIGITS = 9  # significant decimal digits: enough to restore any float32 exactly

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "leaky-relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
}
OUTPUTS_AND_COSTS = [
    ("sigmoid", "mse"),
    ("softmax", "mse"),
    ("linear", "mse"),
    ("sigmoid", "cross-entropy"),
    ("softmax", "cross-entropy"),
    ("linear", "huber"),
]


def f32(x):
    """x rounded to float32, as a float64."""
    return float(np.float32(x))


def normal(rng, count, scale=1.0):
    """A list of normally distributed numbers, each exact in float32."""
    return [f32(rng.gauss(0.0, scale)) for _ in range(count)]


def tensor(values, *shape):
    return torch.tensor(values, dtype=torch.float64).reshape(*shape)


# --- networks: losses and gradients ---------------------------------------------------------------------------------


def make_network(rng, name, widths, batch, gain=1.0):
    """Parameters, inputs and targets, shared by all cases on this network."""
    pairs = list(zip(widths, widths[1:]))
    last = widths[-1]
    return {
        "name": name,
        "widths": widths,
        "batch": batch,
        "weights": [normal(rng, i * o, gain / math.sqrt(i)) for i, o in pairs],
        "biases": [normal(rng, o, 0.5 * gain) for _, o in pairs],
        "x": normal(rng, batch * widths[0]),
        "labels": [rng.randrange(last) for _ in range(batch)],
        "dense": normal(rng, batch * last),
    }


def one_hot(labels, width):
    return [1.0 if j == label else 0.0 for label in labels for j in range(width)]


def forward(weights, biases, x, activation, norms=()):
    """The weighted inputs z of the last layer, and the smallest |z| of any hidden neuron. `norms` has γ and β of each hidden
    layer, if they are normalised."""
    a, nearest_to_zero = x, math.inf
    for layer, (w, b) in enumerate(zip(weights, biases)):
        z = F.linear(a, w, b)
        if layer + 1 < len(weights):
            if norms:
                z = F.layer_norm(z, z.shape[1:], *norms[layer], eps=1e-5)
            nearest_to_zero = min(nearest_to_zero, z.detach().abs().min().item())
            a = ACTIVATIONS[activation](z)
    return z, nearest_to_zero


def output_and_losses(z, y, labels, output, cost, smoothing=0.0):
    """The last layer's activations [batch][out], and the loss of each sample [batch]."""
    a = {"sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, 1), "linear": lambda z: z}[output](z)
    if cost == "mse":  # half the squared distance, summed (not averaged) over the outputs
        losses = F.mse_loss(a, y, reduction="none").sum(1) / 2
    elif cost == "huber":
        losses = F.huber_loss(a, y, reduction="none").sum(1)
    elif output == "sigmoid":  # binary, summed over the outputs
        losses = F.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1)
    else:
        losses = F.cross_entropy(z, torch.tensor(labels), reduction="none", label_smoothing=smoothing)
    return a, losses


def case(network, activation, output, cost, smoothing=0.0, clips=False, normalization=None):
    """One network with one activation, output and cost. `normalization` has lists of γ and β for each hidden layer."""
    widths, batch = network["widths"], network["batch"]
    weights = [
        tensor(w, o, i).requires_grad_() for w, i, o in zip(network["weights"], widths, widths[1:])
    ]
    biases = [tensor(b, -1).requires_grad_() for b in network["biases"]]
    gains = [tensor(gain, -1).requires_grad_() for gain, _ in normalization or []]
    shifts = [tensor(shift, -1).requires_grad_() for _, shift in normalization or []]
    of_layers = list(zip(gains, shifts))
    parameters = weights + biases + gains + shifts
    x = tensor(network["x"], batch, widths[0])
    labels = network["labels"]
    target = "dense" if output == "linear" else "one-hot"
    flat = network["dense"] if target == "dense" else one_hot(labels, widths[-1])
    y = tensor(flat, batch, widths[-1])
    smoothing = f32(smoothing)
    if smoothing:
        y = y * (1 - smoothing) + smoothing / widths[-1]

    z, nearest_to_zero = forward(weights, biases, x, activation, of_layers)
    # No weighted input of a ReLU may be so close to the kink that float32 falls on the other side.
    assert "relu" not in activation or nearest_to_zero > 1e-4, f"{network['name']}: choose another seed"
    a, losses = output_and_losses(z, y, labels, output, cost, smoothing)
    gradients = torch.autograd.grad(losses.mean(), parameters)

    # The gradients of one sample at a time: their norms, and their mean as a check on the gradient of the batch.
    norms, owns = [], []
    for n in range(batch):
        z, _ = forward(weights, biases, x[n : n + 1], activation, of_layers)
        _, loss = output_and_losses(z, y[n : n + 1], labels[n : n + 1], output, cost, smoothing)
        own = torch.autograd.grad(loss.sum(), parameters)
        norms.append(math.sqrt(sum((g * g).sum().item() for g in own)))
        owns.append(own)
    clip = f32(0.9 * statistics.median(norms)) if clips else math.inf  # a limit that clips most, but not all
    total = [torch.zeros_like(p) for p in parameters]
    for norm, own in zip(norms, owns):
        total = [t + g * min(1.0, clip / norm) for t, g in zip(total, own)]
    if clips:
        assert min(norms) < clip
        norms = [min(norm, clip) for norm in norms]
        gradients = [t / batch for t in total]
    for mean, t in zip(gradients, total):
        torch.testing.assert_close(mean, t / batch, rtol=1e-12, atol=1e-15)

    layers, hidden = len(weights), len(gains)
    model = {"widths": widths, "activation": activation, "output": output, "cost": cost}
    if normalization:
        model["normalization"] = "layer"
    return {
        "name": f"{network['name']} {activation} {output} {cost}" + (" normalized" if normalization else ""),
        "network": network["name"],
        "model": model,
        "target": target,
        **({"gains": [gain for gain, _ in normalization]} if normalization else {}),
        **({"shifts": [shift for _, shift in normalization]} if normalization else {}),
        **({"label_smoothing": smoothing, "clip_samples": clip if clips else 0.0} if smoothing or clips else {}),
        "outputs": a.flatten().tolist(),
        "losses": losses.tolist(),
        "mean_loss": losses.mean().item(),
        "weight_gradients": [g.flatten().tolist() for g in gradients[:layers]],
        "bias_gradients": [g.tolist() for g in gradients[layers : 2 * layers]],
        **({"gain_gradients": [g.tolist() for g in gradients[2 * layers :][:hidden]]} if normalization else {}),
        **({"shift_gradients": [g.tolist() for g in gradients[2 * layers :][hidden:]]} if normalization else {}),
        "sample_gradient_norms": norms,
    }


def networks_and_cases(rng):
    small = make_network(rng, "small", [7, 5, 4, 3], 6)
    wide = make_network(rng, "wide", [20, 17, 33, 6], 9)
    bare = make_network(rng, "bare", [9, 4], 5)
    single = make_network(rng, "single", [6, 8, 1], 7)
    # Weighted inputs in the tens: a loss that takes the logarithm of a rounded activation is infinite here.
    saturated = make_network(rng, "saturated", [5, 4], 6, gain=30.0)
    cases = [
        case(network, activation, output, cost)
        for network in (small, wide)
        for activation in ACTIVATIONS
        for output, cost in OUTPUTS_AND_COSTS
    ]
    cases += [case(bare, "sigmoid", output, cost) for output, cost in OUTPUTS_AND_COSTS]
    cases += [case(single, activation, "linear", "mse") for activation in ACTIVATIONS]
    cases += [case(saturated, "sigmoid", output, "cross-entropy") for output in ("sigmoid", "softmax")]
    regularized = [
        case(small, "gelu", "softmax", "cross-entropy", smoothing=0.1),
        case(wide, "tanh", "sigmoid", "cross-entropy", smoothing=0.3),
        case(small, "relu", "softmax", "cross-entropy", clips=True),
        case(wide, "silu", "linear", "huber", clips=True),
        case(wide, "relu", "softmax", "cross-entropy", smoothing=0.1, clips=True),
    ]
    return [small, wide, bare, single, saturated], cases, regularized, normalized(small, wide)


def normalized(small, wide):
    """Cases with layer normalisation: every activation on either network, and with clipped gradients."""
    rng = random.Random(SEED + 1)  # so that the numbers of all other cases are what they were
    of_layers = {
        network["name"]: [
            ([f32(1.0 + x) for x in normal(rng, width, 0.4)], normal(rng, width, 0.5))
            for width in network["widths"][1:-1]
        ]
        for network in (small, wide)
    }
    outputs_and_costs = OUTPUTS_AND_COSTS + OUTPUTS_AND_COSTS[2:] + OUTPUTS_AND_COSTS[:2]
    pairs = [(network, activation) for network in (small, wide) for activation in ACTIVATIONS]
    cases = [
        case(network, activation, output, cost, normalization=of_layers[network["name"]])
        for (network, activation), (output, cost) in zip(pairs, outputs_and_costs)
    ]
    cases += [
        case(small, "tanh", "softmax", "cross-entropy", clips=True, normalization=of_layers["small"]),
        case(wide, "silu", "linear", "huber", clips=True, normalization=of_layers["wide"]),
    ]
    return cases


# --- optimizers -----------------------------------------------------------------------------------------------------

WEIGHTS, BIASES, STEPS = 8, 4, 6


def optimizers(rng):
    start = normal(rng, WEIGHTS + BIASES)
    gradients = [normal(rng, WEIGHTS + BIASES) for _ in range(STEPS)]
    for g in gradients:
        g[2] = g[WEIGHTS + 1] = 0.0  # Adam's square root and division must cope with 0
        g[5] = f32(g[5] * 1e-7)  # small enough for Adam's epsilon to matter

    adam = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    sgd = {"name": "sgd"}
    momentum = {"name": "momentum", "momentum": 0.9}
    nesterov = {"name": "nesterov", "momentum": 0.9}
    runs = [
        (sgd, 0.1, 0.0),
        (momentum, 0.1, 0.0),
        (nesterov, 0.1, 0.0),
        ({"name": "adam", **adam}, 0.01, 0.0),
        ({"name": "adamw", **adam, "weight_decay": 0.01}, 0.01, 0.0),
        (sgd, 0.1, 0.05),
        (nesterov, 0.1, 0.05),
        ({"name": "adam", **adam}, 0.01, 0.05),
    ]
    # Gradients that are clipped first, by their norm over weights and biases: all of them, and some.
    clipped = [
        (sgd, 0.1, 0.05, 1.0),
        (momentum, 0.1, 0.0, 3.0),
        ({"name": "adamw", **adam, "weight_decay": 0.01}, 0.01, 0.0, 0.5),
    ]
    # Their moving averages: at first by (1 + t)/(10 + t), which is less than these, and later, but for the last, by these.
    averaged = [0.2, 0.3, 0.999]
    return {
        "weights": WEIGHTS,
        "biases": BIASES,
        "start": start,
        "gradients": gradients,
        "runs": [
            {
                "optimizer": optimizer,
                "learning_rate": rate,
                "l2": l2,
                "parameters": optimizer_path(optimizer, rate, l2, start, gradients),
            }
            for optimizer, rate, l2 in runs
        ]
        + [
            {
                "optimizer": optimizer,
                "learning_rate": rate,
                "l2": l2,
                "clip_norm": most,
                "parameters": path,
                "ema": ema,
                "averages": averages(start, path, ema),
            }
            for (optimizer, rate, l2, most), ema in zip(clipped, averaged)
            for path in [optimizer_path(optimizer, rate, l2, start, gradients, most)]
        ],
    }


def optimizer_path(optimizer, rate, l2, start, gradients, clip_norm=None):
    """The parameters after each step. The constants are rounded to float32, as in nn."""
    c = {key: f32(value) for key, value in optimizer.items() if key != "name"}
    w = tensor(start[:WEIGHTS], -1).requires_grad_()
    b = tensor(start[WEIGHTS:], -1).requires_grad_()
    # PyTorch's weight_decay is L2 in SGD and Adam, added to the gradient; in AdamW it is decoupled.
    decay = c["weight_decay"] if optimizer["name"] == "adamw" else f32(l2)
    groups = [{"params": [w], "weight_decay": decay}, {"params": [b], "weight_decay": 0.0}]
    rate = f32(rate)
    name = optimizer["name"]
    if name in ("adam", "adamw"):
        kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        stepper = kind(groups, lr=rate, betas=(c["beta1"], c["beta2"]), eps=c["epsilon"])
    else:
        stepper = torch.optim.SGD(groups, lr=rate, momentum=c.get("momentum", 0.0), nesterov=name == "nesterov")
    path = []
    for g in gradients:
        w.grad, b.grad = tensor(g[:WEIGHTS], -1), tensor(g[WEIGHTS:], -1)
        if clip_norm is not None:
            # PyTorch adds 1e-6 to the norm, which nn does not.
            torch.nn.utils.clip_grad_norm_([w, b], f32(clip_norm))
        stepper.step()
        path.append(w.tolist() + b.tolist())
    return path


def bounded(rng):
    """Steps after which the incoming weights of each hidden unit are scaled down to a largest norm."""
    widths = [3, 5, 4, 2]
    layers = list(zip(widths, widths[1:]))
    count = sum(inputs * outputs + outputs for inputs, outputs in layers)
    start = normal(rng, count)
    gradients = [normal(rng, count) for _ in range(STEPS)]
    return {
        "widths": widths,
        "start": start,
        "gradients": gradients,
        "runs": [
            {
                "optimizer": optimizer,
                "learning_rate": rate,
                "max_norm": most,
                "parameters": bounded_path(optimizer, rate, most, layers, start, gradients),
            }
            for optimizer, rate, most in [
                ({"name": "sgd"}, 0.1, 1.0),
                ({"name": "momentum", "momentum": 0.9}, 0.1, 2.0),
                ({"name": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}, 0.01, 0.5),
            ]
        ],
    }


def bounded_path(optimizer, rate, most, layers, start, gradients):
    """The parameters after each step and PyTorch's renorm, which adds 1e-7 to a norm; nn does not."""
    c = {key: f32(value) for key, value in optimizer.items() if key != "name"}

    def parts(values):
        """The weights and the biases of each layer."""
        at = 0
        for inputs, outputs in layers:
            yield tensor(values[at : at + inputs * outputs], -1).reshape(outputs, inputs)
            at += inputs * outputs
            yield tensor(values[at : at + outputs], -1)
            at += outputs

    parameters = [part.clone().requires_grad_() for part in parts(start)]
    if optimizer["name"] == "adam":
        stepper = torch.optim.Adam(parameters, lr=f32(rate), betas=(c["beta1"], c["beta2"]), eps=c["epsilon"])
    else:
        stepper = torch.optim.SGD(parameters, lr=f32(rate), momentum=c.get("momentum", 0.0))
    path = []
    for g in gradients:
        for parameter, gradient in zip(parameters, parts(g)):
            parameter.grad = gradient.clone()
        stepper.step()
        with torch.no_grad():
            # The weights of all layers but the last.
            for weights in parameters[:-2:2]:
                weights.copy_(torch.renorm(weights, p=2, dim=0, maxnorm=f32(most)))
        path.append([x for parameter in parameters for x in parameter.flatten().tolist()])
    return path


class Parameters(torch.nn.Module):
    def __init__(self, values):
        super().__init__()
        self.values = torch.nn.Parameter(tensor(values, -1))


def averages(start, path, ema):
    """The moving average of the parameters after each step, with the decay min(X, (1 + t)/(10 + t))."""

    def average(averaged, current, count):
        t = float(count) - 1  # the initial parameters are counted
        decay = min(f32(ema), (1 + t) / (10 + t))
        return decay * averaged + (1 - decay) * current

    model = AveragedModel(Parameters(start), avg_fn=average)
    model.update_parameters(Parameters(start))  # the first call copies
    averages = []
    for parameters in path:
        model.update_parameters(Parameters(parameters))
        averages.append(model.module.values.tolist())
    return averages


# --- learning-rate schedules ----------------------------------------------------------------------------------------

STEPS_PER_EPOCH, TOTAL_STEPS = 10, 40


def multiplier(shape, warmup, t):
    """The multiplier of the learning rate at step t, counted from 0."""
    if t < warmup:
        return (t + 1) / warmup
    if shape["name"] == "step":
        epoch = t // STEPS_PER_EPOCH
        return f32(shape["factor"]) ** (epoch // shape["every_epochs"])
    if shape["name"] == "cosine":
        floor = f32(shape["floor"])
        way = (t - warmup) / (TOTAL_STEPS - warmup)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * way))
    return 1.0


def one_cycle(shape):
    """PyTorch's rates over the run for a largest rate of 1, its two phases along cosines."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=TOTAL_STEPS,
        pct_start=f32(shape["rise"]),
        anneal_strategy="cos",
        cycle_momentum=False,
        div_factor=f32(shape["divisor"]),
        final_div_factor=f32(shape["final_divisor"]),
        three_phase=False,
    )
    rates = []
    for step in range(TOTAL_STEPS):
        rates.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        if step + 1 < TOTAL_STEPS:
            scheduler.step()
    return rates


def plateau():
    """PyTorch's multipliers after each loss of some runs that fall, stand still, rise and fall by too little."""
    losses = [1.0, 0.8, 0.8, 0.79999, 0.9, 0.7, 0.71, 0.69999, 0.72, 0.7, 0.65, 0.66, 0.67, 0.64, 0.64, 0.64, 0.64, 0.64, 0.64, 0.64]
    runs = []
    for factor, evaluations in [(0.1, 1), (0.5, 2), (0.3, 3), (0.1, 5)]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        # Its patience is the number of evaluations that it lets pass.
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=f32(factor), patience=evaluations - 1, eps=0.0
        )
        multipliers = []
        for loss in losses:
            scheduler.step(loss)
            multipliers.append(float(optimizer.param_groups[0]["lr"]))
        runs.append({"factor": factor, "evaluations": evaluations, "multipliers": multipliers})
    return {"losses": losses, "runs": runs}


def schedules():
    shapes = [
        {"name": "constant"},
        {"name": "step", "every_epochs": 2, "factor": 0.5},
        {"name": "cosine", "floor": 0.1},
    ]
    return {
        "steps_per_epoch": STEPS_PER_EPOCH,
        "total_steps": TOTAL_STEPS,
        "runs": [
            {
                "schedule": {"shape": shape, "warmup_steps": warmup},
                "multipliers": [multiplier(shape, warmup, t) for t in range(TOTAL_STEPS)],
            }
            for shape in shapes
            for warmup in (5, 0)
        ]
        + [
            {"schedule": {"shape": shape, "warmup_steps": 0}, "multipliers": one_cycle(shape)}
            for rise, divisor, final_divisor in [(0.3, 25.0, 1e4), (0.33, 10.0, 100.0), (1.0, 4.0, 1.0), (0.025, 25.0, 1e4)]
            for shape in [
                {"name": "one-cycle", "rise": rise, "divisor": divisor, "final_divisor": final_divisor}
            ]
        ],
    }


# --- writing --------------------------------------------------------------------------------------------------------


def number(x):
    if isinstance(x, int):
        return str(x)
    assert math.isfinite(x), "JSON has no infinities"
    text = f"{x + 0.0:.{DIGITS}g}"  # adding 0.0 turns -0.0 into 0.0
    assert f32(x) != x or f32(float(text)) == x, "the file would change a float32"
    return text if any(mark in text for mark in ".e") else text + ".0"


def dump(value, indent=0):
    """JSON with a line for each field and each list of numbers."""
    pad, inner = " " * indent, " " * (indent + 1)
    if isinstance(value, dict):
        if not any(isinstance(v, (dict, list)) for v in value.values()):
            return "{" + ", ".join(f'"{k}": {dump(v)}' for k, v in value.items()) + "}"
        fields = ",\n".join(f'{inner}"{k}": {dump(v, indent + 1)}' for k, v in value.items())
        return "{\n" + fields + "\n" + pad + "}"
    if isinstance(value, list):
        if not any(isinstance(v, (dict, list)) for v in value):
            return "[" + ",".join(number(v) for v in value) + "]"
        return "[\n" + ",\n".join(inner + dump(v, indent + 1) for v in value) + "\n" + pad + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return number(value)


def differences(new, old, where=""):
    """The places where two files differ by more than the rounding of their last digits."""
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        return [d for k in new for d in differences(new[k], old[k], f"{where}.{k}")]
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [d for i, (n, o) in enumerate(zip(new, old)) for d in differences(n, o, f"{where}[{i}]")]
    if isinstance(new, float) and isinstance(old, float):
        return [] if math.isclose(new, old, rel_tol=1e-7, abs_tol=1e-12) else [f"{where}: {new} now, {old} in the file"]
    return [] if new == old else [f"{where}: differs"]


def main():
    parser = argparse.ArgumentParser(description="Write golden.json.")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    rng = random.Random(SEED)
    networks, cases, regularized, normalized = networks_and_cases(rng)
    golden = {
        "networks": networks,
        "cases": cases,
        "regularized": regularized,
        "normalized": normalized,
        "optimizers": optimizers(rng),
        "bounded": bounded(rng),
        "schedules": schedules(),
        "plateau": plateau(),
    }
    text = dump(golden) + "\n"
    if arguments.check:
        found = differences(json.loads(text), json.loads(OUT.read_text()))
        print("\n".join(found) or f"{OUT.name} agrees")
        sys.exit(bool(found))
    OUT.write_text(text)
    print(f"wrote {OUT.name}: {len(cases)} cases, {len(text)} bytes, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
