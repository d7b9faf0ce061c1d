"""Peers that run in an environment of their own, each a script with files in and out."""
