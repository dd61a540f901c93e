"""Every way to log in, with clients that nobody here wrote: GNU SASL, msmtp, mpop, curl, Python's imaplib."""

import base64
import hashlib
import hmac
import imaplib
import json
import os
import ssl
import re
import subprocess
import time
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

import configuration
import httpx
import jwt
import layout
import pytest
from conftest import ALICE, BOB, CAROL
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from mail import Talk, compose, trust, wait_for, wait_for_log, wait_until

ISSUER = "https://id.example.test"
AUDIENCE = "martlet"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
PATIENCE = 30


class Issuer:
    """Who gives people tokens: one key for each algorithm."""

    def __init__(self):
        self.keys = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "PS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def document(self) -> str:
        """The public keys as the issuer publishes them."""
        members = []
        for name, key in self.keys.items():
            algorithm = jwt.get_algorithm_by_name(name)
            member = json.loads(algorithm.to_jwk(key.public_key()))
            members.append({**member, "kid": name, "use": "sig", "alg": name, "key_ops": ["verify"]})
        return json.dumps({"keys": members})

    def token(self, account: str, algorithm: str = "ES256", **changes) -> str:
        claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 300, "email": account, "email_verified": True}
        claims.update(changes)
        return jwt.encode(claims, self.keys[algorithm], algorithm=algorithm, headers={"kid": algorithm})


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


