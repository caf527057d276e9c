"""The soak: buyers against a running shop while its processes, databases, provider and mail server fail; then an audit."""
