"""Small images whose layers are as awkward as the format allows, one subject each; made by hand with tarfile.

write_all(FOLDER) makes FOLDER/NAME.tar, a docker-archive tagged nasty/NAME:latest, for every function in MAKERS.
"""
import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import tempfile

WHEN = 1767225600
FILE, DIR, LINK, HARD, CHAR, BLOCK, FIFO = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
                                            tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class Layer:
    """A tar being written; `raw` members come from elsewhere."""

    def __init__(self, form=tarfile.PAX_FORMAT):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w", format=form)

    def add(self, name, kind=FILE, mode=None, data=b"", link="", pax=None, uid=0, gid=0, mtime=WHEN, dev=(0, 0)):
        m = tarfile.TarInfo(name)
        m.type, m.linkname, m.size, m.uid, m.gid, m.mtime = kind, link, len(data), uid, gid, mtime
        m.mode = mode if mode is not None else 0o755 if kind == DIR else 0o777 if kind == LINK else 0o644
        m.devmajor, m.devminor = dev
        m.pax_headers = dict(pax or {})
        self.tar.addfile(m, io.BytesIO(data))
        return self

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


def xattr(**values):
    return {"SCHILY.xattr." + k.replace("__", "."): v for k, v in values.items()}


def names():
    a = Layer()
    for folder in ("n", "n/dots", "n/deep"):
        a.add(folder, DIR)
    for name in ("space in it", "trailing ", "\u00fcn\u00efc\u00f6d\u00e9", "new\nline", "-rf", "back\\slash", "tab\there", "x" * 255,
                 "latin1-\udce9", "wh.no-whiteout", "...", "*?[a]"):
        a.add("n/" + name, data=name.encode("utf-8", "surrogateescape"))
    a.add("./n/dots/./one").add("n/dots//two").add("n/dots/gone/../three").add("/n/dots/absolute").add("n/dots/folder/", DIR)
    a.add("n/deep/" + "/".join("level-%02d-%s" % (i, "y" * 40) for i in range(30)) + "/file", data=b"deep")
    a.add("n/long-target", LINK, link="t" * 1000)
    # (not in order: a folder's header behind its content)
    a.add("n/late/file").add("n/late", DIR, mode=0o711, uid=7, mtime=77)
    g = Layer(tarfile.GNU_FORMAT)
    g.add("n/gnu-" + "g" * 200, data=b"GNU long name").add("n/gnu-link", LINK, link="h" * 300).add("n/latin1-gnu-\udce8")
    u = Layer(tarfile.USTAR_FORMAT)
    u.add("n/" + "p" * 120 + "/" + "q" * 99, data=b"ustar prefix")
    return [a, g, u]


def owners_and_modes():
    a = Layer()
    a.add("o", DIR)
    for uid in (1, 65534, 65535, 65536, 2097151, 2097152, 2**31 - 1, 2**31, 2**32 - 2):
        a.add("o/u%d" % uid, uid=uid, gid=uid)
        a.add("o/l%d" % uid, LINK, link="x", uid=uid, gid=uid)
        a.add("o/d%d" % uid, DIR, uid=uid, gid=uid)
    for mode in (0, 0o111, 0o444, 0o600, 0o666, 0o777, 0o1777, 0o2755, 0o4755, 0o4711, 0o6755, 0o7777):
        a.add("o/f%o" % mode, mode=mode, uid=5)
        a.add("o/m%o" % mode, DIR, mode=mode, gid=5)
    a.add("o/setgid", DIR, mode=0o2775, gid=1234)
    a.add("o/setgid/file").add("o/setgid/folder", DIR).add("o/setgid/link", LINK, link="file").add("o/setgid/fifo", FIFO)
    a.add("o/setgid/implied/file").add("o/setgid/mine", gid=1234)
    b = Layer()  # nothing but attributes changes
    b.add("o", DIR, mode=0o700, uid=2**31 + 5, gid=3).add("o/setgid", DIR, mode=0o755)
    return [a, b]


def times():
    a = Layer()
    a.add("t", DIR)
    for text in ("0", "1", "0.5", "1000000000.123456789", "1000000000.000000001", "1.999999999", "-1", "-86400", "-86400.25",
                 "2147483648", "4294967296.5", "9223372036", "9223372037", "12000000000", "1767225600.1", "1767225600.10"):
        a.add("t/f" + text, pax={"mtime": text}).add("t/d" + text, DIR, pax={"mtime": text})
        a.add("t/l" + text, LINK, link="f0", pax={"mtime": text})
    a.add("t/accessed", pax={"mtime": "1000", "atime": "2000.5"}).add("t/before", pax={"mtime": "3000", "atime": "2000"})
    a.add("t/old-folder", DIR, mtime=5).add("t/old-folder/child", mtime=6)
    a.add("t/ustar-negative", mtime=0)
    return [a]


