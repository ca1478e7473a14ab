"""Measures nn on a LAN: one machine, synchronous, with rounds, and PyTorch's DDP over gloo, on shaped links inside this machine.

Run:   cargo build --release --bins
       sudo python3 benches/lan.py --quick                   two minutes, to try it
       sudo python3 benches/lan.py --python VENV/bin/python  samples a second, and bytes a sample; about an hour
       sudo python3 benches/lan.py --choose CHOICE.json      rates, on validation samples, and epochs for --to
       sudo python3 benches/lan.py --to 98 --choice CHOICE.json   seconds to a test accuracy
       sudo python3 benches/lan.py --faults                  what a killed worker, and a killed coordinator, cost
       sudo python3 benches/lan.py --sweep                   32 runs on four workers against one
       sudo python3 benches/lan.py --check                   what the links and the quotas really do

It needs Linux, root, `ip`, `tc`, a CPU controller of control groups, and MNIST (--data: a folder with its four IDX files, or
mnist). PyTorch's rows need an interpreter with the packages of ddp_requirements.txt (--python). lan_net.py says how the network
and the machines are made; they are gone at the end, also after Ctrl-C.

Equivalent machines. Five machines share the cores of this one, so each gets a quota (--share, of one core), whether it works alone or
beside four, and computes k times as slowly as the real machine that it stands for. Its links are k times as slow too: then computing
and wire have the ratio of real machines, and all times are k times too long. k is measured for each network (the calibration):
the step of one machine at its quota, while the others are as busy, over the step of the real machine. That is by default
the step that shared studies assume (0.1, 1.3 and 60 ms: this machine with all its cores when quiet); --reference machine or core
measures it now. Samples a second are given as those of the real machine: multiplied by k.

Every row of nn must end with the weights of `nn train` with the same options; if one does not, the exit code is 1.
"""

import argparse
import datetime
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from lan_accuracy import choose, time_to
from lan_bench import NETWORKS, Bench, growing, rounds_flags
from lan_faults import faults, sweep
from lan_net import Failed, Lan, Unusable, check, median
from programs import FOLDER

ROWS = ["one", "sync", "sync-wide", "rounds", "rounds4", "ddp", "ddp-wide"]
TITLES = {
    "one": "one machine", "sync": "nn, synchronous", "sync-wide": "nn, synchronous, N × the mini-batch", "rounds": "nn, rounds",
    "rounds4": "nn, rounds, 4 bits", "ddp": "PyTorch DDP", "ddp-wide": "PyTorch DDP, N × the mini-batch",
}


