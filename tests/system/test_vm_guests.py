#!/usr/bin/env python3
"""Two guests side by side: virtual machines that run keep theirs. For tests/run vm-full: it makes a guest, which takes a while."""
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import BIN, Engine, busybox_archive, main, wait_for  # noqa: E402


class TwoGuests(unittest.TestCase):
    """A virtual machine that runs keeps the guest it was booted from, whatever `arca setup` makes meanwhile."""

    def guest_of(self, e, name):
        e.docker("exec", name, "true")
        return e.json("GET", "/containers/%s/json" % name)["Machine"]["Guest"]

    def setup(self, e, *more):
        r = subprocess.run([BIN + "/arca", "setup", "--data-root", e.data, "--run-root", e.run, "--socket-path", e.sock, *more],
                           stdout=subprocess.PIPE, check=True, timeout=120)
        return r.stdout.decode()

    def test_side_by_side(self):
        with Engine(config={"default-runtime": "vm"}) as e:
            self.setup(e, "--prune")  # guests of earlier builds
            e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
            e.docker("run", "-d", "--name", "old", "--network", "none", "busybox", "sleep", "1000")
            first = self.guest_of(e, "old")
            agent = e.dir + "/another-agent"
            shutil.copy(BIN + "/arca-guest", agent)
            with open(agent, "ab") as f:
                f.write(b"\0")  # is another version
            made = self.setup(e, "--guest-path", agent)
            second = os.readlink(e.data + "/guest/current")
            self.assertNotEqual(first, second)
            self.assertIn(second, made)
            e.docker("run", "-d", "--name", "new", "--network", "none", "busybox", "sleep", "1000")
            self.assertEqual((self.guest_of(e, "old"), self.guest_of(e, "new")), (first, second))

            e.kill9()
            e.start()
            wait_for(lambda: e.log().count("container adopted") == 2, 10, "both adoptions")
            self.assertEqual((self.guest_of(e, "old"), self.guest_of(e, "new")), (first, second))
            self.assertIn("nothing to remove", self.setup(e, "--prune"))
            self.assertTrue(os.path.exists(e.data + "/guest/%s/vmlinux" % first))

            # It is in nobody's way when it starts again: it has the new one then.
            e.docker("restart", "-t", "0", "old")
            self.assertEqual(self.guest_of(e, "old"), second)
            self.assertIn("removed " + first, self.setup(e, "--prune"))
            self.assertEqual((self.guest_of(e, "old"), self.guest_of(e, "new")), (second, second))


if __name__ == "__main__":
    main()
