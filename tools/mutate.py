"""Make small mistakes in a sub-package, one at a time, and count those that its tests notice.

``mutate.py losses --count 40`` takes 40 random places in the functions of ``vcreg_theory.losses``.
Each is changed in the memory of a process of its own, never in a file, which then runs the tests
that call the changed function, quickest first, up to the first failure. The tests are those of the
files named after the sub-package and its doctests; a test that starts other processes sees no
change there. The mutants and their fates go to ``_build/mutants/losses.json``; ``--again`` repeats
those of that file that no test noticed, and looks anew only at new tests.
"""

import argparse
import ast
import gc
import json
import os
import resource
import sys
import time
import types
from pathlib import Path

import mutants
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "vcreg_theory"
# tests of a sub-package that are not named after it
ELSEWHERE = {"dynamics": ["tests/test_predictors.py"]}
MEMORY = 8 * 2**30


def forked(work, seconds):
    """Return ``work()`` done in a child with so many seconds of processor time, and its status."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1), os.dup2(nowhere, 2)
            answer = json.dumps(work())
            with os.fdopen(ends[1], "w") as pipe:
                pipe.write(answer)
        finally:
            os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (json.loads(answer) if answer else None), status


def change(mutant, text):
    """Give the mutated function its new code and defaults in this process."""
    source, path = mutant.source(text), str(ROOT / mutant.file)
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    node = next(n for n in functions if mutants.first_line(n) == mutant.function)
    place = (path, mutant.function, node.name)
    waiting = [compile(source, path, "exec", dont_inherit=True)]
    while _place(code := waiting.pop()) != place:
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    alive = [f for f in gc.get_objects() if type(f) is types.FunctionType]
    changed = [f for f in alive if _place(f.__code__) == place]
    for function in changed:
        function.__code__ = code
        values = [eval(ast.unparse(d), function.__globals__) for d in node.args.defaults]
        function.__defaults__ = tuple(values) or None
        named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        values = {a.arg: eval(ast.unparse(d), function.__globals__) for a, d in named if d}
        function.__kwdefaults__ = values or None
    return len(changed)


def _place(code):
    """Return what tells one function from all others, before and after a change in it."""
    return code.co_filename, code.co_firstlineno, code.co_name


class Trial:
    """A pytest plugin that runs the collected tests once for each mutant instead of once."""

    def __init__(self, rows, tests, sources):
        self.rows, self.tests, self.sources = rows, tests, sources
        self.failed, self.calls, self.shared = None, set(), {}

    def pytest_runtestloop(self, session):
        if session.testsfailed:
            pytest.exit("the tests cannot be collected", 1)
        self.items = {item.nodeid: item for item in session.items}
        new = [name for name in self.items if name not in self.tests]
        (seen, failed), _ = forked(lambda: self._observe(new), 7200)
        if failed:
            pytest.exit(f"fails without any mutant: {failed}", 1)
        self.tests.update(seen)
        for row in self.rows:
            if row["fate"] in (None, "survived"):
                row.update(self._try(mutants.Mutant(**row["mutant"])))
                print(f"{row['fate']:<9}{mutants.Mutant(**row['mutant'])}", flush=True)
        # a test that fails in another order by itself would notice anything
        keen = sorted({row["test"] for row in self.rows if row["test"]}, key=self._seconds)
        (failed, _), _ = forked(lambda: self._run(keen), 7200)
        if failed:
            pytest.exit(f"depends on the order of the tests: {failed}", 1)
        return True

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = report.nodeid

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        before, self.calls = self.calls, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function":  # later tests use what was computed here
                file = request.node.nodeid.partition("::")[0]
                self.shared.setdefault(file, set()).update(self.calls)
            self.calls |= before

    def _seconds(self, name):
        return self.tests[name]["seconds"]

    def _run(self, names):
        """Return the first test that fails, if one does, and the number of tests run."""
        for count, name in enumerate(names, 1):
            following = self.items[names[count]] if count < len(names) else None
            item = self.items[name]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return self.failed, count
        return None, len(names)

    def _observe(self, names):
        """Return which functions each test calls and its seconds, and a test that fails."""
        folder = f"{ROOT / PACKAGE}/"

        def note(frame, event, _):
            if event == "call" and frame.f_code.co_filename.startswith(folder):
                self.calls.add(_place(frame.f_code)[:2])

        tests = {}
        for name in names:
            self.calls, start = set(), time.process_time()
            sys.setprofile(note)
            self._run([name])
            sys.setprofile(None)
            tests[name] = {"seconds": time.process_time() - start, "calls": self.calls}
        for name, test in tests.items():
            calls = test["calls"] | self.shared.get(name.partition("::")[0], set())
            test["calls"] = [f"{os.path.relpath(file, ROOT)}:{line}" for file, line in calls]
        return tests, self.failed

    def _try(self, mutant):
        """Return the fate of a mutant: killed, timeout or survived, and the test that noticed."""
        place = f"{mutant.file}:{mutant.function}"
        names = [n for n in self.items if place in self.tests[n]["calls"]] or list(self.items)
        names.sort(key=self._seconds)

        def work():
            if not change(mutant, self.sources[mutant.file]):
                raise RuntimeError("no such function")
            return self._run(names)

        limit = 20 + 5 * sum(map(self._seconds, names))
        answer, status = forked(work, int(limit))
        if answer is None:
            return {
                "fate": "timeout" if status < 0 else "broken",
                "test": None,
                "tests": len(names),
            }
        return {
            "fate": "killed" if answer[0] else "survived",
            "test": answer[0],
            "tests": answer[1],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", help=f"a sub-package of {PACKAGE}, for example losses")
    parser.add_argument("--count", type=int, default=40, help="places to change (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample of places (default 0)")
    parser.add_argument("--again", action="store_true", help="only those that survived last time")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    folder = Path(PACKAGE, options.part)
    sources = {str(file): file.read_text(encoding="utf-8") for file in folder.rglob("*.py")}
    out = Path("_build", "mutants", f"{options.part}.json")
    if options.again:
        known = json.loads(out.read_text())
        rows, tests = known["mutants"], known["tests"]
    else:
        made = mutants.sample(sources, options.count, options.seed)
        rows = [{"mutant": mutant.record(), "fate": None, "test": None} for mutant in made]
        tests = {}
    named = [str(f) for f in Path("tests").glob("test_*.py") if options.part in f.stem]
    peers = [str(f) for f in Path("tests/peers").glob("test_*.py") if options.part in f.stem]
    files = sorted([*named, *peers, *ELSEWHERE.get(options.part, []), str(folder)])
    plugins = [Trial(rows, tests, sources)]
    if code := pytest.main([*files, "-q", "-s", "-p", "no:cacheprovider"], plugins=plugins):
        sys.exit(code)
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {"seed": options.seed, "mutants": rows, "tests": tests}
    out.write_text(json.dumps(known, indent=1) + "\n")
    noticed = sum(row["fate"] in ("killed", "timeout") for row in rows)
    print(f"{options.part}: {noticed} of {len(rows)} mutants noticed")


if __name__ == "__main__":
    main()
