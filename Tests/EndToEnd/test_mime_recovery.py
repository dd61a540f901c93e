"""Messages as people really send them: what `martlet mime`, `auth`, `dmarc`, `tls-report` and imapd make of broken ones."""

import base64
import gzip
import io
import json
import os
import subprocess
import time
import zipfile

import imaplib
import pytest
from instance import PROGRAMS
from mail import imap, token

MARTLET = PROGRAMS / "martlet"
START = "From: a@b.test\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
JANE = "jane@example.test"


def martlet(*arguments: str, message: bytes | str = b"", status: int | None = 0) -> str:
    octets = message if isinstance(message, bytes) else message.encode()
    done = subprocess.run([MARTLET, *arguments], input=octets, capture_output=True, timeout=60)
    assert status is None or done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode()


def mime(command: str, message: bytes | str, *options: str, status: int | None = 0) -> str:
    return martlet("mime", command, "-", *options, message=message, status=status)


def defects(message: bytes | str) -> set[str]:
    return {found["defect"]["name"] for found in json.loads(mime("check", message, "--json", status=None))}


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


@pytest.fixture
def client(system):
    if JANE not in system.passwords:
        system.add_user(JANE)
    client = imap(system, JANE)
    name = token()
    ok(client.create(name))
    ok(client.select(name))
    client.folder = name
    yield client
    client.logout()


def append(client, *messages: bytes | str) -> None:
    for message in messages:
        octets = message if isinstance(message, bytes) else message.encode()
        ok(client.append(client.folder, "", imaplib.Time2Internaldate(time.time()), octets))
    ok(client.noop())


def fetch(client, number: int, item: str) -> bytes:
    return b"".join(
        piece if isinstance(piece, bytes) else b"".join(piece) for piece in ok(client.fetch(str(number), item))
    )


# Addresses

ADDRESSES = [
    # The field, what `mime text` shows, how ENVELOPE begins, the author for DMARC.
    ("a@b.test <a@b.test>", ["a@b.test <a@b.test>"], b'(("a@b.test" NIL "a" "b.test"))', "b.test"),
    ("x@one.test <a@b.test>", ["x@one.test <a@b.test>"], b'(("x@one.test" NIL "a" "b.test"))', "b.test"),
    ("Doe, John <a@b.test>", ["Doe, John <a@b.test>"], b'(("Doe, John" NIL "a" "b.test"))', "b.test"),
    ("=?utf-8?q?Doe=2C?= <a@b.test>", ["Doe, <a@b.test>"], b'(("=?utf-8?q?Doe=2C?=" NIL "a" "b.test"))', "b.test"),
    ("=?utf-8?b?PGE+?= <a@b.test>", ["<a> <a@b.test>"], b'(("=?utf-8?b?PGE+?=" NIL "a" "b.test"))', "b.test"),
    ("Anna (Team <a@b.test>", ["Anna (Team <a@b.test>"], b'(("Anna (Team" NIL "a" "b.test"))', "b.test"),
    ('"Bob <a@b.test>', ["Bob <a@b.test>"], b'(("Bob" NIL "a" "b.test"))', "b.test"),
    ("Bob <a@b.test", ["Bob <a@b.test>"], b'(("Bob" NIL "a" "b.test"))', "b.test"),
    ("Ann Miller a@b.test", ["Ann Miller <a@b.test>"], b'(("Ann Miller" NIL "a" "b.test"))', "b.test"),
    ("Mail Delivery System", None, b'(("Mail Delivery System" NIL "" ""))', ""),
    ('""@b.test', ["@b.test"], b'((NIL NIL "" "b.test"))', "b.test"),
]


