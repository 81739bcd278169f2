"""Reading Python sources for the rules of the house: each rule takes modules and gives what is wrong, in words.

Imports count wherever they stand: in functions, under TYPE_CHECKING, relative, and by name through importlib.
"""

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

PACKAGE = "listener"
MODULE_LINES = 500
FUNCTION_LINES = 50
AFTER_NOQA = re.compile(r"#\s*noqa(?!: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)* - \S)")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Floors = Sequence[Collection[str]]


@dataclass(frozen=True, kw_only=True)
class Module:
    """One source file, by its dotted name."""

    name: str
    source: str
    is_package: bool = False

    @classmethod
    def load(cls, path: Path, root: Path) -> Self:
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        return cls(name=name, source=path.read_text(encoding="utf-8"), is_package=is_package)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """Every node of the tree, which a dozen rules look at: to find them takes longer than to judge them."""
        return tuple(ast.walk(self.tree))

    @property
    def room(self) -> str:
        """The first part of the name below the package; empty for the package itself."""
        return self.name.partition(".")[2].partition(".")[0]

    @cached_property
    def imports(self) -> frozenset[str]:
        """Every module that is imported. `from a import b` counts as both `a` and `a.b`: b may be a module."""
        return frozenset(name for node in self.nodes for name in self._imported(node))

    def _imported(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(names=names):
                base = self._absolute(node)
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if _last_name(function) in (
                "import_module",
                "__import__",
            ):
                yield name

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        parts = self.name.split(".")
        package = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*package, *([node.module] if node.module else [])])


def load_package(root: Path) -> list[Module]:
    """Every module of the package below `root`."""
    return [Module.load(path, root) for path in sorted((root / PACKAGE).rglob("*.py"))]


def _last_name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            return name
    return ""


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def undeclared_rooms(modules: Collection[Module], floors: Floors) -> list[str]:
    """Rooms that stand on no floor, so that no new one slips past the rules."""
    rooms = {room for floor in floors for room in floor}
    return [f"{module.name}: no such room" for module in modules if module.room and module.room not in rooms]


def arrows(modules: Collection[Module]) -> dict[tuple[str, str], list[str]]:
    """The rooms that import each other, and by which imports. The package's version is open to all."""
    known = {module.name for module in modules}
    found: dict[tuple[str, str], list[str]] = {}
    for module in modules:
        ours = {name for name in module.imports if _within(name, PACKAGE)}
        # `from listener.x import Y` names listener.x.Y too, which is no module: what counts is the module that holds Y.
        targets = {name if name in known else name.rpartition(".")[0] for name in ours} - {PACKAGE, ""}
        for name in sorted(targets):
            room = name.split(".")[1]
            if room != module.room:
                found.setdefault((module.room, room), []).append(f"{module.name} imports {name}")
    return found


def not_downwards(modules: Collection[Module], floors: Floors) -> list[str]:
    """Imports that lead up, or to a room on the same floor. `floors` are counted from the top."""
    floor_of = {room: number for number, floor in enumerate(floors) for room in floor}
    return [
        wrong
        for (source, target), imports in arrows(modules).items()
        if source and floor_of.get(source, 0) >= floor_of.get(target, 0)
        for wrong in imports
    ]


def imports_between(modules: Collection[Module], *, room: str, common: Collection[str]) -> list[str]:
    """Imports among the members of a room that do not know each other, but for what they have in common.

    A member is a module of the room, or a package in it with all its modules.
    """
    place = f"{PACKAGE}.{room}"
    members = {module.name for module in modules if module.room == room}
    shared = {place} | {f"{place}.{name}" for name in common}
    return [
        f"{module.name} imports {name}"
        for module in modules
        if module.room == room
        for name in sorted(module.imports & members - shared)
        if name.split(".")[:3] != module.name.split(".")[:3]
    ]


def import_cycles(modules: Collection[Module]) -> list[str]:
    """Modules that import themselves through others, a package's own `__init__` counted only where it is named."""
    known = {module.name: module for module in modules}
    graph = {name: sorted(_named_modules(module, known)) for name, module in known.items()}
    found: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = path[path.index(name) :]
            first = circle.index(min(circle))
            found.add(" -> ".join([*circle[first:], *circle[:first], circle[first]]))
        elif name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    done: set[str] = set()
    for name in graph:
        visit(name, ())
    return sorted(found)


