"""The control: a catalogue and an order as an ordinary good Django project has them. One database, no events, no saga."""
