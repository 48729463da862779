#!/usr/bin/env python3
"""Every fixture image from three registries – plain, with a password, with TLS – pulled, run and checked; concurrent pulls share one.
(Registries that lie are in persistence/registry and actors/image.)

ARCA_FIXTURES names a folder where make-images.sh has been; else the images are made in build/fixtures."""
import glob
import os
import shutil
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import LAB, ROOT, Engine, wait_for  # noqa: E402

FIXTURES = os.environ.get("ARCA_FIXTURES", os.path.join(ROOT, "build", "fixtures"))
TOOLS = os.path.join(ROOT, "tests", "fixtures")


def make_images():
    """Makes what is missing; name -> first tag of every image."""
    os.makedirs(FIXTURES, exist_ok=True)
    subprocess.run([TOOLS + "/make-images.sh", FIXTURES], check=True, stdout=subprocess.DEVNULL)
    # The registries run in the lab, from where nothing can be downloaded: the program is fetched out here.
    debs = os.path.join(FIXTURES, ".cache", "debs")
    if not shutil.which("docker-registry") and not glob.glob(debs + "/docker-registry_*.deb"):
        os.makedirs(debs, exist_ok=True)
        subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "docker-registry"], cwd=debs,
                       check=True, stdout=subprocess.DEVNULL)
    with open(FIXTURES + "/images.tsv") as f:
        return {line.split("\t")[0]: line.split("\t")[1].split()[0] for line in f}


