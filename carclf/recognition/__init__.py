"""The parts of the chain from a raw photo to a name: `carclf.recognition.recognizer` joins them."""
