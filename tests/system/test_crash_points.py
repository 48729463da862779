#!/usr/bin/env python3
"""kill -9 at every durable step: each scenario is run again and again, the daemon ending itself at its 1st, 2nd, 3rd …
step (ARCA_FAILPOINT=any:N, docs/failpoints.md), until it passes without a crash. After every crash a daemon starts
again and what the client was told must be true: containers, exit codes, logs, images, volumes, networks; policies go
on; nothing of the rest stays on the host.

ARCA_CRASH_STRIDE=K takes every K-th step only, ARCA_CRASH_ONLY=NAME one scenario, ARCA_CRASH_AT=N one step.
"""
import http.client
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import CGROUP, Engine, busybox_archive, wait_for  # noqa: E402

STRIDE = int(os.environ.get("ARCA_CRASH_STRIDE", "1"))
ONLY = os.environ.get("ARCA_CRASH_ONLY", "")
AT = int(os.environ.get("ARCA_CRASH_AT", "0"))
RETRIES = 2
QUICK_START = 3.0  # seconds until a daemon answers after a crash
LONG = 'trap "exit 9" TERM; echo up; while :; do sleep 0.02; done'


class Crashed(Exception):
    pass


class Fact:
    """What the client was told about one container, and what it has asked without an answer."""

    def __init__(self, script, text, code, host):
        self.id, self.script, self.text, self.code, self.host = None, script, text, code, host
        self.starts = 0  # acknowledged
        self.asked = None  # start, stop, kill, restart, rename, rm: on its way
        self.old_name = None
        self.stopped = False
        self.pid = 0

    @property
    def long(self):
        return self.script == LONG

    @property
    def policy(self):
        return self.host.get("RestartPolicy", {}).get("Name", "")


