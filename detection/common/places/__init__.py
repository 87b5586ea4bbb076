"""Photos and results in places other than local folders: object stores, web servers, archives, lists.

A `Place` stands where a `pathlib.Path` would. Imports of this room are light; what a place needs comes when it is used.
"""
