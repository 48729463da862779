#!/usr/bin/env python3
"""A registry that misbehaves in a way of its own for each repository name. For tests; standard library only.

Prints one line "ready PORT TLSPORT OTHERPORT CADIR" and serves on 127.0.0.1 until its standard input ends:
PORT plain http, TLSPORT https with a certificate of the authority in CADIR, OTHERPORT another origin (http).
Every repository has one image, tag 1: one layer (1 MiB of noise in one file). GET /seen answers what was asked so far:
"METHOD PATH AUTHORIZATION RANGE" a line.
"""
import base64
import gzip
import hashlib
import io
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image(seed, arch="amd64"):
    noise = random.Random(seed).randbytes(1 << 20)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tf:
        info = tarfile.TarInfo("noise")
        info.size = len(noise)
        tf.addfile(info, io.BytesIO(noise))
    tar = out.getvalue()
    layer = gzip.compress(tar, 1, mtime=0)
    config = json.dumps({"architecture": arch, "os": "linux", "config": {"Cmd": ["x"]},
                         "rootfs": {"type": "layers", "diff_ids": [sha(tar)]}}).encode()
    manifest = {"schemaVersion": 2, "mediaType": DOCKER,
                "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": sha(config),
                           "size": len(config)},
                "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": sha(layer),
                            "size": len(layer)}]}
    return layer, config, manifest


