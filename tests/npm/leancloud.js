// What a backend does with LeanCloud's JavaScript SDK. The server's URL is the only argument.
// Prints one JSON object of what it saw; whoever started it says whether that is right.
"use strict";

const AV = require("leancloud-storage");

const saw = {};

// Code and text of what the SDK raises; null if it raises nothing.
const failure = (promise) => promise.then(() => null, (error) => [error.code, error.rawMessage]);

// A call of 1.2; the SDK signs it with the master key.
const call = (method, path, data, query) =>
  AV.request({ method, path: `/rtm${path}`, data, query, version: "1.2", authOptions: { useMasterKey: true } });

// Rows, by the classes of the SDK, which speak 1.1.
async function conversations() {
  const made = new AV.Conversation("one");
  made.addMember("alice");
  made.addMember("bob");
  made.set("level", 3);
  await made.save();
  saw.id = made.id;
  saw.createdAt = made.createdAt.toISOString();

  const fetched = await AV.Object.createWithoutData("_Conversation", made.id).fetch();
  saw.fetched = [fetched.get("name"), fetched.get("m"), fetched.get("level")];
  fetched.addUnique("m", "carol");
  fetched.increment("level", 2);
  await fetched.save();

  const found = await new AV.Query("_Conversation").equalTo("m", "carol").descending("createdAt").find();
  saw.found = found.map((each) => [each.id, each.getMembers(), each.get("level")]);
  saw.count = await new AV.Query("_Conversation").equalTo("level", 5).count();

  const room = new AV.Conversation("lobby", { isTransient: true });
  await room.save();
  const news = new AV.Conversation("news", { isSystem: true });
  await news.save();
  saw.kinds = [(await room.fetch()).isTransient(), (await news.fetch()).isSystem()];
  return [made, news];
}

// Sending, by the same classes.
async function messages(made, news) {
  const sent = await made.send("alice", "hi", {}, { useMasterKey: true });
  saw.sent = [Object.keys(sent), Object.keys(sent.result)];
  await made.send("alice", { _lctype: -1, _lctext: "ho" }, { pushData: { alert: "ho" } }, { useMasterKey: true });
  await made.send("alice", "typing", { transient: true }, { useMasterKey: true });
  await news.send("editor", "to you", { toClients: ["bob"] }, { useMasterKey: true });
  const all = await news.broadcast("editor", "to all", { pushData: { alert: "x" } }, { useMasterKey: true });
  saw.broadcast = all.result["msg-id"].slice(0, 3);
  saw.withoutMasterKey = await failure(made.send("alice", "hi"));
  const history = await AV.request({
    method: "GET",
    path: "/rtm/messages/history",
    query: { convid: made.id },
    authOptions: { useMasterKey: true },
  });
  saw.history = history.map((each) => each.data);
  return all.result["msg-id"];
}

// Calls of 1.2.
async function version2(made, news, broadcast) {
  const base = `/service-conversations/${news.id}`;
  await call("POST", `${base}/subscribers`, { client_id: "dave" });
  saw.subscribers = (await call("GET", `${base}/subscribers`)).map((each) => each.subscriber);
  saw.subscribed = await call("GET", `${base}/subscribers/count`);
  const sent = await call("POST", `${base}/broadcasts`, { from_client: "editor", message: "to subscribers" });
  saw.shapes = sent["msg-id"] === sent.result["msg-id"] && sent.timestamp === sent.result.timestamp;
  const change = { from_client: "editor", timestamp: sent.timestamp };
  saw.edited = await call("PUT", `${base}/messages/${sent["msg-id"]}`, { ...change, message: "to all of you" });
  saw.received = (await call("GET", `${base}/subscribers/dave/messages`)).map((each) => each.data);
  saw.broadcasts = (await call("GET", "/broadcasts", null, { conv_id: news.id })).map((each) => each.data);
  saw.withdrawn = await call("DELETE", `/broadcasts/${broadcast}`);
  saw.members = await call("GET", `/conversations/${made.id}/members`);
  saw.where = (await call("GET", "/conversations", null, { where: JSON.stringify({ m: "bob" }) })).results.length;
  saw.missing = await failure(call("POST", `/conversations/${"0".repeat(24)}/messages`, { from_client: "a", message: "b" }));
  saw.wrong = await failure(call("POST", `/conversations/${made.id}/messages`, { from_client: "a" }));
  saw.deleted = await failure(
    call("DELETE", `/conversations/${made.id}/messages/x`, null, { from_client: "a", timestamp: 1 }));
}

async function main() {
  AV.init({ appId: "demo-app", appKey: "demo-app-key", masterKey: "demo-master-key", serverURL: process.argv[2] });
  const [made, news] = await conversations();
  await version2(made, news, await messages(made, news));
  process.stdout.write(JSON.stringify(saw));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
