"""A LAN on one machine: machines are network namespaces with a share of a processor, on a switch with shaped ports.

Needs root, `ip` and `tc`. `Lan` makes a namespace for the switch (a bridge) and one for each machine, joined by a veth pair, and a
control group for each machine; `close` removes them all. Their names begin with `nnlan`, followed by the script's process id. No
traffic can leave: no namespace has an interface to the outside, and the bridge is not in the namespace of this machine.

Links. A token bucket (`tc tbf`) at each end of each veth pair shapes both directions. Its burst is what the link carries in 0.4 ms,
so that even a small message pays for its bytes; its queue holds 1 MiB, like that of a small switch.

Machines. A quota of the control group slows each machine to a share of one core, so that it is as fast beside four others as
alone. The kernel gives the quota out in periods. It allows no quota below 1 ms a period, and that is what we use, with as long a period as
the share needs: with the usual 100 ms, or with 10, a machine that computes 3 ms and then waits for the network would never feel its
quota. A machine can save up at most 1 ms of computing this way; `check` measures the rest of the error.
"""

import atexit
import contextlib
import ctypes
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

PREFIX = "nnlan"
V1 = Path("/sys/fs/cgroup/cpu")
V2 = Path("/sys/fs/cgroup")
QUOTA_US = 1000
QUEUE_BYTES = 1 << 20
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Unusable(Exception):
    """What is missing on this machine, and what to do about it."""


class Failed(Exception):
    """Why a row has no figures."""


def run(*command, check=True):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Unusable(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def alive(pid):
    return Path(f"/proc/{pid}").exists()


class Shares:
    """Control groups of one CPU controller, version 1 or 2."""

    def __init__(self):
        if (V2 / "cgroup.controllers").exists() and "cpu" in (V2 / "cgroup.controllers").read_text().split():
            self.version, self.root = 2, V2
            enabled = V2 / "cgroup.subtree_control"
            if "cpu" not in enabled.read_text().split():
                raise Unusable(f"the CPU controller is not enabled below {V2}; `echo +cpu > {enabled}` enables it")
        elif (V1 / "cpu.cfs_quota_us").exists() or (V1 / "cpu.shares").exists():
            self.version, self.root = 1, V1
        else:
            raise Unusable("no CPU controller of control groups is mounted, neither version 2 nor version 1 at /sys/fs/cgroup/cpu")
        self.folders = []

    def make(self, name, share):
        """A group that gets `share` of one core."""
        folder = self.root / name
        folder.mkdir()
        self.folders.append(folder)
        period = round(QUOTA_US / share)
        if self.version == 2:
            (folder / "cpu.max").write_text(f"{QUOTA_US} {period}")
        else:
            (folder / "cpu.cfs_period_us").write_text(str(period))
            (folder / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        return folder

    def close(self):
        for folder in self.folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)  # a process of it has not quite ended
            else:
                print(f"lan: could not remove {folder}", file=sys.stderr)
        self.folders.clear()


class Lan:
    """The coordinator's machine `c` and machines `w0`, `w1`, ...; a context manager."""

    def __init__(self, workers, share, pin=True):
        if os.geteuid() != 0:
            raise Unusable("namespaces and control groups need root; run it with sudo")
        for program in ("ip", "tc"):
            if not shutil.which(program):
                raise Unusable(f"`{program}` is missing; it is in the package iproute2")
        self.name = f"{PREFIX}{os.getpid()}"
        self.machines = ["c", *(f"w{number}" for number in range(workers))]
        self.share, self.pin, self.rate = share, pin, None
        self.running, self.namespaces, self.shares, self.holder = [], [], None, None
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(143))
        self.sweep()
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def sweep():
        """Removes what a script left behind that was killed with SIGKILL."""
        for line in run("ip", "netns", "list").splitlines():
            match = re.match(rf"({PREFIX}(\d+)-\w+)", line)
            if match and not alive(match.group(2)):
                run("ip", "netns", "del", match.group(1), check=False)
        for root in (V1, V2):
            for folder in root.glob(f"{PREFIX}*-*"):
                if not alive(folder.name[len(PREFIX):].split("-")[0]):
                    with contextlib.suppress(OSError):
                        folder.rmdir()

    def space(self, machine):
        return f"{self.name}-{machine}"

    def address(self, machine):
        return f"10.99.0.{self.machines.index(machine) + 1}"

    def build(self):
        self.shares = Shares()
        for machine in ["sw", *self.machines]:
            run("ip", "netns", "add", self.space(machine))
            self.namespaces.append(self.space(machine))
            run("ip", "-n", self.space(machine), "link", "set", "lo", "up")
        switch = self.space("sw")
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        self.groups = {}
        for machine in self.machines:
            port = f"p-{machine}"
            run("ip", "-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self.space(machine))
            run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
            run("ip", "-n", self.space(machine), "addr", "add", f"{self.address(machine)}/24", "dev", "eth0")
            run("ip", "-n", self.space(machine), "link", "set", "eth0", "up")
            # What most machines use. Some kernels default to BBR, which a bucket with a small burst would flatter or hurt.
            run("ip", "netns", "exec", self.space(machine), "sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic", check=False)
            self.groups[machine] = self.shares.make(self.space(machine), self.share)
        # Its /proc/PID/net/dev has the counters of the switch's ports.
        self.holder = subprocess.Popen(["ip", "netns", "exec", switch, "sleep", "infinity"], start_new_session=True)
        self.running.append(self.holder)
        for _ in range(200):
            if self.counters():
                return
            time.sleep(0.01)
        raise Unusable("the counters of the switch's ports cannot be read from /proc")

    def shape(self, bits):
        """Shapes every link, in both directions, to so many bits a second."""
        if bits == self.rate:
            return
        burst = max(3200, round(bits / 8 * 0.0004))
        for machine in self.machines:
            for space, device in ((self.space("sw"), f"p-{machine}"), (self.space(machine), "eth0")):
                run("tc", "-n", space, "qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{round(bits)}bit",
                    "burst", burst, "limit", QUEUE_BYTES)
        self.rate = bits

    def counters(self):
        """Bytes that each machine has sent, and received, by the switch's counters of its port."""
        found = {}
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.holder.pid}/net/dev").read_text().splitlines():
                name, _, rest = line.strip().partition(":")
                if name.startswith("p-"):
                    numbers = rest.split()
                    found[name[2:]] = (int(numbers[0]), int(numbers[8]))
        return found

    def sent(self):
        """Bytes that all machines together have sent. Each byte counts once, however many ports it crosses."""
        return sum(out for out, _ in self.counters().values())

    def start(self, machine, command, slow=True, **options):
        """Starts a program on a machine, on its share of a core unless it joins its group later by itself."""
        group, cpus = self.groups[machine] / "cgroup.procs", os.cpu_count() or 1
        number = self.machines.index(machine) - 1

        name = os.fsencode(f"/var/run/netns/{self.space(machine)}")

        def enter():
            # Not `ip netns exec`, which also hides the control groups below /sys.
            space = os.open(name, os.O_RDONLY)
            if LIBC.setns(space, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns failed")
            os.close(space)
            if slow:
                group.write_text(str(os.getpid()))
            if self.pin and number >= 0:
                # Debts of a quota are kept by core. A machine with one thread pays them only on the core where it made them.
                os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number % cpus]})

        process = subprocess.Popen(list(map(str, command)), preexec_fn=enter, start_new_session=True, **options)
        self.running.append(process)
        return process

    def kill(self, *processes):
        for process in processes:
            if process.poll() is None:
                process.kill()
        for process in processes:
            process.wait()
            if process in self.running:
                self.running.remove(process)

    def close(self):
        self.kill(*self.running)
        while self.namespaces:
            run("ip", "netns", "del", self.namespaces.pop(), check=False)
        if self.shares:
            self.shares.close()