class World:
    """Drives one daemon and keeps what it acknowledged."""

    def __init__(self, engine):
        self.e = engine
        self.containers, self.asked = {}, set()  # asked: names of things that may or may not be there
        self.images, self.volumes, self.networks = set(), {}, set()

    # -- requests
    def http(self, method, path, body=None, ok=(200, 201, 204), headers=None):
        try:
            status, _, data = self.e.http(method, path, body, headers, timeout=20)
        except (OSError, http.client.HTTPException) as problem:
            self.died(problem)
        if status not in ok:
            raise AssertionError("%s %s -> %d %s" % (method, path, status, data[:300]))
        return data

    def json(self, *args, **kw):
        data = self.http(*args, **kw)
        return json.loads(data) if data else None

    def died(self, why):
        try:
            code = self.e.process.wait(5)
        except subprocess.TimeoutExpired:
            raise AssertionError("the daemon lives but did not answer: %r" % why)
        if code != -signal.SIGKILL:
            raise AssertionError("the daemon ended with %d\n%s" % (code, self.e.log()))
        raise Crashed()

    # -- steps
    def create(self, name, script, text="", code=0, tty=False, volumes=None, image="busybox", ports=None, **host):
        host.setdefault("NetworkMode", "none")
        f = Fact(script, text, code, host)
        self.asked.add(name)
        body = {"Image": image, "Cmd": ["sh", "-c", script], "Tty": tty, "HostConfig": host}
        if volumes:
            body["Volumes"] = {v: {} for v in volumes}
        if ports:
            body["ExposedPorts"] = {p: {} for p in ports}
        f.id = self.json("POST", "/containers/create?name=" + name, body)["Id"]
        self.asked.discard(name)
        self.containers[name] = f
        return f

    def act(self, name, verb, method="POST", query="", ok=(204, 304)):
        f = self.containers[name]
        f.asked = verb
        self.http(method, "/containers/%s%s%s" % (name, "/" + verb if method == "POST" else "", query), ok=ok)
        f.asked = None
        return f

    def start(self, name):
        f = self.act(name, "start", ok=(204,))
        f.starts += 1
        f.stopped = False
        if f.long:
            f.pid = self.json("GET", "/containers/%s/json" % name)["State"]["Pid"]

    def up(self, name):
        f = self.containers[name]
        wait_for(lambda: self.logs(name) == f.text * f.starts, 5, "the first line of " + name)

    def stop(self, name, verb="stop", query="?t=5", code=9):
        f = self.act(name, verb, query=query)
        f.stopped, f.code = True, code
        if verb == "kill":
            self.http("POST", "/containers/%s/wait" % name)

    def rename(self, name, new):
        f = self.containers.pop(name)
        f.old_name = name
        f.asked = "rename"
        self.containers[new] = f
        self.http("POST", "/containers/%s/rename?name=%s" % (name, new))
        f.asked = f.old_name = None

    def ended(self, name):
        f = self.containers[name]
        code = self.json("POST", "/containers/%s/wait" % name)["StatusCode"]
        if code != f.code:
            raise AssertionError("wait for %s says %d" % (name, code))
        self.check_log(name, f)

    def remove(self, name, query=""):
        self.act(name, "rm", "DELETE", query)
        del self.containers[name]

    def logs(self, name):
        data, out = self.http("GET", "/containers/%s/logs?stdout=1&stderr=1" % name), b""
        if self.json("GET", "/containers/%s/json" % name)["Config"]["Tty"]:
            return data.decode()
        while data:
            size = int.from_bytes(data[4:8], "big")
            out, data = out + data[8:8 + size], data[8 + size:]
        return out.decode()

    def check_log(self, name, f):
        log, runs = self.logs(name), f.text * f.starts
        half = f.asked in ("start", "restart")  # a run that nobody was told about may have written something
        good = log.startswith(runs) and (runs + f.text).startswith(log) if half else log == runs
        if not good:
            raise AssertionError("log of %s after %d starts: %r" % (name, f.starts, log))

    # -- what must be true after a crash
    def check_container(self, name, f):
        names = [name] if f.asked != "rename" else [name, f.old_name]
        found = None
        for n in names:
            status, _, data = self.e.http("GET", "/containers/%s/json" % n)
            if status == 200:
                found = json.loads(data)
        goes = f.asked == "rm" or f.host.get("AutoRemove") and (f.starts or f.asked == "start")
        if found is None:
            if goes:
                return
            raise AssertionError("container %s is lost" % name)
        if found["Id"] != f.id:
            raise AssertionError("container %s is another one" % name)

        def state():
            status, _, data = self.e.http("GET", "/containers/%s/json" % f.id)
            return json.loads(data)["State"] if status == 200 else {"Status": "gone"}

        def is_now(*wanted):
            return wait_for(lambda: state()["Status"] in wanted and state(), 15,
                            "%s (%s) to be %s, it is %s" % (name, f.asked, wanted, state()))
        if f.asked == "rm":
            return  # not begun, or about to be gone: what is listed can be removed again
        if goes:
            is_now("gone", "created") if f.asked == "start" and not f.starts else is_now("gone")
        elif not f.starts and f.asked != "start":
            is_now("created")
        elif not f.starts:
            is_now("created", "exited", "running", "restarting")
        elif f.policy == "on-failure":
            s = wait_for(lambda: self.json("GET", "/containers/%s/json" % f.id)["RestartCount"] == RETRIES and
                         state()["Status"] == "exited" and state(), 15, "all restarts of " + name)
            if s["ExitCode"] != f.code:
                raise AssertionError("%s ended with %s" % (name, s))
        elif f.policy == "always" and not (f.stopped or f.asked in ("stop", "kill")):
            s = is_now("running")
            if not f.long:
                wait_for(lambda: state()["StartedAt"] != s["StartedAt"], 15, "another start of " + name)
        elif f.long and not f.stopped:
            if f.asked in ("stop", "kill", "restart"):
                is_now("running", "exited")
            else:
                s = is_now("running")
                if f.pid and s["Pid"] != f.pid:
                    raise AssertionError("%s was started again: %s" % (name, s))
                wait_for(lambda: self.logs(f.id), 5, "the first line of " + name)
                self.check_log(f.id, f)
        else:
            s = is_now("exited") if f.asked != "start" else is_now("exited", "running")
            if s["Status"] == "exited" and f.code is not None and s["ExitCode"] != f.code:
                raise AssertionError("%s ended with %s, not %d" % (name, s, f.code))
            if not f.policy:
                self.check_log(f.id, f)

    def check(self):
        for name, f in self.containers.items():
            self.check_container(name, f)
        known = set(self.containers) | {f.old_name for f in self.containers.values()} | self.asked
        for c in self.json("GET", "/containers/json?all=1"):
            if c["Names"][0][1:] not in known:
                raise AssertionError("a container of nobody: %s" % c)
        tags = {t for i in self.json("GET", "/images/json") for t in i["RepoTags"] or []}
        if self.images - tags - self.asked or tags - self.images - self.asked - {"busybox:latest"}:
            raise AssertionError("images are %s, told were %s, asked %s" % (tags, self.images, self.asked))
        for tag in self.images & tags:
            self.http("GET", "/images/%s/get" % tag)
        nets = {n["Name"] for n in self.json("GET", "/networks")} - {"bridge", "host", "none"}
        if (nets ^ self.networks) - self.asked:
            raise AssertionError("networks are %s, told were %s, asked %s" % (nets, self.networks, self.asked))
        volumes = {v["Name"]: v for v in self.json("GET", "/volumes")["Volumes"] or []}
        for name, content in self.volumes.items():
            if name in self.asked:
                continue
            if name not in volumes:
                raise AssertionError("volume %s is lost" % name)
            if content:
                with open(volumes[name]["Mountpoint"] + "/f") as file:
                    if file.read() != content:
                        raise AssertionError("volume %s has lost its data" % name)
        wait_for(lambda: not self.strays(), 10, "only what runs to be there: %s" % self.strays())

    def strays(self):
        """What is on the host beyond the containers that are listed and run."""
        e, left = self.e, []
        all_of = {c["Id"]: c["State"] for c in self.json("GET", "/containers/json?all=1")}
        runs = {i for i, state in all_of.items() if state in ("running", "paused", "restarting")}
        left += ["folder " + d for d in os.listdir(e.data + "/containers") if d not in all_of]
        for base in [CGROUP] + [os.path.join(CGROUP, d) for d in os.listdir(CGROUP)]:
            if os.path.isdir(base + e.cgroup):
                left += ["cgroup " + d for d in os.listdir(base + e.cgroup)
                         if os.path.isdir(base + e.cgroup + "/" + d) and d.split("-")[0] not in runs]
        with open("/proc/%d/mounts" % e.process.pid) as f:
            left += ["mount " + line.split()[1] for line in f if e.dir in line]
        nics = 0
        for net in self.json("GET", "/networks"):
            inside = self.json("GET", "/networks/" + net["Id"])["Containers"]
            left += ["endpoint %s of %s" % (net["Name"], c) for c in inside if c not in runs]
            nics += len(inside) if net["Driver"] == "bridge" else 0
        veths = [n for n in e.links() if n.startswith("veth")]
        if len(veths) > nics:
            left += ["veth " + n for n in veths]
        machines = os.listdir(e.run + "/machines")
        if len(machines) > len(runs) + 1:  # one idle agent waits for the next start
            left.append("machines %s for %d containers" % (machines, len(runs)))
        if len(e.agents()) > len(machines):
            left.append("agents %s for machines %s" % (e.agents(), machines))
        return left

    def clear(self):
        """Everything can be removed, by whoever finds it."""
        for c in self.json("GET", "/containers/json?all=1"):
            self.http("DELETE", "/containers/%s?force=1&v=1" % c["Id"], ok=(204, 404))
        for n in self.json("GET", "/networks"):
            if n["Name"] not in ("bridge", "host", "none"):
                self.http("DELETE", "/networks/" + n["Id"])
        for v in self.json("GET", "/volumes")["Volumes"] or []:
            self.http("DELETE", "/volumes/" + v["Name"])
        for i in self.json("GET", "/images/json"):
            if "busybox:latest" not in (i["RepoTags"] or []):
                self.http("DELETE", "/images/%s?force=1" % i["Id"])


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
    f = w.act("plain", "restart", query="?t=5")
    f.starts += 1
    f.pid = w.json("GET", "/containers/plain/json")["State"]["Pid"]
    w.up("plain")
    w.stop("plain", query="?t=0", code=137)


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
        self.slowest = 0

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
                wait_for(lambda: self.e.process.poll() is not None, 0.3, "another crash")
            except AssertionError:
                pass
            del self.e.env["ARCA_FAILPOINT"]
            if self.e.process.poll() is None:
                self.e.kill9()
        begin = time.monotonic()
        self.e.start()
        self.slowest = max(self.slowest, time.monotonic() - begin)
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
              (scenario.__name__, crashes, time.monotonic() - begin, self.slowest * 1000), flush=True)
        self.assertLess(self.slowest, QUICK_START)
        self.assertTrue(AT or crashes * STRIDE > 8, "the scenario passes durable steps")


class AgentCrash(unittest.TestCase):
    """The agent is killed beside its exit journal: a code that is in it counts, and no other is made up."""

    def run_with(self, step, daemon_away):
        with Engine(config={"agent-pool": 0}, env={"ARCA_GUEST_FAILPOINT": step}) as e:
            e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
            e.docker("run", "-d", "--name", "one", "busybox", "sh", "-c", "echo out; sleep 0.3; exit 42")
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
