"""Golden values for the tests of `src/metrics`: scikit-learn's figures for small sets of labels, targets and outputs.

Run:   python make_metrics.py            writes metrics.json beside this file
       python make_metrics.py --check    compares the values with metrics.json, and writes nothing

The values were computed with Python 3.11, scikit-learn 1.9.1 and NumPy 2.4 (`pip install scikit-learn` in a virtual
environment).

Outputs and targets are rounded to float32, so that the tests load them exactly; scikit-learn gets them as float64. They
come from Python's own generator, whose sequence does not change. Scikit-learn has no calibration error: NumPy computes
it from its definition. A figure that is not defined is null. Where scikit-learn has a convention for one (0 for the
precision of a class that never occurs, 1 or 0 for the R2 of targets that do not vary), the class or target is left out
of the mean instead.
"""

import argparse
import json
import math
import random
import warnings
from pathlib import Path

import numpy as np
from sklearn import metrics

OUT = Path(__file__).with_name("metrics.json")
SEED = 20261126


def f32(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def scores(generator, labels, classes, skill):
    """Normal scores of shape [samples][classes], with the label's own raised by `skill`."""
    z = [[generator.gauss(0, 1) + (skill if k == label else 0) for k in range(classes)] for label in labels]
    return np.array(z)


def calibration_error(labels, p):
    """Guo et al. 2017, equation 3: ten bins (b/10, (b+1)/10] of the highest probability."""
    top, answer = p.max(axis=1), p.argmax(axis=1)
    bins = np.digitize(top, np.arange(11) / 10, right=True)
    total = 0.0
    for b in np.unique(bins):
        inside = bins == b
        total += inside.mean() * abs((answer == labels)[inside].mean() - top[inside].mean())
    return total


def classification(name, labels, outputs, probabilities):
    labels, outputs = np.array(labels), f32(outputs)
    classes = outputs.shape[1]
    answer = outputs.argmax(axis=1)
    present = [k for k in range(classes) if 0 < (labels == k).sum() < len(labels)]
    want = {
        "accuracy": metrics.accuracy_score(labels, answer),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, answer),
        "macro_f1": metrics.f1_score(labels, answer, average="macro"),
        "roc_auc": None,
        "pr_auc": None,
        "log_loss": None,
        "brier": None,
        "calibration_error": None,
    }
    if classes == 2:
        if present:
            want["roc_auc"] = metrics.roc_auc_score(labels, outputs[:, 1])
            want["pr_auc"] = metrics.average_precision_score(labels, outputs[:, 1])
    elif len(present) == classes and probabilities:
        hot = np.eye(classes)[labels]
        want["roc_auc"] = metrics.roc_auc_score(labels, outputs, multi_class="ovr", average="macro")
        want["pr_auc"] = metrics.average_precision_score(hot, outputs, average="macro")
    else:
        # Scikit-learn refuses a class that does not occur, and rows that do not sum to 1: class by class instead.
        want["roc_auc"] = np.mean([metrics.roc_auc_score(labels == k, outputs[:, k]) for k in present])
        want["pr_auc"] = np.mean([metrics.average_precision_score(labels == k, outputs[:, k]) for k in present])
    if probabilities:
        every = list(range(classes))
        want["log_loss"] = metrics.log_loss(labels, y_proba=outputs, labels=every)
        if classes == 2:
            want["brier"] = metrics.brier_score_loss(labels, y_proba=outputs[:, 1], labels=every)
        else:
            want["brier"] = metrics.brier_score_loss(labels, y_proba=outputs, labels=every)
        want["calibration_error"] = calibration_error(labels, outputs)
    return {
        "name": name,
        "classes": classes,
        "probabilities": probabilities,
        "labels": labels.tolist(),
        "outputs": outputs.flatten().tolist(),
        "want": {key: None if value is None else float(value) for key, value in want.items()},
    }


