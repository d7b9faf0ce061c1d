"""Names of the topics of `qianmian.events.changes`: facts that every replica must learn of.

A topic holds the newest value of each key. What keys and values are stands beside each name.
"""

from __future__ import annotations

from typing import Final

#: Subject id -> when its online features changed: replicas read the subject anew.
USERS: Final = "users"
#: What was just bought and may not be in the features yet (`qianmian.events.bought`).
BOUGHT: Final = "bought"
#: `field|venue|item`, the venue empty for all -> stock, price or moment; see `venues.inventory`.
INVENTORY: Final = "inventory"
#: Item id -> its statistics as JSON by field name, and `as_of`.
ITEM_STATISTICS: Final = "item_statistics"
#: Subject id of a visitor -> the user it was merged into, and when (`qianmian.identity.mapping`).
IDENTITY: Final = "identity"
#: Keyed hash of a subject that asked to be forgotten -> when.
FORGOTTEN: Final = "forgotten"
#: Subject id that is being erased -> `asked`, or `forgot` once the stream holds nothing of it.
ERASING: Final = "erasing"
#: `venue|race` -> what its arms have earned; the empty key -> the log's cursor of that state.
RACING: Final = "racing"
#: `status` -> what the stream process says of itself, as JSON (qianmian.stream.status).
STREAM: Final = "stream"

#: The moment that a value of `item_statistics` is of.
AS_OF: Final = "as_of"