class People:
    """An authority and the certificates that it has given."""

    def __init__(self, directory):
        self.directory = directory
        self.openssl("req", "-x509", *self.new("ca"), "-days", "2", "-subj", "/CN=people", "-out", "ca.pem")
        self.authority = directory / "ca.pem"

    @staticmethod
    def new(name: str) -> tuple[str, ...]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"

    def openssl(self, *words: str) -> str:
        done = subprocess.run(["openssl", *words], cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def certificate(self, name: str, address: str) -> tuple[str, str]:
        """The files of a certificate for an address, and of its key."""
        self.openssl("req", *self.new(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        (self.directory / f"{name}.ext").write_text(f"subjectAltName=email:{address}\nextendedKeyUsage=clientAuth\n")
        self.openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
        return str(self.directory / f"{name}.pem"), str(self.directory / f"{name}.key")

    def fingerprint(self, name: str) -> str:
        return self.openssl("x509", "-in", f"{name}.pem", "-noout", "-fingerprint", "-sha256").strip().split("=")[1]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def office(module_factory, issuer, people):
    """An instance that takes everything."""
    asks = {"client-certificates": True}
    instance = module_factory(
        {
            "tls": {"client-authorities": "etc/client-authorities.pem"},
            "smtpd": asks,
            "pop3d": asks,
            "imapd": asks,
            "authd": {
                "failure-delay": "0s",
                "oauth": {"issuer": ISSUER, "audiences": [AUDIENCE], "configuration-url": DISCOVERY},
            },
        },
        users=(ALICE, BOB, CAROL),
        start=False,
    )
    (instance.directory / "etc" / "client-authorities.pem").write_text(people.authority.read_text())
    (instance.directory / "etc" / "oauth-keys.json").write_text(issuer.document())
    instance.start()
    wait_until(lambda: "SCRAM" in capabilities(instance), what="SCRAM, which authd says is good for all")
    return instance


def capabilities(instance) -> str:
    with imaplib.IMAP4_SSL("localhost", instance.ports["imaps"], ssl_context=trust(instance)) as client:
        return " ".join(client.capabilities)


def run(*command, input: str | None = None, home=None, fails: bool = False) -> str:
    stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    env = {**os.environ, "LC_ALL": "C.UTF-8"} | ({"HOME": str(home)} if home else {})
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=env, **stdin)
    assert (done.returncode != 0) == fails, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# SCRAM


@pytest.mark.parametrize("protocol", ["smtp", "imap"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "PLAIN"])
def test_gsasl(office, protocol, mechanism):
    port = office.ports["submission" if protocol == "smtp" else "imap"]
    run(*gsasl(office, port, ALICE, office.passwords[ALICE], mechanism, protocol), input="\n")
    how = "password" if mechanism == "PLAIN" else "SCRAM"
    wait_for_log(office, "authd", f"by={how} client=127.0.0.1 service={protocol} user={ALICE} verdict=verified")
    run(*gsasl(office, port, ALICE, "wrong", mechanism, protocol), input="\n", fails=True)


def gsasl(office, port: int, user: str, password: str, mechanism: str = "SCRAM-SHA-256", protocol: str = "imap") -> list:
    """GNU SASL's command. It can bind a login to the connection, and refuses to do without where it isn't told to."""
    words = ["gsasl", "--client", f"--{protocol}", "--mechanism", mechanism, "--connect", f"localhost:{port}"]
    words += [f"--x509-ca-file={office.certificate}", "--authentication-id", user, "--password", password]
    return words if mechanism.endswith("-PLUS") else [*words, "--no-cb"]


@pytest.mark.parametrize("method", ["scram-sha-1", "scram-sha-256"])
def test_msmtp_and_mpop_by_scram(office, tmp_path, method):
    message = compose(ALICE, BOB)
    run(
        "msmtp", "--host=localhost", f"--port={office.ports['submission']}", "--tls=on", "--tls-starttls=on",
        f"--tls-trust-file={office.certificate}", f"--auth={method}", f"--user={ALICE}",
        f"--passwordeval=echo {office.passwords[ALICE]}", f"--from={ALICE}", BOB, input=message.as_string(),
        home=tmp_path,
    )  # fmt: skip
    wait_for(office, BOB, message["Subject"])
    mpop = (
        "mpop", "--host=localhost", f"--port={office.ports['pop3']}", "--tls=on", "--tls-starttls=on",
        f"--tls-trust-file={office.certificate}", f"--auth={method}", f"--user={BOB}", "--keep=on",
        f"--delivery=mbox,{tmp_path}/mbox", f"--uidls-file={tmp_path}/uidls",
    )  # fmt: skip
    run(*mpop, f"--passwordeval=echo {office.passwords[BOB]}", home=tmp_path)
    assert message["Subject"] in (tmp_path / "mbox").read_text()
    run(*mpop, "--passwordeval=echo wrong", home=tmp_path, fails=True)


def test_scram_waits_until_all_can_use_it(office):
    """A user whose hash came from elsewhere would be refused with the right password."""
    users = office.directory / "etc" / "users"
    text = users.read_text()
    line = next(line for line in text.splitlines() if line.startswith(CAROL))
    try:
        users.write_text(text.replace(line, line.rsplit(":", 1)[0]))
        wait_until(lambda: "SCRAM" not in capabilities(office), what="no SCRAM")
        assert "no SCRAM yet" in office.martlet("user", "list").stdout
        assert f"SCRAM is not offered yet: {CAROL}" in office.martlet("check", check=False).stdout
        # The next good login makes what is missing.
        with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=trust(office)) as client:
            client.login(CAROL, office.passwords[CAROL])
        wait_until(lambda: "SCRAM" in capabilities(office), what="SCRAM")
        kept = office.directory / "auth" / "verifiers"
        wait_until(lambda: kept.exists() and CAROL in kept.read_text(), what="the verifier on disk")
        assert kept.stat().st_mode & 0o077 == 0
        office.supervisor.restart("authd")
        wait_until(lambda: "SCRAM" in capabilities(office), what="SCRAM after a restart")
        port = office.ports["imap"]
        run(*gsasl(office, port, CAROL, office.passwords[CAROL]), input="\n")
    finally:
        users.write_text(text)


@pytest.mark.parametrize("mechanism, place", [("SCRAM-SHA-1", 0), ("SCRAM-SHA-256", 1)])
def test_verifiers_are_those_of_gsasl(office, mechanism, place):
    """Also where SASLprep (RFC 4013) has something to do."""
    password = "pa\u00adss \ufb01\u00aa\u2168"
    office.martlet("user", "password", CAROL, input=password + "\n")
    office.passwords[CAROL] = password
    users = (office.directory / "etc" / "users").read_text()
    line = next(line for line in users.splitlines() if line.startswith(CAROL))
    count, salt, *pairs = line.rsplit(":", 1)[1].removeprefix("$scram$").split("$")
    made = run(
        "gsasl", "--mkpasswd", "--mechanism", mechanism, "--iteration-count", count, "--salt", salt, "--password",
        password,
    )  # fmt: skip
    assert made.strip() == "{%s}%s,%s,%s" % (mechanism, count, salt, pairs[place])


class ScramPlus:
    """SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), as Python's own hashes have it."""

    def __init__(self, user: str, password: str, header: str, binding: bytes):
        self.user, self.password, self.header, self.binding = user, password, header, binding
        self.bare = f"n={user},r={os.urandom(12).hex()}"
        self.steps = 0

    def __call__(self, challenge: bytes) -> bytes:
        self.steps += 1
        if self.steps == 1:
            return (self.header + self.bare).encode()
        if self.steps == 3:
            assert challenge == b"v=" + base64.b64encode(self.confirmation)
            return b""
        values = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salt, count = base64.b64decode(values["s"]), int(values["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, count)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        bound = base64.b64encode(self.header.encode() + self.binding).decode()
        unproven = f"c={bound},r={values['r']}"
        signed = f"{self.bare},{challenge.decode()},{unproven}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.confirmation = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return f"{unproven},p={base64.b64encode(proof).decode()}".encode()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_logins_are_bound_to_the_certificate(office, version):
    """`tls-server-end-point` (RFC 5929 section 4), and somebody in between who has another certificate."""

    def attempt(mechanism: str, header: str, change: bytes = b"") -> bool:
        context = trust(office)
        context.minimum_version = context.maximum_version = version
        with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=context) as client:
            assert "AUTH=SCRAM-SHA-256-PLUS" in client.capabilities
            der = client.sock.getpeercert(True)
            name = x509.load_der_x509_certificate(der).signature_hash_algorithm.name
            binding = hashlib.new(name, der).digest() if header.startswith("p=") else b""
            login = ScramPlus(ALICE, office.passwords[ALICE], header, binding + change)
            try:
                client.authenticate(mechanism, login)
                assert login.steps == 3 and client.select()[0] == "OK"
                return True
            except imaplib.IMAP4.error as error:
                assert "AUTHENTICATIONFAILED" in str(error)
                return False

    assert attempt("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,")
    assert not attempt("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", b"x")
    assert not attempt("SCRAM-SHA-256-PLUS", "p=tls-unique,,")
    assert attempt("SCRAM-SHA-256", "n,,")
    # The client could have bound the login, and was made to believe that it can't be.
    assert not attempt("SCRAM-SHA-256", "y,,")
    wait_for_log(office, "authd", "reason=downgraded")


# Tokens


@pytest.mark.parametrize("method", ["oauthbearer", "xoauth2"])
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_msmtp_with_a_token(office, issuer, tmp_path, method, algorithm):
    message = compose(ALICE, BOB)
    words = (
        "msmtp", "--host=localhost", f"--port={office.ports['submissions']}", "--tls=on", "--tls-starttls=off",
        f"--tls-trust-file={office.certificate}", f"--auth={method}", f"--user={ALICE}", f"--from={ALICE}", BOB,
    )  # fmt: skip
    token = issuer.token(ALICE, algorithm)
    run(*words, f"--passwordeval=echo {token}", input=message.as_string(), home=tmp_path)
    wait_for(office, BOB, message["Subject"])
    for bad in (issuer.token(BOB, algorithm), issuer.token(ALICE, algorithm, aud="web"), token[:-8] + "AAAAAAAA"):
        run(*words, f"--passwordeval=echo {bad}", input=message.as_string(), home=tmp_path, fails=True)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("scheme", ["imaps", "imap", "pop3s", "pop3"])
def test_curl_with_a_token(office, issuer, mechanism, scheme):
    words = (
        "curl", "--silent", "--show-error", "--cacert", office.certificate, "--ssl-reqd",
        f"{scheme}://localhost:{office.ports[scheme]}/", "--user", f"{ALICE}:", "--login-options", f"AUTH={mechanism}",
    )  # fmt: skip
    said = run(*words, "--oauth2-bearer", issuer.token(ALICE))
    assert "INBOX" in said if scheme.startswith("imap") else said is not None
    run(*words, "--oauth2-bearer", issuer.token(ALICE, exp=int(time.time()) - 3600), fails=True)


def test_imaplib_with_a_token(office, issuer):
    def client():
        return imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=trust(office))

    with client() as connection:
        message = f"n,,\1auth=Bearer {issuer.token(BOB)}\1\1"
        connection.authenticate("OAUTHBEARER", lambda challenge: message.encode())
        assert connection.select()[0] == "OK"
    challenges = []

    def respond(challenge: bytes) -> bytes:
        challenges.append(challenge)
        return f"n,a={BOB},\1auth=Bearer {issuer.token(ALICE)}\1\1".encode() if len(challenges) == 1 else b"\1"

    with client() as connection:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            connection.authenticate("OAUTHBEARER", respond)
    # RFC 7628 section 3.2.2
    hint = json.loads(challenges[1])
    assert hint == {"status": "invalid_token", "schemes": "bearer", "openid-configuration": DISCOVERY}


def test_other_signatures_are_refused(office, issuer):
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 300, "email": ALICE}
    public = issuer.keys["RS256"].public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    stranger = ec.generate_private_key(ec.SECP256R1())
    for token in (
        jwt.encode(claims, None, algorithm="none", headers={"kid": "RS256"}),
        jwt.encode(claims, public, algorithm="HS256", headers={"kid": "RS256"}),
        jwt.encode(claims, stranger, algorithm="ES256", headers={"kid": "ES256"}),
    ):
        with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=trust(office)) as client:
            with pytest.raises(imaplib.IMAP4.error):
                message = f"user={ALICE}\1auth=Bearer {token}\1\1".encode()
                client.authenticate("XOAUTH2", lambda challenge: message if not challenge else b"")


