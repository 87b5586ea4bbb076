import numpy as np
import pandas as pd
import pytest
import torch

from carclf.classifier.info import pair
from carclf.classifier.preprocessing import normalise, squash, stack
from carclf.runs.recipe import AugmentationConfig
from carclf.training.data.augmentation import Augmented, Plain
from carclf.training.data.dataset import CropDataset, TrainOrder, balancing_weights, collate, make_loader
from detection.images.read import load_image
from detection.images.write import save_image
from tests.carclf.drawn import draw_folders

CLASSES = ["blue", "green", "red"]


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


def test_squash_to_an_oblong():
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, 30:] = 255
    small = squash(image, (16, 48))
    assert small.shape == (16, 48, 3) and small[:, :20].max() == 0 and small[:, 28:].min() == 255


def test_normalise_is_exact_and_channels_stay_in_order():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 0] = 255
    batch = normalise(stack([image]), (0.5, 0.5, 0.2), (0.5, 0.25, 0.5))
    assert batch.shape == (1, 3, 2, 2) and batch.dtype == torch.float32
    torch.testing.assert_close(batch[0, :, 0, 0], torch.tensor([1.0, -2.0, -0.4]))


def test_a_batch_is_bytes_in_channels_last_order(table):
    dataset = CropDataset(table, CLASSES, Plain(32))
    images, labels = collate([dataset[number] for number in range(len(dataset))])
    assert images.shape == (12, 3, 32, 32) and images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert [CLASSES[label] for label in labels] == list(table["label"])
    np.testing.assert_array_equal(images[5].permute(1, 2, 0), squash(load_image(table["file"][5]), 32))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [48, (32, 64)])
def test_augmentation_varies_by_its_seed_alone(table, strength, size):
    image = load_image(table["file"][0])
    augmented = Augmented(size, strength, AugmentationConfig(rotate=10, perspective=0.05, erase=0.5))
    first = np.stack([augmented(image, seed) for seed in range(12)])
    assert first.shape == (12, *pair(size), 3) and first.dtype == np.uint8
    again = np.stack([augmented(image, seed) for seed in reversed(range(12))])
    np.testing.assert_array_equal(first, again[::-1])
    different = len({picture.tobytes() for picture in first})
    assert different == 2 if strength == 0 else different > 6  # at strength 0: as it is, and mirrored


def test_every_effect_can_be_left_out_and_reaches_the_recipe(table):
    off = AugmentationConfig(
        mirror=False, crop=0, aspect=0, brightness=0, contrast=0, hue=0, saturation=0, gray=0, blur=0
    )
    image = load_image(table["file"][0])
    plain = Augmented(48, 1.0, off)
    assert len({plain(image, seed).tobytes() for seed in range(6)}) == 1
    for effect in ({"mirror": True}, {"crop": 0.5}, {"rotate": 20}, {"shear": 10}, {"zoom": 0.3}, {"shift": 0.2},
                   {"perspective": 0.1}, {"brightness": 0.5}, {"hue": 40}, {"gray": 0.5}, {"blur": 0.5},
                   {"erase": 0.5}):  # fmt: skip
        varied = Augmented(48, 1.0, off.model_copy(update=effect))
        assert len({varied(image, seed).tobytes() for seed in range(8)}) > 1, effect


def test_training_batches_are_full_and_repeatable_with_any_number_of_processes(table):
    def batches(seed, epoch=0, workers=0):
        order = TrainOrder(len(table), seed)
        order.set_epoch(epoch)
        return list(make_loader(CropDataset(table, CLASSES, Augmented(32, 1.0), seed), 5, workers, order))

    first, again, other, later = batches(1), batches(1, workers=1), batches(2), batches(1, epoch=1)
    assert [len(labels) for _, labels in first] == [5, 5]  # 12 photos: the rest of two is dropped
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert not torch.equal(first[0][0], later[0][0])


def test_a_photo_looks_the_same_in_whatever_order_it_comes(table):
    dataset = CropDataset(table, CLASSES, Augmented(32, 1.0), seed=3)
    alone = dataset[2, 7][0]
    for number in (0, 5):
        dataset[2, number]
    np.testing.assert_array_equal(dataset[2, 7][0], alone)
    assert not np.array_equal(dataset[3, 7][0], alone)


def test_other_backgrounds_are_taken_as_often_as_asked(table, tmp_path):
    save_image(tmp_path / "white.png", np.full((40, 40, 3), 255, np.uint8))
    table = table.assign(file_keep=table["file"], file_white=str(tmp_path / "white.png"))
    dataset = CropDataset(table, CLASSES, Plain(32), 1, {"file_keep": 3.0, "file_white": 1.0})
    white = [dataset[epoch, number][0].min() == 255 for epoch in range(20) for number in range(len(table))]
    assert 0.17 < np.mean(white) < 0.33  # 240 draws with a share of a quarter
    assert not any(CropDataset(table, CLASSES, Plain(32))[number][0].min() == 255 for number in range(len(table)))


def test_balanced_sampling_draws_rare_classes_as_often(table):
    labels = [0] * 90 + [1] * 10
    weights = balancing_weights(labels, 3)
    np.testing.assert_allclose(weights, [100 / 2 / 90, 100 / 2 / 10, 0])
    order = TrainOrder(100, 1, weights[labels])
    drawn = []
    for epoch in range(20):
        order.set_epoch(epoch)
        drawn += [labels[number] for _, number in order]
    assert len(drawn) == 2000 and 0.45 < np.mean(drawn) < 0.55


def test_a_small_set_still_gives_a_batch(table):
    loader = make_loader(CropDataset(table[:3], CLASSES, Plain(32)), 8, 0, TrainOrder(3))
    assert [len(labels) for _, labels in loader] == [3]
