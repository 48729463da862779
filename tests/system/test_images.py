#!/usr/bin/env python3
"""Every fixture image (tests/fixtures/make-images.sh), pulled from a real registry - plain, with a password, with TLS - runs and says
what it must; concurrent pulls share one. (Registries that lie are in persistence/registry and actors/image.)

The images are made below build/fixtures at the first run (about 3 minutes, Debian packages); $ARCA_FIXTURES names a folder that has
them. What neither has is skipped, by name. ARCA_IMAGES="edge config" tests (and makes) only these.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import BIN, LAB, ROOT, Engine, main, wait_for  # noqa: E402

FIXTURES = os.environ.get("ARCA_FIXTURES", os.path.join(ROOT, "build", "fixtures"))
TOOLS = os.path.join(ROOT, "tests", "fixtures")
REGISTRIES = {"plain": ("127.0.0.1:5001", []), "password": ("127.0.0.1:5002", ["-u", "alice:secret"]), "tls": ("127.0.0.1:5003", ["-t"])}


def listed():
    """{name: first tag} of all images that make-images.sh knows."""
    out = subprocess.run([TOOLS + "/make-images.sh", "-l"], check=True, stdout=subprocess.PIPE).stdout.decode()
    return {words[0]: words[1] for words in map(str.split, out.splitlines())}


IMAGES = listed()
if not glob.glob(os.environ.get("FIXTURE_BUILDKIT", TOOLS + "/buildkit-*.tar.xz")) and not os.path.exists(FIXTURES + "/buildkit.tar"):
    del IMAGES["buildkit"]  # no Debian package has it: made only where somebody put the archive
WANTED = os.environ.get("ARCA_IMAGES", " ".join(IMAGES)).split()


def made(name):
    return os.path.exists("%s/%s.tar" % (FIXTURES, name))


def make_images():
    if "ARCA_FIXTURES" not in os.environ and not all(map(made, WANTED)):
        os.makedirs(FIXTURES, exist_ok=True)
        subprocess.run([TOOLS + "/make-images.sh", FIXTURES] + WANTED, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    # The registries run in the lab, from where nothing can be downloaded: the program is fetched out here.
    debs = os.path.join(FIXTURES, ".cache", "debs")
    if not shutil.which("docker-registry") and not glob.glob(debs + "/docker-registry_*.deb"):
        os.makedirs(debs, exist_ok=True)
        subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "docker-registry"], cwd=debs,
                       check=True, stdout=subprocess.DEVNULL)


class WithoutAnEngine(unittest.TestCase):
    def test_real_images_are_unpacked_as_gnu_tar_does(self):
        make_images()
        r = subprocess.run([BIN + "/images_test", "[.fixtures]"], env=dict(os.environ, ARCA_FIXTURES=FIXTURES), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        self.assertEqual(r.returncode, 0, r.stdout.decode("utf-8", "replace")[-4000:])


class Registries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make_images()
        cls.dir = "/tmp/arca-reg-%d" % os.getpid()
        # One tag each is enough here, and is pushed much faster than all of them.
        cls.images = cls.dir + "/images"
        os.makedirs(cls.images)
        with open(FIXTURES + "/images.tsv") as f, open(cls.images + "/images.tsv", "w") as out:
            for line in f:
                words = line.split("\t")
                out.write("\t".join([words[0], words[1].split()[0]] + words[2:]))
                os.symlink("%s/%s.tar" % (FIXTURES, words[0]), "%s/%s.tar" % (cls.images, words[0]))
        os.symlink(FIXTURES + "/.cache", cls.images + "/.cache")
        cls.e = Engine(config={"registries": {"127.0.0.1:5003": {"ca-dir": cls.dir + "/tls/tls"}}})
        cls.e.__enter__()
        cls.addClassCleanup(cls.clean)
        # Filled once; the others serve the same blobs.
        cls.registry("plain")
        for name in ("password", "tls"):
            os.makedirs("%s/%s" % (cls.dir, name))
            for shared in ("data", "pushed"):
                os.symlink("%s/plain/%s" % (cls.dir, shared), "%s/%s/%s" % (cls.dir, name, shared))
            cls.registry(name)
        cls.e.docker("login", "-u", "alice", "-p", "secret", REGISTRIES["password"][0])

    @classmethod
    def registry(cls, name):
        address, flags = REGISTRIES[name]
        subprocess.run([LAB, "run", cls.e.name, TOOLS + "/start-registry.sh", "-q", "-p", address.split(":")[1], "-d",
                        "%s/%s" % (cls.dir, name), "-i", cls.images, "-n", " ".join(filter(made, WANTED)), *flags], check=True,
                       stdout=subprocess.DEVNULL)

    @classmethod
    def clean(cls):
        for name in REGISTRIES:
            subprocess.run([LAB, "run", cls.e.name, TOOLS + "/start-registry.sh", "-s", "-d", "%s/%s" % (cls.dir, name)])
        try:
            cls.e.remove_everything()
        finally:
            cls.e.close()
            subprocess.run(["rm", "-rf", cls.dir])

    def reference(self, name, registry):
        if name not in WANTED or not made(name):
            self.skipTest("%s has no %s.tar" % (FIXTURES, name))
        tag = IMAGES[name]
        return REGISTRIES[registry][0] + "/" + (tag.split("/", 1)[1] if tag.startswith("quay.io/") else tag)

    def pull(self, name, registry):
        """The image's reference; nothing of it was here before, and nothing will be after the test."""
        ref = self.reference(name, registry)
        out = self.e.docker("pull", ref).out
        self.assertIn("Status: Downloaded newer image for " + ref, out)
        self.addCleanup(self.e.docker, "image", "prune", "-af")
        with open(FIXTURES + "/images.tsv") as f:
            ids = {line.split("\t")[0]: line.split("\t")[2] for line in f}
        self.assertEqual(self.e.json("GET", "/images/%s/json" % ref)["Id"], ids[name])
        return ref

    # -- what each image must say
    def output(self, ref, *args, **how):
        return self.e.docker("run", "--rm", *(["-i"] if "input" in how else []), ref, *args, **how).out

    def service(self, ref, *flags):
        cid = self.e.docker("run", "-d", *flags, ref).out.strip()
        self.addCleanup(self.e.docker, "rm", "-fv", cid, check=False)
        networks = self.e.json("GET", "/containers/%s/json" % cid)["NetworkSettings"]["Networks"]
        return cid, list(networks.values())[0]["IPAddress"]

    def fetch(self, url, *flags):
        """What the server answers as soon as it does."""
        def answer():
            r = subprocess.run([LAB, "run", self.e.name, "curl", "-s", "-m", "20", *flags, url], stdout=subprocess.PIPE)
            return r.stdout.decode() if r.returncode == 0 else None
        return wait_for(answer, 60, url)

    def says(self, cid, seconds, *command):
        def answer():
            r = self.e.docker("exec", cid, *command, check=False)
            return r.out.strip() if r.returncode == 0 else None
        return wait_for(answer, seconds, " ".join(command), 0.2)

    def check_hello_world(self, ref):
        self.assertIn("working correctly", self.output(ref))

    def check_busybox(self, ref):
        out = self.output(ref, input=b"cd /bin; [ sh -ef ash ] && [ $(stat -c %h sh) -gt 100 ] && echo linked\n")
        self.assertEqual(out, "linked\n")

    def check_alpine(self, ref):
        self.assertEqual(self.output(ref, input=b"cat /etc/alpine-release\n"), "3.22.1\n")

    def check_alpine_old(self, ref):
        self.assertEqual(self.output(ref, input=b"cat /etc/alpine-release\n"), "3.10.9\n")

    def check_debian(self, ref):
        out = self.output(ref, input=b". /etc/os-release; echo $ID $VERSION_CODENAME; dpkg --verify && perl -e 'print 6*7'")
        self.assertEqual(out.splitlines()[0], "debian bookworm")
        self.assertEqual(out.splitlines()[-1], "42")

    def check_ubuntu(self, ref):
        self.assertEqual(self.output(ref, input=b". /etc/os-release; echo $ID; ps -o comm= -p 1"), "ubuntu\nbash\n")

    def check_nginx(self, ref):
        cid, ip = self.service(ref)
        self.assertIn("<h1>Welcome to nginx!</h1>", self.fetch("http://%s/" % ip))
        self.assertIn("404", self.fetch("http://%s/nothing" % ip, "-w", "%{http_code}"))
        wait_for(lambda: '"GET /nothing HTTP/1.1" 404' in self.e.docker("logs", cid).out, 10, "the access log")
        self.e.docker("stop", cid)  # with SIGQUIT: a clean end
        self.assertEqual(self.e.json("GET", "/containers/%s/json" % cid)["State"]["ExitCode"], 0)

    def check_redis(self, ref):
        cid, _ = self.service(ref)
        self.assertEqual(self.says(cid, 30, "redis-cli", "set", "key", "value"), "OK")
        self.assertEqual(self.says(cid, 5, "redis-cli", "get", "key"), "value")
        self.assertEqual(self.says(cid, 5, "stat", "-c", "%U", "/proc/1"), "redis")

    def mariadb(self, ref):
        """A database "shop" with a table that has a 7 in it; the container's address."""
        cid, ip = self.service(ref, "-e", "MYSQL_ROOT_PASSWORD=pw", "-e", "MYSQL_DATABASE=shop", "-e", "MYSQL_USER=u",
                               "-e", "MYSQL_PASSWORD=p")
        sql = ["mariadb", "-uu", "-pp", "shop", "-Ne"]
        self.assertEqual(self.says(cid, 90, *sql, "select 6*7"), "42")
        self.assertIn("init process done", self.e.docker("logs", cid).out)
        self.e.docker("exec", cid, *sql, "create table t (n int); insert into t values (7)")
        return cid, ip

    def check_mariadb(self, ref):
        cid, _ = self.mariadb(ref)
        self.e.docker("restart", cid)  # its volume stays
        self.assertEqual(self.says(cid, 60, "mariadb", "-uu", "-pp", "shop", "-Ne", "select n from t"), "7")

    def check_wordpress(self, ref):
        registry = next(r for r, (address, _) in REGISTRIES.items() if ref.startswith(address))
        _, db = self.mariadb(self.pull("mariadb", registry))
        _, ip = self.service(ref, "-e", "WORDPRESS_DB_HOST=" + db, "-e", "WORDPRESS_DB_USER=u",
                             "-e", "WORDPRESS_DB_PASSWORD=p", "-e", "WORDPRESS_DB_NAME=shop")
        page = self.fetch("http://%s/wp-admin/install.php" % ip)
        self.assertIn("<title>WordPress &rsaquo; Installation</title>", page)

    def check_python(self, ref):
        out = self.output(ref, input=b"import ssl, sqlite3, sys; print(sys.version_info[:2], sum(range(101)))")
        self.assertEqual(out, "(3, 11) 5050\n")

    def check_registry(self, ref):
        _, ip = self.service(ref)
        self.assertEqual(json.loads(self.fetch("http://%s:5000/v2/_catalog" % ip)), {"repositories": []})

    def check_testimage(self, ref):
        self.assertEqual(self.output(ref), "This container is intended for podman CI testing\n")

    def check_edge(self, ref):
        r = self.e.docker("run", "--rm", ref, check=False)
        self.assertEqual(r.returncode, 0, r.out)
        self.assertEqual(sum(line.startswith("ok ") for line in r.out.splitlines()), 76, r.out)
        self.assertIn("edge: all 76 hold", r.out)

    def check_config(self, ref):
        out = self.output(ref).splitlines()
        self.assertEqual(out[:3], ["entry: sh -c id; pwd; env | sort", "uid=1000(user) gid=100(users) groups=100(users)", "/srv/app"])
        for line in ("EMPTY=", "GREETING=hello world", 'QUOTED="a" $b'):
            self.assertIn(line, out)
        self.assertEqual(self.output(ref, "cat", "/data/seed"), "entry: cat /data/seed\nfrom the image\n")

    def check_manylayers(self, ref):
        self.assertEqual(len(self.e.json("GET", "/images/%s/json" % ref)["RootFS"]["Layers"]), 100)
        self.assertEqual(self.output(ref), "99\n90\n")

    def check_large(self, ref):
        self.assertEqual(self.output(ref), "blob1: OK\nblob2: OK\nblob3: OK\n")

    def check_sparse(self, ref):
        self.assertEqual(self.output(ref), "1073741824\nat 0\nat 500\nat 1023\n")

    def check_buildkit(self, ref):
        self.assertIn("github.com/moby/buildkit", self.output(ref, "--version"))

    # -- the registries
    def test_up_to_date(self):
        ref = self.pull("hello-world", "plain")
        self.assertIn("Image is up to date", self.e.docker("pull", ref).out)

    def test_password_is_asked_for(self):
        ref, address = self.reference("hello-world", "password"), REGISTRIES["password"][0]
        self.e.docker("logout", address)
        try:
            self.assertIn("no basic auth credentials", self.e.docker("pull", ref, check=False).err)
            self.assertNotEqual(self.e.docker("login", "-u", "alice", "-p", "wrong", address, check=False).returncode, 0)
        finally:
            self.e.docker("login", "-u", "alice", "-p", "secret", address)

    def test_concurrent_pulls_share_one(self):
        ref, results = self.reference("busybox", "plain"), []
        with open(self.dir + "/plain/log") as f:
            before = len(f.readlines())
        threads = [threading.Thread(target=lambda: results.append(self.e.docker("pull", ref, check=False))) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.addCleanup(self.e.docker, "image", "prune", "-af")
        self.assertEqual([r.returncode for r in results], [0] * 6, [r.err for r in results])
        with open(self.dir + "/plain/log") as f:  # each blob was asked for once
            blobs = [line.split("/busybox/blobs/")[1].split()[0] for line in f.readlines()[before:]
                     if '"GET /v2/' in line and "/busybox/blobs/" in line]
        self.assertTrue(blobs)
        self.assertEqual(len(blobs), len(set(blobs)), blobs)


def add_test(name, registry):
    check = getattr(Registries, "check_" + name.replace("-", "_"))
    setattr(Registries, "test_%s_%s" % (name.replace("-", "_"), registry), lambda self: check(self, self.pull(name, registry)))


for image in IMAGES:  # an image without a check is an error here
    for kind in REGISTRIES:
        add_test(image, kind)

if __name__ == "__main__":
    main()