def whiteouts():
    a = Layer()
    for folder in ("w", "w/again", "w/again/sub", "w/opaque", "w/opaque/sub", "w/opaque-empty", "w/gone", "w/gone/sub", "w/deep",
                   "w/deep/a", "w/deep/a/b", "w/late-opaque"):
        a.add(folder, DIR)
    for name in ("file", "again/old", "again/sub/old", "opaque/old", "opaque/sub/old", "opaque-empty/old", "gone/old",
                 "gone/sub/old", "deep/a/b/one", "deep/a/b/two", "late-opaque/old", "back"):
        a.add("w/" + name, data=name.encode())
    a.add("w/link", LINK, link="file").add("w/fifo", FIFO)
    b = Layer()
    b.add("w/.wh.file").add("w/.wh.link").add("w/.wh.fifo").add("w/.wh.gone").add("w/.wh.never").add("w/.wh.back")
    b.add("w/opaque", DIR, mode=0o750).add("w/opaque/.wh..wh..opq").add("w/opaque/new", data=b"new").add("w/opaque/sub", DIR)
    b.add("w/opaque-empty/.wh..wh..opq")
    b.add("w/late-opaque/new").add("w/late-opaque/.wh..wh..opq")
    b.add("w/deep/a/b/.wh.one")  # its folders have no headers here
    b.add("w/.wh.again")
    c = Layer()
    c.add("w/again", DIR, mode=0o700).add("w/again/new", data=b"new").add("w/back", data=b"is back")
    c.add("w/gone", LINK, link="again").add("w/.wh..wh.plnk", DIR).add("w/.wh..wh.aufs")
    d = Layer()
    d.add("w/again/.wh.new").add("w/never-made/.wh.x").add("w/new-opaque/.wh..wh..opq").add("w/new-opaque/x")
    return [a, b, c, d]


def whiteout_and_folder():
    """One layer removes a folder and brings it again: what was below is hidden."""
    a, b = Layer(), Layer()
    a.add("x", DIR).add("x/one", DIR).add("x/one/old").add("x/file")
    b.add("x", DIR).add("x/.wh.one").add("x/one", DIR, mode=0o711).add("x/one/new", data=b"new")
    return [a, b]


def folder_and_whiteout():
    a, b = Layer(), Layer()
    a.add("x", DIR).add("x/one", DIR).add("x/one/old").add("x/file")
    b.add("x", DIR).add("x/one", DIR, mode=0o711).add("x/one/new", data=b"new").add("x/.wh.one")
    return [a, b]


def whiteout_and_path():
    a, b = Layer(), Layer()
    a.add("x", DIR).add("x/one", DIR).add("x/one/old")
    b.add("x", DIR).add("x/.wh.one").add("x/one/new", data=b"its folder has no header")
    return [a, b]


def replaced():
    a = Layer()
    a.add("r", DIR)
    for name in ("file-to-dir", "file-to-link", "file-to-fifo", "file-to-file"):
        a.add("r/" + name, data=b"old")
    for name in ("dir-to-file", "dir-to-link", "dir-to-fifo", "target"):
        a.add("r/" + name, DIR).add("r/" + name + "/inside", data=b"old")
    for name in ("link-to-dir", "link-to-file", "link-to-link", "link-stays"):
        a.add("r/" + name, LINK, link="target")
    a.add("r/fifo-to-file", FIFO)
    b = Layer()
    for name in ("file-to-dir", "link-to-dir"):
        b.add("r/" + name, DIR, mode=0o710).add("r/" + name + "/new", data=b"new")
    for name in ("dir-to-file", "file-to-file", "link-to-file", "fifo-to-file"):
        b.add("r/" + name, data=b"new", mode=0o640)
    for name in ("file-to-link", "dir-to-link", "link-to-link"):
        b.add("r/" + name, LINK, link="file-to-file")
    for name in ("file-to-fifo", "dir-to-fifo"):
        b.add("r/" + name, FIFO)
    b.add("r/link-stays/through", data=b"a path through a lower layer's link")
    return [a, b]


def paths_through_links():
    a = Layer()
    a.add("s", DIR).add("s/real", DIR).add("s/way", LINK, link="real").add("s/way/through", data=b"lands in real")
    a.add("s/deep", DIR).add("s/deep/side", LINK, link="../real").add("s/deep/side/ways", data=b"in real, too")
    return [a]


def paths_that_climb():
    a = Layer()
    a.add("s", DIR).add("s/real", DIR).add("s/up", LINK, link="../../../s/real").add("s/up/climbed", data=b"stays inside")
    return [a]


def paths_from_the_root():
    return [Layer().add("s", DIR).add("s/real", DIR).add("s/abs", LINK, link="/s/real").add("s/abs/x", data=b"stays inside")]


