// Tokens from the builders on npm. Reads a JSON list of orders [{builder, app_id, certificate, user, ...}] from stdin and
// prints the JSON list of the tokens.
"use strict";

const fs = require("node:fs");
const old = require("agora-access-token"); // 006
const current = require("agora-token"); // 007
const parts = require("agora-token/src/AccessToken2");

const BUILDERS = {
  rtm_006: (o) => old.RtmTokenBuilder.buildToken(o.app_id, o.certificate, o.user, old.RtmRole.Rtm_User, o.expires_s),
  // A token for calls, as if the user's name were the channel's: the names fit, the privilege does not.
  rtc_006: (o) =>
    old.RtcTokenBuilder.buildTokenWithUid(o.app_id, o.certificate, o.user, 0, old.RtcRole.PUBLISHER, o.expires_s),
  rtm_007: (o) => current.RtmTokenBuilder.buildToken(o.app_id, o.certificate, o.user, o.lifetime_s),
  rtc_007: (o) =>
    current.RtcTokenBuilder.buildTokenWithUserAccount(
      o.app_id, o.certificate, "room", o.user, current.RtcRole.PUBLISHER, o.lifetime_s, o.lifetime_s),
  both_007: (o) =>
    current.RtcTokenBuilder.buildTokenWithRtm(
      o.app_id, o.certificate, "room", o.user, current.RtcRole.PUBLISHER, o.lifetime_s),
  both2_007: (o) =>
    current.RtcTokenBuilder.buildTokenWithRtm2(
      o.app_id, o.certificate, "room", "caller", current.RtcRole.SUBSCRIBER, o.lifetime_s,
      o.lifetime_s, o.lifetime_s, o.lifetime_s, o.lifetime_s, o.user, o.lifetime_s),
  // Of every kind that comes before RTM or behind it, in no order: the builder sorts them.
  many_007: (o) => {
    const token = new parts.AccessToken2(o.app_id, o.certificate, 0, o.lifetime_s);
    const rtm = new parts.ServiceRtm(o.user);
    rtm.add_privilege(parts.ServiceRtm.kPrivilegeLogin, o.lifetime_s);
    const others = ["a", "b"].map((channel) => new parts.ServiceRtc(channel, "caller"));
    [new parts.ServiceApaas("room", o.user, 1), new parts.ServiceChat(o.user), rtm, ...others].forEach((service) =>
      token.add_service(service));
    return token.build();
  },
};

const orders = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(orders.map((order) => BUILDERS[order.builder](order))));
