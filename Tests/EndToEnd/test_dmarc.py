"""`martlet dmarc` with records from a master file, and with reports as others write them."""

import gzip
import json
import subprocess
import zipfile

import pytest
from instance import PROGRAMS

ZONE = """
$TTL 300
_dmarc.example.test. TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:a@example.test,mailto:b@other.test"
www.example.test. A 192.0.2.1
"""

REPORT = """<?xml version="1.0"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
  <report_metadata><org_name>A &amp; B\x1b</org_name><email>a@b.test</email><report_id>7</report_id>
    <date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>
  <policy_published><domain>example.test</domain><p>reject</p></policy_published>
  <record><row><source_ip>192.0.2.1</source_ip><count>2</count>
    <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>example.test</header_from></identifiers></record>
  <record><row><source_ip>203.0.113.9</source_ip><count>40</count>
    <policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>example.test</header_from></identifiers></record>
</feedback>
"""


def martlet(*arguments, **options) -> subprocess.CompletedProcess:
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([str(PROGRAMS / "martlet"), "dmarc", *arguments], capture_output=True, timeout=60, **options)


@pytest.mark.parametrize(
    ("domain", "tag", "disposition"),
    [("example.test", "p", "reject"), ("www.example.test", "sp", "quarantine")],
)
def test_show(tmp_path, domain, tag, disposition):
    (tmp_path / "zone").write_text(ZONE)
    done = martlet("show", domain, "--zone", str(tmp_path / "zone"), "--json")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert (shown["tag"], shown["disposition"]) == (tag, disposition)
    assert shown["policyDomain"] == "example.test."
    assert [destination["accepted"] for destination in shown["destinations"]] == [True, False]
    assert b"not to mailto:b@other.test" in martlet("show", domain, "--zone", str(tmp_path / "zone")).stdout


def test_show_without_a_record(tmp_path):
    (tmp_path / "zone").write_text(ZONE)
    assert martlet("show", "other.test", "--zone", str(tmp_path / "zone")).returncode == 1


@pytest.mark.parametrize("packing", ["xml", "gz", "zip"])
def test_report(tmp_path, packing):
    path = tmp_path / f"report.{packing}"
    if packing == "xml":
        path.write_text(REPORT)
    elif packing == "gz":
        path.write_bytes(gzip.compress(REPORT.encode()))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("b.test!example.test!1700000000!1700086399.xml", REPORT)
    done = martlet("report", str(path), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["messages"], report["passed"]) == (42, 2)
    assert [record["source"] for record in report["records"]] == ["203.0.113.9", "192.0.2.1"]
    text = martlet("report", str(path)).stdout.decode()
    assert "A & B" in text and "\x1b" not in text


def test_a_report_on_standard_input():
    done = martlet("report", "-", stdin=None, input=REPORT.encode())
    assert done.returncode == 0 and b"messages: 42" in done.stdout


NO_REPORTS = {
    "empty": b"",
    "nonsense": b"nonsense",
    "gzip without content": b"\x1f\x8b",
    "cut off": b"<feedback>",
    "bomb": gzip.compress(b" " * (80 << 20)),
}


@pytest.mark.parametrize("content", NO_REPORTS.values(), ids=NO_REPORTS)
def test_what_is_no_report(tmp_path, content):
    (tmp_path / "report").write_bytes(content)
    done = martlet("report", str(tmp_path / "report"))
    assert done.returncode not in (0, -4, -5, -6, -11)
    assert b"not a report that can be read: " in done.stderr and b"AuthReports" not in done.stderr
