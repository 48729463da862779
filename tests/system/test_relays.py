#!/usr/bin/env python3
"""Sockets on both sides of a machine's border: host sockets in bind mounts, arca machine dial; and docker top and hung guests."""
import calendar
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import BIN, Engine, main, wait_for  # noqa: E402

ENGINE = None
# The host's programs, for what busybox cannot do.
DOCKER = os.path.realpath(shutil.which("docker"))
PROGRAMS = ["-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro"]
MEGABYTES = 50


def setUpModule():
    global ENGINE
    ENGINE = Engine.with_busybox(config={"default-runtime": "vm"})


def tearDownModule():
    ENGINE.close_clean()


def run(name, *options):
    ENGINE.docker("run", "-d", "--name", name, *PROGRAMS, *options, "busybox", "sleep", "1000")


def python(name, script, *args, user="0", check=True):
    return ENGINE.docker("exec", "-u", user, name, "/usr/bin/python3", "-S", "-c", script, *args, check=check)


def arca(*args, input=b""):
    r = subprocess.run([BIN + "/arca", *args, "--socket-path", ENGINE.sock], input=input, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=120)
    r.err = r.stderr.decode()
    return r


def dial(name, address, input=b""):
    return arca("machine", "dial", name, address, input=input)


def inspect(name):
    return ENGINE.json("GET", "/containers/%s/json" % name)


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def whole(s):
    out = b""
    while piece := s.recv(1 << 18):
        out += piece
    return out


