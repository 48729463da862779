#!/usr/bin/env python3
"""Hostile agents: whatever one says, the daemon stays bounded, its container ends in a clear error or
can be killed and removed, and its neighbour does not notice.

One line per wish (guest/testing/hostile/wish.hpp). Most run in namespace machines, where the same client code hears the
same words; a few in virtual machines. ARCA_HOSTILE=all (tests/run vm-full) adds the others, and those that wait for a
deadline of a minute.
"""
import os
import re
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import BIN, SANITIZED, main, wait_for  # noqa: E402
from hostile import NEIGHBOUR, World  # noqa: E402

ALL = os.environ.get("ARCA_HOSTILE") == "all" or os.environ.get("ARCA_RUNTIME") == "vm"
WORLD = None


# -- what is looked at while the machine runs
def nothing(w, cid):
    time.sleep(0.3)


def a_while(w, cid):
    time.sleep(1)


def exec_fails(words):
    def look(w, cid):
        out, state = w.exec(cid)
        assert re.search(words, out), out
        assert not state["Running"], state
    return look


def exec_works(w, cid):
    out, state = w.exec(cid)
    assert state["ExitCode"] == 0 and state["Pid"] >= 0, (out, state)


def exec_hangs(w, cid):
    x = w.e.json("POST", "/containers/%s/exec" % cid, {"Cmd": ["true"], "AttachStdout": True})["Id"]
    thread = threading.Thread(target=lambda: w.e.http("POST", "/exec/%s/start" % x, {}, timeout=60))
    thread.start()
    time.sleep(0.5)
    w.remove(cid)
    thread.join(10)
    assert not thread.is_alive(), "the exec outlives its container"


def top_fails(words):
    def look(w, cid):
        status, _, body = w.e.http("GET", "/containers/%s/top" % cid)
        assert status >= 500 and re.search(words, body.decode()), (status, body)
    return look


def top_shows_one(w, cid):
    assert len(w.e.json("GET", "/containers/%s/top" % cid)["Processes"]) == 1


def stop_works(w, cid):
    begin = time.monotonic()
    assert w.e.http("POST", "/containers/%s/stop?t=1" % cid)[0] == 204
    assert time.monotonic() - begin < 20, time.monotonic() - begin
    assert w.ended(cid)["ExitCode"] in (137, 143), w.state(cid)  # 143: it was told of the end


def kill_fails(words):
    def look(w, cid):
        status, _, body = w.e.http("POST", "/containers/%s/kill?signal=TERM" % cid)
        assert status == 500 and re.search(words, body.decode()), (status, body)
    return look


def update_fails(words):
    def look(w, cid):
        status, _, body = w.e.http("POST", "/containers/%s/update" % cid, {"Memory": 64 << 20, "MemorySwap": 64 << 20})
        assert status == 500 and re.search(words, body.decode()), (status, body)
    return look


def times_are_possible(w, cid):
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
    s = w.state(cid)
    assert "2026" <= s["StartedAt"] <= now and s["Pid"] >= 0, s
    if s["Status"] == "exited":
        assert s["StartedAt"] <= s["FinishedAt"] <= now, s


def few_ooms(w, cid):
    since = time.time()
    time.sleep(2)
    _, _, events = w.e.http("GET", "/events?since=%f&until=%f&filters={\"event\":[\"oom\"]}" % (since, time.time()))
    assert 0 < events.count(b'"oom"') < 1000, events.count(b'"oom"')


def log_is_bounded(w, cid):
    time.sleep(2)
    folder = "%s/containers/%s" % (w.e.data, cid)
    size = 0
    for name in os.listdir(folder):
        try:
            size += os.stat(os.path.join(folder, name)).st_size if ".log" in name else 0
        except FileNotFoundError:
            pass  # it was rotated
    assert size < 4 << 20, size


def logs_answer(w, cid):
    status, _, out = w.e.http("GET", "/containers/%s/logs?stdout=1&timestamps=1" % cid)
    assert status == 200 and len(out) < 8 << 20, (status, len(out))


def memory_of_a_reader_that_stalls(w, cid):
    """docker attach whose client does not read."""
    import socket
    s = socket.socket(socket.AF_UNIX)
    s.connect(w.e.sock)
    s.sendall(b"POST /containers/%s/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" % cid.encode())
    time.sleep(2)
    s.close()


