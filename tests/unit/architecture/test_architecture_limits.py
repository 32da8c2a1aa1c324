"""The house rules that no linter checks: sizes, names, clocks, errors."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.domain import errors

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "tenure"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = sorted(p for folder in ("src", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py"))

MAX_FUNCTION_LINES = 40  # the docstring not counted
MAX_FILE_LINES = 400
EXCUSE = "# long:"  # on the `def` line, or among a file's first five lines, followed by the reason

BANNED_NAMES = {
    "manager",
    "helpers",
    "helper",
    "utils",
    "util",
    "handler",
    "handlers",
    "common",
    "data",
    "info",
    "misc",
}
BANNED_CLASS_ENDINGS = ("Manager", "Helper", "Handler", "Utils")

# Randomness and time are arguments: a seeded `random.Random` may be handed in, the module's own hidden one may not be
# used. `secrets` and `os.urandom` draw keys.
BANNED_FROM = {"random", "time"}
BANNED_READS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "os.environ",
    "os.getenv",
}
MAY_READ = {"bootstrap"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def all_errors(root: type[errors.TenureError]) -> list[type[errors.TenureError]]:
    return [root, *(e for child in root.__subclasses__() for e in all_errors(child))]


def test_there_are_files_to_look_at() -> None:
    assert len(SOURCES) > 10
    assert any("tests" in p.parts for p in ALL_FILES)


def test_functions_are_short_enough_to_read() -> None:
    too_long = []
    for path in ALL_FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        too_long += [
            f"{named(path)}:{node.lineno} {node.name}: {function_lines(node)} lines"
            for node in functions(tree(path))
            if function_lines(node) > MAX_FUNCTION_LINES and EXCUSE not in lines[node.lineno - 1]
        ]
    assert not too_long, "\n".join(["split these, or say why on the def line after `# long:`", *too_long])


def test_files_are_short_enough_to_read() -> None:
    too_long = []
    for path in ALL_FILES:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_FILE_LINES and not any(EXCUSE in line for line in lines[:5]):
            too_long.append(f"{named(path)}: {len(lines)} lines")
    assert not too_long, "\n".join(
        ["split these, or say why in a line that begins with `# long:`", *too_long]
    )


def test_no_module_or_class_is_called_after_nothing_in_particular() -> None:
    modules = [named(p) for p in SOURCES if p.stem in BANNED_NAMES or p.parent.name in BANNED_NAMES]
    classes = [
        f"{named(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(BANNED_CLASS_ENDINGS)
    ]
    assert not modules + classes


def test_time_randomness_and_settings_are_arguments() -> None:
    found = []
    for path in SOURCES:
        if path.relative_to(PACKAGE).parts[0] in MAY_READ:
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and ".".join(dotted(node).split(".")[-2:]) in BANNED_READS:
                found.append(f"{named(path)}:{node.lineno} {dotted(node)}")
            if isinstance(node, ast.Attribute) and dotted(node.value) == "random" and node.attr != "Random":
                found.append(f"{named(path)}:{node.lineno} {dotted(node)}")
            if isinstance(node, ast.ImportFrom) and node.module in BANNED_FROM:
                found.append(f"{named(path)}:{node.lineno} from {node.module} import ...")
    assert not found


def test_no_two_errors_share_an_exit_code() -> None:
    counts = Counter(error.exit_code for error in all_errors(errors.TenureError))
    assert not {code for code, count in counts.items() if count > 1}


def test_exit_codes_stay_in_their_range() -> None:
    codes = [error.exit_code for error in all_errors(errors.TenureError) if error is not errors.TenureError]
    assert all(10 <= code <= 89 for code in codes)


@pytest.mark.parametrize("error", all_errors(errors.TenureError), ids=lambda e: e.__name__)
def test_every_error_says_what_it_means_and_stands_in_the_tree(error: type[errors.TenureError]) -> None:
    assert error.__dict__.get("__doc__")
    assert f"{error.__name__} {error.exit_code} " in f"{errors.__doc__} ".replace("\n", " ") or (
        error is errors.TenureError
    )


def test_test_files_have_names_of_their_own() -> None:
    counts = Counter(p.name for p in (ROOT / "tests").rglob("test_*.py"))
    assert not {name for name, count in counts.items() if count > 1}
