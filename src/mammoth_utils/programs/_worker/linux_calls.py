"""The Linux system calls that isolate a process and that Python does not offer.

Importable on every system; nothing is called at import. Numbers and structures are those of the kernel's own headers
(``asm/unistd_64.h``, ``asm-generic/unistd.h``; ``landlock.h``, ``seccomp.h``, ``filter.h``, ``audit.h`` of ``linux``).
"""

from __future__ import annotations

import errno
import functools
import os
import platform
import struct
import sys
from collections.abc import Iterable

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_THREAD = 0x1000_0000, 0x2000_0000, 0x4000_0000, 0x0001_0000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000, 0x4_0000, 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38
MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # the AUDIT_ARCH of each machine whose numbers stand here

# name: (x86_64, aarch64); None where a machine lacks the call.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "unshare": (272, 97), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "mount_setattr": (442, 442), "sethostname": (170, 161), "capset": (126, 91), "prctl": (157, 167),
    "seccomp": (317, 277), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446), "socket": (41, 198), "socketpair": (53, 199), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "kcmp": (312, 272), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "setns": (308, 268), "chroot": (161, 51), "open_tree": (428, 428),
    "open_tree_attr": (467, 467), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "fsconfig": (431, 431), "fspick": (433, 433), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "setdomainname": (171, 162), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "personality": (135, 92), "vhangup": (153, 58), "fanotify_init": (300, 262),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "truncate": (76, 45),
    "lookup_dcookie": (212, 18), "chown": (92, None), "lchown": (94, None), "fchown": (93, 55),
    "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88),
    "futimesat": (261, None), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469), "mknod": (133, None), "mknodat": (259, 33),
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281), "kill": (62, 129), "tgkill": (234, 131), "pidfd_open": (434, 434),
    "prlimit64": (302, 261), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "fcntl": (72, 25), "ioctl": (16, 29),
}  # fmt: skip


def number(name: str) -> int | None:
    """Return the number of a system call on this machine, or None where the machine lacks it."""
    return NUMBERS[name][list(MACHINES).index(platform.machine())]


def unsupported_reason() -> str | None:
    """Return why none of this can work on this machine, or None where it can be tried."""
    if sys.platform != "linux":
        return f"the kernel is not Linux ({sys.platform})"
    if platform.machine() not in MACHINES or struct.calcsize("P") != 8:
        return f"the machine is {platform.machine()}; filters are written for {', '.join(MACHINES)}"
    try:
        import ctypes  # noqa: F401  some builds of Python come without it
    except ImportError as error:
        return f"this Python cannot call the kernel: {error}"
    return None


@functools.cache
def _libc():
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call and return its result; raise OSError if the kernel refuses or this machine has no such call.

    Args:
        name: One of ``NUMBERS``.
        *arguments: Integers, bytes (passed by address) or None (a null pointer).
    """
    import ctypes

    call_number = number(name)
    if call_number is None:
        raise OSError(errno.ENOSYS, f"{name}: no such call on {platform.machine()}")
    passed = [ctypes.c_long(part) if isinstance(part, int) else ctypes.c_char_p(part) for part in arguments]
    result = _libc().syscall(ctypes.c_long(call_number), *passed)
    if result == -1:
        reason = ctypes.get_errno()
        raise OSError(reason, f"{name}: {os.strerror(reason)}")
    return result


def prctl(option: int, value: int = 0) -> None:
    """Set a property of this process."""
    call("prctl", option, value, 0, 0, 0)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount, as ``mount(2)``; an error names the target."""
    try:
        call("mount", source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None)
    except OSError as error:
        raise OSError(error.errno, f"mount of {target}: {os.strerror(error.errno)}") from error


def bind_read_only(source: str, target: str) -> None:
    """Show a file or folder at another place, read-only with all that is mounted below it."""
    mount(source, target, flags=MS_BIND | MS_REC)
    attributes = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    try:
        call("mount_setattr", AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, len(attributes))
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        # Before Linux 5.12: flags that a mount came with are locked, and leaving one out is refused.
        locked = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | locked)


def drop_capabilities() -> None:
    """Give up every capability of this process, for good: new privileges are switched off too."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    call("capset", struct.pack("=Ii", 0x2008_0522, 0), bytes(24))


# --- Landlock: access rights that fall due below a folder ---

READ_FILE, WRITE_FILE, READ_DIR, TRUNCATE = 1 << 2, 1 << 1, 1 << 3, 1 << 14
READ = READ_FILE | READ_DIR


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel offers; raise OSError if it offers none."""
    return call("landlock_create_ruleset", None, 0, 1)


