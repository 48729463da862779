#!/usr/bin/env python3
"""Containers in each other's namespaces: --network, --pid and --ipc container:X, in both kinds of machine (ARCA_RUNTIME=vm)."""
import json
import os
import sqlite3
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import RUNTIME, Engine, busybox_archive, main, wait_for  # noqa: E402

ENGINE = None
SERVE = "while :; do echo served | nc -l -p 80; done"
COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


def setUpModule():
    global ENGINE
    ENGINE = Engine()
    ENGINE.__enter__()
    ENGINE.docker("load", "-i", busybox_archive(ENGINE.dir + "/busybox.tar"))


def tearDownModule():
    try:
        ENGINE.remove_everything()
        nothing_left()
    finally:
        ENGINE.close()


def nothing_left():
    wait_for(lambda: not ENGINE.leftovers_of_containers(), 30, "the last machine's teardown: %s" % ENGINE.leftovers_of_containers())


def run(name, *options, command="sleep 1000"):
    return ENGINE.docker("run", "-d", "--name", name, *options, "busybox", "sh", "-c", command).out.strip()


def inside(name, command, check=True):
    return ENGINE.docker("exec", name, "sh", "-c", command, check=check).out


def inspect(name):
    return ENGINE.json("GET", "/containers/%s/json" % name)


def state(name):
    return inspect(name)["State"]


def refusal(*options):
    r = ENGINE.docker("run", "-d", *options, "busybox", "sleep", "1000", check=False)
    assert r.returncode == 125, (r.returncode, r.out, r.err)
    return r.err.split("Error response from daemon: ", 1)[1].split("\n")[0]


def last_number(name):
    return int((ENGINE.docker("logs", "--tail", "1", name).out.split() or ["0"])[-1])


def counts(name):
    """Whether it writes on."""
    before = last_number(name)
    try:
        wait_for(lambda: last_number(name) > before, 2, "another number")
        return True
    except AssertionError:
        return False


def ended(name, seconds=20):
    return wait_for(lambda: state(name)["Status"] == "exited" and state(name), seconds, name + " to end")


class Pod(unittest.TestCase):
    def tearDown(self):
        ENGINE.remove_everything()
        nothing_left()


