"""What is sent is signed as Standard Webhooks says, and is a CloudEvent 1.0."""

import base64
import json
from pathlib import Path

import pytest

from tallystick import Fleet
from tallystick.actors.runtime.clock import ManualClock
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, to_mapping
from tallystick.config.outgoing import NoSecret, secret_at
from tallystick.webhooks.cloudevents import body_of, source_of
from tallystick.webhooks.signing import keys_of, signed
from tests.support.core import START

SPEC_SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""From the examples of Standard Webhooks' own libraries."""


def test_a_signature_is_the_one_that_the_standards_own_example_has() -> None:
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', keys_of(SPEC_SECRET))
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_text_with_spaces_is_one_key() -> None:
    assert keys_of(b"a text of the receiver") == [b"a text of the receiver"]


def test_while_a_secret_replaces_another_both_sign() -> None:
    old, new = base64.b64encode(b"o" * 24), base64.b64encode(b"n" * 24)
    both = signed("m", 1, b"{}", keys_of(b"whsec_%b whsec_%b" % (new, old)))["webhook-signature"]
    alone = [signed("m", 1, b"{}", [key * 24])["webhook-signature"] for key in (b"n", b"o")]
    assert both == " ".join(alone)


@pytest.mark.parametrize("secret", [b"whsec_no base64!", b"whsec_", b"short", b"whsec_%b" % base64.b64encode(b"short")])
def test_a_secret_that_protects_nothing_is_refused_without_showing_it(secret: bytes) -> None:
    with pytest.raises(NoSecret) as caught:
        keys_of(secret)
    assert "short" not in str(caught.value)
    assert "base64!" not in str(caught.value)


def test_a_secret_is_read_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    assert secret_at(f"file:{tmp_path}/secret", {}) == b"from a file"
    assert secret_at("${TALLYSTICK_S}", {"TALLYSTICK_S": "from a variable"}) == b"from a variable"
    wrong = (
        (f"file:{tmp_path}/none", "cannot be read"),
        (f"file:{tmp_path}", "is no file"),
        ("${TALLYSTICK_S}", "not set"),
    )
    for place, why in wrong:
        with pytest.raises(NoSecret, match=why):
            secret_at(place, {})
    with pytest.raises(NoSecret, match="is empty"):
        secret_at("${TALLYSTICK_S}", {"TALLYSTICK_S": " \n"})


HOOK = {"url": "https://example.com/hook", "secret": "file:/run/secret"}


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("secret", "${HOME}"),
        ("url", "ftp://example.com/"),
        ("url", "https://"),
        ("url", "https://user:pass@example.com/"),
        ("url", "https://example.com/${HOME}"),
        ("url", "https://[::1"),
        ("batch_max", 0),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(key: str, wrong: object) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping({"webhooks": {"audit": {**HOOK, key: wrong}}})
    assert str(caught.value).startswith(f"webhooks.audit.{key}")
    assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in str(caught.value)


def test_there_are_few_webhooks_as_each_has_a_thread() -> None:
    from_mapping({"webhooks": {f"n-{n}": HOOK for n in range(16)}})
    with pytest.raises(ConfigError, match=r"^webhooks: found a map, allowed is a map of at most 16 webhooks"):
        from_mapping({"webhooks": {f"n-{n}": HOOK for n in range(17)}})


LINKS = {"public_url": "https://budget.example.com", "key": "file:/run/key"}


@pytest.mark.parametrize(
    ("changed", "at", "allowed"),
    [
        ({"may_loosen": ["ops"]}, "may_loosen[0]", "a name under notifications (ceo)"),
        ({"key": "the key itself"}, "key", "where the secret is"),
        ({"public_url": "budget.example.com"}, "public_url", "the address of the server as people reach it"),
        ({"public_url": "https://h/?q"}, "public_url", "the address of the server"),
        ({"public_url": "javascript:alert(1)"}, "public_url", "the address of the server"),
        ({"raise_percent": 0}, "raise_percent", "a whole number from 1 to 1000"),
    ],
)
def test_links_that_cannot_be_are_refused_by_their_names(changed: dict[str, object], at: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping({"approval_links": {**LINKS, **changed}})
    assert str(caught.value).startswith(f"approval_links.{at}: found ")
    assert allowed in str(caught.value)
    assert "the key itself" not in str(caught.value)


def test_what_the_log_keeps_of_a_webhook_is_read_again() -> None:
    config = from_mapping({"webhooks": {"audit": {**HOOK, "kinds": ["alert-raised"], "batch_max": 1}}})
    assert from_mapping(to_mapping(config)) == config
    assert "webhooks" not in to_mapping(from_mapping({}))


def test_each_record_is_a_cloud_event_whose_data_is_the_record_as_stored() -> None:
    with Fleet.open("memory:", clock=ManualClock(START)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        records = list(fleet.store.read())
    events = json.loads(body_of(records, source_of("f" * 32), batch=True))
    assert [event["data"] for event in events] == [json.loads(record.data) for record in records]
    assert len({event["id"] for event in events}) == len(events)
    last = events[-1]
    assert {name: last[name] for name in last if name not in ("data", "id")} == {
        "specversion": "1.0",
        "source": f"urn:tallystick:fleet:{'f' * 32}",
        "type": f"tallystick.{records[-1].name}",
        "time": last["data"]["at"],
        "datacontenttype": "application/json",
        "sequence": f"{records[-1].position:020d}",
        "subject": "a",
        "partitionkey": "a",
    }
    assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)


def test_an_independent_parser_reads_each_as_a_cloud_event() -> None:
    formats = pytest.importorskip("cloudevents.core.formats.json", reason="the package cloudevents is not installed")
    kinds = pytest.importorskip("cloudevents.core.v1.event")
    with Fleet.open("memory:", clock=ManualClock(START)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        records = list(fleet.store.read())
    for record in records:
        event = formats.JSONFormat().read(kinds.CloudEvent, body_of([record], source_of("f"), batch=False))
        assert event.get_extension("sequence") == f"{record.position:020d}"
        assert event.get_data() == json.loads(record.data)
