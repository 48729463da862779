"""A daemon with hostile agents in it, and a neighbour who must not notice (guest/testing/hostile/wish.hpp has the wishes)."""
import json
import os
import statistics
import subprocess
import threading
import time

from arca_engine import BIN, SANITIZED, Engine, busybox_archive, wait_for

MEMORY_KB = 200 << 10  # what one machine may cost the daemon: twice 64 MiB under way in gRPC, and buffers
NEIGHBOUR = "neighbour"


class Neighbour(threading.Thread):
    """Asks the daemon for the neighbour all the time: exec, list, logs. Notes how long each took and how large the daemon was."""

    def __init__(self, engine, pause=0.05):
        super().__init__(daemon=True)
        self.pause = pause
        self.e, self.over, self.lock = engine, threading.Event(), threading.Lock()
        self.problem, self.times, self.peak = None, [], 0
        self.begun = self.answered = 0  # looks, counted

    def look(self):
        begin = time.monotonic()
        self.begun += 1
        x = self.e.json("POST", "/containers/%s/exec" % NEIGHBOUR, {"Cmd": ["true"], "AttachStdout": True})["Id"]
        status, _, _ = self.e.http("POST", "/exec/%s/start" % x, {}, timeout=30)
        assert status == 200, status
        assert self.e.json("GET", "/exec/%s/json" % x)["ExitCode"] == 0
        assert any(NEIGHBOUR in c["Names"][0] for c in self.e.json("GET", "/containers/json"))
        assert b"neighbour is here" in self.e.http("GET", "/containers/%s/logs?stdout=1" % NEIGHBOUR)[2]
        with self.lock:
            self.times.append(time.monotonic() - begin)
            self.peak = max(self.peak, self.e.rss_kb()[0])
            self.answered = self.begun

    def run(self):
        while not self.over.wait(self.pause):
            try:
                self.look()
            except Exception as problem:  # noqa: BLE001
                self.problem = self.problem or problem
                return

    def since(self):
        """(times, peak) since the last call."""
        with self.lock:
            out = self.times, self.peak
            self.times, self.peak = [], 0
        return out

    def end(self):
        self.over.set()
        self.join()


