"""The whole chain on drawn street scenes, without data or network."""
