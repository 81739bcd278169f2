import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.config.login import LoginSettings
from listener.errors import ConfigError, Problem
from listener.sinks import registry
from listener.sinks.file import FileSink
from listener.sinks.webhook import WebhookSink
from support.events import events_of

SECRET = "PaSsWoRd"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution `site-sinks` with one kind; its module has the given text."""

    def install(text, *, kind="pulsar", extras=""):
        (tmp_path / "site_sink.py").write_text(text, encoding="utf-8")
        info = tmp_path / "site_sinks-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-sinks\nVersion: 1\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(
            f"[listener.sinks]\n{kind} = site_sink:KIND {extras}\n", encoding="utf-8"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "site_sink", raising=False)

    return install


def lane(kind, **options):
    return LaneSettings(type=kind, **options)


def test_the_built_in_kinds_register_like_any_other():
    assert {"file", "stdout", "webhook"} <= set(registry.kinds())
    assert all(isinstance(point, EntryPoint) for point in registry.kinds().values())


@pytest.mark.parametrize(
    ("kind", "options"), [("file", {"path": "a"}), ("stdout", {}), ("webhook", {"url": "http://h"})]
)
def test_a_kinds_name_is_that_of_its_entry_point_and_it_can_be_built(kind, options):
    assert registry.kinds()[kind].load().name == kind
    assert registry.problems("x", lane(kind, **options)) == []
    assert registry.build("x", lane(kind, **options), base=Path())


def test_an_unknown_kind_is_told_with_the_nearest_and_the_known_ones():
    (problem,) = registry.problems("crm", lane("wehbook"))
    assert problem.path == "sinks.crm.type"
    assert problem.text.startswith("unknown kind 'wehbook', did you mean 'webhook'? (known: amqp, file, ")


def test_all_wrong_keys_are_told_at_once():
    wrong = lane("webhook", urll="x", timeout_s=0, concurency=1, bacth=1, verify="maybe")
    assert {problem.path: problem.text for problem in registry.problems("crm", wrong)} == {
        "sinks.crm.url": "is required",
        "sinks.crm.timeout_s": "should be more than 0.0",
        "sinks.crm.verify": "should be true or false",
        "sinks.crm.urll": "unknown key, did you mean 'url'?",
        "sinks.crm.concurency": "unknown key, did you mean 'concurrency'?",
        "sinks.crm.bacth": "unknown key, did you mean 'batch'?",
    }


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"url": f"http://user:{SECRET}@h"}, "sinks.crm.url"),
        ({"url": "http://h", "headers": {"X-Key": f"{SECRET}\n"}}, "sinks.crm.headers"),
        ({"url": "http://h", "headers": {"Content-Type": SECRET}}, "sinks.crm.headers"),
        ({"url": "http://h", "headers": {"X-Key": [SECRET]}}, "sinks.crm.headers.X-Key"),
        ({"url": "http://h", "bearer_token": ""}, "sinks.crm.bearer_token"),
        ({"url": "http://h", "bearer_token": SECRET, "headers": {"authorization": SECRET}}, "sinks.crm"),
        ({"url": "http://h", "bearer_token_file": "gone"}, "sinks.crm.bearer_token_file"),
        ({"url": "http://h", "ca_file": "gone"}, "sinks.crm.ca_file"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_told_without_its_secrets(options, place, tmp_path):
    (problem,) = registry.problems("crm", lane("webhook", **options), tmp_path)
    assert problem.path == place
    assert SECRET not in problem.text


@pytest.mark.parametrize("mode", ["640x", "0o640", "888", "0040", "", 640])
def test_a_file_mode_is_an_octal_number_that_lets_the_owner_read_and_write(mode):
    (problem,) = registry.problems("audit", lane("file", path="a", mode=mode))
    assert problem.path == "sinks.audit.mode"


def test_texts_of_the_environment_become_tables():
    sink = registry.build("crm", lane("webhook", url="http://h", headers='{"X-Key": "a"}'), base=Path())
    assert isinstance(sink, WebhookSink)
    assert set(sink._settings.headers) == {"X-Key"}


def test_a_kind_that_is_single_is_refused_to_each_sink_but_the_first():
    lanes = {"a": lane("stdout"), "audit": lane("file", path="a"), "b": lane("stdout"), "c": lane("stdout")}
    assert registry.problems_of_all(lanes) == [
        Problem(f"sinks.{name}.type", '"stdout" can be used once, sinks.a has it already') for name in ("b", "c")
    ]


def test_other_kinds_may_be_used_several_times():
    assert registry.problems_of_all({"a": lane("file", path="a"), "b": lane("file", path="b")}) == []


def test_the_problems_of_each_sink_are_told_once_where_a_kind_is_unknown():
    lanes = {"a": lane("stdin"), "b": lane("stdin"), "c": lane("file")}
    assert [problem.path for problem in registry.problems_of_all(lanes)] == [
        "sinks.a.type",
        "sinks.b.type",
        "sinks.c.path",
    ]


def test_building_a_wrong_sink_raises_what_is_wrong():
    with pytest.raises(ConfigError) as caught:
        registry.build("audit", lane("file"), base=Path())
    assert caught.value.problems == (Problem("sinks.audit.path", "is required"),)


def test_a_relative_path_starts_from_the_base(tmp_path):
    sink = registry.build("audit", lane("file", path="a.jsonl"), base=tmp_path)
    assert isinstance(sink, FileSink)
    assert sink._path == tmp_path / "a.jsonl"


def test_a_kind_is_imported_only_when_it_is_asked_for(plugin):
    plugin("raise RuntimeError('imported')")
    assert "pulsar" in registry.kinds()
    assert registry.problems("out", lane("stdout")) == []
    with pytest.raises(RuntimeError, match="imported"):
        registry.problems("k", lane("pulsar"))


@pytest.mark.parametrize(("extras", "extra"), [("", "pulsar"), ("[streams]", "streams")])
def test_a_missing_client_library_is_told_with_the_command_that_installs_it(plugin, extras, extra):
    plugin("import a_client_library", extras=extras)
    (problem,) = registry.problems("events", lane("pulsar"))
    assert problem.path == "sinks.events.type"
    assert f"pip install 'site-sinks[{extra}]'" in problem.text
    assert "a_client_library" in problem.text


LATE = """
from listener.config.schema import Section
from listener.sinks.registry import SinkKind

