"""Every bound of the core, each with its reason; the relations between them are asserted here."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Names and bodies
NAME_BYTES_MAX: Final = 256
"""UTF-8 bytes of an app, user or conversation name: the vendors allow 64 characters, up to 4 bytes each."""
BODY_BYTES_MAX: Final = 256 * KIB
"""The largest vendor limit is 32 KiB (anyRTC 3); a batch must still hold many."""
JSON_DEPTH_MAX: Final = 100
"""Nesting of a JSON body: parsers of receivers give up, or crash, at some hundreds."""
DEDUP_BYTES_MAX: Final = 128
WAIT_ACK_MS_MAX: Final = 60_000
"""How long a sender may wait for its recipient's ack; HTTP clients give up long before."""

# Queues
QUEUE_MESSAGES_MAX: Final = 10_000
"""The largest configurable cap: collecting such a queue (entry and body each) is one command."""
DEDUP_TTL_MS: Final = 86_400_000
"""24 hours: what clients and gateways retry within."""

# Rooms
ROOMS_PER_USER_MAX: Final = 256
"""Rooms a user is in at a time; a logout leaves all of them, in one command if the disk has room."""
RECIPIENTS_MAX: Final = 10_000
"""Explicit recipients of one message."""
COPIES_MAX: Final = 10_000
"""Recipients of one message who see another text of it than others do, or nothing: a change of the message looks at each."""
RECOVERED_MESSAGES_MAX: Final = 1_000
"""What a join replays at most; who was away for longer reads the history."""
RECOVERED_ROWS_MAX: Final = 10_000
"""Messages of others that are looked at for that: some 20 ms."""
RECOVERED_PASSED_MAX: Final = 100_000
"""And messages that are passed over, the user's own and imported ones: some 200 ms of a reader's time."""

GAP_TTL_MS: Final = 31 * 86_400_000
"""How long a room remembers that a message was not kept. Who was away for longer is not told that nothing is missing."""

# Conversations
MEMBERS_MAX: Final = 500
"""Of a group: a message that is not queued looks for the sessions of each, and one event may name all of them."""
GROUP_COPIES_MAX: Final = 100
"""Members of a group up to which a message to it lies in the queue of each; of a larger one it stands once, in its stream."""
STREAM_COUNTED_MAX: Final = 1_000
"""What of a reader's streams, all together, is counted one by one at a login or an ack: some 2 ms. More is counted by its
numbers."""
STREAM_CAPPED_MAX: Final = 5_000
"""What of a reader's streams, all together, is looked at one by one at a login for the newest that are theirs: some 10 ms."""
MUTED_MAX: Final = 500
"""Users, members or not, who want no push notifications from a group."""
LISTED_MAX: Final = {"group": 500, "room": 10_000, "service": 10_000}
"""Users banned from a conversation, and as many silenced in it for good: all who could be in it."""
SILENCE_MS_MIN: Final = 1_000
SILENCE_MS_MAX: Final = 86_400_000
"""A silence for a while is for 1 second to 24 hours; a longer one is one for good that somebody lifts."""
ROLES_MAX: Final = 500
"""Users with a role in one conversation: a question about them reads all of it."""
BLOCKED_MAX: Final = 1_000
"""Conversations that one user does not want to be put into: they are counted when one more is blocked."""
FIND_LISTED_MAX: Final = 1_000
"""Names that one page of a list holds."""
READ_ROWS_MAX: Final = 10_000
"""Messages looked at for a mark of what is read: some 0.15 s, as long as the largest batch. Only a mark of long ago
may meet it."""
ATTRIBUTES_BYTES_MAX: Final = 128 * KIB
"""A conversation's attributes as JSON: as much as the storage services hold that people come from."""
OPERATIONS_MAX: Final = 1_000
"""Changes of attributes in one command."""
INDEX_TERMS_MAX: Final = 1_000
"""Values of one conversation's attributes that can be looked up, a row each; with more, it is looked at in every search."""
DELETED_LEAVES_MAX: Final = 250
"""Users whose stays in a deleted room end in one command; the rest are swept."""
MENTIONS_MAX: Final = 20
PUSH_BYTES_MAX: Final = 4 * KIB
"""What a push notification should say: the services that carry them take no more."""