@pytest.mark.parametrize("field, shown, envelope, author", ADDRESSES, ids=[field for field, *_ in ADDRESSES])
def test_addresses_in_commands(field, shown, envelope, author, tmp_path):
    message = f"From: {field}\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nx\r\n"
    lines = [line.removeprefix("From: ") for line in mime("text", message).splitlines() if line.startswith("From: ")]
    assert shown is None or lines == shown
    assert author or not any("@" in line for line in lines)
    (tmp_path / "zone").write_text('_dmarc.b.test. 300 TXT "v=DMARC1; p=reject"\n')
    checked = json.loads(
        martlet("auth", "check", "-", "--zone", str(tmp_path / "zone"), "--json", message=message, status=None)
    )
    assert checked["dmarc"]["domain"] == author
    assert checked["dmarc"]["result"] == ("fail" if author else "permerror")


def test_addresses_in_envelope(client):
    append(client, *[f"From: {field}\r\nTo: {field}\r\n\r\nx\r\n" for field, *_ in ADDRESSES])
    for number, (field, _, envelope, _) in enumerate(ADDRESSES, 1):
        assert fetch(client, number, "(ENVELOPE)").count(envelope) == 4, field


@pytest.mark.parametrize(
    "address, is_fine",
    [
        ('""@iana.example', True), ('"test"."test"@iana.example', True), ("test@[RFC 5322 domain literal]", True),
        ("(comment)test@iana.example", True), ("Friends:;", True), ("test@-iana.example", False),
        ("test@iana.example.", False), ("test@iana..example", False), ('"test"test@iana.example', False),
        ("Friends:", False), ("test", False), ("Doe, John <a@b.test>", False), ("a@b.test <a@b.test>", False),
    ],
)
def test_check_of_addresses(address, is_fine):
    assert ("invalid-address" in defects(f"{START}To: {address}\r\n\r\n")) != is_fine


# Structured fields

@pytest.mark.parametrize("field", ["base64;", '"base64"', "base64 (as usual)", "(as usual) base64", "base64; x=y"])
def test_transfer_encodings(client, field):
    message = f"{START}Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {field}\r\n\r\nSGVsbG8g8J+Yig==\r\n"
    assert "Hello 😊" in mime("text", message)
    assert mime("extract", message, "--part", "1") == "Hello 😊"
    assert ("malformed-field" in defects(message)) == ("(" not in field)
    append(client, message)
    assert b'"base64"' in fetch(client, 1, "(BODYSTRUCTURE)").lower()
    assert ok(client.search(None, "BODY", "hello")) == [b"1"]


def test_a_missing_semicolon(client):
    message = (
        f'{START}Content-Type: multipart/mixed\r\n\tboundary="b"\r\n\r\n--b\r\nContent-Type: application/pdf\r\n name="inv.pdf"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n"
    )
    parts = json.loads(mime("parts", message, "--json"))
    assert [(part["part"], part["type"], part["fileName"]) for part in parts] == [("1", "application/pdf", "inv.pdf")]
    assert defects(message) == {"malformed-field"}
    append(client, message)
    assert b'"application" "pdf" ("name" "inv.pdf")' in fetch(client, 1, "(BODYSTRUCTURE)")


@pytest.mark.parametrize(
    "written, name",
    [
        ("Garden (plan 4).pdf", "Garden (plan 4).pdf"), ("(4) plan.pdf", "(4) plan.pdf"), ("plan(1).pdf", "plan(1).pdf"),
        ("My plan type=A4.pdf", "My plan type=A4.pdf"), ("Plan; May.pdf", "Plan; May.pdf"), ('"plan.pdf; size=3', "plan.pdf"),
        ('"C:\\dir\\plan.pdf"', "C:\\dir\\plan.pdf"), ("plan.pdf (a comment)", "plan.pdf"), ('"The "best" plan.pdf"', 'The "best" plan.pdf'),
    ],
)
def test_file_names(written, name, tmp_path):
    message = f"{START}Content-Type: application/pdf; name={written}\r\nContent-Disposition: attachment; filename={written}\r\n\r\nx"
    assert json.loads(mime("parts", message, "--json"))[0]["fileName"] == name
    (file,) = json.loads(mime("extract", message, "--to", str(tmp_path), "--json"))
    assert file["path"].endswith(".pdf")


