"""Read a YAML file into a `ConfigModel`; all of its faults are reported together.

A fault reads `configs/x.yaml:12: blocks[0].pgae_size=20: unknown key; expected one of page_size,
slots; did you mean 'page_size'?`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from qianmian.config.document import Document, Location, read_document, show_path, write_document
from qianmian.config.faults import describe
from qianmian.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
Finding = tuple[Location, str]


def load_yaml(
    path: Path,
    model: type[M],
    *,
    context: Mapping[str, object] | None = None,
    check: Callable[[M], Iterable[Finding]] | None = None,
) -> M:
    """Return the model that the file at `path` holds.

    Raises `ConfigError` with one line a fault when the file is missing, is not YAML, or does not
    fit the model. `context` and `check` are those of `parse_yaml`.
    """
    return parse_yaml(read_text(path), str(path), model, context=context, check=check)


def read_text(path: Path) -> str:
    """Return the text of a configuration file.

    Raises `ConfigError` when it is missing or cannot be read as UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        here = f"; the folder holds {', '.join(near)}" if near else ""
        raise ConfigError(f"{path}: no such file{here}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: expected a file, this is a folder") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text; byte {error.start} is not") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def yaml_files(folder: Path) -> list[Path]:
    """Return the files of a folder that `read_listed` reads or refuses, by name."""
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def read_listed(path: Path) -> str:
    """Return the text of one of `yaml_files`.

    Raises `ConfigError` as `read_text` does, and for a name that does not end in `.yaml`.
    """
    if path.suffix != ".yaml":
        wanted = f"expected a name that ends in .yaml; rename it to {path.stem}.yaml"
        raise ConfigError(f"{path}: {wanted}")
    return read_text(path)


def parse_yaml(
    text: str,
    source_name: str,
    model: type[M],
    *,
    context: Mapping[str, object] | None = None,
    check: Callable[[M], Iterable[Finding]] | None = None,
) -> M:
    """Return the model that YAML `text` holds; `source_name` stands for the file in faults.

    Values are not bent to fit: a quoted `"5"` is not a number and `true` is not 1; text is read as
    a moment, a date, a path or an enumeration where the model says so.

    Args:
        text: the YAML.
        source_name: what faults call the file.
        model: the schema.
        context: what validators of the schema are given as pydantic's validation context.
        check: gives the faults of a model that fits its schema: where, and what stands behind the
            path there (`=value: expected ...`). Each is told with its line, like any other fault.

    Raises `ConfigError` as `load_yaml` does.
    """
    document = read_document(text)
    faults = [(problem.line, problem.message) for problem in document.problems]
    if not faults:
        try:
            made = model.model_validate_json(
                json.dumps(document.values), strict=True, context=context
            )
        except ValidationError as error:
            faults = _schema_faults(error, document, model)
        else:
            faults = [
                (document.line(location), f"{show_path(location)}{message}")
                for location, message in (check(made) if check else ())
            ]
            if not faults:
                return made
    lines = (f"{source_name}:{line}: {message}" for line, message in sorted(set(faults)))
    raise ConfigError("\n".join(lines))


def dump_yaml(model: BaseModel) -> str:
    """Return a model as YAML text that `parse_yaml` reads back to an equal model."""
    return write_document(model.model_dump(mode="json"))


def _schema_faults(
    error: ValidationError, document: Document, model: type[BaseModel]
) -> list[tuple[int, str]]:
    faults = []
    for detail in error.errors(include_url=False):
        location, message = describe(detail, document.values, model)
        faults.append((document.line(location), f"{show_path(location)}{message}"))
    return faults
