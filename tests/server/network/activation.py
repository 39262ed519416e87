"""Passes sockets to a program as systemd does: `python activation.py NAMES DESCRIPTORS PROGRAM…`.

Colons separate the names, commas the descriptors. It imports nothing of the project, because it becomes the program.
"""

import os
import socket
import sys


def command(names: str, *sockets: socket.socket) -> list[str]:
    """Make sockets inheritable and return the beginning of a command that passes them to the rest of the command."""
    for each in sockets:
        each.set_inheritable(True)
    return [sys.executable, __file__, names, ",".join(str(each.fileno()) for each in sockets)]


def main() -> None:
    """Place the sockets at descriptor 3 and up, set the variables and execute the program in this process."""
    names, given, *program = sys.argv[1:]
    # Copies out of the way first, because a socket can have a number that is needed for another one.
    copies = [os.dup2(int(each), 100 + place) for place, each in enumerate(given.split(","))]
    for place, copy in enumerate(copies):
        os.dup2(copy, 3 + place)
        os.close(copy)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(copies)), "LISTEN_FDNAMES": names}
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
