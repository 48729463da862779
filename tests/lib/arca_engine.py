"""A throw-away Arca daemon for tests: own data root, run root, socket, and (by default) own network and mount namespaces.

    with Engine() as e:
        e.docker("run", "--rm", "busybox", "echo", "hi")
        e.http("GET", "/containers/json")

Nothing here sleeps blindly: every wait polls a condition with a deadline.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("ARCA_BIN_DIR", os.path.join(ROOT, "build", "release", "bin"))
SANITIZED = os.environ.get("ARCA_SANITIZE", "")  # "address", "thread": what is slow or big then says nothing
RUNTIME = os.environ.get("ARCA_RUNTIME", "")  # "vm": every container that names no runtime gets a virtual machine
SUPPRESSIONS = os.path.join(ROOT, "tests", "tsan.supp")
LAB = os.path.join(ROOT, "tests", "fixtures", "lab.sh")
CGROUP = "/sys/fs/cgroup"


PATIENCE = 60  # what a busy machine gets at least; it costs nothing where the condition comes


def wait_for(condition, seconds=10, what="condition", step=0.02):
    """The condition's first true value; AssertionError after `seconds`, or PATIENCE. Never to show that something is slow."""
    seconds = max(seconds, PATIENCE)
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out after %.1f s waiting for %s" % (seconds, what))
        time.sleep(step)


def guest_folder():
    """DATA_ROOT/guest with a guest for virtual machines, made once for a build (arca setup, Debian's packages)."""
    root = os.path.join(os.path.dirname(BIN), "guest")
    agent = os.environ.get("ARCA_VM_GUEST")  # that of a sanitizer build is not static (tests/run)
    subprocess.run([BIN + "/arca", "setup", "--data-root", root] + (["--guest-path", agent] if agent else []), check=True,
                   stdout=subprocess.DEVNULL)
    return root + "/guest"


