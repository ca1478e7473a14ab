"""Holds exported networks to `nn predict`: onnx.checker looks at each file, and onnxruntime computes with it.

usage: onnx_out.py NN FOLDER

It trains a small network for every activation, output and kind of data in FOLDER, and prints a line `ok` for each.
"""

import csv
import datetime
import gzip
import json
import random
import struct
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

NN, FOLDER = sys.argv[1], sys.argv[2]
# Largest differences seen: 5e-7 for outputs from 0 to 1, and 1e-6 of the largest answer of a regression.
TOLERANCE = 1e-5


def nn(*arguments):
    done = subprocess.run([NN, *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def train(name, data, *options):
    nn("train", "--quiet", "--data", data, "--out", name, "--epochs", "3", "--threads", "1", *options)
    nn("export", "--model", f"{name}/model.safetensors", "--onnx", f"{name}.onnx")
    file = f"{FOLDER}/{name}.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, json.loads(metadata["classes"]) if "classes" in metadata else None


def predicted(name, *what):
    answer = json.loads(nn("predict", "--json", "--model", f"{name}/model.safetensors", *what))
    return answer["classes"], answer["predictions"]


def compare(name, session, inputs, classes, answers):
    got = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))
    want = np.array([answer["outputs"] for answer in answers])
    assert got["outputs"].shape == want.shape, (got["outputs"].shape, want.shape)
    largest = np.max(np.abs(want), initial=1.0)
    difference = np.max(np.abs(got["outputs"].astype(np.float64) - want)) / largest
    assert difference <= TOLERANCE, (name, difference)
    if classes is not None:
        assert classes == answer_classes(answers, classes)
        sure = np.ptp(np.sort(want, axis=1)[:, -2:], axis=1) > 2 * TOLERANCE
        labels = np.array([answer["class"] for answer in answers])
        assert got["label"].shape == labels.shape
        assert (got["label"][sure] == labels[sure]).all() and sure.any(), name
    print(f"ok   {name}: {len(want)} samples, largest difference {difference:.1e}", flush=True)


def answer_classes(answers, classes):
    assert {answer["class"] for answer in answers} <= set(classes)
    return classes


