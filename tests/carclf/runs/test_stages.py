import pytest
from pydantic import ValidationError

from carclf.classifier.network import first_trained_block
from carclf.runs.recipe import Stage, classic_stages


@pytest.mark.parametrize(
    ("train", "blocks", "first"),
    [
        ("head", 17, 17),
        ("half", 17, 8),
        ("half", 4, 2),
        ("half", 1, 0),
        ("three_quarters", 17, 4),
        ("three_quarters", 8, 2),
        ("all", 17, 0),
    ],
)
def test_first_trained_block(train, blocks, first):
    assert first_trained_block(train, blocks) == first


def test_the_classic_recipe_unfreezes_step_by_step_and_ends_on_larger_images():
    stages = classic_stages()
    assert [stage.train for stage in stages] == ["head", "half", "three_quarters", "all", "all"]
    assert stages[-1].image_size > stages[-2].image_size
    assert stages[-1].learning_rate < stages[-2].learning_rate


@pytest.mark.parametrize("wrong", [
    {"epochs": 0}, {"lr": 1}, {"name": "a/b"}, {"batch_size": 1}, {"optimizer": "lion"}, {"schedule": "linear"},
    {"image_size": 16}, {"image_size": (16, 64)}, {"batch_size": 48, "micro_batch": 32}, {"factor": 1.0},
    {"batch_size": 9, "mixup": 0.2},
])  # fmt: skip
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Stage(**({"name": "x"} | wrong))
