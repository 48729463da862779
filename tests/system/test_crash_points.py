#!/usr/bin/env python3
"""kill -9 at every durable step: each scenario is run again and again, the daemon ending itself at its 1st, 2nd, 3rd …
step (ARCA_FAILPOINT=any:N, docs/failpoints.md), until it passes without a crash. After every crash a daemon starts
again and what the client was told must be true: containers, exit codes, logs, images, volumes, networks; policies go
on; nothing of the rest stays on the host.

ARCA_CRASH_STRIDE=K takes every K-th step only, ARCA_CRASH_ONLY=NAME one scenario, ARCA_CRASH_AT=N one step.
"""
import io
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tarfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import SANITIZED, Engine, busybox_archive, wait_for  # noqa: E402
from crash_world import LONG, RETRIES, Crashed, World  # noqa: E402

STRIDE = int(os.environ.get("ARCA_CRASH_STRIDE", "1"))
ONLY = os.environ.get("ARCA_CRASH_ONLY", "")
AT = int(os.environ.get("ARCA_CRASH_AT", "0"))
# Seconds until a daemon answers after a crash; sanitizers take several times as long.
QUICK_START = 15.0 if SANITIZED else 3.0


def tiny_image(path):
    """A docker-archive of one small layer with a file, tagged tiny:1."""
    import hashlib
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = 6
        tar.addfile(member, io.BytesIO(b"hello\n"))
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}}
    files = {"config.json": json.dumps(config).encode(), "layer.tar": layer.getvalue()}
    files["manifest.json"] = json.dumps([{"Config": "config.json", "RepoTags": ["tiny:1"], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


# -- scenarios
def images(w):
    with open(tiny_image(w.e.dir + "/tiny.tar"), "rb") as file:
        archive = file.read()
    w.asked.add("tiny:1")
    w.http("POST", "/images/load", archive, headers={"Content-Type": "application/x-tar"})
    w.images.add("tiny:1")
    w.asked = {"tiny:2"}
    w.http("POST", "/images/tiny:1/tag?repo=tiny&tag=2")
    w.images.add("tiny:2")
    w.asked = set()
    w.create("user", "/hello", image="tiny:2")
    w.asked = {"tiny:1"}
    w.http("DELETE", "/images/tiny:1?force=1")
    w.images.discard("tiny:1")
    w.asked = set()
    w.remove("user")
    w.asked = {"tiny:2"}
    w.http("DELETE", "/images/tiny:2")
    w.images.discard("tiny:2")
    w.asked = set()


def life(w):
    w.create("quick", "echo hi; exit 7", "hi\n", 7)
    w.start("quick")
    w.ended("quick")
    w.start("quick")
    w.ended("quick")
    w.create("long", LONG, "up\n", 9)
    w.start("long")
    exec_id = w.json("POST", "/containers/long/exec", {"Cmd": ["sh", "-c", "exit 5"], "AttachStdout": True})["Id"]
    w.http("POST", "/exec/%s/start" % exec_id, {"Detach": True})
    w.rename("long", "other")
    w.up("other")
    w.stop("other")
    w.start("other")
    w.up("other")
    w.stop("other", "kill", "", 137)
    w.remove("other")
    w.remove("quick")


def network(w):
    w.asked = {"n1"}
    w.http("POST", "/networks/create", {"Name": "n1"})
    w.asked = set()
    w.networks.add("n1")
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}
    w.create("web", LONG, "up\n", 9, NetworkMode="n1", PortBindings=ports, ports=["80/tcp"])
    w.start("web")
    w.create("short", "echo hi; exit 3", "hi\n", 3, NetworkMode="bridge")
    w.start("short")
    w.ended("short")
    w.up("web")
    w.stop("web")
    w.remove("web")
    w.remove("short")
    w.asked = {"n1"}
    w.http("DELETE", "/networks/n1")
    w.networks.discard("n1")
    w.asked = set()


def retries(w):
    again = {"Name": "on-failure", "MaximumRetryCount": RETRIES}
    w.create("retry", "echo try; exit 1", "try\n", 1, RestartPolicy=again, NetworkMode="bridge")
    w.start("retry")
    wait_for(lambda: w.json("GET", "/containers/retry/json")["RestartCount"] == RETRIES, 10, "all restarts")
    w.containers["retry"].asked = "rm"  # refused as long as the last one runs
    wait_for(lambda: w.http("DELETE", "/containers/retry", ok=(204, 409)) == b"", 10, "the last exit")
    del w.containers["retry"]


def always(w):
    w.create("always", "sleep 0.05; exit 2", "", 2, RestartPolicy={"Name": "always"})
    w.start("always")
    wait_for(lambda: w.json("GET", "/containers/always/json")["RestartCount"] > 0, 10, "a restart")
    w.stop("always", code=None)
    w.remove("always")
    w.create("server", LONG, "up\n", 9, RestartPolicy={"Name": "always"})
    w.start("server")
    w.up("server")
    w.act("server", "restart", query="?t=5")
    w.remove("server", "?force=1")
    w.create("plain", LONG, "up\n", 9)
    w.start("plain")
    w.up("plain")
    w.restart("plain")
    w.up("plain")
    w.stop("plain", query="?t=0", code=None)  # 9 or 137: both signals at once


def volumes(w):
    w.asked = {"v1"}
    w.http("POST", "/volumes/create", {"Name": "v1"})
    w.volumes["v1"], w.asked = "", set()
    bind = w.e.dir + "/bind"
    os.makedirs(bind, exist_ok=True)
    w.create("writer", "echo data >/v/f; echo x >/anon/f; echo x >>/b/f; echo done", "done\n", 0, volumes=["/anon"],
             Binds=["v1:/v", bind + ":/b"])
    w.start("writer")
    w.ended("writer")
    w.volumes["v1"] = "data\n"
    anonymous = [m["Name"] for m in w.json("GET", "/containers/writer/json")["Mounts"] if m["Destination"] == "/anon"]
    w.volumes[anonymous[0]] = "x\n"
    w.remove("writer")  # without v=1: the anonymous volume stays
    w.create("auto", "echo auto", "auto\n", 0, tty=True, volumes=["/anon"], AutoRemove=True, Binds=["v1:/v"])
    w.start("auto")
    wait_for(lambda: w.http("GET", "/containers/auto/json", ok=(200, 404)).find(b"No such") >= 0, 10, "auto to go")
    del w.containers["auto"]
    w.asked.add("cli")
    r = w.e.docker("run", "--rm", "--name", "cli", "--network", "none", "busybox", "echo", "cli", check=False)
    if r.returncode != 0 or r.out != "cli\n":
        w.died(r.out + r.err)
    w.asked = {"v1"}
    w.http("DELETE", "/volumes/v1")
    del w.volumes["v1"]
    w.asked = set()


def ten_ms(w):
    """The client knows no more than that it was started."""
    for n, mode in enumerate(("none", "bridge")):
        w.create("ms%d" % n, "echo hi; sleep 0.01; exit %d" % (40 + n), "hi\n", 40 + n, NetworkMode=mode)
        w.start("ms%d" % n)
    for n in range(2):
        w.ended("ms%d" % n)


SCENARIOS = [volumes, always, life, retries, network, ten_ms, images]  # the long ones first


class CrashPoints(unittest.TestCase):
    def setUp(self):
        self.e = Engine(config={"agent-pool": 1})
        self.e.__enter__()
        self.e.docker("load", "-i", busybox_archive(self.e.dir + "/busybox.tar"))
        self.e.terminate()
        self.baseline = self.on_disk()
        self.starts = []

    def tearDown(self):
        self.e.close()

    def on_disk(self):
        """What a daemon without containers has: rows, layers, blobs, volumes, folders of machines and containers."""
        db = sqlite3.connect("file:%s/state.db?mode=ro" % self.e.data, uri=True)
        rows = {t: sorted(r[0] for r in db.execute('SELECT key FROM "%s"' % t))
                for t in ("containers", "images", "references", "networks", "endpoints", "volumes", "leases")}
        db.close()
        for folder in ("layers", "blobs/sha256", "volumes", "containers"):
            rows[folder] = sorted(os.listdir(self.e.data + "/" + folder))
        return rows

    def crash_once(self, scenario, n):
        """True when the daemon was killed at its n-th step, False when the scenario passed without."""
        w = World(self.e)
        self.e.env["ARCA_FAILPOINT"] = "any:%d" % n
        crashed = False
        try:
            try:
                self.e.start()
            except AssertionError as why:
                w.died(why)
            scenario(w)
            wait_for(lambda: not w.strays(), 10, "only what runs to be there")
            w.json("GET", "/version")
            self.e.kill9()  # the last crash point: after everything
        except Crashed:
            crashed = True
        finally:
            del self.e.env["ARCA_FAILPOINT"]
        if n % 3 == 0:  # a crash during the recovery as well
            self.e.env["ARCA_FAILPOINT"] = "any:%d" % (n % 7 + 1)
            try:
                self.e.start()
            except AssertionError:
                if self.e.process.poll() is None:
                    raise  # else it ended before it answered
            del self.e.env["ARCA_FAILPOINT"]
            try:
                self.e.process.wait(0.3)
            except subprocess.TimeoutExpired:
                self.e.kill9()
            self.assertEqual(self.e.process.returncode, -signal.SIGKILL, self.e.log())
        begin = time.monotonic()
        self.e.start()
        self.starts.append(time.monotonic() - begin)
        w.check()
        w.clear()
        w.asked, w.containers = set(), {}
        wait_for(lambda: not w.strays(), 10, "nothing to be left: %s" % w.strays())
        self.assertEqual(self.e.leftovers_of_containers(), [])
        wait_for(lambda: self.on_disk() == self.baseline, 5, "the disk to be as before: %s, not %s" %
                 (self.on_disk(), self.baseline))
        self.e.kill9()
        return crashed

    def sweep(self, scenario):
        begin, n, crashes = time.monotonic(), AT or 1, 0
        while True:
            try:
                if not self.crash_once(scenario, n):
                    break
            except BaseException as problem:
                raise AssertionError("%s, killed at step %d: %s\n%s" % (scenario.__name__, n, problem, self.e.log())) from problem
            crashes += 1
            if AT:
                break
            n += STRIDE
        print("%-9s %3d crash points, %5.1f s, slowest start %.0f ms" %
              (scenario.__name__, crashes, time.monotonic() - begin, max(self.starts) * 1000), flush=True)
        self.assertLess(statistics.median(self.starts), QUICK_START)  # one stall of the host is none of the daemon's
        self.assertTrue(AT or crashes * STRIDE > 8, "the scenario passes durable steps")


class AgentCrash(unittest.TestCase):
    """The agent is killed beside its exit journal: a code that is in it counts, and no other is made up."""

    def run_with(self, step, daemon_away):
        with Engine(config={"agent-pool": 0}, env={"ARCA_GUEST_FAILPOINT": step}) as e:
            e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
            e.docker("run", "-d", "--name", "one", "-v", e.dir + ":/host", "busybox", "sh", "-c",
                     "echo out; until [ -e /host/go ]; do sleep 0.05; done; exit 42")
            if not daemon_away:
                wait_for(lambda: e.docker("logs", "one").out == "out\n", 60, "the output")
            open(e.dir + "/go", "w").close()
            if daemon_away:
                e.kill9()
                wait_for(lambda: not e.agents(), 10, "the agent to be killed")
                e.start()

            def ended():
                s = e.json("GET", "/containers/one/json")["State"]
                return s["Status"] == "exited" and s
            state = wait_for(ended, 10, "the exit to be known")
            log = e.docker("logs", "one").out
            e.docker("rm", "one")
            wait_for(lambda: not e.leftovers_of_containers(), 10, "nothing to stay behind")
            self.assertEqual(os.listdir(e.run + "/machines"), [])
            return state, log

    def test_after_the_journal(self):
        for daemon_away in (False, True):
            state, log = self.run_with("exit-journal:1", daemon_away)
            self.assertEqual((state["ExitCode"], state["Error"]), (42, ""))
            self.assertTrue(daemon_away or log == "out\n", log)

    def test_before_the_journal(self):
        for daemon_away in (False, True):
            state, log = self.run_with("before-exit-journal:1", daemon_away)
            self.assertEqual(state["ExitCode"], 137)
            self.assertIn("agent", state["Error"])
            self.assertTrue(daemon_away or log == "out\n", log)


for one in SCENARIOS:
    setattr(CrashPoints, "test_" + one.__name__, lambda self, s=one: self.sweep(s))


def side_by_side(width=3):
    """Every scenario in a process and a lab of its own: they wait more than they work."""
    waiting, running, failed = ["CrashPoints.test_" + s.__name__ for s in SCENARIOS] + ["AgentCrash"], {}, []
    while waiting or running:
        while waiting and len(running) < width:
            name = waiting.pop(0)
            running[subprocess.Popen([sys.executable, os.path.abspath(__file__), name]).pid] = name
        pid, status = os.wait()
        if status != 0:
            failed.append(running[pid])
        del running[pid]
    print("failed: " + ", ".join(failed) if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    if ONLY:
        sys.argv[1:] = ["CrashPoints.test_" + ONLY]
    if len(sys.argv) > 1:
        unittest.main(verbosity=0)
    sys.exit(side_by_side())
