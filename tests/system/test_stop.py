#!/usr/bin/env python3
"""SIGTERM: the daemon is gone within 10 s, containers stay with their agents, and of what nobody uses nothing is left."""
import os
import subprocess
import sys
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
        self.assertEqual(self.e.terminate(), 0)
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


if __name__ == "__main__":
    main()
