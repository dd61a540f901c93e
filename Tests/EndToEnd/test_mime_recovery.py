"""Messages as people really send them: what `martlet mime` and imapd make of broken ones."""

import base64
import gzip
import io
import json
import subprocess
import zipfile

import pytest

from conftest import MARTLET

DATE = b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"


def run(*arguments, message=None, code=0):
    done = subprocess.run([MARTLET, *arguments], input=message, capture_output=True, timeout=60)
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def mime(command, message, *options, code=0):
    return run("mime", command, "-", *options, message=message, code=code).decode()


def defects(message):
    return {finding["defect"]["name"] for finding in json.loads(mime("check", message, "--json", code=None))}
