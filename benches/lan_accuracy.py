"""Time to a test accuracy on the LAN of lan.py: its modes --choose and --to."""

import json
import shutil
import subprocess
from pathlib import Path

from lan_bench import NETWORKS, ROUNDS, growing, rounds_flags
from lan_net import Unusable, median


def arm_flags(bench, name, replicas, rate, momentum, epochs, seed, decay=0.3):
    flags = NETWORKS[name].flags(epochs, rate) + ["--schedule", "wsd", "--wsd-decay", decay, "--warmup-steps", 60, "--seed", seed]
    return flags + (rounds_flags(replicas, bench.options.bits, momentum) if replicas > 1 else [])


def train(bench, name, replicas, rate, momentum, epochs, decay, *more):
    """The accuracies of the seeds at full speed, in percent: on validation samples, if `more` sets some apart, and on the test set."""
    validation, test = [], []
    for seed in bench.options.seeds:
        out = bench.out()
        flags = [*arm_flags(bench, name, replicas, rate, momentum, epochs, seed, decay), *more, "--out", out]
        command = bench.command("nn", bench.source, flags, "train")
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=bench.environment)
        if done.returncode == 1:
            return 0.0, 0.0  # it diverged
        if done.returncode != 0:
            raise Unusable(f"nn train: {done.stderr.strip()[-600:]}")
        last = (out / "metrics.jsonl").read_text().splitlines()[-1]
        validation.append(json.loads(last).get("validation_accuracy", 0.0) * 100)
        test.append(json.loads((out / "summary.json").read_text())["test_accuracy"] * 100)
        shutil.rmtree(out)
    return sum(validation) / len(validation), sum(test) / len(test)


def choose(bench, target):
    """Rates, and the numbers of epochs between which the test set's accuracy, the mean of the seeds, reaches the target. One machine's rate,
    and the part of the run in which it falls (--decays), are chosen on validation samples for each number of epochs; replicas take the
    study's multiple of the rate, or are searched in the same way (--search-replicas). All at full speed, because the weights are the same."""
    chosen = {}
    for name in bench.options.networks:
        network = NETWORKS[name]
        base = best = (network.best, bench.options.decays[0])
        for replicas in [1, *bench.options.workers]:
            multiple, momentum = ROUNDS[replicas] if replicas > 1 else (1, None)
            tries, search = [], replicas == 1 or bench.options.search_replicas
            best = (round(base[0] * multiple, 4), base[1])
            for epochs in range(bench.options.least_epochs, bench.options.most_epochs + 1):
                validation = None
                if search:
                    best, validation = searched(bench, name, replicas, momentum, epochs, best)
                base = best if replicas == 1 else base
                rate, decay = best
                test = train(bench, name, replicas, rate, momentum, epochs, decay)[1]
                on = "" if validation is None else f" ({validation:.2f} % of the validation samples)"
                print(f"{network.name}, {replicas} replicas, {epochs} epochs at {rate}, falling over {decay:.0%}{on}: {test:.2f} % of the test set", flush=True)
                tries.append({"epochs": epochs, "rate": rate, "decay": decay, "validation": validation, "test": test})
                if test >= target and len(tries) > 1:
                    chosen.setdefault(name, {})[str(replicas)] = {"momentum": momentum, "tries": tries[-2:]}
                    break
        Path(bench.options.choose).write_text(json.dumps({"target": target, "chosen": chosen}, indent=1) + "\n")
    bench.facts["chosen"] = chosen


def searched(bench, name, replicas, momentum, epochs, best):
    """The best rate and decay of an arm, and their accuracy on validation samples: for each decay three rates, and further ones while the
    best is at an edge."""
    found = {}
    for decay in bench.options.decays:
        tried, queue = {}, [-1, 0, 1]
        while queue:
            for power in queue:
                rate = round(best[0] * 1.4**power, 4)
                tried[power] = train(bench, name, replicas, rate, momentum, epochs, decay, "--validation-fraction", 0.1)[0]
            top = max(tried, key=tried.get)
            queue = [power for power in (top - 1, top + 1) if power not in tried and abs(power) < 5]
        found[round(best[0] * 1.4**top, 4), decay] = tried[top]
    top = max(found, key=found.get)
    return top, found[top]


