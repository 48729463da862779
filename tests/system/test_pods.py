#!/usr/bin/env python3
"""Containers in each other's namespaces: --network, --pid and --ipc container:X, in both kinds of machine (ARCA_RUNTIME=vm)."""
import json
import os
import sqlite3
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import RUNTIME, Engine, main, wait_for  # noqa: E402

ENGINE = None
SERVE = "while :; do echo served | nc -l -p 80; done"
COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


def setUpModule():
    global ENGINE
    ENGINE = Engine.with_busybox()


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
    """That it writes on."""
    before = last_number(name)
    wait_for(lambda: last_number(name) > before, 60, "another number of " + name)
    return True


def stands(name):
    """That it writes no more; what it wrote before may be under way for a while."""
    for _ in range(20):
        before = last_number(name)
        time.sleep(1)
        if last_number(name) == before:
            return True
    return False


def ended(name, seconds=20):
    return wait_for(lambda: state(name)["Status"] == "exited" and state(name), seconds, name + " to end")


class Pod(unittest.TestCase):
    def tearDown(self):
        ENGINE.remove_everything()
        nothing_left()


class Network(Pod):
    def test_a_member_has_the_donors_network_and_names(self):
        donor = run("donor", "--hostname", "web", "--add-host", "db:192.0.2.7", "-p", "8077:80", command=SERVE)
        run("member", "--network", "container:" + donor[:7])
        address = inside("donor", "ip -4 -o addr show eth0")
        self.assertIn("172.17.0.", address)
        self.assertEqual(inside("member", "ip -4 -o addr show eth0"), address)
        self.assertEqual(inside("member", "until nc 127.0.0.1 80 < /dev/null; do sleep 0.1; done"), "served\n")
        self.assertEqual(inside("member", "hostname; cat /etc/hostname").split(), ["web", "web"])
        inside("donor", "echo 192.0.2.8 late >> /etc/hosts")
        # A file's size is a second old at most where a guest has it from virtiofs (docs/limitations.md).
        wait_for(lambda: inside("member", "grep -cE 'db|late' /etc/hosts") == "2\n", 3, "the donor's line")

        x, m = inspect("donor"), inspect("member")
        self.assertEqual(m["HostConfig"]["NetworkMode"], "container:" + donor)
        self.assertEqual(m["Config"]["Hostname"], "web")
        for path in ("HostsPath", "HostnamePath", "ResolvConfPath"):
            self.assertEqual(m[path], x[path])
        shown = m["NetworkSettings"]
        self.assertEqual((shown["Networks"], shown["Ports"], shown["SandboxID"], shown["IPAddress"]), ({}, {}, "", ""))
        self.assertEqual(ENGINE.docker("ps", "--filter", "name=^member$", "--format", "{{.Ports}}").out, "\n")

    def test_the_life_of_one_is_not_the_others(self):
        run("donor", command=COUNT)
        run("member", "--network", "container:donor", command=COUNT)
        self.assertEqual(ENGINE.docker("run", "--rm", "--network", "container:donor", "busybox", "sh", "-c", "echo hi; exit 9",
                                       check=False).returncode, 9)
        for one, other in (("member", "donor"), ("donor", "member")):
            ENGINE.docker("pause", one)
            self.assertEqual((state(one)["Status"], state(other)["Status"]), ("paused", "running"))
            self.assertTrue(counts(other))
            self.assertTrue(stands(one))
            ENGINE.docker("unpause", one)
            self.assertTrue(counts(one))
        ENGINE.docker("kill", "member")
        self.assertEqual(ended("member")["ExitCode"], 137)
        self.assertTrue(counts("donor"))
        address = inside("donor", "ip -4 -o addr show eth0")
        ENGINE.docker("start", "member")
        self.assertEqual(inside("member", "ip -4 -o addr show eth0"), address)
        ENGINE.docker("stop", "-t", "0", "member")
        ENGINE.docker("rm", "member")
        self.assertEqual(inside("donor", "echo goes on"), "goes on\n")

    def test_a_member_outlives_its_donor(self):
        run("donor")
        run("member", "--network", "container:donor", command=COUNT)
        ENGINE.docker("stop", "-t", "0", "donor")
        self.assertTrue(counts("member"))
        wait_for(lambda: "eth0" not in inside("member", "ip -o link"), 10, "the donor's device to go")
        ENGINE.docker("start", "donor")
        address = inside("donor", "ip -4 -o addr show eth0")
        self.assertNotIn("eth0", inside("member", "ip -o link"))
        self.assertTrue(counts("member"))
        ENGINE.docker("restart", "-t", "0", "member")
        self.assertEqual(inside("member", "ip -4 -o addr show eth0"), address)
        ENGINE.docker("rm", "-f", "donor")
        self.assertTrue(counts("member"))
        self.assertIn("No such container", ENGINE.docker("restart", "-t", "0", "member", check=False).err)

    def test_a_member_comes_into_a_paused_container(self):
        run("donor", command=COUNT)
        ENGINE.docker("pause", "donor")
        run("member", "--network", "container:donor", command=COUNT)
        self.assertTrue(counts("member"))
        self.assertTrue(stands("donor"))
        ENGINE.docker("unpause", "donor")
        self.assertTrue(counts("donor"))

    def test_many_in_one_network(self):
        run("donor")
        address = inside("donor", "ip -4 -o addr show eth0")
        for i in range(8):  # one after the other: what each had is given back
            out = ENGINE.docker("run", "--rm", "--network", "container:donor", "busybox", "ip", "-4", "-o", "addr", "show", "eth0").out
            self.assertEqual(out, address)
        run("member", "--network", "container:donor")
        run("next", "--network", "container:member")  # of a member: the same
        self.assertEqual(inside("next", "ip -4 -o addr show eth0"), address)

    def test_refusals_are_dockers(self):
        self.assertEqual(refusal("--network", "container:nosuch"), "joining network namespace of container: No such container: nosuch")
        self.assertEqual(refusal("--name", "self", "--network", "container:self"), "cannot join own network namespace")
        ENGINE.docker("create", "--name", "idle", "busybox", "true")
        self.assertEqual(refusal("--network", "container:idle"),
                         "cannot join network namespace of a non running container: container idle is created")
        self.assertEqual(refusal("--name", "pids", "--pid", "container:idle"),
                         "failed to join PID namespace: container %s is not running" % inspect("idle")["Id"])
        self.assertEqual(state("pids")["ExitCode"], 128)
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
        run("donor", command="trap 'echo told' USR1; echo up; while :; do sleep 0.1; done")
        wait_for(lambda: ENGINE.docker("logs", "donor").out == "up\n", what="the trap to be set")
        run("member", "--pid", "container:donor", "--init", command="sleep 4711")
        self.assertEqual(inspect("member")["HostConfig"]["PidMode"], "container:" + inspect("donor")["Id"])
        self.assertIn("trap", inside("member", "ps"))
        wait_for(lambda: "sleep 4711" in inside("donor", "ps"), what="its process")
        self.assertEqual(inside("member", "readlink /proc/self/ns/pid"), inside("donor", "readlink /proc/self/ns/pid"))
        inside("member", "kill -USR1 1")
        wait_for(lambda: ENGINE.docker("logs", "donor").out == "up\ntold\n", 5, "the signal")
        # Its network and names are its own.
        address = inside("donor", "ip -4 -o addr show eth0").split()[3]
        own = inside("member", "ip -4 -o addr show eth0").split()[3]
        self.assertRegex(own, r"^172\.17\.0\.\d+/16$")
        self.assertNotEqual(own, address)
        self.assertEqual(inside("member", "ping -c 1 -W 3 %s > /dev/null && echo reached" % address.split("/")[0]), "reached\n")
        self.assertNotEqual(inside("member", "hostname"), inside("donor", "hostname"))

        ENGINE.docker("kill", "donor")
        self.assertEqual(ended("member")["ExitCode"], 137)  # the kernel's doing
        self.assertEqual(state("donor")["ExitCode"], 137)

    def test_a_member_that_ends_leaves_the_donor(self):
        run("donor", command=COUNT)
        self.assertEqual(ENGINE.docker("run", "--rm", "--network", "none", "--pid", "container:donor", "busybox", "sh", "-c",
                                       "sleep 77 & ip -o link | wc -l; exit 3", check=False).out, "1\n")
        self.assertTrue(counts("donor"))
        wait_for(lambda: "sleep 77" not in inside("donor", "ps"), 5, "what the member had started to be ended")


