"""Reports: over the days of a week, over those of a month, and over the whole year."""

from collections.abc import Sequence

import polars as pl

from arco_flow import AssetContext, MonthlyPartitions, WeeklyPartitions, asset
from nyc_flights.daily import ZONE, delays_by_carrier, flights

# Weeks start on Monday. The first whole one is that of January 7th, and the last one ends on
# December 29th: the days at the year's ends belong to months, but to no week.
WEEKS = WeeklyPartitions("2013-01-01", end="2014-01-01", timezone=ZONE, day_offset=1)
MONTHS = MonthlyPartitions("2013-01-01", end="2014-01-01", timezone=ZONE)
OWNERS = ["team:flights", "boss@example.com"]

FEWEST_FLIGHTS = 100
"""Fewer arrivals a year than this say nothing about a route."""


def total_delays(days: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Delays by carrier over several days, the worst carrier first."""
    totals = (
        pl.concat(days)
        .group_by("carrier", "airline")
        .agg(
            pl.col("date").n_unique().alias("days"),
            pl.sum("flights", "cancelled", "arrived", "delay_minutes", "late", "in_rain_or_snow"),
        )
    )
    means = totals.with_columns(
        # Of a carrier whose every flight was cancelled there is no mean.
        mean_delay=pl.col("delay_minutes") / pl.col("arrived").replace(0, None),
        cancelled_share=pl.col("cancelled") / pl.col("flights"),
    )
    return means.sort("mean_delay", "carrier", descending=[True, False], nulls_last=True)


@asset(group="reports", partitions=WEEKS, owners=OWNERS, kinds=["parquet"])
def weekly(
    context: AssetContext, days: Sequence[pl.DataFrame] = delays_by_carrier[0:]
) -> pl.DataFrame:
    """Carriers by their delays in a week; `[0:]` means the days that lie within it, all seven."""
    report = total_delays(days)
    context.report(days=len(days), flights=int(report["flights"].sum()))
    return report


@weekly.check(blocking=True)
def every_day_is_covered(report: pl.DataFrame) -> bool:
    """Somebody flew on each of the seven days."""
    return report["days"].max() == 7


@asset(group="reports", partitions=MONTHS, owners=OWNERS, kinds=["parquet"])
def monthly(days: Sequence[pl.DataFrame] = delays_by_carrier[0:]) -> pl.DataFrame:
    """Carriers by their delays in a month."""
    return total_delays(days)


@asset(group="reports", partitions=MONTHS, owners=OWNERS, kinds=["parquet"])
def fleet(
    planes: pl.DataFrame, context: AssetContext, days: Sequence[pl.DataFrame] = flights[0:]
) -> pl.DataFrame:
    """Which makes of aircraft flew in a month, how old they were, how late they came."""
    flown = pl.concat(days).join(planes, on="tailnum", how="left", validate="m:1")
    context.report(flights=flown.height, of_unknown_planes=flown["manufacturer"].null_count())
    return (
        flown.group_by("manufacturer")
        .agg(
            flights=pl.len(),
            planes=pl.col("tailnum").n_unique(),
            mean_age=(pl.col("date").dt.year() - pl.col("built")).mean(),
            mean_delay=pl.col("arr_delay").mean(),
        )
        .sort("flights", "manufacturer", descending=[True, False])
    )


@asset(group="network", owners=OWNERS, kinds=["parquet"])
def routes(all_flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """The network of the year: every route with its length, traffic and delays.

    Four airports in the Caribbean have no entry, so their names are missing and not their routes.
    """
    edges = all_flights.group_by("origin", "dest").agg(
        flights=pl.len(),
        arrived=pl.col("arr_delay").count(),
        carriers=pl.col("carrier").n_unique(),
        miles=pl.col("distance").first(),
        mean_delay=pl.col("arr_delay").mean(),
    )
    places = airports.select(dest="faa", destination="name")
    return edges.join(places, on="dest", how="left", validate="m:1").sort("origin", "dest")


@routes.check
def no_route_leads_home(routes: pl.DataFrame) -> bool:
    """Whoever leaves an airport arrives at another one. A failure is shown and blocks nothing."""
    return routes.filter(pl.col("origin") == pl.col("dest")).is_empty()


@asset(group="network", owners=OWNERS, kinds=["parquet"])
def worst_routes(routes: pl.DataFrame) -> pl.DataFrame:
    """The ten routes with the longest mean delay at arrival, of those that are flown enough."""
    known = routes.filter(pl.col("arrived") >= FEWEST_FLIGHTS)
    return known.sort("mean_delay", descending=True).head(10)
