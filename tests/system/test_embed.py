#!/usr/bin/env python3
"""tools/embed_example: the engine as a library inside a program of its own, without HTTP."""
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import BIN, LAB, ROOT, SANITIZED, busybox_archive, start_lab  # noqa: E402


class Embedded(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="arca-embed")
        self.addCleanup(self.dir.cleanup)
        self.lab = "e%d" % os.getpid()
        start_lab(self.lab)
        self.addCleanup(subprocess.run, [LAB, "stop", self.lab], check=True)
        self.archive = busybox_archive(self.dir.name + "/busybox.tar")

    def example(self, *command):
        watch = [ROOT + "/tests/lib/sanitized"] if SANITIZED else []
        return subprocess.run([LAB, "run", self.lab, *watch, BIN + "/embed_example", self.dir.name + "/data", self.archive,
                               "busybox", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)

    def test_runs_a_container(self):
        r = self.example("sh", "-c", "echo inside as $(id -u); exit 7")
        self.assertEqual((r.returncode, r.stdout), (7, b"inside as 0\n"), r.stderr)
        # Again on the same data root: nothing of the first run is in the way.
        r = self.example("echo", "again")
        self.assertEqual((r.returncode, r.stdout), (0, b"again\n"), r.stderr)
        self.assertEqual(os.listdir(self.dir.name + "/data/containers"), [])

    def test_is_short(self):
        with open(os.path.join(ROOT, "tools", "embed_example", "main.cpp")) as f:
            self.assertLess(len(f.readlines()), 100)


if __name__ == "__main__":
    unittest.main(verbosity=1)
