"""The version of this package, read by the packaging metadata and by the gateway itself."""

VERSION = "0.1.0"
