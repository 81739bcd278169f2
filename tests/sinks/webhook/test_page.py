"""`docs/webhook.md` holds: its table of answers, and the functions that tell what is genuine, as they stand there."""

import asyncio
import base64
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from standardwebhooks import Webhook

from listener.errors import Outcome, Park, Reject, Retry
from listener.sinks.webhook.endpoint import Failure
from listener.sinks.webhook.signing import signature, signing_key
from support.tools import need

PAGE = (Path(__file__).parents[3] / "docs" / "webhook.md").read_text(encoding="utf-8")


# --- the table of answers ---------------------------------------------------------------------------------------------

OUTCOMES: dict[type[Outcome], str] = {Park: "parked", Retry: "retried", Reject: "dead letter"}


def documented() -> dict[int | None, str]:
    """What the page says of each status; None where nobody answers."""
    rows = re.findall(r"^\| ([^|]+) \| (delivered|parked|disabled|retried|dead letter) \|", PAGE, re.MULTILINE)
    found: dict[int | None, str] = {}
    for statuses, outcome in rows:
        for status in statuses_of(statuses):
            if status not in found:
                found[status] = outcome
            else:
                assert statuses.startswith("any other"), f"{status} stands there twice"
    return found


def statuses_of(text: str) -> Iterator[int | None]:
    if text.startswith("no answer"):
        yield None
    elif bounds := re.fullmatch(r"(?:any other from )?(\d+) to (\d+)", text):
        yield from range(int(bounds[1]), int(bounds[2]) + 1)
    else:
        yield from map(int, text.split(", "))


def test_the_table_of_answers_says_what_each_status_leads_to():
    led_to: dict[int | None, str] = {}
    for status in (None, *range(300, 600)):
        failure = Failure(text="", status=status)
        led_to[status] = OUTCOMES[failure.kind]
        if failure.kind is Park and (outcome := failure.outcome()) and isinstance(outcome, Park) and outcome.disabled:
            led_to[status] = "disabled"
    assert documented() == {**dict.fromkeys(range(200, 300), "delivered"), **led_to}


# --- what is genuine --------------------------------------------------------------------------------------------------

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret, as long as a key").decode()
UNPADDED = "whsec_" + base64.b64encode(b"x" * 32).decode().rstrip("=")
ED25519 = "whsk_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"data":{"disposition":"Gelöst ✓"}}'.encode()
NOW_S = 1_800_000_000


class Request(NamedTuple):
    """A request as a receiver has it, and whether it is genuine. A header that is None is not there."""

    name: str
    genuine: bool
    signature: str | None
    message_id: str | None = "event-1"
    timestamp: str | None = str(NOW_S)
    body: bytes = BODY
    secret: str = SECRET


def signed(*secrets: str, message_id: str = "event-1", timestamp: str = str(NOW_S), body: bytes = BODY) -> str:
    """The header that the sink makes."""
    keys = [signing_key(secret) for secret in secrets]
    return signature(keys, message_id=message_id, timestamp=timestamp, body=body)


def at(second: int, **more: str) -> dict[str, str]:
    return {"timestamp": str(second), "signature": signed(SECRET, timestamp=str(second)), **more}