def _named_modules(module: Module, known: Collection[str]) -> set[str]:
    """The modules that an import really needs: for `from a import b`, b where that is a module, else a."""
    needed = set()
    for node in module.nodes:
        names = list(module._imported(node))
        if isinstance(node, ast.ImportFrom):
            base, *rest = names
            names = [name if name in known else base for name in rest]
        needed.update(name for name in names if name in known)
    return needed - {module.name}


def imported_outside(modules: Collection[Module], library: str, places: Collection[str]) -> list[str]:
    """Modules outside `places` that import a library."""
    return [
        f"{module.name} imports {library}"
        for module in modules
        if any(_within(name, library) for name in module.imports)
        and not any(_within(module.name, place) for place in places)
    ]


def imports_of(modules: Collection[Module], start: str, banned: Collection[str], *, within: str) -> list[str]:
    """Banned libraries that `start` imports, itself or through other modules of the room `within`."""
    known = {module.name: module for module in modules}
    todo, reached = [start], set[str]()
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += [
            target
            for target in _named_modules(known[name], known)
            if _within(target, within) and target not in reached and not known[target].is_package
        ]
    return [
        f"{name} imports {library}"
        for name in sorted(reached)
        for library in banned
        if any(_within(imported, library) for imported in known[name].imports)
    ]


def calls_of(modules: Collection[Module], function: str, *, outside: Collection[str]) -> list[str]:
    """Calls of a bare built-in outside of the rooms that may."""
    return [
        f"{module.name}:{node.lineno} calls {function}()"
        for module in modules
        if module.room not in outside
        for node in module.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]


def caught(modules: Collection[Module], names: Collection[str], *, outside: Collection[str]) -> list[str]:
    """`except` clauses that name an exception of these outside of the modules that may."""
    return [
        f"{module.name}:{node.lineno} catches {name}"
        for module in modules
        if module.name not in outside
        for node in module.nodes
        if isinstance(node, ast.ExceptHandler) and node.type is not None
        for part in ast.walk(node.type)
        if isinstance(part, ast.Name | ast.Attribute)
        and (name := part.id if isinstance(part, ast.Name) else part.attr) in names
    ]


def oversized(modules: Collection[Module]) -> list[str]:
    """Modules and functions that are too long to be read at once."""
    wrong = []
    for module in modules:
        lines = len(module.source.splitlines())
        if lines > MODULE_LINES:
            wrong.append(f"{module.name} has {lines} lines")
        for node in module.nodes:
            if isinstance(node, Function) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    wrong.append(f"{module.name}.{node.name} has {lines} lines")
    return wrong


def badly_opened(modules: Collection[Module]) -> list[str]:
    """Modules that do not open with a docstring whose first line stands alone and ends as a sentence does."""
    wrong = []
    for module in modules:
        first, *rest = (ast.get_docstring(module.tree) or "").split("\n")
        if not first.endswith((".", "?", "!")) or (rest and rest[0]):
            wrong.append(f"{module.name}: opens with {first!r}")
    return wrong


def bare_tasks(modules: Collection[Module]) -> dict[str, list[str]]:
    """By module, the places where a task starts outside of a TaskGroup."""
    wrong: dict[str, list[str]] = {}
    for module in modules:
        groups = _task_groups(module.nodes)
        for node in module.nodes:
            if not isinstance(node, ast.Call):
                continue
            name = _last_name(node.func)
            owner = _last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if name == "ensure_future" or (name == "create_task" and owner not in groups):
                wrong.setdefault(module.name, []).append(f"{module.name}:{node.lineno} calls {owner}.{name}()")
    return wrong


