#!/usr/bin/env python3
"""Nonsense on the wire gives a 4xx in Docker's words and never a crash, a 5xx or a leak."""
import json
import os
import random
import socket
import sys
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import Engine, busybox_archive  # noqa: E402


class Nonsense(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.e = Engine()
        cls.e.__enter__()
        cls.e.docker("load", "-i", busybox_archive(cls.e.dir + "/busybox.tar"))
        cls.pid = cls.e.process.pid

    @classmethod
    def tearDownClass(cls):
        try:
            cls.e.remove_everything()
        finally:
            cls.e.close()

    def tearDown(self):
        self.assertEqual(self.e.http("GET", "/_ping")[0], 200)
        self.assertIsNone(self.e.process.poll(), self.e.log())

    def raw(self, data, seconds=60):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(seconds)
        s.connect(self.e.sock)
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            out = b""
            while True:
                part = s.recv(65536)
                if not part:
                    return out
                out += part
        except ConnectionError:
            return b""
        finally:
            s.close()

    def test_bodies(self):
        for body in (b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b'{"Image": 5}', b'{"Cmd": {"a": 1}}', b"{" * 5000,
                     b'{"Image": "busybox", "Env": [1]}', b'{"Image": "busy\x00box"}', b'{"HostConfig": []}',
                     b'{"Image": "busybox", "HostConfig": {"Memory": 1e400}}', b'{"Image": "busybox", "Hostname": "\xc3\x28"}'):
            status, _, answer = self.e.http("POST", "/containers/create", body, {"Content-Type": "application/json"})
            self.assertIn(status, (201, 400, 404), (body[:40], status, answer[:200]))
            if status != 201:
                self.assertIn("message", json.loads(answer))

    def test_query_values(self):
        for path in ("/containers/json?limit=x", "/containers/json?filters=x", "/containers/json?filters=%7B%22a%22%3A5%7D",
                     "/images/json?filters=%5B%5D", "/containers/json?filters=%00", "/events?since=x&until=1",
                     "/containers/x%00y/json", "/containers/%ff%fe/json", "/containers/..%2f..%2fetc/json",
                     "/images/..%2f/json", "/containers/json?all=%zz"):
            status, _, answer = self.e.http("GET", path)
            # Docker answers 500 to numbers that it cannot parse in limit and since (strconv…).
            self.assertTrue(status < 500 or b"strconv" in answer, (path, status, answer[:200]))

    def test_broken_http(self):
        for data in (b"\0\0\0\0", b"GET\r\n\r\n", b"POST /containers/create HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                     b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET /" + b"a" * 200000,
                     b"GET /_ping HTTP/1.1\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n",
                     b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                     b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"):
            answer = self.raw(data)
            if answer:
                self.assertNotIn(answer.split(b" ")[1][:1], (b"5", b"2"), (data[:60], answer[:200]))

    # Each answer is Docker Engine 28.5.2's.
    def test_what_docker_says(self):
        self.e.json("POST", "/containers/create?name=odd", {"Image": "busybox", "Cmd": ["sleep", "1000"]}, 201)
        self.e.json("POST", "/containers/create?name=other", {"Image": "busybox", "Cmd": ["sleep", "1000"]}, 201)
        platform = urllib.parse.quote('{"os": "linux", "architecture": "arm64"}')
        nothing = iter([])  # is sent in chunks

        def told(method, path, body):
            headers = {"Content-Type": "application/json"} if body is nothing else {}
            status, _, answer = self.e.http(method, path, body, headers)
            return status, json.loads(answer).get("message") if answer else None
        for method, path, body, expected in (
                ("POST", "/containers/odd/restart?signal=bogus", None, (204, None)),
                ("POST", "/containers/odd/restart?signal=bogus", None, (500, "Cannot restart container odd: invalid signal: bogus")),
                ("POST", "/containers/odd/stop?signal=bogus", None, (500, "cannot stop container: odd: invalid signal: bogus")),
                ("POST", "/containers/odd/rename?name=_x", None, (400, "Error when allocating new name: Invalid container name "
                                                                 "(/_x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")),
                ("POST", "/containers/odd/start?checkpoint-dir=x", None, (304, None)),
                ("POST", "/containers/nosuch/start?checkpoint-dir=x", None, (404, "No such container: nosuch")),
                ("POST", "/containers/other/start?checkpoint-dir=x", None, (403, "custom checkpointdir is not supported")),
                ("DELETE", "/containers/", None, (400, 'invalid name or ID supplied: ""')),
                ("DELETE", "/images/", None, (400, "image name cannot be blank")),
                ("GET", "/volumes/", None, (404, "get: no such volume")),
                ("DELETE", "/volumes/", None, (404, "get: no such volume")),
                ("GET", "/images/get?names=", None, (500, "invalid reference format")),
                ("GET", "/images/get?names=nosuch", None, (404, "No such image: nosuch")),
                ("GET", "/images/get?platform=%s&platform=%s" % (platform, platform), None,
                 (400, "multiple platform parameters not supported")),
                ("POST", "/images/create?fromSrc=-&platform=windows", None, (400, "operating system is not supported")),
                ("POST", "/images/create?fromSrc=-&changes=run%20x", None, (400, "run is not a valid change command")),
                ("POST", "/volumes/create", {"ClusterVolumeSpec": {}},
                 (503, 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
                  'to swarm and try again.')),
                ("POST", "/volumes/create", nothing, (400, "invalid JSON: got EOF while reading request body"))):
            self.assertEqual(told(method, path, body), expected, (method, path))
        self.assertEqual(self.e.http("POST", "/containers/nosuch/attach?detachKeys=x-x")[2], b"Invalid detach keys (x-x) provided\r\n")
        self.e.remove_everything()

    def test_load_of_another_platform(self):
        with open(self.e.dir + "/busybox.tar", "rb") as f:
            archive = f.read()

        def load(architecture):
            platform = urllib.parse.quote(json.dumps({"os": "linux", "architecture": architecture}))
            return json.loads(self.e.http("POST", "/images/load?platform=" + platform, archive, {"Content-Type": "application/x-tar"})[2])
        self.assertEqual(load("s390x").get("error"), "no suitable image found for platform linux/s390x")
        self.assertEqual(load("amd64").get("stream"), "Loaded image: busybox:latest\n")

    def test_random_bytes(self):
        rng = random.Random(7)
        for _ in range(200):
            self.raw(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400))))

    def test_half_open_connections_are_cheap(self):
        before = self.e.fds()
        open_ones = []
        for _ in range(300):
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.e.sock)
            s.sendall(b"GET /cont")
            open_ones.append(s)
        self.assertEqual(self.e.http("GET", "/_ping")[0], 200)
        for s in open_ones:
            s.close()
        from arca_engine import wait_for
        wait_for(lambda: self.e.fds() <= before + 3, 10, "descriptors to be given back")

    def test_load_garbage(self):
        for data in (b"", b"garbage" * 1000, b"\x1f\x8b" + b"x" * 500, b"\x28\xb5\x2f\xfd" + b"y" * 300):
            status, _, answer = self.e.http("POST", "/images/load", data, {"Content-Type": "application/x-tar"})
            # As in Docker Engine, the error is in the stream of an answer that has begun, or the answer.
            told = json.loads(answer.splitlines()[-1])
            self.assertTrue(status == 200 and told.get("error") or status in (400, 500) and told.get("message"), (status, answer))


if __name__ == "__main__":
    unittest.main(verbosity=1)
