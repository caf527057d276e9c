"""The remote transport: calls over HTTP/1.1 between processes that host different contexts.

    POST /inventory/reserve
    Authorization: Satsuma orders 1763725000 8f1c… 2950 6b0d…    caller, time, nonce, milliseconds left, signature
    Satsuma-Trace: {"correlation_id": …}

Request and response bodies are those of the loopback transport (`shop.calls.services`). The signature covers path,
caller, time, nonce, deadline, trace and body. The server listens at an internal address, never at a public one. A
response that is not a regular answer raises `Unavailable`: the call may or may not have happened. The client repeats
calls that may be repeated (`@read`, `@idempotent`) until the deadline.
"""
