"""Aggregate reports of DMARC: what strangers' mail came to is counted, and goes to those whose name it bore."""

import calendar
import email
import email.policy
import gzip
import json
import re
import smtplib
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from conftest import ALICE
from instance import PROGRAMS
from mail import wait_for_log, wait_until
from sink import Sink

NAMESPACE = "{urn:ietf:params:xml:ns:dmarc-2.0}"
PERMITTED, STRANGER = "127.0.2.1", "127.0.2.9"
ZONES = {
    "strict.test": f"""
@ TXT "v=spf1 ip4:{PERMITTED} -all"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:dmarc@strict.test,mailto:x@stranger.test"
""",
    "quiet.test": """
@ TXT "v=spf1 -all"
_dmarc TXT "v=DMARC1; p=none"
""",
}


@pytest.fixture(scope="module")
def receiver():
    with Sink() as server:
        yield server


@pytest.fixture(scope="module")
def instance(module_factory, receiver):
    changes = {
        "resolverd": {"zones": {zone: f"etc/zones/{zone}" for zone in ZONES}},
        "remote-relay": {"routes": {"*": f"127.0.0.1:{receiver.port}"}},
        "reports": {"organization": "Example & Sons", "from": "dmarc@example.test", "delay": "0s"},
    }
    instance = module_factory(changes, start=False)
    for zone, text in ZONES.items():
        head = "$TTL 60\n@ SOA ns.ns.test. root.ns.test. 1 60 60 60 60\n@ NS ns.ns.test.\n"
        instance.write(instance.directory / "etc" / "zones" / zone, head + text)
    instance.start()
    return instance


def send(instance, author: str, address: str) -> int:
    text = f"From: <{author}>\r\nTo: {ALICE}\r\nSubject: x\r\nDate: Sun, 29 Nov 2026 12:00:00 +0000\r\n\r\nHello.\r\n"
    with smtplib.SMTP("127.0.0.1", instance.ports["smtp"], "host.strict.test", source_address=(address, 0)) as client:
        try:
            client.sendmail(author, [ALICE], text)
        except smtplib.SMTPDataError as error:
            return error.smtp_code
    return 250


def results(instance) -> list[Path]:
    return sorted((instance.directory / "reports").glob("*.results"))


def another_day(instance, ago: int = 1) -> str:
    """What was counted is said to be that day's."""
    instance.supervisor.down("reportd")
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400 * ago))
    for path in results(instance):
        path.rename(path.with_name(f"{day}.results"))
    instance.supervisor.up("reportd")
    return day


def reports(receiver) -> list:
    parsed = [email.message_from_bytes(message.octets, policy=email.policy.default) for message in receiver.messages]
    return [message for message in parsed if message["Subject"].startswith("Report Domain:")]


def test_a_report_goes_out(instance, receiver, tmp_path):
    assert send(instance, "a@strict.test", PERMITTED) == 250
    assert send(instance, "a@strict.test", PERMITTED) == 250
    assert send(instance, "a@strict.test", STRANGER) == 550
    assert send(instance, "a@quiet.test", STRANGER) == 250
    # Who asks for no reports isn't counted.
    wait_until(lambda: [path.read_text().count("DMARC-RESULT") for path in results(instance)] == [3], what="three results")
    day = another_day(instance)
    (message,) = wait_until(lambda: reports(receiver), what="a report")
    assert message["To"] == "dmarc@strict.test" and message["From"] == "dmarc@example.test"
    identifier = re.fullmatch(
        r"Report Domain: strict\.test Submitter: example\.test Report-ID: <(\w+)>", message["Subject"]
    ).group(1)
    (attachment,) = message.iter_attachments()
    name = attachment.get_filename()
    begin = calendar.timegm(time.strptime(day, "%Y-%m-%d"))
    match = re.fullmatch(rf"example\.test!strict\.test!(\d+)!(\d+)!{identifier}\.xml\.gz", name)
    assert (int(match.group(1)), int(match.group(2))) == (begin, begin + 86399)
    assert attachment.get_content_type() == "application/gzip"
    # The stranger's address wasn't asked for its consent in vain.
    wait_for_log(instance, "reportd", "x@stranger.test")
    check_xml(gzip.decompress(attachment.get_content()))
    (tmp_path / "report.eml").write_bytes(message.as_bytes())
    document = json.loads(martlet("report", str(tmp_path / "report.eml"), "--json"))
    assert document["organization"] == "Example & Sons" and document["domain"] == "strict.test"
    rows = {(row["source"], row["count"], row["disposition"], row["spf"]) for row in document["records"]}
    assert rows == {(PERMITTED, 2, "pass", "pass"), (STRANGER, 1, "reject", "fail")}
    summary = json.loads(martlet("summary", str(tmp_path), "--json"))
    assert summary["reports"] == 1 and summary["messages"] == 3 and summary["passed"] == 2
    assert [source["source"] for source in summary["sources"]] == [PERMITTED, STRANGER]
    assert not results(instance) and not list((instance.directory / "reports").glob("*.sent"))


