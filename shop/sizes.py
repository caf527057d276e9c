"""Sizes of texts and ranges of numbers, in characters and units: API types and columns read the same constant.

`tests/architecture/test_sizes.py` compares every member of a request with the column that it is stored in.
"""

EMAIL_LENGTH = 254  # RFC 5321: a path has 256 octets, two of them angle brackets
ACTOR_LENGTH = EMAIL_LENGTH  # of a caller's name, which the audit trail keeps as the actor
SKU_LENGTH = 64
SLUG_LENGTH = 100
TEXT_LENGTH = 200  # names, references, reasons
PRODUCT_NAME_LENGTH = 200
VARIANT_NAME_LENGTH = 200
OFFER_NAME_LENGTH = PRODUCT_NAME_LENGTH + len(", ") + VARIANT_NAME_LENGTH
CURRENCY_LENGTH = 3
PROVIDER_LENGTH = 30
PAYMENT_TOKEN_LENGTH = 255
IDEMPOTENCY_KEY_LENGTH = 255
IDEMPOTENCY_SCOPE_LENGTH = 200
REQUEST_ID_LENGTH = 64

MAX_SMALLINT = 2**15 - 1
MAX_INT = 2**31 - 1
MAX_BIGINT = 2**63 - 1
