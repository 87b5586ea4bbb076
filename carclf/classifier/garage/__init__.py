"""A garage: classes learnt from a few photos each, that stand beside the classes of a base classifier."""
