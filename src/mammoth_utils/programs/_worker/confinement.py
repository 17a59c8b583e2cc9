"""Confinement of a worker's processes: namespaces, file rules, the system call filter and resource limits.

Three levels, strongest first. ``namespaces``: users, network, mounts, processes and IPC of its own, a file system that
holds the Python installation and nothing else, the call filter, and Landlock besides. ``landlock``, where namespaces
are refused, as inside most containers: Landlock on files, sockets and signals, and the call filter. ``process``, what
every Unix has: a process with limits, which protects the host from accidents but not from attacks.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pwd
import resource
import signal
import sys

from mammoth_utils.programs._worker import linux_calls

NOBODY = 65534
SCRATCHES = ("/tmp", "/scratch", "/mammoth-scratch")  # the first that holds no place of Python
DISK_MB = 64  # of a scratch folder under namespaces; of a single file elsewhere
PROCESSES = 64  # threads of a program under namespaces
OPEN_FILES = 128
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/nix/store")

# Calls that no solution needs and that reach beyond the process. The fork server is under this filter as well.
NEVER = (
    "socket", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd",
    "pidfd_send_signal", "kcmp", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "setpriority", "ioprio_set",
    "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "migrate_pages", "move_pages",
    "unshare", "setns", "chroot", "pivot_root", "mount", "umount2", "mount_setattr", "open_tree", "open_tree_attr",
    "move_mount", "fsopen", "fsmount", "fsconfig", "fspick", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key", "kexec_load",
    "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "syslog",
    "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
    "sethostname", "setdomainname", "iopl", "ioperm", "modify_ldt", "name_to_handle_at", "open_by_handle_at",
    "personality", "vhangup", "fanotify_init", "memfd_create", "memfd_secret", "shmget", "shmat", "semget",
    "msgget", "mq_open", "truncate", "lookup_dcookie", "chown", "lchown", "fchown", "fchownat", "utime", "utimes",
    "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr",
    "fremovexattr", "removexattrat", "file_setattr", "mknod", "mknodat",
)  # fmt: skip
NOT_IN_A_PROGRAM = ("pidfd_open", "chmod", "fchmod", "fchmodat", "fchmodat2")  # the fork server needs them to clean up


def readable_places(packages: list[str]) -> list[str]:
    """Return the files and folders that a program may read: libraries of the system, Python and its packages.

    A folder inside another of the list is left out.
    """
    prefixes = (sys.base_prefix, sys.base_exec_prefix)
    places = [*LIBRARIES, *(os.path.join(prefix, lib) for prefix in prefixes for lib in ("lib", "lib64"))]
    places += [os.path.dirname(os.__file__), *packages]
    places += [os.path.realpath(place) for place in places]
    existing = sorted({os.path.normpath(place) for place in places if os.path.exists(place)})
    outermost: list[str] = []
    for place in existing:
        if place != "/" and not any(place.startswith(f"{above}/") and not os.path.islink(above) for above in outermost):
            outermost.append(place)
    return outermost


def enter_namespaces() -> bool:
    """Move this process into namespaces of its own; its next child is the first process of a new process table.

    Return whether programs can run as an unprivileged user that is not the caller: true where the caller is root. Raise
    OSError if the kernel or its policy refuses.
    """
    me, group = os.geteuid(), os.getegid()
    # As root the map names a second, powerless user. It can only be written from outside, so a helper stays behind.
    ready, go = os.pipe()
    helper = os.fork()
    if helper == 0:
        status = 1
        try:
            os.close(go)
            if os.read(ready, 1):
                status = 0 if _map_users(os.getppid(), me, group) else 2
        finally:
            os._exit(status)
    os.close(ready)
    try:
        try:
            linux_calls.call(
                "unshare",
                linux_calls.CLONE_NEWUSER | linux_calls.CLONE_NEWNS | linux_calls.CLONE_NEWPID
                | linux_calls.CLONE_NEWNET | linux_calls.CLONE_NEWIPC | linux_calls.CLONE_NEWUTS,
            )  # fmt: skip
            os.write(go, b"!")
        finally:
            os.close(go)
    finally:
        _, status = os.waitpid(helper, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 2):
        raise OSError(f"the users of a new namespace could not be mapped (user {me})")
    return code == 0


def _map_users(pid: int, me: int, group: int) -> bool:
    """Write the user maps of a process, and return whether ``NOBODY`` is in them."""
    places = {"uid": me, "gid": group}
    if me == 0:
        try:
            for name in ("gid", "uid"):
                _write(f"/proc/{pid}/{name}_map", f"0 {places[name]} 1\n{NOBODY} {NOBODY} 1\n")
            return True
        except PermissionError:
            pass  # root of a container without such a user: it maps itself alone, as an ordinary user does
    _write(f"/proc/{pid}/setgroups", "deny")
    for name in ("gid", "uid"):
        _write(f"/proc/{pid}/{name}_map", f"0 {places[name]} 1\n")
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def build_root(readable: list[str], owner: int) -> str:
    """Replace the file system of this process by one that shows the readable places, and return its scratch folder.

    Everything is read-only but the scratch folder, a file system of its own in memory, ``DISK_MB`` large. There is no
    ``/proc``, no ``/sys``, no home and no ``/etc``. A refused mount raises OSError, which names it.
    """
    linux_calls.mount("", "/", flags=linux_calls.MS_REC | linux_calls.MS_PRIVATE)
    # What is mounted over must not hide what is still to be shown.
    bases = ("/dev/shm", "/mnt", "/media", "/srv", "/run", "/var/tmp", "/tmp")
    free = (b for b in bases if os.path.isdir(b) and not any(f"{place}/".startswith(f"{b}/") for place in readable))
    base = next(free, None)
    if base is None:
        raise OSError(f"expected one of {', '.join(bases)} to be a folder without Python in it, found none")
    linux_calls.mount("tmpfs", base, "tmpfs", linux_calls.MS_NOSUID | linux_calls.MS_NODEV, "size=1m,mode=755")
    for place in (*readable, *(device for device in DEVICES if os.path.exists(device))):
        target = base + place
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(place):
            os.symlink(os.readlink(place), target)
            continue
        if os.path.isdir(place):
            os.makedirs(target, exist_ok=True)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        if place in DEVICES:
            linux_calls.mount(place, target, flags=linux_calls.MS_BIND)
        else:
            linux_calls.bind_read_only(place, target)
    # Nor must the scratch folder hide a place: a project may lie below /tmp, and with it its packages.
    scratch = next(name for name in SCRATCHES if not any(f"{place}/".startswith(f"{name}/") for place in readable))
    os.makedirs(f"{base}{scratch}", exist_ok=True)
    options = f"size={DISK_MB}m,nr_inodes=4096,mode=700,uid={owner},gid={owner}"
    linux_calls.mount("tmpfs", f"{base}{scratch}", "tmpfs", linux_calls.MS_NOSUID | linux_calls.MS_NODEV, options)
    os.chdir(base)
    linux_calls.call("pivot_root", b".", b".")
    linux_calls.call("umount2", b".", linux_calls.MNT_DETACH)
    os.chdir("/")
    flags = linux_calls.MS_NOSUID | linux_calls.MS_NODEV
    linux_calls.mount("", "/", flags=linux_calls.MS_REMOUNT | linux_calls.MS_BIND | linux_calls.MS_RDONLY | flags)
    linux_calls.call("sethostname", b"sandbox", 7)
    if hidden := [place for place in readable if not os.path.lexists(place)]:
        raise OSError(f"expected every place of Python to be readable inside, but {', '.join(hidden)} cannot be seen")
    return scratch


def become_nobody() -> None:
    """Give up root for the unprivileged user of the new namespace."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def readable_by_all(readable: list[str]) -> bool:
    """Return whether every user may read these places, so that programs can run as ``NOBODY``."""
    for place in [*readable, os.__file__]:
        needed = 0o5 if os.path.isdir(place) else 0o4
        if os.stat(place).st_mode & needed != needed:
            return False
    return True