@pytest.mark.parametrize("length", [70, 71, 200, 998])
def test_long_boundaries(length):
    boundary = "b" * length
    message = f'{START}Content-Type: multipart/mixed;\r\n boundary="{boundary}"\r\n\r\n--{boundary}\r\n\r\none\r\n--{boundary}\r\n\r\ntwo\r\n--{boundary}--\r\n'
    assert [part["part"] for part in json.loads(mime("parts", message, "--json"))] == ["1", "2"]
    assert ("boundary-length" in defects(message)) == (length > 70)


# Nothing is lost

MIXED = f"{START}Content-Type: multipart/mixed; boundary=b\r\n\r\n"
UNREADABLE = [
    (f"{MIXED}only words\r\n--b--\r\n", {"no-part"}),
    (f"{START}Content-Type: multipart/mixed\r\n\r\nonly words\r\n", {"no-boundary"}),
    (f"{MIXED}--b\r\nContent-Type: message/rfc822\r\n\r\nonly words\r\n--b--\r\n", {"no-header"}),
    (
        f"{START}Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nb25seSB3b3Jkcw==\r\n",
        {"encoded-composite"},
    ),
    (f"{MIXED}--b\r\nContent-Type: message/global\r\n\r\nSubject: x\r\n\r\nonly words\r\n--b--\r\n", set()),
    ("only words\r\n", {"no-header", "no-from", "no-date"}),
    ("first\r\n\r\nonly words\r\n", {"no-header", "no-from", "no-date"}),
    (f"{MIXED}--b\r\nonly words\r\n--b--\r\n", {"header-without-end"}),
    (
        f"{START}Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\nb25seSB3b3Jkcw==\r\n",
        {"encoded-composite", "no-part"},
    ),
]


@pytest.mark.parametrize("message, wrong", UNREADABLE)
def test_nothing_readable_is_lost(message, wrong):
    assert defects(message) == wrong
    assert "only words" in mime("text", message)
    assert "only words" in "".join(text["text"] for text in json.loads(mime("text", message, "--json"))["texts"])
    number = json.loads(mime("parts", message, "--json"))[0]["part"]
    assert "only words" in mime("extract", message, "--part", number)


def test_nothing_readable_is_lost_in_search(client):
    append(client, *[message for message, _ in UNREADABLE])
    assert ok(client.search(None, "BODY", '"only words"')) == [b" ".join(b"%d" % n for n in range(1, len(UNREADABLE) + 1))]


def test_octets_beside_encoded_words(client):
    """Octets that no encoded word holds are guessed apart from what they hold."""
    message = b"Subject: caf\xe9 =?utf-8?q?na=C3=AFve?=\r\n" + f"{START}\r\nx\r\n".encode()
    assert "Subject: café naïve\n" in mime("text", message)
    assert "Subject: café naïve\n" in mime("headers", message)
    append(client, message)
    client.literal = "café naïve".encode()
    assert ok(client.search("UTF-8", "SUBJECT")) == [b"1"]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
def test_a_long_text_before_the_first_part(options):
    """What comes before the first part is text where it is long, and ends before that part."""
    message = f"{MIXED}{'words ' * 20_000}end\r\n--b\r\n\r\npart\r\n--b--\r\n"
    shown = mime("text", message, *options)
    if options:
        assert [text["text"].split()[-1] for text in json.loads(shown)["texts"]] == ["end", "part"]
    else:
        assert shown.splitlines()[-2:] == ["words " * 20_000 + "end", "part"]


def test_headers_end_in_one_place(client):
    """A message that begins with text has no header, whatever is asked for."""
    message = "Hello Ann,\r\n\r\nSubject: no field\r\n\r\nBye\r\n"
    append(client, message)
    assert fetch(client, 1, "(BODY.PEEK[TEXT])").count(message.encode()) == 1
    assert b"BODY[HEADER] {0}" in fetch(client, 1, "(BODY.PEEK[HEADER])")
    assert b"Subject" not in fetch(client, 1, "(ENVELOPE)")
    assert f'"7bit" {len(message)} '.encode() in fetch(client, 1, "(BODY)")


