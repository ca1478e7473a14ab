"""Simulates a round of the star, block by block, to find where its coordinator saturates; prints the tables of deploy/SCALING.md.

Run:   python3 benches/star.py                 needs nothing but Python
       python3 benches/star.py --self-test     compares with the closed formula and with the study's table, and ends
       python3 benches/star.py --parameters 12e6 --step-ms 60 --links 1,10 --reduce-ns 0.5

The model. N machines, one replica each. In a round each machine takes H steps, codes its delta and sends it in blocks. All N share
the coordinator's port, which is full duplex. A block that has come from all replicas is summed and stepped, and goes down to all N
while later blocks still come up. A machine begins the next round when it has the last block. The port in, the coordinator's
processor and the port out each serve one thing at a time, in the order of blocks; a machine's own port carries an N-th of what the
coordinator's does. A block of 256 numbers has one byte of scale. Machines are alike: no jitter, no loss, no other traffic.

Samples a second are N · H mini-batches a round over those of one machine: N / (1 + c), where c is what is not computing over what is.
They are not accuracy: N replicas need more samples for the same accuracy. With the statistical speed-up S, time to accuracy
is S / (1 + c).
"""

import argparse
import math
import statistics
import sys
from dataclasses import dataclass, replace

SCALES = 257 / 256


@dataclass(frozen=True)
class Star:
    """One star and its training. Times in seconds, links in bits a second."""

    workers: int
    parameters: int
    step: float
    link: float
    steps: float = 50.0  # H, by default its mean over a short run with --rounds auto and four replicas
    bits: int = 8
    compact: float = 1.0  # the part of the blocks' bytes that travels
    latency: float = 0.002  # of a round, there and back, with waking threads
    reduce: float = 1e-9  # the coordinator, for each number of each replica: receive, decode, sum
    update: float = 2e-9  # the coordinator, for each number: outer step, residual, coding
    code: float = 1e-9  # a machine, for each number: coding its delta, and as much for applying what comes back
    duplex: bool = True
    block: int = 1 << 14  # numbers that travel together

    @property
    def size(self):
        """Bits on the wire for each number."""
        return 32 if self.bits == 32 else self.bits * SCALES * self.compact

    def blocks(self):
        whole, rest = divmod(self.parameters, self.block)
        return [self.block] * whole + ([rest] if rest else [])

    def round(self):
        """Seconds of a round."""
        ready, port_in, processor = self.steps * self.step, 0.0, 0.0
        stepped = []
        for numbers in self.blocks():
            ready += numbers * self.code  # all machines code this block at the same time
            for _ in range(self.workers):
                port_in = max(port_in, ready + self.latency / 2) + numbers * self.size / self.link
                processor = max(processor, port_in) + numbers * self.reduce
            processor += numbers * self.update
            stepped.append((numbers, processor))
        port_out, applied = 0.0 if self.duplex else stepped[-1][1], 0.0
        for numbers, moment in stepped:
            port_out = max(port_out, moment) + self.workers * numbers * self.size / self.link
            applied = max(applied, port_out + self.latency / 2) + numbers * self.code
        return applied

    def gain(self):
        """Samples a second, relative to one machine, which needs no wire."""
        return self.workers * self.steps * self.step / self.round() if self.workers > 1 else 1.0

    def bound(self):
        """What takes the most time of a round."""
        wire = self.workers * self.parameters * self.size / self.link
        work = self.parameters * (self.workers * self.reduce + self.update)
        return max((self.steps * self.step, ""), (wire, "w"), (work, "c"))[1]

    def ceiling(self):
        """The gain with no end of machines."""
        slowest = max(self.size / self.link, self.reduce) * self.parameters
        return self.steps * self.step / slowest


def synchronous(star):
    """The same star with a gradient up and weights down each step, 32 bits a number; the machines divide the mini-batch."""
    return replace(star, steps=1 / star.workers, bits=32)


# The gains that the study computed, int8 and int8 with full duplex, as S / (1 + c), c = (2 · N · P / bandwidth + 2 ms) / (H · step), with
# half the traffic for full duplex. 12 million parameters, 60 ms a step.
STUDY = {
    2: {1e9: (1.43, 1.50), 2.5e9: (1.51, 1.54), 10e9: (1.55, 1.56)},
    4: {1e9: (1.85, 2.06), 2.5e9: (2.12, 2.22), 10e9: (2.32, 2.37)},
    8: {1e9: (1.88, 2.35), 2.5e9: (2.47, 2.76), 10e9: (2.93, 3.02)},
}
SIZES = [("784-128-10", 101_770, 0.1e-3), ("784-512-256-10", 535_818, 1.3e-3), ("12 million", 12_000_000, 60e-3)]
WORKERS = [1, 2, 4, 8, 16, 32, 64]


