#!/usr/bin/env python3
"""Fixture images from real registries – plain, with a password, with TLS – pulled and run; concurrent pulls share one. (Registries that
lie are in persistence/registry and actors/image.)"""
import glob
import os
import shutil
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import LAB, ROOT, Engine  # noqa: E402

FIXTURES = os.environ.get("ARCA_FIXTURES", os.path.join(ROOT, "build", "fixtures"))
NAMES = ["hello-world", "busybox", "config", "edge", "manylayers"]
TOOLS = os.path.join(ROOT, "tests", "fixtures")


def make_images():
    missing = [n for n in NAMES if not os.path.exists("%s/%s.tar" % (FIXTURES, n))]
    if missing:
        os.makedirs(FIXTURES, exist_ok=True)
        subprocess.run([TOOLS + "/make-images.sh", FIXTURES] + missing, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    # The registries run in the lab, from where nothing can be downloaded: the program is fetched out here.
    debs = os.path.join(FIXTURES, ".cache", "debs")
    if not shutil.which("docker-registry") and not glob.glob(debs + "/docker-registry_*.deb"):
        os.makedirs(debs, exist_ok=True)
        subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "docker-registry"], cwd=debs,
                       check=True, stdout=subprocess.DEVNULL)


class Registries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make_images()
        cls.e = Engine(config={"registries": {"127.0.0.1:5003": {"ca-dir": "/tmp/arca-reg-%d/5003/tls" % os.getpid()}}})
        cls.e.__enter__()
        cls.dir = "/tmp/arca-reg-%d" % os.getpid()
        cls.registry(5001)
        cls.registry(5002, "-u", "alice:secret")
        cls.registry(5003, "-t")

    @classmethod
    def registry(cls, port, *flags):
        subprocess.run([LAB, "run", cls.e.name, TOOLS + "/start-registry.sh", "-q", "-p", str(port), "-d",
                        "%s/%d" % (cls.dir, port), "-i", FIXTURES, "-n", " ".join(NAMES), *flags], check=True,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        for port in (5001, 5002, 5003):
            subprocess.run([LAB, "run", cls.e.name, TOOLS + "/start-registry.sh", "-s", "-d", "%s/%d" % (cls.dir, port)])
        try:
            cls.e.remove_everything()
        finally:
            cls.e.close()
            subprocess.run(["rm", "-rf", cls.dir])

    def test_plain(self):
        out = self.e.docker("pull", "127.0.0.1:5001/fixture/edge").out
        self.assertIn("Status: Downloaded newer image for 127.0.0.1:5001/fixture/edge:latest", out)
        self.assertIn("Image is up to date", self.e.docker("pull", "127.0.0.1:5001/fixture/edge").out)
        r = self.e.docker("run", "--rm", "127.0.0.1:5001/fixture/edge", check=False)
        self.assertEqual(r.returncode, 0, r.out)
        self.assertEqual(sum(line.startswith("ok") for line in r.out.splitlines()), 76, r.out[-500:])

    def test_a_hundred_layers(self):
        self.e.docker("pull", "-q", "127.0.0.1:5001/fixture/manylayers")
        r = self.e.docker("run", "--rm", "127.0.0.1:5001/fixture/manylayers")
        self.assertIn("99", r.out)

    def test_password(self):
        r = self.e.docker("pull", "127.0.0.1:5002/hello-world", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.e.docker("login", "-u", "alice", "-p", "secret", "127.0.0.1:5002")
        self.e.docker("pull", "127.0.0.1:5002/hello-world")
        self.assertIn("working correctly", self.e.docker("run", "--rm", "127.0.0.1:5002/hello-world").out)

    def test_tls(self):
        self.e.docker("pull", "127.0.0.1:5003/hello-world")
        self.assertIn("working correctly", self.e.docker("run", "--rm", "127.0.0.1:5003/hello-world").out)

    def test_concurrent_pulls_share_one(self):
        self.e.docker("rmi", "-f", "127.0.0.1:5001/library/busybox:latest", check=False)
        results = []
        threads = [threading.Thread(target=lambda: results.append(
            self.e.docker("pull", "127.0.0.1:5001/library/busybox:latest", check=False))) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([r.returncode for r in results], [0] * 6, [r.err for r in results])


if __name__ == "__main__":
    unittest.main(verbosity=1)