class World:
    def __init__(self, runtime="namespace", **config):
        self.runtime = runtime
        self.e = Engine(config=dict({"default-runtime": runtime, "agent-pool": 0}, **config))
        self.spawning = threading.Lock()
        agent = self.e.dir + "/arca-guest"
        os.symlink(BIN + "/arca-hostile-guest", agent)
        os.symlink(BIN + "/arca-guest", agent + ".real")
        self.wish_file = agent + ".wish"
        if runtime == "namespace":
            self.e.config["guest-path"] = agent
        else:
            self.initrd = hostile_guest(self.e.data)
        self.e.__enter__()
        try:
            self.e.docker("load", "-i", busybox_archive(self.e.dir + "/busybox.tar"))
            self.e.docker("run", "-d", "--name", NEIGHBOUR, "--network", "none", "busybox", "sh", "-c",
                          "echo neighbour is here; exec sleep 100000")
            wait_for(lambda: b"neighbour is here" in self.e.http("GET", "/containers/%s/logs?stdout=1" % NEIGHBOUR)[2], 10,
                     "the neighbour's first words")
            self.watch()
            for _ in range(20 if runtime == "namespace" else 5):
                self.neighbour.look()
            self.usual, self.base = self.neighbour.since()
            self.neighbour.start()
        except BaseException:
            self.e.close()
            raise

    def watch(self):
        self.neighbour = Neighbour(self.e, 0.05 if self.runtime == "namespace" else 0.5)

    def close(self):
        self.neighbour.end()
        try:
            self.e.remove_everything()
            wait_for(lambda: not self.e.leftovers_of_containers(), 20, "the last machine to go")
        finally:
            self.e.close()

    # -- one hostile machine
    def create(self, wish, network="none", **body):
        host = dict({"NetworkMode": network}, **body.pop("HostConfig", {}))
        if self.runtime == "vm":
            words = "arca.hostile=" + wish
            host["Annotations"] = {"arca.vm.initrd-path": self.initrd, "arca.vm.kernel-arguments": words}
        return self.e.json("POST", "/containers/create", dict({"Image": "busybox", "Cmd": ["true"], "HostConfig": host}, **body))["Id"]

    def start(self, cid, wish):
        """(status, message, seconds). In a namespace the next agent that is started takes the wish."""
        if self.runtime == "vm":
            return self.start_now(cid)
        answer = []
        with self.spawning:
            with open(self.wish_file + ".new", "w") as f:
                f.write(wish)
            os.rename(self.wish_file + ".new", self.wish_file)
            thread = threading.Thread(target=lambda: answer.append(self.start_now(cid)))
            thread.start()
            wait_for(lambda: not os.path.exists(self.wish_file), 20, "the agent to take its wish", 0.002)
        thread.join()
        return answer[0]

    def start_now(self, cid):
        begin = time.monotonic()
        status, _, body = self.e.http("POST", "/containers/%s/start" % cid, timeout=200)
        return status, json.loads(body)["message"] if body else "", time.monotonic() - begin

    def state(self, cid):
        return self.e.json("GET", "/containers/%s/json" % cid)["State"]

    def ended(self, cid, seconds=20):
        return wait_for(lambda: (lambda s: s if s["Status"] == "exited" else None)(self.state(cid)), seconds, "the end of " + cid[:12])

    def exec(self, cid, **more):
        """(output, inspect) of an exec."""
        x = self.e.json("POST", "/containers/%s/exec" % cid, dict({"Cmd": ["true"], "AttachStdout": True}, **more))["Id"]
        _, _, out = self.e.http("POST", "/exec/%s/start" % x, {}, timeout=60)
        return out, self.e.json("GET", "/exec/%s/json" % x)

    def remove(self, cid):
        """Whatever the agent does, in time."""
        begin = time.monotonic()
        status, _, body = self.e.http("DELETE", "/containers/%s?force=1" % cid, timeout=60)
        assert status == 204, (status, body)
        took = time.monotonic() - begin
        assert took < 20, "rm -f took %.1f s" % took

    # -- what must hold
    def quiet(self, what):
        """Nobody noticed anything since the last call, nor does one who asks now: the neighbour's times, the daemon's memory."""
        before = self.neighbour.begun
        wait_for(lambda: self.neighbour.answered > before or self.neighbour.problem or self.e.process.poll() is not None, 30,
                 "%s: an answer of the neighbour" % what, 0.01)
        assert self.neighbour.problem is None, "%s: the neighbour: %r" % (what, self.neighbour.problem)
        assert self.e.process.poll() is None, "%s: the daemon has ended:\n%s" % (what, self.e.log())
        times, peak = self.neighbour.since()
        if SANITIZED:
            return
        usual = statistics.median(self.usual)
        limit = max(usual * 8, 0.4)
        if statistics.median(times) >= limit and len(times) < 10:  # few looks: a stall of the host, or ours? It is asked again
            before = self.neighbour.begun
            wait_for(lambda: self.neighbour.answered > before + 10 or self.neighbour.problem, 90, "%s: more answers" % what, 0.01)
            assert self.neighbour.problem is None, "%s: the neighbour: %r" % (what, self.neighbour.problem)
            more, higher = self.neighbour.since()
            times, peak = times + more, max(peak, higher)
        now = statistics.median(times)
        assert now < limit and max(times) < 10, "%s: the neighbour took %.3f s (max %.3f), usually %.3f" % (
            what, now, max(times), usual)
        assert peak < self.base + MEMORY_KB, "%s: the daemon grew to %d MiB" % (what, peak >> 10)

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.e.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def hostile_guest(data):
    """An initramfs with the hostile agent as /init, made once for a build."""
    root = os.path.join(os.path.dirname(BIN), "hostile-guest")
    subprocess.run([BIN + "/arca", "setup", "--data-root", root, "--guest-path", BIN + "/arca-hostile-guest"], check=True,
                   stdout=subprocess.DEVNULL)
    os.makedirs(data, exist_ok=True)
    copy = data + "/hostile-initrd"
    subprocess.run(["cp", "-L", root + "/guest/current/initrd", copy], check=True)
    os.chmod(copy, 0o644)
    return copy