# History
FIND_MESSAGES_MAX: Final = 1_000
"""Messages one query gives at most."""
QUERY_CONVERSATIONS_MAX: Final = 100
"""Conversations of one query: each slice of it looks into every one."""
RESULT_MESSAGES_MAX: Final = 100
"""Messages a reserved result holds: its event names them all."""
RESULTS_PER_APP_MAX: Final = 100_000
"""Results reserved and neither collected nor expired: some 100 MB at worst."""
QUERIES_MAX: Final = 64
"""Queries under way or waiting for a reader; beyond, whoever asks is told to come again."""
QUERY_SLICE_ROWS: Final = 10_000
"""Rows a query looks at in one snapshot: some 20 ms, so that it neither keeps pages nor the processor for itself."""
HISTORY_SWEEP_STEP: Final = 250
"""Messages one sweeping step forgets: fewer than of other things, since each lies on some six pages."""
HISTORY_COPIES_MAX: Final = 2_000
"""Recipients whose queues one step looks into for what still waits, if one message has not more."""
HISTORY_EXPIRED_MAX: Final = 25
"""Messages of one event that forgets them: some five rows each, on other pages; see DEDUP_EXPIRED_MAX."""
IMPORT_AHEAD_MS: Final = 86_400_000
"""How far the time of what is imported may be ahead of the clock: a day, as clocks and zones are off."""

# Broadcasts
BROADCASTS_MAX: Final = 5_000
"""Broadcasts an app keeps: a login looks at those since its user's last ack, at 3.5 us each. 30 a day, each valid for a month,
are 900 that are valid. Of more, the oldest that is over makes room."""
BROADCASTS_EXPIRED_MAX: Final = 25
"""Broadcasts of one event that forgets them: their bodies lie on other pages; see DEDUP_EXPIRED_MAX."""

# Filters and orders
WHERE_BYTES_MAX: Final = 64 * KIB
"""What a URL, or a body of a query, has room for; read and checked in some 2 ms."""
WHERE_DEPTH_MAX: Final = 20
"""Nesting of a filter, of a value in it, and names of a path: some levels of Python calls each."""
WHERE_CONDITIONS_MAX: Final = 100
"""Each looks at its field of every row."""
WHERE_VALUES_MAX: Final = 1_000
"""Values to compare with, in all conditions together, what is in them included."""
WHERE_PATH_BYTES_MAX: Final = 1_000
WHERE_PATTERNS_MAX: Final = 10
PATTERN_BYTES_MAX: Final = 1_000
PATTERN_MEMORY_BYTES: Final = 256 * KIB
"""RE2's, a pattern: 128 of them stay compiled, and each query has up to ten more in hand."""
PATTERN_PROGRAM_MAX: Final = 3_000
"""Steps of all patterns of a filter. RE2 takes at worst some 20 ns for a byte and a step, so that a row, of whose fields
each may have 16 KiB searched, takes a second at worst; any letter of any script takes 1,200 of them, a word a few."""
PATTERN_TEXT_BYTES_MAX: Final = 16 * KIB
"""Text of one field that a pattern is looked for in; what has more does not match."""
ORDER_KEYS_MAX: Final = 5
ORDER_TEXT_CHARACTERS_MAX: Final = 100
"""What of a text, or of an object or an array, decides where its row is sorted."""
ORDER_VALUE_CHARACTERS: Final = 8
"""What each value in an object or an array counts for besides its characters, as it takes memory: a dozen of them decide."""

FIND_CONVERSATIONS_MAX: Final = 1_000
"""Conversations one query gives at most."""
SORTED_CONVERSATIONS_MAX: Final = 10_000
"""Of an order that no index has: what is passed over and what is given, together; twice as many are kept meanwhile."""
KICK_REASON_CHARACTERS_MAX: Final = 64
"""A close frame's reason has 123 bytes; the vendors allow 20 characters."""
FIND_ONLINE_MAX: Final = 1_000
"""Users asked about at once."""
INDEX_SOURCES_MAX: Final = 8
"""Conditions that indexes narrow a search by; each look at a row of one is a look at all."""
INDEX_VALUES_MAX: Final = 100
"""Values of one such condition: each is a scan of its own."""

