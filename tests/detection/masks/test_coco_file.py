"""What labelling tools export, and what is wrong with it."""

import json

import numpy as np
import pytest

from detection import UsageError
from detection.masks.coco_file import read_coco_file
from detection.masks.records import MaskSource, read_source
from detection.training.examples import check_records
from detection.vehicle import mask_box

SQUARE = [[10, 10, 50, 10, 50, 40, 10, 40]]


def write(path, **changes):
    """One photo of 100x80 with one polygon; `changes` win, those of annotation_* and image_* inside."""
    image = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}
    annotation = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": SQUARE, "iscrowd": 0}
    for key in list(changes):
        for name, target in (("image_", image), ("annotation_", annotation)):
            if key.startswith(name) and key != "annotations":
                target[key.removeprefix(name)] = changes.pop(key)
    content = {"images": [image], "annotations": [annotation], "categories": [{"id": 3, "name": "van"}], **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


UNCOMPRESSED = {"size": [80, 100], "counts": [800, 80, 7120]}


@pytest.mark.parametrize(
    ("changes", "areas", "categories"),
    [
        ({}, [1200], ("van",)),
        ({"categories": None}, [1200], ("car",)),
        ({"annotation_segmentation": UNCOMPRESSED}, [80], ("van",)),
        ({"annotation_segmentation": [*SQUARE, [60, 10, 70, 10, 70, 20, 60, 20]]}, [1300], ("van",)),  # two pieces
        ({"annotation_segmentation": [*SQUARE, [5, 5, 6, 6]]}, [1200], ("van",)),  # and a stray click
        ({"annotation_segmentation": [[5, 5, 6, 6]]}, [], ()),
        ({"annotation_iscrowd": 1}, [], ()),
        ({"annotations": None}, [], ()),
    ],
)
def test_masks_and_categories(tmp_path, changes, areas, categories):
    from pycocotools import mask as coco_mask

    (photo,) = read_coco_file(write(tmp_path / "a.json", **changes), "mine")
    assert photo.size == (80, 100) and photo.categories == categories
    assert [int(coco_mask.area(mask)) for mask in photo.masks] == areas


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "not a COCO file"),
        ({"image_width": None}, "not a COCO file"),
        ({"image_height": 0}, "not a COCO file"),
        ({"annotations": {"a": 1}}, "names no photo"),
        ({"annotation_image_id": 7}, "names no photo"),
        ({"annotation_category_id": 7}, "no category, of that file"),
        ({"annotation_segmentation": []}, "has no mask: export polygons"),
        ({"annotation_segmentation": None}, "has no mask: export polygons"),
        ({"annotation_segmentation": {"size": [10, 10], "counts": [100]}}, "can't be read"),
        ({"annotation_segmentation": [["a", "b", "c", "d", "e", "f"]]}, "can't be read"),
        # What C code would believe: runs of more pixels than there are, corners at the end of the world.
        ({"annotation_segmentation": {"size": [80, 100], "counts": [0, 1 << 40]}}, "can't be read"),
        ({"annotation_segmentation": {"size": [80, 100], "counts": [8001, -1]}}, "can't be read"),
        ({"annotation_segmentation": {"size": [80, 100], "counts": "0ooo`0"}}, "can't be read"),
        ({"annotation_segmentation": [[0, 0, 1e12, 0, 5, 5]]}, "can't be read"),
        ({"annotation_segmentation": [[0, 0, float("nan"), 0, 5, 5]]}, "can't be read"),
        ({"annotation_segmentation": [[0, 0, 90, 0] * 500]}, "can't be read"),
        ({"image_width": 1 << 30, "image_height": 1 << 30}, "not a COCO file"),
        (
            {"images": [{"id": 1, "file_name": name, "width": 9, "height": 9} for name in "ab"]},
            "two photos the same id",
        ),
    ],
)
def test_faults_are_one_sentence(tmp_path, changes, message):
    path = write(tmp_path / "a.json", **changes)
    with pytest.raises(UsageError, match=message) as caught:
        read_coco_file(path, "mine")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_photos_are_found_by_name_where_the_path_is_another_machines(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(tmp_path / "a.jpg")
    source = MaskSource(name="mine", images=str(tmp_path), annotations=str(tmp_path / "a.json"))
    write(tmp_path / "a.json", image_file_name="C:\\labels\\a.jpg")
    (record,) = read_source(source)
    assert record.path == str(tmp_path / "a.jpg")
    write(tmp_path / "a.json", image_file_name="b.jpg")
    with pytest.raises(UsageError, match="'b.jpg' of .* is not in"):
        read_source(source)


@pytest.mark.parametrize(
    ("shape", "orientation", "fits"),
    [((80, 100), 1, True), ((160, 200), 1, True), ((100, 80), 6, True), ((100, 80), 1, False), ((80, 100), 6, False)],
)
def test_masks_drawn_on_another_photo_are_refused(tmp_path, shape, orientation, fits):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    write(tmp_path / "a.json")
    records = read_source(MaskSource(name="mine", images=str(tmp_path), annotations=str(tmp_path / "a.json")))
    if fits:
        check_records(records)
        image = records[0].image()
        (mask,) = records[0].decoded_masks(image.shape[:2])
        assert mask.shape == image.shape[:2] and mask.mean() == pytest.approx(1200 / 8000, abs=0.01)
    else:
        with pytest.raises(UsageError, match="export the masks again"):
            check_records(records)


def test_a_source_of_boxes_takes_boxes_alone_and_keeps_the_masks_that_are_there(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(tmp_path / "a.jpg")
    box = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [20, 30, 40, 25], "iscrowd": 0}
    drawn = {**box, "id": 2, "segmentation": SQUARE, "label": "lorry"}
    write(tmp_path / "a.json", annotations=[box, drawn])
    source = MaskSource(name="mine", kind="boxes", images=str(tmp_path), annotations=str(tmp_path / "a.json"))
    (record,) = read_source(source)
    assert record.drawn == (False, True) and record.categories == ("van", "van")
    assert mask_box(record.decoded_masks()[0]) == (20, 30, 60, 55), "the box round what stands in for it is the box"
    (labelled,) = read_source(source.model_copy(update={"label": "label"}))
    assert labelled.categories == ("van", "lorry")
    with pytest.raises(UsageError, match="has no mask: export polygons"):
        read_source(source.model_copy(update={"kind": "coco"}))
    for wrong in ([1, 2], "abcd", None):
        write(tmp_path / "a.json", annotations=[{**box, "bbox": wrong}])
        with pytest.raises(UsageError, match="The box of annotation 1 of .* can't be read"):
            read_source(source)
    for gone in ([200, 10, 20, 20], [10, 10, 0, 20]):
        write(tmp_path / "a.json", annotations=[{**box, "bbox": gone}])
        assert read_source(source)[0].masks == ()
