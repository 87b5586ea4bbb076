"""The colour of a car's paint, in the words of dealers."""