class Network(Pod):
    def test_a_member_has_the_donors_network_and_names(self):
        donor = run("x", "--hostname", "web", "--add-host", "db:192.0.2.7", "-p", "8077:80", command=SERVE)
        run("m", "--network", "container:" + donor[:7])
        address = inside("x", "ip -4 -o addr show eth0")
        self.assertIn("172.17.0.", address)
        self.assertEqual(inside("m", "ip -4 -o addr show eth0"), address)
        self.assertEqual(inside("m", "nc 127.0.0.1 80 < /dev/null"), "served\n")
        self.assertEqual(inside("m", "hostname; cat /etc/hostname").split(), ["web", "web"])
        inside("x", "echo 192.0.2.8 late >> /etc/hosts")
        self.assertEqual(inside("m", "grep -cE 'db|late' /etc/hosts"), "2\n")

        x, m = inspect("x"), inspect("m")
        self.assertEqual(m["HostConfig"]["NetworkMode"], "container:" + donor)
        self.assertEqual(m["Config"]["Hostname"], "web")
        for path in ("HostsPath", "HostnamePath", "ResolvConfPath"):
            self.assertEqual(m[path], x[path])
        shown = m["NetworkSettings"]
        self.assertEqual((shown["Networks"], shown["Ports"], shown["SandboxID"], shown["IPAddress"]), ({}, {}, "", ""))
        self.assertEqual(ENGINE.docker("ps", "--filter", "name=^m$", "--format", "{{.Ports}}").out, "\n")

    def test_the_life_of_one_is_not_the_others(self):
        run("x", command=COUNT)
        run("m", "--network", "container:x", command=COUNT)
        self.assertEqual(ENGINE.docker("run", "--rm", "--network", "container:x", "busybox", "sh", "-c", "echo hi; exit 9",
                                       check=False).returncode, 9)
        for one, other in (("m", "x"), ("x", "m")):
            ENGINE.docker("pause", one)
            self.assertEqual((state(one)["Status"], state(other)["Status"]), ("paused", "running"))
            self.assertTrue(counts(other))
            self.assertFalse(counts(one))
            ENGINE.docker("unpause", one)
            self.assertTrue(counts(one))
        ENGINE.docker("kill", "m")
        self.assertEqual(ended("m")["ExitCode"], 137)
        self.assertTrue(counts("x"))
        address = inside("x", "ip -4 -o addr show eth0")
        ENGINE.docker("start", "m")
        self.assertEqual(inside("m", "ip -4 -o addr show eth0"), address)
        ENGINE.docker("stop", "-t", "0", "m")
        ENGINE.docker("rm", "m")
        self.assertEqual(inside("x", "echo goes on"), "goes on\n")

    def test_a_member_outlives_its_donor(self):
        run("x")
        run("m", "--network", "container:x", command=COUNT)
        ENGINE.docker("stop", "-t", "0", "x")
        self.assertTrue(counts("m"))
        wait_for(lambda: "eth0" not in inside("m", "ip -o link"), 10, "the donor's device to go")
        ENGINE.docker("start", "x")
        address = inside("x", "ip -4 -o addr show eth0")
        self.assertNotIn("eth0", inside("m", "ip -o link"))
        self.assertTrue(counts("m"))
        ENGINE.docker("restart", "-t", "0", "m")
        self.assertEqual(inside("m", "ip -4 -o addr show eth0"), address)
        ENGINE.docker("rm", "-f", "x")
        self.assertTrue(counts("m"))
        self.assertIn("No such container", ENGINE.docker("restart", "-t", "0", "m", check=False).err)

    def test_a_member_comes_into_a_paused_container(self):
        run("x", command=COUNT)
        ENGINE.docker("pause", "x")
        run("m", "--network", "container:x", command=COUNT)
        self.assertTrue(counts("m"))
        self.assertFalse(counts("x"))
        ENGINE.docker("unpause", "x")
        self.assertTrue(counts("x"))

    def test_many_in_one_network(self):
        run("x")
        address = inside("x", "ip -4 -o addr show eth0")
        for i in range(8):  # one after the other: what each had is given back
            out = ENGINE.docker("run", "--rm", "--network", "container:x", "busybox", "ip", "-4", "-o", "addr", "show", "eth0").out
            self.assertEqual(out, address)
        run("m", "--network", "container:x")
        run("n", "--network", "container:m")  # of a member: the same
        self.assertEqual(inside("n", "ip -4 -o addr show eth0"), address)

    def test_refusals_are_dockers(self):
        self.assertEqual(refusal("--network", "container:nosuch"), "joining network namespace of container: No such container: nosuch")
        self.assertEqual(refusal("--name", "self", "--network", "container:self"), "cannot join own network namespace")
        ENGINE.docker("create", "--name", "idle", "busybox", "true")
        self.assertEqual(refusal("--network", "container:idle"),
                         "cannot join network namespace of a non running container: container idle is created")
        self.assertEqual(refusal("--name", "p", "--pid", "container:idle"),
                         "failed to join PID namespace: container %s is not running" % inspect("idle")["Id"])
        self.assertEqual(state("p")["ExitCode"], 128)
        self.assertEqual(refusal("--ipc", "container:nosuch"), "No such container: nosuch")
        for option in (("-p", "80"), ("--add-host", "a:192.0.2.1"), ("--dns", "192.0.2.1"), ("--hostname", "h"), ("--link", "idle"),
                       ("--expose", "80")):
            self.assertIn("conflicting options: ", ENGINE.docker("run", "--network", "container:idle", *option, "busybox", "true",
                                                                 check=False).err)
        other = "namespace" if RUNTIME == "vm" else "vm"
        self.assertEqual(refusal("--runtime", other, "--network", "container:idle"),
                         "--runtime %s does not fit: the container is put into the machine of container idle, whose runtime is %s" %
                         (other, RUNTIME or "namespace"))


class Pid(Pod):
    def test_processes_are_seen_and_signalled(self):
        run("x", command="trap 'echo told' USR1; while :; do sleep 0.1; done")
        run("m", "--pid", "container:x", "--init", command="sleep 4711")
        self.assertEqual(inspect("m")["HostConfig"]["PidMode"], "container:" + inspect("x")["Id"])
        self.assertIn("trap", inside("m", "ps"))
        self.assertIn("sleep 4711", inside("x", "ps"))
        self.assertEqual(inside("m", "readlink /proc/self/ns/pid"), inside("x", "readlink /proc/self/ns/pid"))
        inside("m", "kill -USR1 1")
        wait_for(lambda: ENGINE.docker("logs", "x").out == "told\n", 5, "the signal")
        # Its network and names are its own.
        address = inside("x", "ip -4 -o addr show eth0").split()[3]
        own = inside("m", "ip -4 -o addr show eth0").split()[3]
        self.assertRegex(own, r"^172\.17\.0\.\d+/16$")
        self.assertNotEqual(own, address)
        self.assertEqual(inside("m", "ping -c 1 -W 3 %s > /dev/null && echo reached" % address.split("/")[0]), "reached\n")
        self.assertNotEqual(inside("m", "hostname"), inside("x", "hostname"))

        ENGINE.docker("kill", "x")
        self.assertEqual(ended("m")["ExitCode"], 137)  # the kernel's doing
        self.assertEqual(state("x")["ExitCode"], 137)

    def test_a_member_that_ends_leaves_the_donor(self):
        run("x", command=COUNT)
        self.assertEqual(ENGINE.docker("run", "--rm", "--network", "none", "--pid", "container:x", "busybox", "sh", "-c",
                                       "sleep 77 & ip -o link | wc -l; exit 3", check=False).out, "1\n")
        self.assertTrue(counts("x"))
        wait_for(lambda: "sleep 77" not in inside("x", "ps"), 5, "what the member had started to be ended")


