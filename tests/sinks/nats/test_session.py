import asyncio
import base64
import json
import os

import nats
import nkeys
import pytest

from listener.errors import Park, Retry, StartError
from listener.sinks.nats.session import ApiError, Message, Session
from support.authority import Authority
from support.events import disposition_event
from support.eventually import eventually
from support.faultproxy import FaultProxy
from support.natsserver import SUBJECT

PASSWORD = "s3cret-of-the-bus"
USERS = f'authorization {{ users: [ {{ user: agent, password: "{PASSWORD}" }} ] }}'


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def new_key(kind):
    """A seed of this kind, and its public half."""
    seed = nkeys.encode_seed(os.urandom(32), kind)
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


def jwt(issuer_seed, claims):
    """A token as `nsc` makes it (nats-io/jwt version 2)."""
    issuer = nkeys.from_seed(bytearray(issuer_seed.encode()))
    whole = {"iat": 0, "jti": "x", "iss": issuer.public_key.decode(), **claims}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (_HEADER, whole)]
    signature = base64.urlsafe_b64encode(issuer.sign(b".".join(parts))).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


_ACCOUNT = {"type": "account", "version": 2}
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_NO_LIMITS = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1}
_STREAMS = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


async def test_a_user_and_a_password_are_enough_and_a_wrong_one_needs_a_person(start_nats, sink_to, tmp_path):
    server = start_nats(USERS)
    await server.make_stream({"user": "agent", "password": PASSWORD})
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    sink = sink_to(server, username="agent", password_file=str(tmp_path / "password"))
    await sink.open()
    await sink.deliver([disposition_event(1)])
    (tmp_path / "password").write_text("wrong-" + PASSWORD, encoding="utf-8")
    for wrong in (sink, sink_to(server)):
        with pytest.raises(Park, match=r"refuses our credentials: nats: 'Authorization Violation'") as caught:
            await wrong.check()
        assert PASSWORD not in str(caught.value)


async def test_a_token_is_enough(start_nats, sink_to):
    server = start_nats(f'authorization {{ token: "{PASSWORD}" }}')
    await server.make_stream({"token": PASSWORD})
    await sink_to(server, token=PASSWORD).check()
    with pytest.raises(Park, match="refuses our credentials"):
        await sink_to(server, token="another").check()


async def test_an_nkey_signs_the_login(start_nats, sink_to, tmp_path):
    seed, public = new_key(nkeys.PREFIX_BYTE_USER)
    server = start_nats(f"authorization {{ users: [ {{ nkey: {public} }} ] }}")
    await server.make_stream({"nkeys_seed_str": seed})
    (tmp_path / "user.nk").write_text(seed, encoding="utf-8")
    await sink_to(server, nkey_file=str(tmp_path / "user.nk")).check()


async def test_a_file_of_credentials_signs_the_login(start_nats, sink_to, tmp_path):
    operator_seed, operator = new_key(nkeys.PREFIX_BYTE_OPERATOR)
    account_seed, account = new_key(nkeys.PREFIX_BYTE_ACCOUNT)
    _, system = new_key(nkeys.PREFIX_BYTE_ACCOUNT)
    user_seed, user = new_key(nkeys.PREFIX_BYTE_USER)
    own = jwt(operator_seed, {"sub": operator, "name": "o", "nats": {"type": "operator", "version": 2}})
    limits = {account: {**_NO_LIMITS, **_STREAMS}, system: _NO_LIMITS}
    accounts = [
        f"{key}: {jwt(operator_seed, {'sub': key, 'name': key, 'nats': {**_ACCOUNT, 'limits': has}})}"
        for key, has in limits.items()
    ]
    resolver = f"resolver: MEMORY\nresolver_preload: {{ {', '.join(accounts)} }}"
    server = start_nats(f"operator: {own}\nsystem_account: {system}\n{resolver}")
    claims = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
    token = jwt(account_seed, {"sub": user, "name": "u", "nats": claims})
    file = tmp_path / "user.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user_seed}\n------END USER NKEY SEED------\n",
        encoding="utf-8",
    )
    await server.make_stream({"user_credentials": str(file)})
    await sink_to(server, credentials_file=str(file)).check()


async def test_a_refusal_to_subscribe_is_waited_for_however_late_it_comes(server, sink_to):
    async def refuse_late(reader, writer):
        writer.write(b'INFO {"server_id":"x","version":"2.10.0","proto":1,"max_payload":1048576,"headers":true}\r\n')
        async for line in reader:
            if line.startswith(b"SUB"):
                await asyncio.sleep(0.1)
                writer.write(b"-ERR 'Permissions Violation for Subscription to \"_INBOX\"'\r\n")
            elif line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    late = await asyncio.start_server(refuse_late, "127.0.0.1", 0)
    async with late:
        port = late.sockets[0].getsockname()[1]
        with pytest.raises(Park, match="permissions violation for subscription"):
            await sink_to(server, servers=[f"nats://127.0.0.1:{port}"]).check()