class Keys(Section):
    topic: str

def build(context, settings):
    import a_client_library

KIND = SinkKind(name="pulsar", settings=Keys, build=build, extra="streams")
"""


def test_a_library_that_is_missing_when_the_sink_is_built_is_told_in_the_same_way(plugin):
    plugin(LATE)
    with pytest.raises(ConfigError, match=r"pip install 'site-sinks\[streams\]'"):
        registry.build("events", lane("pulsar", topic="t"), base=Path())


def test_an_installed_kind_tells_its_settings_or_what_stands_in_its_way(plugin):
    plugin(LATE)
    (pulsar,) = (registry.installed(point) for name, point in registry.kinds().items() if name == "pulsar")
    assert pulsar == ("pulsar", "site_sink, site-sinks 1", (("topic", "required"),), None)
    plugin_point = EntryPoint(name="broken", value="no_such_module:KIND", group=registry.GROUP)
    assert "unknown kind 'broken'" in (registry.installed(plugin_point).problem or "")


@pytest.mark.parametrize(("text", "reason"), [("", "site_sink:KIND does not exist"), ("KIND = 1", "is not a SinkKind")])
def test_an_entry_point_that_leads_to_no_kind_is_a_problem(plugin, text, reason):
    plugin(text)
    (problem,) = registry.problems("events", lane("pulsar"))
    assert reason in problem.text


def test_a_built_in_kind_cannot_be_replaced(plugin):
    plugin("KIND = 1", kind="file")
    assert registry.kinds()["file"].value == "listener.sinks.file:KIND"


LOGIN = {"username": "a", "password": SECRET}
PLAIN = LOGIN | {"sasl_mechanism": "PLAIN"}


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("amqp", LOGIN | {"url": "amqp://mq.example.com"}, ["url: mq.example.com: amqps://"]),
        ("amqp", LOGIN | {"url": "amqps://mq.example.com"}, []),
        ("amqp", LOGIN | {"url": "amqp://[::1]"}, []),
        ("amqp", {"url": "amqp://mq.example.com"}, []),
        ("redis", LOGIN | {"url": "redis://db.example.com/0"}, ["url: db.example.com: rediss://"]),
        ("redis", LOGIN | {"url": "rediss://db.example.com/0"}, []),
        ("redis", LOGIN | {"url": "unix:///run/redis.sock"}, []),
        ("postgres", LOGIN | {"url": "postgresql://db/crm", "tls": False}, ["tls: db: tls = true"]),
        ("postgres", LOGIN | {"url": "postgresql://db/crm"}, []),
        ("postgres", LOGIN | {"url": "postgresql:///crm?host=/run", "tls": False}, []),
        ("postgres", {"username": "a", "url": "postgresql://db/crm", "tls": False}, []),
        ("kafka", PLAIN | {"bootstrap_servers": ["[::1]:1", "a:1", "b:1"]}, ["bootstrap_servers: a, b: tls = true"]),
        ("kafka", PLAIN | {"bootstrap_servers": ["a:1"], "tls": True}, []),
        ("kafka", LOGIN | {"bootstrap_servers": ["a:1"]}, []),
        ("nats", LOGIN | {"servers": ["nats://a", "nats://localhost"]}, ["servers: a: tls://"]),
        ("nats", {"servers": ["nats://a"], "token": SECRET}, ["servers: a: tls://"]),
        ("nats", {"servers": ["tls://a"], "token": SECRET}, []),
        ("nats", {"servers": ["nats://a"], "nkey_file": __file__}, []),
        ("webhook", LOGIN | {"url": "http://crm.example.com"}, ["url: crm.example.com: https://"]),
        ("syslog", {"host": "a", "tls": False}, []),
    ],
)
def test_a_login_that_may_pass_a_network_unencrypted_is_told(kind, options, told):
    texts = [one.split(": ") for one in told]
    assert registry.exposures("x", lane(kind, **options), Path()) == [
        Problem(f"sinks.x.{key}", f"the login may pass the network to {hosts} unencrypted: use {instead}")
        for key, hosts, instead in texts
    ]
    assert registry.problems("x", lane(kind, **options)) == []


def test_each_kind_of_ours_that_logs_in_says_where_it_leads_without_tls():
    settings = [point.load().settings for point in registry.kinds().values() if point.value.startswith("listener.")]
    logging_in = [one for one in settings if issubclass(one, LoginSettings)]
    assert len(logging_in) >= 6
    assert all(one.unencrypted is not LoginSettings.unencrypted for one in logging_in)


def test_a_kind_says_for_how_long_its_lanes_insist():
    assert registry.patience("crm", lane("webhook")) == (75 * 3600, 3600)
    assert registry.patience("audit", lane("file")) == (None, None)


async def test_a_sink_is_built_with_the_form_of_its_table(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    lane = LaneSettings(type="file", path=path.name, format="template", template="$sequence $disposition")
    sink = registry.build("audit", lane, base=tmp_path)
    await sink.open()
    await sink.deliver(events_of(2))
    await sink.close()
    assert path.read_bytes() == b"1 IssueResolved\n2 IssueResolved\n"


@pytest.mark.parametrize("kind", ["amqp", "kafka", "nats", "postgres", "redis"])
def test_a_missing_library_is_a_problem_of_its_sink_that_names_what_pip_finds(monkeypatch, kind):
    real = __import__

    def missing(name, scope=None, *rest):
        if scope is not None and scope.get("__name__") == f"listener.sinks.{kind}" and name.endswith(".sink"):
            raise ModuleNotFoundError("No module named 'it'")
        return real(name, scope, *rest)

    required = {"amqp": {"url": "amqp://h"}, "kafka": {"bootstrap_servers": ["h:1"], "topic": "t"}}
    required |= {"nats": {"servers": ["nats://h:1"]}, "postgres": {"url": "postgresql://h/d"}}
    required |= {"redis": {"url": "redis://h"}}
    table = LaneSettings(type=kind, **required[kind])
    assert [one for one in registry.problems("log", table) if "is required" not in one.text] == []
    monkeypatch.setattr("builtins.__import__", missing)
    (problem,) = registry.problems("log", table)
    library = {"amqp": "aio-pika", "kafka": "aiokafka", "nats": "nats-py[nkeys]", "postgres": "asyncpg"}.get(kind, kind)
    assert problem.path == "sinks.log.type"
    assert f"; run pip install '{library}>=" in problem.text
