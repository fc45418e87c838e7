"""What the outputs of a page depend on: the definitions that its code reaches, and their files.

`page_hash` follows definitions, not modules: a page that uses `fit` depends on `fit` and on
whatever `fit` reaches, wherever that is defined, and on nothing else in those modules. Left out is
what cannot change an output: comments, layout, annotations of arguments, the names of local
variables, and docstrings and the text of errors and warnings, unless the page shows that text.
"""

import ast
import hashlib
import inspect
import pickle
import re
from functools import lru_cache
from pathlib import Path

PACKAGE = 'larp_edu'
FILES = (f'{PACKAGE}/assets/*', 'results/*.json', 'images/*')
WHOLE = 'reference', 'results/claims'  # a page that names such a folder depends on all its files
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def digest(value):
    "A short checksum of anything whose `ascii` says it all."
    return hashlib.sha256(ascii(value).encode()).hexdigest()[:16]


# ---- one statement, without what does not matter


class Strip(ast.NodeTransformer):
    "Removes annotations of functions, and docstrings and messages that are not in `shown`."

    def __init__(self, shown=''):
        self.shown = shown

    def body_without_docstring(self, node):
        text = ast.get_docstring(node)
        if text is not None and text.splitlines()[0] not in self.shown:
            node.body = node.body[1:]

    def visit_ClassDef(self, node):
        self.body_without_docstring(node)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self.body_without_docstring(node)
        node.returns = None
        for arg in ast.walk(node.args):
            if isinstance(arg, ast.arg):
                arg.annotation = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Raise(self, node):
        return self.without_messages(node)

    def visit_Call(self, node):
        if ast.unparse(node.func) in ('warnings.warn', 'warn'):
            return self.without_messages(node)
        return self.generic_visit(node)

    def without_messages(self, node):
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                text = part.value.strip()
                if len(text) < 8 or text not in self.shown:
                    part.value = ''
        return node


class Rename(ast.NodeTransformer):
    "Gives the local variables of a function numbers instead of names."

    def __init__(self, names):
        self.names = names

    def visit_Name(self, node):
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_FunctionDef(self, node):
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node):
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)


def locals_of(function):
    "Names that a function, or one inside it, binds by itself, in order, but for parameters."
    bound, kept = {}, set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            kept.add(node.arg)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            kept |= set(node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            kept |= {a.asname or a.name.split('.')[0] for a in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] = None
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound[node.name] = None
        elif isinstance(node, FUNCTIONS) and node is not function:
            bound[node.name] = None
    return [name for name in bound if name not in kept]


def rename_locals(node):
    "A statement in which the locals of every outermost function or method have numbers."
    if isinstance(node, FUNCTIONS):
        names = {name: f'local{k}' for k, name in enumerate(locals_of(node))}
        own = node.name
        node = Rename(names).visit(node)
        node.name = own
    elif isinstance(node, ast.ClassDef):
        node.body = [rename_locals(n) for n in node.body]
    return node


def shape(node):
    "A syntax tree as tuples that every Python version agrees on: no positions, no empty fields."
    if isinstance(node, list):
        return tuple(shape(n) for n in node)
    if not isinstance(node, ast.AST):
        return node
    fields = ((k, v) for k, v in ast.iter_fields(node) if v is not None and v != [])
    return (type(node).__name__, *((k, shape(v)) for k, v in fields))


def normal(node, shown=''):
    "What matters of one statement."
    return stripped(node, '\n'.join(text for text in texts_of(node) if text in shown))


@lru_cache(None)
def texts_of(node):
    "The strings in a statement, and their first lines: what of it a page may show."
    parts = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    texts = [text for text in parts if isinstance(text, str)]
    return [t for text in texts for t in (text.strip(), *inspect.cleandoc(text).splitlines()[:1])]


@lru_cache(None)
def stripped(node, shown):
    "A statement as `shape` gives it, without what does not matter; a page shows the text `shown`."
    copy = pickle.loads(pickle.dumps(node))  # several times as fast as copy.deepcopy
    return shape(rename_locals(Strip(shown).visit(copy)))


@lru_cache(None)
def unparsed(node):
    "The text of a statement."
    return ast.unparse(node)


def normal_cell(text, shown=''):
    "What matters of a cell: its statements, or its lines if it is not plain Python (magics)."
    try:
        return tuple(normal(n, shown) for n in ast.parse(text).body)
    except SyntaxError:
        lines = (line.strip() for line in text.splitlines())
        return tuple(line for line in lines if line and not line.startswith('#'))


# ---- what a statement refers to


IN_TEXT = rf'from\s+{PACKAGE}(?:\.(\w+))?\s+import\s+(\*|\([\w ,\n]+\)|[\w ,]+)'


def mentions(text):
    "(module, name) pairs that code inside a text names; name None for all of a module."
    found = set()
    for module, names in re.findall(IN_TEXT, text):
        words = re.findall(r'\w+', re.sub(r'\bas \w+', '', names))
        found |= {(module or '__init__', w) for w in words} or {(module, None)}
    rest = re.sub(IN_TEXT, '', text)
    return found | {(module, None) for module in re.findall(rf'\b{PACKAGE}\.([a-z]\w*)', rest)}


def imports_of(node):
    "{local name: (module, name)} of an import from the package, {} for any other."
    module = node.module or ''
    if node.level == 0:
        if module != PACKAGE and not module.startswith(f'{PACKAGE}.'):
            return {}
        module = module.removeprefix(PACKAGE).lstrip('.')
    return {a.asname or a.name: (module or '__init__', a.name) for a in node.names}


def references(node):
    "Names that some code loads, and (module, name) pairs imported by it or by code in strings."
    names, imported = set(), set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.ImportFrom):
            imported |= set(imports_of(part).values())
        elif isinstance(part, ast.Attribute) and ast.unparse(part.value) == PACKAGE:
            imported.add(('__init__', part.attr))
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            imported |= mentions(part.value)
    return names, imported


