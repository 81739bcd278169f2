"""`sinks` lists what can be named."""


def test_the_built_in_kinds_are_listed_with_their_origin(invoke):
    result = invoke("sinks")
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert {"file", "stdout", "webhook"} <= rows.keys()
    assert "listener.sinks.webhook, disposition-listener" in rows["webhook"]
