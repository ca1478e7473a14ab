"""Malformed tensors: the stream ends, and nothing of them is kept."""

from stranger import CHUNK, U32, U64, Peer, check, equal, hello_of

SCENARIOS = {}
TENSOR = ("REJECT_REASON_TENSOR", "INVALID_ARGUMENT")
MESSAGE = ("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT")


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def spoilt(name, end, *words, refusals=0):
    """A scenario in which a gradient that looks right is spoilt and sent: `spoil` changes its messages."""
    def add(spoil):
        def play(world):
            peer = Peer(world).join()
            messages = peer.gradient(peer.work())
            equal(len(messages), 3, "the number of messages (a header and two chunks)")
            spoil(messages, peer)
            peer.say(*messages)
            peer.rejected(*end, *words, refusals=refusals)
            stands(world)
        SCENARIOS[name] = play
        return spoil
    return add


def stands(world):
    """Checks that the next peer is given work on weights that have not changed."""
    peer = Peer(world).join()
    peer.work()
    peer.leave()


def header(name, *words, **changes):
    """A scenario with other fields in the tensor's header."""
    @spoilt(name, TENSOR, *words)
    def _(messages, _peer):
        for field, change in changes.items():
            tensor = messages[0].gradient_header.tensor
            setattr(tensor, field, change(getattr(tensor, field)))


header("one_number_too_many", "numbers", elements=lambda n: n + 1)
header("one_number_too_few", "numbers", elements=lambda n: n - 1)
header("no_numbers", "announces 0 numbers", elements=lambda _: 0)
header("the_bytes_instead_of_the_numbers", "numbers", elements=lambda n: n * 4)
header("one_chunk_too_many", "3 chunks", chunks=lambda n: n + 1)
header("no_chunks", "0 chunks", chunks=lambda _: 0)
header("four_billion_chunks", f"{U32} chunks", chunks=lambda _: U32)
header("a_layer_that_does_not_exist", "no layer 2", layer=lambda _: 2)
header("the_highest_layer", f"no layer {U32}", layer=lambda _: U32)
header("one_layer_with_the_numbers_of_all", "numbers", layer=lambda _: 0)
header("a_wrong_checksum_of_the_tensor", "checksum of the tensor", crc32=lambda crc: crc ^ 1)


def chunk(name, which, *words, **changes):
    """A scenario with other fields in one of the chunks."""
    @spoilt(name, TENSOR, *words)
    def _(messages, _peer):
        for field, change in changes.items():
            of = messages[1 + which].gradient_chunk
            setattr(of, field, change(getattr(of, field)))


chunk("a_chunk_out_of_order", 0, "expected chunk 0 of 2", "got chunk 1", index=lambda _: 1)
chunk("a_chunk_beyond_the_last", 1, "expected chunk 1 of 2", "got chunk 2", index=lambda _: 2)
chunk("a_chunk_far_beyond_the_last", 0, f"got chunk {U32}", index=lambda _: U32)
chunk("a_chunk_of_another_number_of_chunks", 0, "of the announced tensor", total=lambda _: 3)
chunk("a_chunk_of_one_layer", 0, "of the announced tensor", layer=lambda _: 0)
chunk("a_first_chunk_that_is_short", 0, f"instead of {CHUNK}", data=lambda data: data[:-4])
chunk("a_chunk_above_the_size_of_chunks", 0, f"instead of {CHUNK}", data=lambda data: data + b"1234")
chunk("a_last_chunk_that_is_short", 1, "instead of", data=lambda data: data[:-4])
chunk("a_last_chunk_that_is_long", 1, "instead of", data=lambda data: data + b"1234")
chunk("a_chunk_that_ends_within_a_number", 1, "instead of", data=lambda data: data[:-1])
chunk("an_empty_chunk", 0, "0 bytes", data=lambda _: b"")
chunk("a_wrong_checksum_of_a_chunk", 0, "checksum of chunk 0", crc32=lambda crc: crc ^ 1)
chunk("a_wrong_checksum_of_the_last_chunk", 1, "checksum of chunk 1", crc32=lambda crc: crc ^ 1)
chunk("another_bit_in_a_chunk", 0, "checksum of chunk 0", data=lambda data: b"\1" + data[1:])


@spoilt("chunks_in_the_wrong_order", TENSOR, "expected chunk 0 of 2", "got chunk 1")
def _(messages, _):
    messages[1], messages[2] = messages[2], messages[1]


