#!/usr/bin/env python3
"""kill -9 of the daemon: running containers run on, exit codes and every log line survive, nothing stays behind."""
import glob
import os
import random
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import Engine, busybox_archive, wait_for  # noqa: E402
from crash_world import LONG, Crashed, World  # noqa: E402

SEED = int(os.environ.get("ARCA_SEED", "1"))
MOMENTS = int(os.environ.get("ARCA_CRASHES", "12"))


class Crash(unittest.TestCase):
    def setUp(self):
        self.e = Engine()
        self.e.__enter__()
        self.e.docker("load", "-i", busybox_archive(self.e.dir + "/busybox.tar"))

    def tearDown(self):
        try:
            self.e.remove_everything()
            wait_for(lambda: not self.e.leftovers_of_containers(), 10, "nothing to stay behind: %s" % self.e.leftovers_of_containers())
        finally:
            self.e.close()

    def state(self, name):
        return self.e.json("GET", "/containers/%s/json" % name)["State"]

    def test_a_running_container_is_adopted(self):
        self.e.docker("run", "-d", "--name", "run", "busybox", "sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done")
        pid = self.state("run")["Pid"]
        for _ in range(3):
            self.e.kill9()
            time.sleep(0.2)  # the container writes while nobody reads
            self.e.start()
            s = wait_for(lambda: self.state("run"), 10)
            self.assertEqual((s["Status"], s["Pid"]), ("running", pid))
        self.assertEqual(self.e.docker("exec", "run", "echo", "in").out, "in\n")
        self.e.docker("stop", "-t", "1", "run")
        lines = [int(x) for x in self.e.docker("logs", "run").out.split()]
        self.assertEqual(lines, list(range(len(lines))))
        self.assertGreater(len(lines), 20)

    def test_an_exit_while_the_daemon_is_away(self):
        self.e.docker("run", "-d", "--name", "gone", "busybox", "sh", "-c", "sleep 0.5; echo bye; exit 42")
        self.e.kill9()
        time.sleep(1.0)
        self.e.start()
        s = wait_for(lambda: self.state("gone")["Status"] == "exited" and self.state("gone"), 10, "the exit to be known")
        self.assertEqual(s["ExitCode"], 42)
        self.assertEqual(self.e.docker("logs", "gone").out, "bye\n")

    def test_a_container_that_was_frozen_without_a_pause_thaws(self):
        # What a daemon leaves that dies between freezing and killing (cgroup v1 has no cgroup.kill).
        for name in ("cold", "paused"):
            self.e.docker("run", "-d", "--runtime", "namespace", "--name", name, "busybox", "sleep", "300")
        self.e.docker("pause", "paused")
        cid = self.e.json("GET", "/containers/cold/json")["Id"]
        self.e.kill9()
        states = (glob.glob("/sys/fs/cgroup/freezer%s/*%s*/freezer.state" % (self.e.cgroup, cid)) +
                  glob.glob("/sys/fs/cgroup%s/*%s*/cgroup.freeze" % (self.e.cgroup, cid)))
        self.assertEqual(len(states), 1, states)
        with open(states[0], "w") as f:
            f.write("FROZEN" if states[0].endswith("state") else "1")
        self.e.start()
        wait_for(lambda: self.state("cold")["Status"] == "running", 10, "the container to run")
        self.assertEqual(self.e.docker("exec", "cold", "echo", "warm", timeout=20).out, "warm\n")
        self.assertEqual(self.state("paused")["Status"], "paused")
        self.e.docker("unpause", "paused")

    def test_restart_policy_goes_on(self):
        self.e.docker("run", "-d", "--name", "always", "--restart", "always", "busybox", "sh", "-c", "sleep 0.3; exit 1")
        self.e.kill9()
        time.sleep(0.6)
        self.e.start()
        before = self.e.json("GET", "/containers/always/json")["RestartCount"]
        wait_for(lambda: self.e.json("GET", "/containers/always/json")["RestartCount"] > before, 15, "another restart")

    def test_random_moments_under_load(self):
        rng = random.Random(SEED)
        for n in range(MOMENTS):
            names = ["c%d-%d" % (n, i) for i in range(4)]
            codes = {}
            for i, name in enumerate(names):
                code = rng.randrange(0, 120)
                count = rng.randrange(1, 400)
                r = self.e.docker("run", "-d", "--name", name, "--network", "none" if i % 2 else "bridge", "busybox", "sh", "-c",
                                  "seq 1 %d; sleep 0.%d; echo end; exit %d" % (count, rng.randrange(0, 6), code), check=False)
                self.assertEqual(r.returncode, 0, r.err)
                codes[name] = (code, count)
            time.sleep(rng.random() * 0.5)
            self.e.kill9()
            self.e.start()
            for name in names:
                s = wait_for(lambda: self.state(name)["Status"] == "exited" and self.state(name), 15, "%s to end" % name)
                code, count = codes[name]
                self.assertEqual(s["ExitCode"], code, "%s, moment %d, seed %d: %s" % (name, n, SEED, s))
                self.assertEqual(self.e.docker("logs", name).out.split(), [str(i) for i in range(1, count + 1)] + ["end"])
                self.e.docker("rm", name)

    def churn(self, world, prefix, rng, problems):
        """A client that makes, runs, renames, stops and removes containers until the daemon is gone."""
        try:
            for n in range(1000):
                name, network = "%s%d" % (prefix, n), rng.choice(("none", "bridge"))
                if rng.random() < 0.3:
                    world.create(name, LONG, "up\n", 9, NetworkMode=network)
                    world.start(name)
                    world.up(name)
                    world.rename(name, name + "-new")
                    name += "-new"
                    world.stop(name)
                else:
                    lines, code = rng.randrange(1, 3000), rng.randrange(0, 120)
                    world.create(name, "seq 1 %d; exit %d" % (lines, code),
                                 "".join("%d\n" % i for i in range(1, lines + 1)), code, NetworkMode=network)
                    world.start(name)
                    if rng.random() < 0.7:
                        world.ended(name)
                        world.remove(name)
        except Crashed:
            pass
        except BaseException as problem:
            problems.append(problem)

    def test_random_moments_while_clients_work(self):
        for n in range(MOMENTS):
            rng, problems = random.Random("%d/%d" % (SEED, n)), []
            worlds = [World(self.e) for _ in range(3)]
            clients = [threading.Thread(target=self.churn, args=(w, "c%d-" % i, random.Random("%d/%d/%d" % (SEED, n, i)), problems))
                       for i, w in enumerate(worlds)]
            for c in clients:
                c.start()
            time.sleep(rng.random() * 0.8)
            self.e.kill9()
            for c in clients:
                c.join()
            self.assertEqual(problems, [], "moment %d, seed %d" % (n, SEED))
            self.e.start()
            all_told = World(self.e)
            for w in worlds:
                all_told.containers.update(w.containers)
                all_told.asked |= w.asked
            try:
                all_told.check()
            except AssertionError as problem:
                raise AssertionError("moment %d, seed %d: %s\n%s" % (n, SEED, problem, self.e.log())) from problem
            all_told.clear()


if __name__ == "__main__":
    unittest.main(verbosity=1)
