"""Test-time augmentation: several views of each crop, whose answers are averaged."""
