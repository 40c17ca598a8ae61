"""docs/benchmarks.svg: CPU of each gateway by scenario, on a log scale. Run by the bench's own Python, which has pygal:
one line of JSON on stdin, `{"scenarios": [...], "series": {name: [µs or null, ...]}}`; the picture's path as argument.
"""

import json
import sys
from pathlib import Path

import pygal
from pygal.style import CleanStyle


def main() -> None:
    told = json.loads(sys.stdin.read())
    chart = pygal.Bar(
        logarithmic=True,
        js=[],
        style=CleanStyle,
        width=900,
        height=450,
        title="CPU microseconds per request (paced: per chunk), log scale; less is better",
        x_labels=told["scenarios"],
    )
    for name, values in told["series"].items():
        chart.add(name, values)
    Path(sys.argv[1]).write_bytes(chart.render())


if __name__ == "__main__":
    main()