@spoilt("a_chunk_twice", TENSOR, "expected chunk 1 of 2", "got chunk 0")
def _(messages, _):
    messages.insert(1, messages[1])


@spoilt("two_headers", TENSOR, "begins before the previous one is complete")
def _(messages, _):
    messages.insert(1, messages[0])


@spoilt("a_header_between_chunks", TENSOR, "begins before the previous one is complete")
def _(messages, _):
    messages.insert(2, messages[0])


@spoilt("chunks_without_a_header", TENSOR, "without a header")
def _(messages, _):
    del messages[0]


@spoilt("a_chunk_after_the_last", TENSOR, "without a header", refusals=1)
def _(messages, peer):
    # The tensor before it is complete, so it must be one that is refused. The refusal may or may not arrive in time.
    for message in messages:
        message.generation += 1
    messages.append(messages[-1])
    peer.world.refusals += 1


def elsewhere(name, field, which):
    @spoilt(name, TENSOR, "another generation, step or attempt")
    def _(messages, _):
        setattr(messages[which], field, getattr(messages[which], field) + 1)


elsewhere("a_chunk_of_another_step_than_its_header", "step", 1)
elsewhere("a_last_chunk_of_another_step", "step", 2)
elsewhere("a_chunk_of_another_generation", "generation", 1)
elsewhere("a_chunk_of_another_attempt", "attempt", 2)


@spoilt("a_gradient_without_a_node", MESSAGE, "GradientHeader lacks the field node")
def _(messages, _):
    messages[0].gradient_header.ClearField("node")


@spoilt("a_gradient_without_a_tensor", MESSAGE, "GradientHeader lacks the field tensor")
def _(messages, _):
    messages[0].gradient_header.ClearField("tensor")


@spoilt("a_node_above_all_trees", MESSAGE, "impossible level", f"{U32}/0")
def _(messages, _):
    messages[0].gradient_header.node.level = U32


@spoilt("garbage_within_a_tensor", MESSAGE, "not a message of nn.v1")
def _(messages, _):
    messages[2:] = [b"\xff" * 1000]


@spoilt("a_message_far_too_large_within_a_tensor", MESSAGE, str(16 << 20))
def _(messages, _):
    messages[2:] = [bytes(16 << 20)]


@spoilt("a_hello_within_a_tensor", MESSAGE, "got Hello")
def _(messages, peer):
    messages.insert(2, peer.make(hello=hello_of(peer.world)))


@spoilt("ready_again", MESSAGE, "got Ready")
def _(messages, peer):
    messages[:] = [peer.make(ready={"data_sha256": peer.welcome.data.sha256})]


@spoilt("a_request_for_data_within_the_run", MESSAGE, "got DataRequest")
def _(messages, peer):
    messages[:] = [peer.make(data_request={"sha256": peer.welcome.data.sha256})]


@spoilt("a_heartbeat_of_another_generation", MESSAGE, "Heartbeat is for generation")
def _(messages, peer):
    messages[:] = [peer.make(heartbeat={})]
    messages[0].generation += 1


@scenario
def an_announcement_alone_allocates_nothing(world):
    def memory():
        """The coordinator's peak virtual memory, in bytes."""
        with open(f"/proc/{world.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmPeak:"))
    if world.pid is None:
        print("     skipped: this system does not show the coordinator's memory")
        return
    before = memory()
    for elements in [1 << 30, 1 << 33, 1 << 40, U64]:
        peer = Peer(world).join()
        messages = peer.gradient(peer.work())
        tensor = messages[0].gradient_header.tensor
        tensor.elements, tensor.chunks = elements, min(U32, elements >> 18)
        peer.say(messages[0])
        peer.rejected(*TENSOR, f"{elements} numbers")
    grown = memory() - before
    check(grown < 1 << 30, f"the coordinator allocated {grown >> 20} MiB")


@scenario
def a_peer_that_vanishes_within_a_tensor(world):
    peer = Peer(world).join()
    peer.say(*peer.gradient(peer.work())[:-1])
    peer.call.cancel()
    peer.close()
    stands(world)


@scenario
def a_stream_that_ends_within_a_tensor(world):
    peer = Peer(world).join()
    peer.say(*peer.gradient(peer.work())[:-1])
    peer.close()
    check(peer.hear() is None, "a message follows although the worker has left")
    equal(peer.ending(), "OK", "the status")
    stands(world)


@scenario
def a_goodbye_within_a_tensor(world):
    peer = Peer(world).join()
    peer.say(*peer.gradient(peer.work())[:-1])
    peer.leave()
    stands(world)
