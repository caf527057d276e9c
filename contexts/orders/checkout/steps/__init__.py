"""The steps of the checkout, one per file: `do`, `undo` and, for definite refusals, `on_refused`.

`next_step` is the step that follows, taken from the table in `checkout.runner`. A step returns a Pause where it has to wait.
"""
