"""How many pages LMDB freed within the file and would use again.

py-lmdb does not tell, and the sizes of the databases do not either (a queue that outgrew its page lives in a tree of its own,
which no statistic includes). So this reads LMDB's own table of freed pages from the file, laid out as in mdb.c of LMDB 0.9,
the version that every opener is bound to: two meta pages, the newer one names the root of a B+ tree, whose keys are
transactions and whose values are the numbers of the pages that each of them freed, behind how many they are.
"""

import os
from collections.abc import Iterator
from struct import Struct
from typing import Final

_PAGE: Final = Struct("=QHHHH")
"""MDB_page: its number, padding, flags, the end of its index, the start of its nodes."""
_META: Final = Struct("=IIQQ IHHQQQQQ 48x QQ")
"""MDB_meta: magic, version, address, map size; MDB_db of the freed pages; that of everything else; last page, transaction."""
_NODE: Final = Struct("=HHHH")
"""MDB_node: two halves of a length, flags, the key's length."""
_INDEX: Final = Struct("=H")
_NUMBER: Final = Struct("=Q")
_MAGIC: Final = 0xBEEFC0DE
_BRANCH: Final = 0x01
_ELSEWHERE: Final = 0x01
"""Of a node: its value lies in pages of its own."""
_NO_ROOT: Final = (1 << 64) - 1


def free_pages(descriptor: int, page_bytes: int, before: int) -> int:
    """Pages freed by transactions before this one. For the process that writes, while it does not; 0 if unsure."""
    root, newest = max((_meta(descriptor, page_bytes, number) for number in (0, 1)), key=lambda meta: meta[1])
    if newest == 0 or root == _NO_ROOT:
        return 0
    return sum(count for transaction, count in _records(descriptor, page_bytes, root) if transaction < before)


def _meta(descriptor: int, page_bytes: int, number: int) -> tuple[int, int]:
    """The root of the table of freed pages and the transaction that made it, by one of the meta pages."""
    fields = _META.unpack_from(_read(descriptor, page_bytes, number), _PAGE.size)
    return (fields[11], fields[13]) if fields[0] == _MAGIC else (_NO_ROOT, 0)


def _records(descriptor: int, page_bytes: int, number: int) -> Iterator[tuple[int, int]]:
    """Each transaction below a page of the tree, and how many pages it freed."""
    page = _read(descriptor, page_bytes, number)
    _, _, flags, index_end, _ = _PAGE.unpack_from(page)
    for place in range(_PAGE.size, index_end, _INDEX.size):
        node = _INDEX.unpack_from(page, place)[0]
        low, high, more, key_bytes = _NODE.unpack_from(page, node)
        key = node + _NODE.size
        if flags & _BRANCH:
            yield from _records(descriptor, page_bytes, low | high << 16 | more << 32)
            continue
        value = _NUMBER.unpack_from(page, key + key_bytes)[0]
        if more & _ELSEWHERE:
            value = _NUMBER.unpack_from(_read(descriptor, page_bytes, value), _PAGE.size)[0]
        yield _NUMBER.unpack_from(page, key)[0], value


def _read(descriptor: int, page_bytes: int, number: int) -> bytes:
    return os.pread(descriptor, page_bytes, number * page_bytes)
