"""Print what each benchmark found, beside its time: ratios, rates, memory and errors."""


def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    for bench in getattr(session, "benchmarks", ()):
        if not bench.has_error and bench.extra_info:
            terminalreporter.write_line(f"\n{bench.name}, median {bench.stats.median * 1e3:.1f} ms")
            for name, value in bench.extra_info.items():
                shown = f"{value:.4g}" if isinstance(value, float) else value
                terminalreporter.write_line(f"  {name.replace('_', ' ')}: {shown}")
