#!/usr/bin/env python3
"""Failure is ordinary: QEMU, the server of its files and the guest missing, killed, stopped or crashing at each step of a
virtual machine's life. Each ends within its deadline in a clear error or a `die` with the right code, the restart
policy acts, and nothing stays behind.

One line per case. A start is held at a step by a guest that does not answer there (guest/testing/hostile). Those that
are not in QUICK run in tests/run vm-full only.
"""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import LAB, SANITIZED, Engine, busybox_archive, main, wait_for  # noqa: E402
from hostile import hostile_guest  # noqa: E402

ALL = os.environ.get("ARCA_RUNTIME") == "vm"
ENGINE = INITRD = None
QEMU = "/usr/bin/qemu-system-x86_64"
KILL, STOP = signal.SIGKILL, signal.SIGSTOP
CLOSED = r"has closed|has gone|closed its control connection|has ended"
SILENT = r"does not answer|did not answer|did not report"
UNEXPECTED = "the machine's agent ended unexpectedly"
NOT_ANSWERED = r"did not answer and was killed|" + UNEXPECTED
SLACK = 25  # seconds of a busy host; which end it was is told by the words


def setUpModule():
    global ENGINE, INITRD
    if SANITIZED:
        raise unittest.SkipTest("the limits are those of a Release build")
    ENGINE = Engine(config={"default-runtime": "vm", "vm-accelerator": "tcg"})
    INITRD = hostile_guest(ENGINE.data)
    ENGINE.__enter__()
    ENGINE.docker("load", "-i", busybox_archive(ENGINE.dir + "/busybox.tar"))


def tearDownModule():
    try:
        ENGINE.remove_everything()
        nothing_stays(ENGINE)
    finally:
        ENGINE.close()


def nothing_stays(e):
    """Processes, cgroups, taps, mounts, container folders; run folders."""
    def left():
        machines = e.run + "/vm"
        return e.leftovers_of_containers() + (os.listdir(machines) if os.path.isdir(machines) else [])
    try:
        wait_for(lambda: not left(), 20, "the last machine to go")
    except AssertionError:
        raise AssertionError("left behind: %s" % left())


# -- one machine
def record_of(cid):
    """machine.json of this container's machine, or None."""
    folder = ENGINE.run + "/vm"
    for name in os.listdir(folder):
        try:
            with open("%s/%s/machine.json" % (folder, name)) as f:
                record = json.load(f)
        except (OSError, ValueError):
            continue
        if record["id"] == cid:
            return dict(record, dir="%s/%s" % (folder, name))
    return None


def pid_of(cid, program):
    record = record_of(cid)
    return next((p["pid"] for p in record["processes"] if p["name"].startswith(program)), None) if record else None


def is_asked(cid):
    """The guest has come to the call that it does not answer."""
    record = record_of(cid)
    if not record:
        return False
    try:
        with open(record["dir"] + "/console.log", "rb") as f:
            return b"hostile: it is asked" in f.read()
    except FileNotFoundError:
        return False


def create(wish="", command=("sleep", "1000"), network="none", **host):
    host["NetworkMode"] = network
    if wish:
        host["Annotations"] = {"arca.vm.initrd-path": INITRD, "arca.vm.kernel-arguments": "arca.hostile=" + wish}
    return ENGINE.json("POST", "/containers/create", {"Image": "busybox", "Cmd": list(command), "HostConfig": host})["Id"]


def post(path, timeout=150, body=None):
    """(status, message, seconds)"""
    begin = time.monotonic()
    status, _, data = ENGINE.http("POST", path, body, timeout=timeout)
    try:
        message = json.loads(data)["message"] if data else ""
    except ValueError:
        message = data.decode("utf-8", "replace")
    return status, message, time.monotonic() - begin


def state(cid):
    return ENGINE.json("GET", "/containers/%s/json" % cid)["State"]


def exited(cid, seconds):
    return wait_for(lambda: (lambda s: s if s["Status"] == "exited" else None)(state(cid)), seconds, "the end of a container")


def dies(cid, since):
    _, _, events = ENGINE.http("GET", "/events?since=%f&until=%f&filters=%s" % (
        since, time.time(), json.dumps({"event": ["die"], "container": [cid]}).replace(" ", "")))
    return [json.loads(line)["Actor"]["Attributes"]["exitCode"] for line in events.decode().splitlines()]


