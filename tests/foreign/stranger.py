"""A worker's end of the protocol as a stranger would write it, from a coordinator's address and reflection service.

It reads no .proto file and uses no code generated from one. grpcio and protobuf are the reference implementations.
"""

import hashlib
import itertools
import json
import queue
import threading
import time
import zlib
from array import array
from collections import namedtuple

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

CHUNK = 1 << 20
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1

# A limit on the wait for an answer, in seconds, generous for a busy machine.
PATIENCE = 30

PROTOCOL = 1


class Wrong(Exception):
    """The coordinator did not behave as it should."""


def check(holds, otherwise):
    if not holds:
        raise Wrong(otherwise)


def equal(got, want, what):
    check(got == want, f"{what} is {got!r}, not {want!r}")


def name_of(message, field="reason"):
    """The name of an enum field's value."""
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(getattr(message, field))
    return value.name if value else str(getattr(message, field))


class Coordinator:
    """A coordinator at an address, known by reflection only."""

    def __init__(self, address):
        self.address = address
        # grpcio's default limits apply: an answer must not exceed 4 MiB.
        self.channel = grpc.insecure_channel(address)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.services = set(database.get_services())
        self.pool = DescriptorPool(database)

    def type(self, name):
        return GetMessageClass(self.pool.FindMessageTypeByName(name))

    def method(self, service, name):
        """A method, ready to be called. It sends messages, and bytes as they are."""
        method = self.pool.FindServiceByName(service).methods_by_name[name]
        kinds = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }
        return kinds[method.client_streaming, method.server_streaming](
            f"/{service}/{name}",
            request_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

    def status(self):
        request = self.type("nn.v1.GetStatusRequest")()
        return self.method("nn.v1.Status", "GetStatus")(request, timeout=PATIENCE)

    def status_when(self, holds, what):
        """Waits for a status of which `holds` is true. The coordinator updates it a few times a second."""
        for _ in range(PATIENCE * 20):
            status = self.status()
            if holds(status):
                return status
            time.sleep(0.05)
        raise Wrong(f"the status never showed {what}; it is {status}")


class Stream:
    """One call of Work, which can send anything and hears every answer."""

    def __init__(self, coordinator, patience=PATIENCE, **options):
        self.coordinator = coordinator
        self.message = coordinator.type("nn.v1.WorkerMessage")
        self.words = queue.SimpleQueue()
        work = coordinator.method("nn.v1.Coordinator", "Work")
        self.call = work(iter(self.words.get, None), timeout=patience, **options)

    def say(self, *messages):
        for message in messages:
            self.words.put(message)

    def close(self):
        """Ends the stream after the messages so far."""
        self.words.put(None)

    def hear(self):
        """The next message, or None at the end of the stream."""
        try:
            return next(self.call)
        except (StopIteration, grpc.RpcError):
            return None

    def must_hear(self):
        """The next message; it is an error if the stream ends instead."""
        answer = self.hear()
        if answer is None:
            raise Wrong(f"the stream ended without a message: {self.ending()}, {self.call.details()!r}")
        return answer

    def ending(self):
        """The status, once the stream has ended."""
        return self.call.code().name

    def rejected(self, reason, code, *words, refusals=0):
        """Checks that the stream ends with this reason, this status code, and a message with these words, after at most
        `refusals` refusals. Returns the message."""
        while (kind := (answer := self.must_hear()).WhichOneof("body")) != "reject":
            check(kind != "run_over", "the run is over")
            if kind == "refusal":
                check(refusals > 0, f"it was refused, not rejected: {answer.refusal}")
                refusals -= 1
        sentence = answer.reject.message
        equal(name_of(answer.reject), reason, f"the reason ({sentence})")
        for word in words:
            check(word in sentence, f"{word!r} is not in {sentence!r}")
        check(self.hear() is None, "the stream continues after a reject")
        equal(self.ending(), code, "the status")
        equal(self.call.details(), sentence, "the status's message")
        self.close()
        return sentence


Work = namedtuple("Work", "step attempt nodes")
Node = namedtuple("Node", "level index")


class Peer(Stream):
    """A worker that follows the protocol unless a scenario makes it do otherwise. It does not compute."""

    members = itertools.count(1 << 40)

    def __init__(self, world, **hello):
        super().__init__(world.coordinator, patience=hello.pop("patience", PATIENCE))
        self.world = world
        self.generation = 0
        self.weights = {}
        self.assigned = []
        self.incoming = None
        hello.setdefault("member", next(self.members))
        self.member = hello["member"]
        self.say(self.make(hello=hello_of(world, **hello)))

    def make(self, step=0, attempt=0, **body):
        return self.message(generation=self.generation, step=step, attempt=attempt, **body)

    def greet(self):
        """Waits for Welcome."""
        answer = self.must_hear()
        equal(answer.WhichOneof("body"), "welcome", f"the answer to Hello ({answer})")
        self.generation = answer.generation
        self.welcome = answer.welcome
        manifest = json.loads(self.welcome.manifest_json)
        self.manifest = manifest
        widths = manifest["model"]["widths"]
        self.layers = [(i + 1) * o for i, o in zip(widths, widths[1:])]
        return self

    def join(self):
        self.greet()
        self.say(self.make(ready={"data_sha256": self.welcome.data.sha256}))
        self.beat()
        return self

    def work(self):
        """Waits for the next assignment and the weights that it needs."""
        while not (self.assigned and self.assigned[0].step in self.weights
                   and len(self.weights[self.assigned[0].step]) == len(self.layers)):
            answer = self.must_hear()
            self.take(answer)
        work = self.assigned.pop(0)
        of_step = self.weights[work.step]
        self.world.saw(work.step, hashlib.sha256(b"".join(of_step[i] for i in range(len(self.layers)))).hexdigest())
        return work

    def take(self, answer):
        """Takes in a message with an assignment or weights."""
        kind = answer.WhichOneof("body")
        equal(answer.generation, self.generation, f"the generation of {kind}")
        if kind == "assignment":
            nodes = [Node(node.level, node.index) for node in answer.assignment.nodes]
            self.assigned.append(Work(answer.step, answer.attempt, nodes))
        elif kind == "weights_header":
            check(self.incoming is None, "a tensor begins within another")
            tensor = answer.weights_header.tensor
            of = self.layers[tensor.layer:tensor.layer + 1] if tensor.HasField("layer") else self.layers
            equal(tensor.elements, sum(of), "the number of weights")
            equal(tensor.chunks, -(-tensor.elements * 4 // CHUNK), "the number of chunks")
            self.incoming = (answer.step, tensor, [])
        elif kind == "weights_chunk":
            check(self.incoming is not None, "a chunk came without a header")
            step, tensor, data = self.incoming
            chunk = answer.weights_chunk
            equal((answer.step, chunk.index, chunk.total), (step, len(data), tensor.chunks), "the place of a chunk")
            equal(zlib.crc32(chunk.data), chunk.crc32, "the checksum of a chunk")
            data.append(chunk.data)
            if len(data) == tensor.chunks:
                self.incoming = None
                self.keep(step, tensor, b"".join(data))
        else:
            raise Wrong(f"got {kind} instead of work: {answer}")

    def keep(self, step, tensor, data):
        equal(len(data), tensor.elements * 4, "the length of the weights")
        equal(zlib.crc32(data), tensor.crc32, "the checksum of the weights")
        of_step = self.weights.setdefault(step, {})
        if tensor.HasField("layer"):
            of_step[tensor.layer] = data
            return
        at = 0
        for layer, elements in enumerate(self.layers):
            of_step[layer] = data[at:at + elements * 4]
            at += elements * 4

    def refused(self, reason, *words):
        """Checks that the next contribution is refused for this reason, in a message with these words."""
        while True:
            answer = self.must_hear()
            if answer.WhichOneof("body") != "refusal":
                self.take(answer)
                continue
            sentence = answer.refusal.message
            equal(name_of(answer.refusal), reason, f"the reason ({sentence})")
            for word in words:
                check(word in sentence, f"{word!r} is not in {sentence!r}")
            self.world.refusals += 1
            return

    def leave(self):
        """Leaves as a worker should, with Goodbye."""
        self.say(self.make(goodbye={"reason": "that was all"}))
        while self.hear() is not None:
            pass
        equal(self.ending(), "OK", "the status after Goodbye")
        self.close()

    def leaves(self, step):
        """The number of leaves in the tree of a step, and the number of samples in its mini-batch."""
        batch, samples = self.manifest["batch_size"], self.manifest["train_samples"]
        in_epoch = step % -(-samples // batch)
        batch = min(batch, samples - in_epoch * batch)
        return -(-batch // self.manifest["shard_size"]), batch

    def samples(self, step, node):
        shard = self.manifest["shard_size"]
        _, batch = self.leaves(step)
        first = node.index << node.level
        return max(0, min((first + (1 << node.level)) * shard, batch) - first * shard)

    def gradient(self, work, node=None, layer=None, put=None, **stats):
        """The messages of a gradient that looks right: header and chunks. `put` is an index and a number to put there."""
        node = node or work.nodes[0]
        values = array("f", [0.5]) * (sum(self.layers) if layer is None else self.layers[layer])
        if put:
            values[put[0]] = put[1]
        data = values.tobytes()
        pieces = [data[at:at + CHUNK] for at in range(0, len(data), CHUNK)]
        of = {} if layer is None else {"layer": layer}
        tensor = {**of, "elements": len(values), "chunks": len(pieces), "crc32": zlib.crc32(data)}
        stats = {"samples": self.samples(work.step, node), "loss": 1.0, "compute_micros": 1, **stats}
        header = {"node": node._asdict(), "finite": True, "stats": stats, "tensor": tensor}
        return [self.make(work.step, work.attempt, gradient_header=header)] + [
            self.make(work.step, work.attempt, gradient_chunk={
                **of, "index": index, "total": len(pieces), "crc32": zlib.crc32(piece), "data": piece,
            })
            for index, piece in enumerate(pieces)
        ]

    def beat(self):
        """Sends heartbeats from now on, until the stream is over."""
        def beat():
            while self.call.is_active():
                self.say(self.make(heartbeat={}))
                time.sleep(self.welcome.heartbeat_millis / 1000)
        threading.Thread(target=beat, daemon=True).start()


def hello_of(world, **changes):
    return {
        "protocol": PROTOCOL, "build": "a stranger", "incarnation": 1, "threads": 1, "instructions": "none",
        "arithmetic": world.arithmetic, "name": "stranger", **changes,
    }
