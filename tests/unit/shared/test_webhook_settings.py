from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from shared.domain.task import TaskStatus, Webhook
from shared.domain.webhooks import StandingEndpoint
from shared.settings import SharedSettings, read_settings
from shared.webhook_settings import WebhookSettings
from tests.endpoints import NEW_SECRET, SECRET
from worker_service.settings import WorkerSettings

if TYPE_CHECKING:
    from pathlib import Path


def settings(**variables: str) -> WebhookSettings:
    return WebhookSettings.model_validate({f"TASKCAST_{name}": value for name, value in variables.items()})


def worker(**variables: str) -> WorkerSettings:
    return WorkerSettings.model_validate(variables)


def test_several_secrets_are_separated_by_commas() -> None:
    secrets = settings(WEBHOOK_SECRET=f"{NEW_SECRET}, {SECRET}").read_webhook_secrets()
    assert secrets.of("anyone", "example.org") == (NEW_SECRET, SECRET)
    assert settings().read_webhook_secrets().of("anyone", "example.org") == ()


@pytest.mark.parametrize("secret", ["plain-text", "whsec_c2hvcnQ=", "whsec_%%%%", "whsec_" + "A" * 100])
def test_a_bad_secret_is_refused_and_not_shown(
    secret: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASKCAST_WEBHOOK_SECRET", secret)
    with pytest.raises(SystemExit):
        read_settings(SharedSettings)
    said = capsys.readouterr().err
    assert "TASKCAST_WEBHOOK_SECRET is not usable" in said
    assert secret not in said


def test_settings_that_are_printed_do_not_show_the_secret() -> None:
    assert SECRET not in repr(settings(WEBHOOK_SECRET=SECRET))


def test_the_most_particular_secret_signs(tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    each = [f"whsec_{letter * 32}" for letter in "ABCD"]
    file.write_text(
        f'[acme]\n"hooks.example.org" = ["{each[0]}", "{SECRET}"]\n"*" = "{each[1]}"\n'
        f'["*"]\n"other.org" = "{each[2]}"\n'
    )
    secrets = settings(WEBHOOK_SECRETS_FILE=str(file), WEBHOOK_SECRET=each[3]).read_webhook_secrets()
    assert secrets.of("acme", "hooks.example.org") == (each[0], SECRET)
    assert secrets.of("acme", "other.org") == (each[1],)
    assert secrets.of("beta", "other.org") == (each[2],)
    assert secrets.of("beta", "hooks.example.org") == (each[3],)


def test_standing_endpoints_are_read_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(
        '[audit]\nurl = "https://audit.example/hook"\nstatuses = ["SUCCESS", "ERROR"]\ntypes = ["a", "b"]\n'
        'labels = { team = "red" }\nheaders = { X-Key = "k" }\n[all]\nurl = "http://127.0.0.1:9000/"\n'
    )
    assert settings(WEBHOOKS_FILE=str(file)).read_standing_endpoints() == (
        StandingEndpoint(
            name="audit",
            hook=Webhook(
                url="https://audit.example/hook",
                statuses=(TaskStatus.SUCCESS, TaskStatus.ERROR),
                headers={"X-Key": "k"},
            ),
            types=frozenset({"a", "b"}),
            labels={"team": "red"},
        ),
        StandingEndpoint(name="all", hook=Webhook(url="http://127.0.0.1:9000/")),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("url = ", "no TOML"),
        ('[Audit]\nurl = "http://a/"', "no name"),
        ("[audit]", "no table with a url"),
        ('audit = "http://a/"', "no table with a url"),
        ('[audit]\nurl = "ftp://a/"', "audit.url"),
        ('[audit]\nurl = "http://a/"\nstatus = ["SUCCESS"]', "status"),
        ('[audit]\nurl = "http://a/"\nstatuses = ["DONE"]', "DONE"),
        ('[audit]\nurl = "http://a/"\ntypes = "a"', "audit.types"),
        ('[audit]\nurl = "http://a/"\nlabels = { a = 1 }', "audit.labels"),
        ('[audit]\nurl = "http://a/"\nheaders = { host = "b" }', "headers"),
    ],
)
def test_a_bad_file_is_refused_with_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=says):
        settings(WEBHOOKS_FILE=str(file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('acme = "whsec_x"', "no table of hosts"),
        ('[acme]\n"h" = 5', "neither a secret nor a list"),
        ('[acme]\n"h" = "whsec_c2hvcnQ="', "acme.h: a secret is"),
    ],
)
def test_a_bad_file_of_secrets_is_refused_with_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=says):
        settings(WEBHOOK_SECRETS_FILE=str(file))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="cannot be read"):
        settings(WEBHOOK_SECRETS_FILE=str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_ALLOW", "10.0.0.0/33"),
        ("WEBHOOK_ALLOW", "example.org"),
        ("WEBHOOK_PORTS", ""),
        ("WEBHOOK_PORTS", "443,http"),
        ("WEBHOOK_PORTS", "443-80"),
        ("WEBHOOK_PORTS", "0"),
        ("WEBHOOK_PORTS", "65536"),
        ("WEBHOOK_PORTS", "-80"),
    ],
)
def test_bad_networks_and_ports_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        settings(**{name: value})


def test_networks_and_ports_say_where_webhooks_may_go() -> None:
    reach = settings(WEBHOOK_ALLOW="10.0.0.0/8, ::1/128", WEBHOOK_PORTS="443, 8000-8999").reach
    assert [
        reach.objection(url) is None for url in ("https://10.1.2.3/", "http://[::1]:8080/", "http://10.1.2.3/")
    ] == [
        True,
        True,
        False,
    ]


def test_the_schedule_is_a_list_of_seconds() -> None:
    assert worker(TASKCAST_WEBHOOK_RETRY_SECONDS="0.5, 30,").webhook_schedule == (500, 30_000)
    assert len(worker().webhook_schedule) == 8
    for bad in ("soon", "-1", "1e9"):
        with pytest.raises(ValidationError):
            worker(TASKCAST_WEBHOOK_RETRY_SECONDS=bad)
