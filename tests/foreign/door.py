"""Before anyone joins: how the coordinator describes itself, and which peers it refuses."""

import hashlib
import socket
import struct
import zlib

import grpc

import http2
from stranger import CHUNK, PATIENCE, U32, Peer, Stream, check, equal, hello_of

PASSED = []


def scenario(function):
    PASSED.append(function)
    return function


def greeting(world, **changes):
    """A stream on which only Hello is sent."""
    stream = Stream(world.coordinator)
    stream.say(stream.message(hello=hello_of(world, **changes)))
    return stream


def nobody_is_there(world):
    return world.coordinator.status_when(
        lambda status: all(worker.name == "witness" for worker in status.workers), "that nobody has joined")


@scenario
def the_services_are_listed(world):
    equal(world.coordinator.services, {
        "nn.v1.Coordinator", "nn.v1.Status", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
    }, "the list of services")


@scenario
def services_report_their_health(world):
    check_health = world.coordinator.method("grpc.health.v1.Health", "Check")
    request = world.coordinator.type("grpc.health.v1.HealthCheckRequest")
    for service in ["", "nn.v1.Coordinator", "nn.v1.Status"]:
        answer = check_health(request(service=service), timeout=PATIENCE)
        equal(answer.status, answer.SERVING, f"the health of {service!r}")
    try:
        check_health(request(service="nn.v1.Nobody"), timeout=PATIENCE)
        check(False, "a service that does not exist is healthy")
    except grpc.RpcError as error:
        equal(error.code().name, "NOT_FOUND", "the status")


@scenario
def methods_that_do_not_exist(world):
    for path in ["/nn.v1.Coordinator/Steal", "/nn.v1.Nobody/Work", "/"]:
        try:
            world.coordinator.channel.unary_unary(path)(b"", timeout=PATIENCE)
            check(False, f"{path} is answered")
        except grpc.RpcError as error:
            equal(error.code().name, "UNIMPLEMENTED", f"the status of {path}")


@scenario
def an_old_version_of_the_protocol(world):
    stream = greeting(world, protocol=0)
    stream.rejected("REJECT_REASON_PROTOCOL", "FAILED_PRECONDITION", "a stranger", "version 0", "version 1",
                    "use the same version of nn on both")


@scenario
def a_newer_version_of_the_protocol(world):
    # The rest of its Hello may have another form.
    stream = greeting(world, protocol=U32, threads=0, arithmetic="")
    stream.rejected("REJECT_REASON_PROTOCOL", "FAILED_PRECONDITION", f"version {U32}", "use the same version")


@scenario
def another_arithmetic(world):
    for arithmetic in ["00" * 32, "", world.arithmetic.upper(), world.arithmetic[:-1]]:
        # The message says which fingerprint is wanted.
        greeting(world, arithmetic=arithmetic).rejected(
            "REJECT_REASON_ARITHMETIC", "FAILED_PRECONDITION", "gives other bits", world.arithmetic,
            "use the same version of nn on both")


@scenario
def another_data_set(world):
    for held in [[], ["11" * 32], ["no hash", "22" * 32]]:
        greeting(world, data_fixed=True, data_held=held).rejected(
            "REJECT_REASON_DATA", "FAILED_PRECONDITION", "content hash", "start it without --data")
    peer = Peer(world).greet()
    offered = peer.welcome.data.sha256
    peer.leave()
    # A worker is welcome if the right data set is among its own.
    Peer(world, data_fixed=True, data_held=["11" * 32, offered]).greet().leave()


@scenario
def impossible_greetings(world):
    for threads in [0, (1 << 16) + 1, U32]:
        greeting(world, threads=threads).rejected(
            "REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "Hello", "threads", str(threads))
    greeting(world, data_held=["33" * 32] * 1025).rejected(
        "REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "data_held", "1025")


@scenario
def garbage_instead_of_messages(world):
    for garbage in [
        b"\xff" * 100,
        b"\x22\xff\xff\xff\xff\x0f",  # a Hello of 4 GiB that does not follow
        b"\x22\x04\x08",  # a Hello that ends too early
        b"\x25\x00\x00\x00\x00",  # a Hello that is a number
        b"\x22\x04\x12\x02\xc3\x28",  # a build that is not UTF-8
        bytes(range(256)),
    ]:
        stream = Stream(world.coordinator)
        stream.say(garbage)
        stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "not a message of nn.v1")


@scenario
def messages_without_a_body(world):
    for nothing in [b"", b"\xfa\x01\x02hi"]:  # nothing at all, and field 31, which does not exist
        stream = Stream(world.coordinator)
        stream.say(nothing)
        stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "no body", "newer protocol")


@scenario
def messages_far_beyond_the_limit(world):
    for length in [2 << 20, 16 << 20]:
        stream = Stream(world.coordinator)
        stream.say(bytes(length))
        stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", str(length), str(CHUNK + 64 * 1024))


@scenario
def compressed_messages(world):
    # The coordinator must not find out what a few bytes expand to.
    stream = Stream(world.coordinator, compression=grpc.Compression.Gzip)
    stream.say(stream.message(hello=hello_of(world, name="a" * 100_000)))
    stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "compress")