class Ipc(Pod):
    def test_shared_memory(self):
        run("donor", "--ipc", "shareable", "--shm-size", "3m", "--sysctl", "kernel.msgmax=12345")
        run("member", "--ipc", "container:donor", "--network", "container:donor", "--pid", "container:donor")
        self.assertEqual(inspect("member")["HostConfig"]["IpcMode"], "container:" + inspect("donor")["Id"])
        inside("donor", "echo there > /dev/shm/a")
        self.assertEqual(inside("member", "cat /dev/shm/a; cat /proc/sys/kernel/msgmax; df -k /dev/shm | tail -1 | awk '{print $2}'").split(),
                         ["there", "12345", "3072"])
        inside("member", "echo back > /dev/shm/b")
        self.assertEqual(inside("donor", "cat /dev/shm/b"), "back\n")
        self.assertEqual(inside("member", "readlink /proc/self/ns/ipc"), inside("donor", "readlink /proc/self/ns/ipc"))
        # The member's own copy of the mount goes on without the donor, and is no donor's that comes after it.
        ENGINE.docker("rm", "-f", "member")
        run("next", "--ipc", "container:donor", "--network", "container:donor")
        ENGINE.docker("rm", "-f", "donor")
        self.assertEqual(inside("next", "cat /dev/shm/a"), "there\n")

    def test_what_is_not_shared(self):
        cid = run("donor")
        self.assertEqual(inspect("donor")["HostConfig"]["IpcMode"], "private")
        self.assertEqual(refusal("--ipc", "container:donor"), "failed to join IPC namespace: container " + cid +
                         ": non-shareable IPC (hint: use IpcMode:shareable for the donor container)")
        run("none", "--ipc", "none")
        self.assertEqual(inside("none", "grep -c /dev/shm /proc/mounts", check=False), "0\n")


