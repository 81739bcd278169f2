"""The style sheet: text that can be read, on screens light and dark."""

import re

import pytest

from listener.audit.style import STYLE
from support.contrast import contrast


@pytest.mark.parametrize("shade", [0, 1])
def test_text_has_enough_contrast_on_every_ground(shade):
    """WCAG 2.2, 1.4.3: 4.5:1."""
    colours = dict(re.findall(r"--([\w-]+):(#\w+)", STYLE.split("@media screen")[shade]))
    assert len(colours) == 9
    pairs = [(text, ground) for text in ("text", "quiet", "alarm") for ground in ("ground", "raised")]
    pairs += [(text, f"{kind}-ground") for kind in ("alarm", "calm") for text in ("text", kind)]
    assert [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []


def test_it_takes_nothing_from_elsewhere_and_cares_for_paper():
    assert re.findall(r"url\(|@import|</", STYLE) == []
    assert "@media print" in STYLE
