"""The backend that hands photos to workers through RabbitMQ, and the workers."""
