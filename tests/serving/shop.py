"""The tiny shop as a running service: real settings and release, users from a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.purse import Purse
from qianmian.events.engine import open_engine
from qianmian.venues import VenueBook
from qianmian.workspace import Workspace
from serving.catalogue import Catalogue
from serving.clock import ClockSettings
from serving.feed.resident import Goods
from serving.feed.shelf import Offers
from serving.service import OnlineUsers, VenueService
from serving.settings import LiveSettings, ServeSettings
from tests.serving import tiny
from tests.serving.conftest import SALE_ITEMS, VENUES


class KnownUsers:
    """Stands for Feast's online store."""

    def online_user(self, user_id: str) -> Mapping[str, object] | None:
        return tiny.USERS.get(user_id)

    def erase_users(self, user_ids: Sequence[str]) -> int:
        return len(set(user_ids) & set(tiny.USERS))


def live_at(mode: str = "fixed") -> LiveSettings:
    at = datetime.fromtimestamp(tiny.NOW, tz=UTC)
    return LiveSettings(clock=ClockSettings.model_validate({"mode": mode, "at": at}))


def service(
    home: Path,
    live: LiveSettings | None = None,
    configs: Path | None = None,
    book: VenueBook | None = None,
    campaigns: CampaignBook | None = None,
    purse: Purse | None = None,
    users: OnlineUsers | None = None,
    **settings_changed: object,
) -> VenueService:
    """A service on the releases below `home`; there may be none."""
    web = home / "web"
    web.mkdir(parents=True, exist_ok=True)
    (web / "index.html").write_text("<h1>Venues</h1>")
    (web / "page.js").write_text("export {};")
    settings = ServeSettings(
        dataset=tiny.DATASET, home=home, web=web, configs=configs or home / "no configs"
    ).model_copy(update=settings_changed)
    return VenueService(
        settings,
        live or live_at(),
        book=book or VenueBook(VENUES),
        catalogue=Catalogue(
            Goods({"sale": SALE_ITEMS}, {"sale": Offers(coupons={SALE_ITEMS[0]: "c-9"})}),
            tuple((user, 3) for user in sorted(tiny.USERS)),
            frozenset(tiny.item_id(n) for n in range(tiny.ITEMS)),
            currency="EUR",
        ),
        users=users or KnownUsers(),
        engine=open_engine(settings.engine, Workspace(home, tiny.DATASET)),
        schema=lambda: tiny.SCHEMA,
        campaigns=campaigns,
        purse=purse,
    )
