"""Runs in a venv of its own: what a backend does with LeanCloud's Python SDK. The server is in LC_API_SERVER.

Prints one JSON object of what it saw; whoever started it says whether that is right.
"""

import json
import time

import leancloud
from leancloud import Conversation, Message


def shown(message):
    """A message as the SDK has it."""
    return {
        "bin": message.bin,
        "conversation_id": message.conversation_id,
        "data": message.data,
        "from_client": message.from_client,
        "from_ip": message.from_ip,
        "is_conversation": message.is_conversation,
        "is_room": message.is_room,
        "message_id": message.message_id,
        "timestamp": message.timestamp,
        "to": message.to,
    }


def failure(act):
    """Code and text of what the SDK raises."""
    try:
        act()
    except leancloud.LeanCloudError as error:
        return [error.code, error.error]
    return None


def conversations(saw):
    """Rows of the class `_Conversation`."""
    made = Conversation("one", is_unique=False)
    made.add_member("alice")
    made.add_member("bob")
    made.set("level", 3)
    made.save()
    saw["id"], saw["created_at"] = made.id, str(made.created_at)

    fetched = Conversation.create_without_data(made.id)
    fetched.fetch()
    saw["fetched"] = [fetched.name, fetched.members, fetched.get("level"), fetched.is_unique, fetched.is_transient]

    fetched.add_member("carol")
    fetched.set("name", "two")
    fetched.increment("level", 2)
    fetched.save()
    again = Conversation.query.get(made.id)
    saw["changed"] = [again.name, again.members, again.get("level")]
    again.remove("m", "alice")
    again.save()

    found = Conversation.query.equal_to("m", "carol").add_descending("createdAt").find()
    saw["found"] = [[each.id, each.members] for each in found]
    saw["count"] = Conversation.query.equal_to("level", 5).count()
    saw["none"] = Conversation.query.equal_to("m", "nobody").find()
    saw["recent"] = [each.id for each in Conversation.query.less_than_or_equal_to("createdAt", again.created_at).find()]

    chatroom = Conversation("room", is_transient=True)
    chatroom.save()
    chatroom.fetch()
    saw["chatroom"] = [chatroom.name, chatroom.is_transient, chatroom.id]

    unique = [Conversation(is_unique=True) for _ in range(2)]
    for each in unique:
        each.add_member("alice")
        each.save()
    saw["unique"] = [each.id for each in unique]
    return again


def messages(saw, conversation):
    """Sending, and the history."""
    conversation.send("alice", "hi")
    conversation.send("alice", {"_lctype": -1, "_lctext": "ho"}, push_data={"alert": "ho"})
    conversation.send("alice", "typing", transient=True)
    found = Message.find_by_conversation(conversation.id)
    saw["history"] = [shown(each) for each in found]
    saw["reversed"] = [each.data for each in Message.find_by_conversation(conversation.id, reversed=True, limit=1)]
    newest = found[0]
    before = Message.find_by_conversation(
        conversation.id, before_time=newest.timestamp, before_message_id=newest.message_id
    )
    saw["before"] = [each.data for each in before]
    saw["by_client"] = [each.data for each in Message.find_by_client("alice")]
    saw["all"] = [each.data for each in Message.find_all(limit=1)]


def services(saw):
    """A service conversation: what the classes know of 1.1, and the rest by calls of 1.2."""
    news = Conversation("news", is_system=True)
    news.save()
    news.fetch()
    saw["service"] = [news.is_system, news.is_transient]
    news.send("editor", "to you", to_clients=["erin"])
    news.broadcast("editor", {"_lctype": -1, "_lctext": "to all"}, push_data={"alert": "to all"})
    news.broadcast("editor", "for an hour", valid_till=round(time.time() * 1000) + 3_600_000)
    saw["over"] = failure(lambda: news.broadcast("editor", "too late", valid_till=1))
    leancloud.client.SERVER_VERSION = "1.2"
    base = f"/rtm/service-conversations/{news.id}"
    saw["subscribed"] = leancloud.client.post(f"{base}/subscribers", params={"client_id": "dave"}).json()
    saw["subscribers"] = leancloud.client.get(f"{base}/subscribers/count").json()
    sent = leancloud.client.post(f"{base}/broadcasts", params={"from_client": "editor", "message": "to some"}).json()
    change = {"from_client": "editor", "message": "to subscribers", "timestamp": sent["timestamp"]}
    saw["edited"] = leancloud.client.put(f"{base}/messages/{sent['msg-id']}", params=change).json()
    saw["received"] = [each["data"] for each in leancloud.client.get(f"{base}/subscribers/dave/messages").json()]
    hourly, broadcast = leancloud.client.get("/rtm/broadcasts", params={"conv_id": news.id}).json()
    saw["hourly"] = [hourly["data"], round(hourly["valid-till"] / 1000 - time.time(), -2)]
    saw["broadcast"] = [broadcast["data"], broadcast["msg-id"][:3]]
    saw["withdrawn"] = [
        leancloud.client.delete(f"/rtm/broadcasts/{each['msg-id']}").json() for each in (hourly, broadcast)
    ]
    saw["mine"] = leancloud.client.get("/rtm/clients/dave/service-conversations").json()[0]["conv_id"] == news.id
    leancloud.client.SERVER_VERSION = "1.1"


def calls(saw, conversation):
    """Calls by hand: a DELETE has the body `null`, and what is refused is raised."""
    path = "/rtm/messages/logs?convid={}&msgid={}&timestamp={}&from=alice"
    oldest = Message.find_by_conversation(conversation.id, reversed=True)[0]
    path = path.format(conversation.id, oldest.message_id, round(oldest.timestamp * 1000))
    saw["deleted"] = leancloud.client.delete(path).json()
    saw["deleted_again"] = failure(lambda: leancloud.client.delete(path))
    missing = Conversation.query.get("0" * 24)
    saw["missing"] = [missing.members, missing.created_at]
    saw["server_time"] = leancloud.client.get_server_time().year
    leancloud.client.use_master_key(False)
    saw["app_key_may_save"] = failure(Conversation("three").save)
    saw["app_key_may_not_send"] = failure(lambda: conversation.send("alice", "hi"))


def main():
    """Everything, one after the other."""
    leancloud.init("demo-app", app_key="demo-app-key", master_key="demo-master-key")
    leancloud.client.use_master_key(True)
    saw = {}
    conversation = conversations(saw)
    messages(saw, conversation)
    services(saw)
    calls(saw, conversation)
    print(json.dumps(saw))


main()