def file_rules(readable: list[str], scratch: str) -> int:
    """Return the Landlock ruleset of a program: reads in the readable places, writes in the scratch folder.

    Raises:
        OSError: If the kernel has no Landlock.
    """
    rules = [(place, linux_calls.READ) for place in readable]
    rules += [(device, linux_calls.READ_FILE | linux_calls.WRITE_FILE | linux_calls.TRUNCATE) for device in DEVICES]
    return linux_calls.landlock_ruleset(rules, [scratch])


def confine_fork_server() -> None:
    """Take every privilege, and calls that no program needs, from the fork server and so from all of its programs."""
    linux_calls.drop_capabilities()
    linux_calls.restrict_calls(linux_calls.refuse(*NEVER))
    _same_for_all()


def confine_program(ruleset: int | None) -> None:
    """Confine the process of a program for good: files by Landlock, then system calls.

    It may make no process, signal only itself, limit only itself, and not switch off that it ends with its parent.
    """
    if ruleset is not None:
        linux_calls.call("landlock_restrict_self", ruleset, 0)
    me = os.getpid()
    linux_calls.restrict_calls(
        _same_for_all(),
        linux_calls.allow_values("kill", me, 0),
        linux_calls.allow_values("tgkill", me),
        linux_calls.allow_values("prlimit64", 0, me),
    )


