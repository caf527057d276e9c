"""docs/settings.md and .env.example are generated from the settings that are read, and every example value is accepted."""

import re
from dataclasses import replace

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ops.deploy import settings_reference
from shop.settings import registry
from tests.config.test_settings import check  # noqa: F401  fixtures


def test_the_committed_files_are_up_to_date_and_every_setting_is_described():
    call_command("settings", check=True)


def test_a_setting_without_a_description_is_found(monkeypatch):
    planted = replace(
        registry["CURRENCY"], name="PLANTED", description="", line=registry["ENGINE"].line, module="shop.settings"
    )
    monkeypatch.setitem(registry, "PLANTED", planted)
    monkeypatch.setattr(settings_reference, "find_description", lambda setting: setting.description or "")
    with pytest.raises(CommandError, match=r"Not described: .*PLANTED"):
        call_command("settings", check=True)


@pytest.mark.parametrize("name", ["REFERENCE_PATH", "EXAMPLE_PATH"])
def test_an_outdated_file_is_refused_and_written(monkeypatch, tmp_path, name):
    monkeypatch.setattr(settings_reference, "REFERENCE_PATH", tmp_path / "settings.md")
    monkeypatch.setattr(settings_reference, "EXAMPLE_PATH", tmp_path / "example")
    call_command("settings", write=True)
    call_command("settings", check=True)
    file = getattr(settings_reference, name)
    file.write_text(file.read_text().replace("CURRENCY", "CURENCY"))
    with pytest.raises(CommandError, match=f"Out of date: {file.name}"):
        call_command("settings", check=True)


def test_the_shop_starts_with_every_value_of_the_example(check):  # noqa: F811
    lines = settings_reference.EXAMPLE_PATH.read_text().splitlines()
    values = dict(
        re.findall(r"^#?([A-Z][A-Z_]+)=(.+)$", line)[0] for line in lines if re.match(r"^#?[A-Z][A-Z_]+=.", line)
    )
    assert len(values) > 30
    done = check(**values)
    assert done.returncode == 0, done.stderr
    assert "config.W001" not in done.stderr


def test_secrets_are_not_written():
    text = settings_reference.render_reference() + settings_reference.render_example()
    call_keys = [key for keys in settings.CALL_KEYS.values() for key in keys]
    for secret in (settings.SECRET_KEY, settings.JWT_SIGNING_KEY, *call_keys):
        assert secret not in text