def remove(cid):
    begin = time.monotonic()
    status, _, body = ENGINE.http("DELETE", "/containers/%s?force=1" % cid, timeout=60)
    assert status == 204, (status, body)
    assert time.monotonic() - begin < 10 + SLACK, "rm -f took %.1f s" % (time.monotonic() - begin)


class later(threading.Thread):
    """A request that somebody waits for."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.value = call, None
        self.start()

    def run(self):
        self.value = self.call()

    def get(self, seconds):
        self.join(seconds)
        assert not self.is_alive(), "no answer after %d s" % seconds
        return self.value


def hit(cid, program, number):
    pid = wait_for(lambda: pid_of(cid, program), 10, program)
    os.kill(pid, number)


# -- the cases
def at_a_step(wish, program, number, seconds, words):
    """A start that is held at a step: it fails within `seconds` of the fault, with a reason."""
    network = "bridge" if wish.startswith("ConfigureInterface") else "none"
    cid = create(wish, network=network)
    start = later(lambda: post("/containers/%s/start" % cid))
    wait_for(lambda: is_asked(cid), 90, "the step")
    begin = time.monotonic()
    hit(cid, program, number)
    status, message, _ = start.get(seconds + SLACK)
    took = time.monotonic() - begin
    assert status >= 500 and re.search(words, message), (status, message)
    assert took < seconds + SLACK, took
    now = state(cid)
    assert now["Status"] == "created" and now["ExitCode"] == 128 and now["Error"], now
    remove(cid)


def while_it_boots(number, seconds, words):
    cid = create()
    start = later(lambda: post("/containers/%s/start" % cid))
    hit(cid, "qemu", number)
    status, message, _ = start.get(seconds + SLACK)
    assert status >= 500 and re.search(words, message), (status, message)
    remove(cid)


def while_it_waits_for_its_turn():
    """Two machines that never boot have the places; one of them is killed, and the third gets its turn."""
    stuck = [create("line:never") for _ in range(os.cpu_count())]
    starts = [later(lambda c=c: post("/containers/%s/start" % c)) for c in stuck]
    for cid in stuck:
        wait_for(lambda: is_asked(cid), 90, "the guest")
    third = create()
    start = later(lambda: post("/containers/%s/start" % third))
    time.sleep(2)
    assert record_of(third) is None and start.is_alive(), "it did not wait"
    assert state(third)["Status"] == "created", state(third)
    for cid in stuck:
        hit(cid, "qemu", KILL)
    assert start.get(60)[0] == 204
    assert ENGINE.json("GET", "/containers/%s/json" % third)["Machine"]["Stages"]["queue"] > 1500
    for each in starts:
        assert each.get(20 + SLACK)[0] >= 500
    for cid in stuck + [third]:
        remove(cid)


def while_it_runs(program, number, seconds, words, **host):
    since = time.time()
    cid = create(**host)
    assert post("/containers/%s/start" % cid)[0] == 204
    begin = time.monotonic()
    hit(cid, program, number)
    now = exited(cid, seconds)
    assert time.monotonic() - begin < seconds + SLACK
    assert now["ExitCode"] == 137 and re.search(words, now["Error"]), now
    wait_for(lambda: dies(cid, since), what="the event")
    assert dies(cid, since) == ["137"], dies(cid, since)
    remove(cid)


def stopped_while_it_runs(program):
    """Nothing can tell a stopped QEMU from a slow one; a stop ends it, and the rest of the daemon answers."""
    cid = create()
    assert post("/containers/%s/start" % cid)[0] == 204
    hit(cid, program, STOP)
    begin = time.monotonic()
    assert post("/containers/%s/stop?t=1" % cid, timeout=60)[0] == 204
    assert time.monotonic() - begin < 8 + SLACK, time.monotonic() - begin
    now = state(cid)
    assert now["Status"] == "exited" and now["ExitCode"] == 137, now
    remove(cid)


def policy_acts():
    cid = create(RestartPolicy={"Name": "on-failure", "MaximumRetryCount": 1})
    assert post("/containers/%s/start" % cid)[0] == 204
    first = pid_of(cid, "qemu")
    os.kill(first, KILL)

    def again():
        info = ENGINE.json("GET", "/containers/%s/json" % cid)
        return info["RestartCount"] == 1 and info["State"]["Running"]
    wait_for(again, 150, "the restart")
    assert pid_of(cid, "qemu") not in (None, first)
    hit(cid, "qemu", KILL)
    assert exited(cid, 10)["ExitCode"] == 137
    remove(cid)


def during_an_exec(program, number, seconds):
    cid = create()
    assert post("/containers/%s/start" % cid)[0] == 204
    x = ENGINE.json("POST", "/containers/%s/exec" % cid, {"Cmd": ["sleep", "1000"], "AttachStdout": True})["Id"]
    client = later(lambda: post("/exec/%s/start" % x, body={}))
    wait_for(lambda: ENGINE.json("GET", "/exec/%s/json" % x)["Running"], 20, "the exec")
    hit(cid, program, number)
    if number == STOP:
        remove(cid)
        client.get(seconds + SLACK)
        return
    client.get(seconds + SLACK)
    assert exited(cid, seconds)["ExitCode"] == 137
    remove(cid)


def during_a_stop(number):
    cid = create("Signal:never")
    assert post("/containers/%s/start" % cid)[0] == 204
    stop = later(lambda: post("/containers/%s/stop?t=5" % cid))
    wait_for(lambda: is_asked(cid), 20, "the signal")
    begin = time.monotonic()
    hit(cid, "qemu", number)
    assert stop.get(15 + SLACK)[0] == 204
    took = time.monotonic() - begin
    assert took < (3 if number == KILL else 12) + SLACK, took
    assert state(cid)["ExitCode"] == 137, state(cid)
    remove(cid)


def guest_panics(trigger):
    """Also a guest that restarts or powers off: whoever may do that in a container has only its own machine."""
    since = time.time()
    cid = create(Privileged=True)
    assert post("/containers/%s/start" % cid)[0] == 204
    x = ENGINE.json("POST", "/containers/%s/exec" % cid, {"Cmd": ["sh", "-c", "echo %s > /proc/sysrq-trigger" % trigger]})["Id"]
    client = later(lambda: post("/exec/%s/start" % x, body={}))
    now = exited(cid, 20)
    client.get(10 + SLACK)
    assert now["ExitCode"] == 137 and UNEXPECTED in now["Error"], now
    wait_for(lambda: dies(cid, since), what="the event")
    assert dies(cid, since) == ["137"]
    remove(cid)


def agent_exits(call):
    cid = create(call + ":close")
    status, message, _ = post("/containers/%s/start" % cid)
    if call != "Started":
        assert status >= 500 and re.search(CLOSED, message), (status, message)
        return remove(cid)
    x = ENGINE.json("POST", "/containers/%s/exec" % cid, {"Cmd": ["true"]})["Id"]
    post("/exec/%s/start" % x, body={})
    assert exited(cid, 10)["ExitCode"] == 137
    remove(cid)


CASES = [
    ("it waits for its turn", while_it_waits_for_its_turn),
    ("boot: killed", while_it_boots, KILL, 5, CLOSED),
    ("boot: stopped", while_it_boots, STOP, 70, SILENT),
    ("handshake: killed", at_a_step, "line:never", "qemu", KILL, 5, CLOSED),
    ("handshake: stopped", at_a_step, "line:never", "qemu", STOP, 70, SILENT),
    ("hello: killed", at_a_step, "Hello:never", "qemu", KILL, 5, CLOSED),
    ("hello: stopped", at_a_step, "Hello:never", "qemu", STOP, 70, SILENT),
    ("configure: killed", at_a_step, "Configure:never", "qemu", KILL, 5, CLOSED),
    ("configure: stopped", at_a_step, "Configure:never", "qemu", STOP, 25, SILENT),
    ("NIC: killed", at_a_step, "ConfigureInterface:never", "qemu", KILL, 5, CLOSED),
    ("NIC: stopped", at_a_step, "ConfigureInterface:never", "qemu", STOP, 30, SILENT),
    ("share: killed", at_a_step, "Mount:never", "qemu", KILL, 5, CLOSED),
    ("share: stopped", at_a_step, "Mount:never", "qemu", STOP, 30, SILENT),
    ("share: its server killed", at_a_step, "Mount:never", "virtiofsd", KILL, 5, CLOSED),
    ("share: its server stopped", at_a_step, "Mount:never", "virtiofsd", STOP, 30, SILENT),
    ("create: killed", at_a_step, "CreateContainer:never", "qemu", KILL, 5, CLOSED),
    ("create: stopped", at_a_step, "CreateContainer:never", "qemu", STOP, 70, SILENT),
    ("create: a server killed", at_a_step, "CreateContainer:never", "virtiofsd", KILL, 5, CLOSED),
    ("runs: killed", while_it_runs, "qemu", KILL, 5, UNEXPECTED),
    ("runs: crashes", while_it_runs, "qemu", signal.SIGSEGV, 5, UNEXPECTED),
    ("runs: stopped", stopped_while_it_runs, "qemu"),
    ("runs: a server killed", while_it_runs, "virtiofsd", KILL, 5, UNEXPECTED),
    ("runs: a server stopped", stopped_while_it_runs, "virtiofsd"),
    ("runs: killed, the policy acts", policy_acts),
    ("exec: killed", during_an_exec, "qemu", KILL, 8),
    ("exec: stopped", during_an_exec, "qemu", STOP, 10),
    ("exec: a server killed", during_an_exec, "virtiofsd", KILL, 8),
    ("stop: killed", during_a_stop, KILL),
    ("stop: stopped", during_a_stop, STOP),
    ("the guest panics", guest_panics, "c"),
    ("the guest restarts", guest_panics, "b"),
    ("the guest powers off", guest_panics, "o"),
    ("the agent exits: configure", agent_exits, "Configure"),
    ("the agent exits: create", agent_exits, "CreateContainer"),
    ("the agent exits: exec", agent_exits, "Started"),
]
QUICK = {"boot: killed", "configure: killed", "share: its server killed", "runs: a server killed", "runs: stopped",
         "runs: killed, the policy acts", "the guest panics", "the agent exits: create"}
# These keep a place of the boot queue for a minute.
LONG = {"boot: stopped", "handshake: stopped", "hello: stopped"}


class Faults(unittest.TestCase):
    def run_cases(self, cases, at_a_time=3):
        failed = []

        def one(case):
            try:
                case[1](*case[2:])
            except Exception as problem:  # noqa: BLE001
                failed.append("%s: %r" % (case[0], problem))
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(one, cases))
        self.assertEqual(failed, [], "\n" + "\n".join(failed) + "\n" + ENGINE.log()[-3000:])
        ENGINE.remove_everything()
        nothing_stays(ENGINE)

    def test_1_quick(self):
        self.run_cases([c for c in CASES if c[0] in QUICK])

    if ALL:
        def test_2_the_queue(self):
            self.run_cases(CASES[:1])

        def test_3_the_others(self):
            self.run_cases([c for c in CASES[1:] if c[0] not in QUICK | LONG])

        def test_4_places_of_the_queue(self):
            self.run_cases([c for c in CASES if c[0] in LONG], at_a_time=min(3, os.cpu_count()))


class Pods(unittest.TestCase):
    def test_the_daemon_is_killed_while_a_member_leaves(self):
        """QEMU has let go of the member's files and their server has ended: the others live, what it had is free."""
        donor = create()
        self.assertEqual(post("/containers/%s/start" % donor)[0], 204)
        plugged = lambda: record_of(donor)["devices"]["plugged"]  # noqa: E731
        before = plugged()
        for passing in (1, 2):  # its root, its other files
            ENGINE.kill9()
            ENGINE.env["ARCA_FAILPOINT"] = "device-unplugged:%d" % passing
            try:
                ENGINE.start()
                member = create(network="container:" + donor, Binds=[ENGINE.dir + ":/host"])
                self.assertEqual(post("/containers/%s/start" % member)[0], 204)
                self.assertEqual(len(plugged()), len(before) + 2)
                try:
                    post("/containers/%s/kill" % member)
                except OSError:
                    pass  # the daemon was quicker
                ENGINE.process.wait(60)
            finally:
                del ENGINE.env["ARCA_FAILPOINT"]
            ENGINE.start()
            wait_for(lambda: plugged() == before, 20, "the member's devices to go: %s" % plugged())
            self.assertEqual(exited(member, 10)["ExitCode"], 137)
            self.assertEqual(state(donor)["Status"], "running")
            remove(member)
        self.assertEqual([p["name"] for p in record_of(donor)["processes"] if p["owner"] not in ("", donor)], [])
        remove(donor)


