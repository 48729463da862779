#!/usr/bin/env python3
"""What a virtual machine is to its host where that holds by construction: the processes on the
host, what is shared, what time it is. Hostile agents are in test_hostile.py.

Not here: 54, since docker cp is not built (nothing unpacks a guest's tar), and 61, since docker stats is not.
"""
import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import SANITIZED, Engine, main, wait_for  # noqa: E402

ENGINE = None
PROBE = r"""
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/xattr.h>
int main(int count, char** words) {
  errno = 0;
  int done = count == 1 ? socket(40 /* AF_VSOCK */, SOCK_STREAM, 0) : setxattr(words[1], words[2], "y", 1, 0);
  printf("%d %d\n", done >= 0, errno);
}
"""
CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_PTRACE, CAP_SYS_ADMIN = 2, 12, 16, 17, 19, 21
MEMORY = 192


def setUpModule():
    global ENGINE
    if SANITIZED:
        raise unittest.SkipTest("the limits are those of a Release build")
    ENGINE = Engine.with_busybox(config={"default-runtime": "vm"})
    os.makedirs(ENGINE.dir + "/shared/inner")
    for path in ("canary", "shared/file"):
        with open(ENGINE.dir + "/" + path, "w") as f:
            f.write("of the host\n")
    with open(ENGINE.dir + "/probe.c", "w") as f:
        f.write(PROBE)
    subprocess.run(["clang-16", "-static", "-o", ENGINE.dir + "/shared/probe", ENGINE.dir + "/probe.c"], check=True)
    for name, more in (("box", ("-v", ENGINE.dir + "/shared:/shared")), ("root", ("-v", ENGINE.dir + "/shared:/shared", "--privileged"))):
        ENGINE.docker("run", "-d", "--name", name, "-m", "%dm" % MEMORY, "--network", "none", *more, "busybox", "sleep", "1000")


def tearDownModule():
    try:
        ENGINE.remove_everything()
        wait_for(lambda: not ENGINE.leftovers_of_containers(), 20, "the last machine to go")
    finally:
        ENGINE.close()


def inside(name, command):
    r = ENGINE.docker("exec", name, "sh", "-c", command, check=False)
    return r.out + r.err


def qemu_of(name):
    return ENGINE.json("GET", "/containers/%s/json" % name)["State"]["Pid"]


def status_of(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict((line.split(":", 1)[0], line.split(":", 1)[1].strip()) for line in f)


def servers_of(name):
    """Those that serve: the first one of each only waits for its child."""
    machine = ENGINE.json("GET", "/containers/%s/json" % name)["Machine"]["Id"]
    found = set()
    for pid in ENGINE.processes(b"virtiofsd"):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            if machine.encode() in f.read():
                found.add(pid)
    return [pid for pid in found if int(status_of(pid)["PPid"]) in found]


class Channels(unittest.TestCase):
    def test_no_vsock_is_there(self):
        """55: the only way between guest and daemon is the machine's own port; no other machine's, no port of the daemon's."""
        for name in ("box", "root"):
            with open("/proc/%d/cmdline" % qemu_of(name), "rb") as f:
                words = f.read().decode()
            self.assertNotIn("vsock", words)
            self.assertEqual(len(re.findall(r"virtserialport", words)), 1, words)
        kinds = inside("root", "cat /sys/bus/virtio/devices/*/device").split()
        self.assertIn("0x0003", kinds)  # the serial port, so the list is one
        self.assertNotIn("0x0013", kinds)
        self.assertNotIn("vsock", inside("root", "ls /dev"))

    def test_the_workload_gets_no_vsock(self):
        """56: refused by the filter; whoever has no filter finds none in the kernel."""
        self.assertEqual(inside("box", "/shared/probe"), "0 1\n")  # EPERM
        self.assertEqual(inside("root", "/shared/probe"), "0 97\n")  # EAFNOSUPPORT


class Processes(unittest.TestCase):
    def test_qemu_is_nobody(self):
        """58: a user of its own, no capability, a filter, no way to more, and nothing of ours open."""
        users = set()
        for name in ("box", "root"):
            pid = qemu_of(name)
            status = status_of(pid)
            ids = set((status["Uid"] + " " + status["Gid"]).split())
            self.assertEqual(len(ids), 1, ids)
            self.assertGreater(int(ids.copy().pop()), 1 << 20)
            users |= ids
            for what in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(status[what], 16), 0, what)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            files = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
            machine = ENGINE.json("GET", "/containers/%s/json" % name)["Machine"]["Id"]
            for path in files:
                if path.startswith(ENGINE.dir):
                    self.assertTrue(path.startswith("%s/vm/%s/" % (ENGINE.run, machine)) or "/guest/" in path, path)
            self.assertFalse([f for f in files if "state.db" in f or "arca.sock" in f], files)
        self.assertEqual(len(users), 2, "two machines with the same user")

    def test_the_server_of_files_sees_its_share_only(self):
        """57: its own root, a filter, no capability that reaches around paths, devices or other processes."""
        servers = servers_of("box")
        self.assertEqual(len(servers), 2)
        roots = []
        for pid in servers:
            status = status_of(pid)
            self.assertEqual(status["Seccomp"], "2")
            held = int(status["CapEff"], 16)
            for cap in (CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_PTRACE, CAP_SYS_ADMIN):
                self.assertFalse(held >> cap & 1, "capability %d: %x" % (cap, held))
            self.assertNotEqual(os.readlink("/proc/%d/ns/mnt" % pid), os.readlink("/proc/%d/ns/mnt" % ENGINE.process.pid))
            self.assertNotEqual(os.readlink("/proc/%d/ns/net" % pid), os.readlink("/proc/%d/ns/net" % ENGINE.process.pid))
            roots.append(set(os.listdir("/proc/%d/root" % pid)))
        for names in roots:
            self.assertNotIn("lib64", names)  # of the host
        self.assertTrue(any("shared" in names or names and all(n.isdigit() for n in names) for names in roots), roots)

    def test_memory_has_an_end(self):
        """60: the guest's memory is a file of its size, whatever the guest does in it; QEMU has little beside it."""
        pid = qemu_of("root")
        mib = ENGINE.json("GET", "/containers/root/json")["Machine"]["MemoryMiB"]
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            self.assertIn(b"memory-backend-memfd,id=mem,size=%dM" % mib, f.read())
        inside("root", "mkdir -p /m; mount -t tmpfs -o size=10g x /m; dd if=/dev/zero of=/m/x bs=1M count=4000; cat /dev/zero | head -c 4000000000 | tail -c 1000000000 > /dev/null; umount /m")
        with open("/proc/%d/status" % pid) as f:
            resident = next(int(line.split()[1]) >> 10 for line in f if line.startswith("VmHWM:"))
        self.assertLess(resident, mib + 224)  # 64 of translated code, QEMU itself
        with open("/proc/%d/cgroup" % pid) as f:
            machines = [line for line in f if ENGINE.cgroup + "-vm/" in line]
        self.assertTrue(machines, "QEMU is in no group of its machine")


