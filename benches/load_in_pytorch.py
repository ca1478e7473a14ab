"""Loads a model that `nn train` wrote into PyTorch, and compares the predictions of both.

Run:   cargo run --release -- train --out runs/digits
       python benches/load_in_pytorch.py runs/digits/model.safetensors      `pip install torch safetensors numpy` first
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from programs import FOLDER

NN = FOLDER / "nn"
FUNCTIONS = {
    "sigmoid": torch.nn.Sigmoid,
    "relu": torch.nn.ReLU,
    "tanh": torch.nn.Tanh,
    "leaky-relu": torch.nn.LeakyReLU,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
    "linear": torch.nn.Identity,
}


class Standardize(torch.nn.Module):
    """The standardisation of pictures by the mean and deviation of all pixels (`--standardize yes`)."""

    def __init__(self, mean, deviation):
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, inputs):
        return (inputs - self.mean) / self.deviation


def load(path):
    """The network, as a `torch.nn.Sequential` of linear layers, layer normalisations and activation functions."""
    with safe_open(path, "pt") as file:
        model = json.loads(file.metadata()["nn"])["model"]
    widths, modules, places = model["widths"], [], {}
    if scale := model.get("input_scale"):
        modules.append(Standardize(scale["mean"], scale["deviation"]))
    for layer, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        last = layer == len(widths) - 2
        function = model["output"] if last else model["activation"]
        places[f"layers.{layer}"] = len(modules)
        modules.append(torch.nn.Linear(inputs, outputs))
        if model.get("normalization") == "layer" and not last:
            places[f"layers.{layer}.norm"] = len(modules)
            modules.append(torch.nn.LayerNorm(outputs))
        modules.append(torch.nn.Softmax(dim=1) if function == "softmax" else FUNCTIONS[function]())
    network = torch.nn.Sequential(*modules)
    # Rename the keys: the Sequential numbers its modules.
    state = {}
    for name, tensor in load_file(path).items():
        module, kind = name.rsplit(".", 1)
        state[f"{places[module]}.{kind}"] = tensor
    network.load_state_dict(state)
    return network


def main():
    path = sys.argv[1]
    nn = sys.argv[2] if len(sys.argv) > 2 else NN
    network = load(path)
    inputs = next(module.in_features for module in network if isinstance(module, torch.nn.Linear))
    samples = torch.rand(100, inputs)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.npy"
        numpy.save(file, samples.numpy())
        answer = subprocess.run([nn, "predict", "--json", "--model", path, file], check=True, stdout=subprocess.PIPE)
    ours = torch.tensor([entry["outputs"] for entry in json.loads(answer.stdout)["predictions"]])
    with torch.no_grad():
        theirs = network(samples)
    print(network)
    print(f"largest difference between the predictions of PyTorch and nn: {(ours - theirs).abs().max():.1e}")
    assert torch.allclose(ours, theirs, atol=1e-5)


if __name__ == "__main__":
    main()
