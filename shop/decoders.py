"""Preparation of msgspec decoders, before threads use them.

msgspec prepares the decoding of a class when it is used first. If two threads do so at the same time, one of them finds
the work half done, and the process crashes with a segmentation fault (msgspec 0.22).
"""

import msgspec


def warm_up_decoders(*types: object) -> None:
    """Prepare the decoding of these types, at import time. None is ignored."""
    for type_ in types:
        if type_ is not None:
            msgspec.json.Decoder(type_)