class Shares(unittest.TestCase):
    def test_no_way_out_of_a_share(self):
        """57: links and dots lead nowhere but to the guest's own files."""
        out = inside("root", "cd /shared; cat file; ln -sf ../canary up; ln -sf %s abs; ln -sf /proc/1/root/etc/shadow proc; "
                     "cat up; cat abs; cat proc; cat ../canary; cat inner/../../canary; ls -ld /shared/.." % (ENGINE.dir + "/canary"))
        self.assertEqual(out.count("of the host"), 1, out)
        self.assertNotIn("root:", out)
        # What the guest made is there as it was made: a name, not where it leads.
        self.assertEqual(os.readlink(ENGINE.dir + "/shared/up"), "../canary")

    def test_devices_are_the_guests(self):
        """57: a node in a share is a name; who opens it inside opens the guest's device."""
        with open("/sys/class/block/%s/dev" % sorted(os.listdir("/sys/class/block"))[0]) as f:
            major, minor = f.read().strip().split(":")
        out = inside("root", "mknod /shared/disk b %s %s && head -c 512 /shared/disk | wc -c; mknod /shared/mem c 1 1 && head -c 10 /shared/mem | wc -c; "
                     "rm -f /shared/disk /shared/mem" % (major, minor))
        self.assertNotIn("512\n", out)

    def test_attributes_are_not_the_hosts_power(self):
        """57: a guest's user.* is an attribute; trusted.*, which the host's overlay believes, is refused."""
        self.assertEqual(inside("root", "touch /shared/x; /shared/probe /shared/x user.mine"), "1 0\n")
        self.assertRegex(inside("root", "/shared/probe /shared/x trusted.overlay.opaque"), "^0 ")
        self.assertEqual(os.listxattr(ENGINE.dir + "/shared/x"), ["user.mine"])


class Clock(unittest.TestCase):
    def test_a_guest_that_sets_it(self):
        """62: the container's times are possible ones; a stop counts the host's seconds."""
        ENGINE.docker("run", "-d", "--name", "liar", "--privileged", "--network", "none", "busybox", "sh", "-c",
                      "date -s @4102444800; echo later; sleep 1000")
        wait_for(lambda: "later" in ENGINE.docker("logs", "liar").out, 20, "the clock to be set")
        begin = time.monotonic()
        ENGINE.docker("stop", "-t", "1", "liar")
        self.assertLess(time.monotonic() - begin, 30)
        state = ENGINE.json("GET", "/containers/liar/json")["State"]
        soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
        self.assertLessEqual(state["StartedAt"], state["FinishedAt"])
        self.assertLessEqual(state["FinishedAt"], soon)
        for line in ENGINE.docker("logs", "-t", "liar").out.splitlines():
            self.assertLessEqual(line.split()[0], soon)
        ENGINE.docker("rm", "liar")


if __name__ == "__main__":
    main()