class Crash(Pod):
    def test_killed_daemon(self):
        run("donor", "--ipc", "shareable", command=COUNT)
        run("member", "--network", "container:donor", "--ipc", "container:donor", command=COUNT)
        run("ends", "--network", "container:donor", "--ipc", "container:donor",
            command="while [ ! -e /dev/shm/end ]; do sleep 0.1; done; sleep 1; echo bye; exit 42")
        before = {name: state(name) for name in ("donor", "member")}
        inside("member", "touch /dev/shm/end")
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
        run("own", "--pid", "container:donor")
        ENGINE.docker("pause", "member")
        ENGINE.kill9()
        ENGINE.start()
        self.assertTrue(counts("donor"))
        self.assertEqual(state("member")["Status"], "paused")
        ENGINE.docker("unpause", "member")
        self.assertTrue(counts("member"))
        # The donor ends first, the machine with the last one.
        ENGINE.docker("kill", "donor")
        self.assertEqual(ended("own")["ExitCode"], 137)
        run("late", "--network", "container:member")
        self.assertTrue(counts("member"))
        ENGINE.docker("rm", "-f", "member")
        self.assertEqual(state("late")["Status"], "running")
        ENGINE.docker("rm", "-f", "late")
        wait_for(lambda: not ENGINE.processes(b"qemu-system-x86_64", b"virtiofsd"), 20, "the machine to end with its last container")

    def test_a_container_without_a_row_leaves(self):
        run("donor")
        run("member", "--network", "container:donor")
        cid, pid = inspect("member")["Id"], state("member")["Pid"]
        ENGINE.kill9()
        with sqlite3.connect(ENGINE.data + "/state.db") as db:  # as if the daemon had ended before it was written
            self.assertEqual(db.execute("DELETE FROM containers WHERE key = ?", (cid,)).rowcount, 1)
        ENGINE.start()
        wait_for(lambda: state("donor")["Status"] == "running", 10)
        if RUNTIME == "vm":
            def only_the_donor():
                with open("%s/vm/%s/machine.json" % (ENGINE.run, inspect("donor")["Machine"]["Id"])) as f:
                    record = json.load(f)
                return (record["members"], len(record["processes"])) == ([inspect("donor")["Id"]], 3)
            wait_for(only_the_donor, 20, "the member to leave the machine")
        else:
            wait_for(lambda: not os.path.exists("/proc/%d" % pid), 20, "the member to be ended")
        self.assertIn("172.17.0.", inside("donor", "ip -4 -o addr show eth0"))


if __name__ == "__main__":
    main()
