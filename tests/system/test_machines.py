#!/usr/bin/env python3
"""What a person sees of virtual machines: docker info and inspect, arca machine, refusals, and that two never are alike."""
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import BIN, Engine, main, wait_for  # noqa: E402

ENGINE = None
MACHINE_STAGES = {"queue", "spawn", "qemu", "boot", "hello", "nic", "rootfs", "shares"}
ENGINE_STAGES = {"files", "rootfs", "spec", "configure", "network", "create"}


def setUpModule():
    global ENGINE
    ENGINE = Engine.with_busybox(config={"default-runtime": "vm"})


def tearDownModule():
    ENGINE.close_clean()


def arca(*args, engine=None, check=True):
    r = subprocess.run([BIN + "/arca", *args, "--socket-path", (engine or ENGINE).sock], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60)
    r.out, r.err = r.stdout.decode(), r.stderr.decode()
    if check and r.returncode != 0:
        raise AssertionError("arca %s -> %d\n%s%s" % (" ".join(args), r.returncode, r.out, r.err))
    return r


def info(engine):
    """DriverStatus as a dict, when the acceleration is known."""
    def known():
        facts = dict(engine.json("GET", "/info")["DriverStatus"])
        return facts if facts.get("Hypervisor") and "being found out" not in facts["Acceleration"] else None
    return wait_for(known, 30, "the verdict on KVM", 0.2)


def inspect(name):
    return ENGINE.json("GET", "/containers/%s/json" % name)


def kind_of(engine, name):
    """The machine that a container that was created will get: only its row tells."""
    db = sqlite3.connect("file:%s/state.db?mode=ro" % engine.data, uri=True)
    try:
        rows = [json.loads(row) for row, in db.execute("SELECT document FROM containers")]
    finally:
        db.close()
    return [r["runtime"] for r in rows if r["name"] == name][0]


def run(name, *options):
    ENGINE.docker("run", "-d", "--name", name, *options, "busybox", "sleep", "1000")


class ProgramSearch(unittest.TestCase):
    """An exec leaves out folders of $PATH that lack its program: as seen from the host, which does not see mounts inside."""

    def test_the_first_in_path_is_run(self):
        def put(flag, folder, word, before="true"):
            script = "%s && mkdir -p %s && printf '#!/bin/sh\\necho %s\\n' > %s/date && chmod +x %s/date"
            ENGINE.docker("exec", *flag, "search", "sh", "-c", script % (before, folder, word, folder, folder))

        def found():
            return ENGINE.docker("exec", "search", "date", "+%%").out.strip()
        tools = ENGINE.dir + "/tools"
        os.mkdir(tools)
        run("search", "--security-opt", "seccomp=unconfined", "-v", tools + ":/opt/tools", "-e", "PATH=/usr/local/sbin:/usr/local/bin:/opt/tools:/sbin:/bin")
        try:
            self.assertEqual(found(), "%")
            put((), "/opt/tools", "share")
            self.assertEqual(found(), "share")
            put((), "/usr/local/bin", "made")
            self.assertEqual(found(), "made")
            put(("--privileged",), "/usr/local/sbin", "mounted", "mkdir -p /usr/local/sbin && mount -t tmpfs none /usr/local/sbin")
            self.assertEqual(found(), "mounted")
        finally:
            ENGINE.docker("rm", "-f", "search")


