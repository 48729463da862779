#!/usr/bin/env python3
"""docker load of what other tools write - skopeo's docker-archive (podman's is the same code) and oci-archive, OCI layouts with gzip and
zstd layers, several images in one archive, packed archives - and other tools reading what docker save wrote."""
import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import nasty_images  # noqa: E402
from arca_engine import Engine, busybox_archive, main  # noqa: E402

NAME = "nasty/three:latest"


def skopeo(*words):
    return subprocess.run(["skopeo", "--insecure-policy", *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


class Archives(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = folder.name
        cls.e = Engine()
        cls.addClassCleanup(cls.e.close)
        cls.e.__enter__()
        with tarfile.open(busybox_archive(cls.dir + "/busybox.tar")) as tar:
            base = tar.extractfile("layer.tar").read()
        upper = nasty_images.Layer().add("etc/motd", data=b"hello\n").add("etc/gone", data=b"x").add("bin/link", nasty_images.HARD, link="etc/motd")
        top = nasty_images.Layer().add("etc/.wh.gone")
        cls.source = cls.dir + "/three.tar"
        nasty_images.archive(cls.source, "three", [base, upper, top])
        with tarfile.open(cls.source) as tar:
            cls.id = "sha256:" + json.load(tar.extractfile("manifest.json"))[0]["Config"][:-5]

    def setUp(self):
        self.e.docker("image", "prune", "-af")
        self.assertEqual(self.e.json("GET", "/images/json"), [])

    def check(self, path, names, same_id=True):
        """Loads twice: the second time everything is here."""
        out = self.e.docker("load", "-i", path).out
        for name in names:
            self.assertIn("Loaded image: %s\n" % name, out)
        if not names:
            self.assertIn("Loaded image ID: ", out)
        image = self.e.json("GET", "/images/json")[0]["Id"]
        if same_id:
            self.assertEqual(image, self.id)
        self.assertEqual(len(self.e.json("GET", "/images/%s/json" % image)["RootFS"]["Layers"]), 3)
        said = self.e.docker("run", "--rm", image, "sh", "-c", "cat /bin/link; stat -c %h /etc/motd; ls /etc/gone; true")
        self.assertEqual(said.out, "hello\n2\n")
        self.assertIn("No such file", said.err)
        self.assertEqual(self.e.docker("load", "-i", path).out, out)
        self.assertEqual([i["Id"] for i in self.e.json("GET", "/images/json")], [image])

    def copy(self, target, *flags):
        skopeo("copy", "-q", *flags, "docker-archive:" + self.source, target)

    def packed(self, folder, path):
        with tarfile.open(path, "w") as tar:
            for name in sorted(os.listdir(folder)):
                tar.add(folder + "/" + name, name)
        return path

    def test_docker_archive(self):
        path = self.dir + "/docker-archive.tar"
        self.copy("docker-archive:%s:example.org/some/three:1" % path)
        self.check(path, ["example.org/some/three:1"])

    def test_docker_archive_of_two_images(self):
        path = self.dir + "/two.tar"
        self.copy("docker-archive:%s:first:1" % path, "--additional-tag", "docker.io/library/second:2")
        self.check(path, ["first:1", "second:2"])

    def test_docker_archive_without_a_name(self):
        path = self.dir + "/nameless.tar"
        self.copy("docker-archive:" + path)
        self.check(path, [])

    def test_packed_archives(self):
        with open(self.source, "rb") as f:
            plain = f.read()
        packers = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
        for kind, pack in packers.items():
            with self.subTest(kind):
                self.setUp()
                path = "%s/three.tar.%s" % (self.dir, kind)
                with open(path, "wb") as f:
                    f.write(pack(plain))
                self.check(path, [NAME])

    def test_oci_archive(self):
        path = self.dir + "/oci-archive.tar"
        self.copy("oci-archive:%s:example.org/some/three:oci" % path)
        self.check(path, ["example.org/some/three:oci"], same_id=False)  # skopeo writes the config anew

    def test_oci_archive_with_a_bare_tag(self):
        path = self.dir + "/oci-tag.tar"
        self.copy("oci-archive:%s:latest" % path)
        self.check(path, [], same_id=False)

    def test_oci_layouts(self):
        for kind in ("gzip", "zstd"):
            with self.subTest(kind):
                self.setUp()
                folder = "%s/layout-%s" % (self.dir, kind)
                self.copy("oci:%s:example.org/some/three:%s" % (folder, kind), "--dest-compress", "--dest-compress-format", kind)
                with open(folder + "/index.json") as f:
                    digest = json.load(f)["manifests"][0]["digest"]
                with open(folder + "/blobs/sha256/" + digest[7:]) as f:
                    self.assertEqual({layer["mediaType"].split("+")[-1] for layer in json.load(f)["layers"]}, {kind})
                self.check(self.packed(folder, folder + ".tar"), ["example.org/some/three:" + kind], same_id=False)

    def test_saved_is_read_by_skopeo(self):
        self.e.docker("load", "-qi", self.source)
        self.e.docker("save", "-o", self.dir + "/saved.tar", NAME)
        seen = json.loads(skopeo("inspect", "--raw", "docker-archive:" + self.dir + "/saved.tar"))
        self.assertEqual(seen["config"]["digest"], self.id)
        seen = json.loads(skopeo("inspect", "oci-archive:" + self.dir + "/saved.tar"))
        self.assertEqual(len(seen["Layers"]), 3)
        # What skopeo copies out of it is the same image again.
        skopeo("copy", "-q", "docker-archive:%s/saved.tar" % self.dir, "docker-archive:%s/again.tar:again:1" % self.dir)
        self.setUp()
        self.check(self.dir + "/again.tar", ["again:1"])

    def test_broken_archives(self):
        with open(self.source, "rb") as f:
            plain = f.read()
        def says(data, words):
            status, _, body = self.e.http("POST", "/images/load?quiet=1", io.BytesIO(data), {"Content-Length": str(len(data))})
            self.assertIn(words, body.decode(), status)
            self.assertEqual(self.e.json("GET", "/images/json"), [])
            self.assertEqual(os.listdir(self.e.data + "/layers"), [])
        says(plain[:len(plain) // 2], "unexpected EOF")
        says(b"no tar at all" * 100, "invalid tar header")
        says(plain.replace(b"hello\n", b"HELLO\n", 1), "invalid diffID for layer 1")


if __name__ == "__main__":
    main()