@scenario
def frames_that_no_library_would_send(world):
    claims = struct.pack(">BI", 0, U32)  # a message of 4 GiB
    for body in [claims, claims + b"\x22" * 1000, struct.pack(">BI", 7, 3) + b"abc"]:
        answers = http2.call(world.coordinator.address, "/nn.v1.Coordinator/Work", body)
        equal(len(answers), 1, "the number of answers")
        answer = world.coordinator.type("nn.v1.CoordinatorMessage").FromString(answers[0])
        equal(answer.reject.reason, answer.reject.DESCRIPTOR.file.enum_types_by_name["RejectReason"]
              .values_by_name["REJECT_REASON_MESSAGE"].number, f"the reason ({answer})")
        check(answer.reject.message, "the reject has no message")


@scenario
def bytes_that_are_not_http2(world):
    for garbage in [
        bytes(100_000),
        b"GET / HTTP/1.1\r\nHost: nn\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        http2.PREFACE + b"\xff" * 5000,
    ]:
        with http2.connect(world.coordinator.address) as peer:
            try:
                peer.sendall(garbage)
                while peer.recv(65536):
                    pass
            except (ConnectionError, BrokenPipeError):
                pass  # disconnected in the middle
            except socket.timeout:
                check(False, f"the connection stays open after {garbage[:20]!r}")


@scenario
def connections_that_stop_within_the_http2_preface(world):
    # They stay open, and say nothing more until the run is over.
    for part in [b"", http2.PREFACE[:11], http2.PREFACE]:
        peer = http2.connect(world.coordinator.address)
        peer.sendall(part)
        world.kept.append(peer)


def early(message, world):
    node = {"level": 0, "index": 0}
    tensor = {"elements": 1, "chunks": 1}
    return [
        ("Ready", message(ready={"data_sha256": "00" * 32})),
        ("DataRequest", message(data_request={})),
        ("Heartbeat", message(heartbeat={})),
        ("GradientHeader", message(gradient_header={"node": node, "tensor": tensor})),
        ("TensorChunk", message(gradient_chunk={"total": 1, "data": b"1234"})),
        ("Goodbye", message(goodbye={})),
    ]


@scenario
def messages_before_hello(world):
    for index in range(6):
        stream = Stream(world.coordinator)
        name, message = early(stream.message, world)[index]
        # A Hello that follows does not help.
        stream.say(message, stream.message(hello=hello_of(world)))
        stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", f"expected Hello, got {name}")


@scenario
def messages_before_ready(world):
    for name, index in [("GradientHeader", 3), ("TensorChunk", 4)]:
        peer = Peer(world).greet()
        peer.say(early(peer.message, world)[index][1])
        peer.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", f"expected Ready, got {name}")


@scenario
def two_hellos(world):
    peer = Peer(world).greet()
    peer.say(peer.make(hello=hello_of(world)))
    peer.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "expected Ready, got Hello")
    # Both at once, before the first can be answered.
    stream = greeting(world)
    stream.say(stream.message(hello=hello_of(world)))
    equal(stream.must_hear().WhichOneof("body"), "welcome", "the answer to the first")
    stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "expected Ready, got Hello")


@scenario
def a_stream_that_ends_before_hello(world):
    stream = Stream(world.coordinator)
    stream.close()
    stream.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "begin with Hello")


@scenario
def a_stream_that_says_nothing(world):
    # The stream was opened when the program started.
    world.silent.rejected("REJECT_REASON_SILENT", "UNAVAILABLE", "10s", "dial again")


@scenario
def the_training_set_is_what_was_offered(world):
    peer = Peer(world).greet()
    offer = peer.welcome.data
    equal(offer.chunks, -(-offer.bytes // CHUNK), "the number of chunks")
    peer.say(peer.make(data_request={"sha256": offer.sha256}))
    whole = b""
    for index in range(offer.chunks):
        chunk = peer.must_hear().data_chunk
        equal((chunk.index, chunk.total), (index, offer.chunks), "the place of a chunk")
        equal(zlib.crc32(chunk.data), chunk.crc32, "the checksum of a chunk")
        whole += chunk.data
    equal((len(whole), hashlib.sha256(whole).hexdigest()), (offer.bytes, offer.sha256), "the training set")
    check(whole.startswith(b"nn-train/1\0"), "the format is not nn-train/1")
    equal(struct.unpack_from("<Q", whole, 11)[0], peer.manifest["train_samples"], "its number of samples")
    peer.leave()


@scenario
def training_sets_that_do_not_exist(world):
    for body in [{"data_request": {"sha256": "44" * 32}}, {"ready": {"data_sha256": "44" * 32}}, {"ready": {}}]:
        peer = Peer(world).greet()
        peer.say(peer.make(**body))
        peer.rejected("REJECT_REASON_DATA", "FAILED_PRECONDITION", peer.welcome.data.sha256, "there is no other")
    for chunk in [2, U32]:
        peer = Peer(world).greet()
        peer.say(peer.make(data_request={"sha256": peer.welcome.data.sha256, "from_chunk": chunk}))
        peer.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", "from_chunk", str(chunk))


@scenario
def messages_of_another_generation(world):
    for name in ["ready", "data_request", "heartbeat"]:
        peer = Peer(world).greet()
        sha256 = peer.welcome.data.sha256
        body = {"ready": {"data_sha256": sha256}, "data_request": {"sha256": sha256}, "heartbeat": {}}[name]
        message = peer.make(**{name: body})
        message.generation += 1
        peer.say(message)
        peer.rejected("REJECT_REASON_MESSAGE", "INVALID_ARGUMENT", f"generation {message.generation}")


@scenario
def the_status_is_as_before(world):
    status = nobody_is_there(world)
    for field in ["state", "generation", "step", "total_steps", "manifest_hash", "refused", "reissued"]:
        equal(getattr(status, field), getattr(world.before, field), field)
