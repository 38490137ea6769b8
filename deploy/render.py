"""Renders the chart as Helm does: values as JSON in `COORDINATOR_VALUES`, manifests on standard output.

It is Helm itself, as a library (PyPI: helm-python-sdk), so what is tested is what a cluster gets. With `--lint` it
prints what Helm's linter finds instead.
"""

import argparse
import json
import os
import pathlib
import sys

import helm_python

CHART = pathlib.Path(__file__).parent / "chart"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lint", action="store_true")
    arguments = parser.parse_args()
    if arguments.lint:
        print(json.dumps(helm_python.lint(str(CHART))))
        return 0
    values = json.loads(os.environ.get("COORDINATOR_VALUES", "{}"))
    with helm_python.Chart.load(str(CHART)) as chart:
        try:
            chart.validate_schema(values)
            rendered = chart.render(values, name="coordinator", namespace="kube-system")
        except helm_python.HelmError as error:
            print(error, file=sys.stderr)
            return 1
    for name in sorted(rendered):
        if name.endswith("NOTES.txt") or not rendered[name].strip():
            continue
        print(f"---\n# {name.removeprefix('coordinator/templates/')}")
        print(rendered[name].strip().removeprefix("---").strip())
    return 0


sys.exit(main())
