"""`python -m tests.models`: explore the models, and print what goes wrong with each guard switched off."""

import argparse
from typing import Any

from tests.models import capture_set, checkout, delivery, durability, payment, settlement
from tests.models.explorer import Exploration, Model, explore

CHOICES = (delivery.MODEL, checkout.MODEL, capture_set.MODEL, payment.MODEL, settlement.MODEL, durability.MODEL)
MODELS: dict[str, Model[Any, Any]] = {model.name: model for model in CHOICES}  # each has states and guards of its own


def main() -> None:
    """Explore the models that the command line names, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.models", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="model", help=f"{', '.join(MODELS)}; all of them without")
    for name in parser.parse_args().models or MODELS:
        model = MODELS[name]
        show(f"{name}, all guards on", explore(model, model.guards))
        for guard in model.guard_names():
            show(f"{name} without {guard}", explore(model, model.guards_without(guard)))


def show(title: str, exploration: Exploration[Any]) -> None:
    """Print the outcome of an exploration."""
    print(f"{title}: {len(exploration.states):,} states, {exploration.violation or 'no violation'}", flush=True)
    for number, label in enumerate(exploration.trace, 1):
        print(f"  {number:2}. {label}")


if __name__ == "__main__":
    main()
