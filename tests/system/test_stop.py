#!/usr/bin/env python3
"""SIGTERM: the daemon is gone within 10 s, containers stay with their agents, and of what nobody uses nothing is left."""
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import LAB, Engine, busybox_archive, main, wait_for  # noqa: E402


class Stop(unittest.TestCase):
    def setUp(self):
        self.e = Engine()
        self.e.__enter__()
        self.addCleanup(self.e.close)
        self.e.docker("load", "-i", busybox_archive(self.e.dir + "/busybox.tar"))

    def on_host(self, *command):
        return subprocess.run([LAB, "run", self.e.name, *command], stdout=subprocess.PIPE).stdout.decode()

    def no_links(self, *prefixes):
        """The kernel ends a network namespace, and the veth in it, a moment after its last process."""
        wait_for(lambda: not [n for n in self.e.links() if n.startswith(prefixes)], 2, "links to be gone: %s" % self.e.links())

    def test_nothing_stays_of_an_idle_engine(self):
        self.e.docker("network", "create", "mine")
        self.e.docker("run", "--rm", "busybox", "true")
        self.e.docker("run", "--rm", "--network", "mine", "-p", "8099:80", "busybox", "true")
        self.assertIn("arca0", self.e.links())
        begin = time.monotonic()
        self.assertEqual(self.e.terminate(), 0)
        self.assertLess(time.monotonic() - begin, 10)
        self.no_links("arca", "br-", "veth")
        self.assertNotIn("arca", self.on_host("nft", "list", "tables"))
        wait_for(lambda: not self.e.agents(), 5, "the idle agents to end")
        # The next daemon makes them again.
        self.e.start()
        self.e.docker("run", "--rm", "--network", "mine", "busybox", "true")

    def test_a_running_container_keeps_its_network(self):
        self.e.docker("run", "-d", "--name", "web", "-p", "8098:80", "busybox", "sh", "-c",
                      "mkdir /www && echo hi >/www/index.html && exec httpd -f -p 80 -h /www")
        ip = self.e.json("GET", "/containers/web/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        self.assertEqual(self.e.terminate(), 0)
        self.assertIn("arca0", self.e.links())
        wait_for(lambda: self.on_host("curl", "-s", "-m", "2", "http://%s/" % ip) == "hi\n", 10, "the container to answer")
        self.e.start()
        self.assertEqual(self.e.json("GET", "/containers/web/json")["State"]["Status"], "running")
        self.e.docker("rm", "-f", "web")
        self.assertEqual(self.e.terminate(), 0)
        self.no_links("arca", "veth")
        self.e.start()

    def test_in_the_middle_of_exits_and_restarts(self):
        """Containers save what happens to them until they end themselves; what comes too late the next daemon hears."""
        for n in range(4):
            self.e.docker("run", "-d", "--name", "busy%d" % n, "--restart", "on-failure:40", "--network", "none", "busybox", "sh", "-c", "exit 3")
        for pause in (0, 0.1, 0.3):
            time.sleep(pause)
            self.assertEqual(self.e.terminate(), 0)
            self.e.start()
        for n in range(4):
            wait_for(lambda: self.e.json("GET", "/containers/busy%d/json" % n)["RestartCount"] > 0, 10, "a restart of busy%d" % n)
            state = self.e.json("GET", "/containers/busy%d/json" % n)["State"]
            self.assertEqual(state["ExitCode"], 0 if state["Status"] == "running" else 3)
        self.e.remove_everything()


class WithContainers(unittest.TestCase):
    def test_policies_when_the_next_daemon_starts(self):
        """Stopped with the daemon, or before by a person: who comes back."""
        e = Engine.with_busybox(config={"stop-containers-on-exit": True, "shutdown-timeout": 1})
        self.addCleanup(e.close)
        policies = ("no", "on-failure", "unless-stopped", "always")
        for policy in policies:
            for name in ("runs-", "stopped-"):
                e.docker("run", "-d", "--name", name + policy, "--restart", policy, "busybox", "sleep", "300")
        e.docker("stop", "-t", "0", *["stopped-" + policy for policy in policies])
        self.assertEqual(e.terminate(), 0)
        wait_for(lambda: not e.machines(), 10, "the machines to end")
        e.start()

        def running():
            return {c["Names"][0][1:] for c in e.json("GET", "/containers/json")}
        expected = {"runs-on-failure", "runs-unless-stopped", "runs-always", "stopped-always"}
        wait_for(lambda: running() >= expected, 60, "the containers to come back")
        self.assertEqual(running(), expected)
        self.assertEqual(e.json("GET", "/containers/runs-no/json")["State"]["ExitCode"], 137)
        e.remove_everything()


if __name__ == "__main__":
    main()
