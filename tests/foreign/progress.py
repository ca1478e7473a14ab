"""Scenarios in a run that advances, because an honest worker computes beside the stranger."""

from stranger import Peer, Wrong, check, equal

SCENARIOS = {}
NAN = float("nan")


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


@scenario
def a_node_that_was_counted_already(world):
    # With three threads to the honest worker's one, a stranger is assigned three quarters of the leaves: two nodes.
    for _ in range(20):
        peer = Peer(world, threads=3, name="twice").join()
        work = peer.work()
        if len(work.nodes) > 1:
            break
        peer.leave()
    else:
        raise Wrong("the stranger is never assigned two nodes")
    peer.say(*peer.gradient(work, node=work.nodes[0], put=(3, NAN)))
    peer.refused("REFUSAL_REASON_NOT_FINITE")
    # The honest worker is assigned that node; the step still waits for the other one.
    world.coordinator.status_when(
        lambda status: status.refused >= world.refusals and status.waiting_for == "twice",
        "that it waits for the second node only")
    peer.say(*peer.gradient(work, node=work.nodes[0]))
    peer.refused("REFUSAL_REASON_DUPLICATE", "has already been counted")
    equal(world.coordinator.status().step, work.step, "the step")
    peer.leave()


@scenario
def a_step_that_is_over(world):
    peer = Peer(world).join()
    old = peer.work()
    # The nodes of a worker that leaves are assigned to others: the honest worker finishes the step.
    peer.leave()
    peer = Peer(world).join()
    new = peer.work()
    check(new.step > old.step, f"the run is stuck at step {new.step}")
    for step in {0, old.step, new.step - 1}:
        messages = peer.gradient(new)
        for message in messages:
            message.step = step
        peer.say(*messages)
        peer.refused("REFUSAL_REASON_STALE_STEP", f"step {step},", "drop it and continue")
    # None of this counted against it.
    peer.say(*peer.gradient(new, put=(3, NAN)))
    peer.refused("REFUSAL_REASON_NOT_FINITE")
    peer.leave()
