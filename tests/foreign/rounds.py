"""Contributions to a round: replicas' differences in blocks of eight bits. None of these may count."""

import zlib

from stranger import CHUNK, Node, Peer, check, equal
from tensors import TENSOR

SCENARIOS = {}
BLOCK, BYTES = 256, 257


def blocks(numbers):
    return -(-numbers // BLOCK)


class Replica(Peer):
    """A worker in a run with rounds. What it sends are differences of 1/2, whose scale is 2⁻⁷ and whose integers are 64."""

    def greet(self):
        super().greet()
        rounds = self.manifest["rounds"]
        self.steps, self.replicas = rounds["steps"], rounds["replicas"]
        equal(rounds["delta_bits"], "8", "the bits of the run")
        numbers = sum(self.layers)
        piece = -(-min(max(numbers // 16, 1 << 14), 1 << 19) // BLOCK) * BLOCK
        self.layers = [min(piece, numbers - at) for at in range(0, numbers, piece)]
        return self

    def samples(self, step, node):
        check(step == 0, "the run has advanced")
        slice_ = self.steps * self.manifest["batch_size"]
        all_ = min(self.replicas * slice_, self.manifest["train_samples"])
        first = node.index << node.level
        return max(0, min((first + (1 << node.level)) * slice_, all_) - first * slice_)

    def difference(self, work, piece, data=None, node=None, finite=True, stats=True, compact=False, **fields):
        """The messages of a piece: header and chunk."""
        node = node or work.nodes[0]
        numbers = self.layers[piece]
        if data is None:
            data = bytes([120] + [64] * BLOCK) * blocks(numbers)
        tensor = {"layer": piece, "elements": numbers, "chunks": 1, "crc32": zlib.crc32(data), **fields}
        header = {"node": node._asdict(), "finite": finite, "tensor": tensor}
        if stats:
            header["stats"] = {"samples": self.samples(work.step, node), "loss": 1.0, "compute_micros": 1}
        check(len(data) <= CHUNK, "one chunk is enough")
        chunk = {"layer": piece, "index": 0, "total": 1, "crc32": zlib.crc32(data), "data": data, "compact": compact}
        return [
            self.make(work.step, work.attempt, gradient_header=header),
            self.make(work.step, work.attempt, gradient_chunk=chunk),
        ]


def scenario(function):
    def play(world):
        peer = Replica(world).join()
        work = peer.work()
        check(all(node.level == 0 for node in work.nodes), "a replica is a leaf")
        check(len(peer.layers) > 1, "the network has several pieces")
        function(peer, work)
        # The next peer is given the same work on the same weights.
        again = Replica(world).join()
        equal(again.work().step, 0, "the round")
        again.leave()
    SCENARIOS[function.__name__] = play
    return function


def refused(name, reason, *words, **difference):
    def play(peer, work):
        peer.say(*peer.difference(work, 0, **difference))
        peer.refused(reason, *words)
        peer.leave()
    play.__name__ = name
    scenario(play)


def rejected(name, *words, **difference):
    def play(peer, work):
        peer.say(*peer.difference(work, 0, **difference))
        peer.rejected(*TENSOR, *words)
    play.__name__ = name
    scenario(play)


def spoilt(at, byte):
    """The bytes of a full piece with another one."""
    data = bytearray(bytes([120] + [64] * BLOCK) * ((1 << 14) // BLOCK))
    data[at] = byte
    return bytes(data)


def compact(first=120):
    """A full piece whose integers are 1, 0, 0, 0 and so on, in the compact form: groups of four, two bits an integer."""
    block = bytes([0x22] * 32) + bytes([0b0000_0001] * 64)
    return bytes([first]) + block + (bytes([120]) + block) * ((1 << 14) // BLOCK - 1)


refused("a_compact_piece_that_is_marked_as_not_finite", "REFUSAL_REASON_NOT_FINITE", "is finite", data=compact(), compact=True,
        finite=False)
refused("a_compact_block_that_is_not_finite", "REFUSAL_REASON_NOT_FINITE", "marked as finite", data=compact(255), compact=True)
rejected("a_compact_piece_that_ends_early", "not the compact form", data=compact()[:-1], compact=True)
rejected("a_compact_piece_with_a_rest", "not the compact form", data=compact() + b"\0", compact=True)
rejected("a_compact_piece_that_says_it_is_not", "instead of", data=compact())
rejected("blocks_that_say_they_are_compact", "not the compact form", data=spoilt(0, 120), compact=True)
rejected("an_integer_of_nine_bits", "not the compact form", data=compact()[:1] + b"\x29" + compact()[2:], compact=True)
refused("a_block_that_is_not_finite", "REFUSAL_REASON_NOT_FINITE", "marked as finite", data=spoilt(0, 255))
refused("a_scale_that_overflows", "REFUSAL_REASON_NOT_FINITE", "marked as finite", data=spoilt(BYTES, 250))
refused("finite_but_marked_otherwise", "REFUSAL_REASON_NOT_FINITE", "is finite", finite=False)
refused("a_sum_of_two_replicas", "REFUSAL_REASON_NODE", "not part", node=Node(1, 0))
refused("a_replica_that_does_not_exist", "REFUSAL_REASON_NODE", "not part", node=Node(0, 99))
rejected("one_block_too_few", "instead of", data=spoilt(0, 120)[:-BYTES])
rejected("one_byte_too_few", "instead of", data=spoilt(0, 120)[:-1])
rejected("numbers_of_four_bytes", "instead of", data=bytes(4 << 14))
rejected("a_piece_that_does_not_exist", "no layer", layer=77)


@scenario
def all_pieces_at_once(peer, work):
    """They may come one by one only if the sender likes; but then they need all figures."""
    messages = peer.difference(work, 0, stats=False)
    messages[0].gradient_header.tensor.ClearField("layer")
    messages[1].gradient_chunk.ClearField("layer")
    peer.say(*messages)
    peer.rejected(*TENSOR, "numbers")
