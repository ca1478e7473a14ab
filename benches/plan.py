"""Holds `nn plan` to what really happens: predicted and measured samples a second, on shaped links inside this machine.

Run:   cargo build --release --bins
       sudo python3 benches/plan.py                      all networks, 2 and 4 workers, 1 Gbit/s and 100 Mbit/s; about half an hour
       sudo python3 benches/plan.py --quick              two networks, four workers, 1 Gbit/s, a few minutes

It needs what benches/lan.py needs; lan_net.py says how network and machines are made, and lan.py what an equivalent machine is. Links are
as many times slower than real ones as the machines are, so the fixed times of a message weigh less than on real machines:
the plan is asked about the machines and links as they are here. `nn plan` runs on a machine of that LAN, at its quota, with the very
options of the run. Measured is the mean over all epochs, as predicted; without rounds, over all but the first. The exit code is 1 if
a prediction is off by more than a quarter.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from lan_bench import NETWORKS, Bench, rounds_flags
from lan_net import Failed, Lan, Unusable
from programs import FOLDER

OFF = 0.25


def predict(bench, data, flags, number, bits, mode):
    """The row of `nn plan --json` for so many workers, and the whole answer."""
    command = bench.command("nn", data, [*flags, "--threads", 1], "plan", "--json", "--workers", number, "--link", f"{bits / 1e6:.6f}mbit")
    answer = bench.folder / "plan.json"
    with open(answer, "w") as out, bench.log() as log:
        process = bench.lan.start("w0", command, env=bench.environment, stdout=out, stderr=log)
        try:
            code = process.wait(timeout=300)
        finally:
            bench.lan.kill(process)
    if code != 0:
        raise Failed(f"nn plan: exit code {code}: {(bench.folder / 'log').read_text()[-600:].strip()}")
    plan = json.loads(answer.read_text())
    return next(row for row in plan[mode] if row["workers"] == number), plan


def length(bench, network, mode, number, step, bits):
    """Epochs and samples of a run that takes about the budget."""
    budget, parameters, batch = bench.options.budget, network.parameters, network.batch
    if mode == "rounds":
        # Whole epochs: H follows the run, and the last round of an epoch is short.
        rounds = max(1, 60_000 / (number * 50 * batch))
        epoch = 60_000 / batch / number * step + rounds * number * parameters * 8 / bits
        return max(2, min(30, round(budget / epoch))), 60_000
    steps = max(12, min(4000, budget / (step + number * parameters * 32 / bits)))
    return 4, max(3, min(60_000 // batch, round(steps / 4))) * batch


def compare(bench, name, mode, number, gigabit):
    network = NETWORKS[name]
    k, _, step = bench.calibrate(name)
    bits = gigabit * 1e9 / k
    bench.lan.shape(bits)
    epochs, samples = length(bench, network, mode, number, step, bits)
    data, _ = bench.data(samples)
    flags = network.flags(epochs, network.rate)
    if mode == "rounds":
        flags += rounds_flags(number)
    row, plan = predict(bench, data, flags, number, bits, mode)
    lines, summary = bench.cluster(number, data, flags, 20 * bench.options.budget + 180)
    speeds = [line["samples_per_second"] for line in lines]
    if mode == "synchronous":
        speeds = speeds[1:]
    measured = len(speeds) / sum(1 / speed for speed in speeds)
    return {"network": network.name, "mode": mode, "workers": number, "link_gbit": gigabit, "k": k, "link_mbit_here": bits / 1e6, "epochs": epochs,
            "samples": samples, "predicted": row["samples_per_second"], "measured": measured, "ratio": row["samples_per_second"] / measured,
            "bound": row["bound"], "row": row, "costs": plan["costs"], "cluster": summary["cluster"]}


def comma(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks, four workers, 1 Gbit/s, and few seconds a row")
    parser.add_argument("--networks", type=comma(str), help=f"of {','.join(NETWORKS)} (default: all)")
    parser.add_argument("--modes", type=comma(str), default=["synchronous", "rounds"], help="default synchronous,rounds")
    parser.add_argument("--workers", type=comma(int), help="default 2,4")
    parser.add_argument("--links", type=comma(float), help="Gbit/s of the real machines; default 1,0.1")
    parser.add_argument("--budget", type=float, help="seconds to measure a row, about (default 20; 5 with --quick)")
    parser.add_argument("--share", type=float, default=0.35, help="of a core, for each machine (default 0.35)")
    parser.add_argument("--reference", choices=["table", "machine", "core"], default="table", help="the real machine, as for lan.py")
    parser.add_argument("--programs", type=Path, default=FOLDER, help="the folder of nn, nn-coord and nn-worker")
    parser.add_argument("--data", default="mnist", help="a folder with MNIST's four IDX files (default: mnist, fetched)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    options.networks = options.networks or (["small", "middle"] if options.quick else list(NETWORKS))
    options.workers = options.workers or ([4] if options.quick else [2, 4])
    options.links = options.links or ([1.0] if options.quick else [1.0, 0.1])
    options.budget = options.budget or (5.0 if options.quick else 20.0)
    # The coordinator is a machine of its own, as `nn plan` takes it.
    options.programs, options.python, options.coordinator_computes = options.programs.resolve(), None, False
    for name in options.networks:
        if name not in NETWORKS:
            parser.error(f"network `{name}` is not one of {', '.join(NETWORKS)}")
    return options


def main():
    options = arguments()
    facts, off = [], []
    print("| network | | link | workers | predicted, samples/s here | measured | predicted / measured | bound by |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="nn-plan-") as folder, Lan(max(options.workers), options.share) as lan:
            bench = Bench(options, lan, folder)
            for name in options.networks:
                for gigabit in options.links:
                    for number in options.workers:
                        for mode in options.modes:
                            try:
                                fact = compare(bench, name, mode, number, gigabit)
                            except Failed as error:
                                off.append(f"{name}, {mode}, {number} workers: {error}")
                                continue
                            facts.append(fact)
                            what = f"{fact['network']} | {mode} | {gigabit * 1e3:g} Mbit/s | {number}"
                            print(f"| {what} | {fact['predicted']:,.0f} | {fact['measured']:,.0f} | {fact['ratio']:.2f} | {fact['bound']} |", flush=True)
                            if not 1 - OFF <= fact["ratio"] <= 1 + OFF:
                                off.append(f"{name}, {mode}, {number} workers, {gigabit:g} Gbit/s: {fact['ratio']:.2f}")
                            if options.json:
                                options.json.write_text(json.dumps(facts, indent=1) + "\n")
    except Unusable as error:
        sys.exit(f"plan: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if off:
        sys.exit("plan: not within a quarter: " + "; ".join(off))


if __name__ == "__main__":
    main()
