"""`/openapi.json`: the HTTP contract as OpenAPI 3.1, made from the models that validate it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from qianmian.contracts import api, event_api, inventory_api, people_api

MAX_USERS: Final = 200

_MODELS: Final = (
    api.RecommendRequest,
    api.RecommendResponse,
    event_api.EventsRequest,
    event_api.EventsResponse,
    inventory_api.InventoryRequest,
    inventory_api.InventoryRow,
    inventory_api.InventoryResponse,
    people_api.MergeRequest,
    people_api.MergeResponse,
    people_api.UnmergeRequest,
    people_api.UnmergeResponse,
    people_api.ForgetRequest,
    people_api.ErasureReceipt,
    people_api.AllowResponse,
    api.VenueList,
    api.UserList,
    api.Readiness,
    api.Problem,
)

_EXAMPLE: Final = {
    "user": {"id": "1228"},
    "blocks": [{"block_id": "main", "page_size": 10}],
    "params": {"explain": True},
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    _, schema = models_json_schema(
        [(model, "validation") for model in _MODELS],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "qianmian",
            "version": version("qianmian"),
            "summary": "Ranks the items of event venue pages for each visitor.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/venues/{venue_id}:recommend": {"post": _recommend()},
            "/v1/events": {"post": _events()},
            "/v1/inventory": {"post": _inventory()},
            "/v1/users:merge": {"post": _merge()},
            "/v1/users:unmerge": {"post": _unmerge()},
            "/v1/users:forget": {"post": _forget_in_body()},
            "/v1/users/{id}:forget": {"post": _forget()},
            "/v1/users/{id}:allow": {"post": _allow()},
            "/v1/receipts/{receipt_id}": {"get": _receipt()},
            "/v1/venues": {
                "get": _get("listVenues", "Every venue with its phase now", "VenueList")
            },
            "/v1/users": {
                "get": _get("listUsers", "Some known shoppers", "UserList", [_limit()], refuses=422)
            },
            "/healthz": {"get": _get("health", "The process answers", None)},
            "/readyz": {"get": _get("readiness", "A release is loaded", "Readiness", refuses=503)},
            "/metrics": {"get": _get("metrics", "Counters in Prometheus' text form", None)},
        },
        "components": {"schemas": schema["$defs"]},
    }


def _recommend() -> dict[str, Any]:
    return {
        "operationId": "recommend",
        "summary": "Rank a venue's items for a shopper",
        "parameters": [
            {
                "name": "venue_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string"},
                "description": "Id of a venue; `all` is the whole catalogue.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("RecommendRequest"), "example": _EXAMPLE}
            },
        },
        "responses": {
            "200": _json("The ranked blocks", "RecommendResponse"),
            "404": _problem("No such venue"),
            "413": _problem("The body is too large"),
            "422": _problem("A field cannot be used"),
            "503": _problem("No release is loaded"),
        },
    }


_EVENT_EXAMPLE: Final = {
    "events": [
        {
            "event_id": "0d1f6a52",
            "event_type": "click",
            "timestamp": "2017-12-05T05:00:00Z",
            "user_id": "1228",
            "item_id": "1082185",
            "venue_id": "18",
        }
    ]
}


def _events() -> dict[str, Any]:
    return {
        "operationId": "sendEvents",
        "summary": "Tell what was shown and what was done",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _ref("EventsRequest"), "example": _EVENT_EXAMPLE}
            },
        },
        "responses": {
            "202": _json("The accepted events are on the disk", "EventsResponse"),
            "413": _problem("The body is too large"),
            "422": _problem("The body is no batch of events"),
            "503": _problem("The log cannot be written now: nothing was kept, send it again"),
        },
    }


_INVENTORY_EXAMPLE: Final = {
    "rows": [
        {"item_id": "1082185", "stock": 0},
        {"item_id": "1029743", "venue_id": "18", "price": 2.49},
    ]
}


def _inventory() -> dict[str, Any]:
    return {
        "operationId": "pushInventory",
        "summary": "Tell stock, prices and sale windows as they change",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("InventoryRequest"),
                    "example": _INVENTORY_EXAMPLE,
                }
            },
        },
        "responses": {
            "202": _json("The accepted rows are on the disk", "InventoryResponse"),
            "413": _problem("The body is too large"),
            "422": _problem("The body is no list of rows"),
            "503": _problem("Nothing can be written now: nothing was kept, send it again"),
        },
    }


def _merge() -> dict[str, Any]:
    return {
        "operationId": "mergeVisitor",
        "summary": "Let a device count as an account: histories join",
        "requestBody": {"required": True, **_json_body("MergeRequest")},
        "responses": {
            "200": _json("They count as one, everywhere within a second", "MergeResponse"),
            "409": _problem("The device is merged into another account"),
            "413": _problem("The body is too large"),
            "422": _problem("A field cannot be used"),
            "503": _problem("The engine does not answer: nothing was changed"),
        },
    }


def _unmerge() -> dict[str, Any]:
    return {
        "operationId": "unmergeVisitor",
        "summary": "Let a merged device count as itself again",
        "requestBody": {"required": True, **_json_body("UnmergeRequest")},
        "responses": {
            "200": _json("Both have their own history again", "UnmergeResponse"),
            "404": _problem("The device is not merged"),
            "409": _problem("The grace period is over"),
            "413": _problem("The body is too large"),
            "422": _problem("A field cannot be used"),
            "503": _problem("The engine does not answer: nothing was changed"),
        },
    }


def _path(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "description": description,
    }


_SUBJECT: Final = "A user's id, or `visitor:` and a visitor's."


def _forget() -> dict[str, Any]:
    return {
        "operationId": "forgetUser",
        "summary": "Erase all that is known of somebody, and take in nothing new",
        "parameters": [_path("id", _SUBJECT)],
        "responses": {
            "202": _json("Taken down; the receipt shows how far it is", "ErasureReceipt"),
            "422": _problem("The id cannot be used"),
            "503": _problem("The engine does not answer: nothing was changed"),
        },
    }


def _forget_in_body() -> dict[str, Any]:
    return {
        **{name: value for name, value in _forget().items() if name != "parameters"},
        "operationId": "forget",
        "requestBody": {"required": True, **_json_body("ForgetRequest")},
    }


def _allow() -> dict[str, Any]:
    return {
        "operationId": "allowUser",
        "summary": "Let somebody who was forgotten be known again",
        "parameters": [_path("id", _SUBJECT)],
        "responses": {
            "200": _json("What is sent from now on is taken in", "AllowResponse"),
            "422": _problem("The id cannot be used"),
            "503": _problem("The engine does not answer: nothing was changed"),
        },
    }


def _receipt() -> dict[str, Any]:
    return {
        "operationId": "getReceipt",
        "summary": "How far an erasure is, and what it removed",
        "parameters": [_path("receipt_id", "As the answer to `:forget` names it.")],
        "responses": {
            "200": _json("The receipt", "ErasureReceipt"),
            "404": _problem("No such receipt"),
            "503": _problem("The receipts cannot be read now"),
        },
    }


def _json_body(model: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": _ref(model)}}}


def _get(
    operation: str,
    summary: str,
    answer: str | None,
    parameters: list[dict[str, Any]] | None = None,
    refuses: int | None = None,
) -> dict[str, Any]:
    good = _json(summary, answer) if answer else {"description": summary, "content": _TEXT}
    refusal = {
        503: _json("Not ready", "Readiness"),
        422: _problem("A parameter cannot be used"),
    }
    return {
        "operationId": operation,
        "summary": summary,
        **({"parameters": parameters} if parameters else {}),
        "responses": {"200": good, **({str(refuses): refusal[refuses]} if refuses else {})},
    }


_TEXT: Final = {"text/plain": {"schema": {"type": "string"}}}


def _limit() -> dict[str, Any]:
    return {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_USERS, "default": 20},
        "description": "Shoppers wanted; those with the most events come first.",
    }


def _json(description: str, model: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(model)}}
    return {"description": description, "content": content}


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {"description": description, "content": content}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model}"}