class OneMachine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("one", "-m", "192m", "-p", "8077:80", "--annotation", "arca.vm.kernel-arguments=ignore_loglevel")
        # The start's account is kept beside what the user waits for.
        wait_for(lambda: "ENGINE'S STAGES" in arca("machine", "inspect", "one").out, 5, "the start's account")

    @classmethod
    def tearDownClass(cls):
        ENGINE.docker("rm", "-f", "one")

    def test_info(self):
        facts = info(ENGINE)
        self.assertEqual((facts["Machine"], facts["Machine reason"]), ("vm", "set in the configuration"))
        self.assertRegex(facts["Hypervisor"], r"^QEMU \d+\.\d+")
        self.assertRegex(facts["Acceleration"], r"^(KVM: KVM usable|TCG \(emulation\): (no KVM: |KVM is there but cannot boot a guest: ).+)$")
        self.assertRegex(facts["Guest"], r"^\S+, kernel \d+\.\d+\.\d+\S*$")
        self.assertEqual(facts["Supports d_type"], "true")
        self.assertLessEqual({"runc", "namespace", "vm"}, set(ENGINE.json("GET", "/info")["Runtimes"]))
        self.assertIn("Hypervisor: QEMU", ENGINE.docker("info").out)

    def test_inspect(self):
        machine = inspect("one")["Machine"]
        self.assertEqual(machine["Kind"], "vm")
        self.assertTrue(os.path.isdir("%s/vm/%s" % (ENGINE.run, machine["Id"])), machine["Id"])
        with open("/proc/%d/cmdline" % machine["Pid"], "rb") as f:
            self.assertIn(b"qemu-system-x86_64", f.read())
        self.assertGreaterEqual(machine["MemoryMiB"], 192)
        self.assertEqual(machine["Cpus"], 1)
        self.assertIn(machine["Accelerator"], ("kvm", "tcg"))
        self.assertIn(machine["Guest"], os.listdir(ENGINE.data + "/guest"))
        self.assertLessEqual(MACHINE_STAGES, set(machine["Stages"]), machine["Stages"])
        self.assertEqual(set(machine["EngineStages"]), ENGINE_STAGES)
        self.assertGreater(machine["Stages"]["boot"], 10)
        self.assertGreater(machine["EngineMs"], 0)
        self.assertGreater(machine["StartMs"], machine["EngineMs"] + machine["Stages"]["boot"])

    def test_a_later_daemon_shows_the_same(self):
        before = inspect("one")["Machine"]
        ENGINE.kill9()
        ENGINE.start()
        self.assertEqual(inspect("one")["State"]["Status"], "running")
        wait_for(lambda: "container adopted" in ENGINE.log(), 10, "the adoption")
        self.assertEqual(inspect("one")["Machine"], before)
        self.assertEqual(arca("machine", "inspect", "one").out.count("\n  boot "), 2)  # a stage, and in the timeline

    def test_what_has_no_machine_shows_none(self):
        cid = ENGINE.docker("create", "busybox", "true").out.strip()
        self.assertNotIn("Machine", inspect(cid))
        run("plain", "--runtime", "namespace")
        self.assertNotIn("Machine", inspect("plain"))
        line = [x for x in arca("machine", "ls").out.splitlines() if " plain " in x][0].split()
        self.assertEqual(line[:2], ["namespace", "plain"])
        self.assertIn("namespace, which boots no kernel", arca("machine", "logs", "plain", check=False).err)
        ENGINE.docker("rm", "-f", cid, "plain")

    def test_ls(self):
        machine = inspect("one")["Machine"]
        rows = [x.split() for x in arca("machine", "ls").out.splitlines()]
        self.assertEqual(rows[0], ["KIND", "CONTAINER", "PID", "MiB", "CPUS", "UP", "ACCEL", "GUEST"])
        row = [r for r in rows if r[1] == "one"][0]
        self.assertEqual(row[0], "vm")
        self.assertEqual(row[2:5], [str(machine["Pid"]), str(machine["MemoryMiB"]), "1"])
        self.assertRegex(row[5], r"^\d+[smh]$")
        self.assertEqual(row[6:], [machine["Accelerator"], machine["Guest"]])

    def test_inspect_of_arca(self):
        shown = arca("machine", "inspect", "one").out
        machine = inspect("one")["Machine"]
        with open("%s/vm/%s/machine.json" % (ENGINE.run, machine["Id"])) as f:
            secret = re.search(r'"secret":\s*"([^"]+)"', f.read()).group(1)
        self.assertNotIn(secret, shown)
        self.assertNotIn("secret", shown)
        for word in ('"pid": %d' % machine["Pid"], '"virtiofsd-root', "MACHINE'S STAGES", "ENGINE'S STAGES"):
            self.assertIn(word, shown)
        for stage in MACHINE_STAGES | ENGINE_STAGES:
            self.assertRegex(shown, r"(?m)^  %s +\d+\.\d$" % stage)
        everything = arca("machine", "inspect", "--json", "one").out
        self.assertNotIn("secret", everything)

        covered, own = 0, 0
        timeline = json.loads(everything)["timeline"]
        for step in timeline:  # without a gap
            self.assertLess(step["at"], covered + 0.001, timeline)
            covered = max(covered, step["at"] + step["ms"])
            own += step["ms"] if step["what"] == "engine" else 0
            self.assertRegex(shown, r"(?m)^  %s +%.1f +%.1f$" % (re.escape(step["what"]), step["at"], step["ms"]))
        self.assertLessEqual({"engine", "QEMU's start", "boot", "Hello", "Configure", "netdev_add", "device_add", "Mount",
                              "ConfigureInterface", "CreateContainer"}, {step["what"] for step in timeline})
        self.assertAlmostEqual(covered, machine["StartMs"], delta=0.01)
        self.assertAlmostEqual(own, machine["EngineMs"], delta=0.01)

    def test_boot_log_while_it_runs(self):
        log = arca("machine", "logs", "one").out
        self.assertIn("Linux version", log)
        self.assertNotIn("\x1b", log)
        self.assertNotIn("\r", log)

    def test_console_follows_to_the_end(self):
        run("short", "--annotation", "arca.vm.kernel-arguments=ignore_loglevel")
        console = subprocess.Popen([BIN + "/arca", "machine", "console", "short", "--socket-path", ENGINE.sock],
                                   stdout=subprocess.PIPE)
        out = b""
        while b"Linux version" not in out and (piece := console.stdout.read1(1 << 16)):
            out += piece
        ENGINE.docker("rm", "-f", "short")
        out += console.communicate(timeout=60)[0]
        self.assertIn(b"Linux version", out)
        self.assertEqual(console.returncode, 0)

    def test_sentences(self):
        for args, words in ((("inspect", "nosuch"), "No such container: nosuch"), (("logs", "no such/one"), "No such container: no such/one")):
            r = arca("machine", *args, check=False)
            self.assertEqual((r.returncode, r.err), (1, "arca: %s\n" % words))
        cid = ENGINE.docker("create", "--name", "never", "busybox", "true").out.strip()
        self.assertIn("not running: it has no machine", arca("machine", "inspect", "never", check=False).err)
        self.assertIn("no boot log is kept", arca("machine", "logs", "never", check=False).err)
        ENGINE.docker("rm", cid)


