"""Runs a program in the same sandbox as systemd: `python sandbox.py LIBSECCOMP SYSCALLS PROGRAM…`.

SYSCALLS are the only system calls that are allowed, separated by commas. It imports nothing of the project, because it
becomes the program.
"""

import ctypes
import os
import sys

#: Options of prctl(2): NoNewPrivileges= and MemoryDenyWriteExecute=. Linux before 6.3 lacks the second.
PR_SET_NO_NEW_PRIVS = 38
PR_SET_MDWE = 65

#: Actions of libseccomp.
KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000


def main() -> None:
    """Restrict this process and execute the program in it."""
    library, calls, *program = sys.argv[1:]
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)
    seccomp = ctypes.CDLL(library)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    for name in calls.split(","):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # otherwise this processor does not have the system call
            assert seccomp.seccomp_rule_add_array(rules, ctypes.c_uint32(ALLOW), number, 0, None) == 0
    assert seccomp.seccomp_load(rules) == 0
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
