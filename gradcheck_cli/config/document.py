"""Files as their checks, with `defaults` and `extends` applied."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TextIO

from gradcheck_cli.config.assembly import STDIN
from gradcheck_cli.config.keys import CheckKeys, FileKeys
from gradcheck_cli.config.kinds import also_known, kinds_in
from gradcheck_cli.config.merging import merged
from gradcheck_cli.config.nodes import Node
from gradcheck_cli.config.problems import Place, Problems
from gradcheck_cli.config.reading import decode, read
from gradcheck_cli.config.sentences import fit


class Documents:
    """Files that are read, each once."""

    def __init__(self, stdin: TextIO | None, problems: Problems) -> None:
        self.stdin, self.problems = stdin, problems
        self._roots: dict[str, Node | None] = {}
        self._defaults: dict[str, Node | None] = {}
        self._under_way: list[str] = []

    def checks(self, file: str) -> list[Node]:
        """The checks of a file, each merged with what it extends and with the defaults."""
        root = self._root(file)
        if root is None:
            return []
        defaults = self._defaults_of(file, root)
        if not any(key in root.mapping for key in ("checks", "defaults", "extends")):
            self.problems.add(root.place, "no key 'checks'; must be given")
        checks = root.mapping["checks"].items if "checks" in root.mapping else []
        return [merged(self._extended(check, file), defaults) for check in checks if isinstance(check.value, dict)]

    def _root(self, file: str) -> Node | None:
        if file not in self._roots:
            raw = self._bytes(file)
            text = raw if isinstance(raw, str) or raw is None else decode(raw, file, self.problems)
            root = None if text is None else read(text, file, self.problems)
            if root is not None:
                fit(FileKeys, root, self.problems)
            self._roots[file] = root if root is not None and isinstance(root.value, dict) else None
        return self._roots[file]

    def _bytes(self, file: str) -> bytes | str | None:
        if file != STDIN:
            try:
                return Path(file).read_bytes()
            except OSError as error:
                self.problems.add(Place(file), f"can't be read: {error.strerror}")
                return None
        if self.stdin is None:
            return ""
        binary = getattr(self.stdin, "buffer", None)  # a decoded stdin may be in any encoding
        return bytes(binary.read()) if binary is not None else self.stdin.read()

    def _defaults_of(self, file: str, root: Node) -> Node | None:
        """The defaults of a file over those of the files that it and they extend."""
        if file not in self._defaults:
            self._under_way.append(file)
            own = root.mapping.get("defaults")
            if own is not None and isinstance(own.value, dict):
                others = own.without(*kinds_in(own), "matrix", "extends")
                fit(CheckKeys, others, self.problems, also=also_known)
                own = self._extended(own, file)
            else:
                own = None
            base = self._base(root, file)
            self._defaults[file] = merged(own, base) if own is not None else base
            self._under_way.pop()
        return self._defaults[file]

    def _extended(self, node: Node, file: str) -> Node:
        """A check, or defaults, merged with what its `extends` names."""
        return merged(node.without("extends"), self._base(node, file)) if "extends" in node.mapping else node

    def _base(self, node: Node, file: str) -> Node | None:
        """The defaults of the file that `extends` names."""
        named = node.mapping.get("extends")
        if named is None or named.value is None:
            return None
        if not isinstance(named.value, str) or not named.value or PurePosixPath(named.value).is_absolute():
            self.problems.add(named.place, f"{named.shown()}; must be the path of a file, relative to this one")
            return None
        folder = "" if file == STDIN else os.path.dirname(file)
        path = Path(os.path.normpath(os.path.join(folder, named.value))).as_posix()
        if "\0" in path or not os.path.isfile(path):
            self.problems.add(named.place, f"no file {path!r}; must be a config with defaults")
            return None
        if path in self._under_way:
            self.problems.add(named.place, f"{path!r} extends itself; must not")
            return None
        root = self._root(path)
        if root is None:
            return None
        if not any(key in root.mapping for key in ("defaults", "extends")):
            self.problems.add(named.place, f"{path!r} has no defaults; must have some to extend")
        return self._defaults_of(path, root)
