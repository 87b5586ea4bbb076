"""Training scenes: windows of photos, cars pasted into others."""
