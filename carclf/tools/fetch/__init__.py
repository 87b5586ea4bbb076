"""`carclf data fetch`: labelled photos from Kaggle or an address, whole and checked, in a folder to train on."""