def references_of_cell(text):
    "What a cell names of the package."
    try:
        return references(ast.parse(text))[1]
    except SyntaxError:
        return mentions(text)


class Module:
    "The top-level statements of a module by the name that they define."

    def __init__(self, path):
        self.defined, self.imported, self.always = {}, {}, []
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            self.add(node)

    def add(self, node):
        if isinstance(node, ast.ImportFrom):
            self.imported |= imports_of(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING':
            for part in node.body:
                self.add(part)
        elif names := self.names_of(node):
            if not names & {'__all__', '__version__'}:
                for name in names:
                    self.defined.setdefault(name, []).append(node)
        elif not isinstance(node, (ast.Import, ast.Expr, ast.If)):
            self.always.append(node)

    def names_of(self, node):
        "The names that a statement defines; of a method added by `@patch`, its class."
        if isinstance(node, FUNCTIONS):
            patched = any('patch' in ast.unparse(d) for d in node.decorator_list)
            if patched and node.args.args and node.args.args[0].annotation is not None:
                return {ast.unparse(node.args.args[0].annotation).strip('\'"')}
            return {node.name}
        if isinstance(node, ast.ClassDef):
            return {node.name}
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = getattr(node, 'targets', None) or [node.target]  # not variables of a loop
            stored = (n for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
            return {n.id for n in stored if isinstance(n.ctx, ast.Store)}
        return set()


@lru_cache(1000)
def parsed(path, changed):
    "The `Module` in a file, parsed once for each time that it changed."
    return Module(path)


class Package:
    "All modules of the package in `root`."

    def __init__(self, root):
        paths = (p for p in sorted((root / PACKAGE).glob('*.py')) if p.stem != '_modidx')
        self.modules = {p.stem: parsed(p, p.stat().st_mtime_ns) for p in paths}

    def reach(self, start):
        "{(module, name): statements} of all that the (module, name) pairs `start` reach."
        todo, found = list(start), {}
        while todo:
            module, name = key = todo.pop()
            home = self.modules.get(module)
            if home is None or key in found:
                continue
            if name is None or name == '*':
                todo += [(module, n) for n in home.defined]
                found[key] = home.always
            elif name in home.defined:
                found[key] = home.defined[name]
                for node in home.defined[name]:
                    todo += self.needs(module, node)
            elif name in home.imported:
                todo.append(home.imported[name])
            elif name in self.modules:  # `from larp_edu import story`
                todo.append((name, None))
        return found

    def needs(self, module, node):
        "What a statement of a module refers to."
        home = self.modules[module]
        names, imported = references(node)
        for name in names:
            if name in home.defined:
                yield module, name
            elif name in home.imported:
                yield home.imported[name]
        yield from imported


def outputs_text(nb):
    "All text that a notebook shows in its outputs."
    found = []
    for cell in nb['cells']:
        for output in cell.get('outputs', []):
            data = output.get('data', {})
            for text in (output.get('text', ''), *(v for k, v in data.items() if 'text' in k)):
                found.append(''.join(text))
    return '\n'.join(found)


def page_hash(root, nb, cells):
    "Hash of the code `cells` of a notebook, of what they reach in the package, and of files named."
    package, shown = Package(Path(root)), outputs_text(nb)
    start = set().union(*map(references_of_cell, cells))
    reached = package.reach(start)
    code = [n for text in cells if (n := normal_cell(text, shown))]
    texts = list(cells)
    for key in sorted(reached, key=str):
        code.append((key, tuple(normal(node, shown) for node in reached[key])))
        texts += [unparsed(node) for node in reached[key]]
    return digest([*code, *files_named(Path(root), '\n'.join(texts))])


def is_word(name, text):
    "Whether a name stands in a text, and not as a part of a longer one."
    return name in text and re.search(rf'(?<!\w){re.escape(name)}(?!\w)', text)


def files_named(root, text):
    "(name, checksum) of assets, results and pictures whose stem is a word of `text`, and of WHOLE."
    for folder in WHOLE:
        for path in sorted((root / folder).rglob('*.*')) if f'../{folder}' in text else ():
            name = path.relative_to(root / folder).as_posix()
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()
    for pattern in FILES:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and is_word(path.stem, text):
                yield path.name, hashlib.sha256(path.read_bytes()).hexdigest()
