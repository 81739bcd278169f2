"""Signatures that the reference implementation of Standard Webhooks, or the public key, verifies."""

import base64
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from listener.errors import Retry
from listener.sinks.webhook.signing import SigningKeys, signature, signing_key

SYMMETRIC = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of 24 byt").decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(100, 132)))
SEED = "whsk_" + base64.b64encode(PRIVATE.private_bytes_raw()).decode()
PAIR = "whsk_" + base64.b64encode(PRIVATE.private_bytes_raw() + PRIVATE.public_key().public_bytes_raw()).decode()


def headers(secrets, body, message_id="event-1"):
    now = str(int(time.time()))
    signed = signature([signing_key(secret) for secret in secrets], message_id=message_id, timestamp=now, body=body)
    return {"webhook-id": message_id, "webhook-timestamp": now, "webhook-signature": signed}


@given(body=st.text())
def test_a_symmetric_signature_is_verified_whatever_the_body(body: str):
    for secret in (SYMMETRIC, SYMMETRIC.rstrip("=")):
        Webhook(SYMMETRIC).verify(body, headers([secret], body.encode()), json_parse=False)


@pytest.mark.parametrize("wrong", [("event-2", "{}"), ("event-1", "{} ")])
def test_a_signature_holds_for_this_id_and_this_body_only(wrong):
    message_id, body = wrong
    found = headers([SYMMETRIC], b"{}") | {"webhook-id": message_id}
    with pytest.raises(WebhookVerificationError):
        Webhook(SYMMETRIC).verify(body, found)


def test_while_secrets_are_rotated_each_of_them_verifies():
    found = headers([SYMMETRIC, SEED, OTHER], b"{}")
    for secret in (SYMMETRIC, OTHER):
        Webhook(secret).verify("{}", found)
    assert [one.partition(",")[0] for one in found["webhook-signature"].split(" ")] == ["v1", "v1a", "v1"]


@pytest.mark.parametrize("secret", [SEED, PAIR])
def test_an_asymmetric_signature_is_verified_with_the_public_key(secret):
    found = headers([secret], b"{}")
    version, _, encoded = found["webhook-signature"].partition(",")
    assert version == "v1a"
    signed = f"event-1.{found['webhook-timestamp']}.{{}}".encode()
    PRIVATE.public_key().verify(base64.b64decode(encoded, validate=True), signed)
    with pytest.raises(InvalidSignature):
        PRIVATE.public_key().verify(base64.b64decode(encoded), signed + b" ")


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("PaSsWoRd", "begin with whsec_"),
        ("whpk_" + SEED[5:], "begin with whsec_"),
        ("whsec_PaSsWoRd!", "must be base64"),
        ("whsec_" + base64.b64encode(b"PaSsWoRd").decode(), "24 to 64 bytes, this one has 8"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes, this one has 65"),
        ("whsec_", "this one has 0"),
        ("whsk_" + base64.b64encode(bytes(33)).decode(), "32 or 64 bytes, this one has 33"),
        ("whsk_" + base64.b64encode(PRIVATE.private_bytes_raw() + bytes(32)).decode(), "do not match"),
    ],
)
def test_what_is_no_signing_secret_is_told_without_it(secret, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        signing_key(secret)
    assert secret[6:] == "" or secret[6:] not in str(caught.value)


async def test_secrets_in_files_are_read_anew_and_may_be_several(tmp_path):
    path = tmp_path / "secrets"
    path.write_text(f"{SYMMETRIC}\n")
    keys = SigningKeys(secrets=[SEED], files=[path], setting="sinks.crm.signing_secret_files")
    assert len(await keys.now()) == 2
    path.write_text(f"{SYMMETRIC}\n{OTHER}\n")
    assert len(await keys.now()) == 3
    content = signature(await keys.now(), message_id="a", timestamp="1", body=b"")
    assert content.count("v1,") == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"PaSsWoRd", "begin with"), (b"PaSsWoRd\xff", "not UTF-8"), (None, "No such file")],
)
async def test_a_file_in_the_middle_of_a_rotation_is_tried_again(tmp_path, content, problem):
    path = tmp_path / "secrets"
    if content is not None:
        path.write_bytes(content)
    keys = SigningKeys(secrets=[], files=[path], setting="sinks.crm.signing_secret_files")
    with pytest.raises(Retry, match=rf"^sinks\.crm\.signing_secret_files: .*{problem}") as caught:
        await keys.now()
    assert "PaSsWoRd" not in caught.value.reason
    path.write_text(SYMMETRIC)
    assert len(await keys.now()) == 1
