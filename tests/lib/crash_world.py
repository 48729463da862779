"""What a client was told, and whether it is still true after the daemon was killed. Used by the crash tests."""
import http.client
import json
import os
import signal
import subprocess

from arca_engine import CGROUP, wait_for

RETRIES = 2  # of a container with the policy on-failure
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
        self.pid = 0  # 0: it runs, the client has not seen as what

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
            status, _, data = self.e.http(method, path, body, headers, timeout=60)
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
            code = self.e.process.wait(60)
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
        self.runs_anew(name, self.act(name, "start", ok=(204,)))

    def restart(self, name):
        self.runs_anew(name, self.act(name, "restart", query="?t=5"))

    def runs_anew(self, name, f):
        f.starts, f.stopped = f.starts + 1, False
        f.pid = 0  # the daemon may be killed before it says which one it is now
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
            # Every daemon starts it, also after a stop.
            goes_on = f.policy == "always"
            s = is_now("exited", *(["running", "restarting"] if goes_on else ["running"] if f.asked == "start" else []))
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
        try:
            with open("/proc/%d/mounts" % e.process.pid) as f:
                left += ["mount " + line.split()[1] for line in f if e.dir in line]
        except OSError as why:  # it was killed just now
            self.died(why)
        nics = 0
        for net in self.json("GET", "/networks"):
            inside = self.json("GET", "/networks/" + net["Id"])["Containers"]
            left += ["endpoint %s of %s" % (net["Name"], c) for c in inside if c not in runs]
            nics += len(inside) if net["Driver"] == "bridge" else 0
        veths = [n for n in e.links() if n.startswith("veth")]
        if len(veths) > nics:
            left += ["veth " + n for n in veths]
        machines = os.listdir(e.run + "/machines")
        if len(machines) > len(runs) + e.config.get("agent-pool", 4):  # idle agents wait for the next starts
            left.append("machines %s for %d containers" % (machines, len(runs)))
        if len(e.agents()) > len(machines):
            left.append("agents %s for machines %s" % (e.agents(), machines))
        return left

    def clear(self):
        """Everything can be removed, by whoever finds it."""
        for c in self.json("GET", "/containers/json?all=1"):
            # 409: the daemon goes on with a removal that the one before had begun.
            self.http("DELETE", "/containers/%s?force=1&v=1" % c["Id"], ok=(204, 404, 409))
        wait_for(lambda: self.json("GET", "/containers/json?all=1") == [], what="the containers to be removed")
        for n in self.json("GET", "/networks"):
            if n["Name"] not in ("bridge", "host", "none"):
                self.http("DELETE", "/networks/" + n["Id"])
        for v in self.json("GET", "/volumes")["Volumes"] or []:
            self.http("DELETE", "/volumes/" + v["Name"])
        for i in self.json("GET", "/images/json"):
            if "busybox:latest" not in (i["RepoTags"] or []):
                self.http("DELETE", "/images/%s?force=1" % i["Id"])