class Ended(unittest.TestCase):
    def test_the_last_boot_log_is_kept(self):
        ENGINE.docker("run", "--name", "done", "--annotation", "arca.vm.kernel-arguments=ignore_loglevel", "busybox", "true")
        self.assertIn("Linux version", arca("machine", "logs", "done").out)
        self.assertNotIn("Machine", inspect("done"))
        self.assertIn("is not running", arca("machine", "console", "done", check=False).err)
        path = "%s/containers/%s/machine.log" % (ENGINE.data, inspect("done")["Id"])
        self.assertLessEqual(os.stat(path).st_size, 64 << 10)
        ENGINE.docker("rm", "done")

    def test_also_of_a_start_that_failed(self):
        made = ENGINE.json("POST", "/containers/create?name=broken", {
            "Image": "busybox", "Cmd": ["true"],
            "HostConfig": {"Annotations": {"arca.vm.kernel-arguments": "rdinit=/nosuch"}}})
        status, _, body = ENGINE.http("POST", "/containers/%s/start" % made["Id"], timeout=120)
        self.assertGreaterEqual(status, 500, body)
        self.assertIn(b"`arca machine logs broken` shows its boot log", body)
        self.assertIn(b"the virtual machine did not start", body)
        self.assertLess(len(body), 400)
        self.assertIn("Kernel panic", arca("machine", "logs", "broken").out)
        ENGINE.docker("rm", "broken")


class TwoMachines(unittest.TestCase):
    """Equal until they boot, as they may come from a pool: whatever tells them apart is given to them later."""

    @classmethod
    def setUpClass(cls):
        for name in ("left", "right"):
            run(name)

    @classmethod
    def tearDownClass(cls):
        ENGINE.docker("rm", "-f", "left", "right")

    def each(self, command):
        return [ENGINE.docker("exec", name, "sh", "-c", command).out.strip() for name in ("left", "right")]

    def test_they_differ(self):
        for what, command in (("random bytes", "head -c 16 /dev/urandom | od -An -tx1"),
                              ("boot id", "cat /proc/sys/kernel/random/boot_id"),
                              ("MAC", "cat /sys/class/net/eth0/address"), ("hostname", "hostname"),
                              ("kernel's hostname", "cat /proc/sys/kernel/hostname"),
                              ("address", "ip -4 -o addr show eth0")):
            left, right = self.each(command)
            self.assertTrue(left and right, what)
            self.assertNotEqual(left, right, what)
        self.assertNotEqual(inspect("left")["Machine"]["Id"], inspect("right")["Machine"]["Id"])
        with open("/proc/sys/kernel/random/boot_id") as f:
            self.assertNotIn(f.read().strip(), self.each("cat /proc/sys/kernel/random/boot_id"))

    def test_their_clocks_are_the_hosts(self):
        for name in ("left", "right"):
            before = time.time()
            out = ENGINE.docker("exec", name, "adjtimex").out
            after = time.time()
            seconds, micro = (int(re.search(r"time\.%s: +(\d+)" % field, out).group(1)) for field in ("tv_sec", "tv_usec"))
            self.assertTrue(before - 3 <= seconds + micro / 1e6 <= after + 3, (name, before, seconds, micro, after))


