"""Hiding what is private in photos: number plates, and what a file says beside its picture."""