SMALL_LOG = {"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}}}
WITH_NETWORK = {"network": "bridge"}
GONE = r"agent has gone|larger than max"  # the latter where nothing guards gRPC: sanitizers

# wish, words of the start's error (quiet ones: many at a time)
REFUSED = (
    ("ready:exit", r"ended at once"),
    ("ready:wrong", r"ended at once"),
    ("ready:endless", r"ended at once"),
    ("Hello:version", r"the machine's agent speaks protocol 77, not 1"),
    ("Hello:error", r"hostile"),
    ("Hello:close", GONE),
    ("Configure:error", r"during container init: hostile"),
    ("Configure:close", r"agent has gone|Connection refused"),
    ("fd:refuse", r"refused a descriptor"),
    ("fd:never", r"does not answer"),
    ("CreateContainer:error", r"hostile"),
    ("CreateContainer:close", GONE),
    ("ConfigureInterface:error", r"failed to set up container networking: hostile", WITH_NETWORK),
    # The root is handed over beside it: whichever of the two hears first of the agent's end tells it.
    ("ConfigureInterface:close", GONE, WITH_NETWORK),
    ("ConfigureInterface:never", r"does not answer", WITH_NETWORK),
    ("wire:garbage", GONE),
    ("wire:close=0", GONE),
    ("wire:close=60", GONE),
)
# Each alone, because of their memory.
REFUSED_HUGE = (
    ("Hello:huge", GONE),
    ("CreateContainer:huge", GONE),
    ("CreateContainer:bomb", GONE),
)
# wish, what is looked at; then the machine is removed
RUNS = (
    ("Hello:numbers", nothing),
    ("Hello:many", nothing),
    ("CreateContainer:numbers", times_are_possible),
    ("CreateContainer:future", times_are_possible),
    ("Signal:never", stop_works),
    ("Signal:lie", stop_works),
    ("Signal:error", kill_fails(r"hostile")),
    ("Signal:close", stop_works),
    ("Exec:never", exec_hangs),
    ("Exec:error", exec_fails(rb"hostile")),
    ("Exec:numbers", exec_works),
    ("Exec:late", exec_works),
    ("Acknowledge:never", exec_works),
    ("Acknowledge:error", exec_works),
    ("Processes:negative", top_shows_one),
    ("Processes:many", top_fails(r"more processes than there can be")),
    ("Processes:never", top_fails(r"does not answer")),
    ("UpdateResources:error", update_fails(r"hostile")),
    ("Events:twice", exec_works),
    ("stdio:backwards", nothing),
    ("stdio:greatest", nothing),
    ("stdio:stream", nothing),
    ("stdio:daemons", nothing),
    ("stdio:garbage", nothing),
    ("stdio:half", nothing),
    ("stdio:end-early", nothing),
    ("stdio:closes", nothing),
    ("stdio:no-end", stop_works),
    ("stdio:times", logs_answer),
    ("stdio:credit", nothing),
    ("stdio:unread", exec_works),
)
# wish, exit code, words of State.Error
ENDS = (
    ("CreateContainer:ended", 3, r"^$"),
    ("Events:early", 5, r"^$"),
    ("Events:past", 255, r"^$"),
    ("Events:future", 255, r"^$"),
    ("Events:end", 137, r"the machine's agent ended unexpectedly"),
    ("Events:abort", 137, r"the machine's agent ended unexpectedly"),
    ("Events:close", 137, r"the machine's agent ended unexpectedly"),
)
# One at a time: they talk as fast as they can.
FLOODS = (
    ("Events:endless", a_while, {}),
    ("Events:others=NEIGHBOUR", a_while, {}),
    ("Events:oom", few_ooms, {}),
    ("Events:large", a_while, {}),
    ("stdio:giant", a_while, {}),
    ("stdio:unknown", a_while, {}),
    ("stdio:lost", a_while, {}),
    ("stdio:endless", log_is_bounded, SMALL_LOG),
    ("stdio:tiny", log_is_bounded, SMALL_LOG),
    ("stdio:endless", memory_of_a_reader_that_stalls, SMALL_LOG),
    ("Exec:huge", exec_fails(rb"gone|larger than max"), {}),
    ("Processes:huge", top_fails(GONE), {}),
)
# Somewhere in a start or behind it the connection breaks. It ends, either way.
BROKEN = ["wire:double", "wire:flip", "wire:slow=0", "wire:deaf=0"] + ["wire:close=%d" % n for n in (120, 180, 240, 300, 400, 600)]
PINGS = ("wire:pings", "wire:settings")
# Deadlines of a minute, all at the same time.
SLOW = (
    ("ready:never", r"did not become ready in time"),
    ("Hello:never", r"does not answer"),
    ("CreateContainer:never", r"does not answer"),
    ("wire:deaf", r"does not answer"),
)


# Not in CI: they wait for seconds, or say what another one says.
LATER = {"ConfigureInterface:never", "fd:never", "Processes:never", "Exec:late", "Hello:huge", "Events:others=NEIGHBOUR", "stdio:giant",
         "stdio:unknown", "stdio:lost", "Processes:huge", "wire:deaf=0", "wire:slow=0", "wire:close=180", "wire:close=240", "wire:close=300",
         "wire:close=600", "wire:settings"}


def now(cases):
    return [c for c in cases if ALL or (c if isinstance(c, str) else c[0]) not in LATER]


class Hostile(unittest.TestCase):
    RUNTIME = None

    @classmethod
    def setUpClass(cls):
        global WORLD
        WORLD = World(cls.RUNTIME)

    @classmethod
    def tearDownClass(cls):
        WORLD.close()

    def tearDown(self):
        self.assertEqual(WORLD.state(NEIGHBOUR)["Status"], "running")
        WORLD.quiet(self.id())

    def many(self, cases, one, at_a_time=12):
        failed = []

        def run(case):
            begin = time.monotonic()
            try:
                one(case)
                if os.environ.get("ARCA_TIMES"):
                    print("%6.2f %s" % (time.monotonic() - begin, case[0] if isinstance(case, tuple) else case), flush=True)
            except Exception as problem:  # noqa: BLE001
                failed.append("%s: %r" % (case[0] if isinstance(case, tuple) else case, problem))
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(run, cases))
        self.assertEqual(failed, [])

    def refused(self, case, seconds=40):
        wish, words, *more = case
        cid = WORLD.create(wish, **(more[0] if more else {}))
        status, message, took = WORLD.start(cid, wish)
        assert status >= 500 and re.search(words, message), (status, message)
        assert "\x1b" not in message and len(message) < 8000 and took < seconds, (message, took)
        WORLD.remove(cid)

    def runs(self, case):
        wish, look, *more = case
        wish = wish.replace("NEIGHBOUR", WORLD.e.json("GET", "/containers/neighbour/json")["Id"])
        cid = WORLD.create(wish, **(more[0] if more else {}))
        status, message, _ = WORLD.start(cid, wish)
        assert status == 204, (status, message)
        look(WORLD, cid)
        if look is exec_hangs:
            return  # it has seen to that
        if not wish.startswith(("Signal", "Events", "wire", "stdio:no-end")):
            WORLD.e.http("POST", "/containers/%s/kill?signal=TERM" % cid)  # the quick end
        WORLD.remove(cid)

    def ends(self, case):
        wish, code, words = case
        cid = WORLD.create(wish)
        status, message, _ = WORLD.start(cid, wish)
        assert status == 204, (status, message)
        state = WORLD.ended(cid)
        assert state["ExitCode"] == code and re.search(words, state["Error"]), state
        times_are_possible(WORLD, cid)
        WORLD.remove(cid)

    def broken(self, wish):
        cid = WORLD.create(wish)
        status, message, took = WORLD.start(cid, wish)
        assert status == 204 or status >= 500 and message, (status, message)
        assert took < 70, took
        end = time.monotonic() + 20
        while status == 204 and WORLD.state(cid)["Status"] == "running" and wish.startswith("wire:close"):
            try:
                WORLD.exec(cid)  # until so many bytes have passed
            except AssertionError:
                pass  # it has ended meanwhile
            assert time.monotonic() < end, WORLD.state(cid)
        WORLD.remove(cid)


