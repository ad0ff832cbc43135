"""Faces and number plates, made unreadable in what leaves the system."""
