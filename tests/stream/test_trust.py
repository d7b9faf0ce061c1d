from qianmian.trust.store import FLAGS_FILE, FlagStore
from tests.stream.conftest import sent


def storm(start):
    return [sent(n, "u1", "i01", "cart", timestamp=1e9 + 0.1 * n) for n in range(start, start + 12)]


def test_flags_come_to_stand_beside_the_log(shop):
    streaming = shop.start()
    shop.send(*storm(0))
    streaming.drain()
    flags = FlagStore(shop.workspace.events / FLAGS_FILE)
    assert flags.counts() == {}
    again = shop.start()  # as after a restart: what was committed is remembered, not judged again
    shop.send(*storm(12))
    again.drain()
    assert flags.counts() == {"burst": 24}
    assert flags.total() == 24
    log, _ = shop.engine.events.read("", 100)
    assert len(log) == 24  # nothing left it
