"""What will be decoded, known before there are threads that decode it.

msgspec works out how to read a class when it is first asked to. A second thread that asks meanwhile finds the work half
done, and ends the process with a segmentation fault (msgspec 0.22).
"""

from typing import Any

import msgspec


def learn(*types: Any) -> None:
    """Have msgspec work these out now: while a module is imported, which one thread does. None stands for nothing."""
    for type_ in types:
        if type_ is not None:
            msgspec.json.Decoder(type_)
