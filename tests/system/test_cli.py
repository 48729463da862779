#!/usr/bin/env python3
"""The docker CLI against a real daemon: what a person types, and what a person sees."""
import array
import concurrent.futures
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import RUNTIME, Engine, wait_for  # noqa: E402

ENGINE = None


def setUpModule():
    global ENGINE
    ENGINE = Engine.with_busybox()


def tearDownModule():
    ENGINE.close_clean()


class Run(unittest.TestCase):
    def test_output_and_exit_code(self):
        r = ENGINE.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
        self.assertEqual((r.returncode, r.out, r.err), (7, "out\n", "err\n"))

    def test_codes_of_failed_starts(self):
        self.assertEqual(ENGINE.docker("run", "--rm", "busybox", "nosuch", check=False).returncode, 127)
        self.assertEqual(ENGINE.docker("run", "--rm", "busybox", "/etc/passwd", check=False).returncode, 126)
        self.assertEqual(ENGINE.docker("run", "--rm", "--nosuchflag", "busybox", check=False).returncode, 125)

    def test_stdin_reaches_the_program_and_ends(self):
        r = ENGINE.docker("run", "--rm", "-i", "busybox", "wc", "-c", input=b"x" * 300000)
        self.assertEqual(r.out.strip(), "300000")

    def test_environment_user_workdir_hostname(self):
        r = ENGINE.docker("run", "--rm", "-e", "A=1", "-u", "1000:50", "-w", "/var/tmp", "--hostname", "web", "busybox", "sh",
                          "-c", "echo $A; id -u; id -g; pwd; hostname")
        self.assertEqual(r.out.split(), ["1", "1000", "50", "/var/tmp", "web"])

    def test_default_hostname_is_the_short_id(self):
        cid = ENGINE.docker("create", "busybox", "hostname").out.strip()
        self.assertEqual(ENGINE.docker("start", "-a", cid).out.strip(), cid[:12])

    def test_what_is_asked_for_holds_in_a_privileged_container(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}, f)
            f.flush()
            r = ENGINE.docker("run", "--rm", "--privileged", "--security-opt", "seccomp=" + f.name, "busybox", "mkdir", "/q", check=False)
        self.assertEqual(r.returncode, 1)
        self.assertIn("Operation not permitted", r.err)

    def test_what_is_looked_at_first_and_what_matches_nothing(self):
        for body, status in ((b"{", 400), (b"{}", 404)):  # the body before the container
            answer, _, text = ENGINE.http("POST", "/containers/nosuch/update", body, {"Content-Type": "application/json"})
            self.assertEqual(answer, status, text)
        _, _, events = ENGINE.http("GET", "/events?since=1&until=%f&filters=%s" % (time.time(), '{"plugin":["x"]}'))
        self.assertEqual(events, b"")

    def test_images_that_are_not_meant(self):
        r = ENGINE.docker("tag", "busybox", "sha256:abc", check=False)
        self.assertEqual(r.returncode, 1)
        self.assertIn("refusing to create an ambiguous tag using digest algorithm as name", r.err)
        ENGINE.docker("tag", "busybox", "mine:1")
        for platforms, status, words in (("x", 400, "failed to parse platform: "),
                                         ('{"os":"linux","architecture":"s390x"}', 404, "does not match the specified platform")):
            answer, _, body = ENGINE.http("DELETE", "/v1.51/images/mine:1?platforms=" + urllib.parse.quote(platforms))
            self.assertEqual(answer, status, body)
            self.assertIn(words, body.decode())
        ENGINE.docker("rmi", "mine:1")

    def test_values_at_their_edges(self):
        run = lambda *a: ENGINE.docker("run", "--rm", *a)  # noqa: E731
        self.assertEqual(run("--cpu-quota", "-1", "busybox", "echo", "ok").out, "ok\n")
        self.assertEqual(run("-e", "HOME=", "busybox", "sh", "-c", "echo $HOME").out, "/root\n")
        both = run("--cap-add", "ALL", "--cap-drop", "ALL", "busybox", "grep", "CapBnd", "/proc/self/status").out
        self.assertEqual(both, run("--cap-add", "ALL", "busybox", "grep", "CapBnd", "/proc/self/status").out)
        for mac in ("02-42-ac-11-0a-99", "0242.ac11.0a99", "02:42:AC:11:0A:99"):
            self.assertEqual(run("--mac-address", mac, "busybox", "cat", "/sys/class/net/eth0/address").out, "02:42:ac:11:0a:99\n")
        cid = ENGINE.docker("create", "busybox").out.strip()
        self.assertIsNone(ENGINE.json("GET", "/containers/%s/json" % cid)["Config"]["Volumes"])
        if RUNTIME != "vm":
            r = ENGINE.docker("run", "--rm", "--device", "/tmp", "busybox", "true", check=False)
            self.assertIn('error gathering device information while adding custom device "/tmp": not a device node', r.err)
            self.assertEqual(run("busybox", "sh", "-c", "grep ' / ' /proc/mounts | cut -d' ' -f1").out, "overlay\n")

    def test_init_reaps(self):
        r = ENGINE.docker("run", "--rm", "--init", "-u", "1000", "busybox", "sh", "-c", "cat /proc/1/comm")
        self.assertIn(r.out.strip(), ("docker-init", "tini", "tini-static"))

    def test_read_only_tmpfs_and_binds(self):
        with tempfile.TemporaryDirectory() as d:
            with open(d + "/in", "w") as f:
                f.write("from host")
            r = ENGINE.docker("run", "--rm", "--read-only", "--tmpfs", "/scratch:size=1m", "-v", d + ":/data", "-v",
                              d + "/in:/single:ro", "busybox", "sh", "-c",
                              "cat /single; echo x > /scratch/a; echo back > /data/out; echo y > /etc/no; echo z > /single; true")
            with open(d + "/out") as f:
                self.assertEqual(f.read(), "back\n")
        self.assertTrue(r.out.startswith("from host"))
        self.assertEqual(r.err.count("Read-only file system"), 2, r.err)

    def test_limits_are_in_the_cgroup(self):
        r = ENGINE.docker("run", "--rm", "-m", "64m", "--pids-limit", "33", "busybox", "sh", "-c",
                          "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max "
                          "/sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true")
        self.assertEqual(r.out.split(), ["67108864", "33"])

    def test_capabilities_and_no_new_privileges(self):
        show = ("grep -E 'CapEff|NoNewPrivs' /proc/self/status",)
        default = ENGINE.docker("run", "--rm", "busybox", "sh", "-c", *show).out
        self.assertIn("00000000a80425fb", default)
        none = ENGINE.docker("run", "--rm", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "busybox", "sh", "-c",
                             *show).out
        self.assertIn("0000000000000000", none)
        self.assertIn("NoNewPrivs:\t1", none)

    def test_networks_bridge_none_host(self):
        self.assertIn("172.17.", ENGINE.docker("run", "--rm", "busybox", "ip", "addr", "show", "eth0").out)
        self.assertEqual(ENGINE.docker("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net").out.split(), ["lo"])
        self.assertIn("arca0", ENGINE.docker("run", "--rm", "--runtime", "namespace", "--network", "host", "busybox", "ls", "/sys/class/net").out)
        hosts = ENGINE.docker("run", "--rm", "--add-host", "db:10.0.0.9", "busybox", "cat", "/etc/hosts").out
        self.assertIn("10.0.0.9\tdb", hosts)

    def test_containers_reach_each_other(self):
        ENGINE.docker("run", "-d", "--name", "server", "busybox", "sh", "-c", "echo pong | nc -l -p 7000")
        ip = ENGINE.json("GET", "/containers/server/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        r = ENGINE.docker("run", "--rm", "busybox", "sh", "-c",
                          "for i in $(seq 300); do nc -w 30 %s 7000 < /dev/null && break; sleep 0.1; done" % ip)
        self.assertEqual(r.out, "pong\n")
        ENGINE.docker("rm", "-f", "server")


