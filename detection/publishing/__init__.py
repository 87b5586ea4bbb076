"""What makes a photo fit to be published: what is private is hidden, the car stands in a studio."""
