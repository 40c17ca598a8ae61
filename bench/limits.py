"""How many sockets a process may hold."""

import resource


def raise_descriptor_limit() -> int:
    """Raises this process's limit of open descriptors, and its children's, to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
