"""The report of a chapter that failed: the line of the ``.md`` file, the cell, the traceback."""

import re

ANSI = re.compile(r"\x1b\[[0-9;?]*[@-~]")
FRAME = re.compile(r"Cell In\[(\d+)\], line (\d+)")


def plain(text):
    """Return ``text`` without the escape codes that colour a terminal."""
    return ANSI.sub("", text)


def body_line(source_lines, cell):
    """Return the 1-based line of the ``.md`` file on which the code of ``cell`` begins."""
    first = cell.metadata.get("source_line", 0)
    code = cell.source.splitlines()
    for start in range(first, len(source_lines) - len(code) + 1):
        if source_lines[start : start + len(code)] == code:
            return start + 1
    return first + 1


def failing_line(cell, traceback):
    """Return the 1-based line within ``cell`` at which the outermost frame stood."""
    for count, line in FRAME.findall(traceback):
        if int(count) == cell.execution_count:
            return int(line)
    return 1


def printed(cell):
    """Return what the cell printed before it failed, and the plain form of what it displayed."""
    parts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            parts.append(output.text)
        elif "data" in output:
            parts.append(output.data.get("text/plain", "") + "\n")
    return plain("".join(parts)).rstrip()


def report(chapter, shown_path, cell, headline, traceback=""):
    """Compose the report of a failure in ``cell``.

    Parameters
    ----------
    chapter : Path
        The chapter's source.
    shown_path : str
        How to name it, relative to where the reader is.
    cell : NotebookNode or None
        The failing cell; None if the kernel failed before the first one.
    headline : str
        The error in one line, such as ``AssertionError: 2 is not 3``.
    traceback : str
        The traceback as the kernel sent it.
    """
    traceback = plain(traceback)
    if cell is None:
        return f"{shown_path}:1: {plain(headline)}\n"
    start = body_line(chapter.read_text(encoding="utf-8").splitlines(), cell)
    bad = failing_line(cell, traceback)
    lines = [f"{shown_path}:{start + bad - 1}: {plain(headline)}", "", "the cell:"]
    for number, line in enumerate(cell.source.splitlines(), 1):
        lines.append(f"{'>' if number == bad else ' '} {start + number - 1:4d} | {line}")
    if printed(cell):
        lines += ["", "what it printed:", printed(cell)]
    if traceback:
        lines += ["", "traceback:", traceback]
    return "\n".join(lines) + "\n"
