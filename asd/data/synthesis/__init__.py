"""Machine sound from first principles: mechanisms, machines with their faults, and the scene around them."""
