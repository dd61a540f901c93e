"""A network namespace in which every address of 45.0.0.0/8 and 2a0e::/16 is on the loopback interface."""

import contextlib
import ctypes
import os
import subprocess
import threading

CLONE_NEWNET = 0x40000000
# Whence packets come that go to the pretended internet.
HERE = ("44.0.0.1", "2a0d::1")

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def own_namespace() -> int:
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """The namespace; it ends with the last process in it, and this object's descriptor."""

    def __init__(self, interface_addresses: list[str] = ()):
        outside = own_namespace()
        try:
            call(libc.unshare, CLONE_NEWNET)
            try:
                self.descriptor = own_namespace()
                self.configure(interface_addresses)
            finally:
                call(libc.setns, outside, CLONE_NEWNET)
        finally:
            os.close(outside)

    @staticmethod
    def configure(interface_addresses) -> None:
        commands = ["link set lo up", f"addr add {HERE[0]}/32 dev lo", f"addr add {HERE[1]}/128 dev lo nodad"]
        for address in interface_addresses:
            length, option = (128, " nodad") if ":" in address else (32, "")
            commands.append(f"addr add {address}/{length} dev lo{option}")
        commands.append(f"route add local 45.0.0.0/8 dev lo src {HERE[0]}")
        commands.append(f"route add local 2a0e::/16 dev lo src {HERE[1]}")
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)
        # So that programs can bind addresses that only the route makes local.
        with open("/proc/sys/net/ipv6/ip_nonlocal_bind", "w") as file:
            file.write("1")

    def enter(self) -> None:
        """Puts the calling thread, and what it starts, into the namespace for good."""
        call(libc.setns, self.descriptor, CLONE_NEWNET)

    @contextlib.contextmanager
    def inside(self):
        """Within it, the calling thread's new sockets and processes are in the namespace."""
        outside = own_namespace()
        try:
            self.enter()
            try:
                yield self
            finally:
                call(libc.setns, outside, CLONE_NEWNET)
        finally:
            os.close(outside)

    def close(self) -> None:
        os.close(self.descriptor)
