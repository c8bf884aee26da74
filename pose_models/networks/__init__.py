"""Pose networks, one file a family; ``catalogue`` lists them with their published facts."""