class Registries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tags = make_images()
        cls.dir = "/tmp/arca-reg-%d" % os.getpid()
        # One tag each is enough here, and is pushed much faster than all of them.
        some = cls.dir + "/images"
        os.makedirs(some)
        with open(FIXTURES + "/images.tsv") as f, open(some + "/images.tsv", "w") as out:
            for line in f:
                words = line.split("\t")
                words[1] = words[1].split()[0]
                out.write("\t".join(words))
                os.symlink("%s/%s.tar" % (FIXTURES, words[0]), "%s/%s.tar" % (some, words[0]))
        os.symlink(FIXTURES + "/.cache", some + "/.cache")
        cls.e = Engine(config={"registries": {"127.0.0.1:5003": {"ca-dir": cls.dir + "/5003/tls"}}})
        cls.e.__enter__()
        cls.registry(5001, "-i", some)
        for port, flags in ((5002, ("-u", "alice:secret")), (5003, ("-t",))):
            os.makedirs("%s/%d" % (cls.dir, port))
            subprocess.run(["cp", "-al", cls.dir + "/5001/data", "%s/%d/data" % (cls.dir, port)], check=True)
            subprocess.run(["cp", "-al", cls.dir + "/5001/pkg", "%s/%d/pkg" % (cls.dir, port)], check=False,
                           stderr=subprocess.DEVNULL)  # not there when docker-registry is installed
            cls.registry(port, *flags)
        cls.e.docker("login", "-u", "alice", "-p", "secret", "127.0.0.1:5002")

    @classmethod
    def registry(cls, port, *flags):
        subprocess.run([LAB, "run", cls.e.name, TOOLS + "/start-registry.sh", "-q", "-p", str(port), "-d",
                        "%s/%d" % (cls.dir, port), *flags], check=True, stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        for port in (5001, 5002, 5003):
            subprocess.run([LAB, "run", cls.e.name, TOOLS + "/start-registry.sh", "-s", "-d", "%s/%d" % (cls.dir, port)])
        try:
            cls.e.remove_everything()
        finally:
            cls.e.close()
            subprocess.run(["rm", "-rf", cls.dir])

    # -- what a person would look at to see that an image works
    def output(self, image, *command):
        r = self.e.docker("run", "--rm", image, *command, check=False)
        self.assertEqual(r.returncode, 0, "%s: %s%s" % (image, r.out[-500:], r.err[-500:]))
        return r.out

    def in_lab(self, *command):
        r = subprocess.run([LAB, "run", self.e.name, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return r.stdout.decode("utf-8", "replace") if r.returncode == 0 else ""

    def service(self, image, probe, expected, *flags):
        """Runs the image as its authors meant and waits until the probe's output has what is expected."""
        name = "service"
        self.e.docker("run", "-d", "--name", name, *flags, image)
        try:
            wait_for(lambda: expected in probe(), 60, "%s to serve; its log: %s" % (image, self.e.docker("logs", name).err[-800:]),
                     0.1)
        finally:
            self.e.docker("rm", "-f", "-v", name)

    def inside(self, *command):
        return lambda: self.e.docker("exec", "service", *command, check=False).out

    def outside(self, url):
        return lambda: self.in_lab("curl", "-sL", url)

    def check(self, name, image):
        if name == "hello-world":
            self.assertIn("working correctly", self.output(image))
        elif name in ("busybox", "alpine", "alpine-old"):
            self.assertEqual(self.output(image, "sh", "-c", "echo $((6 * 7))"), "42\n")
        elif name in ("debian", "ubuntu"):
            self.assertIn("ID=" + name, self.output(image, "cat", "/etc/os-release"))
        elif name == "testimage":
            self.assertIn("podman CI", self.output(image))
        elif name == "edge":
            out = self.output(image)
            self.assertEqual(sum(line.startswith("ok") for line in out.splitlines()), 76, out[-500:])
        elif name == "config":
            self.assertIn("(user)", self.output(image))
        elif name == "manylayers":
            self.assertIn("99", self.output(image))
        elif name == "large":
            self.assertNotIn("FAILED", self.output(image))
        elif name == "sparse":
            self.assertEqual(self.output(image).split()[0], str(1 << 30))
        elif name == "python":
            self.assertEqual(self.output(image, "python3", "-c", "import sqlite3, ssl; print(sum(range(10)))"), "45\n")
        elif name == "redis":
            self.service(image, self.inside("redis-cli", "ping"), "PONG")
        elif name == "mariadb":
            self.service(image, self.inside("mariadb", "-uroot", "-psecret", "-e", "select 6*7"), "42", "-e",
                         "MARIADB_ROOT_PASSWORD=secret")
        elif name == "nginx":
            self.service(image, self.outside("http://127.0.0.1:8180/"), "nginx", "-p", "8180:80")
        elif name == "wordpress":
            self.service(image, self.outside("http://127.0.0.1:8181/"), "html", "-p", "127.0.0.1:8181:80")
        elif name == "registry":
            self.service(image, self.outside("http://127.0.0.1:8182/v2/"), "{}", "-p", "8182:5000")
        else:
            self.fail("no check for the image " + name)

    def every_image(self, port):
        for name, tag in self.tags.items():
            begin = time.monotonic()
            with self.subTest(image=name):
                path = tag.split("/", 1)[1] if "/" in tag and "." in tag.split("/")[0] else tag
                image = "127.0.0.1:%d/%s" % (port, path)
                out = self.e.docker("pull", image).out
                self.assertIn("Status: Downloaded newer image for " + image, out)
                self.assertIn("Image is up to date", self.e.docker("pull", image).out)
                self.check(name, image)
                self.e.docker("rmi", "-f", image)
            print("%s from port %d: %.1f s" % (name, port, time.monotonic() - begin))
        self.assertEqual(self.e.json("GET", "/images/json"), [])

    def test_every_image_plain(self):
        self.every_image(5001)

    def test_every_image_with_a_password(self):
        self.every_image(5002)

    def test_every_image_with_tls(self):
        self.every_image(5003)

    def test_without_the_password(self):
        config = self.e.dir + "/no-login"
        os.makedirs(config)
        r = self.e.docker("--config", config, "pull", "127.0.0.1:5002/hello-world", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("no basic auth credentials", r.err)

    def test_concurrent_pulls_share_one(self):
        image, results = "127.0.0.1:5001/debian:bookworm-slim", []
        threads = [threading.Thread(target=lambda: results.append(self.e.docker("pull", image, check=False))) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([r.returncode for r in results], [0] * 6, [r.err for r in results])
        # Each layer was asked for once: the log of the registry tells.
        with open(self.dir + "/5001/log") as f:
            fetched = [line for line in f if "GET /v2/debian/blobs/" in line and "arca" in line.lower()]
        blobs = [line.split("GET /v2/debian/blobs/")[1].split()[0] for line in fetched]
        self.assertEqual(len(blobs), len(set(blobs)), blobs)
        self.e.docker("rmi", "-f", image)


if __name__ == "__main__":
    unittest.main(verbosity=1)