def test_base64_ends_at_its_padding(client):
    message = f"{START}Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8uCg== ignored\r\naWdub3JlZA==\r\n"
    assert mime("extract", message, "--part", "1") == "Hello.\n"
    assert defects(message) == {"encoded-cut"}
    append(client, message)
    assert ok(client.search(None, "BODY", "ignored")) == [b""]


# Numbers

INNER = "From: x@y.test\r\nSubject: inner\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nhello inner"
ATTACHED = (
    f"{MIXED}--b\r\n\r\nsee attached\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; "
    f'filename="fwd.eml"\r\n\r\n{INNER}\r\n--b--\r\n'
)
NESTED = f"{MIXED}--b\r\nContent-Type: message/rfc822\r\n\r\n{ATTACHED}\r\n--b--\r\n"


def test_attached_messages_are_extracted(tmp_path):
    assert mime("extract", ATTACHED, "--part", "2") == INNER
    assert mime("extract", ATTACHED, "--part", "2.1") == "hello inner"
    (written,) = json.loads(mime("extract", ATTACHED, "--to", str(tmp_path), "--json"))
    assert (written["part"], written["octets"]) == ("2", len(INNER))
    assert (tmp_path / "fwd.eml").read_bytes() == INNER.encode()
    assert mime("extract", NESTED, "--part", "1").startswith(START)
    assert mime("extract", NESTED, "--part", "1.2") == INNER
    mime("extract", ATTACHED, "--part", "3", status=64)


@pytest.mark.parametrize("message", [ATTACHED, NESTED, INNER, MIXED + "words\r\n--b--\r\n"])
def test_numbers_are_the_same_everywhere(client, message):
    append(client, message)
    parts = json.loads(mime("parts", message, "--json"))
    shown = []
    pending = [json.loads(mime("show", message, "--json"))]
    while pending:
        part = pending.pop()
        pending += part["children"]
        if not part["children"]:
            shown.append(part["part"])
    assert sorted(shown) == sorted(part["part"] for part in parts)
    for part in parts:
        octets = message.encode()[part["body"]["start"] : part["body"]["end"]]
        data = ok(client.fetch("1", f"(BODY.PEEK[{part['part']}])"))
        assert data[0][1] == octets
        if part["type"] == "text/plain":
            assert mime("extract", message, "--part", part["part"]).encode() == octets


def test_headers_by_number():
    assert mime("headers", ATTACHED, "--part", "2").startswith("Content-Type: message/rfc822")
    assert mime("headers", ATTACHED, "--part", "2.1").startswith("From: x@y.test")
    assert mime("headers", ATTACHED, "--part", "1") == ""
    assert mime("headers", NESTED, "--part", "1.2").startswith("Content-Type: message/rfc822")
    assert mime("headers", INNER, "--part", "1") == mime("headers", INNER)
    mime("headers", ATTACHED, "--part", "2.2", status=64)


def test_large_attached_messages_are_extracted():
    inner = "Subject: large\r\n\r\n" + "a line of text\r\n" * 100_000
    message = f"{MIXED}--b\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--b--\r\n"
    done = subprocess.run([MARTLET, "mime", "extract", "-", "--part", "1"], input=message.encode(), capture_output=True)
    assert done.stdout == inner.encode()


# Reports

DELIVERY = f"{START}Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nfailed\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"


@pytest.mark.parametrize(
    "fields, recipients",
    [
        (["Reporting-MTA: dns; x.test", "Final-Recipient: rfc822; kim@y.test", "Action: failed", "Status: 5.4.4"],
         [["kim@y.test", "failed", "5.4.4"]]),
        (["Reporting-MTA: dns; x.test", "", "Action: failed", "Status: 5.0.0"], []),
        (["Reporting-MTA: dns; x.test", "", "Final-Recipient: rfc822; kim@y.test", "Action: on-hold"],
         [["kim@y.test", "on-hold"]]),
        (["Reporting-MTA: dns; x.test", "", "X-Queue: 7", "Final-Recipient: rfc822; kim@y.test", "Action: failed", "", "Status: 5.4.4"],
         [["kim@y.test", "failed", "5.4.4", "7"]]),
        (["Final-Recipient: rfc822; kim@y.test", "Action: failed", "", "Status: 5.4.4"], [["kim@y.test", "failed", "5.4.4"]]),
        (["Reporting-MTA: dns; x.test", *["Final-Recipient: rfc822; kim@y.test", "Action: failed"] * 300], [["kim@y.test", "failed"]] * 300),
    ],
)
def test_delivery_reports(fields, recipients):
    message = DELIVERY + "\r\n".join(fields) + "\r\n--b--\r\n"
    (report,) = json.loads(mime("report", message, "--json"))
    assert [[field["value"] for field in recipient] for recipient in report["recipients"]] == recipients


