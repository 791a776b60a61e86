"""The tables, made of the raw numbers alone: `run.py --table` writes them again without measuring."""

from measure import quartiles, ratios

BASE = "virtualenv"
NOTHING = "–"


def summary(results):
    """The short table of the README: every app in one row of a tool."""
    apps = results["apps"]
    names = list(apps)
    heads = [f"{what}, {' / '.join(names)}" for what in ("warm start", "cold start", "second pack, s", "size, MB")]
    yield f"| | {' | '.join(heads)} |"
    yield "|---|---|---|---|---|"
    for tool in results["tools"]:
        rows = [apps[app].get(tool) for app in names]
        if not any(row and "warm" in row for row in rows):
            continue
        cells = []
        for kind in ("warm", "cold"):
            cells.append(" / ".join(ratio(row, apps[app][BASE], kind) for app, row in zip(names, rows)))
        cells.append(" / ".join(f"{quartiles([one['s'] for one in row['again']])['median']:.2f}" if works(row) else NOTHING for row in rows))
        cells.append(" / ".join(f"{row['size']['mb']:.1f}" if works(row) else NOTHING for row in rows))
        yield f"| {results['tools'][tool]['title']} | {' | '.join(cells)} |"


def works(row):
    return bool(row) and "warm" in row


def ratio(row, base, kind):
    return f"{ratios(row[kind], base[kind])['median']:.2f}" if works(row) and row[kind] else NOTHING


def whole(results):
    """Every app's tables, and what each tool's outcome carries."""
    for app, rows in results["apps"].items():
        base = rows[BASE]
        yield f"### {results['titles'][app]}"
        yield ""
        yield "| start | warm / virtualenv | warm, ms | cold / virtualenv | cold, ms | peak memory, MB | written at first start |"
        yield "|---|--:|--:|--:|--:|--:|--:|"
        for tool, row in rows.items():
            yield start_row(results["tools"][tool]["title"], row, base)
        yield ""
        yield "| pack | first, s | / virtualenv | again, s | / virtualenv | files | MB | / virtualenv |"
        yield "|---|--:|--:|--:|--:|--:|--:|--:|"
        for tool, row in rows.items():
            if works(row):
                yield pack_row(results["tools"][tool]["title"], row, base)
        yield ""
    yield "| | version | what its file carries |"
    yield "|---|---|---|"
    for tool in results["tools"].values():
        yield f"| {tool['title']} | {tool['version']} | {tool['carries']} |"


def start_row(title, row, base):
    if not works(row):
        return f"| {title} | {row['why'].replace('|', '/')} | | | | | |"
    cells = []
    for kind in ("warm", "cold"):
        if not row[kind]:
            cells += [NOTHING, NOTHING]
            continue
        cells += [quartered(ratios(row[kind], base[kind]), "{:.2f}"), quartered(quartiles([one["ms"] for one in row[kind]]), "{:.0f}")]
    peaks = [quartiles([one["peak_mb"] for one in each["cold"] or each["warm"]])["median"] for each in (row, base)]
    cells.append(f"{peaks[0]:.1f} ({peaks[0] / peaks[1]:.2f})")
    live, after = row["written"]["live"], row["written"]["after"]
    removed = " while it runs" if after["files"] < live["files"] / 2 else ""
    cells.append(f"{live['files']:,} files, {live['mb']:.1f} MB{removed}" if live["files"] else "nothing")
    return f"| {title} | {' | '.join(cells)} |"


def pack_row(title, row, base):
    cells = []
    for kind in ("first", "again"):
        mine, others = ([one["s"] for one in each[kind]] for each in (row, base))
        cells.append(ranged(mine))
        cells.append(f"{quartiles(mine)['median'] / quartiles(others)['median']:.2f}")
    cells += [f"{row['size']['files']:,}", f"{row['size']['mb']:.1f}", f"{row['size']['mb'] / base['size']['mb']:.2f}"]
    return f"| {title} | {' | '.join(cells)} |"


def ranged(values):
    middle = f"{quartiles(values)['median']:.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f}..{max(values):.2f})"


def quartered(seen, form):
    return f"{form.format(seen['median'])} ({form.format(seen['q1'])}..{form.format(seen['q3'])})"


def conditions(results):
    """How it was measured, in words."""
    seen = results["conditions"]
    yield (
        f"CPython {seen['python']}, {seen['cores']} cores, {seen['machine']}, {seen['file_system']}, "
        f"load {seen['load_before']:.1f} before and {seen['load_after']:.1f} after."
    )
    yield (
        f"Starts: median (quartiles) of {seen['warm']} warm and {seen['cold']} cold rounds, each with every tool in turn; a ratio is taken "
        f"within its round. Packs: median (min..max). Memory: the largest process, median of the cold starts, "
        f"and as a ratio; what uses less than {seen['floor_mb']:.1f} MB would show that."
    )