class Namespace(Hostile):
    RUNTIME = "namespace"

    def test_a_start_that_is_refused(self):
        self.many(now(REFUSED), self.refused)

    @unittest.skipIf(SANITIZED, "the guard of gRPC's reads is not there")
    def test_huge_answers_to_a_start(self):
        for case in now(REFUSED_HUGE):
            with self.subTest(case[0]):
                self.refused(case)
                WORLD.quiet(case[0])

    def test_calls(self):
        self.many(now(RUNS), self.runs)

    def test_an_end_that_is_told(self):
        self.many(ENDS, self.ends)

    def test_floods(self):
        for case in now(FLOODS):
            with self.subTest(case[0]):
                self.runs(case)
                WORLD.quiet(case[0])

    def test_a_connection_that_breaks(self):
        self.many(now(BROKEN), self.broken)

    def test_floods_below_the_calls(self):
        for wish in now(PINGS):
            with self.subTest(wish):
                cid = WORLD.create(wish)
                thread = threading.Thread(target=lambda: WORLD.start(cid, wish))
                thread.start()

                def hostile():
                    found = []
                    for pid in WORLD.e.agents():
                        try:
                            if os.readlink("/proc/%d/exe" % pid).endswith("arca-hostile-guest"):
                                found.append(pid)
                        except OSError:
                            pass  # it has ended
                    return found
                wait_for(lambda: hostile() or not thread.is_alive(), 60, "the agent")
                time.sleep(1.5)
                WORLD.quiet(wish)

                def over():  # the deadline of a start is a minute: no need to wait for it
                    for pid in hostile():
                        try:
                            os.kill(pid, 9)
                        except ProcessLookupError:
                            pass
                    return not thread.is_alive()
                wait_for(over, 60, "the start to be given up")
                WORLD.remove(cid)

    def test_a_later_daemon(self):
        """What an agent tells a daemon that comes back: its container ends, or is as the row says."""
        w, made = WORLD, {}
        for wish in ("Hello:numbers", "Hello:many", "Hello:second", "stdio:endless"):
            made[wish] = w.create(wish, **SMALL_LOG)
            assert w.start(made[wish], wish)[0] == 204
        before = {wish: w.state(cid) for wish, cid in made.items()}
        w.neighbour.end()
        w.e.kill9()
        begin = time.monotonic()
        w.e.start()
        self.assertLess(time.monotonic() - begin, 30)
        w.watch()
        w.neighbour.start()
        for wish, words in (("Hello:many", r"more processes than it can have"), ("Hello:second", r"does not answer")):
            state = w.ended(made[wish])
            self.assertEqual(state["ExitCode"], 137)
            self.assertRegex(state["Error"], words)
        for wish in ("Hello:numbers", "stdio:endless"):
            state = w.state(made[wish])
            self.assertEqual((state["Status"], state["StartedAt"]), ("running", before[wish]["StartedAt"]))
            self.assertGreaterEqual(state["Pid"], 0)
        for cid in made.values():
            w.remove(cid)

    if ALL:  # a minute
        def test_deadlines(self):
            self.many(SLOW, lambda case: self.refused(case, seconds=75), at_a_time=len(SLOW))

    @classmethod
    def tearDownClass(cls):
        """Of all that was hostile nothing is left, not even work."""
        try:
            WORLD.neighbour.end()
            wait_for(lambda: len(WORLD.e.agents()) == 1, 20, "the hostile agents to be gone")
            wait_for(lambda: len(os.listdir(WORLD.e.run + "/machines")) == 1, 5, "their folders to be gone")
            def at_rest():
                before, begin = WORLD.cpu_seconds(), time.monotonic()
                time.sleep(1)
                return WORLD.cpu_seconds() - before < 0.3 * (time.monotonic() - begin)
            wait_for(at_rest, 60, "the daemon to come to rest")
        finally:
            super().tearDownClass()


