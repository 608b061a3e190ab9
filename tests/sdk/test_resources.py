"""Resources: typed fields, settings read late, opened once, secrets unseen."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from arco_flow import ArcoError, DefinitionError, Resource, asset, env, secret
from arco_flow.sdk.execution import ResourceSet
from arco_flow.testing import build_context, materialize_to_memory


class Shop(Resource):
    url: str = env("SHOP_URL_OF_TEST")
    retries: int = env("SHOP_RETRIES_OF_TEST", 3)
    share: float = env("SHOP_SHARE_OF_TEST", 0.5)
    verbose: bool = env("SHOP_VERBOSE_OF_TEST", False)
    folder: Path = env("SHOP_FOLDER_OF_TEST", Path("/data"))
    region: str | None = env("SHOP_REGION_OF_TEST", None)
    token: str = secret("SHOP_TOKEN_OF_TEST")
    page_size: int = 100


class Journal(Resource):
    name: str = "journal"

    def open(self) -> None:
        events.append(f"open {self.name}")

    def close(self) -> None:
        events.append(f"close {self.name}")


class Client(Resource):
    journal: Journal = Journal()

    async def open(self) -> None:
        self.thread = threading.current_thread().name
        events.append(f"open client of {self.journal.name}")

    async def close(self) -> None:
        events.append("close client")


events: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    events.clear()


def test_settings_are_read_when_they_are_used_and_converted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop()
    monkeypatch.setenv("SHOP_URL_OF_TEST", "https://x")
    monkeypatch.setenv("SHOP_RETRIES_OF_TEST", "7")
    monkeypatch.setenv("SHOP_SHARE_OF_TEST", "0.25")
    monkeypatch.setenv("SHOP_VERBOSE_OF_TEST", "Yes")
    monkeypatch.setenv("SHOP_FOLDER_OF_TEST", "/tmp/x")
    monkeypatch.setenv("SHOP_REGION_OF_TEST", "eu")
    assert (shop.url, shop.retries, shop.share, shop.verbose) == ("https://x", 7, 0.25, True)
    assert (shop.folder, shop.region, shop.page_size) == (Path("/tmp/x"), "eu", 100)
    monkeypatch.setenv("SHOP_URL_OF_TEST", "https://changed")
    assert shop.url == "https://x"


def test_defaults_hold_when_a_variable_is_not_set() -> None:
    shop = Shop(url="given")
    assert (shop.url, shop.retries, shop.verbose, shop.region) == ("given", 3, False, None)
    assert shop.folder == Path("/data")


def test_a_missing_variable_says_where_it_is_needed() -> None:
    with pytest.raises(ArcoError) as caught:
        Shop().url  # noqa: B018
    assert str(caught.value) == (
        "Shop.url needs the environment variable SHOP_URL_OF_TEST, which is not set\n"
        "  fix: set SHOP_URL_OF_TEST where the worker runs, or pass url=…"
    )


def test_text_of_the_wrong_type_is_quoted_unless_it_is_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Odd(Resource):
        port: int = env("ODD_PORT")
        pin: int = secret("ODD_PIN")

    monkeypatch.setenv("ODD_PORT", "eighty")
    monkeypatch.setenv("ODD_PIN", "hunter2-pin")
    with pytest.raises(ArcoError, match=r"Odd.port is int, .* ODD_PORT holds 'eighty'"):
        Odd().port  # noqa: B018
    with pytest.raises(ArcoError, match="ODD_PIN holds its text") as caught:
        Odd().pin  # noqa: B018
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN_OF_TEST", "hunter2-token")

    @asset(key="t.leak")
    def leak(shop: Shop, given: Given) -> None:
        logger = build_context().log
        logger.info("token %s and %s", shop.token, given.token)
        try:
            raise ValueError(shop.token)
        except ValueError:
            logger.exception("failed")

    class Given(Resource):
        token: str = secret("NOT_SET_ANYWHERE")

    leak._local_names["Given"] = Given  # type: ignore[index]
    shop, given = Shop(), Given(token="hunter3-token")
    texts: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(self.format(record))

    handler = Keep()
    logging.getLogger("arco_flow.asset").addHandler(handler)
    try:
        result = materialize_to_memory([leak], resources=[shop, given])
    finally:
        logging.getLogger("arco_flow.asset").removeHandler(handler)
    assert shop.token == "hunter2-token"
    shown = "\n".join([repr(shop), str(shop), repr(given), *texts, *result.logs])
    assert "hunter" not in shown
    assert "token *** and ***" in result.logs
    assert "token=secret('SHOP_TOKEN_OF_TEST')" in repr(shop)
    assert "token='***'" in repr(given)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Shop(ulr="x"), "Shop has no field 'ulr'; did you mean 'url'?"),  # type: ignore[call-arg]
        (lambda: Shop("x"), "Shop takes its fields by name, not 'x'"),  # type: ignore[misc]
        (lambda: env(""), "'' is no name of an environment variable"),
        (lambda: secret("A=B"), "'A=B' is no name of an environment variable"),
    ],
)
def test_wrong_construction_is_refused(make, problem: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DefinitionError) as caught:
        make()
    assert problem in str(caught.value)


def test_fields_do_not_change_but_state_of_a_connection_may() -> None:
    shop = Shop(url="x")
    with pytest.raises(DefinitionError, match=r"Shop.url can not be changed"):
        shop.url = "y"
    shop.client = object()  # type: ignore[attr-defined]


def test_a_mutable_default_and_a_type_that_text_can_not_become() -> None:
    with pytest.raises(DefinitionError, match="mutable default"):
        type("Bad", (Resource,), {"__annotations__": {"x": list}, "x": []})
    with pytest.raises(DefinitionError, match=r"which env\('X'\) can not become"):
        type("Bad", (Resource,), {"__annotations__": {"x": dict}, "x": env("X")})


def test_open_runs_once_after_the_nested_ones_and_close_in_the_opposite_order() -> None:
    with ResourceSet() as resources:
        first, second = resources.get(Client), resources.get(Client)
        assert first is second
        assert resources.get(Journal) is first.journal
        assert first.thread == "arco-flow-loop"
        assert events == ["open journal", "open client of journal"]
    assert events[2:] == ["close client", "close journal"]


def test_an_instance_of_the_definitions_fills_a_nested_field_that_was_left_open() -> None:
    resources = ResourceSet([Journal(name="special")])
    assert resources.get(Client).journal.name == "special"
    own = Client(journal=Journal(name="own"))
    assert ResourceSet([own, Journal(name="special")]).get(Client).journal.name == "own"


def test_two_instances_of_one_class_and_an_ambiguous_base() -> None:
    class Other(Journal):
        pass

    class Third(Journal):
        pass

    with pytest.raises(DefinitionError, match="two instances of resource Journal"):
        ResourceSet([Journal(), Journal(name="b")])
    with pytest.raises(DefinitionError, match="Journal could be any of Other, Third"):
        ResourceSet([Other(), Third()]).find(Journal)
    only = Other()
    assert ResourceSet([only]).find(Journal) is only


def test_a_failing_open_names_the_resource_and_is_not_closed() -> None:
    class Broken(Resource):
        def open(self) -> None:
            raise OSError("no route")

        def close(self) -> None:
            events.append("closed")

    with ResourceSet() as resources, pytest.raises(OSError, match="no route") as caught:
        resources.get(Broken)
    assert caught.value.__notes__ == ["while calling open() of resource Broken"]
    assert events == []


def test_every_open_resource_is_closed_although_one_close_fails() -> None:
    class Broken(Resource):
        def close(self) -> None:
            raise OSError("late")

    resources = ResourceSet()
    resources.get(Journal)
    resources.get(Broken)
    with pytest.raises(OSError, match="late"):
        resources.close_all()
    assert events == ["open journal", "close journal"]


def test_several_threads_open_a_resource_once() -> None:
    resources = ResourceSet()
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        resources.get(Journal)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events == ["open journal"]