class Lifecycle(unittest.TestCase):
    def test_stop_start_restart_pause_and_ps(self):
        ENGINE.docker("run", "-d", "--name", "life", "busybox", "sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")
        self.assertIn("life", ENGINE.docker("ps").out)
        wait_for(lambda: ENGINE.docker("logs", "life").out == "up\n", 10, "the trap to be set")
        ENGINE.docker("pause", "life")
        self.assertIn("(Paused)", ENGINE.docker("ps").out)
        ENGINE.docker("unpause", "life")
        ENGINE.docker("restart", "life")
        wait_for(lambda: ENGINE.docker("logs", "life").out == "up\nup\n", 10, "the trap to be set")
        ENGINE.docker("stop", "life")
        self.assertIn("Exited (5)", ENGINE.docker("ps", "-a", "--filter", "name=life").out)
        ENGINE.docker("start", "life")
        ENGINE.docker("kill", "life")
        self.assertEqual(ENGINE.docker("wait", "life").out.strip(), "137")
        ENGINE.docker("rm", "life")
        self.assertNotIn("life", ENGINE.docker("ps", "-a").out)

    def test_events_of_stops_and_restarts(self):
        cid = ENGINE.docker("run", "-d", "busybox", "sleep", "300").out.strip()

        def events_of(*command):
            since = time.time()
            ENGINE.docker(*command, cid)
            _, _, events = ENGINE.http("GET", "/events?since=%f&until=%f&filters=%s" % (since, time.time(), json.dumps(
                {"container": [cid], "type": ["container"]}).replace(" ", "")))
            said = [json.loads(line) for line in events.decode().splitlines()]
            return " ".join(x["Action"] + x["Actor"]["Attributes"].get("signal", "") for x in said)
        self.assertEqual(events_of("restart", "-t", "0"), "kill15 kill9 stop die start restart")
        self.assertEqual(events_of("restart", "-t", "1"), "kill15 kill9 stop die start restart")
        ENGINE.docker("pause", cid)
        self.assertEqual(events_of("stop", "-t", "0"), "kill15 kill9 unpause stop die")
        ENGINE.docker("rm", cid)

    def test_restart_policy(self):
        ENGINE.docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; exit 3")
        wait_for(lambda: ENGINE.json("GET", "/containers/again/json")["RestartCount"] == 2 and
                 ENGINE.json("GET", "/containers/again/json")["State"]["Status"] == "exited", 60, "two restarts")
        # A person's start is none of the policy's, which begins to count anew.
        ENGINE.docker("start", "again")
        wait_for(lambda: ENGINE.docker("logs", "again").out == "run\n" * 6 and
                 ENGINE.json("GET", "/containers/again/json")["State"]["Status"] == "exited", 60, "two more restarts")
        self.assertEqual(ENGINE.json("GET", "/containers/again/json")["RestartCount"], 2)
        ENGINE.docker("rm", "again")

    def test_signals_and_the_restart_policy(self):
        program = ("busybox", "sh", "-c", "trap 'exit 1' HUP; echo up; while :; do sleep 0.05; done")
        ENGINE.docker("run", "-d", "--name", "any", "--restart", "always", *program)
        ENGINE.docker("run", "-d", "--runtime", "namespace", "--name", "own", "--restart", "always", "--stop-signal", "TERM",
                      *program)
        for name in ("any", "own"):
            wait_for(lambda: ENGINE.docker("logs", name).out == "up\n", 10, "the trap to be set")
            ENGINE.docker("kill", "-s", "HUP", name)
        # HUP ends the one for good, and is a signal like any for the other, which has its own to stop it.
        wait_for(lambda: ENGINE.docker("logs", "own").out == "up\nup\n", 10, "another start")
        wait_for(lambda: ENGINE.json("GET", "/containers/any/json")["State"]["Status"] == "exited", 60, "the end")
        self.assertEqual(ENGINE.json("GET", "/containers/any/json")["State"]["ExitCode"], 1)
        ENGINE.docker("pause", "own")
        ENGINE.docker("kill", "-s", "HUP", "own")
        self.assertTrue(ENGINE.json("GET", "/containers/own/json")["State"]["Paused"])
        ENGINE.docker("rm", "-f", "any", "own")

    def test_a_kill_cancels_the_wait_for_a_restart(self):
        ENGINE.docker("run", "-d", "--name", "waits", "--restart", "always", "--stop-signal", "TERM", "busybox", "sh", "-c", "exit 7")
        inspect = lambda: ENGINE.json("GET", "/containers/waits/json")  # noqa: E731
        # Each wait is twice as long as the one before: this one is 6.4 s.
        wait_for(lambda: inspect()["RestartCount"] >= 6 and inspect()["State"]["Restarting"], 60, "a long wait")
        ENGINE.docker("kill", "-s", "HUP", "waits")  # not what stops it: taken, and reaches nobody
        self.assertEqual(inspect()["State"]["Status"], "restarting")
        ENGINE.docker("kill", "waits")
        state = inspect()["State"]
        self.assertEqual((state["Status"], state["Restarting"], state["ExitCode"]), ("exited", False, 7))
        self.assertIn("is not running", ENGINE.docker("kill", "waits", check=False).err)
        self.assertEqual(inspect()["State"]["Status"], "exited")
        ENGINE.docker("rm", "waits")

    def test_a_signal_that_ends_it_thaws_a_paused_container(self):
        ENGINE.docker("run", "-d", "--name", "cold", "busybox", "sh", "-c", "trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done")
        wait_for(lambda: ENGINE.docker("logs", "cold").out == "up\n", 10, "the trap to be set")
        ENGINE.docker("pause", "cold")
        ENGINE.docker("kill", "-s", "TERM", "cold")
        self.assertEqual(ENGINE.docker("wait", "cold", timeout=20).out, "6\n")
        ENGINE.docker("rm", "cold")

    def at_once(self, *requests):
        """POSTs, each of them begun when the one before must have arrived; their status codes."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            asked = []
            for path in requests:
                asked.append(pool.submit(ENGINE.http, "POST", "/containers/" + path))
                time.sleep(0.2)
            return [a.result()[0] for a in asked]

    def test_two_restarts_at_once(self):
        ENGINE.docker("run", "-d", "--name", "twice", "busybox", "sleep", "300")  # deaf to TERM
        self.assertEqual(self.at_once("twice/restart?t=1", "twice/restart?t=1"), [204, 204])
        self.assertTrue(ENGINE.json("GET", "/containers/twice/json")["State"]["Running"])
        ENGINE.docker("rm", "-f", "twice")

    def test_a_kill_waits_for_the_start(self):
        cid = ENGINE.docker("create", "--name", "early", "--restart", "always", "busybox", "sleep", "300").out.strip()
        if RUNTIME != "vm":
            wait_for(lambda: len(ENGINE.agents()) >= 4, 60, "the pool to be full")
        agents = ENGINE.agents()

        def send(number):
            for agent in agents:
                try:
                    os.kill(agent, number)
                except ProcessLookupError:
                    pass  # it has ended with its container
        send(signal.SIGSTOP)  # no machine can start anything now
        try:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                started = pool.submit(ENGINE.http, "POST", "/containers/early/start")
                wait_for(lambda: cid in ENGINE.json("GET", "/networks/bridge")["Containers"], 10, "the start to begin")
                killed = pool.submit(ENGINE.http, "POST", "/containers/early/kill")
                time.sleep(0.3)
                self.assertFalse(started.done() or killed.done())
                send(signal.SIGCONT)
                self.assertEqual((started.result()[0], killed.result()[0]), (204, 204))
        finally:
            send(signal.SIGCONT)
        state = ENGINE.json("GET", "/containers/early/json")["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 137))
        ENGINE.docker("rm", "early")

    def test_a_start_in_the_moment_of_the_exit_has_an_address(self):
        ENGINE.docker("create", "--name", "moment", "busybox", "sleep", "0.3")
        for _ in range(8):
            wait_for(lambda: ENGINE.http("POST", "/containers/moment/start")[0] == 204, 10, "a start", step=0)
            time.sleep(0.1)
            before = ENGINE.json("GET", "/containers/moment/json")
            known = ENGINE.json("GET", "/networks/bridge")["Containers"]
            if ENGINE.json("GET", "/containers/moment/json")["State"] == before["State"] and before["State"]["Running"]:
                self.assertIn(before["Id"], known)
        ENGINE.docker("rm", "-f", "moment")

    def test_exec(self):
        ENGINE.docker("run", "-d", "--name", "ex", "busybox", "sleep", "300")
        r = ENGINE.docker("exec", "-e", "B=2", "-w", "/tmp", "ex", "sh", "-c", "echo $B; pwd; exit 4", check=False)
        self.assertEqual((r.returncode, r.out), (4, "2\n/tmp\n"))
        self.assertEqual(ENGINE.docker("exec", "-i", "ex", "cat", input=b"abc").out, "abc")
        self.assertIn("/dev/pts", ENGINE.docker("exec", "-t", "ex", "tty").out)
        self.assertIsNone(ENGINE.json("GET", "/containers/ex/json")["ExecIDs"])
        never = ENGINE.json("POST", "/containers/ex/exec", {"Cmd": ["true"]})["Id"]
        self.assertEqual(ENGINE.json("GET", "/containers/ex/json")["ExecIDs"], [never])
        ENGINE.docker("kill", "ex")
        wait_for(lambda: ENGINE.json("GET", "/containers/ex/json")["ExecIDs"] is None, 10, "an exec that is never started to be forgotten")
        ENGINE.docker("rm", "ex")

    def exec_unread(self, container):
        """An exec that writes without end, and its client that does not read."""
        exec_id = ENGINE.json("POST", "/containers/%s/exec" % container, {"Cmd": ["cat", "/dev/zero"], "AttachStdout": True})["Id"]
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(20)
        client.connect(ENGINE.sock)
        client.sendall(b"POST /exec/%s/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                       b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n{}" % exec_id.encode())
        wait_for(lambda: ENGINE.json("GET", "/exec/%s/json" % exec_id)["Pid"] != 0, 10, "the exec")

        def unread():
            size = array.array("i", [0])
            fcntl.ioctl(client, termios.FIONREAD, size)
            return size[0]
        wait_for(lambda: unread() > 50_000, 60, "the client's socket to be full")
        time.sleep(0.5)  # the windows behind it, mostly
        return exec_id, client

    def test_exec_as_clients_see_it(self):
        cid = ENGINE.docker("run", "-d", "busybox", "sleep", "300").out.strip()
        self.assertEqual(ENGINE.docker("exec", "-w", "/nope", cid, "pwd", check=False).returncode, 127)
        x = ENGINE.json("POST", "/containers/%s/exec" % cid, {"Cmd": ["pwd"], "AttachStdout": True})["Id"]
        # The start's word decides how the answer is framed.
        self.assertEqual(ENGINE.http("POST", "/exec/%s/start" % x, {"Tty": True})[2], b"/\n")
        wait_for(lambda: not ENGINE.json("GET", "/exec/%s/json" % x)["Running"], what="its end")
        status, _, body = ENGINE.http("POST", "/exec/%s/resize?h=10&w=10" % x)
        self.assertEqual((status, json.loads(body)["message"]), (404, "NotFound: process does not exist %s: not found" % x))
        _, _, events = ENGINE.http("GET", "/events?since=1&until=%f&filters=%s" % (time.time(), json.dumps(
            {"container": [cid], "event": ["exec_create"]}).replace(" ", "")))
        self.assertEqual([json.loads(line)["Action"] for line in events.decode().splitlines()], ["exec_create: pwd "] * 2)
        ENGINE.docker("rm", "-f", cid)

    def test_exec_whose_client_does_not_read_ends_with_its_container(self):
        ENGINE.docker("run", "-d", "--name", "unread", "busybox", "sleep", "300")
        exec_id, client = self.exec_unread("unread")
        ENGINE.docker("kill", "unread")
        received = 0
        while piece := client.recv(1 << 20):
            received += len(piece)
        self.assertGreater(received, 50_000)
        state = ENGINE.json("GET", "/exec/%s/json" % exec_id)
        self.assertEqual((state["Running"], state["ExitCode"]), (False, 137))
        self.assertIsNone(ENGINE.json("GET", "/containers/unread/json")["ExecIDs"])
        ENGINE.docker("start", "unread")
        _, client = self.exec_unread("unread")
        ENGINE.docker("rm", "-f", "unread")
        while client.recv(1 << 20):
            pass

    def test_names_ids_and_prefixes(self):
        cid = ENGINE.docker("create", "--name", "named", "busybox", "true").out.strip()
        for name in (cid, cid[:12], cid[:5], "named", "/named"):
            self.assertEqual(ENGINE.json("GET", "/containers/%s/json" % name.lstrip("/"))["Id"], cid)
        r = ENGINE.docker("create", "--name", "named", "busybox", check=False)
        self.assertIn("is already in use by container", r.err)
        ENGINE.docker("rm", "named")


class Logs(unittest.TestCase):
    def test_tail_since_timestamps_follow(self):
        ENGINE.docker("run", "-d", "--name", "lg", "busybox", "sh", "-c", "for i in $(seq 1 500); do echo line $i; done; sleep 0.3; echo last")
        follow = ENGINE.docker("logs", "-f", "lg")
        lines = follow.out.splitlines()
        self.assertEqual(lines, ["line %d" % i for i in range(1, 501)] + ["last"])
        self.assertEqual(ENGINE.docker("logs", "--tail", "2", "lg").out.splitlines(), ["line 500", "last"])
        self.assertRegex(ENGINE.docker("logs", "-t", "--tail", "1", "lg").out, r"^\d{4}-\d\d-\d\dT[\d:.]+Z last\n$")
        ENGINE.docker("rm", "lg")

    def test_rotation_loses_nothing_that_is_kept(self):
        ENGINE.docker("run", "--name", "rot", "--log-opt", "max-size=100k", "--log-opt", "max-file=3", "busybox", "seq", "1", "20000")
        lines = [int(x) for x in ENGINE.docker("logs", "rot").out.split()]
        self.assertEqual(lines, list(range(lines[0], 20001)))
        self.assertGreater(len(lines), 1000)
        ENGINE.docker("rm", "rot")


class Tools(unittest.TestCase):
    def arca(self, *args):
        from arca_engine import BIN
        return subprocess.run([BIN + "/arca", *args, "--socket-path", ENGINE.sock], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=True).stdout.decode()

    def test_top_actors(self):
        out = self.arca("top-actors", "--once")
        for path in ("/containers", "/images", "/networks", "/store"):
            self.assertIn(path, out)

    def test_status_and_version(self):
        self.assertIn(ENGINE.sock, self.arca("daemon", "status"))
        self.assertIn("API 1.51", self.arca("version"))

    def test_a_second_daemon_on_the_data_root_refuses(self):
        from arca_engine import BIN
        r = subprocess.run([BIN + "/arca", "daemon", "start", "--foreground", "--data-root", ENGINE.data, "--run-root",
                            ENGINE.dir + "/run2", "--socket-path", ENGINE.dir + "/b.sock"], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=20)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(b"in use by another arca daemon", r.stderr)

    def test_default_log_options_without_sense_end_the_daemon(self):
        from arca_engine import BIN
        for flags, config, told in ((["--log-opt", "max-size=-1"], {}, "failed to set log opts: invalid size: '-1'"),
                                    ([], {"log-opts": {"max-size": "-1"}}, "failed to set log opts: invalid size: '-1'"),
                                    (["--log-opt", "nosuch=1"], {}, "unknown log opt 'nosuch' for json-file log driver"),
                                    (["--log-driver", "nosuch"], {}, "log-driver")):
            folder = ENGINE.dir + "/refused"
            os.makedirs(folder, exist_ok=True)
            with open(folder + "/config.json", "w") as f:
                json.dump(config, f)
            r = subprocess.run([BIN + "/arca", "daemon", "start", "--foreground", "--config", folder + "/config.json", "--data-root",
                                folder + "/data", "--run-root", folder + "/run", "--socket-path", folder + "/a.sock", *flags],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
            self.assertNotEqual(r.returncode, 0, flags)
            self.assertIn(told, r.stderr.decode())
            self.assertFalse(os.path.exists(folder + "/a.sock"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
