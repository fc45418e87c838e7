"""The rules of the house that a machine can check: names, the direction of imports, links, docs.

    python tools/layout.py     print the tree of the pages, and what breaks a rule

Page `12_patchwise.ipynb` exports module `patchwise`; a page imports from pages with smaller
numbers only; no name is exported twice; every exported name has a docstring and every argument a
type; links in prose lead somewhere; the front door `larp_edu/__init__.py` names things that exist;
pages of parts 0 to 3 have their badges.
"""

import ast
import re
import sys
from urllib.parse import unquote
import badges as page_badges
import notebooks

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# a first word that nbdev would take for an order
ORDERS = 'default_exp echo eval exec_doc export exporti exports hide include output'.split()
FLAGS = 'notest slow cuda'.split()


def pages():
    "{module: path} of the numbered pages, in order."
    found = sorted((notebooks.ROOT / 'nbs').glob('[0-9]*.ipynb'))
    return {p.stem.partition('_')[2]: p for p in found}


def cells(path, kind='code'):
    "(number, text) of the cells of a kind, counted from 1."
    for number, cell in enumerate(notebooks.read(path)['cells'], 1):
        if cell['cell_type'] == kind:
            yield number, notebooks.source(cell)


def is_exported(text):
    return 'export' in notebooks.directives(text)


def exported(path):
    "Syntax trees of the exported cells of a page."
    for number, text in cells(path):
        if is_exported(text):
            yield number, ast.parse(text)


def defined(tree):
    "(name, node) of the public names that a cell defines."
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((n.id, node) for n in ast.walk(target) if isinstance(n, ast.Name))


def public(path):
    for number, tree in exported(path):
        for name, node in defined(tree):
            if not name.startswith('_'):
                yield number, name, node


# ---- the rules; each gives a list of problems


def names():
    "Page name = module name; no letters, no name exported by two pages."
    bad, homes = [], {}
    for module, path in pages().items():
        if not re.fullmatch(r'\d\d_[a-z0-9_]+', path.stem):
            bad.append(f'{path.name}: expected two digits, _, and the name of the module')
        texts = [text for _, text in cells(path)]
        made = [d['default_exp'] for t in texts if 'default_exp' in (d := notebooks.directives(t))]
        if made not in ([], [module]):
            bad.append(f'{path.name}: exports {", ".join(made)}, expected {module}')
        for _, name, node in public(path):
            if not patched_class(node):
                homes.setdefault(name, set()).add(module)
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    return bad + [f'{n} is exported by {" and ".join(sorted(f))}' for n, f in twice.items()]


def patched_class(node):
    "The class that a function marked `@patch` becomes a method of, or None."
    if isinstance(node, FUNCTIONS) and any('patch' in ast.unparse(d) for d in node.decorator_list):
        return ast.unparse(node.args.args[0].annotation)


def imports():
    "Imports go down the numbers only."
    bad, order = [], list(pages())
    for module, path in pages().items():
        for number, text in cells(path):
            for other in set(re.findall(r'\b(?:from|import) larp_edu\.(\w+)', text)):
                own = not is_exported(text) and other == module  # code in a string, for a process
                if other in order and order.index(other) >= order.index(module) and not own:
                    bad.append(f'{path.name}, cell {number}: imports {pages()[other].stem}')
    return bad


def documented():
    "Every exported function, class and method has a docstring, and its arguments have types."
    bad = []
    for path in pages().values():
        for number, name, node in public(path):
            for label, part in parts(name, node):
                missing = [w for w, lacks in lacking(part) if lacks]
                if missing:
                    bad.append(f'{path.name}, cell {number}: {label} lacks {", ".join(missing)}')
    return bad


def parts(name, node):
    "(label, node) of a definition and the public methods of a class."
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield name, node
    for part in getattr(node, 'body', []) if isinstance(node, ast.ClassDef) else []:
        if isinstance(part, FUNCTIONS) and (part.name == '__init__' or part.name[0] != '_'):
            yield f'{name}.{part.name}', part


def lacking(node):
    "(what, whether it is missing) of a definition."
    is_class, own = isinstance(node, ast.ClassDef), ('self', 'cls')
    is_layer = not is_class and node.name in ('__init__', 'forward', 'train')  # the class tells
    yield 'a docstring', not is_layer and ast.get_docstring(node) is None
    if not is_class:
        args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        untyped = [a.arg for a in args if a.annotation is None and a.arg not in own]
        yield f'types of {", ".join(untyped)}', bool(untyped)
        yield 'the type that it returns', node.returns is None and node.name != '__init__'


def links():
    "Links in prose to files and pages of the repository lead somewhere."
    bad = []
    for path in notebooks.notebooks():
        folder = path.resolve().parent
        for number, text in cells(path, 'markdown'):
            text = re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.S)
            for target in re.findall(r'\]\(([^)\s]+)', text):
                file = unquote(target.partition('#')[0])
                if file and ':' not in target and not (folder / file).exists():
                    bad.append(f'{path.name}, cell {number}: {target} is not there')
            for old in re.findall(r'[Nn]otebooks? \d\d\w?', text):
                bad.append(f'{path.name}, cell {number}: "{old}", expected a link with a name')
    return bad


def directives():
    "No line that goes on with a figure's text begins with a word that nbdev obeys."
    bad = []
    for path in notebooks.notebooks():
        for number, text in cells(path):
            for word in re.findall(r'^#\|   +([\w-]+)', text, re.M):
                if word in ORDERS + FLAGS:
                    bad.append(f'{path.name}, cell {number}: a line begins with {word!r}')
    return bad


def front_door():
    "The table and the imports for type checkers of `larp_edu/__init__.py` agree, and are true."
    path = notebooks.ROOT / 'larp_edu/__init__.py'
    tree = ast.parse(path.read_text(encoding='utf-8'))
    typed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    tables = [
        ast.literal_eval(n.value) for n in tree.body if getattr(n, 'value', None) and named(n)
    ]
    table = {name: module for module, found in dict(*tables).items() for name in found.split()}
    bad = [f'{n}: one of table and imports lacks it' for n in sorted(table.items() ^ typed.items())]
    homes = {(m, name) for m, p in pages().items() for _, name, _ in public(p)}
    return bad + [f'{m}.{n} does not exist' for n, m in table.items() if (m, n) not in homes]


def named(node):
    return isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_HOMES'


def badges():
    "Badges and the cell for Colab are there, and say what the pages and settings.ini say."
    return page_badges.problems()


RULES = {f.__name__: f for f in (names, imports, documented, links, directives, front_door, badges)}


def main():
    "Print the tree and the problems; return how many there are."
    for module, path in pages().items():
        title = next((text for _, text in cells(path, 'markdown')), '').splitlines()
        sentence = next((line[2:] for line in title if line.startswith('> ')), '')
        print(f'{path.stem:20}{sentence}')
    bad = [f'{rule}: {problem}' for rule, check in RULES.items() for problem in check()]
    print(*bad, f'{len(bad)} problems', sep='\n')
    return len(bad)


if __name__ == '__main__':
    sys.exit(main() > 0)