def martlet(*arguments: str) -> bytes:
    done = subprocess.run([str(PROGRAMS / "martlet"), "dmarc", *arguments], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_xml(octets: bytes) -> None:
    """The elements of RFC 9990 §3.1 in their order, and values that its schema knows."""
    root = ElementTree.fromstring(octets)
    names = [child.tag.removeprefix(NAMESPACE) for child in root]
    assert root.tag == NAMESPACE + "feedback"
    assert names == ["version", "report_metadata", "policy_published"] + ["record"] * (len(names) - 3) and len(names) > 3

    def texts(element) -> dict[str, str]:
        return {child.tag.removeprefix(NAMESPACE): child.text or "" for child in element}

    metadata, policy = texts(root[1]), texts(root[2])
    assert {"org_name", "email", "report_id", "date_range"} <= metadata.keys()
    assert metadata.keys() <= {"org_name", "email", "extra_contact_info", "report_id", "date_range", "error", "generator"}
    assert policy["domain"] == "strict.test" and policy["discovery_method"] in ("psl", "treewalk")
    assert policy.keys() <= {"domain", "discovery_method", "p", "sp", "np", "fo", "adkim", "aspf", "testing"}
    for record in root.iter(NAMESPACE + "record"):
        assert [child.tag.removeprefix(NAMESPACE) for child in record] == ["row", "identifiers", "auth_results"]
        row, identifiers, found = record
        assert list(texts(row)) == ["source_ip", "count", "policy_evaluated"]
        evaluated = texts(row[2])
        assert list(evaluated)[:3] == ["disposition", "dkim", "spf"]
        assert evaluated["disposition"] in ("none", "pass", "quarantine", "reject")
        assert evaluated["dkim"] in ("pass", "fail") and evaluated["spf"] in ("pass", "fail")
        assert "header_from" in texts(identifiers)
        for sender in found.iter(NAMESPACE + "spf"):
            assert texts(sender)["scope"] == "mfrom"


def test_a_killed_reportd_sends_once(instance, receiver):
    """Killed again and again while the queue takes the reports, it neither loses one nor sends one twice."""
    before = len(reports(receiver))
    for _ in range(3):
        assert send(instance, "a@strict.test", PERMITTED) == 250
    wait_until(lambda: results(instance), what="results")
    wait_until(lambda: sum(path.read_text().count("DMARC-RESULT") for path in results(instance)) == 3, what="three results")
    another_day(instance, ago=2)
    for _ in range(2):
        former = instance.supervisor.pid("reportd")
        assert instance.supervisor.kill("reportd")
        # What is said of its readiness may be the former one's.
        wait_until(lambda former=former: instance.supervisor.pid("reportd") not in (None, former), what="another reportd")
        instance.supervisor.wait_ready(["reportd"])
    wait_until(lambda: not results(instance), what="the day's end")
    wait_until(lambda: len(reports(receiver)) > before, what="a report")
    time.sleep(0.5)
    assert len(reports(receiver)) == before + 1


def test_mail_is_taken_without_reportd(instance):
    instance.supervisor.down("reportd")
    try:
        start = time.monotonic()
        assert [send(instance, "a@strict.test", PERMITTED) for _ in range(5)] == [250] * 5
        assert time.monotonic() - start < 10
    finally:
        instance.supervisor.up("reportd")
    # smtpd kept them.
    wait_until(lambda: sum(path.read_text().count("DMARC-RESULT") for path in results(instance)) == 5, what="five results")