@pytest.mark.parametrize("count, length", [(10_001, 1), (3000, 400)])
def test_delivery_reports_of_many(count, length):
    """What isn't read of a long report is told."""
    recipient = f"Final-Recipient: rfc822; {'k' * length}@y.test\r\nAction: failed\r\n\r\n"
    message = f"{DELIVERY}Reporting-MTA: dns; x.test\r\n\r\n{recipient * count}--b--\r\n"
    (report,) = json.loads(mime("report", message, "--json"))
    assert report["hasMoreRecipients"] and len(report["recipients"]) < count
    assert "there may be more recipients" in mime("report", message)
    assert "perhaps others" in mime("show", message)
    (short,) = json.loads(mime("report", f"{DELIVERY}{recipient * 3}--b--\r\n", "--json"))
    assert not short["hasMoreRecipients"] and len(short["recipients"]) == 3


XML = b"""<?xml version="1.0"?><feedback><report_metadata><org_name>r.test</org_name><report_id>7</report_id></report_metadata>
<policy_published><domain>e.test</domain></policy_published></feedback>"""
JSON = json.dumps(
    {
        "organization-name": "r.test",
        "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-02T00:00:00Z"},
        "contact-info": "x@r.test",
        "report-id": "8",
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "e.test", "policy-string": ["version: STSv1"]},
                "summary": {"total-successful-session-count": 5, "total-failure-session-count": 2},
                "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 2}],
            }
        ],
    }
).encode()


