#!/usr/bin/env python3
"""Make the pictures of the README from what the command and the console show: python docs/images/make.py [FOLDER].

A simulated site plays a working day, and a daemon listens to it. `tail` runs on a terminal of its own, and chromium
opens the console. Needs the extra `test` and Debian's chromium.
"""

import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.request import Request, urlopen

from playwright.sync_api import Page, sync_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

T = TypeVar("T")

AGENTS, CHANGES, COLUMNS = 3, 60, 110
LIMIT_S = 120.0
DAY = ("--agents", str(AGENTS), "--events", str(CHANGES), "--pace", "0.08", "--port", "0", "--ack")
CONFIG = """
[server]
url = "{url}"
{accounts}
[journal]
path = "journal.db"

[sinks.audit]
type = "file"
path = "dispositions.jsonl"

[http]
listen = "127.0.0.1:0"

[log]
format = "json"
"""
ACCOUNT = '\n[[accounts]]\nusername = "agent{number}"\npassword = "secret"\n'

# The 256 commonest colours of pictures, one below the other, and for each pixel the nearest of them.
REDUCE = """async (pictures) => {
    const bytes = pictures.map((picture) => Uint8Array.from(picture.match(/../g), (byte) => parseInt(byte, 16)));
    const images = await Promise.all(bytes.map((one) => createImageBitmap(new Blob([one]))));
    const [width, height] = [images[0].width, images.reduce((sum, image) => sum + image.height, 0)];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    images.reduce((y, image) => (context.drawImage(image, 0, y), y + image.height), 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    const palette = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, 256);
    const parts = (colour) => [colour & 255, colour >> 8 & 255, colour >> 16 & 255];
    const apart = (a, b) => parts(a).reduce((sum, part, index) => sum + (part - parts(b)[index]) ** 2, 0);
    const nearest = (colour) => palette.reduce((best, one, index) =>
        apart(one, colour) < apart(palette[best], colour) ? index : best, 0);
    const places = new Map([...counts.keys()].map((colour) => [colour, nearest(colour)]));
    return {width, height, palette: palette.flatMap(parts), indexes: Array.from(pixels, (pixel) => places.get(pixel))};
}"""


@contextmanager
def command(folder: Path, *words: str) -> Iterator[Path]:
    """Run a command meanwhile; yields the file that its output goes to."""
    output = folder / f"{words[0]}.output"
    with output.open("wb") as file:
        argv = [sys.executable, "-m", "listener", *words]
        child = subprocess.Popen(argv, cwd=folder, stdout=file, stderr=file)  # noqa: S603 - our own command
    try:
        yield output
    finally:
        child.terminate()
        child.wait(20)


def until(found: Callable[[], T | None]) -> T:
    """What `found` returns, once it is not None."""
    end = time.monotonic() + LIMIT_S
    while (what := found()) is None:
        if time.monotonic() > end:
            sys.exit("what the pictures show did not come about in time")
        time.sleep(0.1)
    return what


def changes(audit: Path) -> int:
    """How many changes of a disposition the audit file holds by now."""
    text = audit.read_text(encoding="utf-8") if audit.exists() else ""
    return len(re.findall(r'"change":"(?:set|changed|cleared)"', text))


def on_terminal(folder: Path, *words: str) -> Iterator[Text]:
    """The lines that a command writes to a terminal, in colour, as the terminal wraps them."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    argv = [sys.executable, "-m", "listener", *words]
    child = subprocess.Popen(argv, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)  # noqa: S603 - our own command
    os.close(theirs)
    written = b""
    with suppress(OSError):  # raised on Linux when nobody holds the other end any more
        while block := os.read(ours, 65_536):
            written += block
    child.wait(10)
    for line in Text.from_ansi(written.decode().replace("\r\n", "\n").rstrip("\n")).split("\n"):
        yield from line.divide(range(COLUMNS, len(line), COLUMNS))


def order(url: str, what: str, **how: object) -> None:
    """Have the simulated site do something."""
    request = Request(f"{url}/control/{what}", json.dumps(how).encode())  # noqa: S310 - a loopback URL
    urlopen(request, timeout=10).close()  # noqa: S310 - a loopback URL


def tail_picture(folder: Path) -> str:
    """`tail` as SVG. No font is fetched from elsewhere."""
    words = ("tail", "dispositions.jsonl", "--changes", "-n", "12")
    console = Console(record=True, width=COLUMNS, file=(folder / "tail.output").open("w"), highlight=False)
    console.print(Text(f"$ disposition-listener {' '.join(words)}", "bold"))
    for line in on_terminal(folder, *words):
        console.print(line, no_wrap=True, crop=False)
    template = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="disposition-listener", theme=MONOKAI, code_format=template, unique_id="tail")


def console_picture(page: Page, url: str) -> bytes:
    """Two views of the console, one below the other, as PNG with a palette."""
    pictures = []
    for view, wanted in (("#/", "not well"), ("#/events", "loaded")):
        page.goto(f"{url}{view}")
        page.get_by_text("Live", exact=True).wait_for()
        page.get_by_text(wanted).first.wait_for()
        page.wait_for_timeout(2500)  # a look at the state, which comes every 2 s
        pictures.append(page.screenshot(full_page=True).hex())
    page.goto("about:blank")
    return indexed(**page.evaluate(REDUCE, pictures))


def indexed(*, width: int, height: int, palette: list[int], indexes: list[int]) -> bytes:
    """A PNG whose pixels are indexes of a palette (RFC 2083, 4)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(indexes[row * width : (row + 1) * width]) for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", bytes(palette)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def draw(folder: Path, simulated: Path, target: Path) -> None:
    """Have a daemon listen to the simulated site, and draw what it heard."""
    audit = folder / "dispositions.jsonl"
    url = until(lambda: re.search(r"http://\S+", simulated.read_text(encoding="utf-8")))[0]
    accounts = "".join(ACCOUNT.format(number=number) for number in range(1, AGENTS + 1))
    (folder / "listener.toml").write_text(CONFIG.format(url=url, accounts=accounts), encoding="utf-8")
    with command(folder, "run", "--config", "listener.toml") as log:
        port = until(lambda: re.search(r'"port": ?(\d+)', log.read_text(encoding="utf-8")))[1]
        until(lambda: changes(audit) >= CHANGES - 6 or None)
        order(url, "expire", agent="agent2")  # the lost session becomes a gap on record
        until(lambda: changes(audit) >= CHANGES or None)
        order(url, "deny-handshake", count=1000)
        order(url, "expire", agent="agent2")  # and this one stays open
        (target / "tail.svg").write_text(tail_picture(folder), encoding="utf-8")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            page = browser.new_page(viewport={"width": 1280, "height": 640}, color_scheme="light")
            (target / "console.png").write_bytes(console_picture(page, f"http://127.0.0.1:{port}/"))
            browser.close()


def main() -> None:
    """Draw into the folder of the first argument, or into this one."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    with tempfile.TemporaryDirectory() as name, command(Path(name), "simulate", *DAY) as simulated:
        draw(Path(name), simulated, target)


if __name__ == "__main__":
    main()