@functools.cache
def _same_for_all() -> bytes:
    """Return the part of a program's filter that is made before the fork, after which each page touched costs time."""
    # A file may be told to signal any process of the same user, which Landlock forbids from Linux 6.12 on only.
    signalling = linux_calls.refuse_values(
        "fcntl", linux_calls.F_SETOWN, linux_calls.F_SETSIG, linux_calls.F_SETOWN_EX, argument=1
    )
    signalling += linux_calls.refuse_values("ioctl", linux_calls.FIOSETOWN, linux_calls.SIOCSPGRP, argument=1)
    death = linux_calls.refuse_values("prctl", linux_calls.PR_SET_PDEATHSIG)
    return linux_calls.allow_threads_only() + linux_calls.refuse(*NOT_IN_A_PROGRAM) + death + signalling


def limit_program(timeout_s: float | None, address_space: int | None, level: str, file_mb: float = DISK_MB) -> None:
    """Set the resource limits of this process, which runs one program or those that share it.

    Args:
        timeout_s: Seconds of processor time. The fork server watches them to the millisecond; the kernel's limit, in
            whole seconds, holds where the fork server has ended. None where a timer ends each program instead.
        address_space: Bytes of address space in all, or None for no limit.
    """
    file_size = int(file_mb * 2**20)
    limits = {
        resource.RLIMIT_FSIZE: (file_size, file_size),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    if timeout_s is not None:
        seconds = math.ceil(timeout_s) + 1
        limits[resource.RLIMIT_CPU] = (seconds, seconds + 1)
    if address_space is not None:
        limits[resource.RLIMIT_AS] = (address_space, address_space)
    if level == "namespaces":
        # Elsewhere the kernel counts all of the user's processes, and a fixed number would refuse or allow at random.
        limits[resource.RLIMIT_NPROC] = (PROCESSES, PROCESSES)
    for name, (soft, hard) in limits.items():
        ceiling = resource.getrlimit(name)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        # Systems other than Linux refuse some limits; describe() names what is not limited there.
        with contextlib.suppress(ValueError, OSError) if sys.platform != "linux" else contextlib.nullcontext():
            resource.setrlimit(name, (soft, hard))


def die_with_parent() -> None:
    """Let the kernel end this process when the thread that made it ends; on Linux only."""
    if linux_calls.unsupported_reason() is None:
        linux_calls.prctl(linux_calls.PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end, so that this process can end them."""
    if linux_calls.unsupported_reason() is None:
        linux_calls.prctl(linux_calls.PR_SET_CHILD_SUBREAPER, 1)


def user_name() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