# Presence
FEED_EVENTS_MAX: Final = 2_000
"""Events a feed keeps; the newest replaces the oldest. `apply` reads it: another number is another version of the views."""
FEED_TAKE_MAX: Final = 1_000
"""Events taken at once."""
PRESENCE_TAKEN_MAX: Final = 50
"""Of these, how many one event takes: folding it must fit a small reserve; see DEDUP_EXPIRED_MAX."""

# One command, one batch
COMMAND_ROWS_MAX: Final = 110_100
"""Row writes of the largest command: an edit of a message to 10,000 users by name, whose queues are full and each of whom had
a copy of their own. A message to so many users whose queues have room is entry, timeline and user row for each."""
STEPS_MAX: Final = 8
"""Changes of a conversation that are carried out as one: one of each list and of the attributes, twice where it is replaced."""
BATCH_ROWS_MAX: Final = 10_000
"""A batch takes no further command beyond this: 10,000 puts on cold queues are some 0.15 s."""
BATCH_BYTES_MAX: Final = 16 * MIB
SWEEP_STEP: Final = 1_000
"""Things one sweeping or trimming step ends, so that none holds the writer for long."""
DEDUP_EXPIRED_MAX: Final = 50
"""Outcomes of one event that forgets them: each lies on another page, and folding the event must fit a small reserve."""
SWEEP_STEP_MIN: Final = 3
"""The same when room on the disk is scarce: what gives room back must not need much first."""

# The inbox
INBOX_COMMANDS_MAX: Final = 8_192
INBOX_BYTES_MAX: Final = 64 * MIB
INBOX_MARK_PERCENT: Final = {"high": 100, "normal": 90, "low": 50}
"""How full the inbox may be for a lane to enter it."""
INBOX_CONTROL_PERCENT: Final = 110
"""Logins, logouts, kicks, recalls and deletes have a further tenth: they give room back, or who takes it does not wait."""
INBOX_WAITING_MAX: Final = 8_192
SUBMIT_DEADLINE_S: Final = 5
"""How long a command waits for its place; shorter than the 10 s after which clients give up."""
OVERLOADED_RETRY_MS: Final = 1_000

# Fan-out
OFFERS_AT_ONCE_MAX: Final = 2_000
"""Sessions told of messages to many, or of what became of one, before others get a turn, if one message does not go to more:
some 10 ms."""

# Sessions
SESSIONS_PER_USER_MAX: Final = 64
SESSION_WINDOW_FRAMES: Final = 4_096
"""Sent frames a session remembers for acks."""
SESSION_BUFFER_BYTES: Final = 1 * MIB
FRAME_OVERHEAD_BYTES: Final = 256
"""What a buffered frame costs besides its body."""
PAGE_ENTRIES: Final = 64
PAGE_ROWS: Final = 1_000
"""What is looked at for a page: of a group's stream a reader's own messages are passed over."""
PAGE_BYTES: Final = 256 * KIB
"""What a session reads from disk in one short transaction."""
ACK_WAITERS_MAX: Final = 8_192
"""Senders waiting for a recipient's ack, per broker."""

assert COMMAND_ROWS_MAX >= 2 * QUEUE_MESSAGES_MAX + 10  # collecting a queue: entry and body each
assert 8 * ROOMS_PER_USER_MAX <= COMMAND_ROWS_MAX  # a logout
assert 8 * DELETED_LEAVES_MAX + INDEX_TERMS_MAX + 10 <= COMMAND_ROWS_MAX  # a conversation deleted
assert 6 * MEMBERS_MAX + 2 * INDEX_TERMS_MAX + 10 <= COMMAND_ROWS_MAX  # a group created, or its attributes replaced
assert BATCH_BYTES_MAX >= 4 * BODY_BYTES_MAX
assert PAGE_BYTES <= SESSION_BUFFER_BYTES
assert INBOX_BYTES_MAX >= BATCH_BYTES_MAX
