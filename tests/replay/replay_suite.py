#!/usr/bin/env python3
"""Replays the golden transcripts of Docker Engine 28.5.2 against Arca and compares with the list of passing pairs.

    replay_suite.py             the test: every pair listed in passing.txt must pass; exit status 1 otherwise
    replay_suite.py --update    add what passes now to passing.txt (the list only grows)
    replay_suite.py --coverage  also write docs/api-coverage.md

Replaying runs in the engine's own network namespace, because pull scenarios use a
registry on 127.0.0.1 there.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from arca_engine import LAB, Engine  # noqa: E402

# Later issues bring these (issue 3 names them); they are replayed all the same and shown in the coverage page.
LATER = {"archive", "build", "commit", "containers-attach-ws", "containers-changes-export", "containers-health",
         "containers-stats", "containers-top", "containers-update-rename", "distribution", "errors-swarm-plugins",
         "images-prune", "images-push", "images-pull-auth", "images-search", "mounts", "slow-plugin-lookups", "system-df",
         "volumes"}
MUST = ["system-ping", "system-version", "errors-api-version", "containers-lifecycle", "containers-logs",
        "containers-attach", "containers-wait", "containers-exit", "exec", "images-pull", "images-inspect",
        "containers-create-minimal"]


def later(scenario):
    return scenario in LATER or scenario.startswith("networks-")


def run(engine, only):
    report = tempfile.mktemp(suffix=".json")
    command = [LAB, "run", engine.name, sys.executable, os.path.join(ROOT, "tests", "reference", "replay.py"), "--wipe",
               "--json", report]
    for pattern in only:
        command += ["--only", pattern]
    env = dict(os.environ, DOCKER_HOST=engine.host)
    out = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode("utf-8", "replace")
    with open(report) as f:
        data = json.load(f)
    os.unlink(report)
    return out, data


REASONS = [
    (lambda s: s.startswith("networks-") or s in ("containers-list", "compat-versions", "containers-create-net-errors"),
     "user networks, live connect or published ports"),
    (lambda s: s in ("events-history", "events-live", "events-live-other"), "events of routes that are refused so far"),
    (lambda s: s in LATER, "a later issue"),
]


def coverage(data):
    """docs/api-coverage.md: what the golden transcripts say, scenario by scenario, and why the rest fails."""
    rows = {}
    for pair in data["pairs"]:
        rows.setdefault(pair["id"].split("#")[0], []).append(pair)
    with open(os.path.join(ROOT, "docs", "api-coverage.md"), "w") as f:
        good = sum(p["ok"] for p in data["pairs"])
        f.write("# API coverage\n\nMade by `tests/replay/replay_suite.py --coverage`: requests that Docker Engine 28.5.2 answered, asked "
                "of Arca again.\n\n%d of %d pairs are equal in status, headers and body.\n\n| scenario | equal | what is missing, "
                "and why |\n| --- | --- | --- |\n" % (good, len(data["pairs"])))
        for name in sorted(rows):
            bad = [p for p in rows[name] if not p["ok"]]
            why = next((text for test, text in REASONS if test(name)), "see the pairs") if bad else ""
            ids = ", ".join(p["id"].split("#")[1] for p in bad[:12]) + (" …" if len(bad) > 12 else "")
            f.write("| %s | %d/%d | %s |\n" % (name, len(rows[name]) - len(bad), len(rows[name]),
                                               "%s: %s" % (why, ids) if bad else ""))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", action="append", default=[])
    ap.add_argument("--update", action="store_true")
    ap.add_argument("--coverage", action="store_true")
    ap.add_argument("-v", action="store_true", help="print every difference")
    args = ap.parse_args()
    if args.coverage and args.only:
        ap.error("--coverage needs all scenarios")
    with Engine() as engine:
        out, data = run(engine, args.only)
    skips = dict(re.findall(r"^SKIP (\S+) +(.*)$", out, re.M))
    for name, why in skips.items():
        print("not asked here: %s %s" % (name, why))
    if args.v:
        print(out)
    if args.coverage:
        if skips:
            sys.exit("--coverage needs all scenarios")
        coverage(data)
    passing_file = os.path.join(HERE, "passing.txt")
    known = set(open(passing_file).read().split()) if os.path.exists(passing_file) else set()
    passed, failed = set(), {}
    for pair in data["pairs"]:
        if pair["ok"]:
            passed.add(pair["id"])
        else:
            failed[pair["id"]] = pair["diffs"]
    lost = sorted(n for n in known if n in failed)
    for _ in range(3):
        if not lost:
            break
        # A transcript supposes moments (a shell that has set its trap when the stop comes) that a busy machine may miss:
        # what is lost is lost every time.
        print("asked again: %s" % " ".join(lost))
        with Engine() as engine:
            _, again = run(engine, sorted({n.split("#")[0] for n in lost}))
        for pair in again["pairs"]:
            if pair["ok"] and pair["id"] in lost:
                passed.add(pair["id"])
                del failed[pair["id"]]
        lost = [n for n in lost if n in failed]
    for name in lost:
        print("LOST %s: %s" % (name, failed[name][:3]))
    silent = sorted(n for n in known if n not in passed and n not in failed and n.split("#")[0] not in skips)
    if silent and not args.only:
        print("LOST, not asked at all: %s" % " ".join(silent))
        lost += silent
    if args.update:
        with open(passing_file, "w") as f:
            f.write("".join(n + "\n" for n in sorted(known | passed)))
    must_failed = [n for n in sorted(failed) if n.split("#")[0] in MUST]
    rest = [n for n in list(passed) + list(failed) if not later(n.split("#")[0]) and n.split("#")[0] not in MUST]
    rest_passed = [n for n in rest if n in passed]
    print("must-hold scenarios: %d failed %s" % (len(must_failed), must_failed[:10]))
    if rest:
        print("of the rest in this issue's scope: %d of %d (%.1f %%)" % (len(rest_passed), len(rest),
                                                                        100.0 * len(rest_passed) / len(rest)))
    print("all pairs: %d passed, %d failed; %d of the listed ones lost" % (len(passed), len(failed), len(lost)))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
