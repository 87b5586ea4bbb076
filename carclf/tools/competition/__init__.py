"""The Kaggle competition's folder or zip, and an answer to it."""
