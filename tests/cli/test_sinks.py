"""`sinks` lists what can be named."""


def test_the_built_in_kinds_are_listed_with_their_origin(invoke):
    result = invoke("sinks")
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if not line.startswith(" ")}
    assert {"file", "stdout", "webhook"} <= rows.keys()
    assert "listener.sinks.webhook, disposition-listener" in rows["webhook"]


def test_each_kind_tells_its_settings_and_what_they_are_without_being_set(invoke):
    lines = invoke("sinks").stdout.splitlines()
    webhook = lines[next(n for n, line in enumerate(lines) if line.startswith("webhook")) + 1 :]
    rows = dict(line.split(maxsplit=1) for line in webhook if line.startswith(" "))
    assert (rows["url"], rows["method"], rows["timeout_s"]) == ("required", '"POST"', "10.0")
    assert (rows["bearer_token"], rows["headers"], rows["verify"]) == ("unset", "{}", "true")
