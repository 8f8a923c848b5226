"""Write the Make rules that say which files each chapter's results depend on.

``_build/deps/x.d`` lists the package modules that ``book/chapters/x.md`` imports, directly or
through each other, so that an edit to one module runs again only the chapters that use it.
"""

import ast
import re
from pathlib import Path

PACKAGE = "vcreg_theory"
CODE_CELL = re.compile(r"^(`{3,})\{code-cell\}[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.MULTILINE | re.DOTALL)
# a chapter that imports one of these reads data/
READERS = {f"{PACKAGE}.records", f"{PACKAGE}.checkpoints"}
COMMON = ("requirements.txt", "tools/execute.py", "tools/kernel.py")


def chapter_code(text):
    """Return the code of a chapter's cells, without cell options and IPython magics."""
    cells = (OPTIONS.sub("", body) for _, body in CODE_CELL.findall(text))
    lines = "\n".join(cells).splitlines()
    return "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)


def module_file(root, module):
    """Return the file of a dotted module name below ``root``, or None."""
    path = root.joinpath(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def all_modules(root):
    """Return the dotted names of every module of the package."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    parts = [file.relative_to(root).with_suffix("").parts for file in files]
    return {".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts}


def imported(root, code, package=""):
    """Return the package's modules that ``code`` imports; ``package`` resolves relative imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            if PACKAGE in names:  # attributes of the lazy package can be any module
                names |= all_modules(root)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            names = {base, *(f"{base}.{alias.name}" for alias in node.names)}
            if base == PACKAGE and any(alias.name == "*" for alias in node.names):
                names |= all_modules(root)
        else:
            continue
        found |= {name for name in names if name.split(".")[0] == PACKAGE}
    return found


def closure(root, code):
    """Return every file of the package that running ``code`` may read."""
    waiting, seen, files = imported(root, code), set(), set()
    while waiting:
        module = waiting.pop()
        file = module_file(root, module)
        if module in seen or file is None:
            continue
        seen.add(module)
        beside = root.joinpath(*module.split("."))  # claims reads claims.toml
        files |= {file, *beside.parent.glob(f"{beside.name}.*")}
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        waiting |= imported(root, file.read_text(encoding="utf-8"), package)
        waiting |= {module.rpartition(".")[0]} - {""}
    return files


def rule(root, chapter):
    """Return the Make rule of one chapter, with an empty rule for each file in case it goes."""
    code = chapter_code(chapter.read_text(encoding="utf-8"))
    files = closure(root, code)
    if imported(root, code) & READERS:
        data = (root / "data").rglob("*")
        files |= {file for file in data if file.suffix in (".json", ".safetensors")}
    names = sorted(str(file.relative_to(root)).replace(" ", "\\ ") for file in files)
    needs = " \\\n  ".join([*COMMON, *names])
    empty = "".join(f"\n{name}:\n" for name in names)
    return f"_build/executed/$(PROFILE)/{chapter.stem}.ipynb: \\\n  {needs}\n{empty}"


def main(root):
    """Write one rule file per chapter and remove those of chapters that are gone."""
    folder = root / "_build" / "deps"
    folder.mkdir(parents=True, exist_ok=True)
    chapters = sorted((root / "book" / "chapters").glob("*.md"))
    for chapter in chapters:
        (folder / f"{chapter.stem}.d").write_text(rule(root, chapter), encoding="utf-8")
    for stale in set(folder.glob("*.d")) - {folder / f"{c.stem}.d" for c in chapters}:
        stale.unlink()


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[1])