def twice_in_one_layer():
    a = Layer()
    a.add("s", DIR).add("s/twice", data=b"first, longer").add("s/twice", data=b"second", mode=0o600, mtime=9)
    a.add("s/becomes-dir", data=b"x").add("s/becomes-dir", DIR).add("s/becomes-dir/in", data=b"in")
    a.add("s/becomes-file", DIR).add("s/becomes-file/gone", data=b"x" * 5000).add("s/becomes-file", data=b"y")
    a.add("s/link", LINK, link="one").add("s/link", LINK, link="other").add("s/dir", DIR, mode=0o700).add("s/dir/kept")
    a.add("s/h1", data=b"linked").add("s/h2", HARD, link="s/h1").add("s/h1", data=b"now alone")
    return [a]


def hard_links():
    a = Layer()
    a.add("h", DIR).add("h/a", data=b"content", mode=0o640, uid=3).add("h/b", HARD, link="h/a", mode=0o640, uid=3)
    a.add("h/sub/c", HARD, link="./h/a", mode=0o640, uid=3).add("h/d", HARD, link="/h/a", mode=0o640, uid=3)
    # a later header of the same file that says something else
    a.add("h/m", data=b"x", mode=0o600, uid=1, mtime=1000).add("h/n", HARD, link="h/m", mode=0o4755, uid=2, gid=4, mtime=2000.5)
    a.add("h/p", data=b"x", uid=1, mtime=1000)
    a.add("h/q", HARD, link="h/p", uid=1, mtime=1000, pax=xattr(user__late="yes"))
    a.add("h/link", LINK, link="a", uid=1, mtime=1000).add("h/link2", HARD, link="h/link", uid=2, mtime=2000)
    a.add("h/fifo", FIFO).add("h/fifo2", HARD, link="h/fifo")
    a.add("h/null", CHAR, dev=(1, 3)).add("h/null2", HARD, link="h/null")
    b = Layer()
    b.add("h/.wh.a").add("h/n", data=b"parted").add("h/x", data=b"new").add("h/y", HARD, link="h/x")
    return [a, b]


def hard_link_into_lower_layer():
    return [Layer().add("h", DIR).add("h/a", data=b"below"), Layer().add("h", DIR).add("h/b", HARD, link="h/a")]


def xattrs():
    cap = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0).decode("latin1")
    acl = struct.pack("<IHHIHHIHHIHHIHHI", 2, 1, 7, 2**32 - 1, 2, 5, 1000, 4, 5, 2**32 - 1, 16, 5, 2**32 - 1, 32, 0, 2**32 - 1)
    acl = acl.decode("utf-8", "surrogateescape")
    a = Layer()
    a.add("x", DIR)
    a.add("x/cap", mode=0o755, uid=1, pax=xattr(security__capability=cap))
    a.add("x/user", pax=xattr(user__one="1", user__empty="", user__long="v" * 3000))
    a.add("x/binary", pax={"SCHILY.xattr.user.binary": "\x01\x02\n=\udcff"})
    a.add("x/dir", DIR, pax=xattr(user__dir="yes")).add("x/trusted", pax=xattr(trusted__mine="yes"))
    a.add("x/link", LINK, link="user", pax=xattr(trusted__onlink="yes"))
    a.add("x/acl", mode=0o750, pax={"SCHILY.xattr.system.posix_acl_access": acl})
    a.add("x/default", DIR, pax={"SCHILY.xattr.system.posix_acl_default": acl})
    a.add("x/default/file", mode=0o644).add("x/default/folder", DIR).add("x/default/implied/file", mode=0o666)
    a.add("x/libarchive", pax={"LIBARCHIVE.xattr.user.coded": "eWVz"})
    a.add("x/names", pax={"SCHILY.xattr.user.sp ace": "s", "SCHILY.xattr.user.\u00fc": "u"})
    b = Layer()  # a new header is all there is: the attributes of below do not shine through
    b.add("x/user", pax=xattr(user__two="2")).add("x/dir", DIR, pax=xattr(user__other="o")).add("x/cap", mode=0o755)
    return [a, b]


def specials():
    a = Layer()
    a.add("d", DIR)
    for name, kind, dev in (("null", CHAR, (1, 3)), ("tty", CHAR, (5, 0)), ("big", CHAR, (250, 66000)), ("huge", CHAR, (4095, 2**20 - 1)),
                            ("loop", BLOCK, (7, 7)), ("zero", BLOCK, (0, 0)), ("one", CHAR, (0, 1)), ("pipe", FIFO, (0, 0))):
        a.add("d/" + name, kind, dev=dev, mode=0o4666 if name == "tty" else 0o660, uid=1, gid=2, mtime=1000.25)
    return [a]


