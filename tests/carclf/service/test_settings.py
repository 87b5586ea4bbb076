"""Settings that make no sense are told in a sentence; keys never are."""

from __future__ import annotations

import pytest

from carclf.service.settings import API_KEY_VARIABLE, ServiceSettings, find_api_key
from detection.common.errors import UsageError


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"port": 70000}, "port"),
        ({"threshold": 1.5}, "threshold"),
        ({"max_files": 0}, "max_files"),
        ({"nonsense": 1}, "nonsense"),
        ({"max_files": 100}, "queue_length"),
        ({"max_photo_bytes": 99_000_000}, "max_photo_bytes is more than max_request_bytes"),
        ({"max_request_bytes": 10**10}, "max_waiting_bytes"),
        ({"api_key": "with space"}, "the API key must be"),
        ({"api_key": "clé"}, "the API key must be"),
        ({"api_key": ""}, "the API key must be"),
    ],
)
def test_wrong_values(values, says):
    with pytest.raises(UsageError, match=says) as caught:
        ServiceSettings.of(**values)
    message = str(caught.value)
    assert "\n" not in message and "with space" not in message and "clé" not in message


def test_the_key_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    assert find_api_key() is None
    monkeypatch.setenv(API_KEY_VARIABLE, "")
    assert find_api_key() is None
    monkeypatch.setenv(API_KEY_VARIABLE, " from-environment ")
    assert find_api_key().get_secret_value() == "from-environment"
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert find_api_key(file).get_secret_value() == "from-file"
    file.write_text("two words")
    with pytest.raises(UsageError, match="visible ASCII") as caught:
        find_api_key(file)
    assert "two words" not in str(caught.value)
    with pytest.raises(UsageError, match="can't be read"):
        find_api_key(tmp_path / "missing")
    monkeypatch.setenv(API_KEY_VARIABLE, "clé")
    with pytest.raises(UsageError, match=API_KEY_VARIABLE):
        find_api_key()


def test_secrets_are_not_shown():
    settings = ServiceSettings.of(api_key="open-sesame", broker="amqp://user:word@host")
    assert "sesame" not in repr(settings) and "word" not in repr(settings)
