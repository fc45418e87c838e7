"The order of the tests."

import json


def seconds(item):
    "What a test takes, roughly: for a page what its last run took, for most others nothing."
    if item.name == 'test_site':
        return 50
    page = item.callspec.params.get('nb') if hasattr(item, 'callspec') else None
    if page is None:
        return 0
    metadata = json.loads(page.read_text(encoding='utf-8'))['metadata']
    return metadata.get('larp_edu', {}).get('seconds', 0)


def pytest_collection_modifyitems(items):
    "Long ones first, so that in the end no worker is alone with a page of a minute."
    items.sort(key=seconds, reverse=True)
