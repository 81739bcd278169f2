"""The container image, built once for all tests that run it."""

from collections.abc import Iterator

import pytest

from support.podman import Podman


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """One with the image of this tree, `support.podman.IMAGE`."""
    with Podman(tmp_path_factory.mktemp("podman") / "own") as podman:
        podman.import_base()
        podman.build()
        yield podman
