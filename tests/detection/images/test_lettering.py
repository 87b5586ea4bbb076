import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, features

from detection.images.lettering import draw_text, drawable, fonts_beside, tell_lacking, text_length

_TAMIL = "காடி"  # of a script that no other test's font has


def _font(folder: Path, letters: str) -> Path:
    """A font in which each of the letters is a square."""
    pen = TTGlyphPen(None)
    for number, point in enumerate(((50, 0), (50, 700), (750, 700), (750, 0))):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    square, nothing = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(letter): "square" for letter in letters})
    builder.setupGlyf({".notdef": nothing, "square": square})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    folder.mkdir(parents=True)
    builder.save(folder / "Squares-Regular.ttf")
    return folder / "Squares-Regular.ttf"


def _picture(text: str) -> np.ndarray:
    image = Image.new("L", (300, 40), 255)
    draw_text(ImageDraw.Draw(image), (5, 5), text, 20, (0,))
    return np.asarray(image)


@pytest.mark.parametrize("text", ["Škoda Octavia", "Лада Нива", "نیسان پیکان‌وانت", "מאזדה", "$5 \\frac"])
def test_letters_that_come_with_the_program_stay(text):
    assert drawable(text) == text and fonts_beside(text) == []


def test_what_no_font_has_is_told_by_its_code(caplog):
    assert drawable("a\U0010fffd\udcff\x07") == "a\\U0010fffd\\xff\\x07"
    assert drawable("S\u030ckoda") == "Škoda", "a Mac's file names have their accents apart"
    tell_lacking(["Audi", "\U00011900 one", "\U00011900 two"])
    tell_lacking(["\U00011900 three"])
    (line,) = [record.getMessage() for record in caplog.records]
    assert "of '\U00011900 one', '\U00011900 two': pictures show codes" in line


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow was built without Raqm")
def test_arabic_letters_join_and_run_to_the_left():
    word = "بيبي"
    apart = sum(text_length(letter, 40) for letter in word)
    assert text_length(word, 40) < 0.8 * apart
    assert np.array_equal(_picture("بaب"), _picture("بaب")) and not np.array_equal(_picture("بد"), _picture("دب"))


def test_a_font_of_the_system_is_found_and_used(tmp_path):
    """Pillow's pictures and matplotlib's, in a process of its own: what was looked up is kept."""
    file = _font(tmp_path / "fonts", _TAMIL)
    code = f"""
import numpy as np, warnings
from pathlib import Path
from carclf.evaluation.plots import save_confusion
from detection.images.lettering import drawable, fonts_beside, text_length
warnings.simplefilter("error")
name = "Tata {_TAMIL}"
assert drawable(name) == name and fonts_beside(name) == ["{file}"], fonts_beside(name)
assert text_length("{_TAMIL}", 100) == 80 * {len(_TAMIL)}
save_confusion(np.eye(2, dtype=int), [name, "b"], [name, "b"], Path("{tmp_path}/confusion.svg"))
save_confusion(np.eye(2, dtype=int), [name, "b"], [name, "b"], Path("{tmp_path}/confusion.pdf"))
"""
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
