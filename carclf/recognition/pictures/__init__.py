"""Pictures that predictions leave behind: overlays and cut-outs."""
