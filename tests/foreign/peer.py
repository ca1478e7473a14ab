#!/usr/bin/env python3
"""Plays a foreign worker against a coordinator, scenario by scenario.

usage: peer.py ADDRESS --arithmetic HEX [--pid N] [--still] SUITE…

A line for each scenario says whether the coordinator behaved correctly. Then one stream stays open until the run is
over: the line "waiting for the end" asks for honest workers, and the last line has the hash of the parameters, as the
coordinator reports it. --arithmetic takes the arithmetic fingerprint from the summary of any run on the same machine.
With --still nobody else computes: the run must stay at its first step, with the same weights for every peer that joins.
"""

import argparse
import sys
import traceback

import contributions
import door
import progress
import rounds
import tensors
from stranger import Coordinator, Peer, Stream, check, equal, name_of

SUITES = {
    "door": {function.__name__: function for function in door.PASSED},
    "tensors": tensors.SCENARIOS,
    "contributions": contributions.SCENARIOS,
    "progress": progress.SCENARIOS,
    "rounds": rounds.SCENARIOS,
}


class World:
    """Shared by the scenarios: the coordinator, and observations of its run so far."""

    def __init__(self, options):
        self.coordinator = Coordinator(options.address)
        self.arithmetic, self.pid, self.still = options.arithmetic, options.pid, options.still
        self.before = self.coordinator.status()
        self.silent = Stream(self.coordinator, patience=600) if "door" in options.suites else None
        self.refusals = self.before.refused
        self.steps = {}
        self.kept = []

    def saw(self, step, weights):
        """Records the hash of a step's weights, which must be the same for every peer."""
        equal(self.steps.setdefault(step, weights), weights, f"the hash of the weights of step {step}")
        check(step == 0 or not self.still, f"the run has advanced to step {step}")


def to_the_end(world):
    """Waits for the end of the run, as a peer that is never ready and gets no work. Returns the parameters' hash."""
    witness = Peer(world, name="witness", patience=600).greet()
    witness.beat()
    print("waiting for the end", flush=True)
    answer = witness.must_hear()
    equal(answer.WhichOneof("body"), "run_over", "the last message")
    equal(name_of(answer.run_over, "outcome"), "OUTCOME_COMPLETE", "the outcome")
    equal(answer.run_over.steps, world.before.total_steps, "the number of steps")
    check(witness.hear() is None, "a message follows the last")
    equal(witness.ending(), "OK", "the status")
    return answer.run_over.params_sha256


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("suites", nargs="+", choices=SUITES)
    parser.add_argument("--arithmetic", required=True)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--still", action="store_true")
    options = parser.parse_args()
    world = World(options)
    failed = 0
    for suite in options.suites:
        for name, play in SUITES[suite].items():
            try:
                play(world)
                print(f"ok   {suite}: {name}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL {suite}: {name}\n{traceback.format_exc()}", flush=True)
    print(f"params_sha256 {to_the_end(world)}", flush=True)
    for peer in world.kept:
        peer.close()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
