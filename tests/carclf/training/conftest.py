"""What trainings of seconds share: without pictures, which take as long as they do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import carclf.training.loop


@pytest.fixture(scope="module")
def no_pictures() -> Iterator[None]:
    """Charts and the report take as long as the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carclf.training.loop, "_show", lambda run: None)
        yield
