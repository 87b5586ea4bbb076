"""The web service: photos by HTTP in, answers out; recognized here, or by workers behind a message broker."""
