"""docs/benchmarks.svg: CPU of each gateway by scenario, on a log scale. Run by the bench's own Python, which has pygal:
one line of JSON on stdin, `{"scenarios": [...], "series": {name: [µs or null, ...]}}`; the picture's path as argument.
"""

import json
import math
import sys
from pathlib import Path

import pygal
from pygal.style import CleanStyle

# Where bars begin: a log scale has no zero.
_LEAST = 1


def main() -> None:
    told = json.loads(sys.stdin.read())
    series = {name: values for name, values in told["series"].items() if any(values)}
    decades = math.ceil(math.log10(max(value for values in series.values() for value in values if value)))
    chart = pygal.Bar(
        logarithmic=True,
        js=[],
        style=CleanStyle,
        width=900,
        height=450,
        title="CPU microseconds per request (paced: per chunk), log scale; less is better",
        x_labels=told["scenarios"],
        range=(_LEAST, 10**decades),
        zero=_LEAST,
        y_labels=[10**power for power in range(decades + 1)],
        truncate_legend=-1,
    )
    for name, values in series.items():
        chart.add(name, values)
    Path(sys.argv[1]).write_bytes(chart.render())


if __name__ == "__main__":
    main()
