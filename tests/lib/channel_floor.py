"""What the channel to a virtual machine does on this very machine without an engine: an agent that only executes and
sends (tests/spikes/vm/grpc; its figures elsewhere are those of vm-facts 13), in the guest that `arca setup` made."""
import os
import shutil
import subprocess
import sys
import tempfile

SPIKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spikes", "vm", "grpc")


def files_of_initramfs(path):
    """Name and content of each file in a newc archive without compression (the kernel's early-userspace/buffer-format)."""
    with open(path, "rb") as f:
        data = f.read()
    at = 0
    while data[at:at + 6] == b"070701":
        size, name_size = int(data[at + 54:at + 62], 16), int(data[at + 94:at + 102], 16)
        name = data[at + 110:at + 110 + name_size - 1].decode()
        begin = (at + 110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return
        yield name.lstrip("/"), data[begin:begin + size]
        at = (begin + size + 3) // 4 * 4


def first_modules(initramfs):
    """Those that a boot loads, in load order, as (name, content)."""
    files = dict(files_of_initramfs(initramfs))
    order = files["lib/modules/order"].decode().split("\n\n")[0].split()
    return [(os.path.basename(path), files[path.lstrip("/")]) for path in order]


class ChannelFloor:
    """The machine, booted; a context manager. `busybox`: a static one."""

    def __init__(self, guest, busybox):
        self.work = tempfile.mkdtemp(prefix="arca-floor")
        self.machine = self.client = None
        try:
            self.boot(guest, busybox)
        except BaseException:
            self.close()
            raise

    def boot(self, guest, busybox):
        work = self.work
        spike = shutil.copytree(SPIKE, work + "/spike")
        subprocess.run(["make", "-s", "-j2", "-C", spike], check=True, stdout=subprocess.DEVNULL)
        for folder in ("mods", "run"):
            os.mkdir(work + "/" + folder)
        shutil.copy(busybox, work + "/busybox")
        os.symlink(os.path.realpath(guest + "/current/vmlinux"), work + "/vmlinux")
        modules = first_modules(guest + "/current/initrd")
        for name, content in modules:
            with open(work + "/mods/" + name, "wb") as f:
                f.write(content)
        with open(work + "/mods/list", "w") as f:
            f.write("".join(name + "\n" for name, _ in modules))
        os.environ["WORKDIR"] = work
        sys.path.insert(0, spike)
        import gvm
        gvm.cpio(work + "/initramfs", spike + "/agent")
        self.machine = gvm.VM(gvm.margs(ird=work + "/initramfs"))
        self.client = gvm.Client(**gvm.LOOK)
        self.client("open %s 20" % self.machine.c)
        self.client("ping 500")

    def exec_ms(self):
        """Median of ten execs of `true`, one after the other."""
        return self.client("exec 10 /bin/true")["total"]["p50"] / 1e3

    def output_mb_s(self):
        """64 MB, guest to host, in messages of 256 KiB."""
        return self.client("read 64000000 262144")["mb_s"]

    def close(self):
        for each in (self.client, self.machine):
            if each:
                each.kill()
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()
