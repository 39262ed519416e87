"""Runs a program with the limits of serverless platforms: `python serverless.py PROGRAM…`.

Only /tmp is writable, and there is no /dev/shm, so POSIX semaphores and shared memory do not work. It imports nothing
of the project, because it becomes the program. Needs the right to mount, and Linux 5.12.
"""

import ctypes
import os
import sys
from pathlib import Path

#: unshare(2), mount(2), and mount_setattr(2), which glibc before 2.36 lacks.
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1

DEVICES = ("null", "zero", "random", "urandom")

#: Where the devices are collected: the folder that disappears.
STAGE = Path("/dev/shm")

LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raise `OSError` if a system call failed."""
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """Call mount(2)."""
    check(LIBC.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None))


def make_read_only(path: str, *, writable: bool = False) -> None:
    """Make a mount and those below it read-only, or writable again."""
    change, clear = (0, MOUNT_ATTR_RDONLY) if writable else (MOUNT_ATTR_RDONLY, 0)
    attributes = (ctypes.c_uint64 * 4)(change, clear, 0, 0)
    arguments = (AT_FDCWD, path.encode(), AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    check(LIBC.syscall(SYS_MOUNT_SETATTR, *arguments))


def main() -> None:
    """Restrict this process and execute the program in it."""
    check(LIBC.unshare(CLONE_NEWNS))
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("/tmp", "/tmp", None, MS_BIND)
    mount("none", str(STAGE), "tmpfs", 0)
    for name in DEVICES:
        (STAGE / name).touch()
        mount(f"/dev/{name}", str(STAGE / name), None, MS_BIND)
    mount(str(STAGE), "/dev", None, MS_BIND | MS_REC)
    make_read_only("/")
    make_read_only("/tmp", writable=True)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
