"""Complete gradients that must not count: each is refused for the right reason, and the stream continues."""

from stranger import U32, U64, Node, Peer, check, equal
from tensors import stands

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def refused(name, reason, *words, blamed=True, **gradient):
    """A scenario with one gradient, which `spoil` may change. If the worker is blamed for it and nobody else is there,
    it is assigned the node again."""
    def add(spoil):
        def play(world):
            peer = Peer(world).join()
            work = peer.work()
            messages = peer.gradient(work, **gradient)
            spoil(messages, peer, work)
            peer.say(*messages)
            peer.refused(reason, *words)
            if blamed and world.still:
                again = peer.work()
                equal((again.step, again.attempt, again.nodes), (work.step, work.attempt + 1, work.nodes), "the work")
            peer.leave()
            stands(world)
        SCENARIOS[name] = play
        return spoil
    return add


def numbers(name, *words, finite=True, **gradient):
    @refused(name, "REFUSAL_REASON_NOT_FINITE", *words, **gradient)
    def _(messages, *_):
        messages[0].gradient_header.finite = finite


NAN, INFINITY = float("nan"), float("inf")
HIDDEN = "contains NaN or infinity, but is marked as finite"
numbers("nan_in_the_first_number", HIDDEN, put=(0, NAN))
numbers("nan_in_the_last_number", HIDDEN, put=(-1, NAN))
numbers("nan_in_one_layer", HIDDEN, layer=0, put=(17, NAN))
numbers("infinity", HIDDEN, put=(600, INFINITY))
numbers("minus_infinity", HIDDEN, put=(-600, -INFINITY))
numbers("a_loss_that_is_nan", HIDDEN, loss=NAN)
numbers("a_loss_that_is_infinite", HIDDEN, loss=INFINITY)
numbers("finite_numbers_declared_not_finite", "but is finite", finite=False)


def counts(name, *words, **stats):
    @refused(name, "REFUSAL_REASON_STATS", *words, **stats)
    def _(*_):
        pass


counts("no_samples", "counts 0", samples=0)
counts("far_too_many_samples", samples=U64)
counts("more_correct_samples_than_samples", correct=U32)


@refused("one_sample_too_many", "REFUSAL_REASON_STATS", "check the data set and the manifest")
def _(messages, *_):
    messages[0].gradient_header.stats.samples += 1


@refused("neither_loss_nor_counts", "REFUSAL_REASON_STATS", "without the node's loss and counts")
def _(messages, *_):
    messages[0].gradient_header.ClearField("stats")


def place(name, reason, field, change, *words, blamed=True):
    @refused(name, reason, *words, blamed=blamed)
    def _(messages, *_):
        for message in messages:
            setattr(message, field, change(getattr(message, field)))


place("the_next_step", "REFUSAL_REASON_FUTURE_STEP", "step", lambda n: n + 1, "compute only what was assigned")
place("a_step_far_in_the_future", "REFUSAL_REASON_FUTURE_STEP", "step", lambda _: U64, str(U64))
place("the_next_attempt", "REFUSAL_REASON_ATTEMPT", "attempt", lambda n: n + 1, "return the assignment's")
place("the_highest_attempt", "REFUSAL_REASON_ATTEMPT", "attempt", lambda _: U32, str(U32))
# A worker is not blamed for a contribution to another generation.
place("the_next_generation", "REFUSAL_REASON_GENERATION", "generation", lambda n: n + 1, "drop it", blamed=False)
place("the_highest_generation", "REFUSAL_REASON_GENERATION", "generation", lambda _: U64, str(U64), blamed=False)


def node(name, reason, choose, *words):
    @refused(name, reason, *words)
    def _(messages, peer, work):
        leaves, _ = peer.leaves(work.step)
        chosen = choose(leaves, work)
        check(chosen not in work.nodes, f"{chosen} was assigned")
        messages[0].gradient_header.node.level = chosen.level
        messages[0].gradient_header.node.index = chosen.index
        messages[0].gradient_header.stats.samples = peer.samples(work.step, chosen)


node("a_leaf_beyond_the_last", "REFUSAL_REASON_NODE", lambda leaves, _: Node(0, leaves), "not part of the step's tree")
node("a_leaf_far_beyond_the_last", "REFUSAL_REASON_NODE", lambda *_: Node(0, U32), "step's tree")
node("a_node_above_the_root", "REFUSAL_REASON_NODE", lambda leaves, _: Node(leaves.bit_length() + 1, 0), "tree")
node("a_node_at_the_highest_level", "REFUSAL_REASON_NODE", lambda *_: Node(31, U32), "tree")
node("a_node_that_was_not_assigned", "REFUSAL_REASON_NOT_ASSIGNED",
     lambda leaves, work: next(n for n in (Node(0, i) for i in range(leaves)) if n not in work.nodes),
     "not assigned to this worker")


@scenario
def several_faults_on_one_stream(world):
    # Faults that a worker is not blamed for do not count against it.
    peer = Peer(world).join()
    work = peer.work()
    for _ in range(5):
        messages = peer.gradient(work)
        for message in messages:
            message.generation += 1
        peer.say(*messages)
    for _ in range(5):
        peer.refused("REFUSAL_REASON_GENERATION")
    peer.say(*peer.gradient(work, put=(5, NAN)))
    peer.refused("REFUSAL_REASON_NOT_FINITE")
    peer.leave()
    stands(world)


@scenario
def a_worker_is_excluded_after_its_third_fault(world):
    peer = Peer(world).join()
    messages = peer.gradient(peer.work())
    for message in messages:
        message.step = U64
    for _ in range(3):
        peer.say(*messages)
        peer.refused("REFUSAL_REASON_FUTURE_STEP")
    peer.rejected("REJECT_REASON_QUARANTINE", "FAILED_PRECONDITION", "3 malformed", str(U64), "restart it")
    # It is recognised under another name.
    again = Peer(world, member=peer.member, incarnation=2, name="somebody else").join()
    again.rejected("REJECT_REASON_QUARANTINE", "FAILED_PRECONDITION", "malformed contributions")
    stands(world)


@scenario
def a_worker_that_dials_again(world):
    peer = Peer(world).join()
    work = peer.work()
    again = Peer(world, member=peer.member, incarnation=2).join()
    peer.rejected("REJECT_REASON_REPLACED", "FAILED_PRECONDITION", "newer connection")
    if world.still:
        equal((again.work().step, again.weights[work.step]), (work.step, peer.weights[work.step]), "the work")
    # Connections that are not newer than the current one.
    for incarnation in [1, 2]:
        late = Peer(world, member=peer.member, incarnation=incarnation).join()
        late.rejected("REJECT_REASON_REPLACED", "FAILED_PRECONDITION", f"connection {incarnation} ")
    again.leave()
    stands(world)


@scenario
def all_refusals_are_counted(world):
    status = world.coordinator.status_when(
        lambda status: status.refused >= world.refusals, f"{world.refusals} refused contributions")
    equal(status.refused, world.refusals, "the number of refused contributions")
