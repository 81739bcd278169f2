from support.config import GOOD, SECRET, SINK


def test_without_login_neither_account_nor_password_is_needed(loaded):
    settings = loaded({"server": {"url": "http://h", "login": "none"}, "sinks": SINK})
    assert [account.username for account in settings.listening_accounts()] == ["listener"]


def test_a_password_file_is_read_anew_without_its_line_end(loaded, tmp_path):
    (tmp_path / "secret").write_text("one\r\n", encoding="utf-8")
    settings = loaded({**GOOD, "accounts": [{"username": "a", "password_file": "secret"}]})
    assert settings.accounts[0].secret(settings.base) == "one"
    (tmp_path / "secret").write_text("two", encoding="utf-8")
    assert settings.accounts[0].secret(settings.base) == "two"


def test_a_password_file_is_found_among_the_credentials_of_systemd(loaded, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "agent1").write_text("from systemd\n", encoding="utf-8")
    table = {**GOOD, "accounts": [{"username": "a", "password_file": "agent1"}]}
    settings = loaded(table, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert settings.accounts[0].secret(settings.base) == "from systemd"


def test_the_text_of_the_settings_shows_no_password(loaded):
    assert SECRET not in repr(loaded(GOOD))
