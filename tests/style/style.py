#!/usr/bin/env python3
"""House rules that a program can check: file sizes, unfinished marks, layers of includes, the message graph, copies of shared."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OWN = ("actors", "http", "vm", "guest", "persistence", "tools")
LAYER = {"persistence/base": 0, "persistence": 1, "guest": 2, "vm": 3, "actors": 4, "http": 5, "tools": 6}
LIMIT = 600
problems = []


def files(*endings):
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"] + list(OWN), cwd=ROOT, stdout=subprocess.PIPE,
                         check=True).stdout.decode()
    return [f for f in out.splitlines() if f.endswith(endings) and os.path.exists(os.path.join(ROOT, f))]


def lines_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read().splitlines()


def layer_of(path):
    """None: not one of ours."""
    words = path.split("/")
    return LAYER.get("/".join(words[:2]), LAYER.get(words[0]))


def sources():
    for path in files(".cpp", ".hpp"):
        lines = lines_of(path)
        if len(lines) > LIMIT:
            problems.append("%s has %d lines (limit %d)" % (path, len(lines), LIMIT))
        for n, line in enumerate(lines, 1):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
                problems.append("%s:%d unfinished: %s" % (path, n, line.strip()))
            if len(line) > 120:
                problems.append("%s:%d longer than 120 columns" % (path, n))
            if re.search(r"\)->by_id\(\)", line):
                problems.append("%s:%d the directory dies before what it is asked for: %s" % (path, n, line.strip()))
            m = re.match(r'#include "(\w+/[^"]*)"', line)
            if m and layer_of(m.group(1)) is not None and layer_of(m.group(1)) > layer_of(path):
                problems.append("%s:%d includes upward: %s" % (path, n, line))
            if path.startswith("guest/") and m and m.group(1).startswith("vm/"):
                problems.append("%s:%d guest includes vm" % (path, n))


def then_has_error_branch():
    """CAF: an error that meets a `.then(f)` without its second lambda kills the actor."""
    for path in files(".cpp", ".hpp"):
        if not path.startswith("actors/"):
            continue
        text = "\n".join(lines_of(path))
        for m in re.finditer(r"\.(then|await)\(", text):
            depth, at, commas, start = 1, m.end(), 0, m.end()
            square = curly = 0
            while depth and at < len(text):
                c = text[at]
                depth += (c in "(") - (c in ")")
                curly += (c == "{") - (c == "}")
                square += (c == "[") - (c == "]")
                if c == "," and depth == 1 and curly == 0 and square == 0:
                    commas += 1
                at += 1
            if commas < 1:
                problems.append("%s: %s without an error branch: %s" % (path, m.group(1), text[start:start + 60].replace("\n", " ")))


def protocols_are_a_dag():
    """Requests go http → container_manager → container → {machine, network, volume, image} → state_store, never upward."""
    level = {"container": 3, "machine": 2, "machine_calls": 2, "network": 1, "volume": 1, "image": 1, "event_bus": 1, "state_store": 0, "message": 0}
    folder = os.path.join(ROOT, "actors", "protocol")
    for name in sorted(os.listdir(folder)):
        me = name.split(".")[0]
        if me not in level:
            problems.append("actors/protocol/%s has no place in the request order (tests/style)" % name)
            continue
        for line in lines_of("actors/protocol/" + name):
            m = re.match(r'#include "actors/protocol/(\w+)\.hpp"', line)
            if m and level[m.group(1)] > level[me]:
                problems.append("actors/protocol/%s depends upward on %s" % (name, m.group(1)))
        text = "\n".join(lines_of("actors/protocol/" + name))
        if re.search(r"shared_ptr|unique_ptr|std::function|unique_fd", re.sub(r"//.*", "", text)):
            problems.append("actors/protocol/%s carries a pointer, descriptor or callback" % name)


def shared_in_step():
    r = subprocess.run([os.path.join(ROOT, "tests", "sync-shared"), "--check"], stdout=subprocess.PIPE)
    if r.returncode:
        problems.append("tests/ and ../shared differ:\n" + r.stdout.decode())


sources()
then_has_error_branch()
protocols_are_a_dag()
shared_in_step()
for p in problems:
    print(p)
print("%d problems in %d source files" % (len(problems), len(files(".cpp", ".hpp"))))
sys.exit(1 if problems else 0)
