#!/usr/bin/env python3
"""Load and bad neighbours: 200 containers by 16 clients in three rounds leave nothing; a frozen agent slows nobody else."""
import os
import signal
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import RUNTIME, SANITIZED, Engine, busybox_archive, wait_for  # noqa: E402

CONTAINERS = int(os.environ.get("ARCA_LOAD_CONTAINERS", "200"))
CLIENTS = 16
EXECS = 40 if SANITIZED else 500  # a p99 of fewer is one unlucky moment


class Load(unittest.TestCase):
    def setUp(self):
        self.e = Engine()
        self.e.__enter__()
        self.e.docker("load", "-i", busybox_archive(self.e.dir + "/busybox.tar"))

    def tearDown(self):
        self.e.close()

    def one(self, n):
        e = self.e
        body = {"Image": "busybox", "Cmd": ["sh", "-c", "echo out %d; sleep 300" % n],
                "HostConfig": {"NetworkMode": "none" if n % 2 else "bridge"}}
        cid = e.json("POST", "/containers/create", body)["Id"]
        e.json("POST", "/containers/%s/start" % cid)
        x = e.json("POST", "/containers/%s/exec" % cid, {"Cmd": ["true"], "AttachStdout": True})["Id"]
        status, _, _ = e.http("POST", "/exec/%s/start" % x, {})
        assert status == 200, status
        assert e.json("GET", "/exec/%s/json" % x)["ExitCode"] == 0
        expected = b"out %d\n" % n
        wait_for(lambda: e.http("GET", "/containers/%s/logs?stdout=1" % cid)[2][8:] == expected, 10, "the output of %d" % n)
        e.json("POST", "/containers/%s/kill" % cid)
        assert e.json("POST", "/containers/%s/wait" % cid)["StatusCode"] == 137
        _, _, logs = e.http("GET", "/containers/%s/logs?stdout=1" % cid)
        assert logs[8:] == expected, logs
        e.json("DELETE", "/containers/%s" % cid)

    def round(self):
        errors, numbers, lock = [], iter(range(CONTAINERS)), threading.Lock()

        def client():
            while True:
                with lock:
                    n = next(numbers, None)
                if n is None:
                    return
                try:
                    self.one(n)
                except Exception as problem:  # noqa: BLE001
                    errors.append("%d: %r" % (n, problem))
        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(errors, [])

    def counts(self):
        wait_for(lambda: not self.e.leftovers_of_containers(), 20, "teardown: %s" % self.e.leftovers_of_containers()[:5])
        actors = self.e.json("GET", "/arca/actors")
        return {"actors": len(actors["actors"]), "left": self.e.leftovers_of_containers()}

    def settled_rss(self):
        """The least of some seconds: what the work needed is given back a while after it (actors/container, trim_delay)."""
        least, end = self.e.rss_kb()[0], time.monotonic() + 8
        while time.monotonic() < end:
            time.sleep(0.2)
            least = min(least, self.e.rss_kb()[0])
        return least

    def test_three_rounds(self):
        before = self.counts()
        rss, fds = [], []
        for _ in range(3 if SANITIZED else 4):
            begin = time.monotonic()
            self.round()
            print("round: %.1f s, %.1f containers/s" % (time.monotonic() - begin, CONTAINERS / (time.monotonic() - begin)))
            wait_for(lambda: self.counts() == before, 60, "the last actors to end")
            wait_for(lambda: self.e.rss_kb()[1] < 40, 20, "idle threads to end")
            rss.append(self.settled_rss())
            fds.append(self.e.fds())
        print("RSS after the rounds: %s kB; descriptors: %s" % (rss, fds))
        self.assertLessEqual(fds[-1], fds[0] + 2)
        if not SANITIZED:  # not the first round: how much of an engine has been used after that is a matter of luck
            self.assertLessEqual(rss[-1], rss[1] * 1.05)

    if RUNTIME == "vm":  # tests/run vm-full
        def test_twenty_virtual_machines(self):
            """All at once, and all at the same time: those that wait for their turn wait, none is late for it."""
            e = self.e
            for turn in range(3):
                made = [e.json("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "1000"]})["Id"] for _ in range(20)]
                began = time.monotonic()
                with ThreadPoolExecutor(20) as pool:
                    answers = list(pool.map(lambda c: e.http("POST", "/containers/%s/start" % c, timeout=300)[0], made))
                self.assertEqual(answers, [204] * 20)
                shown = [e.json("GET", "/containers/%s/json" % c) for c in made]
                waits = sorted(x["Machine"]["Stages"]["queue"] for x in shown)
                boots = sorted(x["Machine"]["Stages"]["boot"] for x in shown)
                print("round %d: up in %.1f s; queue %.1f..%.1f s, boot %.1f..%.1f s" % (
                    turn + 1, time.monotonic() - began, waits[0] / 1e3, waits[-1] / 1e3, boots[0] / 1e3, boots[-1] / 1e3))
                # The last one waited for all the others, and that is told apart from its boot.
                self.assertGreater(waits[-1], boots[0])
                self.assertLess(waits[0], boots[0])
                e.kill9()
                e.start()
                pids = {x["Id"]: x["State"]["Pid"] for x in shown}
                for cid in made:
                    state = e.json("GET", "/containers/%s/json" % cid)["State"]
                    self.assertEqual((state["Status"], state["Pid"]), ("running", pids[cid]))
                with ThreadPoolExecutor(4) as pool:
                    codes = list(pool.map(lambda c: e.docker("exec", c, "true", check=False).returncode, made))
                    self.assertEqual(codes, [0] * 20)
                    stops = list(pool.map(lambda c: e.http("POST", "/containers/%s/stop?t=0" % c)[0], made))
                self.assertEqual(stops, [204] * 20)
                for cid in made:
                    e.json("DELETE", "/containers/%s" % cid)
                wait_for(lambda: not e.leftovers_of_containers(), 20, "the last machine to go")

    def timings(self, call, count=150):
        times = []
        for _ in range(count):
            begin = time.monotonic()
            call()
            times.append(time.monotonic() - begin)
        times.sort()
        return times[int(len(times) * 0.99) - 1]

    @staticmethod
    def as_before(before, after):
        return all(now <= max(was * 1.2, was + 0.001) for was, now in zip(before, after))

    def test_a_frozen_agent_slows_nobody_else(self):
        e = self.e
        frozen = e.docker("run", "-d", "--name", "frozen", "busybox", "sleep", "300").out.strip()
        e.docker("run", "-d", "--name", "other", "busybox", "sleep", "300")
        machine = e.machine_of(frozen)

        def run_exec():
            x = e.json("POST", "/containers/other/exec", {"Cmd": ["true"]})["Id"]
            e.http("POST", "/exec/%s/start" % x, {"Detach": False})
        listing = lambda: e.http("GET", "/containers/json")  # noqa: E731
        before = self.timings(listing, 1000), self.timings(run_exec, EXECS)
        os.kill(machine, signal.SIGSTOP)
        try:
            threading.Thread(target=lambda: e.http("POST", "/containers/frozen/exec", {"Cmd": ["true"]}), daemon=True).start()
            after = self.timings(listing, 1000), self.timings(run_exec, EXECS)
            looks = []
            for _ in range(5):
                begin = time.monotonic()
                self.assertEqual(e.json("GET", "/containers/frozen/json")["State"]["Status"], "running")
                looks.append(time.monotonic() - begin)
            self.assertLess(min(looks), 1.0)
            print("p99 before and with a frozen agent: list %.2f %.2f ms, exec %.2f %.2f ms" % (
                before[0] * 1e3, after[0] * 1e3, before[1] * 1e3, after[1] * 1e3))
            # The promise is 20 % or 1 ms. Whatever else this machine does may break a comparison, not each of them.
            quiet = [before]
            while not self.as_before(before, after) and len(quiet) < 5:
                os.kill(machine, signal.SIGCONT)
                before = self.timings(listing, 1000), self.timings(run_exec, EXECS)
                os.kill(machine, signal.SIGSTOP)
                after = self.timings(listing, 1000), self.timings(run_exec, EXECS)
                quiet.append(before)
            if not self.as_before(before, after) and not all(self.as_before(a, b) for a in quiet for b in quiet):
                # A machine whose own times differ by more than that cannot tell. What waits for the agent waits for seconds.
                print("too busy a machine to compare: without a frozen agent %s" % quiet)
                before = tuple(was * 3 + 0.02 for was in map(max, zip(*quiet)))
            if not SANITIZED:
                self.assertTrue(self.as_before(before, after), "%s, then %s" % (before, after))
            begin = time.monotonic()
            e.docker("stop", "-t", "1", "frozen")
            self.assertLess(time.monotonic() - begin, 20)
            self.assertEqual(e.json("GET", "/containers/frozen/json")["State"]["Status"], "exited")
        finally:
            try:
                os.kill(machine, signal.SIGCONT)
            except ProcessLookupError:
                pass
        e.docker("rm", "-f", "frozen", "other")


if __name__ == "__main__":
    unittest.main(verbosity=1)