def test_keys_are_followed(office, issuer):
    """What a timer's command fetches counts without a restart; an unknown key may be one that comes."""
    file = office.directory / "etc" / "oauth-keys.json"
    document = json.loads(file.read_text())

    def attempt() -> str:
        with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=trust(office)) as client:
            try:
                client.authenticate("XOAUTH2", lambda _: f"user={ALICE}\1auth=Bearer {issuer.token(ALICE)}\1\1".encode())
                return "in"
            except imaplib.IMAP4.error as error:
                return str(error)

    def replace(keys: list) -> None:
        fresh = file.with_name("oauth-keys.json.new")
        fresh.write_text(json.dumps({"keys": keys}))
        fresh.rename(file)

    try:
        replace([key for key in document["keys"] if key["kid"] != "ES256"])
        wait_until(lambda: "UNAVAILABLE" in attempt(), what="try again")
        replace(document["keys"])
        wait_until(lambda: attempt() == "in", what="a login")
        file.write_text("rubbish")
        assert attempt() == "in"
        assert "oauth-keys.json" in office.martlet("check", check=False).stdout
    finally:
        file.write_text(json.dumps(document))



class Provider:
    """An OpenID provider that nobody here wrote (oidc-provider-mock): discovery, codes, tokens and keys by HTTP."""

    PROGRAM = Path("/var/lib/martlet-tests/openid/bin/python")

    def __init__(self):
        self.port = configuration.free_port()
        self.url = f"http://localhost:{self.port}"

    @contextmanager
    def running(self):
        """Each start has another key."""
        command = [self.PROGRAM, "-m", "oidc_provider_mock", "--port", str(self.port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(self.discovery, what="the provider")
            for address in (ALICE, BOB):
                claims = {"email": address, "email_verified": address == ALICE}
                httpx.put(f"{self.url}/users/{address}", json=claims).raise_for_status()
            yield
        finally:
            process.kill()
            process.wait()

    def discovery(self) -> dict | None:
        try:
            return httpx.get(f"{self.url}/.well-known/openid-configuration", timeout=30).json()
        except httpx.TransportError:
            return None

    def token(self, account: str, client: str = AUDIENCE) -> str:
        """What the account's mail program gets (RFC 6749 section 4.1): the owner agrees, and a code becomes a token."""
        places, back = self.discovery(), "http://localhost/back"
        query = {"client_id": client, "redirect_uri": back, "response_type": "code", "scope": "openid email"}
        agreed = httpx.post(places["authorization_endpoint"], params=query, data={"sub": account}, timeout=30)
        code = urllib.parse.parse_qs(urllib.parse.urlparse(agreed.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        return httpx.post(places["token_endpoint"], data=form, auth=(client, "secret"), timeout=30).json()["id_token"]

    def fetch_keys(self, instance) -> None:
        """By the command that docs/accounts.md has for a timer."""
        page = (layout.REPOSITORY / "docs" / "accounts.md").read_text()
        command = re.search(r"```\n(cd /var/lib/martlet/etc && curl.*?)```", page, re.DOTALL)[1]
        command = command.replace("/var/lib/martlet", str(instance.directory))
        command, count = re.subn(r"https://\S+/certs", self.discovery()["jwks_uri"], command)
        assert count == 1
        run("bash", "-e", "-c", command)


def test_an_openid_provider(module_factory, tmp_path):
    """Tokens of a real provider, and its keys by the timer's command, also when it has made another."""
    provider = Provider()
    oauth = {"issuer": provider.url, "audiences": [AUDIENCE]}
    authd = {"failure-delay": "0s", "oauth": oauth}
    instance = module_factory({"authd": authd}, users=(ALICE, BOB), start=False)
    words = (
        "msmtp", "--host=localhost", f"--port={instance.ports['submission']}", "--tls=on", "--tls-starttls=on",
        f"--tls-trust-file={instance.certificate}", "--auth=oauthbearer", f"--from={ALICE}",
    )  # fmt: skip

    def submit(user: str, token: str, fails: bool = False) -> str:
        message = compose(ALICE, BOB)
        password = f"--passwordeval=echo {token}"
        run(*words, f"--user={user}", password, BOB, input=message.as_string(), home=tmp_path, fails=fails)
        return message["Subject"]

    def read(token: str) -> str:
        with imaplib.IMAP4_SSL("localhost", instance.ports["imaps"], ssl_context=trust(instance)) as client:
            try:
                client.authenticate("XOAUTH2", lambda challenge: f"user={ALICE}\1auth=Bearer {token}\1\1".encode())
                return client.select()[0]
            except imaplib.IMAP4.error as error:
                return str(error)

    with provider.running():
        provider.fetch_keys(instance)
        instance.start()
        old = provider.token(ALICE)
        wait_for(instance, BOB, submit(ALICE, old))
        assert read(old) == "OK"
        # Of somebody whose address the provider has not verified, for another program, and for somebody else.
        submit(BOB, provider.token(BOB), fails=True)
        submit(ALICE, provider.token(ALICE, client="web"), fails=True)
        submit(BOB, old, fails=True)
    with provider.running():
        new = provider.token(ALICE)
        # Somebody has to fetch the key first.
        assert "AUTHENTICATIONFAILED" in read(new) or "UNAVAILABLE" in read(new)
        provider.fetch_keys(instance)
        wait_until(lambda: read(new) == "OK", what="a login by the new key")
        assert read(old) != "OK"


# Certificates


def with_certificate(instance, files: tuple[str, str]) -> ssl.SSLContext:
    context = trust(instance)
    context.load_cert_chain(*files)
    return context


def test_external_by_curl_and_imaplib(office, people):
    files = people.certificate("alice", ALICE)
    for scheme in ("imaps", "pop3s"):
        run(
            "curl", "--silent", "--show-error", "--cacert", office.certificate, "--cert", files[0], "--key", files[1],
            f"{scheme}://localhost:{office.ports[scheme]}/", "--user", f"{ALICE}:", "--login-options", "AUTH=EXTERNAL",
        )  # fmt: skip
    for name, expected in (("", True), (ALICE, True), (BOB, False)):
        context = with_certificate(office, files)
        with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=context) as client:
            assert "AUTH=EXTERNAL" in client.capabilities
            if expected:
                client.authenticate("EXTERNAL", lambda _: name.encode())
                assert client.select()[0] == "OK"
            else:
                with pytest.raises(imaplib.IMAP4.error):
                    client.authenticate("EXTERNAL", lambda _: name.encode())


def test_external_by_msmtp(office, people, tmp_path):
    certificate, key = people.certificate("bob", BOB)
    message = compose(BOB, ALICE)
    run(
        "msmtp", "--host=localhost", f"--port={office.ports['submission']}", "--tls=on", "--tls-starttls=on",
        f"--tls-trust-file={office.certificate}", f"--tls-cert-file={certificate}", f"--tls-key-file={key}",
        "--auth=external", f"--user={BOB}", f"--from={BOB}", ALICE, input=message.as_string(), home=tmp_path,
    )  # fmt: skip
    wait_for(office, ALICE, message["Subject"])


def test_external_needs_a_certificate_of_ours(office, people, tmp_path):
    other = People(tmp_path).certificate("mallory", ALICE)
    # It's served all the same: many clients have a certificate for something else.
    with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=with_certificate(office, other)) as client:
        assert "AUTH=EXTERNAL" not in client.capabilities
        with pytest.raises(imaplib.IMAP4.error):
            client.authenticate("EXTERNAL", lambda _: b"")
        client.login(ALICE, office.passwords[ALICE])
    assert "EXTERNAL" not in capabilities(office)
    # A table says whose a certificate is that has no address of ours.
    files = people.certificate("machine", "machine@elsewhere.test")
    table = office.directory / "etc" / "certificates"
    table.write_text(f"# machines\n{CAROL}:{people.fingerprint('machine')}\n")
    layout.own(table, "root", 0o640, "mlt-auth")
    with imaplib.IMAP4_SSL("localhost", office.ports["imaps"], ssl_context=with_certificate(office, files)) as client:
        client.authenticate("EXTERNAL", lambda _: b"")
    wait_for_log(office, "authd", f"by=certificate client=127.0.0.1")


# App passwords


def test_app_passwords(office):
    made = office.martlet("user", "app-password", "add", ALICE, "telephone", "--services", "imap,smtp").stdout.strip()
    entry = json.loads(office.martlet("user", "app-password", "add", ALICE, "old laptop", "--json").stdout)
    assert entry["services"] == ["smtp", "pop3", "imap"] and len(entry["password"]) == 24
    listed = office.martlet("user", "app-password", "list", ALICE).stdout
    assert "telephone: imap smtp, never used" in listed and made not in listed

    def login(password: str, scheme: str) -> bool:
        done = subprocess.run(
            [
                "curl", "--silent", "--cacert", office.certificate, f"{scheme}://localhost:{office.ports[scheme]}/",
                "--user", f"{ALICE}:{password}", "--login-options", "AUTH=PLAIN",
            ],
            capture_output=True,
        )  # fmt: skip
        return done.returncode == 0

    wait_until(lambda: login(made, "imaps"), what="a login by an app password")
    assert not login(made, "pop3s") and login(entry["password"], "pop3s")
    # It's as good for SCRAM, beside the account's own.
    for password in (made, office.passwords[ALICE]):
        run(*gsasl(office, office.ports["imap"], ALICE, password), input="\n")
    wait_until(lambda: "telephone: imap smtp, last used" in office.martlet("user", "app-password", "list", ALICE).stdout)
    shown = json.loads(office.martlet("user", "show", ALICE, "--json").stdout)
    assert [password["name"] for password in shown["appPasswords"]] == ["telephone", "old laptop"]
    assert shown["user"]["scram"] and shown["user"]["appPasswords"] == 2
    office.martlet("user", "app-password", "remove", ALICE, "telephone")
    wait_until(lambda: not login(made, "imaps"), what="a withdrawn password")
    assert login(entry["password"], "imaps") and login(office.passwords[ALICE], "imaps")
    office.martlet("user", "disable", ALICE)
    wait_until(lambda: not login(entry["password"], "imaps"), what="a disabled account")
    office.martlet("user", "enable", ALICE)
    wait_until(lambda: login(entry["password"], "imaps"), what="an account that is enabled again")


# What is offered when


def test_what_is_offered(make_instance):
    instance = make_instance({"login": {"mechanisms": ["SCRAM-SHA-256", "plain"], "scram": "always"}}, users=(ALICE,))
    assert {word for word in capabilities(instance).split() if word.startswith("AUTH=")} == {
        "AUTH=SCRAM-SHA-256", "AUTH=PLAIN",
    }  # fmt: skip
    with Talk(instance.ports["submission"]) as client:
        client.reply()
        assert "AUTH" not in client.say(b"EHLO client.example.test")
        assert client.say(f"AUTH PLAIN {encoded('x')}".encode()).startswith("538")
    instance.configure({"login": {"mechanisms": ["SCRAM-SHA-256-PLUS"]}})
    instance.supervisor.restart("imapd")
    wait_until(lambda: "AUTH=SCRAM-SHA-256-PLUS" in capabilities(instance) and "LOGINDISABLED" in capabilities(instance))
    instance.configure({"login": {"mechanisms": ["GSSAPI"]}})
    assert "\"GSSAPI\" is none of" in instance.martlet("check", check=False).stdout + instance.martlet("check", check=False).stderr
    instance.configure({"login": None, "imapd": {"client-certificates": True}})
    said = instance.martlet("check", check=False)
    assert "client-certificates needs tls.client-authorities" in said.stdout + said.stderr
