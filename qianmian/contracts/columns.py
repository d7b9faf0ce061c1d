"""Column names of the data contract's tables."""

from __future__ import annotations

from typing import Final

USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
VENUE_ID: Final = "venue_id"

# events
EVENT_ID: Final = "event_id"
EVENT_TYPE: Final = "event_type"
TIMESTAMP: Final = "timestamp"
QUANTITY: Final = "quantity"
VALUE: Final = "value"
LIST_VALUE: Final = "list_value"  # what the line would have cost without any discount
CURRENCY: Final = "currency"
BLOCK_ID: Final = "block_id"
POSITION: Final = "position"
SESSION_ID: Final = "session_id"
ORDER_ID: Final = "order_id"
PROPENSITY: Final = "propensity"
RECOMMENDATION_ID: Final = "recommendation_id"
# of events that the service took in, beside the above
VISITOR_ID: Final = "visitor_id"  # the device, where it was told
RECEIVED_AT: Final = "received_at"
PAGE_VIEW_ID: Final = "page_view_id"
SHARED_BY: Final = "shared_by"  # who sent the link that led here
RELEASE: Final = "release"  # of the answer that showed the item
PHASE: Final = "phase"
ARMS: Final = "arms"  # JSON: [[layer, experiment, arm], ...]
SLOT: Final = "slot"  # kind of the place: organic, pinned, sponsored, ...
CAMPAIGN_ID: Final = "campaign_id"
ATTRIBUTED: Final = "attributed"  # how the event is bound to an answer: token, none, forged, ...
QUARANTINE: Final = "quarantine"  # why the event is kept apart, null for a sound one
UNKNOWN_ITEM: Final = "unknown_item"
UNKNOWN_VENUE: Final = "unknown_venue"
SPLIT: Final = "split"

# items
TITLE: Final = "title"
CATEGORY: Final = "category"
BRAND: Final = "brand"
PRICE: Final = "price"
CREATED_AT: Final = "created_at"
MARGIN: Final = "margin"  # a declared numeric column: what is earned with one unit

# users
REGION: Final = "region"  # a declared tag, or a word of the request's context

# venues
NAME: Final = "name"
KIND: Final = "kind"
STARTS_AT: Final = "starts_at"
ENDS_AT: Final = "ends_at"

# venue_items
VENUE_PRICE: Final = "venue_price"
COUPON_ID: Final = "coupon_id"
STOCK: Final = "stock"
PLACEMENT: Final = "placement"
ON_SALE_FROM: Final = "on_sale_from"
ON_SALE_TO: Final = "on_sale_to"
REGIONS: Final = "regions"  # words with spaces between; null: everywhere

# files
EVENTS_FILE: Final = "events.parquet"
USERS_FILE: Final = "users.parquet"
ITEMS_FILE: Final = "items.parquet"
VENUES_FILE: Final = "venues.parquet"
VENUE_ITEMS_FILE: Final = "venue_items.parquet"
DATASET_FILE: Final = "dataset.yaml"
IMPORT_FILE: Final = "import.json"  # the fingerprint of what was imported

#: The venue that every data set has: its whole catalogue.
WHOLE_CATALOGUE_VENUE: Final = "all"
