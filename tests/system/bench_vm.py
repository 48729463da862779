#!/usr/bin/env python3
"""bench_vm.py [ROUNDS] - what a container in a virtual machine costs, in one run: cold and pooled starts beside the boot
alone, the engine's own share, memory of an idle machine, exec and bytes through the whole engine. Medians, each beside
what docs/performance.md promises. Needs a Release build, root, and a machine with nothing else to do."""
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import LAB, Engine, busybox_archive, guest_folder, wait_for  # noqa: E402
from channel_floor import ChannelFloor  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
MISSED = []
IDLE_MIB = 209  # measured without an engine (vm-facts 8)
BUSYBOX = "/bin/busybox"  # of busybox-static


def show(what, values, unit, digits, most=None, least=None):
    """A row: the median, and whether it is within what is wanted."""
    values = sorted(values)
    median = statistics.median(values)
    wanted = "" if most is None and least is None else "%s %.*f" % ("<=" if least is None else ">=", digits, most if least is None else least)
    met = (most is None or median <= most) and (least is None or median >= least)
    if not met:
        MISSED.append(what)
    print("%-62s %9.*f %-4s (%.*f - %.*f, n=%d)  %-9s %s" % (what, digits, median, unit, digits, values[0], digits, values[-1],
          len(values), wanted, "" if not wanted else "met" if met else "NOT met"), flush=True)
    return median


def first_output(e, *flags):
    """Seconds from the start of `docker run` to its container's first byte."""
    env = dict(e.env, DOCKER_HOST=e.host, DOCKER_CONFIG=e.dir + "/docker-config")
    begin = time.monotonic()
    p = subprocess.Popen([LAB, "run", e.name, "docker", "run", "--rm", *flags, "busybox", "echo", "hello"], env=env,
                         stdout=subprocess.PIPE)
    assert p.stdout.read(1) == b"h"
    first = time.monotonic() - begin
    assert p.wait() == 0
    return first


def start_of(e, *flags):
    """"Machine" of a container that was started for that."""
    e.docker("run", "-d", "--name", "one", *flags, "busybox", "sleep", "1000")
    machine = e.json("GET", "/containers/one/json")["Machine"]
    e.docker("rm", "-f", "one")
    return machine


def pss_mib(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024


class ExecClient:
    """Starts execs and reads their streams as the docker CLI does; compiled, as the client of the channel alone is."""

    def __init__(self, e):
        self.e = e
        program = e.dir + "/exec_client"
        subprocess.run(["cc", "-O2", "-o", program, os.path.join(HERE, "..", "lib", "exec_client.c")], check=True)
        self.process = subprocess.Popen([program, e.sock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def exec(self, *command):
        """(seconds, bytes) from the request to the end of its stream."""
        x = self.e.json("POST", "/containers/idle/exec", {"Cmd": list(command), "AttachStdout": True})["Id"]
        self.process.stdin.write(x + "\n")
        self.process.stdin.flush()
        seconds, size = self.process.stdout.readline().split()
        return float(seconds), int(size)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.process.stdin.close()
        self.process.wait()


def cold():
    with Engine(config={"default-runtime": "vm", "vm-pool": "off"}) as e:
        e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
        boots, alone, bridged, shares = [], [], [], []
        for _ in range(ROUNDS):
            machine = start_of(e)
            boots.append(sum(machine["Stages"][s] for s in ("spawn", "qemu", "boot", "hello")) / 1e3)
            shares.append(machine["EngineMs"])
            alone.append(first_output(e, "--network", "none"))
            bridged.append(first_output(e))
        boot = show("the boot alone: QEMU's start to the agent's first answer", boots, "s", 3)
        show("cold docker run to first output, no network", alone, "s", 3, most=boot + 0.5)
        show("cold docker run to first output, bridge", bridged, "s", 3, most=boot + 0.5)
        show("the engine's own share of a cold start, bridge", shares, "ms", 1, most=40)


def running():
    with Engine(config={"default-runtime": "vm", "vm-pool": "off", "vm-memory": 128}) as e:
        e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
        e.docker("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
        time.sleep(10)  # free pages are reported with a delay of two seconds
        show("idle machine of 128 MiB: PSS of QEMU and its virtiofsds", [pss_mib(e.machines())], "MiB", 0, most=IDLE_MIB + 10)
        with ChannelFloor(guest_folder(), BUSYBOX) as floor, ExecClient(e) as client:
            beside_the_channel_alone(client, floor)


def beside_the_channel_alone(client, floor):
    """In turn: this machine is not that of vm-facts 13, and is not the same from one minute to the next."""
    for _ in range(20):
        client.exec("true")
    execs, alone = [], []
    for _ in range(ROUNDS * 2):
        alone.append(floor.exec_ms())
        execs += [client.exec("true")[0] * 1e3 for _ in range(10)]
    bare = show("exec of true without an engine (vm-facts 13)", alone, "ms", 1)
    show("exec of true, request to the end of its stream", execs, "ms", 1, most=1.3 * bare)
    rates, alone = [], []
    for _ in range(ROUNDS):
        alone.append(floor.output_mb_s())
        seconds, size = client.exec("dd", "if=/dev/zero", "bs=256k", "count=400")
        rates.append(size / seconds / 1e6)
    bare = show("guest to host without an engine, messages of 256 KiB", alone, "MB/s", 0)
    show("exec's stdout", rates, "MB/s", 0, least=0.7 * bare)


def pooled():
    with Engine(config={"default-runtime": "vm", "vm-pool": 1}) as e:
        e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
        group = "/sys/fs/cgroup/memory" + e.cgroup + "-vm"
        wait_for(lambda: os.path.isdir(group) and any("pool-" in d for d in os.listdir(group)), 30, "the pool's first machine")
        alone, bridged, shares = [], [], []
        for _ in range(ROUNDS):
            for measure in (lambda: alone.append(first_output(e, "--network", "none")), lambda: bridged.append(first_output(e)),
                            lambda: shares.append(start_of(e)["EngineMs"])):
                time.sleep(6)  # the pool is full again, and its boot over
                measure()
        show("from the pool: docker run to first output, no network", alone, "s", 3, most=0.4)
        show("from the pool: docker run to first output, bridge", bridged, "s", 3, most=0.4)
        show("the engine's own share of a start from the pool, bridge", shares, "ms", 1, most=40)


cold()
running()
pooled()
sys.exit("NOT met: " + "; ".join(MISSED) if MISSED else 0)