# In a virtual machine: wish, words of the start's error
VM_REFUSED = (
    ("Hello:version", r"the machine's agent speaks protocol 77, not 1"),
    ("Mount:error", r"hostile"),
    ("Mount:never", r"does not answer"),
    ("CreateContainer:error", r"hostile"),
    ("CreateContainer:huge", GONE),
)
VM_SLOW = (
    ("line:never", r"does not answer"),
    ("line:half", r"does not answer"),
    ("line:endless", r"does not answer"),
    ("Hello:never", r"does not answer"),
    ("wire:garbage", r"does not answer|" + GONE),
)


def console_is_bounded(w, cid):
    machine = w.e.json("GET", "/containers/%s/json" % cid)["Machine"]["Id"]
    log = "%s/vm/%s/console.log" % (w.e.run, machine)
    wait_for(lambda: os.stat(log).st_size > 100_000, 10, "the flood")
    largest, end = 0, time.monotonic() + 4
    while time.monotonic() < end:
        largest = max(largest, os.stat(log).st_size)
        time.sleep(0.02)
    assert largest < 16 << 20, largest


def dialled(words=None):
    """What comes of a connection that leads inside: the words of its refusal, or nothing for a while."""
    def look(w, cid):
        with subprocess.Popen([BIN + "/arca", "machine", "dial", "--socket-path", w.e.sock, cid, "tcp:127.0.0.1:1"], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as client:
            try:
                client.wait(60 if words else 2)
            except subprocess.TimeoutExpired:
                client.kill()
                assert not words, "still there"
            told = client.stderr.read().decode()
            assert not words or (client.returncode != 0 and re.search(words, told)), (client.returncode, told)
    return look


VM_RUNS = (
    ("console:flood", console_is_bounded, {}),
    ("Events:endless", a_while, {}),
    ("stdio:endless", log_is_bounded, SMALL_LOG),
    ("stdio:tiny", log_is_bounded, SMALL_LOG),
    ("Open:never", a_while, {}),
    ("Open:giant", a_while, {}),
    ("Open:nonsense", a_while, {}),
    ("Open:empty", a_while, {}),
    ("Open:end", a_while, {}),
    ("Tunnel:early", dialled(r"something else than a tunnel's data"), {}),
    ("Tunnel:target", dialled(r"something else than a tunnel's data"), {}),
    ("Tunnel:never", dialled(r"does not answer"), {}),
    ("Tunnel:giant", dialled(), {}),
    ("Tunnel:after-end", dialled(), {}),
    ("Tunnel:empty", dialled(), {}),
    ("Tunnel:twice", dialled(), {}),
    ("Signal:never", stop_works, {}),
    ("Signal:lie", stop_works, {}),
    ("Hello:first", exec_works, {}),
    ("Started:numbers", exec_works, {}),
    ("Started:twice", exec_works, {}),
    ("Started:late", exec_works, {}),
    ("Started:error", exec_fails(rb"hostile"), {}),
    ("Started:end", exec_fails(rb"cancelled"), {}),
    ("Started:short", exec_fails(rb"does not say that the process has started"), {}),
    ("Started:long", a_while, {}),
    ("Started:other", exec_fails(rb"does not say that the process has started"), {}),
    ("Started:close", a_while, {}),
    ("Started:never", exec_hangs, {}),
    ("CreateContainer:future", times_are_possible, {}),
    ("wire:close=600", a_while, {}),
)
VM_ENDS = (
    ("Events:future", 255, r"^$"),
    ("Events:end", 137, r"the machine's agent ended unexpectedly"),
)


class VirtualMachine(Hostile):
    """The same through a real port, a real tunnel, and QEMU."""
    RUNTIME = "vm"

    @classmethod
    def setUpClass(cls):
        if SANITIZED:
            raise unittest.SkipTest("the limits are those of a Release build")
        super().setUpClass()

    def test_a_start_that_is_refused(self):
        self.many(VM_REFUSED if ALL else VM_REFUSED[:1], lambda case: self.refused(case, seconds=60), at_a_time=2)

    def test_runs(self):
        for case in VM_RUNS if ALL else VM_RUNS[:2]:
            with self.subTest(case[0]):
                self.runs(case)
                WORLD.quiet(case[0])

    if ALL:
        def test_an_end_that_is_told(self):
            self.many(VM_ENDS, self.ends, at_a_time=2)

        def test_deadlines(self):
            self.many(VM_SLOW, lambda case: self.refused(case, seconds=200), at_a_time=2)


if __name__ == "__main__":
    main()
