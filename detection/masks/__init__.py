"""Photos with masks, as detectors are trained and measured on."""
