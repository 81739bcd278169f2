"""Accounts of a CSV file or of a folder of secrets, beside those of the configuration."""

import os
import time

import pytest

from listener.config.loading import load
from listener.errors import ConfigError
from support.config import GOOD, SECRET

BESIDE = {**GOOD, "accounts_file": "agents.csv"}
COLUMNS = "expected a line of column names, of username, password, password_file, keys, with commas between"
ALONE = {key: value for key, value in BESIDE.items() if key != "accounts"}


@pytest.fixture
def csv(tmp_path):
    """Write `agents.csv`."""
    return lambda text: (tmp_path / "agents.csv").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_accounts_of_the_file_come_after_those_of_the_configuration(loaded, csv, tmp_path):
    (tmp_path / "b.secret").write_text("from a file")
    csv('username,password,password_file,keys\na2,pw2\n"b, c",,b.secret,"Outcome; Reason"\n')
    settings = loaded(BESIDE)
    assert [account.username for account in settings.listening_accounts()] == ["agent1", "a2", "b, c"]
    one, two, three = settings.accounts
    assert [account.secret(settings.base) for account in (one, two, three)] == [SECRET, "pw2", "from a file"]
    assert [settings.keys_of(account) for account in (one, three)] == [("DispositionCode",), ("Outcome", "Reason")]


def test_each_account_has_a_mark_by_which_it_is_found_and_that_names_nobody(loaded, csv, tmp_path):
    csv("username,password\n# a comment\nalice,x\n\nbob,x\n")
    supervisors = [{"username": "carol", "password": "x", "monitor": ["dave"]}]
    of_lines = ("accounts_file line 3", "accounts_file line 5")
    assert loaded({**BESIDE, "supervisors": supervisors}).marks() == ("accounts[0]", *of_lines, "supervisors[0]")
    (tmp_path / "agents").mkdir()
    for name in ("bob", "alice"):
        (tmp_path / "agents" / name).write_text("x")
    of_files = ("accounts_file entry 1", "accounts_file entry 2")
    assert loaded({**BESIDE, "accounts_file": "agents"}).marks() == ("accounts[0]", *of_files)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfusername,password\r\na,x\r\n\r\n# b,y\r\nc,z",
        "# the team\n\npassword , username\nx,a\n \n#\nz,  c \n",
        'username,password,keys\n"a","x",""\n"c","z",',
    ],
)
def test_byte_order_marks_ends_of_lines_comments_and_quotes_are_as_spreadsheets_and_people_write_them(
    loaded, csv, text
):
    csv(text)
    settings = loaded(ALONE)
    assert [(account.username, account.secret(settings.base)) for account in settings.accounts] == [
        ("a", "x"),
        ("c", "z"),
    ]


@pytest.mark.parametrize(
    "password", ["#x", " two spaces ", 'quote"d', "comma,", "\u2028", "пароль", "$HOME", "${HOME}"]
)
def test_a_password_is_what_stands_in_its_cell(loaded, csv, password):
    cell = '"' + password.replace('"', '""') + '"'
    csv(f"username,password\na,{cell}\n")
    assert loaded(ALONE).accounts[0].secret(None) == password


def test_all_problems_of_the_file_are_told_at_once_with_line_and_column_and_no_password(problems, csv):
    csv(
        "username,password,password_file,keys\n"
        f"a,{SECRET}\n"
        f"agent1,{SECRET}\n"
        f"a,{SECRET}\n"
        f",{SECRET}\n"
        f"b,{SECRET},both.secret\n"
        "c\n"
        f'd,"{SECRET}\n'
        f"e,{SECRET},,,,\n"
        "f,,gone.secret\n"
        f'g,{SECRET},,"a;;b"\n'
    )
    found = problems(BESIDE)
    assert found == {
        "agents.csv:3: username": "'agent1' is given more than once, first at accounts[0]",
        "agents.csv:4: username": "'a' is given more than once, first at agents.csv:2",
        "agents.csv:5: username": "is required",
        "agents.csv:6: password_file": found["agents.csv:6: password_file"],
        "agents.csv:7: password": "a password or password_file is required: a line has a comma between its cells",
        "agents.csv:8": 'its quotes are not in order: a cell is "…", a quote in it ""',
        "agents.csv:9": "has 6 cells, and there are 4 columns: quote a cell that holds a comma",
        "agents.csv:10: password_file": found["agents.csv:10: password_file"],
        "agents.csv:11: keys[1]": found["agents.csv:11: keys[1]"],
    }