RECEIVE = """
import socket, sys, time
s = socket.create_server((sys.argv[1], 7000)); print("ready", flush=True)
c, _ = s.accept(); first = None; n = 0
while d := c.recv(1 << 16):
    if n > int(sys.argv[2]) and first is None: first, start = n, time.monotonic()
    n += len(d); last = time.monotonic()
print((n - first) * 8 / (last - start), flush=True)
"""
SEND = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 7000)); end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end: s.sendall(bytes(1 << 16))
"""
# One thread burns processor time and wakes the other through a pipe, as a worker's computing thread wakes its sending one.
BURN = """
import os, sys, threading, time
burn, count = float(sys.argv[1]) / 1e3, int(sys.argv[2])
go, went = os.pipe(); ready, done = os.pipe()
def compute():
    while os.read(go, 1):
        end = time.thread_time() + burn
        while time.thread_time() < end: pass
        os.write(done, b"x")
threading.Thread(target=compute, daemon=True).start()
total = 0
for _ in range(count):
    start = time.monotonic(); os.write(went, b"x"); os.read(ready, 1); total += time.monotonic() - start; time.sleep(0.005)
print(total / count * 1e3)
"""


def link_speed(lan, source, target, seconds=1.0):
    """Bits a second of payload that one connection carries."""
    receiver = lan.start(target, [sys.executable, "-c", RECEIVE, lan.address(target), 1 << 16], slow=False, stdout=subprocess.PIPE, text=True)
    receiver.stdout.readline()
    sender = lan.start(source, [sys.executable, "-c", SEND, lan.address(target), seconds], slow=False)
    answer = receiver.stdout.readline()
    lan.kill(sender, receiver)
    return float(answer)


def check(lan, rates, seconds=1.0):
    """Measures what the links and the quotas really do; returns two lists of facts."""
    links, bursts = [], []
    for rate in rates:
        lan.shape(rate)
        up, down = link_speed(lan, "w0", "c", seconds), link_speed(lan, "c", "w0", seconds)
        links.append({"asked_mbit": rate / 1e6, "up_mbit": up / 1e6, "down_mbit": down / 1e6})
    for burn in (1, 3, 10, 30):
        count = max(8, round(400 * seconds / (burn / lan.share + 5)))
        process = lan.start("w0", [sys.executable, "-c", BURN, burn, count], stdout=subprocess.PIPE, text=True)
        took = float(process.stdout.readline())
        lan.kill(process)
        bursts.append({"computing_ms": burn, "expected_ms": burn / lan.share, "took_ms": took})
    return links, bursts


def median(values):
    values = list(values)
    return statistics.median(values) if values else float("nan")