def main():
    """unittest.main for ctest: 77 (SKIP_RETURN_CODE in tests/CMakeLists.txt) when something was skipped, so that it shows."""
    result = unittest.main(verbosity=1, exit=False).result
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("arca", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def start_lab(name):
    """lab.sh gives its holder 0.1 s to take its name, which a busy host may not keep."""
    if subprocess.run([LAB, "start", name]).returncode != 0:
        wait_for(lambda: subprocess.run([LAB, "pid", name], stdout=subprocess.DEVNULL).returncode == 0, what="the lab " + name)


class Engine:
    count = 0

    def __init__(self, *flags, config=None, lab=True, keep=False, env=None):
        Engine.count += 1
        self.dir = tempfile.mkdtemp(prefix="arca-t", dir="/tmp")
        self.name = "t%d-%d" % (os.getpid(), Engine.count)
        self.flags, self.config, self.use_lab, self.keep = list(flags), config or {}, lab, keep
        # What sanitizers find in the daemon and its agents (asan and tsan presets) goes to files that close() looks at.
        self.reports = self.dir + "/sanitizer"
        self.env = dict(os.environ, **(env or {}))
        options = {"ASAN": "", "UBSAN": ":print_stacktrace=1", "TSAN": ":ignore_noninstrumented_modules=1:print_suppressions=0:suppressions=" + SUPPRESSIONS}
        for name, more in options.items():
            given = self.env.get(name + "_OPTIONS")
            self.env[name + "_OPTIONS"] = (given + ":" if given else "") + "log_path=" + self.reports + more
        self.data, self.run = self.dir + "/data", self.dir + "/run"
        self.sock = self.dir + "/arca.sock"
        self.host = "unix://" + self.sock
        self.cgroup = "/arca-" + self.name
        self.process = None
        self.log_path = self.dir + "/daemon.log"
        if RUNTIME:
            self.config.setdefault("default-runtime", RUNTIME)
        if self.config.get("default-runtime") == "vm":
            self.config.setdefault("vm-pool", "off")  # an idle machine looks like one that was left behind
            self.install_guest()
        os.makedirs(self.dir + "/docker-config", exist_ok=True)

    def install_guest(self):
        """What arca setup does, without the time: a copy by hard links."""
        os.makedirs(self.data, exist_ok=True)
        subprocess.run(["cp", "-alT", guest_folder(), self.data + "/guest"], check=True)

    # -- life
    def __enter__(self):
        if self.use_lab:
            start_lab(self.name)
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.remove_everything()
        finally:
            self.close()

    def command(self):
        config = dict({"socket-path": self.sock, "data-root": self.data, "run-root": self.run,
                       "cgroup-parent": self.cgroup}, **self.config)
        with open(self.dir + "/config.json", "w") as f:
            json.dump(config, f)
        command = [BIN + "/arca", "daemon", "start", "--foreground", "--config", self.dir + "/config.json"] + self.flags
        return [LAB, "run", self.name] + command if self.use_lab else command

    def start(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        start_new_session=True, env=self.env)
        log.close()

        def answers():
            if self.process.poll() is not None:
                raise AssertionError("the daemon ended with %s:\n%s" % (self.process.returncode, self.log()))
            try:
                return self.http("GET", "/_ping")[0] == 200
            except OSError:
                return False
        wait_for(answers, 60, "the daemon's first answer", 0.005)

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, seconds=30):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def remove_everything(self):
        for c in self.json("GET", "/containers/json?all=1"):
            self.http("DELETE", "/containers/%s?force=1&v=1" % c["Id"])

    @classmethod
    def with_busybox(cls, **options):
        """One that runs and has the image; for setUpModule."""
        engine = cls(**options)
        engine.__enter__()
        try:
            engine.docker("load", "-i", busybox_archive(engine.dir + "/busybox.tar"))
        except BaseException:
            engine.close()
            raise
        return engine

    def close_clean(self):
        """Removes everything, ends it, and fails for what containers have left behind; for tearDownModule."""
        left = None
        try:
            self.remove_everything()
            wait_for(lambda: not self.leftovers_of_containers(), 20, "the last machine's teardown")
            self.end()
            left = self.leftovers_of_containers() + ["cgroup " + path for path in self.cgroups()]
        finally:
            self.close()
        assert not left, left

    def end(self):
        """SIGTERM to a daemon that still runs; AssertionError when it does not end well."""
        if not self.process or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError("the daemon did not end:\n" + self.log()) from None
        assert code == 0, "the daemon ended with %d:\n%s" % (code, self.log())

    def close(self):
        try:
            self.end()
        finally:
            self.clean()

    def clean(self):
        # What a failed test left: of this engine only, by its folder and its cgroups.
        for pid in self.machines():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.end_cgroups()
        if self.use_lab:
            subprocess.run([LAB, "stop", self.name], check=False)
        reports = self.sanitizer_reports()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        if reports:
            raise AssertionError("sanitizer reports of the daemon or an agent:\n" + reports)

    def sanitizer_reports(self):
        text = ""
        for name in sorted(os.listdir(self.dir)):
            if name.startswith("sanitizer."):
                with open(os.path.join(self.dir, name), errors="replace") as f:
                    text += f.read()
        keep = os.environ.get("ARCA_SANITIZER_REPORTS")  # a file to collect them
        if text and keep:
            with open(keep, "a") as f:
                f.write(text)
        return text[:20000]

    # -- clients
    def http(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers, bytes) of one request; a dict body is sent as JSON."""
        c = UnixConnection(self.sock, timeout)
        try:
            h = dict(headers or {})
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                h["Content-Type"] = "application/json"
            c.request(method, path, body, h)
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read()
        finally:
            c.close()

    def json(self, method, path, body=None, expect=None):
        status, _, data = self.http(method, path, body)
        if expect is not None and status != expect or expect is None and status >= 400:
            raise AssertionError("%s %s -> %d %s" % (method, path, status, data[:500]))
        return json.loads(data) if data else None

    def docker(self, *args, check=True, input=None, timeout=120):
        """CompletedProcess of the docker CLI against this engine, run in its lab (published ports are there)."""
        env = dict(self.env, DOCKER_HOST=self.host, DOCKER_CONFIG=self.dir + "/docker-config")
        command = ["docker", *args]
        if self.use_lab:
            command = [LAB, "run", self.name] + command
        r = subprocess.run(command, env=env, input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        r.out, r.err = r.stdout.decode("utf-8", "replace"), r.stderr.decode("utf-8", "replace")
        if check and r.returncode != 0:
            raise AssertionError("docker %s -> %d\n%s%s" % (" ".join(args), r.returncode, r.out, r.err))
        return r

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()[-8000:]

    # -- what is on the host
    def agents(self):
        return self.processes(b"arca-guest")

    def machines(self):
        """Whatever of a machine has a process here: agents, QEMU, virtiofsd."""
        return self.processes(b"arca-guest", b"qemu-system-x86_64", b"virtiofsd")

    def processes(self, *programs):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    words = f.read().split(b"\0")
                with open("/proc/%s/stat" % pid) as f:
                    zombie = f.read().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                continue
            if not zombie and words and words[0].endswith(programs) and any(self.run.encode() in w for w in words):
                found.append(int(pid))
        return found

    def machine_of(self, container):
        """The process of this running container's machine: its agent, or QEMU."""
        pid = self.json("GET", "/containers/%s/json" % container)["State"]["Pid"]
        if pid in self.processes(b"qemu-system-x86_64"):
            return pid
        agents = [agent for agent in self.agents() if self.child_of(agent, container)]
        assert len(agents) == 1, agents
        return agents[0]

    def child_of(self, agent, container):
        """Whether this agent is the one that holds the container's init."""
        pid = self.json("GET", "/containers/%s/json" % container)["State"]["Pid"]
        try:
            with open("/proc/%d/stat" % pid) as f:
                return int(f.read().rsplit(")", 1)[1].split()[1]) == agent
        except OSError:
            return False

    def cgroups(self):
        """The parents of this engine's cgroups, in every hierarchy, that are there."""
        bases = [CGROUP] + [os.path.join(CGROUP, d) for d in (os.listdir(CGROUP) if os.path.isdir(CGROUP) else [])]
        return [path for base in bases for path in (base + self.cgroup, base + self.cgroup + "-vm") if os.path.isdir(path)]

    def end_cgroups(self):
        """Kills what is left in them, frozen or not, and removes them."""
        def settle():
            for parent in self.cgroups():
                for folder, _, _ in os.walk(parent, topdown=False):
                    for name, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                        if os.path.exists(os.path.join(folder, name)):
                            with open(os.path.join(folder, name), "w") as f:
                                f.write(thawed)
                    with open(os.path.join(folder, "cgroup.procs")) as f:
                        pids = f.read().split()
                    for pid in pids:
                        try:
                            os.kill(int(pid), signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                    try:
                        os.rmdir(folder)
                    except OSError:
                        pass  # its processes are still ending
            return not self.cgroups()
        wait_for(settle, 10, "what a test left in cgroups to end")

    def leftovers_of_containers(self):
        """What a person could find on the host of containers that are gone: files, cgroups, mounts, veths."""
        left = []
        if os.path.isdir(self.data + "/containers"):
            left += ["files " + d for d in os.listdir(self.data + "/containers")]
        for path in self.cgroups():
            left += ["cgroup " + os.path.join(path, d) for d in os.listdir(path) if os.path.isdir(os.path.join(path, d))]
        if self.process.poll() is None:
            with open("/proc/%d/mounts" % self.process.pid) as f:
                left += ["mount " + line.split()[1] for line in f if self.dir in line]
        left += ["link " + name for name in self.links() if name.startswith("veth")]
        left += ["process %d" % pid for pid in self.processes(b"qemu-system-x86_64", b"virtiofsd")]
        return left

    def links(self):
        command = ["ip", "-o", "link"]
        if self.use_lab:
            command = [LAB, "run", self.name] + command
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
        return [line.split(": ")[1].split("@")[0] for line in out.splitlines()]

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def rss_kb(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            values = dict(line.split(":", 1) for line in f)
        return int(values["VmRSS"].split()[0]), int(values["Threads"])


def busybox_archive(path):
    """A docker-archive of one layer with static busybox, tagged busybox:latest; made without any engine."""
    subprocess.run([os.path.join(ROOT, "tools", "make-busybox-image"), path], check=True)
    return path
