"""The layouts that labelled photos come in, one file per layout."""
