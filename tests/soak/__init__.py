"""The soak test: buyers order from a running shop while faults are injected into it; then an audit checks every promise."""