def between(target, tries, of):
    """What `of` is at the target, which lies between two tries, on a straight line; that of the first if both reach it, or if it is
    the only one."""
    if len(tries) == 1:
        return of(tries[0])
    (low, high), (first, last) = (one["test"] for one in tries), map(of, tries)
    part = 0.0 if low >= target else (target - low) / (high - low)
    return first + part * (last - first)


def time_to(bench, target):
    choice = json.loads(Path(bench.options.choice).read_text())
    if choice["target"] != target:
        raise Unusable(f"{bench.options.choice} was chosen for {choice['target']} %, not {target} %")
    print("\n| network | link | machines | rate | test accuracy after so many epochs | epochs to the target | seconds | × sooner | "
          "samples/s, × one machine | same weights |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |", flush=True)
    for name, arms in choice["chosen"].items():
        if name not in bench.options.networks:
            continue
        network, base, alone = NETWORKS[name], None, None
        k, among, step = bench.calibrate(name)
        for gigabit in bench.options.links:
            bench.lan.shape(gigabit * 1e9 / k)
            for replicas, arm in sorted((int(key), value) for key, value in arms.items()):
                if replicas == 1 and base or replicas > len(bench.lan.machines) - 1 or replicas > 1 and not bench.has_rounds:
                    continue
                tries, speeds, same = arm["tries"], [], True
                for one in tries:
                    one["seconds"] = []
                    if replicas == 1 and bench.options.one_by_rate:
                        one["seconds"].append(one["epochs"] * 60_000 / among / k)
                        speeds.append(among * k)
                        continue
                    for seed in bench.options.timed:
                        flags = arm_flags(bench, name, replicas, one["rate"], arm["momentum"], one["epochs"], seed, one.get("decay", 0.3))
                        limit = 600 + 5 * one["epochs"] * 60_000 / network.batch * step
                        lines, summary = (bench.cluster(replicas, bench.source, flags, limit) if replicas > 1
                                          else busy(bench, flags, limit))
                        # The final test is not counted: it is the same for all.
                        one["epoch_seconds"] = [60_000 / line["samples_per_second"] / k for line in lines]
                        one["seconds"].append(sum(one["epoch_seconds"]))
                        # The first epochs warm up, and H grows; of a short run the last epoch is left.
                        skip = min(len(lines) - 1, max(len(lines) // 3, growing(network, replicas) if replicas > 1 else 0))
                        speeds.append(median(line["samples_per_second"] for line in lines[skip:]) * k)
                        same &= summary["params_sha256"] == bench.reference(bench.source, flags)
                took = between(target, tries, lambda one: median(one["seconds"]))
                epochs = between(target, tries, lambda one: one["epochs"])
                speed = median(speeds)
                base, alone = base or took, alone or speed
                bench.facts["rows"].append({
                    "network": network.name, "target": target, "link_gbit": gigabit, "replicas": replicas, "momentum": arm["momentum"],
                    "tries": json.loads(json.dumps(tries)), "epochs": epochs, "seconds": took, "same_hash": same, "times_sooner": base / took,
                    "samples_per_second": speed,
                })
                if not same:
                    bench.wrong.append(f"{network.name}, {replicas} replicas")
                reached = ", ".join(f"{one['epochs']}: {one['test']:.2f} %" for one in tries)
                print(f"| {network.name} | {'' if replicas == 1 else f'{gigabit * 1e3:g} Mbit/s'} | {replicas} | {tries[-1]['rate']} | {reached} | "
                      f"{epochs:.1f} | {took:.2f} | {base / took:.2f} | {speed / alone:.2f} | {'yes' if same else '**no**'} |", flush=True)
                bench.save()


def busy(bench, flags, limit):
    """nn train on one machine while the others are as busy."""
    machines = [machine for machine in bench.lan.machines if machine != "c"]
    return bench.alone(bench.source, flags, machines, limit)[0]