def landlock_ruleset(rules: Iterable[tuple[str, int]], everything: Iterable[str]) -> int:
    """Return the descriptor of a ruleset under which all is forbidden but what the rules allow.

    Network connections (ABI 4), and signals and abstract sockets that leave the sandbox (ABI 6), are forbidden too
    where the kernel knows them. A kernel without Landlock raises OSError.

    Args:
        rules: Paths with the rights allowed at and below them; a path that does not exist is left out.
        everything: Folders in which everything but running files and devices is allowed: the scratch folder.
    """
    abi = landlock_abi()
    handled = (1 << 13) - 1  # ABI 1: execute, write, read, list, remove, and make each kind of file
    handled |= (1 << 13 if abi >= 2 else 0) | (1 << 14 if abi >= 3 else 0) | (1 << 15 if abi >= 5 else 0)
    attributes = struct.pack("=QQQ", handled, 3, 3)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = call("landlock_create_ruleset", attributes, len(attributes), 0)
    own = handled & ~(1 | 1 << 6 | 1 << 11 | 1 << 15)  # not: execute, make a character or block device, ioctl
    for path, rights in [*rules, *((path, own) for path in everything)]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            of_a_file = READ_FILE | WRITE_FILE | TRUNCATE
            allowed = rights & handled if os.path.isdir(path) else rights & handled & of_a_file
            call("landlock_add_rule", ruleset, 1, struct.pack("=Qi", allowed, place), 0)
        finally:
            os.close(place)
    return ruleset


# --- seccomp: which system calls a process may make, as a small program of the kernel's packet filter ---

LOAD, JUMP_EQUAL, JUMP_NOT_BELOW, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
X32_CALLS = 0x4000_0000  # x86_64 answers a second set of numbers, which a list of the first would let through
NR, ARCHITECTURE, ARGUMENT_0 = 0, 4, 16  # offsets in seccomp_data; the lower half of an argument comes first
F_SETOWN, F_SETSIG, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 10, 15, 0x8901, 0x8902  # who is signalled about a file


def _filter(*parts: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *part) for part in parts)


def refuse(*names: str, reason: int = errno.EPERM) -> bytes:
    """Return a piece of filter that refuses these calls; those that this machine lacks are left out."""
    return b"".join(
        _filter((JUMP_EQUAL, 0, 1, call_number), (RETURN, 0, 0, REFUSE | reason))
        for call_number in map(number, names)
        if call_number is not None
    )


def allow_values(name: str, *values: int) -> bytes:
    """Return a piece of filter that allows a call only with one of these values as its first argument."""
    if number(name) is None:
        return b""
    tests = [(JUMP_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return _filter(
        (JUMP_EQUAL, 0, len(values) + 3, number(name)), (LOAD, 0, 0, ARGUMENT_0), *tests,
        (RETURN, 0, 0, REFUSE | errno.EPERM), (RETURN, 0, 0, ALLOW),
    )  # fmt: skip


def allow_threads_only() -> bytes:
    """Return a piece of filter that allows new threads but no process; without ``clone3`` libc takes ``clone``."""
    clone = _filter(
        (JUMP_EQUAL, 0, 4, number("clone")), (LOAD, 0, 0, ARGUMENT_0), (JUMP_ANY_BIT, 1, 0, CLONE_THREAD),
        (RETURN, 0, 0, REFUSE | errno.EPERM), (RETURN, 0, 0, ALLOW),
    )  # fmt: skip
    return refuse("fork", "vfork", "execve", "execveat") + refuse("clone3", reason=errno.ENOSYS) + clone


def refuse_values(name: str, *values: int, argument: int = 0) -> bytes:
    """Return a piece of filter that refuses a call with one of these values as an argument.

    Args:
        *values: Compared with the lower 32 bits, all that the kernel reads of a command.
        argument: Number of the argument, from 0.
    """
    tests = [(JUMP_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return _filter(
        (JUMP_EQUAL, 0, len(values) + 3, number(name)), (LOAD, 0, 0, ARGUMENT_0 + 8 * argument), *tests,
        (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE | errno.EPERM),
    )  # fmt: skip


def restrict_calls(*pieces: bytes) -> None:
    """Put this process and its children under a filter made of these pieces, in addition to those in force.

    Needs ``PR_SET_NO_NEW_PRIVS`` (``drop_capabilities`` sets it). A kernel without seccomp filters raises OSError.
    """
    import ctypes

    head = _filter((LOAD, 0, 0, ARCHITECTURE), (JUMP_EQUAL, 1, 0, MACHINES[platform.machine()]), (RETURN, 0, 0, KILL))
    head += _filter((LOAD, 0, 0, NR), (JUMP_NOT_BELOW, 0, 1, X32_CALLS), (RETURN, 0, 0, REFUSE | errno.EPERM))
    program = head + b"".join(pieces) + _filter((RETURN, 0, 0, ALLOW))
    held = ctypes.create_string_buffer(program, len(program))
    call("seccomp", 1, 0, struct.pack("@HP", len(program) // 8, ctypes.addressof(held)))