class Server:
    """Listens at a path of the host; each connection is given to `serve` in a thread of its own."""

    def __init__(self, path, serve, mode=0o666):
        self.path, self.serve, self.mode, self.seen = path, serve, mode, []
        self.listen()

    def listen(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        os.chmod(self.path, self.mode)
        self.socket.listen(64)
        threading.Thread(target=self.accept, args=(self.socket,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.seen.append(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:])
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.unlink(self.path)


def answer_after_the_end(s):
    """Half-closed connections: the answer comes when all has been read."""
    digest, size = hashlib.sha256(), 0
    while piece := s.recv(1 << 18):
        digest.update(piece)
        size += len(piece)
    s.sendall(("%d %s" % (size, digest.hexdigest())).encode())


def echo(s):
    while piece := s.recv(1 << 18):
        s.sendall(piece)


CONNECT = "import socket,sys\ns=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
# Writes and reads at the same time, checks what comes back.
BOTH_WAYS = CONNECT + """
import hashlib, threading
piece = bytes(range(256)) * 1024
count = int(sys.argv[2]) * 4
def send():
    for _ in range(count): s.sendall(piece)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
digest, size = hashlib.sha256(), 0
while True:
    got = s.recv(1 << 18)
    if not got: break
    digest.update(got); size += len(got)
wanted = hashlib.sha256()
for _ in range(count): wanted.update(piece)
print(size, digest.digest() == wanted.digest())
"""
MANY = """
import socket, sys
all = []
for i in range(20):
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); all.append(s)
for i, s in enumerate(all): s.sendall(b'connection %d' % i)
good = 0
for i, s in enumerate(all):
    s.shutdown(socket.SHUT_WR)
    got = b''
    while True:
        piece = s.recv(1000)
        if not piece: break
        got += piece
    good += got == b'connection %d' % i
print(good)
"""


class Relays(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = ENGINE.dir + "/sockets"
        os.makedirs(cls.dir + "/folder")
        os.chmod(cls.dir, 0o755)
        cls.echo = Server(cls.dir + "/echo", echo)
        cls.hash = Server(cls.dir + "/hash", answer_after_the_end)
        cls.root_only = Server(cls.dir + "/root-only", echo, 0o600)
        cls.secret = Server(cls.dir + "/secret", lambda s: s.sendall(b"secret"))
        cls.swapped = Server(cls.dir + "/folder/swapped", echo)
        options = ["-v", ENGINE.sock + ":/var/run/docker.sock", "-v", cls.dir + "/folder:/folder", "-v", cls.dir + "/folder/swapped:/swapped"]
        for name in ("echo", "hash", "root-only"):
            options += ["-v", "%s/%s:/run/%s" % (cls.dir, name, name)]
        run("one", "-m", "256m", *options)

    @classmethod
    def tearDownClass(cls):
        ENGINE.docker("rm", "-f", "one")
        for server in (cls.echo, cls.hash, cls.root_only, cls.secret):
            server.stop()

    def test_the_daemons_own_socket(self):
        r = ENGINE.docker("exec", "-e", "DOCKER_HOST=unix:///var/run/docker.sock", "one", DOCKER, "ps", "--format", "{{.Names}}")
        self.assertEqual(r.out.split(), ["one"])

    def test_both_ways_at_once(self):
        begin = time.monotonic()
        self.assertEqual(python("one", BOTH_WAYS, "/run/echo", str(MEGABYTES)).out.split(), [str(MEGABYTES << 20), "True"])
        print("%d MiB there and back in %.1f s" % (MEGABYTES, time.monotonic() - begin))

    def test_half_closed(self):
        script = CONNECT + "s.sendall(b'x' * 1000000); s.shutdown(socket.SHUT_WR)\nprint(s.recv(1000).decode(), s.recv(1) == b'')"
        wanted = "1000000 %s True" % hashlib.sha256(b"x" * 1000000).hexdigest()
        self.assertEqual(python("one", script, "/run/hash").out.strip(), wanted)

    def test_twenty_at_a_time(self):
        self.assertEqual(python("one", MANY, "/run/echo").out.strip(), "20")

    def test_who_may_connect(self):
        r = python("one", CONNECT, "/run/root-only", user="1000", check=False)
        self.assertIn("PermissionError", r.err)
        self.assertEqual(self.root_only.seen, [])
        python("one", CONNECT + "s.sendall(b'x'); s.recv(1)", "/run/root-only")
        self.assertEqual(self.root_only.seen, [(0, 0)])
        shown = ENGINE.docker("exec", "one", "stat", "-c", "%F %a %u %g", "/run/root-only").out.strip()
        self.assertEqual(shown, "socket 600 0 0")
        # As in a container of the host, the server knows its client.
        python("one", CONNECT + "s.sendall(b'x'); s.recv(1)", "/run/echo", user="1000:50")
        self.assertIn((1000, 50), self.echo.seen)
        with open("/proc/%d/status" % ENGINE.process.pid) as f:
            self.assertIn("Uid:\t0\t0\t0\t0", f.read())

    def test_a_server_that_goes_and_comes(self):
        path = self.dir + "/hash"
        self.hash.stop()
        script = CONNECT + "s.settimeout(20); print(s.recv(1))"
        self.assertEqual(python("one", script, "/run/hash").out.strip(), "b''")
        self.hash.listen()
        script = CONNECT + "s.shutdown(socket.SHUT_WR); print(s.recv(100).decode())"
        self.assertTrue(python("one", script, "/run/hash").out.startswith("0 "), path)

    def test_a_socket_that_the_machine_has_already(self):
        def relays():
            with open("%s/vm/%s/relays.json" % (ENGINE.run, inspect("one")["Machine"]["Id"])) as f:
                return json.load(f)["sockets"]
        before = relays()
        echo = self.dir + "/echo"
        script = """
import socket
for path in ('/run/a', '/run/b'):
    s = socket.socket(socket.AF_UNIX); s.connect(path); s.sendall(b'x'); print(s.recv(1))
"""
        for _ in range(2):
            r = ENGINE.docker("run", "--rm", "--network", "container:one", *PROGRAMS, "-v", echo + ":/run/a", "-v", echo + ":/run/b",
                              "busybox", "/usr/bin/python3", "-S", "-c", script)
            self.assertEqual(r.out.split(), ["b'x'", "b'x'"])
        self.assertEqual(relays(), before)

    def test_nothing_else_is_reached(self):
        before = len(self.secret.seen)
        ENGINE.docker("exec", "one", "sh", "-c", "rm /folder/swapped && ln -s ../secret /folder/swapped")
        self.assertEqual(os.readlink(self.dir + "/folder/swapped"), "../secret")
        self.assertEqual(python("one", CONNECT + "print(s.recv(100))", "/swapped").out.strip(), "b''")
        self.assertEqual(len(self.secret.seen), before)

    def test_z_a_later_daemon(self):  # last: what came before has left connections
        held = subprocess.Popen(["docker", "-H", ENGINE.host, "exec", "one", "/usr/bin/python3", "-S", "-c", CONNECT + """
s.sendall(b'held'); s.recv(4); open('/tmp/held', 'w')
if s.recv(1) == b'': open('/tmp/ended', 'w')
while True:
    try:
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'again')
        if s.recv(5) == b'again': break
    except OSError: pass
open('/tmp/again', 'w')
""", "/run/echo"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        there = lambda name: ENGINE.docker("exec", "one", "test", "-e", "/tmp/" + name, check=False).returncode == 0  # noqa: E731
        wait_for(lambda: there("held"), 30, "the connection")
        ENGINE.kill9()
        held.wait()
        ENGINE.start()
        # The connection ended with the daemon, the next one was made meanwhile or later, and is served.
        wait_for(lambda: there("again"), 30, "the next connection")
        self.assertTrue(there("ended"))
        self.assertEqual(python("one", MANY, "/run/echo").out.strip(), "20")


SERVE = """
import os, socket, threading
def echo(listener, last):
    while True:
        s, _ = listener.accept()
        def one(s):
            while True:
                piece = s.recv(1 << 16)
                if not piece: break
                s.sendall(piece)
            s.sendall(last)
            s.close()
        threading.Thread(target=one, args=(s,)).start()
t = socket.socket(); t.bind(('127.0.0.1', 7001)); t.listen(8)
u = socket.socket(socket.AF_UNIX); u.bind('/tmp/u'); u.listen(8)
d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); d.bind(('127.0.0.1', 7002))
threading.Thread(target=echo, args=(t, b'<tcp>')).start()
threading.Thread(target=echo, args=(u, b'<unix>')).start()
open('/tmp/ready', 'w')
while True:
    data, client = d.recvfrom(65536)
    d.sendto(b'<%s>' % data, client)
"""


class Dial(unittest.TestCase):
    def each_kind_of_address(self, name):
        ENGINE.docker("exec", "-d", name, "/usr/bin/python3", "-S", "-c", SERVE)
        wait_for(lambda: ENGINE.docker("exec", name, "test", "-e", "/tmp/ready", check=False).returncode == 0, 30, "the servers")
        for address, last in (("tcp:127.0.0.1:7001", b"<tcp>"), ("tcp:localhost:7001", b"<tcp>"), ("unix:/tmp/u", b"<unix>")):
            r = dial(name, address, b"question")
            self.assertEqual((r.returncode, r.stdout), (0, b"question" + last), (address, r.err))
        r = dial(name, "udp:127.0.0.1:7002", b"datagram")
        self.assertEqual((r.returncode, r.stdout), (0, b"<datagram>"), r.err)
        many = os.urandom(1 << 20) * 4
        r = dial(name, "tcp:127.0.0.1:7001", many)
        self.assertEqual((r.returncode, r.stdout == many + b"<tcp>"), (0, True), r.err)
        for address, words in (("tcp:127.0.0.1:7009", "tcp:127.0.0.1:7009: Connection refused"),
                               ("unix:/tmp/none", "unix:/tmp/none: open /tmp/none: No such file or directory"),
                               ("tcp:example.org:80", '"example.org" is no numeric address: names are not looked up'),
                               ("vsock:3:4", 'invalid address "vsock:3:4": tcp:HOST:PORT, udp:HOST:PORT or unix:PATH')):
            r = dial(name, address, b"x")
            self.assertEqual((r.returncode, r.stdout, r.err), (1, b"", "arca: %s\n" % words))

    def test_in_a_virtual_machine(self):
        run("vm")
        self.addCleanup(ENGINE.docker, "rm", "-f", "vm")
        self.each_kind_of_address("vm")
        ENGINE.docker("pause", "vm")
        self.assertEqual(dial("vm", "tcp:127.0.0.1:7001").err, "arca: container %s is paused\n" % inspect("vm")["Id"])
        ENGINE.docker("unpause", "vm")
        self.assertEqual(dial("vm", "tcp:127.0.0.1:7001", b"x").stdout, b"x<tcp>")

    def test_in_a_namespace(self):
        run("ns", "--runtime", "namespace")
        self.addCleanup(ENGINE.docker, "rm", "-f", "ns")
        self.each_kind_of_address("ns")

    def test_without_a_machine(self):
        cid = ENGINE.docker("create", "--name", "never", "busybox", "true").out.strip()
        self.addCleanup(ENGINE.docker, "rm", "never")
        self.assertEqual(dial("never", "tcp:127.0.0.1:1").err, "arca: container %s is not running\n" % cid)
        self.assertEqual(dial("nosuch", "tcp:127.0.0.1:1").err, "arca: No such container: nosuch\n")


class Top(unittest.TestCase):
    def test_shows_the_processes_inside(self):
        run("top", "-u", "65534")
        self.addCleanup(ENGINE.docker, "rm", "-f", "top")
        ENGINE.docker("exec", "-d", "-u", "0", "top", "sleep", "777")
        wait_for(lambda: "777" in ENGINE.docker("top", "top").out, 10, "the second process")
        lines = [line.split() for line in ENGINE.docker("top", "top").out.splitlines()]
        self.assertEqual(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
        first, second = lines[1:]
        self.assertEqual((first[0], first[7:]), ("nobody", ["sleep", "1000"]))
        self.assertEqual((second[0], second[7:]), ("root", ["sleep", "777"]))
        started = calendar.timegm(time.strptime(inspect("top")["State"]["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
        self.assertIn(first[4], [time.strftime("%H:%M", time.localtime(started + s)) for s in (-60, 0, 60)])
        # The numbers are those of the machine's first process.
        def shown():
            return ENGINE.docker("top", "top", "-o", "pid,vsz,rss,%mem,stat,comm").out.splitlines()[1].split()
        wait_for(lambda: shown()[4] == "S", 10, "the first process to sleep: its own beginning takes time")
        self.assertEqual((shown()[0], shown()[-1]), (first[1], "sleep"))
        self.assertGreater(int(shown()[1]), 0)


class Hung(unittest.TestCase):
    def unresponsive(self, name):
        return inspect(name).get("Machine", {}).get("Unresponsive", False)

    def test_a_machine_that_stands_still_is_seen(self):
        for name in ("hung", "other", "paused"):
            ENGINE.docker("run", "-d", "--name", name, "busybox", "sh", "-c", "echo said; exec sleep 1000")
        self.addCleanup(ENGINE.docker, "rm", "-f", "hung", "other", "paused")
        ENGINE.docker("pause", "paused")
        qemu = inspect("hung")["State"]["Pid"]
        os.kill(qemu, signal.SIGSTOP)
        begin = time.monotonic()
        wait_for(lambda: self.unresponsive("hung"), 30, "the machine to be noticed")
        print("a stopped machine was noticed after %.1f s" % (time.monotonic() - begin))
        row = [x for x in arca("machine", "ls").stdout.decode().splitlines() if " hung " in x][0]
        self.assertTrue(row.endswith("  does not answer"), row)
        self.assertEqual(ENGINE.docker("exec", "other", "echo", "fine").out, "fine\n")
        self.assertFalse(self.unresponsive("other"))
        os.kill(qemu, signal.SIGCONT)
        wait_for(lambda: not self.unresponsive("hung"), 15, "the machine to be well again")
        self.assertEqual(ENGINE.docker("exec", "hung", "echo", "back").out, "back\n")
        self.assertFalse(self.unresponsive("paused"))  # it was never asked
        os.kill(qemu, signal.SIGSTOP)
        begin = time.monotonic()
        ENGINE.docker("kill", "hung")
        self.assertLess(time.monotonic() - begin, 15)
        self.assertEqual(inspect("hung")["State"]["ExitCode"], 137)
        # A paused one stays so beyond its daemon, and nothing of it is lost.
        ENGINE.kill9()
        ENGINE.start()
        wait_for(lambda: ENGINE.log().count("container adopted") >= 2, 20, "the adoption")
        self.assertEqual(inspect("paused")["State"]["Status"], "paused")
        ENGINE.docker("unpause", "paused")
        self.assertEqual(ENGINE.docker("exec", "paused", "echo", "on").out, "on\n")
        self.assertEqual(ENGINE.docker("logs", "paused").out, "said\n")


if __name__ == "__main__":
    main()
