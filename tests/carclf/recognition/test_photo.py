import io

import numpy as np
import pytest
from PIL import Image

from carclf.recognition.photo import is_photo, photo_name, read_photo
from detection.common.errors import UsageError
from detection.images.read import ImageError

SEEN = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def turned():
    """As a camera held upside down stores it."""
    image, exif = Image.fromarray(SEEN[::-1, ::-1].copy()), Image.Exif()
    exif[0x0112] = 3
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return file.getvalue()


def test_every_kind_of_photo_gives_the_same_pixels(tmp_path):
    data = turned()
    (tmp_path / "a.png").write_bytes(data)
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), data, bytearray(data), memoryview(data), SEEN]
    for photo in [*kinds, Image.open(io.BytesIO(data))]:
        np.testing.assert_array_equal(read_photo(photo), SEEN)
        assert is_photo(photo)


def test_pillow_images_of_other_modes_become_rgb():
    assert read_photo(Image.new("L", (3, 2), 7)).tolist() == [[[7] * 3] * 3] * 2
    clear = Image.new("RGBA", (3, 2), (9, 9, 9, 0))
    assert (read_photo(clear) == 255).all()
    assert read_photo(Image.new("CMYK", (3, 2))).shape == (2, 3, 3)


def test_names(tmp_path):
    assert [photo_name(photo) for photo in (tmp_path, "a.jpg", b"", SEEN, Image.new("L", (1, 1)))] == [
        str(tmp_path), "a.jpg", "<bytes>", "<array>", "<image>",
    ]  # fmt: skip


def test_what_is_no_photo():
    assert not is_photo([SEEN]) and not is_photo(iter(())) and not is_photo(7)
    with pytest.raises(UsageError, match="not int"):
        read_photo(7)
    with pytest.raises(ImageError, match="not a photo in a known format"):
        read_photo(b"GIF89a?")
    with pytest.raises(ImageError, match="no such file"):
        read_photo("nowhere.jpg")
