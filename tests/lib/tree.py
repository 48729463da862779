"""Everything that can be seen of a tree of files, to compare two of them."""
import hashlib
import os
import stat


def dump(root, skip=(), recent=None):
    """{path: {field: value}} of the tree below `root` (a path of bytes), mount points in `skip` left out with what is below.
    A time after `recent` (seconds) reads "recent": nobody's archive has set it."""
    out, groups = {}, {}

    def visit(path):
        try:
            st = os.lstat(root + path)
        except FileNotFoundError:  # overlayfs lists a whiteout in a folder that no layer below has
            out[path] = {"type": "only listed"}
            return
        kind = stat.S_IFMT(st.st_mode)
        d = {"type": stat.filemode(st.st_mode)[0], "mode": oct(stat.S_IMODE(st.st_mode)), "uid": st.st_uid, "gid": st.st_gid,
             "mtime": "recent" if recent is not None and st.st_mtime > recent and st.st_mtime < recent + 86400 else st.st_mtime_ns}
        d["xattrs"] = {n: os.getxattr(root + path, n, follow_symlinks=False) for n in os.listxattr(root + path, follow_symlinks=False)}
        if kind == stat.S_IFLNK:
            d["link"] = os.readlink(root + path)
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            d["device"] = (os.major(st.st_rdev), os.minor(st.st_rdev))
        if kind != stat.S_IFDIR:
            d["links"] = st.st_nlink
            d["size"] = st.st_size
            if st.st_nlink > 1:
                groups.setdefault((st.st_dev, st.st_ino), []).append(path)
        if kind == stat.S_IFREG:
            with open(root + path, "rb") as f:
                d["sha256"] = hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else digest(f)
        out[path or b"/"] = d
        if kind == stat.S_IFDIR:
            for name in sorted(os.listdir(root + path)):
                if path + b"/" + name not in skip:
                    visit(path + b"/" + name)

    visit(b"")
    for paths in groups.values():
        for path in paths:
            out[path]["same as"] = sorted(paths)
    return out


def digest(f):
    h = hashlib.sha256()
    for piece in iter(lambda: f.read(1 << 20), b""):
        h.update(piece)
    return h.hexdigest()


def differences(a, b):
    """Lines, one for each field that is not equal."""
    out = []
    for path in sorted(a.keys() | b.keys()):
        if path not in a or path not in b:
            out.append("%r: only in the %s" % (path, "second" if path not in a else "first"))
            continue
        for field in sorted(a[path].keys() | b[path].keys()):
            x, y = a[path].get(field), b[path].get(field)
            if x != y:
                out.append("%r: %s is %r here, %r there" % (path, field, x, y))
    return out


def of_process(pid, recent):
    """The root file system of a process, without what is mounted on it."""
    with open("/proc/%d/mountinfo" % pid, "rb") as f:
        points = {line.split()[4].replace(b"\\040", b" ") for line in f}
    points.discard(b"/")
    return dump(b"/proc/%d/root/." % pid, points, recent)
