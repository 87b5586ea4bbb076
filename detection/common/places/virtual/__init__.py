"""Files that are folders of photos: archives, lists and tables."""
