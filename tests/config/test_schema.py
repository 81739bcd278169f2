import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, TypeAdapter, ValidationError

from listener.config.schema import (
    Folders,
    InputFile,
    SecretFile,
    Section,
    Url,
    did_you_mean,
    dotted,
    from_text,
    input_files,
    problems_of,
    secret_in,
)
from listener.errors import Problem


class Inner(Section):
    port: int = 1
    secret: SecretStr | None = None


class Outer(Section):
    inner: Inner | None = None
    rows: tuple[Inner, ...] = ()
    named: dict[str, Inner] = Field(default_factory=dict)
    file: InputFile | None = None


def problems_in(table: object, *, context: Folders | None = None, **options) -> list[Problem]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(table, context=context)
    return problems_of(caught.value, Outer, **options)


def test_a_place_is_written_with_dots_and_numbers():
    assert dotted(("accounts", 0, "password_file")) == "accounts[0].password_file"


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"inner": {"prot": 1}}, "inner.prot"),
        ({"rows": [{}, {"prot": 1}]}, "rows[1].prot"),
        ({"named": {"a": {"prot": 1}}}, "named.a.prot"),
    ],
)
def test_an_unknown_key_gets_the_nearest_key_of_its_own_table(table, place):
    assert problems_in(table) == [Problem(place, "unknown key, did you mean 'port'?")]


def test_an_unknown_key_that_is_near_to_nothing_gets_no_suggestion():
    assert problems_in({"inner": {"zzz": 1}}) == [Problem("inner.zzz", "unknown key")]


def test_keys_that_somebody_else_reads_are_suggested_and_the_prefix_stands_before_the_place():
    assert problems_in({"bacth": 1}, prefix=("sinks", "crm"), also_known=["batch"]) == [
        Problem("sinks.crm.bacth", "unknown key, did you mean 'batch'?")
    ]


@given(st.text().map(lambda text: f"\u2603 {text} \u2603"))
def test_no_problem_quotes_the_value(value):
    for table in ({"inner": {"port": value + "!"}}, {"inner": {"secret": [value]}}, {"rows": value}):
        assert all(value not in problem.text for problem in problems_in(table))


def test_a_file_is_found_beside_the_configuration_before_the_credentials(tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    folders = Folders.of(tmp_path, {"CREDENTIALS_DIRECTORY": str(credentials)})
    (credentials / "a").touch()
    assert Outer.model_validate({"file": "a"}, context=folders).file == credentials / "a"
    (tmp_path / "a").touch()
    assert Outer.model_validate({"file": "a"}, context=folders).file == tmp_path / "a"


@pytest.mark.parametrize(("name", "reason"), [("nothing", "No such file or directory"), (".", "not a file")])
def test_a_file_that_cannot_be_read_is_a_problem_that_names_the_path(tmp_path, name, reason):
    problems = problems_in({"file": name}, context=Folders(tmp_path))
    assert problems == [Problem("file", f"cannot read {tmp_path / name}: {reason}")]


@pytest.mark.parametrize("url", ["https://h", "http://h:1/a/", "http://[::1]:8080/x?y=%2B", "https://bücher.example/"])
def test_a_url_is_kept_as_it_is_written(url):
    assert TypeAdapter(Url).validate_python(url) == url


@pytest.mark.parametrize(
    "url", ["", "h", "ftp://h", "http://", "http://h:99999", "http://h/a b", "http://user:pw@h", "//h"]
)
def test_what_is_no_plain_web_address_is_refused_without_quoting_it(url):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Url).validate_python(url)
    assert "pw" not in caught.value.errors(include_input=False)[0]["msg"]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, '["a"]', '["a"]'),
        (tuple[str, ...], "a, b", ["a", "b"]),
        (tuple[str, ...], '["a,b"]', ["a,b"]),
        (tuple[str, ...], "7", ["7"]),
        (dict[str, str], '{"a": "b"}', {"a": "b"}),
        (dict[str, str], "a,b", "a,b"),
        (Inner | None, '{"port": 2}', {"port": 2}),
        (Inner, "{", "{"),
    ],
)
def test_a_text_becomes_the_list_or_table_that_is_asked_for(annotation, text, value):
    assert from_text(annotation, text) == value


def test_the_nearest_word_is_suggested_and_a_far_one_is_not():
    assert did_you_mean("wehbook", ["file", "webhook"]) == ", did you mean 'webhook'?"
    assert did_you_mean("kafka", ["file", "webhook"]) == ""


def test_the_files_that_a_table_reads_are_told_and_no_others(tmp_path):
    class Inner(Section):
        key_file: InputFile | None = None

    class Table(Section):
        path: Path
        token_file: InputFile | None = None
        ca_files: tuple[InputFile, ...] = ()
        inner: Inner = Inner()

    table = Table(path="out", token_file="token", ca_files=("a", "b"), inner=Inner(key_file="key"))
    assert list(input_files(table)) == [Path("token"), Path("a"), Path("b"), Path("key")]
    assert list(input_files(Table(path="out"))) == []


# --- secrets in files -------------------------------------------------------------------------------------------------


class WithSecret(Section):
    password_file: SecretFile | None = None


@pytest.mark.parametrize("before", [b"", b"\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\r\n\r\n"])
def test_a_secret_is_the_line_of_its_file_without_its_end_and_without_a_byte_order_mark(
    tmp_path: Path, before: bytes, after: bytes
):
    (tmp_path / "pass").write_bytes(before + b"pa55 w\xc3\xb6rd" + after)
    assert secret_in(tmp_path / "pass") == "pa55 w\u00f6rd"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("pa55word\n".encode("utf-16"), " is UTF-16, as PowerShell's > writes it: expected UTF-8"),
        ("pa55word\n".encode("utf-16-le"), ", line 1: it is not UTF-8 text"),
        (b"pa55word\n# of agent1\n", ", line 2: expected the secret alone, in one line"),
        (b"pa55word\n\nof agent1", ", line 3: expected the secret alone, in one line"),
        (b"pa55w\xf6rd\n", ", line 1: it is not UTF-8 text"),
        (b"\n", " is empty"),
        (b"", " is empty"),
    ],
)
def test_a_file_that_holds_anything_else_is_told_with_its_place_and_not_quoted(
    tmp_path: Path, content: bytes, text: str
):
    (tmp_path / "pass").write_bytes(content)
    with pytest.raises(ValueError, match=r"expected|empty|not UTF-8") as caught:
        secret_in(tmp_path / "pass")
    assert str(caught.value) == f"{tmp_path / 'pass'}{text}"
    with pytest.raises(ValidationError) as invalid:
        WithSecret.model_validate({"password_file": "pass"}, context=Folders(tmp_path))
    assert problems_of(invalid.value, WithSecret) == [Problem("password_file", f"{tmp_path / 'pass'}{text}")]


@given(content=st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_whatever_a_file_holds_a_secret_is_one_line_or_an_error(content: bytes):
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        try:
            secret = secret_in(Path(file.name))
        except ValueError:
            return
    assert secret
    assert "\n" not in secret
    assert content.removeprefix(b"\xef\xbb\xbf").strip(b"\r\n") == secret.encode()