def zipped(octets: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report", octets)
    return file.getvalue()


def archived(octets: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("d")
        archive.writestr("d/README", b"Hello")
        archive.writestr("d/report." + ("xml" if octets.startswith(b"<") else "json"), octets)
    return file.getvalue()


@pytest.mark.parametrize(
    "pack",
    [lambda octets: octets, gzip.compress, lambda octets: gzip.compress(octets[:50]) + gzip.compress(octets[50:]), zipped, archived],
    ids=["plain", "gzip", "gzip twice", "zip", "archive"],
)
@pytest.mark.parametrize("type", ["application/gzip", "application/octet-stream", "text/plain; name=report.xml"])
def test_reports_as_they_arrive(pack, type):
    def mail(document: bytes) -> str:
        body = base64.encodebytes(pack(document)).decode().replace("\n", "\r\n")
        return f"{MIXED}--b\r\n\r\nA report.\r\n--b\r\nContent-Type: {type}\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}--b--\r\n"

    for message in (mail(XML), pack(XML)):
        assert json.loads(martlet("dmarc", "report", "-", "--json", message=message))["reportID"] == "7"
    for message in (mail(JSON), pack(JSON)):
        report = json.loads(martlet("tls-report", "-", "--json", message=message))
        assert (report["reportID"], report["sessions"], report["failed"]) == ("8", 7, 2)
    assert "sessions: 7, of which 2 failed" in martlet("tls-report", "-", message=mail(JSON))
    martlet("tls-report", "-", message=mail(XML), status=64)
    martlet("dmarc", "report", "-", message=mail(JSON), status=64)


# DKIM

@pytest.mark.parametrize("tag", ["d=a.test(.b.test", "d=a.test).b.test", "d=a..test", "s=k(x", 's="k"'])
def test_signatures_are_of_domains(tag, tmp_path):
    tags = {"v": "1", "a": "rsa-sha256", "d": "a.test", "s": "k", "h": "from", "bh": "AAAA", "b": "AAAA"}
    name, _, value = tag.partition("=")
    tags[name] = value
    field = "; ".join(f"{name}={value}" for name, value in tags.items())
    (tmp_path / "zone").write_text("")
    shown = martlet(
        "auth", "check", "-", "--zone", str(tmp_path / "zone"), message=f"DKIM-Signature: {field}\r\n{START}\r\n", status=None
    )
    results = shown[shown.index("Authentication-Results") :]
    assert "header.d" not in results and "header.s=" not in results


# Character sets, in the mailbox process that may open no file

WORDS = [
    ("gb2312", "会议通知"), ("koi8-r", "привет"), ("iso-2022-jp", "お知らせ"), ("windows-1250", "łóżko"),
    ("shift_jis", "日本"), ("euc-kr", "한글"), ("big5", "你好"), ("windows-1251", "привет"), ("iso-8859-2", "łóżko"),
    ("euc-jp", "日本"), ("utf-7", "grün"), ("utf-16", "grün"), ("iso-8859-7", "λόγος"), ("iso-2022-kr", "한글"),
    ("gb18030", "会议通知"), ("cp866", "привет"), ("tis-620", "สว"), ("iso-8859-1", "grün"), ("utf-8", "grün"),
]


def search(client, key: str, word: str) -> list[bytes]:
    client.literal = word.encode()
    return ok(client.search("UTF-8", key))


@pytest.mark.parametrize("charset, word", WORDS)
def test_search_in_character_sets(client, charset, word):
    encoded = base64.b64encode(word.encode(charset)).decode()
    append(
        client,
        f"Subject: =?{charset}?B?{encoded}?=\r\n\r\nnothing\r\n",
        f"Subject: nothing\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n",
    )
    assert search(client, "SUBJECT", word) == [b"1"]
    assert search(client, "BODY", word) == [b"2"]
    assert search(client, "TEXT", word) == [b"1 2"]


@pytest.mark.parametrize("charset, word", [("utf-8", "日本"), ("iso-2022-jp", "日本"), ("gb2312", "会议")])
def test_search_goes_on_across_reads(client, charset, word):
    octets = word.encode(charset)
    header = f"Content-Type: text/plain; charset={charset}\r\n\r\n".encode()
    places = range(len(octets) + 1)
    append(client, *[header + b"x" * (65536 - place) + octets + b" y\r\n" for place in places])
    assert search(client, "BODY", word) == [b" ".join(b"%d" % (place + 1) for place in places)]


def test_no_nul_reaches_a_client(client, system):
    append(client, "From: a@x.test\r\n\r\nx\r\n")
    directory = next((system.directory / "mail").rglob(f".{client.folder}"))
    path = directory / "new" / "1.nul"
    path.write_bytes(b"From: a@x.test\r\nSubject: a\0b\r\n\r\na\0b\r\n")
    path.chmod(0o600)
    os.chown(path, directory.stat().st_uid, directory.stat().st_gid)
    ok(client.noop())
    for item in ("(BODY.PEEK[])", "(ENVELOPE)", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])", "(RFC822.TEXT)"):
        octets = fetch(client, 2, item)
        assert b"\0" not in octets and (b"a\x80b" in octets)


# Size

@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
@pytest.mark.parametrize("type", ["text/plain", "text/plain; format=flowed", "text/html"])
def test_text_streams(type, options):
    """A text of 64 MiB needs no more memory than a short one."""
    line = "the quick brown fox jumps over the lazy dog, über alles"
    line = {"text/plain": line, "text/html": f"<p class='x'>{line}</p>"}.get(type, line + " ") + "\r\n"
    block = line.encode() * ((1 << 20) // len(line.encode()))
    text = subprocess.Popen(
        [MARTLET, "mime", "text", *options], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with text.stdin as pipe:
        pipe.write(f"{START}Content-Type: {type}; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode())
        for _ in range(64):
            pipe.write(block)
        pipe.flush()
        status = open(f"/proc/{text.pid}/status").read().splitlines()
    assert text.wait(timeout=60) == 0
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 32 * 1024