# -- programs that are not what they should be
def script(e, name, text):
    path = "%s/%s" % (e.dir, name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    os.chmod(e.dir, 0o755)  # QEMU has a user of its own
    return path


PROGRAMS = (
    # the case, qemu-path as a script (None: a path to nothing), words of the error, seconds
    ("missing", None, r"virtual machines need /nosuch/qemu: install the package qemu-system-x86", 2),
    ("ends at once", "echo boom >&2; exit 1\n", r"boom", 5),
    ("crashes", "kill -SEGV $$\n", CLOSED, 5),
    ("is no QEMU", "exec cat\n", CLOSED + "|no JSON", 5),
)


class Programs(unittest.TestCase):
    def start(self, e):
        cid = e.json("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}})["Id"]
        begin = time.monotonic()
        status, _, body = e.http("POST", "/containers/%s/start" % cid, timeout=150)
        return status, body.decode(), time.monotonic() - begin

    def test_qemu(self):
        for name, text, words, seconds in PROGRAMS:
            with self.subTest(name):
                e = Engine(config={"default-runtime": "vm", "vm-accelerator": "tcg", "qemu-path": "/nosuch/qemu"})
                if text:
                    e.config["qemu-path"] = script(e, "qemu-system-x86_64", text)
                with e:
                    e.docker("load", "-i", ENGINE.dir + "/busybox.tar")
                    status, message, took = self.start(e)
                    self.assertGreaterEqual(status, 500)
                    self.assertRegex(message, words)
                    self.assertLess(took, seconds + SLACK)
                    e.docker("run", "--rm", "--runtime", "namespace", "busybox", "true")
                    e.remove_everything()
                    nothing_stays(e)

    def test_virtiofsd(self):
        path = next(p for p in ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd") if os.path.exists(p))
        for name, text, words in (("ends at once", 'case "$*" in *--version*) exec REAL --version;; esac; exit 1\n', CLOSED),
                                  ("cannot be run", "", r"virtual machines need virtiofsd: install|virtiofsd: execute: Permission denied")):
            with self.subTest(name), Engine(config={"default-runtime": "vm", "vm-accelerator": "tcg"}) as e:
                e.docker("load", "-i", ENGINE.dir + "/busybox.tar")
                subprocess.run(["cp", path, e.dir + "/real"], check=True)
                fake = script(e, "virtiofsd", text.replace("REAL", e.dir + "/real"))
                os.chmod(fake, 0o755 if text else 0o644)
                for known in ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"):
                    if os.path.exists(known):
                        subprocess.run([LAB, "run", e.name, "mount", "--bind", fake, known], check=True)
                status, message, took = self.start(e)
                self.assertGreaterEqual(status, 500)
                self.assertRegex(message, words)
                self.assertLess(took, 30 + SLACK)
                e.remove_everything()
                nothing_stays(e)

    def test_a_kvm_that_hangs_keeps_nobody_waiting(self):
        e = Engine(config={"default-runtime": "vm"})
        e.config["qemu-path"] = script(
            e, "qemu-system-x86_64", 'case " $* " in *" -accel kvm "*) exec sleep 1000;; esac\nexec %s "$@"\n' % QEMU)
        with e:
            e.docker("load", "-i", ENGINE.dir + "/busybox.tar")
            e.docker("run", "--rm", "--network", "none", "busybox", "true")
            facts = dict(e.json("GET", "/info")["DriverStatus"])
            self.assertIn("TCG", facts["Acceleration"])
            if os.access("/dev/kvm", os.R_OK | os.W_OK):
                self.assertRegex(facts["Acceleration"], r"no KVM|cannot boot a guest")
            e.remove_everything()
            nothing_stays(e)


if __name__ == "__main__":
    main()
