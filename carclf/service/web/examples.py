"""What the OpenAPI page shows of bodies and answers."""

from __future__ import annotations

from typing import Any

from carclf.recognition.prediction import COLOUR_COLUMNS, LEVEL_COLUMNS

_CAR = {
    "file": "car.jpg",
    "status": "ok",
    "label": "Audi S5 Coupe 2012",
    "confidence": 0.962,
    "top": [
        {"label": "Audi S5 Coupe 2012", "probability": 0.962},
        {"label": "Audi A5 Coupe 2012", "probability": 0.021},
    ],
    "box": [41.0, 80.5, 612.0, 401.0],
    "reason": "",
    "width": 640,
    "height": 480,
    "outline": None,
    "cutout": None,
    "level": "class",
    "make": "Audi",
    "make_confidence": 0.994,
    "model": "Audi S5",
    "model_confidence": 0.971,
    "year": "2012",
    "year_confidence": 0.971,
    "said": "Audi S5 Coupe 2012",
    "colour": "silver",
    "colour_confidence": 0.914,
    "hidden": None,
    "nearly_hidden": None,
}
_MAKE = _CAR | {
    "label": "Audi",
    "confidence": 0.951,
    "top": [
        {"label": "Audi S4 Sedan 2012", "probability": 0.52},
        {"label": "Audi A5 Coupe 2012", "probability": 0.36},
    ],
    "level": "make",
    "make_confidence": 0.951,
    "model": None,
    "model_confidence": 0.553,
    "year": None,
    "year_confidence": 0.541,
    "said": "Audi, probably an S4 or an A5",
}
_MORE = (*LEVEL_COLUMNS, *COLOUR_COLUMNS, "said", "hidden", "nearly_hidden")
_EMPTY = dict.fromkeys(("label", "confidence", "box", "outline", "cutout", *_MORE)) | {"top": []}
_CAT = _EMPTY | {
    "file": "cat.jpg", "status": "no_car", "reason": "no vehicle found in the photo", "width": 500, "height": 375,
}  # fmt: skip
_BROKEN = _EMPTY | {
    "file": "half.jpg",
    "status": "unreadable",
    "reason": "'half.jpg' is truncated: the file ends before the picture does.",
    "width": None,
    "height": None,
}
_PICTURES = _CAR | {
    "outline": [[[41.0, 300.0], [120.5, 170.0], [430.0, 80.5], [612.0, 260.0], [560.0, 401.0]]],
    "cutout": "data:image/jpeg;base64,/9j/4AAQ...",
}
_HIDDEN = _PICTURES | {
    "hidden": [
        {"kind": "plate", "corners": [[402.1, 318.4], [468.0, 312.9], [468.3, 327.5], [402.5, 333.2]], "score": 0.874}
    ],
    "nearly_hidden": [],
}


def problem(what: str, detail: str = "One sentence that says what is wrong and what to do.") -> dict:
    """An answer that is one sentence."""
    return {
        "description": what,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"detail": {"type": "string"}},
                    "required": ["detail"],
                },
                "example": {"detail": detail},
            }
        },
    }


def _answers(*answers: dict, **more: str) -> dict:
    return {"value": more | {"answers": list(answers)}}


PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photos"],
                    "properties": {
                        "photos": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF files.",
                        }
                    },
                },
                "encoding": {"photos": {"contentType": "image/jpeg, image/png, image/webp, image/*"}},
            }
        },
    }
}
PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One answer per photo, in order.",
        "content": {
            "application/json": {
                "examples": {
                    "a car": _answers(_CAR),
                    "only the make is sure": _answers(_MAKE),
                    "several photos": _answers(_CAR, _CAT, _BROKEN),
                    "pictures=true": _answers(_PICTURES),
                    "pictures=true&hide=plates": _answers(_HIDDEN),
                }
            }
        },
    },
    400: problem("The body is not well-formed, or it ended early."),
    408: problem("The request took too long, or came slowly while others needed the room."),
    413: problem("Too many bytes, pixels or photos.", "'car.jpg' is larger than 20 MB: shrink it first."),
    415: problem("Something else than photos in multipart/form-data."),
    422: {
        "description": "There is no photo in the request, or none of them could be read (with the answers, then).",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "detail": {"type": "string"},
                        "answers": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}},
                    },
                    "required": ["detail"],
                },
                "examples": {
                    "none could be read": _answers(
                        _BROKEN, detail="None of the photos could be read: see the reason of each."
                    )
                },
            }
        },
    },
    429: problem("Too many connections or requests from this address."),
    503: problem("Too busy, still loading, or stopping; Retry-After says when to come again."),
}
# What the service answers in addition where it takes URLs.
URL_BODY = {
    "requestBody": {
        "required": True,
        "content": PREDICT_BODY["requestBody"]["content"]  # type: ignore[operator]
        | {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["url"],
                    "additionalProperties": False,
                    "properties": {
                        "url": {
                            "type": "string",
                            "description": "Of one photo, on the public internet.",
                            "minLength": 1,
                        }
                    },
                },
                "example": {"url": "https://cars.example/car.jpg"},
            }
        },
    }
}
URL_RESPONSES: dict[int | str, dict[str, Any]] = {
    403: problem("The host of the URL is not on the public internet."),
    502: problem("The server of the URL can't be reached, or gives no photo."),
    504: problem("The server of the URL is too slow."),
}
