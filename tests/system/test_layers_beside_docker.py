#!/usr/bin/env python3
"""The same images in Arca and in Docker Engine (tests/bench/peer.sh): containers show the same tree, file by file - type, mode, owner,
times, extended attributes, links, sizes, content, devices - and inspect and history say the same.

The fixture images come from $ARCA_FIXTURES or build/fixtures (all that are there; test_images.py makes them), Docker Engine from
$ARCA_PEER or build/peer (installed there from Debian packages when missing); the nasty ones are made here (tests/lib/nasty_images.py).
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import nasty_images  # noqa: E402
import tree  # noqa: E402
from arca_engine import ROOT, Engine, UnixConnection, main  # noqa: E402

FIXTURES = os.environ.get("ARCA_FIXTURES", os.path.join(ROOT, "build", "fixtures"))
PEER = os.environ.get("ARCA_PEER", os.path.join(ROOT, "build", "peer"))
PEER_SH = os.path.join(ROOT, "tests", "bench", "peer.sh")


class Docker:
    """Docker Engine in a lab of its own, on a data root that goes away."""

    def __init__(self):
        subprocess.run([PEER_SH, "install", PEER], check=True, stdout=subprocess.DEVNULL)
        self.name = "p%d" % os.getpid()
        # Its programs tell whose they are by their path: a copy (of links) for this run.
        self.dir = tempfile.mkdtemp(prefix="p", dir=os.path.dirname(os.path.realpath(PEER)))
        subprocess.run("cp -al %s/. %s && rm -rf %s/data %s/run %s/log" % (PEER, self.dir, self.dir, self.dir, self.dir),
                       shell=True, check=True)
        subprocess.run([PEER_SH, "start", self.dir, self.name], check=True, stdout=subprocess.DEVNULL)
        self.sock = self.dir + "/run/docker.sock"

    def close(self):
        subprocess.run([PEER_SH, "stop", self.dir], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def http(self, method, path, body=None, headers=None, timeout=120):
        c = UnixConnection(self.sock, timeout)
        try:
            if isinstance(body, dict):
                body, headers = json.dumps(body), {"Content-Type": "application/json"}
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read()
        finally:
            c.close()


class Side:
    """What this test wants of an engine."""

    def __init__(self, engine):
        self.engine = engine

    def ask(self, method, path, body=None):
        status, _, data = self.engine.http(method, path, body, timeout=300)
        if status >= 400:
            raise AssertionError("%s %s: %d %s" % (method, path, status, data.decode()))
        return json.loads(data) if data else None

    def load(self, path):
        """Names or an error's text."""
        with open(path, "rb") as f:
            status, _, data = self.engine.http("POST", "/v1.51/images/load?quiet=1", f,
                                               {"Content-Type": "application/x-tar", "Content-Length": os.path.getsize(path)}, timeout=300)
        lines = [json.loads(line) for line in data.decode().splitlines()] if status == 200 else [json.loads(data)]
        for line in lines:
            if "error" in line or "message" in line:
                return line.get("error") or line["message"]
        return [line["stream"].split(": ", 1)[1].strip() for line in lines if line.get("stream", "").startswith("Loaded image: ")]

    def tree(self, image, recent):
        config = {"Image": image, "Entrypoint": ["/.keeper/busybox"], "Cmd": ["sleep", "3600"], "User": "0:0", "WorkingDir": "/",
                  "Healthcheck": {"Test": ["NONE"]}, "HostConfig": {"NetworkMode": "none", "Binds": ["/bin/busybox:/.keeper/busybox:ro"]}}
        cid = self.ask("POST", "/v1.51/containers/create", config)["Id"]
        try:
            self.ask("POST", "/v1.51/containers/%s/start" % cid)
            pid = self.ask("GET", "/v1.51/containers/%s/json" % cid)["State"]["Pid"]
            return tree.of_process(pid, recent)
        finally:
            self.ask("DELETE", "/v1.51/containers/%s?force=1&v=1" % cid)

    def facts(self, image):
        about = self.ask("GET", "/v1.51/images/%s/json" % image)
        keys = ("Id", "RepoTags", "Size", "RootFS", "Config", "Created", "Architecture", "Os", "Author", "Comment", "Parent")
        return {k: about.get(k) for k in keys}, self.ask("GET", "/v1.51/images/%s/history" % image)


def both(function, *sides):
    """The function's results for each side, at the same time."""
    out = [None] * len(sides)

    def run(i):
        try:
            out[i] = function(sides[i])
        except BaseException as e:
            out[i] = e
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(sides))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for o in out:
        if isinstance(o, BaseException):
            raise o
    return out


class BesideDocker(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        docker = Docker()
        cls.addClassCleanup(docker.close)
        arca = Engine()
        cls.addClassCleanup(arca.close)
        arca.__enter__()
        cls.sides = [Side(arca), Side(docker)]

    def compare(self, path):
        recent = time.time() - 1
        mine, docker = both(lambda side: side.load(path), *self.sides)
        name = os.path.basename(path)[:-4]
        if name in nasty_images.REFUSED:  # nothing to compare with
            self.assertEqual(docker, nasty_images.REFUSED[name])
            self.assertIsInstance(mine, list, mine)
            return
        if isinstance(docker, str) or isinstance(mine, str):
            self.assertIsInstance(mine, str, "Docker refuses: %s" % docker)
            self.assertIsInstance(docker, str, "Arca refuses: %s" % mine)
            return
        self.assertEqual(mine, docker)
        try:
            a, b = both(lambda side: side.facts(mine[0]), *self.sides)
            with self.subTest("inspect and history"):
                self.assertEqual(a, b)
            a, b = both(lambda side: side.tree(mine[0], recent), *self.sides)
            self.assertIn(b"/.keeper", b)  # it is the container's tree that was walked
            with self.subTest("%d files" % len(b)):
                found = tree.differences(a, b)
                self.assertEqual(found, nasty_images.DIFFERENT.get(name, []), "\n" + "\n".join(found[:60]))
        finally:
            for tag in mine:
                for side in self.sides:
                    side.ask("DELETE", "/v1.51/images/%s?force=1" % tag)


def add_test(name, path):
    setattr(BesideDocker, "test_" + name.replace("-", "_"), lambda self: self.compare(path))


def run():
    with tempfile.TemporaryDirectory() as folder:
        nasty_images.write_all(folder)
        for path in sorted(glob.glob(folder + "/*.tar")):
            add_test("nasty_" + os.path.basename(path)[:-4], path)
        fixtures = sorted(glob.glob(FIXTURES + "/*.tar"))
        for path in fixtures:
            add_test("fixture_" + os.path.basename(path)[:-4], path)
        if not fixtures:
            BesideDocker.test_fixtures = unittest.skip("no images in " + FIXTURES)(lambda self: None)
        main()


if __name__ == "__main__":
    run()
