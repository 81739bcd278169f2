"""A request and its answer as a person may see them: without a secret, and without what may be one."""

from collections.abc import Collection, Mapping

from yarl import URL

from listener.model.condition import Exchange
from listener.runtime.urls import told
from listener.sinks.webhook.endpoint import Answer, Failure, quoted

_MASK = "***"
_HEADERS_AT_MOST = 40
_BODY_CHARACTERS = 4000
_MASKED = {"set-cookie", "www-authenticate", "proxy-authenticate", "location"}


def exchange_of(
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str],
    secret_headers: Collection[str],
    secrets: Collection[str],
    body: bytes,
    answer: Answer | Failure,
) -> Exchange:
    """An exchange in lines: the request or status line, the headers, an empty line, the body.

    Args:
        method: of the request.
        url: where it went.
        headers: of the request.
        secret_headers: the names of those whose values are left out.
        secrets: texts that are left out of the answer, which may quote the request.
        body: of the request.
        answer: what came.
    """
    hidden = {name.lower() for name in secret_headers}
    sent = {name: _MASK if name.lower() in hidden else value for name, value in headers.items()}
    request = [f"{method} {told(url)}", *_lines(sent, ())]
    text = body.decode("utf-8", "replace")[:_BODY_CHARACTERS]
    return Exchange(request="\n".join((*request, "", text)), answer=_answer(answer, secrets))


def _answer(answer: Answer | Failure, secrets: Collection[str]) -> str:
    if isinstance(answer, Failure):
        return quoted(f"{answer.text} {answer.detail}", secrets)
    said = {name: _MASK if name.lower() in _MASKED else value for name, value in answer.headers.items()}
    body = quoted(answer.body.decode("utf-8", "replace"), secrets)
    return "\n".join((str(answer.status), *_lines(said, secrets), *(("", body) if body else ())))


def _lines(headers: Mapping[str, str], secrets: Collection[str]) -> list[str]:
    return [f"{name}: {quoted(value, secrets)}" for name, value in list(headers.items())[:_HEADERS_AT_MOST]]