@pytest.mark.parametrize("setting", ["nkey_file", "credentials_file"])
@pytest.mark.parametrize("content", ["s3cret", "-----BEGIN NATS USER JWT-----\ncut off"])
async def test_a_file_that_holds_no_key_is_told_with_its_setting_and_without_what_it_holds(
    server, sink_to, tmp_path, setting, content
):
    """The client would read on for ever in some of them."""
    (tmp_path / "file").write_text(content, encoding="utf-8")
    with pytest.raises(Retry, match=f"^sinks.bus.{setting}: does not hold") as caught:
        await sink_to(server, **{setting: str(tmp_path / "file")}).check()
    assert content not in str(caught.value)


def tls_block(authority, *, verify=False):
    pem = authority.issue("server")
    files = f'cert_file: "{pem}", key_file: "{pem}", ca_file: "{authority.ca_file}"'
    return f"tls {{ {files}, verify: {str(verify).lower()} }}"


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_with_tls_is_verified(start_nats, sink_to, authority, scheme):
    server = start_nats(tls_block(authority))
    to = {"servers": [f"{scheme}://127.0.0.1:{server.port}"]}
    sink = sink_to(server, **to, ca_file=str(authority.ca_file), create_stream=True)
    await sink.open()
    await sink.deliver([disposition_event(1)])
    with pytest.raises(Retry, match="CERTIFICATE_VERIFY_FAILED"):
        await sink_to(server, **to).check()
    await sink_to(server, **to, verify=False).check()


async def test_a_client_shows_its_certificate(start_nats, sink_to, authority):
    server = start_nats(tls_block(authority, verify=True))
    to = {"servers": [f"tls://127.0.0.1:{server.port}"], "ca_file": str(authority.ca_file), "create_stream": True}
    await sink_to(server, **to, client_cert_file=str(authority.issue("client"))).check()
    with pytest.raises(Retry):
        await sink_to(server, **to).check()


async def test_nothing_is_sent_to_a_server_that_offers_no_tls_where_it_is_a_must(start_nats, sink_to):
    """Neither the password nor an event: somebody in between may have taken the offer away."""
    server = start_nats(f"{USERS}\nno_auth_user: nobody".replace("users: [", "users: [ { user: nobody, password: x },"))
    async with FaultProxy(server.port) as link:
        heard = []
        carried = link._pass

        async def overhear(data, writer, *, answer):
            heard.append(b"" if answer else data)
            await carried(data, writer, answer=answer)

        link._pass = overhear
        for login in ({"username": "agent", "password": PASSWORD}, {}):
            with pytest.raises(Park, match="tls:// is required but not offered"):
                await sink_to(server, servers=[f"tls://127.0.0.1:{link.port}"], **login).check()
    assert PASSWORD.encode() not in b"".join(heard)


async def test_a_certificate_that_cannot_be_used_is_the_hosts_matter(server, sink_to, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(StartError, match=r"sinks\.bus\.ca_file"):
        await sink_to(server, ca_file=str(tmp_path / "ca.pem")).open()


async def test_the_size_of_a_message_is_what_the_server_counts(server):
    """One byte more, and the server hangs up."""
    await server.make_stream()
    ended = []

    async def note(*_):
        ended.append(True)

    client = await nats.connect(server.address, allow_reconnect=False, closed_cb=note, error_cb=note)
    headers = {"Nats-Msg-Id": "größer", "Content-Type": "application/json"}
    room = client.max_payload - Message(headers, b"").size
    await client.publish(SUBJECT, b"x" * room, headers=headers)
    await client.flush()
    assert not ended
    await client.publish(SUBJECT, b"x" * (room + 1), headers=headers)
    await eventually(lambda: ended)
    await client.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ApiError(code=404, err_code=10059, description="stream not found"), Park),
        (ApiError(code=400, err_code=10060, description="expected stream does not match"), Park),
        (ApiError(code=503, err_code=10077, description="maximum bytes exceeded"), Retry),
        (ApiError(code=503), Retry),
    ],
)
def test_an_error_of_the_stream_api_passes_or_needs_a_person(error, kind):
    outcome = error.outcome("stream S")
    assert isinstance(outcome, kind)
    assert str(outcome).startswith("stream S: ")


async def test_a_session_that_never_connected_can_be_closed():
    await Session(timeout_s=1).close()