GOOD = signed(SECRET)
REQUESTS = [
    Request("as the sink sends it", genuine=True, signature=GOOD),
    Request("an empty body", genuine=True, signature=signed(SECRET, body=b""), body=b""),
    Request("bytes that are no text", genuine=True, signature=signed(SECRET, body=b"\xff\x00"), body=b"\xff\x00"),
    Request("while a secret is rotated", genuine=True, signature=signed(OTHER, SECRET)),
    Request("while a secret is rotated, the other way", genuine=True, signature=signed(SECRET, OTHER)),
    Request("beside an Ed25519 signature", genuine=True, signature=signed(ED25519, SECRET)),
    Request("a secret without padding", genuine=True, signature=signed(UNPADDED), secret=UNPADDED),
    Request("five minutes old", genuine=True, **at(NOW_S - 300)),
    Request("five minutes ahead", genuine=True, **at(NOW_S + 300)),
    Request("too old", genuine=False, **at(NOW_S - 301)),
    Request("too far ahead", genuine=False, **at(NOW_S + 301)),
    Request("an old signature with a new time", genuine=False, signature=signed(SECRET, timestamp=str(NOW_S - 9))),
    Request("signed by another", genuine=False, signature=signed(OTHER)),
    Request("an Ed25519 signature alone", genuine=False, signature=signed(ED25519)),
    Request("another body", genuine=False, signature=GOOD, body=BODY.replace(b"Gel", b"gel")),
    Request("more body", genuine=False, signature=GOOD, body=BODY + b" "),
    Request("no body", genuine=False, signature=GOOD, body=b""),
    Request("another id", genuine=False, signature=GOOD, message_id="event-2"),
    Request("no id", genuine=False, signature=GOOD, message_id=None),
    Request("no time", genuine=False, signature=GOOD, timestamp=None),
    Request("no number for a time", genuine=False, signature=GOOD, timestamp=f"{NOW_S}.0"),
    Request("a time beyond all clocks", genuine=False, signature=GOOD, timestamp="9" * 400),
    Request("a time below zero", genuine=False, signature=GOOD, timestamp=f"-{NOW_S}"),
    Request("no signature", genuine=False, signature=None),
    Request("an empty signature", genuine=False, signature=""),
    Request("the version alone", genuine=False, signature="v1,"),
    Request("no version", genuine=False, signature=GOOD.removeprefix("v1,")),
    Request("a part of the signature", genuine=False, signature=GOOD[:-2]),
    Request("more than the signature", genuine=False, signature=GOOD + "AAAA"),
    Request("no base64", genuine=False, signature="v1,é€ not base64"),
    Request("dot moved from the id to the time", genuine=False, signature=signed(SECRET, message_id="event-1.1")),
]


def test_the_library_of_standard_webhooks_signs_alike():
    now = datetime.fromtimestamp(NOW_S, UTC)
    assert Webhook(SECRET).sign("event-1", now, BODY.decode()) == GOOD


def code(language: str) -> str:
    """The only block of a language on the page."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def cases() -> bytes:
    """A request a line: secret, now, body, id, time and signature in base64, `-` for what is not there."""
    lines = []
    for one in REQUESTS:
        fields = [one.secret, str(NOW_S), one.body, one.message_id, one.timestamp, one.signature]
        raw = [field.encode() if isinstance(field, str) else field for field in fields]
        lines.append(" ".join("-" if field is None else "=" + base64.b64encode(field).decode() for field in raw))
    return "\n".join(lines).encode() + b"\n"


PYTHON = """

import sys

for line in sys.stdin:
    fields = [None if field == "-" else base64.b64decode(field[1:]) for field in line.split()]
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = {name: value.decode() for name, value in zip(names, fields[3:]) if value is not None}
    print(str(is_genuine(fields[0].decode(), headers, fields[2], float(fields[1]))).lower())
"""
JAVASCRIPT = """
import { readFileSync } from "node:fs";