def root_entry():
    a, b = Layer(), Layer()
    a.add("./", DIR, mode=0o700, uid=5, mtime=5).add("./f").add("dev", DIR, mode=0o700, uid=5).add("etc", DIR, mode=0o711, uid=6)
    a.add("etc/hostname", data=b"from the image").add("etc/resolv.conf", LINK, link="../run/resolv.conf").add("proc", DIR, mode=0o555)
    b.add("./", DIR, mode=0o711, uid=6, mtime=6).add("./g")
    return [a, b]


def global_header():
    a = Layer()
    a.tar.pax_headers = {"comment": "0123456789abcdef"}
    a.tar.fileobj.write(tarfile.TarInfo.create_pax_global_header({"comment": "0123456789abcdef"}))
    a.tar.offset = a.tar.fileobj.tell()
    a.add("g", DIR).add("g/file", data=b"behind a global header")
    return [a]


def empty_layers():
    return [Layer(), Layer().add("e", DIR).add("e/f", data=b"x"), Layer(), Layer(), Layer().add("e/.wh.f")]


def sparse(*forms):
    """GNU tar's ways to write a file with holes."""
    forms = forms or [["--format=pax", "--sparse-version=" + v] for v in ("0.0", "0.1", "1.0")]
    layers = []
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/sp")
        for i, how in enumerate(forms):
            path = "sp/%d" % i
            with open(folder + "/" + path, "wb") as f:
                for at in (1 << 20, 3 << 20, 40 << 20):
                    f.seek(at)
                    f.write(b"at %d" % at)
                f.truncate(48 << 20)  # ends with a hole
            with open(folder + "/sp/hole", "wb") as f:
                f.truncate((8 << 20) + 1)
            with open(folder + "/sp/many", "wb") as f:
                for n in range(200):
                    f.seek(n << 17)
                    f.write(b"piece %d" % n)
            os.utime(folder + "/" + path, (WHEN, WHEN))
            os.rename(folder + "/sp/hole", folder + "/sp/hole%d" % i)
            os.rename(folder + "/sp/many", folder + "/sp/many%d" % i)
            out = subprocess.run(["tar", "--create", "--sparse", "--numeric-owner", "--mtime=@%d" % WHEN, "-C", folder, *how,
                                  path, "sp/hole%d" % i, "sp/many%d" % i], check=True, stdout=subprocess.PIPE).stdout
            layers.append(out)
    return layers


def sparse_before_pax():
    return sparse(["--format=gnu"])


MAKERS = {f.__name__.replace("_", "-"): f for f in (
    names, owners_and_modes, times, whiteouts, whiteout_and_folder, folder_and_whiteout, whiteout_and_path, replaced,
    paths_through_links, paths_that_climb, paths_from_the_root, twice_in_one_layer, hard_links,
    hard_link_into_lower_layer, xattrs, specials, root_entry, global_header, empty_layers, sparse,
    sparse_before_pax)}

# What Docker refuses, and its words; Arca loads it (a path through a link stays below the root).
REFUSED = {
    "twice-in-one-layer": "duplicates of file paths not supported",
    "sparse-before-pax": "unhandled tar header type 83",
    "paths-that-climb": "statat s/up: path escapes from parent",
    "folder-and-whiteout": "failed to mknod('x/one', S_IFCHR, 0): file exists",
    "whiteout-and-path": "openat x/one/new: not a directory",
}


# Where Arca means to differ: OCI says that a whiteout hides what is in the layers below; an attribute of the archive is set on links,
# too, and read in libarchive's form.
DIFFERENT = {
    "whiteout-and-folder": ["b'/x/one/old': only in the second"],
    "xattrs": ["b'/x/libarchive': xattrs is {'user.coded': b'yes'} here, {} there",
               "b'/x/link': xattrs is {'trusted.onlink': b'yes'} here, {} there"],
}


def archive(path, name, layers):
    tars = [layer if isinstance(layer, bytes) else layer.bytes() for layer in layers]
    ids = [hashlib.sha256(t).hexdigest() for t in tars]
    history = [{"created": "2026-01-01T00:00:00Z", "created_by": "layer %d" % i} for i in range(len(ids))]
    history.insert(1, {"created": "2026-01-01T00:00:01Z", "created_by": "CMD", "empty_layer": True, "comment": "none"})
    config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "config": {"Cmd": ["/none"]},
                         "history": history, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + i for i in ids]}}).encode()
    members = {i + ".tar": t for i, t in zip(ids, tars)}
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    members[config_name] = config
    members["manifest.json"] = json.dumps([{"Config": config_name, "RepoTags": ["nasty/%s:latest" % name],
                                            "Layers": [i + ".tar" for i in ids]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_all(folder):
    for name, make in MAKERS.items():
        archive("%s/%s.tar" % (folder, name), name, make())
