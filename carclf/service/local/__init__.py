"""The backend that recognizes photos in the web process itself."""
