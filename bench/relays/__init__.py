"""Gateways of a few lines, to measure the real ones by."""
