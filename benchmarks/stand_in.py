"""Photos to time things on where none are given, and weights of a zoo model where the trained ones can't be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CAR = 2
# Of some 1,000 proposals per photo, about what a trained model gives a score above 0.5 in a street before NMS.
CONFIDENT = 40


def draw_photos(folder: Path, count: int, seed: int = 5) -> None:
    """Drawn street scenes of 640x480 as JPEG files."""
    from carclf.datasets.drawn.car_shapes import CAR_SHAPES
    from carclf.datasets.drawn.scenes import draw_scene
    from detection.images.write import save_image

    rng = np.random.default_rng(seed)
    shapes = list(CAR_SHAPES)
    for number in range(count):
        scene = draw_scene(shapes[number % len(shapes)], rng, (480, 640))
        save_image(folder / f"{number:05}.jpg", scene.image, 92)


def given_or_drawn(photos: Path | None, folder: Path, count: int) -> list[Path]:
    """The photos below `photos`, sorted; without it, as many drawn ones as wanted, in `folder`/drawn."""
    if photos is None:
        photos = folder / "drawn"
        photos.mkdir()
        draw_photos(photos, count)
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not files:
        raise SystemExit(f"There are no photos in '{photos}'.")
    return files


def write_random_weights(model: str, photos: list[np.ndarray], path: Path, seed: int = 0) -> None:
    """Random weights under which the model has as much to do as a trained one: 1,000 proposals, some cars per photo.

    photos: RGB uint8 HxWx3 on which the scores are set. Weights as they are initialised give a handful of proposals,
    no boxes and no masks, which would flatter everyone.
    """
    import torch
    from detectron2 import model_zoo
    from detectron2.modeling import build_model
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    cfg = model_zoo.get_config(f"{model}.yaml")
    cfg.MODEL.DEVICE = "cpu"
    net = build_model(cfg).eval()
    predictor = net.roi_heads.box_predictor
    with torch.no_grad():
        for name, module in net.backbone.bottom_up.named_modules():
            if name.endswith("conv3"):  # else activations grow from block to block
                module.norm.weight.fill_(0.2)
        net.proposal_generator.rpn_head.anchor_deltas.weight.mul_(0.02)
        predictor.bbox_pred.weight.mul_(0.1)
        predictor.cls_score.weight.zero_()
        predictor.cls_score.bias.fill_(-30.0)
        predictor.cls_score.bias[-1] = 0.0
        direction = torch.randn(predictor.cls_score.in_features)
        seen = []
        hook = predictor.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0] @ direction))
        for photo in photos:
            tensor = torch.from_numpy(np.ascontiguousarray(photo[..., ::-1].transpose(2, 0, 1)))
            net.inference([{"image": tensor}], do_postprocess=False)
        hook.remove()
        values = torch.cat(seen)
        scale = 4.0 / values.std()
        predictor.cls_score.weight[CAR] = direction * scale
        level = values.kthvalue(max(1, len(values) - CONFIDENT * len(photos))).values
        predictor.cls_score.bias[CAR] = -level * scale
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
