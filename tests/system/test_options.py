#!/usr/bin/env python3
"""Options of docker run and create, each as Docker Engine 28.5 answers it: nothing is taken without effect."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import Engine, main, wait_for  # noqa: E402

ENGINE = None


def setUpModule():
    global ENGINE
    ENGINE = Engine.with_busybox()
    ENGINE.docker("network", "create", "mine")


def tearDownModule():
    ENGINE.docker("network", "rm", "mine", check=False)
    ENGINE.close_clean()


def run(*arguments):
    return ENGINE.docker("run", "--rm", *arguments)


class Case(unittest.TestCase):
    def refused(self, words, *arguments, code=125):
        r = ENGINE.docker("run", "--rm", *arguments, check=False)
        self.assertIn(words, r.err)
        self.assertEqual(r.returncode, code, r.err)

    def created(self, **request):
        """Status and message of the create, or of the start after it."""
        body = json.dumps(dict({"Image": "busybox", "Cmd": ["true"]}, **request)).encode()
        status, _, answer = ENGINE.http("POST", "/containers/create", body, {"Content-Type": "application/json"})
        answer = json.loads(answer)
        if status != 201:
            return status, answer["message"]
        try:
            status, _, text = ENGINE.http("POST", "/containers/%s/start" % answer["Id"])
            return status, json.loads(text)["message"] if text else ""
        finally:
            ENGINE.http("DELETE", "/containers/%s?force=1" % answer["Id"])


class Mounts(Case):
    def test_nothing_covers_proc(self):
        self.refused('error mounting "/tmp" to rootfs at "/proc"', "-v", "/tmp:/proc", "busybox", "true")
        self.refused("cannot be mounted because it is inside /proc", "-v", "/tmp:/proc/sub", "busybox", "true")
        self.refused("cannot be mounted because it is not of type proc", "-v", "volume:/proc", "busybox", "true")
        run("-v", "/etc/passwd:/proc/uptime", "busybox", "grep", "root", "/proc/uptime")
        run("-v", "/proc:/proc", "busybox", "true")

    def test_what_cannot_be_mounted_is_named_as_the_user_did(self):
        self.refused('error mounting "/tmp" to rootfs at "/etc/passwd": mount /tmp:/etc/passwd: not a directory: Are you trying',
                     "-v", "/tmp:/etc/passwd", "busybox", "true")

    def test_a_tmpfs_looks_like_the_folder_below_it(self):
        stat = ("busybox", "stat", "-c", "%a", "/etc", "/root")
        self.assertEqual(run("--tmpfs", "/etc", "--tmpfs", "/root:mode=1711", *stat).out, run(*stat).out)
        self.assertEqual(run("--tmpfs", "/new:mode=750", "busybox", "stat", "-c", "%a", "/new").out, "750\n")

    def test_images_are_refused(self):
        status, message = self.created(HostConfig={"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/i"}]})
        self.assertEqual((status, message), (501, 'mounts of type "image" are not supported'))

    def test_folders_above_a_mount_are_plain(self):
        for mount in (("--tmpfs", "/a/b/c"), ("-v", "vol:/a/b/c"), ("-v", "/tmp:/a/b/c")):
            modes = run(*mount, "busybox", "stat", "-c", "%a", "/a", "/a/b").out
            self.assertEqual(modes, "755\n755\n", mount)

    def test_a_volume_shows_later_mounts_of_the_host(self):
        ENGINE.docker("volume", "create", "late")
        folder = ENGINE.docker("volume", "inspect", "-f", "{{.Mountpoint}}", "late").out.strip()
        os.makedirs(folder + "/sub")
        in_lab = ["nsenter", "-t", str(ENGINE.process.pid), "-m"]
        mount = lambda *a: subprocess.run(in_lab + list(a), check=True)  # noqa: E731
        mount("mount", "--bind", folder, folder)
        mount("mount", "--make-shared", folder)
        try:
            ENGINE.docker("run", "-d", "--name", "late", "-v", "late:/v", "busybox", "sleep", "1000")
            mount("mount", "-t", "tmpfs", "none", folder + "/sub")
            wait_for(lambda: ENGINE.docker("exec", "late", "grep", " /v/sub ", "/proc/mounts", check=False).out, 5)
        finally:
            ENGINE.docker("rm", "-f", "late", check=False)
            subprocess.run(in_lab + ["umount", "-R", folder], check=True)
            ENGINE.docker("volume", "rm", "late")


class Limits(Case):
    def test_storage(self):
        for option, words in (("size=1G", "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
                              ("foo=1", "Unknown option foo")):
            self.refused(words, "--storage-opt", option, "busybox", "true")

    def test_cpu_shares(self):
        self.refused("the minimum allowed cpu-shares is 2", "--cpu-shares", "1", "busybox", "true")
        self.refused("the maximum allowed cpu-shares is 262144", "--cpu-shares", "262145", "busybox", "true")
        cid = ENGINE.docker("run", "-d", "busybox", "sleep", "1000").out.strip()
        r = ENGINE.docker("update", "--cpu-shares", "1", cid, check=False)
        self.assertIn("Cannot update container %s: runc did not terminate successfully: exit status 1: the minimum allowed "
                      "cpu-shares is 2" % cid, r.err)
        ENGINE.docker("rm", "-f", cid)

    def test_block_devices(self):
        rate = lambda path: self.created(HostConfig={"BlkioDeviceReadBps": [{"Path": path, "Rate": 100}]})  # noqa: E731
        self.assertEqual(rate("/dev/nonexistent"), (500, "stat /dev/nonexistent: no such file or directory"))
        self.assertIn("no such device", rate("/dev/null")[1])

    def test_update_warns(self):
        cid = ENGINE.docker("create", "busybox").out.strip()
        body = json.dumps({"OomKillDisable": True}).encode()
        status, _, text = ENGINE.http("POST", "/containers/%s/update" % cid, body, {"Content-Type": "application/json"})
        self.assertEqual(status, 200)
        self.assertEqual(len(json.loads(text)["Warnings"]), 1, text)


class Start(Case):
    def test_codes_and_words(self):
        d = tempfile.mkdtemp(dir=ENGINE.dir)
        for name, text in (("noformat", "echo\n"), ("nointerpreter", "#!/no/such\n")):
            with open(d + "/" + name, "w") as f:
                f.write(text)
            os.chmod(d + "/" + name, 0o755)
        x = ("-v", d + ":/x", "busybox")
        self.refused('exec: "/nosuch": stat /nosuch: no such file or directory', "busybox", "/nosuch", code=127)
        self.refused('exec: "/etc": permission denied', "busybox", "/etc", code=126)
        self.refused("executable file not found in $PATH", "-e", "PATH=/etc", "busybox", "passwd", code=127)
        self.refused("xec format error", *x, "/x/noformat", code=1)
        self.refused("o such file or directory", *x, "/x/nointerpreter", code=1)
        self.refused("Cannot mkdir: /etc/passwd is not a directory", "-w", "/etc/passwd", "busybox", "true")
        self.assertEqual(self.created(Cmd=["/etc/passwd/x"])[0], 400)
        self.refused("open /proc/sys/net/foo: no such file or directory", "--sysctl", "net.foo=1", "busybox", "true", code=127)

    def test_folder_of_an_exec(self):
        cid = ENGINE.docker("run", "-d", "busybox", "sleep", "1000").out.strip()
        r = ENGINE.docker("exec", "-w", "rel", cid, "true", check=False)
        self.assertIn("Cwd must be an absolute path", r.out + r.err)
        self.assertEqual(r.returncode, 128)
        ENGINE.docker("rm", "-f", cid)

    def test_the_working_directory_is_roots(self):
        self.assertEqual(run("-u", "1000", "-w", "/a/b", "busybox", "stat", "-c", "%u", "/a/b").out, "0\n")

    def test_names_of_the_host(self):
        self.refused('sysctl "kernel.domainname" is not in a separate kernel namespace', "--uts", "host", "--domainname", "x",
                     "busybox", "true")

    def test_seccomp(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=ENGINE.dir) as f:
            def profile(text):
                f.seek(0)
                f.truncate()
                f.write(text)
                f.flush()
                return ("--security-opt", "seccomp=" + f.name, "busybox", "grep", "Seccomp:", "/proc/self/status")
            self.assertEqual(run(*profile("{}")).out, "Seccomp:\t0\n")
            self.refused("string NONSENSE is not a valid action for seccomp", *profile('{"defaultAction": "NONSENSE"}'))
            self.refused("json: cannot unmarshal array into Go value of type seccomp.Seccomp", *profile("[]"))


    def test_writable_cgroups(self):
        writable = lambda *a: "cgroup rw," in run(*a, "busybox", "cat", "/proc/mounts").out  # noqa: E731
        self.assertFalse(writable())
        self.assertTrue(writable("--security-opt", "writable-cgroups=true"))


class Networks(Case):
    def test_networks_that_exclude_each_other(self):
        none = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        self.refused(none, "--network", "bridge", "--network", "none", "busybox", "true")
        self.refused(none, "--network", "none", "--network", "bridge", "busybox", "true")
        self.refused("container must be created in host network mode", "--network", "none", "--network", "host", "busybox", "true")
        self.refused("cannot be connected to any other network", "--network", "host", "--network", "none", "busybox", "true")
        status, _ = self.created(NetworkingConfig={"EndpointsConfig": {"mine": {}, "bridge": {}}})
        self.assertEqual(status, 204)
        self.assertIn("left out network=mine", ENGINE.log())

    def test_the_only_endpoint_is_the_network(self):
        body = json.dumps({"Image": "busybox", "Cmd": ["sleep", "1000"], "NetworkingConfig": {"EndpointsConfig": {"mine": {}}}}).encode()
        _, _, answer = ENGINE.http("POST", "/containers/create", body, {"Content-Type": "application/json"})
        cid = json.loads(answer)["Id"]
        ENGINE.docker("start", cid)
        self.assertEqual(list(ENGINE.json("GET", "/containers/%s/json" % cid)["NetworkSettings"]["Networks"]), ["mine"])
        ENGINE.docker("rm", "-f", cid)

    def test_a_link_local_address(self):
        self.assertIn("169.254.1.1/16", run("--network", "mine", "--link-local-ip", "169.254.1.1", "busybox", "ip", "-o", "-4", "addr").out)

    def test_the_name_of_the_interface(self):
        option = "driver-opt=com.docker.network.endpoint.ifname="
        self.assertIn("lan0", run("--network", "name=mine," + option + "lan0", "busybox", "ip", "-o", "-4", "addr").out)
        for name, why in (("lo", "file exists"), ("a/b", "invalid argument"), ("abcdefghijklmnopqrst", "numerical result out of range")):
            self.refused('to "%s": %s' % (name, why), "--network", "name=mine," + option + name, "busybox", "true")
        self.refused("is not supported", "--network",
                     "name=mine,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1", "busybox", "true")

    def test_links(self):
        cid = ENGINE.docker("run", "-d", "--name", "db", "-e", "A=1", "--expose", "81", "busybox", "sleep", "1000").out.strip()
        ip = ENGINE.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "db").out.strip()
        out = run("--name", "web", "--link", "db:al", "busybox", "sh", "-c", "grep al /etc/hosts | tail -1; env | grep AL_ | sort; ping -c1 al").out
        self.assertIn("%s\tal %s db\n" % (ip, cid[:12]), out)
        self.assertIn("AL_ENV_A=1\nAL_NAME=/web/al\nAL_PORT=tcp://%s:81\nAL_PORT_81_TCP=tcp://%s:81\n" % (ip, ip), out)
        self.assertIn("1 packets received", out)
        ENGINE.docker("create", "--name", "idle", "busybox")
        ENGINE.docker("run", "-d", "--name", "there", "--network", "mine", "busybox", "sleep", "1000")
        self.refused("Cannot link to a non running container: /idle AS /", "--link", "idle", "busybox", "true")
        self.refused("not attached to default bridge network", "--link", "there", "busybox", "true")
        self.refused("could not get container for nosuch: No such container: nosuch", "--link", "nosuch", "busybox", "true")
        self.refused("links are supported on the default bridge network only", "--network", "mine", "--link", "there", "busybox", "true")
        ENGINE.docker("rm", "-f", "db", "idle", "there")

    def test_ports(self):
        cid = ENGINE.docker("run", "-d", "-p", "48173:0", "busybox", "sleep", "1000").out.strip()
        self.assertIn("0/tcp -> 0.0.0.0:48173", ENGINE.docker("port", cid).out)
        ENGINE.docker("rm", "-f", cid)
        self.refused("unknown protocol", "-P", "--expose", "80/bogus", "busybox", "true")


class Clients(Case):
    """What the SDKs for Python and Node rely on."""

    def connect(self, path, headers="", body=b""):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(20)
        s.connect(ENGINE.host[len("unix://"):])
        s.sendall(("POST /v1.51%s HTTP/1.1\r\nHost: d\r\n%s\r\n" % (path, headers)).encode() + body)
        return s

    def until(self, s, mark):
        data = b""
        while mark not in data:
            piece = s.recv(4096)
            self.assertTrue(piece, data)
            data += piece
        return data

    def post(self, path, body):
        status, _, answer = ENGINE.http("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        self.assertIn(status, (200, 201, 204), answer)
        return json.loads(answer) if answer else None

    def test_the_body_of_an_attach_is_no_input(self):
        json_body = b'{"stream":true,"stdin":true}'
        for headers, body in (("Content-Length: %d\r\n" % len(json_body), json_body),
                              ("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n")):
            name = ENGINE.docker("create", "-i", "busybox", "head", "-n1").out.strip()
            s = self.connect("/containers/%s/attach?stream=1&stdin=1&stdout=1" % name, "Connection: Upgrade\r\nUpgrade: tcp\r\n" + headers, body)
            self.until(s, b"\r\n\r\n")
            ENGINE.docker("start", name)
            s.sendall(b"hello\n")
            self.assertEqual(self.until(s, b"\n"), b"\x01\0\0\0\0\0\0\x06hello\n")
            ENGINE.docker("rm", "-f", name)

    def test_an_exec_is_told_of_before_its_first_output(self):
        """docker-py drops what comes in one piece with the head. A resize right after the head waits for the process."""
        name = ENGINE.docker("run", "-d", "busybox", "sleep", "300").out.strip()
        for command, words in ((["echo", "hello"], b"hello\r\n"), (["missing"], b"no such file or directory")):
            exec_id = self.post("/containers/%s/exec" % name, {"Cmd": command, "Tty": True, "AttachStdout": True})["Id"]
            body = b'{"Tty":true}'
            headers = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
            s = self.connect("/exec/%s/start" % exec_id, headers, body)
            self.assertTrue(self.until(s, b"\r\n\r\n").endswith(b"\r\n\r\n"))
            self.until(s, words if command[0] == "echo" else b"\r\n")
        exec_id = self.post("/containers/%s/exec" % name, {"Cmd": ["sleep", "60"], "Tty": True, "AttachStdout": True})["Id"]
        s = self.connect("/exec/%s/start" % exec_id, headers, body)
        self.until(s, b"\r\n\r\n")
        self.post("/exec/%s/resize?h=33&w=44" % exec_id, {})
        ENGINE.docker("rm", "-f", name)

    def test_a_wait_hears_of_an_exit_that_a_policy_follows(self):
        for condition in ("", "?condition=not-running", "?condition=next-exit"):
            name = ENGINE.docker("run", "-d", "--restart", "always", "busybox", "sh", "-c", "sleep 1; exit 3").out.strip()
            self.assertEqual(self.post("/containers/%s/wait%s" % (name, condition), {})["StatusCode"], 3)
            ENGINE.docker("rm", "-f", name)


if __name__ == "__main__":
    main()