for (const line of readFileSync(0, "utf8").trimEnd().split("\\n")) {
  const fields = line.split(" ").map((field) => (field === "-" ? null : Buffer.from(field.slice(1), "base64")));
  const headers = {};
  ["webhook-id", "webhook-timestamp", "webhook-signature"].forEach((name, index) => {
    if (fields[index + 3] !== null) headers[name] = fields[index + 3].toString();
  });
  console.log(isGenuine(fields[0].toString(), headers, fields[2], Number(fields[1])));
}
"""
JAVA = """
class Driver {
    public static void main(String[] arguments) throws Exception {
        var reader = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
            byte[][] fields = new byte[6][];
            String[] texts = line.split(" ");
            for (int i = 0; i < 6; i++) {
                fields[i] = texts[i].equals("-") ? null : Base64.getDecoder().decode(texts[i].substring(1));
            }
            Map<String, String> headers = new java.util.HashMap<>();
            String[] names = {"webhook-id", "webhook-timestamp", "webhook-signature"};
            for (int i = 0; i < 3; i++) {
                if (fields[i + 3] != null) headers.put(names[i], new String(fields[i + 3], UTF_8));
            }
            long now = Long.parseLong(new String(fields[1], UTF_8));
            System.out.println(Webhooks.isGenuine(new String(fields[0], UTF_8), headers, fields[2], now));
        }
    }
}
"""
CSHARP = """
public static class Driver
{
    public static void Main()
    {
        for (string line = Console.ReadLine(); line != null; line = Console.ReadLine())
        {
            string[] texts = line.Split(' ');
            var headers = new Dictionary<string, string>();
            string[] names = { "webhook-id", "webhook-timestamp", "webhook-signature" };
            for (int i = 0; i < 3; i++) if (texts[i + 3] != "-") headers[names[i]] = Text(texts[i + 3]);
            bool found = Webhooks.IsGenuine(Text(texts[0]), headers, Bytes(texts[2]), long.Parse(Text(texts[1])));
            Console.WriteLine(found ? "true" : "false");
        }
    }

    static byte[] Bytes(string field) { return Convert.FromBase64String(field.Substring(1)); }

    static string Text(string field) { return Encoding.UTF8.GetString(Bytes(field)); }
}
"""


async def output_of(folder: Path, *command: str | Path, sent: bytes = b"") -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    output, _ = await process.communicate(sent)
    assert process.returncode == 0, output.decode(errors="replace")[-4000:]
    return output.decode()


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def in_python(folder: Path) -> Sequence[Sequence[str]]:
    return [(sys.executable, "-I", written(folder, "verify.py", code("python") + PYTHON))]


def in_javascript(folder: Path) -> Sequence[Sequence[str]]:
    node = need("node", package="nodejs")
    return [(node, written(folder, "verify.mjs", code("javascript") + JAVASCRIPT))]


def in_java(folder: Path) -> Sequence[Sequence[str]]:
    """The launcher runs the first class of a file."""
    java = need("java", package="default-jdk-headless")
    imports, webhooks = code("java").split("final class Webhooks", 1)
    text = f"{imports}{JAVA}\nfinal class Webhooks{webhooks}"
    return [(java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", written(folder, "Driver.java", text))]


def in_csharp(folder: Path) -> Sequence[Sequence[str]]:
    """Mono's compiler; a host without it is no reason for the test to fail, since no package of ours needs it."""
    compiler, mono = shutil.which("mcs"), shutil.which("mono")
    if compiler is None or mono is None:
        pytest.skip("there is no compiler for C# (Debian: apt-get install mono-mcs)")
    written(folder, "verify.cs", code("csharp") + CSHARP)
    return [(compiler, "-langversion:latest", "-out:verify.exe", "verify.cs"), (mono, "verify.exe")]


@pytest.mark.parametrize("commands", [in_python, in_javascript, in_java, in_csharp])
async def test_each_function_finds_genuine_what_the_sink_has_sent_and_nothing_else(
    tmp_path: Path, commands: Callable[[Path], Sequence[Sequence[str]]]
):
    *compiling, running = commands(tmp_path)
    for command in compiling:
        await output_of(tmp_path, *command)
    verdicts = (await output_of(tmp_path, *running, sent=cases())).split()
    assert dict(zip((one.name for one in REQUESTS), verdicts, strict=True)) == {
        one.name: str(one.genuine).lower() for one in REQUESTS
    }


@pytest.mark.parametrize(
    ("language", "comparison"),
    [
        ("python", "hmac.compare_digest("),
        ("javascript", "timingSafeEqual("),
        ("java", "MessageDigest.isEqual("),
        ("csharp", "CryptographicOperations.FixedTimeEquals("),
    ],
)
def test_each_function_compares_in_constant_time(language: str, comparison: str):
    """No other comparison has what was computed for one of its sides."""
    (line,) = [line for line in code(language).splitlines() if comparison in line]
    assert "expected" in line
    assert not re.search(r"expected\s*[!=]==?|[!=]==?\s*expected\b(?!\.length)", code(language))