def regression(name, targets, outputs, units=None):
    """`units` are a mean and a standard deviation for each target; `targets` and `outputs` are in those."""
    targets, outputs = f32(targets), f32(outputs)
    given = [(0.0, 1.0)] * targets.shape[1] if units is None else units
    mean, std = (np.array(column) for column in zip(*given))
    y, a = targets * std + mean, outputs * std + mean
    raw = dict(multioutput="raw_values")
    varies = [len(np.unique(column)) > 1 for column in y.T]
    r2 = [float(r) if v else None for r, v in zip(metrics.r2_score(y, a, **raw), varies)]
    columns = {
        "mae": metrics.mean_absolute_error(y, a, **raw).tolist(),
        "rmse": metrics.root_mean_squared_error(y, a, **raw).tolist(),
        "r2": r2,
        "median_absolute_error": metrics.median_absolute_error(y, a, **raw).tolist(),
    }
    want = {
        "mae": metrics.mean_absolute_error(y, a),
        "rmse": metrics.root_mean_squared_error(y, a),
        "r2": metrics.r2_score(y, a) if all(varies) else float(np.mean([r for r in r2 if r is not None])),
        "median_absolute_error": metrics.median_absolute_error(y, a),
    }
    return {
        "name": name,
        "width": targets.shape[1],
        "units": units,
        "targets": targets.flatten().tolist(),
        "outputs": outputs.flatten().tolist(),
        "want": {**{key: float(value) for key, value in want.items()}, "columns": columns},
    }


def cases():
    g = random.Random(SEED)
    pick = lambda n, weights: g.choices(range(len(weights)), weights, k=n)
    classes = []

    labels = pick(60, [1, 1])
    classes.append(classification("binary", labels, softmax(scores(g, labels, 2, 1.5)), True))
    labels = pick(60, [1, 1, 1])
    classes.append(classification("three classes", labels, softmax(2 * scores(g, labels, 3, 1.0)), True))
    labels = pick(120, [95, 5])
    classes.append(classification("imbalanced", labels, softmax(scores(g, labels, 2, 0.7) + [3.0, 0.0]), True))
    labels = pick(50, [2, 1, 1, 6])
    classes.append(classification("imbalanced, four classes", labels, softmax(scores(g, labels, 4, 0.5)), True))
    labels = pick(64, [1, 1])
    ones = np.array([g.randrange(5) / 4 for _ in labels])  # also exactly 0 and 1, and ties between the classes
    classes.append(classification("ties", labels, np.stack([1 - ones, ones], axis=1), True))
    labels = pick(60, [1, 2, 1])
    tied = np.array([g.choice([[1, 0, 0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]) for _ in labels])
    classes.append(classification("ties, three classes", labels, tied, True))
    labels = pick(40, [1, 0, 1, 1])
    classes.append(classification("a class that never occurs", labels, softmax(scores(g, labels, 4, 1.0)), True))
    labels = [0] * 20
    classes.append(classification("only one class occurs", labels, softmax(scores(g, labels, 2, 1.0)), True))
    labels = pick(60, [1, 1, 1])
    z = scores(g, labels, 3, 1.2)
    classes.append(classification("sigmoid outputs", labels, 1 / (1 + np.exp(-z)), False))
    labels = pick(60, [1, 1])
    classes.append(classification("linear outputs", labels, 5 * scores(g, labels, 2, 1.2), False))

    numbers = []
    y = np.array([[g.gauss(20, 7)] for _ in range(41)])
    noise = np.array([[g.gauss(0, 3)] for _ in range(41)])
    numbers.append(regression("one target", y, y + noise))
    y = np.array([[g.gauss(0, 1), 1e4 * g.random()] for _ in range(30)])
    noise = np.array([[g.gauss(0, 2), g.gauss(0, 800)] for _ in range(30)])
    numbers.append(regression("two targets, one of them badly", y, y + noise))
    y = np.array([[g.gauss(0, 1), g.gauss(0, 1)] for _ in range(30)])
    noise = np.array([[g.gauss(0, 0.5), g.gauss(0, 0.8)] for _ in range(30)])
    numbers.append(regression("standardised targets", y, y + noise, [(152.25, 77.0625), (-3.5, 0.125)]))
    y = np.array([[g.gauss(0, 1), 0.1] for _ in range(20)])
    noise = np.array([[g.gauss(0, 0.5), g.gauss(0, 0.8)] for _ in range(20)])
    numbers.append(regression("a target that does not vary", y, y + noise))
    return {"classification": classes, "regression": numbers}


def close(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)
    return a == b


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # float32 rows sum to 1 only nearly, and single classes are meant
    made = json.loads(json.dumps(cases()))
    if arguments.check:
        assert close(made, json.loads(OUT.read_text())), "the values differ from metrics.json"
        return
    lines = lambda group: ",\n".join(json.dumps(case) for case in made[group])
    OUT.write_text(
        '{"classification": [\n' + lines("classification") + '\n], "regression": [\n' + lines("regression") + "\n]}\n"
    )


if __name__ == "__main__":
    main()
