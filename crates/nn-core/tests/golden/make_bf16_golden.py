"""Golden bits of a gradient in bf16, for the tests of nn-core.

Run:   python make_bf16_golden.py            writes bf16.json beside this file
       python make_bf16_golden.py --check    compares the values with bf16.json, and writes nothing

It follows the definition in ARCHITECTURE.md ("Precision") with exact fractions, which it rounds as IEEE 754 says, so it
shares nothing with the kernels and their reference: not even a multiplication of floating-point numbers. Activation and
output are ReLU and linear ones, because those are exact. Python alone is enough (3.11).
"""

import argparse
import json
import random
import struct
import sys
from fractions import Fraction
from pathlib import Path

OUT = Path(__file__).with_name("bf16.json")
WIDTHS, BATCH, SHARD = [70, 37, 3], 77, 40


def nearest(x, digits, least):
    """x rounded to so many binary digits, ties to even; the last digit is never worth less than 2^least."""
    if x == 0:
        return Fraction(0)
    exponent = abs(x).numerator.bit_length() - abs(x).denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - digits + 1, least)
    return round(x / unit) * unit  # Python rounds a fraction's ties to even


def f32(x):
    x = nearest(x, 24, -149)
    assert abs(x) < 2**128
    return x


def q(x):
    x = nearest(x, 8, -200)
    assert abs(x) < 2**63
    return Fraction(0) if abs(x) < Fraction(1, 2**56) else x


def dot(a, b):
    """The sum of products in blocks of 32, even and odd terms apart."""
    total = Fraction(0)
    for start in range(0, len(a), 32):
        halves = []
        for parity in (0, 1):
            half = Fraction(0)
            for k in range(start + parity, min(start + 32, len(a)), 2):
                half = f32(a[k] * b[k] + half)
            halves.append(half)
        total = f32(total + f32(halves[0] + halves[1]))
    return total


def sample(weights, biases, x):
    """The inputs of both layers, rounded, and the outputs."""
    a0 = [q(v) for v in x]
    z1 = [f32(dot([q(w) for w in row], a0) + bias) for row, bias in zip(weights[0], biases[0])]
    a1 = [q(max(v, Fraction(0))) for v in z1]
    return a0, a1, [f32(dot([q(w) for w in row], a1) + bias) for row, bias in zip(weights[1], biases[1])]


def leaf(weights, biases, xs, ys):
    """The gradient of a leaf, layer by layer: weights row by row, then biases."""
    inputs, deltas = ([], []), ([], [])
    for x, y in zip(xs, ys):
        a0, a1, out = sample(weights, biases, x)
        delta = [q(f32(a - t)) for a, t in zip(out, y)]
        below = [dot([q(row[i]) for row in weights[1]], delta) for i in range(WIDTHS[1])]
        inputs[0].append(a0)
        inputs[1].append(a1)
        deltas[0].append([q(d) if a > 0 else Fraction(0) for d, a in zip(below, a1)])
        deltas[1].append(delta)
    gradient = []
    for layer in (0, 1):
        columns = list(zip(*inputs[layer]))
        rows = list(zip(*deltas[layer]))
        gradient += [dot(row, column) for row in rows for column in columns]
        gradient += [dot(row, [Fraction(1)] * len(row)) for row in rows]
    return gradient


def golden():
    rng = random.Random(20261127)

    def numbers(count, scale):
        return [f32(Fraction(rng.gauss(0.0, scale))) for _ in range(count)]

    def matrix(rows, columns, scale):
        return [numbers(columns, scale) for _ in range(rows)]

    weights = [matrix(o, i, i**-0.5) for i, o in zip(WIDTHS, WIDTHS[1:])]
    biases = [numbers(o, 0.3) for o in WIDTHS[1:]]
    xs, ys = matrix(BATCH, WIDTHS[0], 1.0), matrix(BATCH, WIDTHS[-1], 1.0)
    # Numbers that are flushed, ties, and cancellation.
    xs[0][:4] = [Fraction(1, 2**60), Fraction(257), Fraction(-259), Fraction(1, 2**56)]
    weights[0][0][:4] = [Fraction(2**30), Fraction(1), Fraction(1), -Fraction(1, 2**57)]
    # Two leaves, so that the tree is one addition.
    left = leaf(weights, biases, xs[:SHARD], ys[:SHARD])
    right = leaf(weights, biases, xs[SHARD:], ys[SHARD:])
    flat = []
    for matrix_of_layer, own in zip(weights, biases):
        flat += [w for row in matrix_of_layer for w in row] + own

    def bits(values):
        return [struct.unpack("<I", struct.pack("<f", float(v)))[0] for v in values]

    return {
        "widths": WIDTHS,
        "shard": SHARD,
        "parameters": bits(flat),
        "inputs": bits(v for x in xs for v in x),
        "targets": bits(v for y in ys for v in y),
        "gradient": bits(f32(a + b) for a, b in zip(left, right)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with bf16.json, and write nothing")
    text = json.dumps(golden(), separators=(",", ":")) + "\n"
    if not parser.parse_args().check:
        OUT.write_text(text)
    elif OUT.read_text() != text:
        sys.exit("bf16.json differs")


if __name__ == "__main__":
    main()
