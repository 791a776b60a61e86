# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy>=1.26", "pandas>=2.2"]
# ///
"""A year of weather at four made-up stations: simulated with numpy, summed up with pandas, drawn in text.

    science [--seed N] [--station NAME]
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

# Station: mean temperature, half of the difference between summer and winter (°C), share of wet days.
STATIONS = {
    "Harbour": (11.0, 7.0, 0.45),
    "Plain": (9.5, 11.0, 0.35),
    "Ridge": (3.0, 9.0, 0.55),
    "Valley": (12.5, 10.0, 0.25),
}
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="science", description="A simulated year of weather.")
    parser.add_argument("--seed", type=int, default=2024, help="another year (default: %(default)s)")
    parser.add_argument("--station", choices=list(STATIONS), default="Ridge", help="which one is drawn (default: %(default)s)")
    options = parser.parse_args()

    weather = simulate(np.random.default_rng(options.seed))

    print(f"A year at {len(STATIONS)} stations, seed {options.seed}: {len(weather):,} days measured\n")
    print(by_station(weather).to_string(float_format="{:.1f}".format))
    print(f"\n{options.station}, daily mean (°C) and rain (mm) by week\n")
    for line in chart(by_week(weather, options.station)):
        print(line)


def simulate(rng: np.random.Generator) -> pd.DataFrame:
    """One row for each day and station: a seasonal wave, a lazy random walk around it, and showers."""
    days = pd.date_range("2024-01-01", "2024-12-31", freq="D")
    season = -np.cos(2 * np.pi * (np.arange(1, len(days) + 1) - 20) / 366)
    frames = []
    for station, (mean, swing, wet) in STATIONS.items():
        shocks = rng.normal(scale=1.8, size=len(days))
        drift = np.empty_like(shocks)
        drift[0] = shocks[0]
        for day in range(1, len(days)):
            drift[day] = 0.75 * drift[day - 1] + shocks[day]
        rain = np.where(rng.random(len(days)) < wet, rng.gamma(shape=1.2, scale=5.0, size=len(days)), 0.0)
        frames.append(pd.DataFrame({"station": station, "day": days, "temperature": mean + swing * season + drift, "rain": rain}))
    return pd.concat(frames, ignore_index=True)


def by_station(weather: pd.DataFrame) -> pd.DataFrame:
    table = weather.groupby("station").agg(
        coldest=("temperature", "min"),
        mean=("temperature", "mean"),
        warmest=("temperature", "max"),
        frost_days=("temperature", lambda column: int((column < 0).sum())),
        rain_mm=("rain", "sum"),
    )
    rainiest = weather.groupby(["station", weather["day"].dt.month])["rain"].sum().unstack().idxmax(axis="columns")
    return table.assign(rainiest_month=[MONTHS[month - 1] for month in rainiest])


def by_week(weather: pd.DataFrame, station: str) -> pd.DataFrame:
    return weather[weather["station"] == station].set_index("day").resample("7D").agg({"temperature": "mean", "rain": "sum"})


def chart(weeks: pd.DataFrame, rows: int = 12) -> list[str]:
    """A temperature curve over a row of rain bars, one column for each week."""
    temperature, rain = weeks["temperature"].to_numpy(), weeks["rain"].to_numpy()
    low, high = np.floor(temperature.min()), np.ceil(temperature.max())
    levels = np.linspace(high, low, rows)
    nearest = np.abs(levels[:, None] - temperature[None, :]).argmin(axis=0)

    canvas = np.full((rows, len(weeks)), " ")
    if low < 0 < high:
        canvas[np.abs(levels).argmin()] = "·"
    canvas[nearest, np.arange(len(weeks))] = "●"
    lines = [f"{level:6.1f} ┤{''.join(row)}" for level, row in zip(levels, canvas)]

    bars = np.array(list(" ▁▂▃▄▅▆▇█"))
    heights = np.ceil(rain / max(rain.max(), 1.0) * (len(bars) - 1)).astype(int)
    lines.append(f"  rain ┤{''.join(bars[heights])}")

    starts = pd.Series(np.arange(len(weeks)), index=weeks.index.month).groupby(level=0).min()
    axis = [" "] * (len(weeks) + 3)
    for month, column in starts.items():
        axis[column : column + 3] = MONTHS[month - 1]
    lines.append("        " + "".join(axis).rstrip())
    return lines


if __name__ == "__main__":
    main()