def plan(bench, network, row, number, step, rate):
    """Mini-batch, epochs and samples of a row that takes about the budget, and the seconds that it should take."""
    budget, batch = bench.options.budget, network.batch * (number if row.endswith("-wide") else 1)
    if row.startswith("rounds"):
        # Whole epochs, as in real life: the last round of an epoch is short, and H follows the run.
        bits = 4 if row == "rounds4" else 8
        rounds = max(1, 60_000 / (number * 64 * batch))
        epoch = 60_000 / batch / number * step + rounds * 2 * number * network.parameters * bits / rate
        least = max(4, growing(network, number) + 3)
        epochs = max(least, min(60, round(budget / epoch)))
        # In the first epochs rounds are short: those speak up to eight times as often.
        return batch, epochs, 60_000, (epochs + 7 * growing(network, number)) * epoch
    wire = 2 * number * network.parameters * 32 / rate
    if row.startswith("ddp"):
        wire = 2 * (number - 1) / number * network.parameters * 32 / rate
    local = step * batch / network.batch / number
    steps = max(3, min(4000, budget / (local + wire)))
    steps = max(1 if local + wire > 10 else 2, min(60_000 // batch, round(steps / 3)))
    return batch, 3, steps * batch, (3 * steps + 1) * (local + wire)


def measure(bench, name, row, number, gigabit):
    """A row of the table."""
    network = NETWORKS[name]
    k, among, step = bench.calibrate(name)
    fact = {"network": network.name, "row": row, "workers": number, "link_gbit": gigabit, "k": k, "link_mbit_here": 1e3 * gigabit / k}
    if row == "one":
        return {**fact, "workers": 1, "batch": network.batch, "samples_per_second_here": among, "bytes_per_sample": 0, "same_hash": True}
    rate = gigabit * 1e9 / k
    bench.lan.shape(rate)
    batch, epochs, samples, expected = plan(bench, network, row, number, step, rate)
    data, samples = bench.data(samples)
    # A hang, not a slow network, ends a row.
    limit = 20 * bench.options.budget + 180 + 3 * expected
    fact["batch"] = batch
    if row.startswith("ddp"):
        steps = max(4, samples // batch * 2)
        answer = bench.ddp(number, network, data, batch, max(2, steps // 4), steps, limit)
        return {**fact, "samples_per_second_here": batch / answer["step_seconds"], "samples_per_second_mean": batch / answer["mean_seconds"],
                "bytes_per_sample": answer["bytes"] / (steps * batch), "torch": answer["torch"]}
    flags = network.flags(epochs, network.rate, batch)
    if row.startswith("rounds"):
        flags += rounds_flags(number, 4 if row == "rounds4" else 8)
    lines, summary = bench.cluster(number, data, flags, limit)
    # The first epoch warms up; with rounds, H still grows in the first ones.
    skip = max(len(lines) // 3, growing(network, number)) if row.startswith("rounds") else 1
    speeds = [line["samples_per_second"] for line in lines]
    fact |= {
        "samples_per_second_here": median(speeds[skip:]),
        "samples_per_second_mean": len(speeds) / sum(1 / speed for speed in speeds),
        "bytes_per_sample": (lines[-1]["sent"] - lines[skip - 1]["sent"]) / (samples * (len(lines) - skip)),
        "epochs": epochs, "samples": samples, "steps": summary["steps"], "params_sha256": summary["params_sha256"],
    }
    fact["same_hash"] = summary["params_sha256"] == bench.reference(data, flags)
    return fact


def table(bench):
    options = bench.options
    print("\n| network | mini-batch | link | machines | | samples/s | × one machine | whole run | bytes a sample | × DDP | same weights |")
    print("| --- | ---: | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
    for name in options.networks:
        bench.calibrate(name)
        for gigabit in options.links:
            for number in options.workers:
                facts = {}
                for row in options.rows:
                    if row == "one" and (gigabit, number) != (options.links[0], options.workers[0]):
                        continue
                    reason = impossible(bench, row)
                    try:
                        facts[row] = measure(bench, name, row, number, gigabit) if not reason else {"row": row, "failed": reason}
                    except Failed as error:
                        facts[row] = {"row": row, "network": NETWORKS[name].name, "workers": number, "link_gbit": gigabit, "failed": str(error)}
                for row, fact in facts.items():
                    bench.facts["rows"].append(fact)
                    print_row(bench, NETWORKS[name], number, gigabit, row, fact, facts.get("ddp", {}), name)
                bench.save()


def impossible(bench, row):
    if row.startswith("rounds") and not bench.has_rounds:
        return "this nn has no --rounds"
    if row.startswith("ddp") and not bench.options.python:
        return "no --python"
    return None


def print_row(bench, network, number, gigabit, row, fact, ddp, name):
    machines = 1 if row == "one" else number
    link = "" if row == "one" else f"{gigabit:g} Gbit/s" if gigabit >= 1 else f"{gigabit * 1e3:g} Mbit/s"
    start = f"| {network.name} | {fact.get('batch', network.batch)} | {link} | {machines} | {TITLES[row]} |"
    if "failed" in fact:
        print(f"{start} {fact['failed'].splitlines()[-1][:120] if fact['failed'] else 'failed'} | | | | | |", flush=True)
        return
    k, among, _ = bench.scale[name]
    speed = fact["samples_per_second_here"]
    mean = fact.get("samples_per_second_mean")
    against = speed / ddp["samples_per_second_here"] if row != "one" and not row.startswith("ddp") and "samples_per_second_here" in ddp else None
    same = {True: "yes", False: "**no**", None: ""}[fact.get("same_hash")]
    if fact.get("same_hash") is False:
        bench.wrong.append(f"{network.name}, {TITLES[row]}, {number} workers")
    print(f"{start} {speed * k:,.0f} | {speed / among:.3g} | {'' if mean is None else f'{mean / among:.3g}'} | {fact['bytes_per_sample']:,.0f} | "
          f"{'' if against is None else f'{against:.1f}'} | {same} |", flush=True)


def comma(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def links(text):
    """Gbit/s from words such as 1gbit or 100mbit."""
    units = {"gbit": 1.0, "mbit": 1e-3}
    try:
        return [float(word[:-4]) * units[word[-4:]] for word in text.lower().split(",")]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"`{text}` is not like 1gbit,100mbit") from None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--to", type=float, metavar="ACCURACY", help="time to this test accuracy, in percent; needs --choice")
    mode.add_argument("--choose", metavar="FILE", help="choose rates on validation samples, and find the epochs to --target; not shaped")
    mode.add_argument("--faults", action="store_true", help="kill a worker and the coordinator in mid-round")
    mode.add_argument("--sweep", action="store_true", help="32 runs on all workers against one")
    mode.add_argument("--check", action="store_true", help="measure the links and the quotas, and end")
    parser.add_argument("--quick", action="store_true", help="two networks, four workers, 1 Gbit/s, and few seconds a row")
    parser.add_argument("--networks", type=comma(str), help=f"of {','.join(NETWORKS)} (default: all)")
    parser.add_argument("--rows", type=comma(str), help=f"of {','.join(ROWS)} (default: all)")
    parser.add_argument("--workers", type=comma(int), help="default 2,4")
    parser.add_argument("--links", type=links, help="of the real machines; default 1gbit,100mbit")
    parser.add_argument("--budget", type=float, help="seconds to measure a row, about (default 30; 4 with --quick)")
    parser.add_argument("--share", type=float, default=0.35, help="of a core, for each machine (default 0.35)")
    parser.add_argument("--reference", choices=["table", "machine", "core"], default="table",
                        help="the real machine: as the study assumes (default), this one with all cores, or with one")
    parser.add_argument("--target", type=float, default=98.0, help="test accuracy that --choose aims at, in percent (default 98)")
    parser.add_argument("--choice", metavar="FILE", help="the file that --choose wrote")
    parser.add_argument("--decays", type=comma(float), default=[0.3],
                        help="last parts of the run in which the rate falls to 0, of which --choose takes the best (default 0.3)")
    parser.add_argument("--search-replicas", action="store_true", help="--choose searches each number of replicas as it does one machine")
    parser.add_argument("--least-epochs", type=int, default=1, help="of --choose (default 1)")
    parser.add_argument("--most-epochs", type=int, default=15, help="of --choose (default 15)")
    parser.add_argument("--seeds", type=comma(int), default=[1, 2, 3], help="of --choose (default 1,2,3)")
    parser.add_argument("--timed", type=comma(int), default=[1, 2, 3], help="the seeds that --to runs on the LAN (default 1,2,3)")
    parser.add_argument("--one-by-rate", action="store_true",
                        help="--to takes one machine's time from the speed that the calibration found, and does not run it")
    parser.add_argument("--activation", help="another activation function for the networks")
    parser.add_argument("--coordinator-computes", action="store_true",
                        help="the coordinator's machine is one of the N, and not one more (not with --faults and --sweep)")
    parser.add_argument("--bits", type=int, default=8, help="--delta-bits of --choose and --to (default 8)")
    parser.add_argument("--repeats", type=int, help="of --faults (default 5; 2 with --quick)")
    parser.add_argument("--sweep-config", type=Path, help="another file for --sweep")
    parser.add_argument("--programs", type=Path, default=FOLDER, help="the folder of nn, nn-coord and nn-worker")
    parser.add_argument("--python", help="an interpreter with ddp_requirements.txt; without it PyTorch's rows stay empty")
    parser.add_argument("--data", default="mnist", help="a folder with MNIST's four IDX files (default: mnist, fetched)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    quick = options.quick
    options.networks = options.networks or (["small", "middle"] if quick else list(NETWORKS))
    options.rows = options.rows or (["one", "sync", "rounds", "ddp"] if quick else ROWS)
    options.workers = options.workers or ([4] if quick else [2, 4])
    options.links = options.links or ([1.0] if quick else [1.0, 0.1])
    options.budget = options.budget or (4.0 if quick else 30.0)
    options.repeats = options.repeats or (2 if quick else 5)
    options.programs = options.programs.resolve()
    if quick:
        options.seeds, options.timed = options.seeds[:1], options.timed[:1]
    for what, given, known in (("network", options.networks, NETWORKS), ("row", options.rows, ROWS)):
        for word in given:
            if word not in known:
                parser.error(f"{what} `{word}` is not one of {', '.join(known)}")
    if options.activation:
        for name in options.networks:
            NETWORKS[name] = replace(NETWORKS[name], activation=options.activation)
    if (max(options.workers) + 1) * options.share > (os.cpu_count() or 1):
        parser.error(f"{max(options.workers) + 1} machines of {options.share} cores do not fit into {os.cpu_count()} cores; "
                     "lower --share or --workers")
    if options.to and not options.choice:
        parser.error("--to needs --choice FILE; --choose FILE makes it")
    for program in ("nn", "nn-coord", "nn-worker"):
        if not os.access(options.programs / program, os.X_OK):
            parser.error(f"there is no {options.programs / program}; run `cargo build --release --bins` or give --programs")
    return options


def checked(lan, options):
    """What the links and quotas do, in two sentences."""
    rates = [1e9 * gigabit / 4 for gigabit in options.links]
    facts = check(lan, rates, 0.5 if options.quick else 2.0)
    for link in facts[0]:
        print(f"link: asked {link['asked_mbit']:.1f} Mbit/s; one connection carries {link['up_mbit']:.1f} up and "
              f"{link['down_mbit']:.1f} down, without headers")
    for burst in facts[1]:
        print(f"quota: {burst['computing_ms']} ms of computing should take {burst['expected_ms']:.1f} ms at {lan.share} of a core, "
              f"and takes {burst['took_ms']:.1f}")
    sys.stdout.flush()
    return {"links": facts[0], "quotas": facts[1]}


def busy_share(seconds=1.0):
    """The share of this machine's cores that others use."""
    read = lambda: [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    before = read()
    time.sleep(seconds)
    spent = [after - start for start, after in zip(before, read())]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))


def main():
    options = arguments()
    busy = busy_share()
    if busy > 0.1 and not options.choose:
        print(f"lan: other programs use {busy:.0%} of this machine; do not believe the figures", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="nn-lan-") as folder, Lan(max(options.workers), options.share) as lan:
            bench = Bench(options, lan, folder)
            bench.facts |= {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "share": options.share,
                            "reference": options.reference, "busy_before": round(busy, 3)}
            if not options.choose:
                bench.facts["check"] = checked(lan, options)
            if options.choose:
                choose(bench, options.target)
            elif options.to:
                time_to(bench, options.to)
            elif options.faults:
                faults(bench)
            elif options.sweep:
                sweep(bench)
            elif not options.check:
                table(bench)
            bench.save()
    except (Unusable, Failed) as error:
        sys.exit(f"lan: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if bench.wrong:
        sys.exit("lan: weights differ from those of nn train: " + "; ".join(bench.wrong))


if __name__ == "__main__":
    main()
