"""Measures whether useless connections slow training down; prints a Markdown table.

Run:   cargo build --release --bins
       python3 benches/flood.py                    about three minutes
       python3 benches/flood.py --rounds 3 --seconds 4 --rate 1000

It runs the real programs on this machine: a coordinator with mutual TLS and a token, and two workers. Another process dials
the coordinator at a fixed rate, for 1.5 s before a window and through it. It sends nothing, half an HTTP/2 preface, garbage, a
TLS handshake without a certificate, or one with a certificate and a wrong token. The flood itself takes processor time from the
same cores. So the script also floods a process that accepts connections and closes them, and compares the steps a second under
both floods. The two windows alternate, and each figure is a median over the rounds. `cpu` is the coordinator's processor
time for each connection of the flood, beyond that of its steps without one.
"""

import argparse
import json
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from programs import FOLDER

TRAINING = "--recipe book --hidden 512,256 --activation relu --batch-size 128 --learning-rate 0.001 --epochs 100000 --eval-every 100000 --log-steps 0 --threads 0 --quiet".split()
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
LEAD = 1.5  # seconds of a flood before the window, to use up the burst that the coordinator admits
TICKS = os.sysconf("SC_CLK_TCK")


def wrong_token():
    """A request for the status with a wrong token, in HPACK literals without indexing."""
    fields = [
        (":method", "POST"), (":scheme", "https"), (":path", "/nn.v1.Status/GetStatus"), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers"), ("authorization", "Bearer " + "x" * 64),
    ]
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields
    )
    headers = len(block).to_bytes(3, "big") + b"\x01\x04\0\0\0\x01" + block
    return PREFACE + headers + b"\0\0\x05\0\x01\0\0\0\x01" + bytes(5)


def flood(kind, port, rate, seconds, certs, done):
    """Dials, keeps the last 800 connections open, and reports how many it made."""
    held, dialled = [], 0
    context = None
    if kind.startswith("TLS"):
        context = ssl.create_default_context(cafile=certs / "ca.pem")
        context.set_alpn_protocols(["h2"])
        if kind == "TLS, wrong token":
            context.load_cert_chain(certs / "w.pem", certs / "w.key")
    garbage = os.urandom(4000)
    start = time.monotonic()
    while (now := time.monotonic() - start) < seconds:
        if dialled >= now * rate:
            time.sleep(0.0005)
            continue
        dialled += 1
        try:
            one = socket.create_connection(("127.0.0.1", port), timeout=0.2)
            held.append(one)
            if kind == "half an HTTP/2 preface":
                one.send(PREFACE[:9])
            elif kind == "garbage":
                one.send(garbage)
            elif context:
                one = context.wrap_socket(one, server_hostname="127.0.0.1")
                held[-1] = one
                if kind == "TLS, wrong token":
                    one.send(wrong_token())
        except OSError:
            pass
        while len(held) > 800:
            held.pop(0).close()
    done.put(dialled)


def elsewhere(ready):
    """Accepts connections and closes them."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    ready.put(listener.getsockname()[1])
    while True:
        listener.accept()[0].close()


class Cluster:
    def __init__(self, folder):
        def run(*arguments):
            subprocess.run([FOLDER / arguments[0], *arguments[1:]], cwd=folder, check=True, stdout=subprocess.DEVNULL)

        run("nn", "certs", "init")
        run("nn", "certs", "worker", "w")
        run("nn", "certs", "token", "token")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        server = "--tls-ca certs/ca.pem --require-client-cert --token-file token --tls-cert certs/coordinator.pem --tls-key certs/coordinator.key"
        client = "--tls-ca certs/ca.pem --token-file token --tls-cert certs/w.pem --tls-key certs/w.key"
        self.client = [*client.split(), "--coordinator", f"https://127.0.0.1:{self.port}"]
        self.folder = folder
        nothing = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        listen = [FOLDER / "nn-coord", "--listen", f"127.0.0.1:{self.port}", "--min-workers", "2", "--out", "run"]
        self.coordinator = subprocess.Popen([*listen, *server.split(), *TRAINING], **nothing)
        self.workers = [
            subprocess.Popen([FOLDER / "nn-worker", "--threads", "1", *self.client], **nothing) for _ in range(2)
        ]

    def step(self):
        """The current step and its time; retries, because the flood may crowd out the request."""
        for _ in range(200):
            ran = subprocess.run([FOLDER / "nn", "status", "--json", *self.client], cwd=self.folder, capture_output=True)
            if ran.returncode == 0:
                return json.loads(ran.stdout)["step"], time.monotonic()
            time.sleep(0.02)
        raise SystemExit(f"no status: {ran.stderr.decode()}")

    def cpu(self):
        fields = Path(f"/proc/{self.coordinator.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self):
        self.coordinator.terminate()
        for process in [self.coordinator, *self.workers]:
            process.wait(20)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=3)
    arguments.add_argument("--rate", type=float, default=500, help="connections a second")
    options = arguments.parse_args()
    ready = multiprocessing.Queue()
    other = multiprocessing.Process(target=elsewhere, args=(ready,), daemon=True)
    other.start()
    other_port = ready.get()
    kinds = ["silence", "half an HTTP/2 preface", "garbage", "TLS, no certificate", "TLS, wrong token"]
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(folder)
        try:
            while cluster.step()[0] < 500:
                time.sleep(0.1)

            def window(kind, port):
                done = multiprocessing.Queue()
                process = None
                if kind:
                    certs = Path(folder) / "certs"
                    process = multiprocessing.Process(target=flood, args=(kind, port, options.rate, options.seconds + LEAD, certs, done))
                    process.start()
                    time.sleep(LEAD)
                (before, start), used = cluster.step(), cluster.cpu()
                time.sleep(options.seconds)
                (after, end), cost = cluster.step(), cluster.cpu() - used
                dialled = 0
                if process:
                    dialled = done.get() * (end - start) / (options.seconds + LEAD)
                    process.join()
                return (after - before) / (end - start), cost / (end - start), dialled / (end - start)

            rows = {kind: [] for kind in kinds}
            quiet = []
            for _ in range(options.rounds):
                for kind in kinds:
                    quiet.append(window(None, 0)[:2])
                    rows[kind].append((window(kind, other_port), window(kind, cluster.port)))
                    time.sleep(2.5)  # until the coordinator's rate limits recover
            free = statistics.median(steps for steps, _ in quiet)
            own = statistics.median(cost / steps for steps, cost in quiet)
            print(f"without a flood: {free:.0f} steps/s ({min(q[0] for q in quiet):.0f} to {max(q[0] for q in quiet):.0f} in {len(quiet)} windows)\n")
            print("| flood | dials/s | steps/s, another program flooded | steps/s, coordinator flooded | ratio | cpu a dial, µs |")
            print("| --- | ---: | ---: | ---: | ---: | ---: |")
            for kind, windows in rows.items():
                there = statistics.median(there[0] for there, _ in windows)
                here = statistics.median(here[0] for _, here in windows)
                dials = statistics.median(here[2] for _, here in windows)
                each = statistics.median((cost - own * steps) / max(dialled, 1) for _, (steps, cost, dialled) in windows)
                print(f"| {kind} | {dials:.0f} | {there:.0f} | {here:.0f} | {here / there:.2f} | {each * 1e6:.0f} |")
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