@pytest.mark.parametrize(
    ("header", "place", "text"),
    [
        ("user,password", "agents.csv:1", "there is no column username: expected a line of column names"),
        ("username;password", "agents.csv:1", f"there is no column username: {COLUMNS}; semicolons were found"),
        ("", "agents.csv:2", "there is no column username"),
        ("\n#\nusername,pasword", "agents.csv:3", "column 2 is none of username, password, password_file, keys, did"),
        ("username,password,password", "agents.csv:1", "column password is there twice"),
    ],
)
def test_a_file_needs_the_names_of_its_columns(problems, csv, header, place, text):
    csv(f"{header}\na,{SECRET}\n")
    assert problems(BESIDE)[place].startswith(text)
    assert problems(ALONE).keys() == {place}, "whether there is an account nobody knows"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "cannot read {}: No such file or directory"),
        ("username,password\na,x".encode("utf-16"), "{} is UTF-16, as PowerShell's > writes it: expected UTF-8"),
        (b"username,password\na,\xff", "{}, line 2: it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_of_its_setting(problems, csv, tmp_path, content, text):
    if content is not None:
        csv(content)
    assert problems(BESIDE)["accounts_file"] == text.format(tmp_path / "agents.csv")


def test_what_is_no_file_is_told_and_not_waited_for(problems, tmp_path):
    os.mkfifo(tmp_path / "agents.csv")
    assert problems(BESIDE)["accounts_file"] == f"cannot read {tmp_path}/agents.csv: not a file"


def test_a_folder_has_a_file_for_each_password_as_kubernetes_mounts_a_secret(loaded, problems, tmp_path):
    mounted = tmp_path / "agents"
    data = mounted / "..2026_11_29"
    data.mkdir(parents=True)
    for name in ("agent2", "anna.b"):
        (data / name).write_text(f"of {name}\n")
        (mounted / name).symlink_to(f"..data/{name}")
    (mounted / "..data").symlink_to(data.name)
    (mounted / ".hidden").write_text("x")
    table = {**GOOD, "accounts_file": "agents"}
    settings = loaded(table)
    assert [(account.username, account.secret(settings.base)) for account in settings.accounts[1:]] == [
        ("agent2", "of agent2"),
        ("anna.b", "of anna.b"),
    ]
    (mounted / "agent1").write_text("once more")
    (data / "anna.b").write_text("")
    assert problems(table) == {
        "agents/agent1: username": "'agent1' is given more than once, first at accounts[0]",
        "agents/anna.b: password_file": f"{mounted}/anna.b is empty",
    }


def test_the_file_is_looked_for_among_the_credentials_of_systemd_too(tmp_path, csv, loaded):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "agents.csv").write_text("username,password\na,x\n")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert [account.username for account in loaded(ALONE, environ).accounts] == ["a"]


def test_a_variable_can_name_the_file(loaded, csv):
    csv("username,password\na,x\n")
    settings = loaded(GOOD, {"LISTENER_ACCOUNTS_FILE": "agents.csv", "LISTENER_ACCOUNTS__0__USERNAME": "first"})
    assert [account.username for account in settings.accounts] == ["first", "a"]


def test_five_thousand_accounts_are_read_in_a_moment(tmp_path, csv, loaded):
    csv("username,password\n" + "".join(f"agent{number},pw{number}\n" for number in range(2, 5002)))
    began_s = time.process_time()
    assert len(loaded(BESIDE).accounts) == 5001
    assert time.process_time() - began_s < 2


def test_no_problem_of_a_large_file_that_is_something_else_quotes_it(tmp_path):
    (tmp_path / "agents.csv").write_text(f"{SECRET}\n" * 100)
    (tmp_path / "listener.toml").write_text('accounts_file = "agents.csv"\n')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "listener.toml", environ={})
    assert SECRET not in str(caught.value)
