"""How far token estimates are off for a model, learnt from what Copilot counted itself. Per process, forgotten with it."""

import threading

# Some requests teach enough; each costs a count of its prompt.
_LEARN_EVERY = 50
_WEIGHT = 0.2
_LEAST, _MOST = 0.8, 2.0
# Fixed costs outweigh the text of tiny prompts.
_MIN_TOKENS = 200


class Calibration:
    """A factor for each model, 1 until something is known."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._mutex = threading.Lock()

    def is_due(self, model: str, told_tokens: int) -> bool:
        """Whether this request of `told_tokens` is one to learn from."""
        if told_tokens < _MIN_TOKENS:
            return False
        with self._mutex:
            seen = self._seen.get(model, 0)
            self._seen[model] = seen + 1
        return seen % _LEARN_EVERY == 0

    def learn(self, model: str, told_tokens: int, estimated_tokens: int) -> None:
        if estimated_tokens <= 0:
            return
        ratio = min(max(told_tokens / estimated_tokens, _LEAST), _MOST)
        with self._mutex:
            known = self._factors.get(model, ratio)
            self._factors[model] = known + _WEIGHT * (ratio - known)

    def apply(self, model: str, estimated_tokens: int) -> int:
        return round(estimated_tokens * self._factors.get(model, 1.0))
