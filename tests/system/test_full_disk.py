#!/usr/bin/env python3
"""A full disk: errors are clear, what a client was told stays true, also across a crash, and with space again all goes on."""
import errno
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import RUNTIME, Engine, busybox_archive, guest_folder, main, wait_for  # noqa: E402

FULL = "dd if=/dev/zero of=/full bs=1M count=64 conv=fsync 2>/dev/null"
# Not before the start has been answered: one that finds the disk full fails.
FILL = "echo before; read word; " + FULL + "; exit 7"
LONG = str(100000 + os.getpid())  # seconds of sleep that no other process has
HOLD = "until [ -e /go ]; do sleep 0.1; done; " + FULL + "; sleep 300"


class SmallDisk(unittest.TestCase):
    BESIDE = ()  # folders of the data root that have a disk of their own

    def setUp(self):
        current = guest_folder() + "/current" if RUNTIME == "vm" else ""  # it would fill the small disk
        self.e = Engine(config={"kernel-path": current + "/vmlinux", "initrd-path": current + "/initrd"} if current else None)
        os.makedirs(self.e.data, exist_ok=True)
        self.e.keep = True  # the folder goes after the mounts: clean-ups run in reverse
        self.addCleanup(shutil.rmtree, self.e.dir)
        for folder in (self.e.data, *(self.e.data + "/" + beside for beside in self.BESIDE)):
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], check=True)
            self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)
        self.e.__enter__()
        self.addCleanup(self.e.close)
        self.e.docker("load", "-i", busybox_archive("/tmp/" + self.e.name + ".tar"))
        os.unlink("/tmp/" + self.e.name + ".tar")

    def state(self, name):
        return self.e.json("GET", "/containers/%s/json" % name)["State"]


class FullDisk(SmallDisk):
    def fill(self):
        self.e.docker("run", "-d", "-i", "--name", "filler", "busybox", "sh", "-c", FILL)
        wait_for(lambda: self.e.docker("logs", "filler").out == "before\n", 10, "the first line")
        r = self.e.docker("attach", "filler", input=b"go\n", check=False)
        self.assertEqual((r.returncode, r.out), (7, ""), r.err)

    def test_an_exit_that_cannot_be_saved_is_known_and_saved_later(self):
        self.fill()
        for shown in (self.state("filler"), self.e.json("GET", "/containers/json?all=1")[0]):
            self.assertIn(shown.get("Status", shown.get("State")).split()[0].lower(), "exited")
        self.assertEqual(self.state("filler")["ExitCode"], 7)
        r = self.e.docker("run", "busybox", "true", check=False)
        self.assertEqual(r.returncode, 125)
        self.assertRegex(r.err, "full|No space left")
        # The row says "running": the agent has kept the exit for the next daemon.
        self.e.kill9()
        self.e.start()
        wait_for(lambda: self.state("filler")["Status"] == "exited", 10, "the exit after the crash")
        self.assertEqual(self.state("filler")["ExitCode"], 7)
        self.e.docker("rm", "filler")
        self.assertEqual(self.e.docker("run", "--rm", "busybox", "echo", "again").out, "again\n")
        wait_for(lambda: self.e.leftovers_of_containers() == ["mount " + self.e.data], 10, "nothing but our own mount to be left")
        self.e.terminate()
        wait_for(lambda: not self.e.machines(), 5, "the last agent to end")

    def test_space_again_saves_the_exit(self):
        self.e.docker("run", "-d", "--name", "holder", "busybox", "sh", "-c", HOLD)
        self.e.docker("exec", "holder", "touch", "/go")
        wait_for(lambda: os.statvfs(self.e.data).f_bavail == 0, 20, "the disk to be full")
        r = self.e.docker("exec", "holder", "true", check=False)
        self.assertEqual(r.returncode, 0, r.err)  # needs no disk
        self.e.docker("kill", "holder")
        wait_for(lambda: self.state("holder")["Status"] == "exited", 10, "the exit")
        self.e.docker("rm", "holder")
        self.assertEqual(self.e.docker("run", "--rm", "busybox", "echo", "again").out, "again\n")

    def test_an_image_that_does_not_fit_leaves_nothing(self):
        archive = self.e.dir + "/big.tar"
        with tarfile.open(archive, "w") as tar:
            for n in range(3):
                member = tarfile.TarInfo("blob%d" % n)
                member.size = 30 << 20
                tar.addfile(member, io.BytesIO(os.urandom(30 << 20)))
        used = os.statvfs(self.e.data).f_bfree
        r = self.e.docker("import", archive, "big:1", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("space left on device", (r.out + r.err).lower())
        self.assertNotIn("big", self.e.docker("images").out)
        os.unlink(archive)
        wait_for(lambda: os.statvfs(self.e.data).f_bfree > used - 64, 10, "the space to come back")
        self.assertEqual(self.e.docker("run", "--rm", "busybox", "echo", "fits").out, "fits\n")


class FullDatabase(SmallDisk):
    BESIDE = ("containers",)

    def test_a_start_that_cannot_be_saved_is_none(self):
        self.e.docker("create", "--name", "late", "--restart", "always", "busybox", "sleep", LONG)
        ballast = self.e.data + "/ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError as full:
                self.assertEqual(full.errno, errno.ENOSPC)
        # With a little more room each time, until the network's row fits and the container's own does not.
        own_row = False
        for _ in range(60):
            r = self.e.docker("start", "late", check=False)
            self.assertNotEqual(r.returncode, 0)
            self.assertRegex(r.err, "full|No space left")
            self.assertFalse(self.state("late")["Running"])
            self.assertEqual(subprocess.run(["pgrep", "-f", "sleep " + LONG], stdout=subprocess.DEVNULL).returncode, 1)
            own_row = "networking" not in r.err
            if own_row:
                break
            os.truncate(ballast, os.stat(ballast).st_size - 16384)
        self.assertTrue(own_row, r.err)
        os.unlink(ballast)
        self.e.docker("start", "late")
        self.assertTrue(self.state("late")["Running"])
        self.e.docker("rm", "-f", "late")


if __name__ == "__main__":
    main()
