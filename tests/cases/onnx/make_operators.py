"""Makes more networks of other programs in this folder, which tests/exchange.rs imports: layer normalisation in basic operators,
numbers of 16 bits, and inputs that are scaled each by its own numbers. `expected_operators.json` has what onnxruntime computes.

Made with torch 2.15, onnx 1.23 and onnxruntime 1.32: pip install torch onnx onnxruntime

`tensorflow_norm.onnx` is built here in the form in which tf2onnx writes Keras' layers; TensorFlow was not run.
"""

import json
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
EXPECTED = {}
torch.manual_seed(2)
X = torch.randn(8, 6)


def network(norm=True):
    layers = []
    for inputs, outputs in ((6, 5), (5, 4)):
        layers += [nn.Linear(inputs, outputs), *([nn.LayerNorm(outputs)] if norm else []), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(4, 3), nn.Softmax(dim=1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


class Scaled(nn.Module):
    """Each input less a mean of its own, over a deviation of its own; one of them is not scaled."""

    def __init__(self, net):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, -2.0, 30.0, 0.0, 1e-3, 5.0]))
        self.register_buffer("deviation", torch.tensor([0.7, 3.0, 12.5, 1.0, 0.3, 2.0]))
        self.net = net

    def forward(self, x):
        return self.net((x - self.mean) / self.deviation)


def keep(name, model, x):
    """Writes a model without traces of the machine, and what onnxruntime computes with it."""
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / name)
    session = onnxruntime.InferenceSession(HERE / name, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"input": x})
    EXPECTED[name] = {"inputs": x.astype(np.float64).tolist(), "outputs": y.astype(np.float64).tolist()}
    print(name, [node.op_type for node in model.graph.node])


def exported(module, opset, x=X):
    path = HERE / "exported.tmp"
    options = {"input_names": ["input"], "dynamic_axes": {"input": {0: "batch"}}, "dynamo": False, "verbose": False}
    torch.onnx.export(module, (x,), path, opset_version=opset, **options)
    model = onnx.load(path)
    path.unlink()
    return model


def narrow(model):
    """The weights in 16 bits, each followed by a conversion; the biases as `int32_data`, as some converters write them."""
    graph, casts = model.graph, []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float16)
        name, wide = tensor.name + ".half", tensor.name
        if values.ndim == 1:
            bits = values.view(np.uint16).astype(np.int32).tolist()
            tensor.CopyFrom(TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=values.shape, int32_data=bits))
        else:
            tensor.CopyFrom(numpy_helper.from_array(values, name))
        casts.append(helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def tensorflow():
    """z·γ/√(v + ε) + (β − mean·γ/√(v + ε)), with the mean of squared differences as v."""
    make = np.random.default_rng(3)
    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def node(kind, *inputs, **attributes):
        name = f"{kind.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    x = "input"
    for at, (inputs, outputs) in enumerate(((6, 5), (5, 4), (4, 3))):
        x = node("MatMul", x, constant(f"kernel{at}", make.normal(size=(inputs, outputs))))
        x = node("Add", x, constant(f"bias{at}", make.normal(size=outputs)))
        if outputs == 3:
            x = node("Softmax", x, axis=-1)
            break
        mean = node("ReduceMean", x, axes=[-1], keepdims=1)
        difference = node("Sub", x, mean)
        variance = node("ReduceMean", node("Mul", difference, difference), axes=[-1], keepdims=1)
        root = node("Sqrt", node("Add", variance, constant(f"epsilon{at}", 1e-5)))
        factor = node("Mul", node("Reciprocal", root), constant(f"gamma{at}", make.normal(size=outputs)))
        left = node("Sub", constant(f"beta{at}", make.normal(size=outputs)), node("Mul", mean, factor))
        x = node("Relu", node("Add", node("Mul", x, factor), left))
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
    graph = helper.make_graph(nodes, "keras", [value("input", 6)], [value(x, 3)], constants)
    return helper.make_model(graph, producer_name="tf2onnx", opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def main():
    x = X.numpy()
    keep("torch_script_norm_11.onnx", exported(network(), 11), x)
    keep("torch_script_norm_16.onnx", exported(network(), 16), x)
    keep("tensorflow_norm.onnx", tensorflow(), x)
    keep("torch_script_scaled.onnx", exported(Scaled(network()), 17), x)
    keep("torch_script_narrow.onnx", narrow(exported(network(norm=False), 13)), x)
    half = network(norm=False).half()
    keep("torch_script_half.onnx", exported(half, 13, X.half()), X.half().numpy())
    (HERE / "expected_operators.json").write_text(json.dumps(EXPECTED) + "\n")


main()