class Refused(unittest.TestCase):
    def refused(self, engine, *options):
        r = engine.docker("run", "--rm", *options, "busybox", "true", check=False)
        self.assertEqual(r.returncode, 125, r.err)
        return r.err.split("Error response from daemon: ", 1)[1].splitlines()[0]

    def test_what_a_kernel_of_its_own_cannot_give(self):
        for options in (("--network", "host"), ("--device", "/dev/null"), ("--pid", "host")):
            sentence = self.refused(ENGINE, *options)
            self.assertIn(options[0], sentence)
            self.assertIn("--runtime namespace", sentence)

    def test_without_a_guest(self):
        with Engine(config={"default-runtime": "auto"}) as e:
            e.docker("load", "-i", ENGINE.dir + "/busybox.tar")
            self.assertIn("`arca setup`", self.refused(e, "--runtime", "vm"))
            facts = info(e)
            self.assertEqual(facts["Machine"], "namespace")
            self.assertTrue(facts["Machine reason"].startswith("auto: "), facts)
            self.assertIn("run `arca setup`", facts["Guest"])
            e.docker("run", "--rm", "busybox", "true")  # auto: in a namespace
            # It is seen without a restart.
            e.install_guest()
            self.assertIn(", kernel ", info(e)["Guest"])

    def test_auto_is_a_virtual_machine_where_kvm_is_good_for_it(self):
        # Nothing is started: whether this host's KVM could is another question.
        with Engine(config={"default-runtime": "auto", "vm-accelerator": "kvm"}) as e:
            e.install_guest()
            e.docker("load", "-i", ENGINE.dir + "/busybox.tar")
            facts = info(e)
            self.assertEqual((facts["Machine"], facts["Machine reason"]), ("vm", "auto: KVM is demanded by the settings"))
            for name, options, kind in (("a1", (), "vm"), ("a2", ("--runtime", "namespace"), "namespace"),
                                        ("a3", ("--network", "host"), "namespace"), ("a4", ("--runtime", "vm"), "vm")):
                e.docker("create", "--name", name, *options, "busybox", "true")
                self.assertEqual(kind_of(e, name), kind, name)

    def test_a_kernel_that_is_not_there(self):
        with Engine(config={"default-runtime": "namespace", "kernel-path": "/nosuch/vmlinux"}) as e:
            e.docker("load", "-i", ENGINE.dir + "/busybox.tar")
            words = "there is no readable file /nosuch/vmlinux (setting kernel-path)"
            self.assertIn(words, self.refused(e, "--runtime", "vm"))
            self.assertEqual(info(e)["Guest"], words)
            e.docker("run", "--rm", "busybox", "true")



class GiveBack(unittest.TestCase):
    """What a container frees is the host's again at once, or nearly: memory by free page reporting, disk by deletion."""

    def test_memory(self):
        ENGINE.docker("run", "-d", "--name", "hungry", "-m", "1400m", "--tmpfs", "/t:size=1100m", "busybox", "sleep", "1000")
        self.addCleanup(ENGINE.docker, "rm", "-f", "hungry")
        qemu = inspect("hungry")["State"]["Pid"]

        def resident():
            with open("/proc/%d/status" % qemu) as f:
                return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS:"))
        idle = resident()
        ENGINE.docker("exec", "hungry", "dd", "if=/dev/zero", "of=/t/x", "bs=1M", "count=1024")
        self.assertGreater(resident(), idle + 900)
        begin = time.monotonic()
        ENGINE.docker("exec", "hungry", "rm", "/t/x")
        wait_for(lambda: resident() < idle + 100, 20, "the memory to come back")
        print("1 GiB came back in %.1f s: resident %d, then %d MiB" % (time.monotonic() - begin, idle, resident()))

    def test_disk(self):
        ENGINE.docker("run", "-d", "--name", "writer", "busybox", "sleep", "1000")
        self.addCleanup(ENGINE.docker, "rm", "-f", "writer")

        def used():
            return int(subprocess.run(["du", "-sm", ENGINE.data + "/containers"], stdout=subprocess.PIPE, check=True).stdout.split()[0])
        before = used()
        ENGINE.docker("exec", "writer", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=100", "conv=fsync")
        self.assertGreater(used(), before + 90)
        ENGINE.docker("exec", "writer", "rm", "/big")
        wait_for(lambda: used() <= before + 1, 2, "the disk to come back")


if __name__ == "__main__":
    main()
