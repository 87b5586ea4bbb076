"""What a training reads: crops, data sets, augmentation, cached features."""
