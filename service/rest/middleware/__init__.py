"""Wrappers around the application, each used only if its setting is on."""
