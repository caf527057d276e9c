"""The rules of ruff refuse code that opens the usual holes, and no file of the product is exempt from them.

They look at the call alone. What they cannot see (a shell inside of another program, SQL put together from input) is tested
from outside, with hostile requests: tests/fuzz/.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.documents import ROOT

PRODUCT = ("config", "contexts", "ops", "shop")
RUFF = Path(sys.executable).with_name("ruff")
WEAKNESSES = {
    "S102 exec": "exec(text)",
    "S307 eval": "eval(text)",
    "S602 a shell": "import subprocess\nsubprocess.run(text, shell=True)",
    "S605 os.system": "import os\nos.system(text)",
    "S301 pickle": "import pickle\npickle.loads(text)",
    "S302 marshal": "import marshal\nmarshal.loads(text)",
    "S506 yaml.load": "import yaml\nyaml.load(text)",
    "S314 XML": "from xml.etree import ElementTree\nElementTree.fromstring(text)",
    "S308 mark_safe": "from django.utils.safestring import mark_safe\nmark_safe(text)",
    "S701 templates without escapes": "import jinja2\njinja2.Environment(autoescape=False)",
    "S611 SQL from outside": "from django.db.models.expressions import RawSQL\nRawSQL(text, ())",
    "S324 MD5": "import hashlib\nhashlib.md5(text)",
    "S324 SHA-1": "import hashlib\nhashlib.sha1(text)",
    "S323 any certificate": "import ssl\nssl._create_unverified_context()",
    "S501 no certificate": "import requests\nrequests.get(text, verify=False, timeout=1)",
    "S502 an old TLS": "import ssl\nssl.wrap_socket(ssl_version=ssl.PROTOCOL_SSLv3)",
    "S113 no timeout": "import requests\nrequests.get(text)",
    "S108 a guessable file": 'open("/tmp/name")',
}
# Each is explained where it stands.
EXCEPTIONS = {
    "shop/process_variables.py": ["S104"],
    "ops/launch/serve.py": ["S104"],
    "ops/peel/configuration.py": ["S104"],
    "shop/db/text_search.py": ["S611", "S611"],
    "contexts/inventory/service/catalogue.py": ["S611"],
}


def check(code: str) -> str:
    command = [RUFF, "check", "--output-format=concise", "--stdin-filename", "shop/planted.py", "-"]
    done = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True, check=False)
    return done.stdout


def find_exceptions() -> dict[str, list[str]]:
    """Return the security rules that lines of the product switch off, by file."""
    files = [file for folder in PRODUCT for file in (ROOT / folder).rglob("*.py")]
    found = {file: re.findall(r"# noqa:.*?\b(S\d{3})\b", file.read_text()) for file in files}
    return {str(file.relative_to(ROOT)): rules for file, rules in found.items() if rules}


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_a_planted_weakness_is_found(weakness):
    found = check(f'"""Planted."""\n\ntext = input()\n{WEAKNESSES[weakness]}\n')
    assert f" {weakness.split()[0]} " in found, found


def test_no_line_of_the_product_is_exempt_without_a_reason():
    assert find_exceptions() == EXCEPTIONS


def test_no_file_is_exempt_from_all_rules():
    exempt = [f for folder in PRODUCT for f in (ROOT / folder).rglob("*.py") if "ruff: noqa" in f.read_text()]
    assert exempt == []
