"""What a folder run writes: manifest, detections, summary."""