def _task_groups(nodes: Sequence[ast.AST]) -> set[str]:
    """The names of a module that hold a TaskGroup: opened with `async with`, annotated, assigned, or passed on."""
    groups: set[str] = set()
    for _ in range(2):  # once more for `self._group = group`, whose parameter may stand further down
        for node in nodes:
            match node:
                case ast.withitem(context_expr=value, optional_vars=ast.AST() as target) if _mentions_group(value):
                    groups.add(_last_name(target))
                case ast.arg(annotation=ast.AST() as annotation) if _mentions_group(annotation):
                    groups.add(node.arg)
                case ast.AnnAssign(annotation=annotation, target=target) if _mentions_group(annotation):
                    groups.add(_last_name(target))
                case ast.Assign(targets=[target], value=value) if _mentions_group(value) or _last_name(value) in groups:
                    groups.add(_last_name(target))
    return groups - {""}


def _mentions_group(node: ast.AST) -> bool:
    return any(_last_name(child) == "TaskGroup" for child in ast.walk(node))


def silenced_without_reason(modules: Collection[Module]) -> list[str]:
    """Comments that silence the linter without a rule and a reason."""
    return [
        f"{module.name}:{token.start[0]} {token.string}"
        for module in modules
        for token in tokenize.generate_tokens(io.StringIO(module.source).readline)
        if token.type == tokenize.COMMENT and AFTER_NOQA.search(token.string)
    ]


def uses_of(modules: Collection[Module], names: Collection[str], *, but: Collection[str] = ()) -> dict[str, list[str]]:
    """By module, the places that use a library's names, whatever they are called there; `but` names exceptions.

    A name stands for all below it: `random` for `random.uniform`.
    """
    found: dict[str, list[str]] = {}
    for module in modules:
        known = _known_as(module.nodes)
        for node in module.nodes:
            name = _full_name(node, known)
            if name and any(_within(name, banned) for banned in names) and not any(_within(name, kind) for kind in but):
                found.setdefault(module.name, []).append(f"{module.name}:{node.lineno} uses {name}")
    return found


def makers_of(modules: Collection[Module], names: Collection[str]) -> set[str]:
    """The modules that call one of a library's names, or derive a class from it, whatever it is called there."""
    made = set()
    for module in modules:
        known = _known_as(module.nodes)
        for node in module.nodes:
            used = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
            if any(_full_name(name, known) in names for name in used):
                made.add(module.name)
    return made


def _known_as(nodes: Sequence[ast.AST]) -> dict[str, str]:
    """What the imported names of a module stand for."""
    known = {}
    for node in nodes:
        match node:
            case ast.Import(names=names):
                known.update({alias.asname or alias.name: alias.name for alias in names})
            case ast.ImportFrom(module=str(base), names=names, level=0):
                known.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in names})
    return known


def _full_name(node: ast.AST, known: Mapping[str, str]) -> str:
    """The dotted name that an expression reads, empty for any other; of a module that is only named, none."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in known or not (parts or "." in known[node.id]):
        return ""
    return ".".join([known[node.id], *reversed(parts)])


def arguments_that_are_none(modules: Collection[Module]) -> list[str]:
    """Names that a docstring explains under `Args:` and that no parameter (of a class: none of `__init__`) has."""
    wrong = []
    for module in modules:
        for node in module.nodes:
            if isinstance(node, Function | ast.ClassDef):
                known = _parameters(node)
                wrong += [f"{module.name}.{node.name}: {name}" for name in _explained(node) if name not in known]
    return wrong


def _explained(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[str]:
    _, _, rest = (ast.get_docstring(node) or "").partition("Args:\n")
    section = re.split(r"\n\S|\n\n", rest)[0]
    for names in re.findall(r"^ {4}(\w[\w, *]*): ", section, flags=re.MULTILINE):
        yield from names.replace("*", "").split(", ")


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """Of a function its parameters, of a class those of `__init__` and `__new__`, and its fields."""
    if not isinstance(node, ast.ClassDef):
        every = node.args
        extra = [one for one in (every.vararg, every.kwarg) if one is not None]
        return {one.arg for one in (*every.posonlyargs, *every.args, *every.kwonlyargs, *extra)}
    names: set[str] = set()
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name in ("__init__", "__new__"):
            names |= _parameters(child)
        elif isinstance(child, ast.AnnAssign):
            names.add(_last_name(child.target))
    return names