LAYER, CONFIG, MANIFEST = image(1)
ARM_LAYER, ARM_CONFIG, ARM_MANIFEST = image(2, "arm64")
BLOBS = {sha(b): b for b in (LAYER, CONFIG, ARM_LAYER, ARM_CONFIG)}
BODY = json.dumps(MANIFEST).encode()
ARM_BODY = json.dumps(ARM_MANIFEST).encode()
INDEX_BODY = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
    {"mediaType": DOCKER, "digest": sha(BODY), "size": len(BODY), "platform": {"os": "linux", "architecture": "amd64"}},
    {"mediaType": DOCKER, "digest": sha(ARM_BODY), "size": len(ARM_BODY),
     "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}]}).encode()
LOCK = threading.Lock()
COUNTS = {}
SEEN = []
PORTS = {}


def count(key):
    with LOCK:
        COUNTS[key] = COUNTS.get(key, 0) + 1
        return COUNTS[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", ctype="application/octet-stream", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", ctype)
        for k, v in headers:
            self.send_header(k, v)
        if not any(k == "Content-Length" for k, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message, headers=()):
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode()
        self.reply(status, body, "application/json", headers)

    def reset(self):
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def endless(self):
        self.send_response(200)
        self.send_header("Content-Type", DOCKER)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(1 << 20):
            self.wfile.write(piece)

    def allowed(self, repo, path):
        given = self.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(b"alice:secret").decode()
        base = "http://127.0.0.1:%d" % PORTS["http"]
        if repo.startswith("basic"):
            if given != basic:
                self.error(401, "UNAUTHORIZED", "authentication required", [("WWW-Authenticate", 'Basic realm="test"')])
                return False
        elif repo.startswith("token"):
            realm = base + "/token" if repo != "token-elsewhere" else "http://169.254.169.254/token"
            if given != "Bearer good-" + repo:
                self.error(401, "UNAUTHORIZED", "authentication required",
                           [("WWW-Authenticate", 'Bearer realm="%s",service="lying"' % realm)])
                return False
            if repo == "token-denied":
                self.error(401, "UNAUTHORIZED", "authentication required",
                           [("WWW-Authenticate", 'Bearer realm="%s",service="lying",error="insufficient_scope"' % realm)])
                return False
        return True

    def do_GET(self):
        with LOCK:
            SEEN.append("%s %s %s %s" % (self.command, self.path, self.headers.get("Authorization", "-"),
                                         self.headers.get("Range", "-")))
        try:
            self.route()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        form = parse_qs(body)
        if form.get("refresh_token") == ["refresh"] and form.get("grant_type") == ["refresh_token"]:
            repo = form["scope"][0].split(":")[1]
            return self.reply(200, json.dumps({"access_token": "good-" + repo, "expires_in": 300}).encode())
        self.error(401, "UNAUTHORIZED", "bad refresh token")

    def route(self):
        u = urlsplit(self.path)
        parts = u.path.strip("/").split("/")
        if u.path == "/seen":
            with LOCK:
                return self.reply(200, "\n".join(SEEN).encode())
        if parts[0] == "token":
            q = parse_qs(u.query)
            given = self.headers.get("Authorization")
            repo = q["scope"][0].split(":")[1]
            if given and given != "Basic " + base64.b64encode(b"alice:secret").decode():
                return self.error(401, "UNAUTHORIZED", "incorrect username or password")
            if not given and repo == "token-private":
                return self.reply(200, b'{"token": "nothing"}')
            return self.reply(200, json.dumps({"token": "good-" + repo, "expires_in": 300}).encode())
        if u.path in ("/v2/", "/v2"):
            return self.reply(200, b"{}", "application/json")
        if parts[0] == "elsewhere":  # a blob on another origin
            return self.reply(200, LAYER)
        if len(parts) < 4 or parts[0] != "v2":
            return self.reply(404, b"<html>not here</html>", "text/html")
        repo, kind, what = "/".join(parts[1:-2]), parts[-2], parts[-1]
        if not self.allowed(repo, u.path):
            return None
        if kind == "tags":
            return self.tags(repo, parse_qs(u.query))
        return self.manifest(repo, what) if kind == "manifests" else self.blob(repo, what)

    def tags(self, repo, q):
        if "last" in q:
            return self.reply(200, json.dumps({"name": repo, "tags": ["2", "3"]}).encode(), "application/json")
        self.reply(200, json.dumps({"name": repo, "tags": ["1"]}).encode(), "application/json",
                   [("Link", "</v2/%s/tags/list?last=1&n=1>; rel=\"next\"" % repo)])

    def manifest(self, repo, what):
        body, ctype = BODY, DOCKER
        if repo == "busy" and count(repo) <= 2:
            return self.error(429, "TOOMANYREQUESTS", "slow down", [("Retry-After", "1")])
        if repo == "flaky" and count(repo) <= 2:
            return self.reply(503, b"try later", "text/plain")
        if repo == "down":
            return self.reply(503, b"never", "text/plain")
        if repo == "html":
            return self.reply(200, b"<html><body>Welcome to the wifi</body></html>", "text/html")
        if repo == "html-as-json":
            return self.reply(200, b"<html><body>Welcome to the wifi</body></html>", DOCKER)
        if repo == "html-404":
            return self.reply(404, b"<html>nothing</html>", "text/html")
        if repo == "endless-manifest" and self.command == "GET":
            return self.endless()
        if repo == "ambiguous":
            body = json.dumps(dict(MANIFEST, manifests=[])).encode()
        if repo == "twice":
            body = BODY.replace(b'"schemaVersion": 2', b'"schemaVersion": 2, "schemaVersion": 2')
        if repo == "two-types":
            ctype = INDEX
        if repo == "schema1":
            body = b'{"schemaVersion": 1, "fsLayers": []}'
        if repo == "artifact":
            body = json.dumps(dict(MANIFEST, config=dict(MANIFEST["config"], mediaType="application/vnd.x"))).encode()
        if repo == "plugin":
            body = json.dumps(dict(MANIFEST, config=dict(MANIFEST["config"],
                                                         mediaType="application/vnd.docker.plugin.v1+json"))).encode()
        if repo == "config-lies":
            body = json.dumps(dict(MANIFEST, layers=MANIFEST["layers"] * 2)).encode()
        if repo == "multi":
            body, ctype = {sha(BODY): (BODY, DOCKER), sha(ARM_BODY): (ARM_BODY, DOCKER)}.get(what, (INDEX_BODY, INDEX))
        if repo == "nested":
            inner = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
            body, ctype = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {"mediaType": INDEX, "digest": sha(inner), "size": len(inner),
                 "platform": {"os": "linux", "architecture": "amd64"}}]}).encode(), INDEX
            if what == sha(inner):
                body = inner
        if repo == "no-head-digest":
            return self.reply(200, body, ctype)
        digest = sha(body)
        if repo == "digest-lies":
            digest = sha(b"another")
        if what not in ("1", "2", "3") and repo != "digest-lies" and what != digest:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if repo == "unknown":
            return self.error(404, "NAME_UNKNOWN", "repository name not known to registry")
        self.reply(200, body, ctype, [("Docker-Content-Digest", digest)])

    def partial(self, data, size):
        """Announces all of `data` and sends `size` bytes."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:size])
        self.wfile.flush()

    def blob(self, repo, digest):
        data = BLOBS.get(digest)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        wanted = self.headers.get("Range")
        if data not in (LAYER, ARM_LAYER):
            if repo == "wrong-config":
                data = data.replace(b"x", b"y")
            return self.reply(200, data)
        other = "http://127.0.0.1:%d" % PORTS["other"]
        half = len(data) // 2
        if repo == "wrong-digest":
            return self.reply(200, data[:-9] + b"x" + data[-8:])
        if repo == "wrong-length":
            return self.reply(200, data + b"more")
        if repo == "short":
            return self.reply(200, data[:half], headers=[("Transfer-Encoding", "identity")])
        if repo == "short-chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            return self.wfile.write(b"%x\r\n" % half + data[:half] + b"\r\n0\r\n\r\n")
        if repo == "endless":
            return self.endless()
        if repo == "stall":
            self.partial(data, half)
            return time.sleep(60)
        if repo == "stall-once" and count(repo) == 1:
            self.partial(data, half)
            return time.sleep(60)
        if repo == "reset-always":
            self.partial(data, 0)
            return self.reset()
        if repo in ("reset-range", "reset-norange", "reset-bad-seam") and count(repo) == 1:
            self.partial(data, half)
            time.sleep(0.2)
            return self.reset()
        if repo == "cut" and count(repo) <= 3:
            start = int(wanted[6:-1]) if wanted else 0
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if wanted:
                self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))
            self.end_headers()
            self.wfile.write(data[start:start + 300000])
            self.close_connection = True
            return None
        if repo == "wrong-range" and count(repo) > 1:
            return self.reply(206, data[1:], headers=[("Content-Range", "bytes 1-%d/%d" % (len(data) - 1, len(data)))])
        if repo == "wrong-range":
            self.partial(data, half)
            return self.reset()
        if repo == "redirect-metadata":
            return self.reply(307, headers=[("Location", "http://169.254.169.254/latest/meta-data")])
        if repo == "redirect-file":
            return self.reply(307, headers=[("Location", "file:///etc/passwd")])
        if repo == "redirect-loop":
            return self.reply(307, headers=[("Location", self.path)])
        if repo in ("redirect-other", "basic-redirect"):
            return self.reply(307, headers=[("Location", other + "/elsewhere/x")])
        if repo == "downgrade":
            return self.reply(307, headers=[("Location", "http://127.0.0.1:%d/elsewhere/x" % PORTS["http"])])
        if wanted and repo != "reset-norange":
            start = int(wanted[6:-1])
            rest = data[start:]
            if repo == "reset-bad-seam":
                rest = b"x" + rest[1:] if count("seam") == 1 else rest
            return self.reply(206, rest, headers=[("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))])
        self.reply(200, data)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass


def make_certificate(folder):
    run = lambda *a: subprocess.run(["openssl", *a], cwd=folder, check=True, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lying CA", "-keyout", "ca.pem",
        "-out", "ca.crt")
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=registry.test", "-keyout", "server.pem", "-out", "server.csr")
    with open(os.path.join(folder, "ext"), "w") as f:
        f.write("subjectAltName=DNS:registry.test,IP:127.0.0.1\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.pem", "-CAcreateserial", "-days", "2",
        "-extfile", "ext", "-out", "server.pub")
    os.mkdir(os.path.join(folder, "trust"))
    os.link(os.path.join(folder, "ca.crt"), os.path.join(folder, "trust", "ca.crt"))


def main():
    with tempfile.TemporaryDirectory(prefix="arca-lying-") as folder:
        make_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "server.pub"), os.path.join(folder, "server.pem"))
        servers = {"http": Server(("127.0.0.1", 0), Handler), "tls": Server(("127.0.0.1", 0), Handler),
                   "other": Server(("127.0.0.1", 0), Handler)}
        servers["tls"].socket = context.wrap_socket(servers["tls"].socket, server_side=True, do_handshake_on_connect=False)
        for name, server in servers.items():
            PORTS[name] = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
        print("ready", PORTS["http"], PORTS["tls"], PORTS["other"], os.path.join(folder, "trust"), flush=True)
        sys.stdin.read()


main()
