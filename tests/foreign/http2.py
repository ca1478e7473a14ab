"""HTTP/2 by hand, just enough to send frames that no gRPC library would."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field, neither indexed nor compressed."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def call(address, path, body):
    """Calls a gRPC method with `body` as the bytes of its stream; returns the messages of the answer, as bytes."""
    fields = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", address.encode()),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"),
    ]
    headers = b"".join(literal(*field) for field in fields)
    with connect(address) as peer:
        peer.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, headers)
                     + frame(DATA, 0, 1, body))
        answer = b""
        source = peer.makefile("rb")
        while True:
            head = source.read(9)
            if len(head) < 9:
                raise EOFError("the connection ended before the stream did")
            kind, flags = head[3], head[4]
            payload = source.read(int.from_bytes(head[:3], "big"))
            if kind == SETTINGS and not flags & ACK:
                peer.sendall(frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                peer.sendall(frame(PING, ACK, 0, payload))
            elif kind in (RESET, GOAWAY):
                raise EOFError(f"the stream was cut off: frame {kind}, {payload!r}")
            elif kind == DATA:
                answer += payload
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return list(messages(answer))


def messages(body):
    while body:
        length = int.from_bytes(body[1:5], "big")
        yield body[5:5 + length]
        body = body[5 + length:]
