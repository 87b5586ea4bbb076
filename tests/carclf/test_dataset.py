import numpy as np
import pandas as pd
import pytest
import torch

from carclf.dataset import Augmented, CropDataset, Plain, collate, make_loader
from carclf.preprocessing import normalise, squash, stack
from detection.images import load_image
from tests.carclf.drawn import draw_folders


@pytest.fixture
def table(tmp_path):
    root = draw_folders(tmp_path / "photos", each=4)
    rows = [(str(file), file.parent.name) for file in sorted(root.rglob("*.jpg"))]
    return pd.DataFrame(rows, columns=["file", "label"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (300, 17), (32, 32), (500, 700)])
def test_squash_takes_every_shape(shape):
    image = np.full((*shape, 3), (10, 128, 250), np.uint8)
    small = squash(image, 32)
    assert small.shape == (32, 32, 3) and small.dtype == np.uint8
    assert np.abs(small.astype(int) - [10, 128, 250]).max() <= 1


def test_normalise_is_exact_and_channels_stay_in_order():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0] = 255
    batch = normalise(stack([image]), (0.5, 0.5, 0.2), (0.5, 0.25, 0.5))
    assert batch.shape == (1, 3, 2, 2) and batch.dtype == torch.float32
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([1.0, -2.0, -0.4]))


def test_a_batch_is_bytes_in_channels_last_order(table):
    classes = ["blue", "green", "red"]
    dataset = CropDataset(table, classes, Plain(32))
    images, labels = collate([dataset[number] for number in range(len(dataset))])
    assert images.shape == (12, 3, 32, 32) and images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert [classes[label] for label in labels] == list(table["label"])
    np.testing.assert_array_equal(images[5].permute(1, 2, 0), squash(load_image(table["file"][5]), 32))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_augmentation_varies_but_is_repeatable(table, strength):
    image = load_image(table["file"][0])
    augmented = Augmented(48, strength)

    def run():
        augmented.recipe.set_random_seed(3)
        return np.stack([augmented(image) for _ in range(12)])

    first = run()
    assert first.shape == (12, 48, 48, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, run())
    different = len({picture.tobytes() for picture in first})
    assert different == 2 if strength == 0 else different > 6  # at strength 0: as it is, and mirrored


def test_training_batches_are_full_and_repeatable_over_processes(table):
    def batches(seed):
        augmented = Augmented(32, 1.0)
        augmented.recipe.set_random_seed(seed)
        torch.manual_seed(seed)
        loader = make_loader(CropDataset(table, ["blue", "green", "red"], augmented), 5, 1, True, seed)
        return list(loader)

    first, again, other = batches(1), batches(1), batches(2)
    assert [len(labels) for _, labels in first] == [5, 5]  # 12 photos: the rest of two is dropped
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_a_small_set_still_gives_a_batch(table):
    loader = make_loader(CropDataset(table[:3], ["blue", "green", "red"], Plain(32)), 8, 0, True)
    assert [len(labels) for _, labels in loader] == [3]