def self_test():
    """Compares the simulation with the closed formula, and with the study's table, whose S and H a line through its cells gives."""
    wrong = 0
    for name, parameters, step in SIZES:
        worst = 0.0
        for workers in WORKERS[1:]:
            for link in (1e9, 2.5e9, 10e9):
                for steps in (8, 27, 50, 64):
                    for duplex in (False, True):
                        star = Star(workers, parameters, step, link, steps, reduce=0, update=0, code=0, duplex=duplex, block=parameters // 100)
                        wire = (1 if duplex else 2) * workers * parameters * 8 / link
                        closed = workers / (1 + (wire + star.latency) / (steps * step))
                        worst = max(worst, abs(star.gain() / closed - 1))
        # The formula has no byte of scale, and with full duplex no first block, which goes down when others have come up.
        wrong += worst > 0.02
        print(f"closed formula, {name}: 144 cells, at most {worst:.1%} apart")
    for workers, cells in STUDY.items():
        # 1 / gain = 1 / S + traffic / (S · H · step): a line through six cells of each number of machines.
        points = [((way * workers * 12e6 * 8 / link + 0.002), 1 / gain) for link, gains in cells.items() for way, gain in zip((2, 1), gains)]
        slope, start = statistics.linear_regression(*zip(*points))
        speedup, steps = 1 / start, start / slope / 60e-3
        for link, gains in cells.items():
            for duplex, expected in zip((False, True), gains):
                star = Star(workers, 12_000_000, 60e-3, link, steps, reduce=0, update=0, code=0, duplex=duplex)
                found = speedup / workers * star.gain()
                wrong += abs(found / expected - 1) > 0.02
                print(f"study, {workers} machines, {link / 1e9:g} Gbit/s, {'full' if duplex else 'half'} duplex: {found:.2f}, study {expected:.2f} "
                      f"({found / expected - 1:+.1%}; S = {speedup:.2f}, H = {steps:.0f})")
    if wrong:
        sys.exit(f"star: {wrong} comparisons are out of bounds")


def tables(options):
    sizes = SIZES
    if options.parameters:
        sizes = [(f"{options.parameters:,.0f} parameters", round(options.parameters), options.step_ms / 1e3)]
    keys = dict(steps=options.steps, bits=options.bits, compact=options.compact, latency=options.latency_ms / 1e3, reduce=options.reduce_ns / 1e9)
    print(f"Samples a second, times those of one machine; H = {options.steps:g}, {options.bits} bits in {options.compact:g} of their bytes, {options.latency_ms:g} ms a round, "
          f"{options.reduce_ns:g} ns a number and replica at the coordinator\n")
    width = max(len(name) for name, _, _ in sizes) + 1
    print(f"{'network':{width}}{'step, ms':>9}{'Gbit/s':>8} {'way':8}" + "".join(f"{number:>9}" for number in options.workers) + "   ceiling")
    curves = []
    for name, parameters, step in sizes:
        for link in options.links:
            star = Star(1, parameters, step, link * 1e9, **keys)
            for way, make in (("rounds", lambda star: star), ("f32 sync", synchronous)):
                stars = [make(replace(star, workers=number)) for number in options.workers]
                gains = [one.gain() for one in stars]
                cells = "".join(f"{gain:8.2f}{one.bound() or ' ' if one.workers > 1 else ' '}" for gain, one in zip(gains, stars))
                # A synchronous step of ever more machines computes in no time, and still moves the bytes of all.
                end = f"{star.ceiling():10.1f}" if way == "rounds" else "          "
                print(f"{name:{width}}{step * 1e3:9g}{link:8g} {way:8}{cells}{end}".rstrip())
                if way == "rounds":
                    curves.append((f"{name}, {link:g} Gbit/s", gains))
    print("\nw: the coordinator's port takes the most time of a round; c: its processor does; else the machines' steps do")
    return curves


def plot(curves, workers):
    """Curves as text: gain against machines, both on a logarithmic scale, a row for each factor of the square root of two."""
    for title, gains in curves:
        print(f"\n{title}: × one machine (# a gain of 1 and more, to scale)")
        for number, gain in zip(workers, gains):
            print(f"{number:4} {'#' * max(0, round(8 * math.log2(max(gain, 1)))):50} {gain:6.2f}")


def numbers(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="compare with the closed formula and the study, and end")
    parser.add_argument("--plot", action="store_true", help="draw the curves as text too")
    parser.add_argument("--parameters", type=float, help="another network: its parameters (with --step-ms)")
    parser.add_argument("--step-ms", type=float, default=60.0, help="and the time of its step on one machine")
    parser.add_argument("--workers", type=numbers(int), default=WORKERS)
    parser.add_argument("--links", type=numbers(float), default=[1.0, 2.5, 10.0], help="in Gbit/s (default 1,2.5,10)")
    parser.add_argument("--steps", type=float, default=50.0, help="H (default 50)")
    parser.add_argument("--bits", type=int, default=8, choices=[32, 8, 4])
    parser.add_argument("--compact", type=float, default=0.65, help="the part of the bytes that the compact form takes, in the direction "
                        "in which it saves less (default 0.65, as measured on MNIST)")
    parser.add_argument("--latency-ms", type=float, default=2.0, help="of a round, there and back (default 2)")
    parser.add_argument("--reduce-ns", type=float, default=1.7,
                        help="the coordinator's time for a number of a replica: 1 to sum it, and 0.7 to read the compact form (default 1.7)")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        return
    curves = tables(options)
    if options.plot:
        plot(curves, options.workers)


if __name__ == "__main__":
    main()
