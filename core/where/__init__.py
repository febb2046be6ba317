"""The filter language: which rows of JSON values are meant. Pure, and general: a row is a mapping of names to JSON values.

A filter is a JSON object; a row matches if it meets every entry. A list of objects at the top means all of them.

    {"status": "open"}                      the field equals the value, or is an array that holds it
    {"status": {"$gte": 2, "$lt": 5}}       the field meets each of these
    {"owner.name": "ann"}                   a dot leads into objects, into those in an array, and to an element's index
    {"$or": [{…}, {…}]}  {"$and": [{…}]}    any of them; all of them

    $ne  $lt $lte $gt $gte  $in $nin  $all  $exists (true or false)  $size  $regex (with $options i, m, s)

Values are compared as in MongoDB: of different types they are never equal and neither is less (1 and 1.0 are the same number,
true is none); `$ne` and `$nin` match rows without the field; `null` matches absence. Objects are equal whatever the order of
their keys, and ordered by their keys in order. Of an array its elements are tried as well as the whole. Objects that stand for
times, which whoever asks may say how to know, are compared as times, and only with each other.

A pattern may match anywhere in a string; its syntax is RE2's, which takes time linear in what it searches: no look-around, no
references back. More than 16 KiB of text in one field matches no pattern.

Whatever else stands in a filter is refused by its name. A filter holds at most 64 KiB, 20 levels, 100 conditions, 1,000 values
and 10 patterns, each of at most 1,000 bytes.
"""

from .filters import Filter, fields, matches, weight
from .narrow import Among, candidates
from .order import Order, parse_order
from .parse import parse
from .values import TimeOf, comparable

__all__ = [
    "Among",
    "Filter",
    "Order",
    "TimeOf",
    "candidates",
    "comparable",
    "fields",
    "matches",
    "parse",
    "parse_order",
    "weight",
]
