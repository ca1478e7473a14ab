"""Golden pictures for the distortions of nn-core (`src/augment.rs`).

Run:   python make_distort.py            writes distort.json beside this file
       python make_distort.py --check    compares the values with distort.json, and writes nothing

The values were computed in float64 with Python 3.11, NumPy 2.4 and SciPy 1.17 (`pip install numpy scipy` in a virtual
environment). The construction is SciPy's as far as it goes: B-splines from `scipy.interpolate.BSpline`, the picture from
`scipy.ndimage.map_coordinates`; the affine map is a product of matrices. README.md describes the file.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

OUT = Path(__file__).with_name("distort.json")
KNOTS = 7
TOLERANCE = 1e-6


def basis(side):
    """The cubic B-splines of the knots at the pixels of an axis: pixels × knots."""
    places = np.linspace(1.0, KNOTS - 2.0, side) if side > 1 else np.array([(KNOTS - 1) / 2])
    splines = [BSpline(np.arange(-2.0, KNOTS + 2.0), unit, 3) for unit in np.eye(KNOTS)]
    # Within the ends of a spline's base interval, which both belong to it.
    return np.stack([spline(places) for spline in splines], axis=1)


def displacement(noise, elastic, height, width, side):
    """The field of one axis in pixels; its mean square over the noise and the pixels is that of `elastic`."""
    tensor = np.einsum("yi,xj->yxij", basis(height), basis(width))
    mean_square = (tensor**2).sum(axis=(2, 3)).mean() / 3.0  # 1/3 is the variance of the noise
    return np.einsum("yxij,ij->yx", tensor, noise) * elastic * side / 28.0 / np.sqrt(mean_square)


def homogeneous(matrix, shift=(0.0, 0.0)):
    return np.block([[np.asarray(matrix, float), np.asarray(shift, float).reshape(2, 1)], [0.0, 0.0, 1.0]])


def distort(case):
    height, width = case["height"], case["width"]
    centre = np.array([width - 1, height - 1]) / 2
    angle = np.deg2rad(case["rotation"])
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    source = (
        homogeneous(np.eye(2), centre + case["shift"])
        @ homogeneous(turn)
        @ homogeneous([[1.0, case["shear"]], [0.0, 1.0]])
        @ homogeneous(np.diag(case["scale"]))
        @ homogeneous(np.eye(2), -centre)
    )
    y, x = np.mgrid[:height, :width].astype(float)
    places = np.einsum("ij,jyx->iyx", source, np.stack([x, y, np.ones_like(x)]))
    places_x, places_y = places[0], places[1]
    if case["elastic"] > 0:
        noise = np.array(case["noise"])
        places_x = places_x + displacement(noise[0], case["elastic"], height, width, width)
        places_y = places_y + displacement(noise[1], case["elastic"], height, width, height)
    picture = np.array(case["picture"]).reshape(height, width)
    # Between the last pixel and the first one outside, "constant" jumps to 0; "grid-constant" interpolates, as we do.
    out = map_coordinates(picture, [places_y, places_x], order=1, mode="grid-constant", cval=0.0)
    return out[:, ::-1] if case["flip"] else out


def golden():
    rng = random.Random(20261127)

    def uniform(amount=1.0):
        return float(np.float32(rng.uniform(-amount, amount)))

    def case(height, width, rotation=0.0, scale=0.0, shear=0.0, shift=0.0, elastic=0.0, flip=False):
        values = {
            "height": height,
            "width": width,
            "rotation": uniform(rotation),
            "scale": [1.0 + uniform(scale), 1.0 + uniform(scale)],
            "shear": uniform(shear),
            "shift": [uniform(shift), uniform(shift)],
            "elastic": float(np.float32(elastic)),
            "noise": [[[uniform() for _ in range(KNOTS)] for _ in range(KNOTS)] for _ in range(2)],
            "flip": flip,
            "picture": [round(rng.random(), 3) for _ in range(height * width)],
        }
        values["picture"] = [float(np.float32(x)) for x in values["picture"]]
        values["distorted"] = [round(float(x), 8) for x in distort(values).ravel()]
        return values

    return [
        case(28, 28, rotation=15, scale=0.15, shear=0.15, shift=1.5, elastic=1.2),
        case(28, 28, rotation=15, scale=0.15, shear=0.15, shift=1.5, flip=True),
        case(5, 9, rotation=40, scale=0.3, shear=0.5, shift=2, elastic=3),
        case(16, 12, elastic=1.2, flip=True),
        case(7, 20, rotation=180, scale=0.9, shear=2, shift=3),
        case(1, 1, shift=0.5, elastic=5),
    ]


def rounded(values):
    """Float32 as nine digits, which restore it."""
    if isinstance(values, float):
        return float(f"{values:.9g}")
    if isinstance(values, list):
        return [rounded(value) for value in values]
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    return values


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= TOLERANCE
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return a == b


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with distort.json, and write nothing")
    values = rounded(golden())
    if not parser.parse_args().check:
        OUT.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in values) + "\n]\n")
    elif not same(json.loads(OUT.read_text()), values):
        sys.exit("distort.json differs")


if __name__ == "__main__":
    main()
