"""Time to a test accuracy on the LAN of lan.py: its modes --choose and --to."""

import json
import shutil
import subprocess
from pathlib import Path

from lan_bench import NETWORKS, rounds_flags
from lan_net import Unusable, median


def arm_flags(bench, name, replicas, rate, momentum, epochs, seed):
    flags = NETWORKS[name].flags(epochs, rate) + ["--schedule", "wsd", "--warmup-steps", 60, "--seed", seed]
    return flags + (rounds_flags(replicas, bench.options.bits, momentum) if replicas > 1 else [])


def validated(bench, name, replicas, rate, momentum, epochs):
    """The accuracy on validation samples, the mean of the seeds, in percent."""
    accuracies = []
    for seed in bench.options.seeds:
        out = bench.out()
        flags = [*arm_flags(bench, name, replicas, rate, momentum, epochs, seed), "--validation-fraction", 0.1, "--out", out]
        command = bench.command("nn", bench.source, flags, "train")
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=bench.environment)
        if done.returncode == 1:
            return 0.0  # it diverged
        if done.returncode != 0:
            raise Unusable(f"nn train: {done.stderr.strip()[-600:]}")
        last = (out / "metrics.jsonl").read_text().splitlines()[-1]
        accuracies.append(json.loads(last)["validation_accuracy"] * 100)
        shutil.rmtree(out)
    return sum(accuracies) / len(accuracies)


def choose(bench, target):
    """Rates and epochs of each arm: the shortest run that reaches the target on validation samples, at full speed."""
    chosen = {}
    for name in bench.options.networks:
        network = NETWORKS[name]
        for replicas in [1, *bench.options.workers]:
            best, momentum = (network.best, None) if replicas == 1 else network.rounds[replicas]
            for epochs in range(1, bench.options.most_epochs + 1):
                # Three rates, and further ones while the best is at an edge.
                tried, queue = {}, [-1, 0, 1]
                while queue:
                    for power in queue:
                        tried[power] = validated(bench, name, replicas, round(best * 1.4**power, 4), momentum, epochs)
                    top = max(tried, key=tried.get)
                    queue = [power for power in (top - 1, top + 1) if power not in tried and abs(power) < 5]
                accuracy, rate = tried[top], round(best * 1.4**top, 4)
                print(f"{network.name}, {replicas} replicas, {epochs} epochs: {accuracy:.2f} % of the validation samples at {rate}", flush=True)
                if accuracy >= target:
                    chosen.setdefault(name, {})[str(replicas)] = {"rate": rate, "momentum": momentum, "epochs": epochs, "validation": accuracy}
                    break
                best *= 1.4**top
    Path(bench.options.choose).write_text(json.dumps({"target": target, "chosen": chosen}, indent=1) + "\n")
    bench.facts["chosen"] = chosen


def time_to(bench, target):
    choice = json.loads(Path(bench.options.choice).read_text())
    if choice["target"] != target:
        raise Unusable(f"{bench.options.choice} was chosen for {choice['target']} %, not {target} %")
    print("\n| network | link | machines | rate | epochs | test accuracy of each seed | reached | seconds | × sooner | same weights |")
    print("| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- |", flush=True)
    for name, arms in choice["chosen"].items():
        if name not in bench.options.networks:
            continue
        network, base = NETWORKS[name], None
        k, _, step = bench.calibrate(name)
        for gigabit in bench.options.links:
            bench.lan.shape(gigabit * 1e9 / k)
            for replicas, arm in sorted((int(key), value) for key, value in arms.items()):
                if replicas == 1 and base or replicas > len(bench.lan.machines) - 1 or replicas > 1 and not bench.has_rounds:
                    continue
                times, accuracies, same = [], [], True
                for seed in bench.options.seeds:
                    flags = arm_flags(bench, name, replicas, arm["rate"], arm["momentum"], arm["epochs"], seed)
                    limit = 600 + 5 * arm["epochs"] * 60_000 / network.batch * step
                    lines, summary = (bench.cluster(replicas, bench.source, flags, limit) if replicas > 1
                                      else busy(bench, flags, limit))
                    # The final test is not counted: it is the same for all.
                    times.append(sum(60_000 / line["samples_per_second"] for line in lines) / k)
                    accuracies.append(summary["test_accuracy"] * 100)
                    same &= summary["params_sha256"] == bench.reference(bench.source, flags)
                took = median(times)
                base = base or took
                reached = sum(accuracy >= target for accuracy in accuracies)
                bench.facts["rows"].append({
                    "network": network.name, "target": target, "link_gbit": gigabit, "replicas": replicas, **arm, "seconds": times,
                    "test_accuracy": accuracies, "same_hash": same, "times_sooner": base / took,
                })
                if not same:
                    bench.wrong.append(f"{network.name}, {replicas} replicas")
                print(f"| {network.name} | {'' if replicas == 1 else f'{gigabit * 1e3:g} Mbit/s'} | {replicas} | {arm['rate']} | {arm['epochs']} | "
                      f"{', '.join(f'{accuracy:.2f}' for accuracy in accuracies)} | {reached} of {len(times)} | {took:.2f} | {base / took:.2f} | "
                      f"{'yes' if same else '**no**'} |", flush=True)
                bench.save()


def busy(bench, flags, limit):
    """nn train on one machine while the others are as busy."""
    machines = [machine for machine in bench.lan.machines if machine != "c"]
    return bench.alone(bench.source, flags, machines, limit)[0]
