"""Daemons that hang, and what takes their places and talks nonsense."""

import os
import signal
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress

NO_FRAME = b"\xff\x00 : \r\n" * 100


@contextmanager
def hanging(instance, service: str):
    """The daemon takes connections, and says nothing."""
    pid = instance.supervisor.pid(service)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def replaced(instance, service: str, name: str, said: bytes):
    """In the daemon's place is one that says this to whatever it's asked at that socket, and hangs up after nothing."""

    connections = []

    class Talk(socketserver.BaseRequestHandler):
        def handle(self):
            connections.append(self.request)
            try:
                while self.request.recv(4096) and said:
                    self.request.sendall(said)
            except OSError:
                pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    path = instance.directory / "run" / name
    instance.supervisor.down(service)
    path.unlink(missing_ok=True)
    server = Server(str(path), Talk)
    path.chmod(0o666)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        path.unlink()
        instance.supervisor.up(service)
        instance.supervisor.wait_ready([service])
