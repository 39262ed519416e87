"""The routes that cloud platforms require of a container."""
