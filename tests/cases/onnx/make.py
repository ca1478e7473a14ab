"""Makes the networks of other programs in this folder, which tests/exchange.rs imports: each with what PyTorch or Keras computes.

Made with torch 2.15, keras 3 and onnxscript: pip install torch onnx onnxscript keras safetensors
"""

import json
import os
import pathlib
import warnings

os.environ["KERAS_BACKEND"] = "torch"
warnings.simplefilter("ignore")

import keras
import numpy as np
import onnx
import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
torch.manual_seed(1)
EXPECTED = {}


def sequential(activation, norm=False, last=None):
    layers, widths = [], [6, 5, 4, 3]
    for i, o in zip(widths, widths[1:]):
        layers.append(nn.Linear(i, o))
        if o != widths[-1]:
            layers += [nn.LayerNorm(o)] if norm else []
            layers.append(activation())
    if last:
        layers.append(last)
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def keep(name, x, y):
    EXPECTED[name] = {"inputs": np.asarray(x).reshape(len(x), -1).tolist(), "outputs": np.asarray(y).tolist()}


def stripped(path, external=False):
    """Without traces of the source code, which name folders of the machine."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    # Exporters put only larger tensors into another file.
    more = {"save_as_external_data": True, "location": path.name + ".data", "size_threshold": 0} if external else {}
    path.with_name(path.name + ".data").unlink(missing_ok=True)
    onnx.save(model, path, **more)


def torch_case(name, model, dynamo, x, external=False):
    path = HERE / f"{name}.onnx"
    options = {"dynamic_shapes": ({0: "batch"},)} if dynamo else {"dynamic_axes": {"input": {0: "batch"}}, "opset_version": 17}
    torch.onnx.export(model, (x,), path, input_names=["input"], dynamo=dynamo, verbose=False, **options)
    stripped(path, external)
    with torch.no_grad():
        keep(f"{name}.onnx", x, model(x))


def main():
    x = torch.randn(8, 6)
    ends = {"relu": nn.Softmax(dim=1), "sigmoid": nn.Sigmoid()}
    makers = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU}
    for dynamo in (False, True):
        way = "dynamo" if dynamo else "script"
        for name, activation in makers.items():
            torch_case(f"torch_{way}_{name}", sequential(activation, last=ends.get(name)), dynamo, x)
        torch_case(f"torch_{way}_norm", sequential(nn.ReLU, norm=True), dynamo, x)
    torch_case("torch_external", sequential(nn.ReLU), True, x, external=True)
    pixels = torch.randint(0, 256, (8, 1, 2, 3)).float()

    class Pictures(nn.Module):
        def __init__(self):
            super().__init__()
            self.flatten, self.net = nn.Flatten(), sequential(nn.ReLU, last=nn.Softmax(dim=1))

        def forward(self, x):
            return self.net(self.flatten((x / 255.0 - 0.1307) / 0.3081))

    for dynamo in (False, True):
        torch_case(f"torch_{'dynamo' if dynamo else 'script'}_pictures", Pictures().eval(), dynamo, pixels)
    for name, norm in (("state_dict", False), ("state_dict_norm", True)):
        model = sequential(nn.Tanh, norm=norm)
        save_file(model.state_dict(), HERE / f"{name}.safetensors")
        with torch.no_grad():
            keep(f"{name}.safetensors", x, model(x))
    bad = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3)).eval()
    torch_case("torch_convolution", bad, False, pixels)
    keras.utils.set_random_seed(1)
    dense = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(5, activation="gelu"), keras.layers.Dense(4, activation="gelu"),
                              keras.layers.Dense(3, activation="softmax")])
    dense(x)
    dense.export(HERE / "keras.onnx", format="onnx", verbose=False)
    stripped(HERE / "keras.onnx")
    keep("keras.onnx", x, dense(x).detach())
    (HERE / "expected.json").write_text(json.dumps(EXPECTED) + "\n")
    for path in sorted(HERE.glob("*.onnx")):
        print(path.name, path.stat().st_size, [node.op_type for node in onnx.load(path, load_external_data=False).graph.node])


main()
