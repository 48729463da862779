#!/usr/bin/env python3
"""bench_vm.py [ROUNDS] - what a container in a virtual machine costs, in one run: cold and pooled starts beside the boot
alone, the engine's own share, memory of an idle machine, exec and bytes through the whole engine. Medians; for
docs/performance.md. Needs a Release build, root, and a machine with nothing else to do."""
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import LAB, Engine, busybox_archive, wait_for  # noqa: E402

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


def show(what, values, unit="s", digits=3):
    values = sorted(values)
    print("%-58s %.*f %s (%.*f..%.*f, n=%d)" % (what, digits, statistics.median(values), unit, digits, values[0], digits,
                                               values[-1], len(values)), flush=True)


def first_output(e, *flags):
    """Seconds from the start of `docker run` to its container's first byte, and to its end."""
    env = dict(e.env, DOCKER_HOST=e.host, DOCKER_CONFIG=e.dir + "/docker-config")
    begin = time.monotonic()
    p = subprocess.Popen([LAB, "run", e.name, "docker", "run", "--rm", *flags, "busybox", "echo", "hello"], env=env,
                         stdout=subprocess.PIPE)
    assert p.stdout.read(1) == b"h"
    first = time.monotonic() - begin
    assert p.wait() == 0
    return first, time.monotonic() - begin


def machine(e, name):
    return e.json("GET", "/containers/%s/json" % name)["Machine"]


def pss_mib(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024


def starts(e, label, pause):
    for flags in (("--network", "none"), ()):
        times = []
        for _ in range(ROUNDS):
            time.sleep(pause)
            times.append(first_output(e, *flags)[0])
        show("%s docker run to first output%s" % (label, "" if flags else ", with a bridge"), times)


with Engine(config={"default-runtime": "vm", "vm-pool": "off"}) as e:
    e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
    starts(e, "cold", 0)
    boots, shares = [], []
    for n in range(ROUNDS):
        e.docker("run", "-d", "--name", "m%d" % n, "--network", "none", "busybox", "sleep", "1000")
        m = machine(e, "m%d" % n)
        boots.append(sum(m["Stages"][s] for s in ("spawn", "qemu", "boot", "hello")))
        shares.append(m)
        e.docker("rm", "-f", "m%d" % n)
    show("the boot alone: QEMU's start to the agent's first answer", boots, "ms", 0)
    print("stages of the last:", json.dumps({k: shares[-1].get(k) for k in ("Stages", "EngineStages")}))

with Engine(config={"default-runtime": "vm", "vm-pool": "off", "vm-memory": 128}) as e:
    e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
    e.docker("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
    time.sleep(10)
    print("idle machine of 128 MiB: PSS of QEMU and virtiofsd      %.0f MiB" % pss_mib(e.machines()))
    execs = []
    for _ in range(ROUNDS * 5):
        x = e.json("POST", "/containers/idle/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
        begin = time.monotonic()
        e.http("POST", "/exec/%s/start" % x, {})
        execs.append((time.monotonic() - begin) * 1e3)
    show("exec of true, request to the end of its stream", execs, "ms", 1)
    rates = []
    for _ in range(5):
        x = e.json("POST", "/containers/idle/exec", {"Cmd": ["dd", "if=/dev/zero", "bs=256k", "count=400"], "AttachStdout": True})["Id"]
        begin = time.monotonic()
        size = len(e.http("POST", "/exec/%s/start" % x, {})[2])
        rates.append(size / (time.monotonic() - begin) / 1e6)
    show("exec's stdout", rates, "MB/s", 0)

with Engine(config={"default-runtime": "vm", "vm-pool": 1}) as e:
    e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
    wait_for(lambda: any("pool-" in d for d in os.listdir("/sys/fs/cgroup/memory" + e.cgroup + "-vm")
                         if os.path.isdir("/sys/fs/cgroup/memory" + e.cgroup + "-vm")), 30, "the pool's first machine")
    time.sleep(5)
    starts(e, "from the pool:", 6)
