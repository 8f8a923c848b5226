"""Small wrong changes of a Python source, the kind that its tests should notice.

A place is one node of the syntax tree. It gives one or more mutants: an operator, a comparison or a
condition turned round, a constant moved, a sign dropped, two arguments swapped, a statement
removed. Only functions are changed, and there annotations, decorators and messages are left alone.
"""

import ast
import random
from dataclasses import asdict, dataclass

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
# swapped arguments of the first three fail in any call at all, those of the others change nothing
UNSWAPPED = {"isinstance", "getattr", "setattr", "max", "min", "np.maximum", "np.minimum"}
UNSWAPPED |= {"torch.maximum", "torch.minimum"}


@dataclass(frozen=True)
class Mutant:
    """A change of bytes ``start`` to ``stop``, in the outer function whose first line is given."""

    file: str
    line: int
    function: int
    start: int
    stop: int
    old: str
    new: str

    def source(self, text):
        """Return the changed source, or raise ValueError if ``text`` is not what was changed."""
        data = text.encode()
        if data[self.start : self.stop].decode(errors="replace") != self.old:
            raise ValueError(f"{self.file}:{self.line} has changed since the mutant was made")
        return (data[: self.start] + self.new.encode() + data[self.stop :]).decode()

    def __str__(self):
        old, new = (" ".join(code.split()) for code in (self.old, self.new))
        return f"{self.file}:{self.line}: {old}  ->  {new}"

    record = asdict


def sample(sources, count, seed):
    """Return one mutant at each of ``count`` random places of ``sources``, a dict by file name."""
    chance = random.Random(seed)
    places = [place for file, text in sorted(sources.items()) for place in _places(file, text)]
    return [chance.choice(place) for place in chance.sample(places, min(count, len(places)))]


def first_line(node):
    """Return the line on which a function begins, its decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _places(file, text):
    """Return the places of one source, each a list of mutants."""
    lines = [0]
    for line in text.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))

    def mutant(node, new, function):
        start = lines[node.lineno - 1] + node.col_offset
        stop = lines[node.end_lineno - 1] + node.end_col_offset
        old = text.encode()[start:stop].decode()
        return Mutant(file, node.lineno, function, start, stop, old, new)

    found = _walk(ast.parse(text), None)
    return [[mutant(*new, function) for new in changes] for changes, function in found]


def _walk(node, function):
    """Yield the changes at every node below ``node`` that has some, with its function's line."""
    match node:
        case ast.FunctionDef():
            function = function or first_line(node)
            below = [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
        case ast.AnnAssign():
            below = [node.value] if node.value else []
        case ast.ClassDef():
            below = node.body
        case ast.JoinedStr() | ast.Raise():
            below = []
        case _:
            below = ast.iter_child_nodes(node)
    if function and (changes := [*_expressions(node), *_statements(node)]):
        yield changes, function
    for child in below:
        yield from _walk(child, function)


def _expressions(node):
    """Yield ``(node, code)`` for the changes of an expression."""
    match node:
        case ast.BinOp(left, ast.MatMult(), right) if not _same(left, right):
            yield node, f"({ast.unparse(right)} @ {ast.unparse(left)})"
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield node, f"({ast.unparse(ast.BinOp(left, OPERATORS[type(op)](), right))})"
        case ast.Compare(left, ops, values):
            for i, op in enumerate(ops):
                turned = [*ops[:i], COMPARISONS[type(op)](), *ops[i + 1 :]]
                yield node, f"({ast.unparse(ast.Compare(left, turned, values))})"
        case ast.BoolOp(op, values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield node, f"({ast.unparse(ast.BoolOp(other, values))})"
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.Constant(bool() as value):
            yield node, str(not value)
        case ast.Constant(int() as value):
            yield from ((node, str(value + step)) for step in (1, -1))
        case ast.Constant(float() as value):
            yield node, repr(2 * value or 1.0)
        case ast.IfExp(test) | ast.If(test) | ast.While(test):
            yield test, f"(not ({ast.unparse(test)}))"
        case ast.Call(func, [first, second, *rest], keywords) if _swappable(func, first, second):
            yield node, ast.unparse(ast.Call(func, [second, first, *rest], keywords))


def _swappable(func, *arguments):
    """Whether swapping two arguments makes a mistake that a test has to look for."""
    plain = not any(isinstance(a, ast.Starred | ast.GeneratorExp) for a in arguments)
    texts = any(isinstance(a, ast.Constant) and isinstance(a.value, str) for a in arguments)
    different = not _same(*arguments)
    return plain and not texts and different and ast.unparse(func) not in UNSWAPPED


def _same(first, second):
    """Whether two expressions are written alike."""
    return ast.unparse(first) == ast.unparse(second)


def _statements(node):
    """Yield ``(node, code)`` for a return of the other sign and for statements removed."""
    match node:
        case ast.Return(ast.BinOp() as value):
            yield value, f"(-({ast.unparse(value)}))"
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise():
            yield node, "pass"
        case ast.Assign([ast.Name(name)], value):
            if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value)):
                yield node, "pass"