class Ipc(Pod):
    def test_shared_memory(self):
        run("x", "--ipc", "shareable", "--shm-size", "3m", "--sysctl", "kernel.msgmax=12345")
        run("m", "--ipc", "container:x", "--network", "container:x", "--pid", "container:x")
        self.assertEqual(inspect("m")["HostConfig"]["IpcMode"], "container:" + inspect("x")["Id"])
        inside("x", "echo there > /dev/shm/a")
        self.assertEqual(inside("m", "cat /dev/shm/a; cat /proc/sys/kernel/msgmax; df -k /dev/shm | tail -1 | awk '{print $2}'").split(),
                         ["there", "12345", "3072"])
        inside("m", "echo back > /dev/shm/b")
        self.assertEqual(inside("x", "cat /dev/shm/b"), "back\n")
        self.assertEqual(inside("m", "readlink /proc/self/ns/ipc"), inside("x", "readlink /proc/self/ns/ipc"))
        # The member's own copy of the mount goes on without the donor, and is no donor's that comes after it.
        ENGINE.docker("rm", "-f", "m")
        run("n", "--ipc", "container:x", "--network", "container:x")
        ENGINE.docker("rm", "-f", "x")
        self.assertEqual(inside("n", "cat /dev/shm/a"), "there\n")

    def test_what_is_not_shared(self):
        cid = run("x")
        self.assertEqual(inspect("x")["HostConfig"]["IpcMode"], "private")
        self.assertEqual(refusal("--ipc", "container:x"), "failed to join IPC namespace: container " + cid +
                         ": non-shareable IPC (hint: use IpcMode:shareable for the donor container)")
        run("none", "--ipc", "none")
        self.assertEqual(inside("none", "grep -c /dev/shm /proc/mounts", check=False), "0\n")


class Crash(Pod):
    def test_killed_daemon(self):
        run("x", "--ipc", "shareable", command=COUNT)
        run("m", "--network", "container:x", "--ipc", "container:x", command=COUNT)
        run("ends", "--network", "container:x", "--ipc", "container:x",
            command="while [ ! -e /dev/shm/end ]; do sleep 0.1; done; sleep 1; echo bye; exit 42")
        before = {name: state(name) for name in ("x", "m")}
        inside("m", "touch /dev/shm/end")
        ENGINE.kill9()
        ENGINE.start()
        self.assertEqual(ended("ends")["ExitCode"], 42)
        self.assertEqual(ENGINE.docker("logs", "ends").out, "bye\n")
        for name, was in before.items():
            now = state(name)
            self.assertEqual((now["Status"], now["Pid"], now["StartedAt"]), ("running", was["Pid"], was["StartedAt"]), name)
            self.assertTrue(counts(name), name)
            self.assertEqual(inside(name, "echo in"), "in\n")
        # A paused one is so afterwards, and no other. A new one comes in.
        run("own", "--pid", "container:x")
        ENGINE.docker("pause", "m")
        ENGINE.kill9()
        ENGINE.start()
        self.assertTrue(counts("x"))
        self.assertEqual(state("m")["Status"], "paused")
        ENGINE.docker("unpause", "m")
        self.assertTrue(counts("m"))
        # The donor ends first, the machine with the last one.
        ENGINE.docker("rm", "-f", "x")
        self.assertEqual(ended("own")["ExitCode"], 137)
        run("late", "--network", "container:m")
        self.assertTrue(counts("m"))
        ENGINE.docker("rm", "-f", "m")
        self.assertEqual(state("late")["Status"], "running")
        ENGINE.docker("rm", "-f", "late")
        nothing_left()

    def test_a_container_without_a_row_leaves(self):
        run("x")
        run("m", "--network", "container:x")
        cid, pid = inspect("m")["Id"], state("m")["Pid"]
        ENGINE.kill9()
        with sqlite3.connect(ENGINE.data + "/state.db") as db:  # as if the daemon had ended before it was written
            self.assertEqual(db.execute("DELETE FROM containers WHERE key = ?", (cid,)).rowcount, 1)
        ENGINE.start()
        wait_for(lambda: state("x")["Status"] == "running", 10)
        if RUNTIME == "vm":
            def only_x():
                with open("%s/vm/%s/machine.json" % (ENGINE.run, inspect("x")["Machine"]["Id"])) as f:
                    record = json.load(f)
                return (record["members"], len(record["processes"])) == ([inspect("x")["Id"]], 3)
            wait_for(only_x, 20, "the member to leave the machine")
        else:
            wait_for(lambda: not os.path.exists("/proc/%d" % pid), 20, "the member to be ended")
        self.assertIn("172.17.0.", inside("x", "ip -4 -o addr show eth0"))


if __name__ == "__main__":
    main()