def idx(name, array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    with gzip.open(f"{FOLDER}/{name}", "wb") as file:
        file.write(head + array.astype(np.uint8).tobytes())


def table(name, header, rows):
    with open(f"{FOLDER}/{name}", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def floats(rows, column, missing=("", "NA")):
    """A column of numbers as the graph takes it: missing ones are NaN."""
    cells = [float("nan") if row[column] in missing else float(row[column]) for row in rows]
    return np.array(cells, dtype=np.float64).reshape(-1, 1)


def texts(rows, column):
    return np.array([row[column] for row in rows], dtype=object).reshape(-1, 1)


def seconds(rows, column, pattern):
    zone = datetime.timezone.utc
    cells = [
        datetime.datetime.strptime(row[column], pattern).replace(tzinfo=zone).timestamp() if row[column] else float("nan")
        for row in rows
    ]
    return np.array(cells, dtype=np.float64).reshape(-1, 1)


def pictures():
    """Every activation, normalised and not; every output and cost; both precisions; standardised pixels."""
    make = random.Random(1)
    images = np.array([[[make.randrange(256) for _ in range(6)] for _ in range(5)] for _ in range(200)])
    labels = (images[:, 0, 0] // 86).astype(np.uint8)
    for part, rows in (("train", slice(0, 160)), ("t10k", slice(160, 200))):
        idx(f"{part}-images-idx3-ubyte.gz", images[rows])
        idx(f"{part}-labels-idx1-ubyte.gz", labels[rows])
    pixels = images[160:].astype(np.float32)
    cases = [(f"{a}-{n}", ["--activation", a, "--normalization", n]) for a in
             ("sigmoid", "tanh", "relu", "leaky-relu", "gelu", "silu") for n in ("none", "layer")]
    cases += [
        ("sigmoid-outputs", ["--output", "sigmoid", "--cost", "cross-entropy"]),
        ("linear-outputs", ["--output", "linear", "--cost", "mse"]),
        ("bf16", ["--precision", "bf16"]),
        ("standardised", ["--standardize", "yes"]),
        ("averaged", ["--ema", "0.9"]),
        ("no-hidden", ["--hidden", "none"]),
    ]
    for name, options in cases:
        hidden = [] if "--hidden" in options else ["--hidden", "9,8"]
        session, classes = train(name, ".", *hidden, *options)
        assert classes == ["0", "1", "2"], classes
        compare(name, session, {"pixels": pixels}, *predicted(name, "--data", ".", "--count", "40"))
    # A single picture, and a thousand.
    single = session.run(None, {"pixels": pixels[:1]})
    many = session.run(None, {"pixels": np.repeat(pixels[:1], 1000, axis=0)})
    assert len(single[1]) == 1 and set(many[1]) == set(single[1])


def tables():
    make = random.Random(2)
    header = ["age", "fare", "sex", "port", "joined", "at", "label", "class of ticket"]
    rows = []
    for _ in range(300):
        day = datetime.date(1890, 1, 1) + datetime.timedelta(days=make.randrange(60000))
        sex = make.choice(["male", "female", "ü, ö"])
        rows.append([
            make.choice(["", "NA", make.randrange(90), f"{make.uniform(0, 90):.4f}"]),
            f"{make.lognormvariate(3, 2):.6g}", sex, make.choice(["C", "Q", "S", "", "n/a", "NONE"]),
            make.choice(["", day.strftime("%Y-%m-%d %H:%M:%S")]) if make.random() < 0.2 else
            (datetime.datetime.combine(day, datetime.time(make.randrange(24), make.randrange(60), make.randrange(60)))
             .strftime("%Y-%m-%d %H:%M:%S")),
            f"{make.randrange(24):02d}:{make.randrange(60):02d}", f"l{make.randrange(70)}",
            "yes" if (sex == "male") != (make.random() < 0.1) else "no",
        ])
    table("people.csv", header, rows)
    # Among the samples to predict for are values and gaps that no training sample has.
    odd = [["", "", "", "", "", "", "", ""], ["1e300", "-1e300", "divers", "X", "2077-02-28 23:59:59", "23:59", "new", "no"],
           ["5", "NA", "Nan", "missing", "1600-02-29 00:00:00", "00:00", "l3", "yes"]]
    asked = [row[:-1] for row in rows[:80] + odd]
    table("asked.csv", header[:-1], asked)
    session, classes = train("people", "people.csv", "--hidden", "16", "--label-column", "class of ticket")
    assert classes == ["no", "yes"], classes
    inputs = {
        "age": floats(asked, 0), "fare": floats(asked, 1), "sex": texts(asked, 2), "port": texts(asked, 3),
        "joined": seconds(asked, 4, "%Y-%m-%d %H:%M:%S"), "at": seconds([[("1970-01-01 " + row[5]) if row[5] else ""] for row in asked], 0, "%Y-%m-%d %H:%M"),
        "label": texts(asked, 6),
    }
    names = [value.name for value in session.get_inputs()]
    assert sorted(names) == sorted(inputs), names
    # The output keeps its name's place to the column.
    outputs = [value.name for value in session.get_outputs()]
    assert outputs == ["outputs", "label_2"], outputs
    got = session.run(None, inputs)
    want = predicted("people", "asked.csv")
    difference = np.max(np.abs(got[0] - np.array([answer["outputs"] for answer in want[1]])))
    assert difference <= TOLERANCE, difference
    assert [answer["class"] for answer in want[1]] == list(got[1])
    print(f"ok   people: {len(asked)} samples, largest difference {difference:.1e}", flush=True)


def regression():
    make = random.Random(3)
    header = ["x", "kind", "y", "z"]
    rows = []
    for _ in range(300):
        x, kind = make.uniform(-5, 5), make.choice(["a", "b"])
        rows.append([f"{x:.5f}", kind, f"{250000 + 40000 * x + (9000 if kind == 'a' else 0):.3f}", f"{x / 1000:.9f}"])
    table("prices.csv", header, rows)
    session, classes = train("prices", "prices.csv", "--label-column", "y,z", "--task", "regression")
    assert classes is None
    table("asked.csv", header[:2], [row[:2] for row in rows[:50]])
    inputs = {"x": floats(rows[:50], 0), "kind": texts(rows[:50], 1)}
    compare("prices", session, inputs, *predicted("prices", "asked.csv"))
    # Numbers that are used as they are.
    rows = [[f"{make.uniform(0, 1):.4f}" for _ in range(4)] for _ in range(200)]
    rows = [row + [str(int(float(row[0]) > 0.5))] for row in rows]
    table("raw.csv", ["a", "b", "c", "d", "answer"], rows)
    session, classes = train("raw", "raw.csv", "--standardize", "no")
    table("asked.csv", ["a", "b", "c", "d"], [row[:4] for row in rows[:50]])
    inputs = np.array([row[:4] for row in rows[:50]], dtype=np.float32)
    compare("raw", session, {"x": inputs}, *predicted("raw", "asked.csv"))
    array = np.array([row[:4] for row in rows], dtype=np.float32)
    np.savez(f"{FOLDER}/array.npz", x=array, y=(array[:, 0] > 0.5).astype(np.int64))
    session, classes = train("array", "array.npz", "--standardize", "no")
    np.save(f"{FOLDER}/asked.npy", array[:50])
    names = [value.name for value in session.get_inputs()]
    inputs = {"x": array[:50]} if names == ["x"] else {name: array[:50, [at]].astype(np.float64) for at, name in enumerate(names)}
    compare("array", session, inputs, *predicted("array", "asked.npy"))


pictures()
tables()
regression()
