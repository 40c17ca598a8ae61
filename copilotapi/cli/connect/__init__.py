"""`copilotapi connect`: a client's settings for this gateway, printed, written or taken back."""

from copilotapi.cli.connect.command import connect

__all__ = ["connect"]
