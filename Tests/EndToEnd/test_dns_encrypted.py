"""DNS over TLS and HTTPS, for clients and to forwarders, with dig, kdig, curl, dnspython, unbound and attackers of our own."""

import base64
import contextlib
import http.server
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import configuration
import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
from instance import PROGRAMS
from mail import trust, wait_until
from test_dns import ask

NAME = "mail.example.test"
MX = "10 mail.example.test.\n"


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=60, **options)


def output(*command) -> str:
    done = run(*command, stdin=subprocess.DEVNULL, text=True)
    return done.stdout + (done.stderr if done.returncode else "")


@pytest.fixture(scope="module")
def ports():
    found: set[int] = set()
    while len(found) < 2:
        found.add(configuration.free_port())
    return dict(zip(("tls", "https"), found))


@pytest.fixture(scope="module")
def silent():
    """A server that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def instance(module_factory, ports, silent):
    return module_factory(
        {
            "resolverd": {
                "listen-tls": [f"127.0.0.1:{ports['tls']}"],
                "listen-https": [f"127.0.0.1:{ports['https']}"],
                "idle-timeout": "2s",
                "forward-zones": {"silent.example": [silent]},
                "query-timeout": "30s",
            }
        },
        users=(),
    )


@pytest.fixture
def url(ports):
    return f"https://localhost:{ports['https']}/dns-query"


# --- clients that were written elsewhere


def test_dig(instance, ports):
    at = ["dig", "@127.0.0.1", f"+tls-ca={instance.certificate}", f"+tls-hostname={NAME}", "+short", "example.test", "MX"]
    assert output(*at, "-p", ports["tls"], "+tls") == MX
    assert output(*at, "-p", ports["https"], "+https") == MX
    assert output(*at, "-p", ports["https"], "+https-get") == MX
    assert MX not in output(*at, "-p", ports["https"], "+https=/other")
    wrong = [part if "hostname" not in part else "+tls-hostname=other.test" for part in at]
    assert MX not in output(*wrong, "-p", ports["tls"], "+tls")


def test_kdig(instance, ports):
    at = ["kdig", "@127.0.0.1", f"+tls-ca={instance.certificate}", f"+tls-hostname={NAME}", "example.test", "MX"]
    assert output(*at, "-p", ports["tls"], "+tls", "+short") == MX
    assert output(*at, "-p", ports["https"], "+https", "+short") == MX
    assert output(*at, "-p", ports["https"], "+https", "+https-get", "+short") == MX
    # kdig pads its queries over TLS, and so are the answers.
    text = output(*at, "-p", ports["tls"], "+tls")
    assert "padding" in text.lower() and "Received 468 B" in text


def test_curl_finds_hosts_by_it(instance, ports, url):
    page = Path(__file__).parent
    server = subprocess.Popen(
        ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(page), "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONUNBUFFERED": "1", "PATH": "/usr/bin:/bin"},
        text=True,
    )
    try:
        port = server.stdout.readline().split("port ")[1].split()[0]
        done = run("curl", "-sS", "--doh-url", url, "--cacert", instance.certificate, "--doh-insecure", "-4",
                   f"http://{NAME}:{port}/pytest.ini")
        assert b"[pytest]" in done.stdout, done.stderr
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_speaks_it(instance, url, version, tmp_path):
    query = dns.message.make_query(NAME, "A", id=0)
    (tmp_path / "query").write_bytes(query.to_wire())
    curl = ["curl", "-sS", version, "--cacert", instance.certificate, "-D", tmp_path / "head"]
    kind = ["-H", "content-type: application/dns-message"]
    get = run(*curl, f"{url}?dns={base64.urlsafe_b64encode(query.to_wire()).decode().rstrip('=')}")
    post = run(*curl, *kind, "--data-binary", f"@{tmp_path}/query", url)
    assert get.stdout == post.stdout and dns.message.from_wire(post.stdout).answer[0][0].address == "127.0.0.1"
    head = (tmp_path / "head").read_bytes().decode().lower()
    assert head.startswith("http/2 200" if version == "--http2" else "http/1.1 200 ok")
    assert "content-type: application/dns-message\r\n" in head and "cache-control: max-age=3600\r\n" in head
    assert f"content-length: {len(post.stdout)}\r\n" in head and "\r\ndate: " in head

    def status(*arguments) -> str:
        return run(*curl, "-o", "/dev/null", "-w", "%{http_code}", *arguments).stdout.decode()

    (tmp_path / "large").write_bytes(bytes(70_000))
    assert status(f"{url}x") == "404"
    assert status(url) == "400" and status(f"{url}?dns=AA") == "400" and status(f"{url}?dns=***") == "400"
    assert status("-X", "DELETE", url) == "405"
    assert status("-H", "accept: text/html", *kind, "--data-binary", f"@{tmp_path}/query", url) == "406"
    assert status(*kind, "--data-binary", f"@{tmp_path}/large", url) == "413"
    assert status("--data-binary", f"@{tmp_path}/query", url) == "415"
    assert status("-H", "x: " + "y" * 20_000, url) in ("431", "000")


def test_dnspython(instance, ports, url):
    query = dns.message.make_query("example.test", "MX")
    query.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(12, b""), dns.edns.GenericOption(11, b"")])
    by_tls = dns.query.tls(query, "127.0.0.1", 20, ports["tls"], ssl_context=trust(instance), server_hostname="localhost")
    by_https = dns.query.https(query, url, 20, verify=str(instance.certificate))
    by_get = dns.query.https(query, url, 20, verify=str(instance.certificate), post=False)
    assert by_tls.answer == by_https.answer == by_get.answer and len(by_tls.answer[0]) == 1
    assert [option.otype for option in by_tls.options] == [11, 12]
    assert by_tls.options[0].data == b"\x00\x14", "2 seconds, in tenths"
    assert [option.otype for option in by_https.options] == [12]
    for answer in (by_tls, by_https, by_get):
        assert len(answer.to_wire()) == 468
    query.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(12, b"")])
    assert not dns.query.udp(query, "127.0.0.1", 20, instance.ports["dns"]).options


def lookup(*arguments) -> subprocess.CompletedProcess:
    return run(PROGRAMS / "martlet", "dns", "lookup", *arguments, stdin=subprocess.DEVNULL, text=True)


def test_our_own_command(instance, ports, url):
    at, ca = f"127.0.0.1:{ports['tls']}", ["--ca", instance.certificate]
    for server in (
        [f"@tls://{at}"],
        [f"@{at}", "--tls"],
        [f"@tls://{at}#{NAME}"],
        [f"@tls://localhost:{ports['tls']}"],
        [f"@{url}"],
        [f"@https://127.0.0.1:{ports['https']}", "--attempts", 1],
        [f"@127.0.0.1:{ports['https']}#{NAME}", "--https"],
    ):
        done = lookup(*server, *ca, "example.test", "MX")
        assert (done.stdout, done.returncode) == (MX, 0), (server, done.stderr)
    full = lookup(f"@{url}", *ca, "--full", "example.test", "MX")
    assert f"; from {url} (https)" in full.stdout and "padding" in full.stdout.lower()
    document = json.loads(lookup(f"@tls://{at}", *ca, "--json", "no.example.test", "A").stdout)
    assert (document[0]["transport"], document[0]["status"]) == ("tls", "NXDOMAIN")


def test_our_own_command_checks_certificates(instance, ports, url):
    at = f"tls://127.0.0.1:{ports['tls']}"
    for server, options in (
        (f"@{at}#other.test", ["--ca", instance.certificate]),
        (f"@{url}#other.test", ["--ca", instance.certificate]),
        (f"@{at}", []),
        (f"@{url}", []),
    ):
        done = lookup(server, *options, "example.test", "MX")
        assert done.returncode == 2 and not done.stdout and "certificate verify failed" in done.stderr
        assert lookup(server, "--insecure", "example.test", "MX").stdout == MX
    for arguments, reason in (
        ([f"@{url}", "--insecure", "--ca", instance.certificate], "exclude each other"),
        ([f"@{url}", "--ca", "/nowhere"], "/nowhere"),
        (["@127.0.0.1", "--tls", "--https"], "exclude each other"),
        (["--tls"], "need a server"),
        (["@tls://"], "is not a server"),
    ):
        done = lookup(*arguments, "example.test")
        assert done.returncode == 64 and reason in done.stderr, done.stderr
    # What is no DNS over HTTPS, or no TLS.
    done = lookup(f"@https://127.0.0.1:{ports['https']}/other", "--insecure", "example.test")
    assert done.returncode == 2 and "404" in done.stderr
    done = lookup(f"@tls://127.0.0.1:{instance.ports['dns']}", "--insecure", "--timeout", 2, "example.test")
    assert done.returncode == 2 and done.stderr
    done = lookup(f"@https://127.0.0.1:{ports['tls']}", "--insecure", "example.test")
    assert done.returncode == 2 and done.stderr


def test_our_own_command_by_http_1(instance, tmp_path):
    """A server that has no HTTP/2, and answers in pieces."""
    keys = instance.directory / "etc" / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "certificate.pem", keys / "private-key.pem")
    context.set_alpn_protocols(["http/1.1"])
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            got.append(self.path)
            asked = dns.message.from_wire(self.rfile.read(int(self.headers["content-length"])))
            answer = dns.message.make_response(asked)
            answer.answer.append(dns.rrset.from_text(asked.question[0].name, 60, "IN", "A", "192.0.2.7"))
            octets = answer.to_wire()
            self.send_response(200)
            self.send_header("content-type", "application/dns-message; x=y")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in (octets[:7], octets[7:]):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            at = f"@https://127.0.0.1:{server.server_address[1]}/other/path#{NAME}"
            done = lookup(at, "--ca", instance.certificate, "a.example", "A")
            assert (done.stdout, got) == ("192.0.2.7\n", ["/other/path"]), done.stderr
        finally:
            server.shutdown()


def test_loads(instance, ports, tmp_path, url):
    """Very many queries, many at a time on a connection, by dnsperf and h2load."""
    (tmp_path / "queries").write_text(f"{NAME} A\nexample.test MX\nnowhere.example.test A\n")
    at = ["-m", "dot", "-s", "127.0.0.1", "-p", ports["tls"], "-d", tmp_path / "queries"]
    text = output("dnsperf", *at, "-n", 1000, "-c", 4)
    assert "Queries completed:    3000 (100.00%)" in text and "Queries lost:         0" in text, text
    query = base64.urlsafe_b64encode(dns.message.make_query(NAME, "A", id=0).to_wire()).decode().rstrip("=")
    for more in ([], ["--h1"]):
        text = output("h2load", "-n", 3000, "-c", 4, "-m", 1 if more else 25, *more, f"{url}?dns={query}")
        assert "3000 succeeded, 0 failed, 0 errored, 0 timeout" in text, text


class Unbound:
    """unbound on loopback, with a configuration of a test's own."""

    def __init__(self, directory: Path, text: str):
        self.directory = directory
        directory.mkdir()
        (directory / "unbound.conf").write_text(
            f'server:\n  directory: "{directory}"\n  chroot: ""\n  username: ""\n  pidfile: ""\n  logfile: "log"\n'
            "  use-syslog: no\n  verbosity: 1\n  do-daemonize: no\n  num-threads: 1\n  do-not-query-localhost: no\n"
            '  module-config: "iterator"\n  local-zone: "test." nodefault\n  interface-automatic: no\n'
            f"{text}remote-control:\n  control-enable: no\n"
        )

    def __enter__(self):
        self.process = subprocess.Popen(
            ["unbound", "-c", str(self.directory / "unbound.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_unbound_forwards_to_us_over_tls(instance, ports, tmp_path):
    port = configuration.free_port()
    text = (
        f'  interface: 127.0.0.1@{port}\n  port: {port}\n  tls-cert-bundle: "{instance.certificate}"\n'
        f'forward-zone:\n  name: "."\n  forward-tls-upstream: yes\n  forward-addr: 127.0.0.1@{ports["tls"]}#{NAME}\n'
    )
    with Unbound(tmp_path / "unbound", text):
        wait_until(lambda: is_open(port), what="unbound")
        answer = dns.query.udp(dns.message.make_query("example.test", "MX"), "127.0.0.1", 20, port)
    assert answer.answer[0].to_text().endswith("MX 10 mail.example.test.")


# --- forwarding over TLS


@pytest.fixture(scope="module")
def tls_server(instance, tmp_path_factory):
    """unbound, which answers for upstream.net over TLS with the certificate of an instance."""
    port = configuration.free_port()
    keys = instance.directory / "etc" / "tls"
    directory = tmp_path_factory.mktemp("tls")
    for name in ("certificate.pem", "private-key.pem"):
        shutil.copy(keys / name, directory / name)
    text = (
        f"  interface: 127.0.0.1@{port}\n  tls-port: {port}\n  tls-service-key: \"{directory}/private-key.pem\"\n"
        f'  tls-service-pem: "{directory}/certificate.pem"\n  local-zone: "upstream.net." redirect\n'
        '  local-data: "upstream.net. 300 A 192.0.2.1"\n'
    )
    with Unbound(directory / "unbound", text):
        wait_until(lambda: is_open(port), what="unbound")
        yield port, directory / "certificate.pem"


def forwarding(factory, server: str, certificate=None):
    changes = {"mode": "forward", "forwarders": [server], "query-timeout": "3s"}
    if certificate:
        changes["forward-tls-ca"] = str(certificate)
    return factory({"resolverd": changes}, users=())


def test_forwarding_over_tls(module_factory, tls_server):
    port, certificate = tls_server
    instance = forwarding(module_factory, f"tls://127.0.0.1:{port}#{NAME}", certificate)
    for number in range(20):
        assert ask(instance, f"h{number}.upstream.net", "A").answer[0][0].address == "192.0.2.1"
    servers = json.loads(instance.martlet("dns", "servers", "--json").stdout)
    assert {server["address"] for server in servers} == {f"tls://127.0.0.1:{port}#{NAME}"}
    # All of it over few connections that stay.
    listed = output("ss", "-Htn", "state", "established", "dport", "=", f":{port}")
    assert 1 <= len(listed.splitlines()) <= 4, listed


@pytest.mark.parametrize("name, with_authority", [("other.test", True), (NAME, False)])
def test_a_server_that_is_not_the_right_one(module_factory, tls_server, name, with_authority):
    port, certificate = tls_server
    server = f"tls://127.0.0.1:{port}#{name}"
    instance = forwarding(module_factory, server, certificate if with_authority else None)
    query = dns.message.make_query("h.upstream.net", "A", use_edns=0)
    answer = dns.query.udp(query, "127.0.0.1", 20, instance.ports["dns"])
    assert answer.rcode() == dns.rcode.SERVFAIL and not answer.answer
    error = next(option for option in answer.options if option.otype == dns.edns.OptionType.EDE)
    assert error.code == 23 and "certificate verify failed" in error.text
    log = wait_until(lambda: [line for line in instance.supervisor.log_text("resolverd").splitlines() if server in line])
    assert len(log) <= 4 and "certificate verify failed" in log[0]


def test_a_server_without_tls(module_factory, instance):
    """One that speaks no TLS isn't asked in plain text."""
    other = forwarding(module_factory, f"tls://127.0.0.1:{instance.ports['dns']}#{NAME}", instance.certificate)
    assert ask(other, "nowhere.example.org", "A").rcode() == dns.rcode.SERVFAIL


# --- attackers


class Attacker:
    """An HTTP/2 client that goes its own ways."""

    def __init__(self, instance, ports):
        context = trust(instance)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", ports["https"]), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self) -> bool:
        """Whether the server still takes octets."""
        try:
            self.socket.sendall(self.h2.data_to_send())
            return True
        except OSError:
            return False

    def headers(self, path: str, **more) -> list:
        fields = {":method": "GET", ":scheme": "https", ":authority": "localhost", ":path": path, **more}
        return list(fields.items())

    def get(self, octets: bytes, end: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        text = base64.urlsafe_b64encode(octets).decode().rstrip("=")
        self.h2.send_headers(stream, self.headers(f"/dns-query?dns={text}"), end_stream=end)
        return stream

    def read_until(self, kind) -> bool:
        """Reads until there is such an event; false when the server closed first."""
        while not any(isinstance(event, kind) for event in self.events):
            try:
                octets = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return False
            if not octets:
                return False
            self.events += self.h2.receive_data(octets)
            self.send()
        return True


def test_very_many_at_once(instance, ports):
    """A hundred requests in one write, the preface with them: each gets its own answer."""
    with Attacker(instance, ports) as client:
        names = {}
        for number in range(100):
            name = f"n{number}.example.test" if number % 2 else NAME
            query = dns.message.make_query(name, "A", id=number)
            names[client.get(query.to_wire())] = query
        client.send()
        bodies = dict.fromkeys(names, b"")
        ended = set()
        while len(ended) < len(names):
            octets = client.socket.recv(65536)
            assert octets, "closed before"
            for event in client.h2.receive_data(octets):
                if isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    client.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
            client.send()
        for stream, query in names.items():
            answer = dns.message.from_wire(bodies[stream])
            assert query.is_response(answer)
            assert answer.rcode() == (dns.rcode.NXDOMAIN if query.id % 2 else dns.rcode.NOERROR)


def test_rapid_reset(instance, ports):
    """CVE-2023-44487: streams that are opened and reset at once."""
    query = dns.message.make_query("example.test", "MX", id=0).to_wire()
    with Attacker(instance, ports) as attacker:
        sent = 0
        for _ in range(100):
            for _ in range(50):
                attacker.h2.reset_stream(attacker.get(query), h2.errors.ErrorCodes.CANCEL)
                sent += 1
            if not attacker.send():
                break
            time.sleep(0.001)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            attacker.read_until(h2.events.ConnectionTerminated)
        ends = [event.error_code for event in attacker.events if isinstance(event, h2.events.ConnectionTerminated)]
        # What the server says may be lost when it closes while more is coming.
        assert sent < 5000 or ends == [h2.errors.ErrorCodes.ENHANCE_YOUR_CALM], (sent, ends)
    assert sent > 100
    assert output("kdig", "@127.0.0.1", "-p", ports["https"], "+https", "+short", "example.test", "MX") == MX


def test_too_many_streams_at_once(instance, ports):
    with Attacker(instance, ports) as attacker:
        attacker.send()
        assert attacker.read_until(h2.events.RemoteSettingsChanged)
        assert attacker.h2.remote_settings.max_concurrent_streams == 100
        query = dns.message.make_query("example.test", "MX", id=0).to_wire()
        for _ in range(100):
            attacker.get(query, end=False)
        attacker.send()
        # None of them ever ends: all are reset when their time is up.
        while sum(isinstance(event, h2.events.StreamReset) for event in attacker.events) < 100:
            assert (octets := attacker.socket.recv(65536)), "closed before"
            attacker.events += attacker.h2.receive_data(octets)


def statuses(client: Attacker, streams: list[int]) -> dict[int, str]:
    """The status of each stream's response, once all are there."""
    found: dict[int, str] = {}
    while not set(streams) <= found.keys():
        for event in client.events:
            if isinstance(event, h2.events.ResponseReceived):
                found[event.stream_id] = dict(event.headers)[":status"]
        client.events.clear()
        if not set(streams) <= found.keys():
            assert (octets := client.socket.recv(65536)), "closed before"
            client.events += client.h2.receive_data(octets)
    return found


def test_queries_that_were_cancelled_count(instance, ports):
    """A hundred are worked on for a connection, however many of their streams are gone."""
    with Attacker(instance, ports) as attacker:

        def ask(number: int) -> int:
            return attacker.get(dns.message.make_query(f"n{number}.silent.example", "A", id=0).to_wire())

        streams = [ask(number) for number in range(100)]
        attacker.send()
        for stream in streams[:50]:
            attacker.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        more = [ask(number) for number in range(100, 150)]
        attacker.send()
        assert set(statuses(attacker, more).values()) == {"503"}


def pour(attacker: Attacker, stream: int, octets: bytes) -> None:
    """Sends a body, as far as the server takes it."""
    with contextlib.suppress(h2.exceptions.StreamClosedError):
        while octets:
            room = min(attacker.h2.local_flow_control_window(stream), attacker.h2.max_outbound_frame_size, len(octets))
            if room:
                attacker.h2.send_data(stream, octets[:room])
                octets = octets[room:]
                continue
            attacker.send()
            assert (got := attacker.socket.recv(65536)), "closed before"
            attacker.events += attacker.h2.receive_data(got)
    attacker.send()


def test_bodies_that_do_not_end(instance, ports):
    """256 KiB of them are held for a connection."""
    for _ in range(5):
        with Attacker(instance, ports) as attacker:
            kind = {":method": "POST", "content-type": "application/dns-message"}
            for _ in range(10):
                stream = attacker.h2.get_next_available_stream_id()
                attacker.h2.send_headers(stream, attacker.headers("/dns-query", **kind))
                pour(attacker, stream, bytes(60_000))
            # Those that were begun, and not refused, are reset when their time is up.
            assert attacker.read_until(h2.events.StreamReset)
            answers = [dict(event.headers)[":status"] for event in attacker.events if isinstance(event, h2.events.ResponseReceived)]
        assert set(answers) <= {"503"}
        # On a machine that is too busy, their time may have been up before.
        if answers:
            return
    pytest.fail("nothing was refused")


def test_a_client_that_does_not_read(instance, ports):
    """A window of nothing: the answers can't be sent, and don't stay."""
    with Attacker(instance, ports) as attacker:
        attacker.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        attacker.send()
        query = dns.message.make_query("example.test", "MX", id=0).to_wire()
        attacker.get(query)
        attacker.send()
        assert attacker.read_until(h2.events.ResponseReceived)
        assert attacker.read_until(h2.events.StreamReset)
        assert not any(isinstance(event, h2.events.DataReceived) for event in attacker.events)


def test_a_silent_client_is_let_go(instance, ports):
    with Attacker(instance, ports) as attacker:
        attacker.send()
        assert attacker.read_until(h2.events.ConnectionTerminated)
        assert attacker.events[-1].error_code == h2.errors.ErrorCodes.NO_ERROR
    context = trust(instance)
    with contextlib.ExitStack() as stack:
        clients = []
        for beginning in (b"", b"POST /dns-query HTTP/1.1\r\nHost: x\r\nContent-Le", b"PRI * HTTP/2.0\r\n"):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", ports["https"]), timeout=30))
            clients.append(stack.enter_context(context.wrap_socket(plain, server_hostname="localhost")))
            clients[-1].sendall(beginning)
        for client in clients:
            while client.recv(65536):
                pass


def test_garbage_over_http2(instance, ports):
    garbage = [bytes(range(256)), b"\x00\xff\xff\x09\x04\x00\x00\x00\x01" + b"\xff" * 70_000]
    # A head that is never complete: CONTINUATION frames without end (CVE-2024-27316).
    garbage.append(b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82" + b"\x00\x00\x01\x09\x00\x00\x00\x00\x01\x84" * 10_000)
    # SETTINGS and PING without end.
    garbage.append(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 10_000)
    garbage.append((b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8)) * 10_000)
    for octets in garbage:
        with Attacker(instance, ports) as attacker:
            attacker.send()
            with contextlib.suppress(OSError):
                attacker.socket.sendall(octets)
            start = time.monotonic()
            with contextlib.suppress(h2.exceptions.ProtocolError):
                attacker.read_until(h2.events.StreamReset)
            assert time.monotonic() - start < 20
    assert output("kdig", "@127.0.0.1", "-p", ports["https"], "+https", "+short", "example.test", "MX") == MX
