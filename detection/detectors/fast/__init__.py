"""What makes Detectron2 models fast on their device without changing what they find."""
