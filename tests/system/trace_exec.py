#!/usr/bin/env python3
"""trace_exec.py [OUT] - where an exec in a virtual machine spends its time: the guest kernel's own trace of switches and
system calls, taken by a privileged container that joins the machine. Prints the parts of each exec of `true`; OUT gets
the whole as a list (milliseconds from the execve, since the line before, thread, what). Needs a Release build and root."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from arca_engine import Engine, busybox_archive  # noqa: E402

EVENTS = ("sched/sched_switch", "sched/sched_process_fork", "sched/sched_process_exec", "sched/sched_process_exit",
          "raw_syscalls/sys_enter", "raw_syscalls/sys_exit")
LINE = re.compile(r"\s*(.+)-(\d+)\s+\[\d+\] \S+\s+([\d.]+): (\w+): (.*)")


def exec_true(e):
    x = e.json("POST", "/containers/idle/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
    begin = time.monotonic()
    e.http("POST", "/exec/%s/start" % x, {})
    return (time.monotonic() - begin) * 1e3


def trace():
    with Engine(config={"default-runtime": "vm", "vm-pool": "off", "vm-memory": 192}) as e:
        e.docker("load", "-i", busybox_archive(e.dir + "/busybox.tar"))
        e.docker("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
        for _ in range(30):
            exec_true(e)
        e.docker("run", "-d", "--name", "look", "--privileged", "--network", "container:idle", "busybox", "sleep", "1000")

        def look(script):
            return e.docker("exec", "look", "sh", "-c", script).out
        look("mkdir -p /t && mount -t tracefs tracefs /t && echo 4096 >/t/buffer_size_kb && echo mono >/t/trace_clock")
        for event in EVENTS:
            look("echo 1 >/t/events/%s/enable" % event)
        for _ in range(5):
            exec_true(e)
        look("echo >/t/trace")
        times = [exec_true(e) for _ in range(8)]
        look("echo 0 >/t/tracing_on")
        print("whole execs, traced: %s ms" % " ".join("%.1f" % t for t in times))
        return look("cat /t/trace")


def names_of_calls():
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h") as f:
        return {int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)", f.read())}


def readable(event, rest, calls):
    if event == "sched_switch":
        m = re.match(r"prev_comm=(.*) prev_pid=(\d+) .*prev_state=(\S+) ==> next_comm=(.*) next_pid=(\d+)", rest)
        return "=== %s-%s (%s) -> %s-%s" % m.groups()
    m = re.match(r"NR (-?\d+) (.*)", rest)
    if not m:
        return "*** %s %s" % (event, rest)
    return "%s %s %s" % (">" if event == "sys_enter" else "<", calls.get(int(m.group(1)), m.group(1)), m.group(2))


def main():
    calls = names_of_calls()
    lines = []
    for line in trace().splitlines():
        m = LINE.match(line)
        if m:
            thread, pid, at, event, rest = m.groups()
            lines.append((float(at) * 1e3, "%s-%s" % (thread, pid), event, rest))
    execs = [i for i, x in enumerate(lines) if x[2] == "sched_process_exec" and "/true" in x[3]]
    for i in execs:
        child = re.search(r" pid=(\d+)", lines[i][3]).group(1)
        fork = next(x[0] for x in reversed(lines[:i]) if x[2] == "sched_process_fork" and "child_pid=" + child in x[3])
        end = next((x[0] for x in lines[i:] if x[2] == "sched_process_exit" and "pid=%s " % child in x[3] + " "), None)
        if end:
            print("clone to the program's first instruction %.2f ms, to its end %.2f ms" % (lines[i][0] - fork, end - lines[i][0]))
    if len(sys.argv) > 1 and execs:
        zero, before = lines[execs[0]][0], lines[0][0]
        with open(sys.argv[1], "w") as f:
            for at, thread, event, rest in lines:
                f.write("%10.3f +%.3f %-20s %s\n" % (at - zero, at - before, thread, readable(event, rest, calls)))
                before = at


main()
